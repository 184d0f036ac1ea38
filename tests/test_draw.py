"""People drawn from rows of latents: by the generator, and as photographs."""

from dataclasses import replace

import numpy as np
import pytest

from faceage.ages import parse_ages
from faceage.images import decode_portrait, encode_portrait
from faceage.model import load_model
from faceage.networks.re_ager import re_ager
from faceage.people.draw import PeoplePainter

AGES = parse_ages("0-18,25,80")


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def rows(face_row):
    """People with portraits, more than are drawn at once."""
    random = np.random.default_rng(0)

    def make(number: int):
        row = face_row(f"{number}.jpg")
        age = np.eye(6, dtype=np.float32)[number % 6]
        latent = random.standard_normal(100).astype(np.float32)
        portrait = encode_portrait(random.integers(0, 256, (160, 160, 3), np.uint8))
        return replace(row, age=age, latent=latent, offset=np.zeros(2048, np.float16), portrait=portrait)

    return [make(number) for number in range(33)]


def assert_alike(one, other) -> None:
    for name in ("photo", "rebuilt", "unaged", "aged"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_generator_draws_64_pixels_beside_the_portrait(model, rows):
    for person, row in zip(PeoplePainter(replace(model, re_ager=None))(rows[:3], AGES, 1.4), rows, strict=False):
        np.testing.assert_array_equal(person.photo, decode_portrait(row.portrait))
        assert person.aged.shape == (3, 64, 64, 3)
        np.testing.assert_array_equal(person.unaged, person.rebuilt)
        assert (person.aged[0] != person.aged[1]).any()
        assert (person.aged[1] != person.aged[2]).any()


def test_nobody_depends_on_who_is_drawn_with_them(model, rows):
    paint = PeoplePainter(model)
    together = paint(rows, AGES, 1.4)
    assert len(together) == 33
    for number in (0, 31, 32):
        assert_alike(paint([rows[number]], AGES, 1.4)[0], together[number])
    assert paint([], AGES, 1.4) == []


def test_the_re_ager_draws_portraits_of_those_who_have_one(model, rows):
    model = replace(model)
    object.__setattr__(model, "re_ager", re_ager())
    paint = PeoplePainter(model)
    without = replace(rows[1], portrait=b"")
    with_portrait, plain = paint([rows[0], without], AGES, 1.4)
    assert with_portrait.aged.shape == (3, 160, 160, 3)
    np.testing.assert_array_equal(with_portrait.unaged, decode_portrait(rows[0].portrait))
    assert with_portrait.rebuilt.shape == (64, 64, 3)
    assert plain.aged.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(plain.photo, without.aligned)
    assert_alike(paint([rows[0]], AGES, 1.4)[0], with_portrait)
    generator = PeoplePainter(model, "generator")([rows[0]], AGES, 1.4)[0]
    assert generator.aged.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(generator.rebuilt, with_portrait.rebuilt)


@pytest.mark.parametrize("draw", ["photo", "generator"])
def test_a_grey_photo_stays_grey_in_every_picture(model, rows, draw):
    random = np.random.default_rng(1)
    shades = np.repeat(random.integers(0, 256, (160, 160, 1), np.uint8), 3, axis=2)
    grey = replace(rows[0], portrait=encode_portrait(shades), aligned=shades[:64, :64])
    with_rounding = grey.aligned.copy()
    with_rounding[::3, ::2, 0] = np.clip(with_rounding[::3, ::2, 0], 1, 255) - 1
    people = PeoplePainter(model, draw)([grey, replace(grey, aligned=with_rounding), rows[1]], AGES, 1.4)
    for person in people[:2]:
        for pixels in (person.photo, person.rebuilt, person.unaged, person.aged):
            assert np.ptp(pixels.astype(int), axis=-1).max() == 0
        assert (person.aged[0] != person.aged[2]).any()
    assert np.ptp(people[2].rebuilt.astype(int), axis=-1).max() > 0
