"""The photo's details in faces at other ages."""

import numpy as np
import pytest

from faceage.latents.details import keep_details
from faceage.photos.align import TEMPLATE


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def smooth(random: np.random.Generator, count: int) -> np.ndarray:
    """Faces without anything fine, (count, 64, 64, 3) uint8, grey levels 64 to 192."""
    y, x = np.mgrid[:64, :64] / 64
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.uniform(-1.5, 1.5, (3 * count, 3))]
    return np.rint(128 + 64 * np.stack(waves, -1)).astype(np.uint8).reshape(64, 64, count, 3).transpose(2, 0, 1, 3)


def test_none_of_them_leaves_faces_as_they_are(random):
    photo, *drawn = random.integers(0, 256, (8, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(keep_details(photo, np.stack(drawn), 0), drawn)


def test_the_person_at_their_own_age_is_gs_own(random):
    photo, *drawn = random.integers(0, 256, (4, 64, 64, 3), np.uint8)
    found = keep_details(photo, np.stack(drawn), 1)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], drawn[0])
    assert (found[1] != drawn[1]).any()


def test_eyes_and_surroundings_are_the_photos_and_skin_is_gs(random):
    photo, own = smooth(random, 2)
    # An age that changes nothing.
    (found,) = keep_details(photo, np.stack([own, own]), 1)[1:]
    missed = np.abs(photo.astype(float) - own).mean(-1)
    still = np.abs(photo.astype(float) - found).mean(-1) / np.maximum(missed, 1)
    (left, top), (right, _) = TEMPLATE[:2].astype(int)
    for row, column in ((top, left), (top, right), (0, 0), (63, 63), (32, 0), (32, 63)):
        assert still[row, column] < 0.3
    # Between the brows, and the cheeks.
    for row, column in ((14, 32), (29, 18), (29, 46)):
        assert still[row, column] > 0.8
    half = keep_details(photo, np.stack([own, own]), 0.5)[1].astype(float)
    np.testing.assert_allclose(half, (own.astype(float) + found) / 2, atol=1)


def test_what_changes_slowly_with_age_changes_everywhere(random):
    photo, darker = smooth(random, 2)
    found = keep_details(photo, np.stack([photo, darker]), 1)[1].astype(float)
    middle = slice(8, -8)
    np.testing.assert_allclose(found[middle, middle], darker[middle, middle], atol=3)


def test_what_changes_finely_with_age_is_kept_on_the_skin_and_weakened_around_it(random):
    (photo,) = smooth(random, 1)
    folds = np.where(np.indices((64, 64)).sum(0) % 2, 20, -20)[..., None]
    older = (photo + folds).astype(np.uint8)
    change = keep_details(photo, np.stack([photo, older]), 1)[1].astype(float) - photo
    assert abs(change[14, 32]).mean() > 19
    assert abs(change[2:6, 2:6]).mean() < 13


def test_every_age_is_treated_alike(random):
    photo, *drawn = random.integers(0, 256, (4, 64, 64, 3), np.uint8)
    together = keep_details(photo, np.stack(drawn), 0.7)
    for i in (1, 2):
        np.testing.assert_array_equal(keep_details(photo, np.stack([drawn[0], drawn[i]]), 0.7)[1], together[i])
