"""The photo's details in faces at other ages."""

import numpy as np
import pytest

from faceage.ages import emphasis, one_hot
from faceage.faces.align import TEMPLATE
from faceage.model import find_model, load_model
from faceage.people.details import add_details, keep_details
from faceage.people.draw import draw_mirrored, draw_people
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import OptimiserOptions

(LEFT, TOP), (RIGHT, _) = TEMPLATE[:2].astype(int)
EYES = (TOP, LEFT), (TOP, RIGHT)
AROUND = (2, 2), (61, 61), (32, 2), (32, 61)
SKIN = (14, 32), (29, 18), (29, 46)
"""Row and column between the brows, and of the cheeks."""


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def some(random: np.random.Generator, count: int) -> np.ndarray:
    return random.integers(64, 192, (count, 64, 64, 3), np.uint8)


def share_of(part: np.ndarray, whole: np.ndarray, row: int, column: int) -> float:
    """How much of `whole` there is of `part`, in 5×5 pixels around a place."""
    place = slice(row - 2, row + 3), slice(column - 2, column + 3)
    return float((part[place] * whole[place]).sum() / (whole[place] ** 2).sum())


def test_none_of_them_leaves_faces_as_they_are(random):
    photo, *drawn = some(random, 8)
    np.testing.assert_array_equal(keep_details(photo, np.stack(drawn), np.stack(drawn), 0), drawn)


def test_the_person_at_their_own_age_is_gs_own(random):
    photo, *drawn = some(random, 4)
    found = keep_details(photo, np.stack(drawn), np.stack(drawn[::-1]), 1)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], drawn[0])
    assert (found[1] != drawn[1]).any()


def test_what_g_misses_comes_back_at_the_eyes_and_around_the_face_but_not_on_the_skin(random):
    photo, own = some(random, 2)
    # An age that changes nothing.
    people = np.stack([own, own])
    missed = photo.astype(float) - own
    back = keep_details(photo, people, people, 1)[1].astype(float) - own
    for row, column in EYES:
        assert share_of(back, missed, row, column) > 0.7
    for row, column in AROUND:
        assert 0.5 < share_of(back, missed, row, column) < 0.7
    for row, column in SKIN:
        assert share_of(back, missed, row, column) < 0.2
    half = keep_details(photo, people, people, 0.5)[1].astype(float) - own
    np.testing.assert_allclose(half, back / 2, atol=0.6)


def test_age_changes_the_skin_more_than_the_eyes(random):
    (photo,) = some(random, 1)
    change = random.integers(-30, 31, photo.shape)
    people = np.stack([photo, (photo + change).astype(np.uint8)])
    found = keep_details(photo, people, people, 1)[1].astype(float) - photo
    for row, column in EYES:
        assert share_of(found, change, row, column) < 0.5
    for row, column in (*SKIN, *AROUND):
        assert share_of(found, change, row, column) > 0.9


def test_a_stain_in_one_of_the_two_is_halved_and_what_is_in_both_stays(random):
    (photo,) = some(random, 1)
    older = photo.astype(int)
    older[12:17, 30:35] += 40
    stained = older.copy()
    stained[27:32, 16:21] -= 60
    people, mirrored = (np.stack([photo, face.astype(np.uint8)]) for face in (stained, older))
    found = keep_details(photo, people, mirrored, 1)[1].astype(float) - photo
    assert found[14, 32].mean() == pytest.approx(40, abs=2)
    assert found[29, 18].mean() == pytest.approx(-30, abs=2)


def test_a_mirrored_photo_is_drawn_as_its_mirror_image_would_be(astronaut):
    from faceage.faces.align import align, face_transform
    from faceage.faces.detect import Detector

    model = load_model(find_model())
    (face,) = Detector().detect([astronaut])[0]
    aligned = align(astronaut, face_transform(face.landmarks))[None]
    encode = LatentOptimiser(model.fast, OptimiserOptions(objective="none"), batch_size=1, age_class=1)
    latents, asked = encode(aligned), list(one_hot([0, 5]))
    mirrored = draw_mirrored(model, aligned, latents, asked, 1.2)
    of_mirror = draw_people(model.person_generator, encode(aligned[:, :, ::-1]), asked, 1.2)
    # The optimiser's encoder is of another precision.
    assert np.abs(mirrored[:, :, :, ::-1].astype(int) - of_mirror).mean() < 2
    drawn = draw_people(model.person_generator, latents, asked, 1.2)
    assert np.abs(mirrored.astype(int) - drawn).mean() > 2
    found = add_details(model, aligned, latents, drawn, asked, 1.2, 1)
    nearer, before = (np.abs(faces[0, 1:, 10:50, 10:54].astype(int) - aligned[0, 10:50, 10:54]).mean((1, 2, 3))
                      for faces in (found, drawn))  # fmt: skip
    assert (nearer < before).all()
    np.testing.assert_array_equal(add_details(model, aligned, latents, drawn, asked, 1.2, 0), drawn)


def test_an_age_between_two_classes_takes_strength_between_theirs():
    young, middle = (emphasis(age) for age in one_hot([1, 3]))
    assert young < 1 < middle
    assert emphasis((one_hot([1])[0] + one_hot([3])[0]) / 2) == pytest.approx((young + middle) / 2)
