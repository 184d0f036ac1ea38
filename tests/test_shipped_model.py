"""The weights that come along: what they promise, and what they do with real photos."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import faceage_alone, rows_of
from conftest import REPOSITORY

from faceage.model import check_files, read_card
from faceage.model_search import find_model


@pytest.fixture(scope="module")
def scores() -> dict:
    return read_card(find_model())["scores"]


def test_every_file_is_what_the_card_says():
    folder = find_model()
    check_files(folder, read_card(folder))


def test_the_card_gives_data_licence_steps_and_scores():
    folder = find_model()
    card = read_card(folder)
    assert "non-commercial" in card["licence"]
    for name, entry in card["networks"].items():
        assert entry["steps"] > 0, name
        assert entry["data_sha256"], name
    # G as the GAN stage left it, and the identity stage after that.
    assert card["networks"]["generator"]["before"][0]["steps"] >= 8000
    assert (folder / "README.md").exists()


def test_weights_fit_the_limits_of_a_repository():
    sizes = [path.stat().st_size for path in (REPOSITORY / "weights").rglob("*") if path.is_file()]
    assert sum(sizes) < 150e6
    assert max(sizes) < 95e6


def test_the_recogniser_was_measured_to_separate_people(scores):
    assert scores["recognizer"]["same_different"]["balanced_accuracy"] >= 0.90
    assert (
        scores["recognizer"]["same_different"]["same_pairs"] + scores["recognizer"]["same_different"]["different_pairs"]
        == 4950
    )


def test_the_age_estimator_was_measured_to_hit_the_class(scores):
    assert scores["age_estimator"]["exact"] >= 0.60
    assert scores["age_estimator"]["within_one"] >= 0.90


@pytest.fixture(scope="module")
def lfw10_run(lfw10, tmp_path_factory):
    out = tmp_path_factory.mktemp("lfw10")
    return faceage_alone("batch", lfw10, "--out", out), out


@pytest.mark.slow
def test_lfw10_all_photos_have_a_row_and_nearly_all_a_face(lfw10_run):
    result, out = lfw10_run
    rows = rows_of(out)
    assert len(rows) == 100
    assert sum(row["faces"] > 0 for row in rows.values()) >= 98
    assert result.returncode == (0 if all(row["status"] == "ok" for row in rows.values()) else 1)
    for path, row in rows.items():
        for face in range(row["faces"]):
            assert (out / "grids" / f"{path}_{face}.png").exists()


@pytest.mark.slow
def test_lfw10_identity_distance_falls(lfw10_run):
    with h5py.File(lfw10_run[1] / "latents.h5") as file:
        before, after = file["identity_distance"][:].T
    assert (after <= before).all()
    assert (after < before).mean() >= 0.95
    assert np.median(after) <= 0.80 * np.median(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Colin_Powell/Colin_Powell_0003.jpg", "Tony_Blair/Tony_Blair_0010.jpg"])
def test_lfw10_a_photo_alone_gives_the_latent_it_gave_among_others(lfw10, lfw10_run, tmp_path, name):
    assert faceage_alone("batch", lfw10 / name, "--out", tmp_path / "out").returncode == 0
    with h5py.File(lfw10_run[1] / "latents.h5") as among, h5py.File(tmp_path / "out" / "latents.h5") as alone:
        chosen = among["source"].asstr()[:] == name
        np.testing.assert_allclose(alone["latent"][:], among["latent"][:][chosen], atol=1e-3)


@pytest.mark.slow
def test_the_scores_in_the_card_are_what_the_shipped_files_score(lfw10, scores):
    from faceage.evaluation.verification import embed, load_people, pair_distances, same_pairs, verify
    from faceage.model import load_network

    folder = find_model()
    faces, people = load_people(Path(lfw10))
    recognizer = load_network(folder, read_card(folder), "recognizer")
    found = verify(pair_distances(embed(recognizer, faces)), same_pairs(people), scores["recognizer"]["threshold"])
    assert found.balanced_accuracy == pytest.approx(
        scores["recognizer"]["same_different"]["balanced_accuracy"], abs=0.005
    )
    assert json.dumps(scores)


@pytest.mark.slow
def test_lfw10_bfloat16_finds_people_as_well_as_float32(lfw10_run):
    """What `Model.fast` takes on machines that are made for it, judged in float32."""
    from faceage.model import load_model
    from faceage.networks.predict import draw, predict
    from faceage.people.optimise import LatentOptimiser
    from faceage.people.options import OptimiserOptions

    with h5py.File(lfw10_run[1] / "latents.h5") as file:
        faces, before = file["aligned"][:32], file["identity_distance"][:32]
    model = load_model(find_model())
    fast = load_model(find_model(), "mixed_bfloat16")
    found = LatentOptimiser(fast, OptimiserOptions())(faces)
    drawn = draw(model.person_generator, found.latent, found.age, found.offset.astype(np.float32))
    distances = np.linalg.norm(predict(model.recognizer, drawn) - predict(model.recognizer, faces), axis=1)
    assert np.median(distances) == pytest.approx(np.median(before[:, 1]), abs=0.03)
