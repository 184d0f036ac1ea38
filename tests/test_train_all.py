"""`train all`: every stage in its order, each once, and a model at the end that `faceage batch` loads."""

import dataclasses
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import faceage, faceage_alone
from conftest import DATA
from imdb_wiki_tree import utkface_photos, write_tree
from PIL import Image
from tiny_training import TinySplits, eagerly, face_set, narrow_trunks

from faceage.errors import Interrupted, UsageError
from faceage.model import check_files, load_model, read_card
from faceage.model_search import find_model
from faceage.networks.predict import draw, predict
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import OptimiserOptions
from faceage.training.everything import all_options, check_plan, make_plan, train_all
from faceage.training.jobs import JOBS, makers
from faceage.training.run import Run, stage_position, train_stage

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")
"""That `eagerly` leaves tf.data as it is."""

NARROW = {
    "generator": {"width": 8},
    "discriminator": {"width": 8},
    "encoder": {"width": 4},
    "re_ager": {"widths": (4, 6, 6, 8), "depths": (1, 1, 1, 1)},
}
BUILT_IN = {
    "generator": ("gan", "identity"),
    "discriminator": ("gan",),
    "encoder": ("encoder", "identity"),
    "re_ager": ("photo",),
}
FEW = [f"{stage}.{setting}" for stage in JOBS for setting in ("epochs=2", "steps_per_epoch=2", "batch_size=8")]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Every stage and every loader builds the same networks, narrower.

    Faces at the end are few, and soon found. That steps can be compiled is tested where single stages are.
    """
    with pytest.MonkeyPatch.context() as patch, eagerly(), narrow_trunks():
        for name, size in NARROW.items():
            module = importlib.import_module(f"faceage.networks.{name}")
            small = functools.partial(getattr(module, name), **size)
            patch.setattr(module, name, small)
            for stage in BUILT_IN[name]:
                patch.setattr(importlib.import_module(f"faceage.training.{stage}"), name, small)
        few = functools.partial(LatentOptimiser, batch_size=4)
        for name, value in (("LatentOptimiser", few), ("OptimiserOptions", lambda: OptimiserOptions(steps=2))):
            patch.setattr(f"faceage.training.everything.{name}", value)
        patch.setattr("faceage.training.everything.OPTIMISED", 4)
        for name in ("SHOWN", "TAUGHT"):
            patch.setattr(f"faceage.training.photo.{name}", 1)
        # The sets have 24 faces each, and every batch is filled up.
        patch.setattr(predict, "__defaults__", (24,))
        patch.setattr(draw, "__kwdefaults__", {"batch_size": 24})
        yield


def options(*settings: str):
    small = ("identity.head_start=2", "identity.min_accuracy=0")
    photo = ("photo.alone_epochs=0", "photo.pairs_epochs=1", "photo.batch_size=4")
    return all_options("best", [*FEW, *small, *photo, *settings])


@pytest.fixture(scope="module")
def trained(narrow, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"))
    train_all(options(), run, TinySplits())
    return run


def log_since(run: Run, before: int) -> str:
    return (run.folder / "log.txt").read_text()[before:]


def test_all_stages_make_one_model(trained):
    model = load_model(trained.model_folder)
    networks, scores = model.card["networks"], model.card["scores"]
    made = {"recognizer", "age_estimator", "generator", "discriminator", "encoder", "gender", "re_ager"}
    assert set(networks) == made
    assert {"recognizer", "age_estimator", "encoder", "identity", "batch"} == set(scores)
    for name, entry in networks.items():
        assert entry["data"] == "noise"
        assert entry["faces"] == 24
        assert entry["stage"] == makers(name)[-1]
    stages = {stage: read_card(trained.folder / stage / "model")["networks"] for stage in JOBS}
    # Each stage says which networks it was made with.
    gan, encoder, identity = (stages[stage] for stage in ("gan", "encoder", "identity"))
    assert encoder["encoder"]["networks"]["generator"] == gan["generator"]["sha256"]
    taken = identity["generator"]["networks"]
    assert taken["generator"] == gan["generator"]["sha256"]
    assert taken["encoder"] == encoder["encoder"]["sha256"]
    assert networks["generator"]["sha256"] == identity["generator"]["sha256"] != gan["generator"]["sha256"]
    photo = networks["re_ager"]["networks"]
    assert photo == {name: networks[name]["sha256"] for name in ("encoder", "generator", "age_estimator")}
    with Image.open(trained.folder / "faces.png") as faces:
        assert faces.size[0] == 8 * 66 + 2


def test_pictures_of_every_epoch(trained):
    for stage, picture in (("gan", "samples"), ("encoder", "faces"), ("identity", "faces"), ("photo", "portraits")):
        names = {path.name for path in (trained.folder / stage).glob("*.png")}
        assert {"reals.png", f"{picture}-0001.png", f"{picture}-0002.png"} == names


def test_what_has_ended_is_skipped_and_what_has_not_goes_on(trained):
    before = len(log_since(trained, 0))
    train_all(options(), trained, TinySplits())
    said = log_since(trained, before)
    assert said.count("ended before") == len(JOBS)

    before += len(said)
    train_all(options("photo.epochs=3"), trained, TinySplits())
    said = log_since(trained, before)
    assert said.count("ended before") == len(JOBS) - 1
    assert "photo: epoch 3/3" in said
    assert "photo: epoch 2/3" not in said


def test_a_stage_without_what_it_needs_says_what_to_train(narrow, tmp_path):
    with pytest.raises(UsageError, match="identity needs the encoder") as error:
        train_stage(JOBS["identity"], options()["identity"], Run(tmp_path), TinySplits())
    assert "faceage train encoder" in error.value.hint


def test_another_models_networks_stand_in_for_earlier_stages(trained, tmp_path):
    chosen = dataclasses.replace(options()["encoder"], epochs=1)
    run = Run(tmp_path, start=trained.model_folder)
    train_stage(JOBS["encoder"], chosen, run, TinySplits())
    card = read_card(run.model_folder)
    start = read_card(trained.model_folder)["networks"]
    # The same stage without --start goes on with what it was begun with.
    assert train_stage(JOBS["encoder"], dataclasses.replace(chosen, epochs=2), Run(tmp_path), TinySplits())
    assert "encoder: epoch 2/2" in (tmp_path / "log.txt").read_text()
    assert set(card["networks"]) == {"encoder"}
    assert card["networks"]["encoder"]["networks"] == {name: start[name]["sha256"] for name in ("generator", "encoder")}


def test_a_recognizer_that_knows_nobody_is_not_looked_through(trained, tmp_path):
    strict = options("identity.min_accuracy=1")["identity"]
    with pytest.raises(UsageError, match=r"balanced accuracy; identity asks for 100%"):
        train_stage(JOBS["identity"], strict, Run(tmp_path, start=trained.model_folder), TinySplits())


class Strangers(TinySplits):
    """Faces of nobody in particular."""

    @property
    def test(self):
        return dataclasses.replace(face_set(seed=2), identities=("",) * 24)


@pytest.mark.parametrize(
    ("setting", "data", "said"),
    [
        ("identity.min_accuracy=0.5", Strangers(), "the recogniser was not measured on people"),
        ("age.start_share=0.5", TinySplits(), "start_share needs an age estimator to begin with"),
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_what_would_stop_a_later_stage_is_told_before_the_first(tmp_path, setting, data, said, restart):
    with pytest.raises(UsageError, match=said):
        train_all(options(setting), Run(tmp_path), data, restart)
    assert not list(tmp_path.iterdir())


def test_what_a_later_stage_needs_may_come_from_earlier_stages_other_people_or_another_model(trained, tmp_path):
    strict, nobody = options("identity.min_accuracy=0.5"), [""] * 24
    begun = options("identity.min_accuracy=0.5", "age.start_share=0.5")
    for chosen, run, identities in (
        (strict, Run(tmp_path), TinySplits().test.identities),
        (strict, Run(tmp_path, people=tmp_path), nobody),
        (begun, Run(tmp_path, people=tmp_path, start=trained.model_folder), nobody),
        (options(), Run(tmp_path), nobody),
    ):
        check_plan(make_plan(chosen, run, None, 24), run, identities)


def test_a_recogniser_that_has_ended_is_measured_on_other_people(trained, tmp_path, monkeypatch):
    measured = []

    def load_people(folder):
        measured.append(folder)
        return face_set(seed=3).faces, face_set(seed=3).identities

    monkeypatch.setattr("faceage.training.recognizer.load_people", load_people)
    before = read_card(trained.model_folder)
    run = Run(trained.folder, people=tmp_path / "lfw")
    for _ in range(2):
        assert not train_stage(JOBS["recognizer"], options()["recognizer"], run, TinySplits())
        for folder in (run.model_folder, run.folder / "recognizer" / "model"):
            scores = read_card(folder)["scores"]["recognizer"]
            assert scores["same_different"]["data"] == "lfw"
            assert scores["threshold"] == scores["same_different"]["threshold"]
    assert measured == [tmp_path / "lfw"]
    assert read_card(run.model_folder)["networks"] == before["networks"]


def test_a_plan_says_what_is_left(trained, tmp_path):
    plan = make_plan(options("photo.epochs=4"), trained, TinySplits(), faces=24)
    assert [(stage.name, stage.steps, stage.left) for stage in plan] == [
        ("recognizer", 4, 0),
        ("age", 4, 0),
        ("gan", 4, 0),
        ("encoder", 4, 0),
        ("identity", 4, 0),
        ("photo", 8, 8 - 2 * stage_position(trained, "photo").epoch),
    ]
    # Whatever builds on a stage that is trained on is trained anew.
    plan = make_plan(options("gan.epochs=3"), trained, TinySplits(), faces=24)
    assert [stage.left > 0 for stage in plan] == [False, False, True, False, False, False]
    one_pass = make_plan(options("gan.steps_per_epoch=0"), Run(tmp_path), None, faces=1001)[2]
    assert one_pass.steps == one_pass.left == 2 * 126


def test_a_dry_run_trains_nothing(tmp_path, write_faces):
    data = write_faces(tmp_path / "faces.h5", [face_set(24, seed) for seed in range(3)])
    command = ("train", "all", "--data", data, "--run", tmp_path / "run", "--dry-run", "--epochs", 2)
    result = faceage(*command, "--set", "gan.steps_per_epoch=0", "--json")
    assert result.returncode == 0, result.stderr
    stages = json.loads(result.stdout)["stages"]
    assert [stage["stage"] for stage in stages] == list(JOBS)
    assert (stages[2]["steps"], stages[2]["left"]) == (2, 2)
    told = faceage(*command)
    assert "photo" in told.stdout
    # 72 faces.
    assert told.stderr.count("; the paper has 5000 of each class or more\n") == 6
    write_faces(data, [dataclasses.replace(face_set(24, seed), identities=("",) * 24) for seed in range(3)])
    refused = faceage(*command)
    assert refused.returncode == 2
    assert "photo" in refused.stdout
    assert "the recogniser was not measured on people" in refused.stderr
    assert "--people DIR" in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("age",), True),
        (("age", "--dry-run"), True),
        (("all", "--dry-run"), True),
        (("age", "--restart"), True),
        (("gan", "--restart", "--dry-run"), False),
        (("all", "--restart", "--dry-run", "--set", "identity.min_accuracy=0"), False),
    ],
)
def test_other_data_are_refused_before_they_are_prepared(tmp_path, write_faces, arguments, refused):
    """A run whose GAN has begun."""
    data = write_faces(tmp_path / "data.h5", [face_set(24, seed) for seed in range(3)])
    with h5py.File(data, "a") as file:
        file.attrs["rows_sha256"] = "of other rows"
    (tmp_path / "gan").mkdir()
    with h5py.File(tmp_path / "gan" / "last.weights.h5", "w") as file:
        file.create_group("faceage").attrs.update(epoch=1, step=0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "30_0_0_1.jpg").touch()
    before = data.read_bytes()
    result = faceage("train", *arguments, "--data", tmp_path / "other", "--run", tmp_path)
    assert ("was prepared from other photos" in result.stderr) == refused, result.stderr
    assert result.returncode == 2 * refused
    assert data.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("--restart",)])
@pytest.mark.parametrize("saved", [False, True])
def test_an_interrupted_command_says_how_it_goes_on(tmp_path, write_faces, monkeypatch, arguments, saved):
    def interrupted(*what):
        if saved:
            raise Interrupted("SIGTERM: gan is saved at step 1 of epoch 1")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("faceage.training.run.train_stage", interrupted)
    data = write_faces(tmp_path / "faces.h5", [face_set()])
    result = faceage("train", "gan", "--data", data, "--run", tmp_path / "run", *arguments)
    assert result.returncode == 130
    assert "the same command goes on from there" in result.stderr
    # It would begin again.
    assert ("without --restart" in result.stderr) == bool(arguments)


def test_a_stage_that_is_trained_on_spoils_no_later_one_unasked(trained):
    before = {path: path.read_bytes() for path in trained.folder.rglob("*.weights.h5")}
    with pytest.raises(UsageError, match="encoder was trained with another discriminator and generator") as error:
        train_all(options("gan.epochs=3"), trained, TinySplits())
    assert "--restart" in error.value.hint
    assert {path: path.read_bytes() for path in trained.folder.rglob("*.weights.h5")} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gan", "--set", "lerning_rate=1"), "the gan stage has no option 'lerning_rate'"),
        (("gan", "--set", "weight_decay=1"), "the gan stage has no option 'weight_decay'"),
        (("all", "--set", "gan.weight_decay=1"), "the gan stage has no option 'weight_decay'"),
        (("all", "--set", "epochs=1"), "names no stage"),
        (("all", "--preset", "papers"), "there is no preset 'papers'"),
        (("gan", "--set", "epochs=many"), "epochs is a whole number"),
        (("gan", "--set", "epochs"), "is not KEY=VALUE"),
        (("all", "--data", "nowhere"), "--data nowhere does not exist"),
    ],
)
def test_a_wrong_command_is_told_before_anything_is_read(tmp_path, arguments, said):
    (tmp_path / "data").mkdir()
    result = faceage("train", arguments[0], "--data", tmp_path / "data", "--run", tmp_path / "run", *arguments[1:])
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


SMALL = [
    *(item for stage in JOBS for item in ("--set", f"{stage}.steps_per_epoch=3", "--set", f"{stage}.batch_size=16")),
    *("--epochs", "2", "--set", "identity.min_accuracy=0", "--set", "identity.head_start=3"),
]


@pytest.mark.slow
def test_imdb_wiki_to_aged_photos_killed_in_every_stage(tmp_path):
    if not (DATA / "utkface").is_dir():
        pytest.skip(f"no data set in {DATA / 'utkface'}")
    root, run = tmp_path / "imdb_wiki", tmp_path / "run"
    tree = write_tree(root, utkface_photos(300))
    command = ["train", "all", "--data", root, "--run", run, *SMALL]
    for stage in JOBS:
        kill_when(command, run / "log.txt", f" {stage}: epoch 1/2")
    result = faceage_alone(*command)
    assert result.returncode == 0, result.stderr
    log = (run / "log.txt").read_text()
    for stage in JOBS:
        assert log.count(f" {stage}: epoch 2/2") == 1, stage
    load_model(run / "model")

    out = tmp_path / "aged"
    examples = Path(__file__).parent.parent / "examples"
    refused = faceage_alone("batch", examples, "--out", out, "--weights", run / "model", "--steps", "5")
    # Six steps teach a recogniser nothing, or nobody could tell: few people are in so small a test split.
    measured = read_card(run / "model")["scores"]["recognizer"].get("same_different", {"balanced_accuracy": 0})
    assert refused.returncode == (2 if measured["balanced_accuracy"] < 0.8 else 0)
    asked = ("--weights", run / "model", "--steps", "5", "--any-recognizer")
    result = faceage_alone("batch", examples, "--out", out, *asked)
    assert result.returncode == 0, result.stderr
    with h5py.File(out / "latents.h5") as file:
        assert len(file["latent"]) >= 4
        assert np.isfinite(file["latent"][:]).all()

    with h5py.File(run / "data.h5") as file:
        dropped = dict(zip(file["dropped/source"].asstr()[:], file["dropped/reason"].asstr()[:], strict=True))
        ages = dict(zip(file["source"].asstr()[:], file["age"][:], strict=True))
    # The detector may miss a real face or two.
    missed = dropped.keys() - tree.dropped.keys()
    assert {source: reason for source, reason in dropped.items() if source in tree.dropped} == tree.dropped
    assert {dropped[source] for source in missed} <= {"no face"}
    assert len(missed) <= 15
    assert ages == {source: age for source, age in tree.ages.items() if source not in missed}


def kill_when(command: list, log: Path, line: str) -> None:
    """Start a command and kill it as soon as its log holds a line."""
    process = subprocess.Popen([sys.executable, "-m", "faceage", *map(str, command)], stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while line not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, f"ended before {line!r}"
        assert time.monotonic() - started < 600
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("stage", JOBS)
def test_each_stage_is_a_command_of_its_own(tmp_path, write_faces, stage):
    data = write_faces(tmp_path / "faces.h5", [face_set(24, seed) for seed in range(3)])
    run = tmp_path / "run"
    small = ("--epochs", 1, "--set", "steps_per_epoch=1", "--set", "batch_size=4", "--start", find_model())
    alone = ("--set", "head_start=1") if stage == "identity" else ()
    result = faceage_alone("train", stage, "--data", data, "--run", run, *small, *alone)
    assert result.returncode == 0, result.stderr
    assert f" {stage}: ended after 1 steps" in (run / "log.txt").read_text()
    card = read_card(run / "model")
    for name in JOBS[stage].MAKES:
        assert card["networks"][name]["steps"] == 1
        check_files(run / "model", card, [name])
