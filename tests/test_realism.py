"""The Fréchet distance: where it is zero, where it is known, and that it follows how real faces look."""

import keras
import numpy as np
import pytest
from tiny_training import face_set

from faceage.errors import DataError
from faceage.evaluation.realism import frechet, realism, realism_floor
from faceage.networks.generator import generator


def gaussian(count: int = 4000, size: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def test_equal_sets_are_no_distance_apart():
    rows = gaussian()
    assert frechet(rows, rows) == pytest.approx(0, abs=1e-4)
    assert frechet(rows, rows[::-1]) == pytest.approx(0, abs=1e-4)


def test_a_shift_costs_its_squared_length():
    rows, shift = gaussian(), np.arange(5, dtype=np.float32)
    assert frechet(rows, rows + shift) == pytest.approx(30, rel=1e-4)


def test_a_change_of_scale_costs_the_difference_of_the_deviations():
    rows, factors = gaussian(), np.array([1, 2, 3, 0.5, 0], np.float32)
    expected = np.square((1 - factors) * rows.std(axis=0, ddof=1)).sum()
    # Columns of a sample are nearly independent, and the closed form is that of columns which are.
    assert frechet(rows, rows * factors) == pytest.approx(expected, rel=0.05)


def test_it_is_symmetric_and_turns_with_the_axes():
    one = gaussian() @ np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
    other = gaussian(3000, seed=2) + 1
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
    found = frechet(one, other)
    assert found > 1
    assert frechet(other, one) == pytest.approx(found, rel=1e-4)
    assert frechet(one @ turn, other @ turn) == pytest.approx(found, rel=1e-4)


def test_fewer_rows_than_columns_give_a_number():
    found = frechet(gaussian(10, 50), gaussian(12, 50, seed=1))
    assert np.isfinite(found)
    assert found > 0


def test_one_face_has_no_distribution():
    with pytest.raises(DataError, match="two faces or more"):
        frechet(gaussian(1, 50), gaussian(12, 50))


@pytest.fixture(scope="module")
def colours() -> keras.Model:
    """A recogniser of mean colours."""
    face = keras.Input((64, 64, 3))
    return keras.Model(face, keras.layers.GlobalAveragePooling2D()(face))


def test_the_floor_is_zero_for_the_same_faces_and_takes_as_many_of_either(colours):
    one, other = face_set(24), face_set(24, seed=1)
    assert realism_floor(colours, one, one) == pytest.approx(0, abs=1e-5)
    assert realism_floor(colours, one, other) > 1e-5
    few = other.take(np.arange(10))
    expected = realism_floor(colours, one.take(np.arange(10)), few)
    assert realism_floor(colours, one, few) == pytest.approx(expected, rel=1e-6)
    assert realism_floor(colours, few, one) == pytest.approx(expected, rel=1e-3)


def test_a_generator_of_one_grey_is_far_and_one_seed_gives_one_answer(colours):
    keras.utils.set_random_seed(0)
    drawing, faces = generator(width=8), face_set(24)
    found = realism(drawing, colours, faces, seed=3)
    assert realism(drawing, colours, faces, seed=3) == found
    assert realism(drawing, colours, faces, seed=4) != found
    # An untrained G draws grey alone: what is missing is nearly the whole mean and variance of the faces.
    grey = keras.Model(drawing.inputs, 0 * drawing.output)
    means = (faces.faces / 127.5 - 1).mean(axis=(1, 2))
    expected = np.square(means.mean(0)).sum() + means.var(axis=0, ddof=1).sum()
    assert realism(grey, colours, faces) == pytest.approx(expected, rel=0.02)
    assert found > 3 * realism_floor(colours, face_set(24), face_set(24, seed=1)) > 0
