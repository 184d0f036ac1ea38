"""What is said of a model is measured by networks that had no part in it, and said with how sure it is."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from commands import faceage_alone, in_this_process
from conftest import DATA
from PIL import Image
from shared import detector
from tiny_training import face_set

from faceage.data.dataset import FaceSet
from faceage.errors import DataError, UsageError
from faceage.evaluation.identity import judge_identity
from faceage.evaluation.interval import share, without_nan
from faceage.evaluation.people import LATENTS, find_latents
from faceage.evaluation.plot import plot_shares
from faceage.evaluation.realism import judge_realism
from faceage.evaluation.recognizers import (
    ARCFACE_SIDE,
    ArcFaceJudge,
    DlibJudge,
    calibrate,
    open_judge,
    strangers_distances,
)
from faceage.model import load_model, read_card
from faceage.model_search import find_model
from faceage.networks.predict import draw, predict
from faceage.people.samples import sample_faces


def test_a_share_says_how_sure_it_is():
    few, many = share(np.arange(20) % 4 == 0), share(np.arange(2000) % 4 == 0)
    assert (few.value, many.value) == (0.25, 0.25)
    assert (few.count, many.count) == (20, 2000)
    assert few.low < many.low < 0.25 < many.high < few.high
    # √(p (1 − p) / n) is 0.0097; a 95% interval is 3.92 of them wide.
    assert many.high - many.low == pytest.approx(3.92 * 0.0097, rel=0.1)
    assert share(np.arange(20) % 4 == 0, seed=0) == few
    assert np.isnan(share(np.empty(0)).value)


def test_a_share_of_no_cases_is_null_in_json_and_a_word_in_a_table():
    nothing = share(np.empty(0))
    assert str(nothing) == "no cases"
    text = json.dumps(without_nan({"groups": {"60+": asdict(nothing)}, "distances": [float("nan"), 0.5], "n": 1}))
    assert json.loads(text) == {
        "groups": {"60+": {"value": None, "low": None, "high": None, "count": 0}},
        "distances": [None, 0.5],
        "n": 1,
    }


def test_a_share_of_all_or_of_none_is_not_certain():
    """Wilson's interval; of 96 of 96 it begins at 96²/(96² + 1.96² · 96)."""
    for hits in (np.ones(96), np.ones((96, 6))):
        found = share(hits)
        assert (found.value, found.high) == (1, 1)
        assert found.low == pytest.approx(96 / (96 + 1.96**2), abs=1e-4)
    assert share(np.zeros(10)).high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)


def test_values_of_one_face_are_not_independent():
    hits = np.repeat(np.arange(200)[:, None] % 2 == 0, 6, axis=1)
    together, apart = share(hits), share(hits.ravel())
    assert together.value == apart.value == 0.5
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_strangers_are_pairs_of_different_people_that_were_found():
    embeddings = np.array([[0, 0], [3, 4], [0, 1], [np.nan, np.nan], [6, 8]], np.float32)
    found = strangers_distances(embeddings, ["a", "b", "a", "c", ""])
    np.testing.assert_allclose(sorted(found), sorted([5, 10, np.hypot(3, 3), 5, np.hypot(6, 7)]), rtol=1e-5)
    assert len(strangers_distances(embeddings[:3], ["", "", ""])) == 3


def test_a_judge_that_finds_nobody_has_no_threshold():
    with pytest.raises(DataError, match="colours finds no two different people among 3 faces"):
        calibrate(Brightest(), np.full((3, 3), np.nan, np.float32), ["a", "b", "c"])
    rows = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    threshold, false_matches = calibrate(Brightest(), rows, [""] * 200)
    assert false_matches == pytest.approx(0.01, abs=0.003)
    assert (np.abs(rows - rows.T)[np.triu_indices(200, 1)] < threshold).mean() == pytest.approx(false_matches)


@pytest.fixture(scope="module")
def chips(astronaut) -> np.ndarray:
    """One face cut three times, a little differently, and a picture without a face."""
    from faceage.faces.align import align, face_transform

    (face,) = detector().detect([astronaut])[0]
    moved = [face.landmarks + offset for offset in ([0, 0], [3, 2], [-3, 1])]
    blank = np.full((64, 64, 3), 120, np.uint8)
    return np.stack([*(align(astronaut, face_transform(landmarks)) for landmarks in moved), blank])


def test_dlib_knows_a_face_again_and_finds_none_where_there_is_none(chips):
    judge = DlibJudge()
    rows = judge.embed(chips)
    assert rows.shape == (4, 128)
    assert np.isnan(rows[3]).all()
    assert np.linalg.norm(rows[0] - rows[1]) < judge.threshold


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    """The smallest network of ArcFace's kind: it averages squares of 28 pixels."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 3, ARCFACE_SIDE, ARCFACE_SIDE]
    pool = helper.make_node("AveragePool", ["face"], ["small"], kernel_shape=[28, 28], strides=[28, 28])
    flat = helper.make_node("Flatten", ["small"], ["row"])
    graph = helper.make_graph(
        [pool, flat],
        "judge",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", 48])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("judge") / "judge.onnx"
    onnx.save(model, path)
    return path


def test_an_onnx_judge_sees_the_face_as_arcface_does(chips, onnx_file):
    judge = open_judge(str(onnx_file))
    rows = judge.embed(chips)
    # The same picture at another size is the same face.
    larger = np.stack([np.asarray(Image.fromarray(chip).resize((160, 160))) for chip in chips])
    np.testing.assert_allclose(judge.embed(larger), rows, atol=0.05)
    assert rows.shape == (4, 48)
    np.testing.assert_allclose(np.linalg.norm(rows[:3], axis=1), 1, rtol=1e-5)
    # The face's eyes, at (19.6, 18.6) and (44.4, 18.6) of 64 pixels, are at (38, 52) and (74, 52) of ArcFace's 112: the
    # 28 pixels of the network's second row of means, up to the middle of the face, are these of ours.
    part = chips[0, 1:21, 13:33].mean((0, 1)) / 127.5 - 1
    means = rows[0].reshape(3, 4, 4)[:, 1, 1]
    np.testing.assert_allclose(means / np.linalg.norm(means), part / np.linalg.norm(part), atol=0.1)
    assert judge.threshold is None


@pytest.mark.parametrize(
    ("choice", "said"), [("facenet", "no judge 'facenet'"), ("nowhere.onnx", "there is no such file")]
)
def test_an_unknown_judge_is_told(choice, said):
    with pytest.raises(UsageError, match=said):
        open_judge(choice)


def test_a_network_of_another_kind_is_no_judge(tmp_path, onnx_file):
    import onnx

    model = onnx.load(onnx_file)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 64
    onnx.save(model, tmp_path / "small.onnx")
    with pytest.raises(UsageError, match="not faces"):
        ArcFaceJudge(tmp_path / "small.onnx")


class Brightest:
    """Takes faces for one person by their mean colours."""

    name, threshold = "colours", None

    def embed(self, faces: np.ndarray) -> np.ndarray:
        rows = faces.mean(axis=(1, 2)).astype(np.float32)
        rows[0] = np.nan
        return rows


@pytest.mark.slow
def test_identity_is_asked_of_the_judge_alone():
    model, faces = load_model(find_model()), face_set(8)
    told = []
    latents = {kind: find_latents(model, faces.faces, kind) for kind in LATENTS}
    scores = judge_identity(model, faces, latents, Brightest(), lambda *done: told.append(done))
    assert scores.judge == "colours"
    assert 0 < scores.false_matches < 0.1
    assert set(scores.accepted) == {"initial", "pixel-wise", "identity-preserving"}
    # The face that the judge cannot find is accepted in none.
    assert scores.found.value == 7 / 8
    assert all(0 <= found.value <= 7 / 8 for found in scores.accepted.values())
    assert set(scores.groups) >= {"0-18", "60+", "male", "female"}
    assert told[-1][0] == told[-1][1] == 3


def test_realism_has_a_floor_and_variety(monkeypatch):
    # As few faces are drawn as there are real ones, and no batch is larger.
    monkeypatch.setattr("faceage.evaluation.realism._VARIED", 24)
    monkeypatch.setattr(predict, "__defaults__", (24,))
    monkeypatch.setattr(draw, "__kwdefaults__", {"batch_size": 24})
    scores = judge_realism(load_model(find_model()), face_set(24, seed=0), face_set(24, seed=1))
    assert scores.faces == 24
    # Noise is no face, and two sets of noise are alike.
    assert scores.frechet > 2 * scores.floor > 0
    assert len(scores.variety) == 6
    assert all(distance > 0.3 for distance in scores.variety.values())


def test_a_plot_is_a_picture(tmp_path):
    plot_shares({"one": {"a": share(np.ones(9)), "b": share(np.zeros(9))}}, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200


def two_of_each_class() -> FaceSet:
    faces = sample_faces(load_model(find_model()).generator, 2, seed=0)
    people, classes = face_set(12), np.tile(np.arange(6), 2)
    return replace(people, faces=faces.reshape(people.faces.shape), classes=classes)


@pytest.mark.slow
def test_the_commands_write_what_they_print(tmp_path, write_faces, onnx_file):
    people = two_of_each_class()
    data, out = write_faces(tmp_path / "faces.h5", [people] * 3), tmp_path / "identity"
    asked = ("--judge", onnx_file, "--limit", 6)
    result = faceage_alone("evaluate", "identity", "--data", data, *asked, "--json", "--out", out)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed == json.loads(out.with_suffix(".json").read_text())
    assert printed["faces"] == 6
    assert out.with_suffix(".png").exists()
    result = faceage_alone("evaluate", "age", "--data", data, "--samples", 12, "--json")
    assert result.returncode == 0, result.stderr
    for kind, confusion in (scores := json.loads(result.stdout))["confusion"].items():
        assert np.sum(confusion) == scores[kind]["all"]["count"] == 12
        assert scores[kind]["all"]["value"] == pytest.approx(np.trace(confusion) / 12, abs=1e-3)
    result = faceage_alone("evaluate", "photographs", "--data", data, "--judge", onnx_file, "--limit", 12, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found) == ["photographs", "gender said", "generator", "plain sum"]
    assert found["plain sum"]["accepted"]["all"]["count"] == 12 * 6
    assert faceage_alone("evaluate", "realism", "--data", data, "--json").returncode == 0


def test_a_judge_of_ncnn_s_is_two_files(tmp_path):
    with pytest.raises(UsageError, match=r"judge\.param cannot be read .* no such file"):
        open_judge(str(tmp_path / "judge.param"))
    (tmp_path / "judge.param").write_text("no network")
    with pytest.raises(UsageError, match=r"judge\.bin cannot be read .* no such file"):
        open_judge(str(tmp_path / "judge.param"))
    (tmp_path / "judge.bin").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be read as an ncnn recogniser"):
        open_judge(str(tmp_path / "judge.param"))


def test_the_judge_of_development_knows_a_face_again(chips):
    file = DATA.parent / "judge" / "mobilefacenet.param"
    if not file.exists():
        pytest.skip(f"no judge in {file.parent}")
    rows = open_judge(str(file)).embed(chips)
    assert rows[0] @ rows[1] > 0.5


def test_a_page_that_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "README.md").write_text("of my project")
    (tmp_path / "file").touch()
    for out, said in ((tmp_path, "a README.md of something else"), (tmp_path / "file" / "page", "cannot be made")):
        status, _, err = in_this_process("evaluate", "all", "--data", "faces.h5", "--out", out)
        assert status == 2
        assert said in err
    status, _, err = in_this_process("evaluate", "age", "--data", tmp_path / "faces.h5")
    assert status == 2
    assert "there is no data set" in err


@pytest.mark.slow
def test_everything_is_on_one_page(tmp_path, write_faces, onnx_file):
    people = two_of_each_class()
    data, out = write_faces(tmp_path / "faces.h5", [people] * 3), tmp_path / "page"
    shutil.copytree(find_model(), tmp_path / "model")
    asked = ("--judge", onnx_file, "--samples", 12, "--weights", tmp_path / "model")
    result = faceage_alone("evaluate", "all", "--data", data, *asked, "--out", out, "--card", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found == json.loads((out / "evaluation.json").read_text())
    assert found["identity"]["faces"] == 12
    assert list(found["trade_off"]) == ["0.5", "0.75", "1", "1.25", "1.5"]
    page = (out / "README.md").read_text()
    for share_of in (
        found["photographs"]["generator"]["accepted"]["60+"],
        found["age"]["real"]["60+"],
        found["trade_off"]["1.5"][0],
    ):
        assert f"{share_of['value']:.1%} ({share_of['low']:.1%} to {share_of['high']:.1%})" in page
    entered = read_card(tmp_path / "model")["scores"]["evaluation"]
    assert entered["accepted_aged"] == found["photographs"]["generator"]["accepted"]["all"]["value"]
    for name in ("identity.png", "age.png", "trade-off.png", "people.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 200
