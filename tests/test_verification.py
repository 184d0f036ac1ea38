"""Pairs, against loops over them, and the score of a threshold."""

import keras
import numpy as np
import pytest
from PIL import Image

from faceage.errors import DataError
from faceage.evaluation.verification import (
    Verification,
    best_threshold,
    embed,
    load_people,
    pair_distances,
    same_pairs,
    verify,
)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_pairs_are_those_of_two_loops(count):
    random = np.random.default_rng(count)
    embeddings = random.standard_normal((count, 5)).astype(np.float32)
    people = [f"person {i}" for i in random.integers(0, 3, count)]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    distances, same = pair_distances(embeddings), same_pairs(people)
    assert len(distances) == len(same) == len(pairs)
    expected = [np.linalg.norm(embeddings[i] - embeddings[j]) for i, j in pairs]
    np.testing.assert_allclose(distances, expected, rtol=1e-5)
    assert same.tolist() == [people[i] == people[j] for i, j in pairs]


def test_verify_on_a_case_done_by_hand():
    distances = np.array([0.2, 0.5, 0.9, 0.4, 0.5, 0.8, 1.2, 0.1])
    same = np.array([True, True, True, False, False, False, False, False])
    # Nearer than 0.5: one of three same pairs, two of five different ones.
    expected = Verification(0.5, balanced_accuracy=0.4667, same=0.3333, different=0.6, same_pairs=3, different_pairs=5)
    assert verify(distances, same, 0.5) == expected


@pytest.mark.parametrize(("threshold", "same", "different"), [(0.0, 0, 1), (9.0, 1, 0), (0.5, 1, 1)])
def test_verify_at_the_ends_and_between(threshold, same, different):
    found = verify(np.array([0.1, 0.2, 0.6, 0.7]), np.array([True, True, False, False]), threshold)
    assert (found.same, found.different) == (same, different)
    assert found.balanced_accuracy == (same + different) / 2


def highest_accuracy(distances: np.ndarray, same: np.ndarray) -> float:
    """Balanced accuracy of the best of all thresholds, tried one after the other."""
    ordered = np.unique(distances)
    tried = [ordered[0], *(ordered[1:] + ordered[:-1]) / 2, ordered[-1] + 1]
    return max(verify(distances, same, float(threshold)).balanced_accuracy for threshold in tried)


@pytest.mark.parametrize("steps", [0, 4, 40], ids=["no ties", "many ties", "some ties"])
def test_best_threshold_is_the_best_of_all(steps):
    random = np.random.default_rng(0)
    for count in random.integers(0, 60, 40):
        same = np.r_[True, False, random.random(count) < 0.3]
        distances = random.uniform(0.5, 2, len(same)) - 0.5 * same
        distances = np.rint(distances * steps) / steps if steps else distances
        found = verify(distances, same, best_threshold(distances, same)).balanced_accuracy
        assert found == pytest.approx(highest_accuracy(distances, same), abs=1e-4), count


def test_best_threshold_on_ties_done_by_hand():
    # Both of 0.5 can only be taken together: half of the strangers is the best there is.
    distances, same = np.array([0.5, 0.5, 0.9]), np.array([True, False, False])
    assert 0.5 < best_threshold(distances, same) <= 0.9


def test_best_threshold_lies_between_kinds_that_do_not_overlap():
    distances, same = np.array([0.7, 0.1, 0.2, 0.8]), np.array([False, True, True, False])
    assert best_threshold(distances, same) == pytest.approx(0.45)
    assert verify(distances, same, best_threshold(distances, same)).balanced_accuracy == 1
    assert verify(distances, ~same, best_threshold(distances, ~same)).balanced_accuracy == 0.5


def test_an_embedding_is_the_mean_of_both_mirror_images():
    face = keras.Input((64, 64, 3))
    # Looks at two columns alone, which the mirror image exchanges.
    network = keras.Model(face, keras.layers.Flatten()(face[:, 0, ::63]))
    faces = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    found = embed(network, faces)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found, embed(network, faces[:, :, ::-1]))
    np.testing.assert_allclose(found[:, :3], found[:, 3:], atol=1e-6)


@pytest.fixture
def people(tmp_path, astronaut):
    """A folder of a person's subfolder each, made by `people(ann=[photo, …], …)`."""

    def make(**photos):
        for name, pictures in photos.items():
            (tmp_path / name).mkdir()
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
        return tmp_path

    return make


def test_people_are_their_folders_and_a_lost_photo_takes_its_name_along(people, astronaut):
    face = astronaut[10:250, 105:345]
    dark, mirrored, blank = face // 2, face[:, ::-1], np.zeros_like(face)
    folder = people(ann=[blank, face, dark], bob=[mirrored, blank])
    (folder / "ann" / "broken.png").write_text("no image")
    faces, names = load_people(folder)
    assert names == ["ann", "ann", "bob"]
    assert faces.shape == (3, 64, 64, 3)
    assert faces.dtype == np.uint8
    bright, half, other = faces.astype(float)
    # Each face is of the photo that its name came with.
    assert np.abs(bright / 2 - half).mean() < 10
    assert np.abs(bright[:, ::-1] - other).mean() < 10 < np.abs(bright - other).mean()


@pytest.mark.parametrize("names", [["ann"], ["ann", "bob"], []], ids=["one person", "nobody twice", "nobody"])
def test_people_without_both_kinds_of_pairs_are_an_error(people, astronaut, names):
    face = astronaut[10:250, 105:345]
    pictures = [face] if len(names) == 2 else [face, face]
    folder = people(**dict.fromkeys(names, pictures))
    with pytest.raises(DataError, match="does not hold photos of several people") as error:
        load_people(folder)
    assert "one subfolder per person" in error.value.hint
