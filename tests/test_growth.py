"""Proportions of a face from child to adult."""

import numpy as np
import pytest

from faceage.ages import age_weights, years_of
from faceage.faces.align import TEMPLATE
from faceage.faces.growth import GROWN, growth, warp

TURNED = TEMPLATE + np.array([[0, 0], [0, 0], [9, 0], [0, 0], [0, 0]])


@pytest.fixture(scope="module")
def disc() -> np.ndarray:
    """A bright face, as wide as a child's, on black."""
    y, x = np.mgrid[:160, :160] / 2.5
    face = ((x - 32) / 24.5) ** 2 + ((y - 30) / 28) ** 2 < 1
    return np.repeat(face[..., None], 3, axis=2).astype(np.uint8) * 200


def width(face: np.ndarray, row: int = 33) -> int:
    return int((face[int(row * 2.5), :, 0] > 100).sum())


def test_a_childs_face_gets_narrower_and_a_broad_adults_less(disc):
    slim, plain, broad = (width(warp(disc, growth(TEMPLATE, 6, 25, build))) for build in (-1, 0, 1))
    assert slim < plain < broad < width(disc)


def test_growing_younger_is_the_way_back(disc):
    assert width(warp(disc, growth(TEMPLATE, 25, 6))) > width(disc)


@pytest.mark.parametrize(("own", "years", "landmarks"), [(30, 60, TEMPLATE), (6, 6, TEMPLATE), (6, 25, TURNED)])
def test_adults_the_same_age_and_turned_faces_stay_bit_for_bit(disc, own, years, landmarks):
    np.testing.assert_array_equal(warp(disc, growth(landmarks, own, years, build=own > GROWN)), disc)


def test_the_border_stays_so_that_a_face_fits_its_photo():
    shifts = growth(TEMPLATE, 1, 25, 1)
    for edge in (shifts[0], shifts[-1], shifts[:, 0], shifts[:, -1]):
        np.testing.assert_allclose(edge[::8], 0, atol=1e-6)
    assert np.abs(shifts).max() > 1


@pytest.mark.parametrize("years", [0, 3, 6, 9, 12.5, 24, 50, 70, 100])
def test_years_come_back_from_weights(years):
    assert years_of(age_weights(years)[None])[0] == pytest.approx(years, abs=1e-4)
