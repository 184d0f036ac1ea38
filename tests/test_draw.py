"""People drawn from rows of latents: by the generator, and as photographs."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from shared import PICTURES_AT_ONCE, small_batches, with_re_ager

from faceage.ages import age_weights, one_hot, parse_ages
from faceage.data.dataset import FaceSet
from faceage.errors import WeightsError
from faceage.genders import GENDERS, one_hot_genders
from faceage.images import decode_portrait, encode_portrait
from faceage.model import load_model
from faceage.networks.predict import predict
from faceage.networks.re_ager import re_ager
from faceage.people.draw import PeoplePainter
from faceage.people.re_age import photo_strengths
from faceage.training.gender import SHARE, gender_network

AGES = parse_ages("0-18,25,80")


@pytest.fixture(scope="module", autouse=True)
def at_once():
    """How many people are drawn at once: few, for every batch is filled up."""
    with pytest.MonkeyPatch.context() as patch:
        small_batches(patch.setattr)
        yield


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

    return [make(number) for number in range(PICTURES_AT_ONCE + 1)]


def assert_alike(one, other) -> None:
    for name in ("photo", "rebuilt", "unaged", "aged"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_generator_draws_64_pixels_beside_the_portrait(model, rows):
    for person, row in zip(PeoplePainter(with_re_ager(model, None))(rows[:3], AGES, 1.4), rows, strict=False):
        np.testing.assert_array_equal(person.photo, decode_portrait(row.portrait))
        assert person.aged.shape == (3, 64, 64, 3)
        np.testing.assert_array_equal(person.unaged, person.rebuilt)
        assert (person.aged[0] != person.aged[1]).any()
        assert (person.aged[1] != person.aged[2]).any()


def test_nobody_depends_on_who_is_drawn_with_them(model, rows):
    paint = PeoplePainter(model)
    together = paint(rows, AGES, 1.4)
    assert len(together) == PICTURES_AT_ONCE + 1
    for number in (0, PICTURES_AT_ONCE - 1, PICTURES_AT_ONCE):
        assert_alike(paint([rows[number]], AGES, 1.4)[0], together[number])
    assert paint([], AGES, 1.4) == []


def test_the_re_ager_draws_portraits_of_those_who_have_one(model, rows):
    model = with_re_ager(model, re_ager())
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


def test_a_sepia_photo_stays_sepia(model, rows):
    random = np.random.default_rng(1)
    luma = random.integers(20, 235, (160, 160, 1)) + np.zeros(3)
    sepia = np.clip(np.rint(luma + [18, 2, -24] * (1 - luma / 255) + random.normal(0, 1, luma.shape)), 0, 255)
    row = replace(rows[0], portrait=encode_portrait(sepia.astype(np.uint8)), aligned=sepia[:64, :64].astype(np.uint8))
    person = PeoplePainter(model)([row], AGES, 1.4)[0]
    assert (person.aged[0] != person.aged[2]).any()
    for pixels in (person.rebuilt, person.unaged, person.aged):
        red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
        shown = (pixels @ np.array([0.299, 0.587, 0.114]))[(green > 30) & (green < 225)]
        for channel, beyond in ((red, 18), (blue, -24)):
            over = (channel - green)[(green > 30) & (green < 225)]
            np.testing.assert_allclose(over, (beyond - 2) * (1 - shown / 255), atol=3)


def test_people_whose_gender_is_said_are_drawn_as_such_at_other_ages(model, rows):
    children = [replace(row, age=np.eye(6, dtype=np.float32)[0], latent=row.latent / 2) for row in rows[:8]]
    seen, as_said = {}, {}
    for said in (None, *GENDERS):
        people = PeoplePainter(model, "generator", said)(children, parse_ages("30-39,50-59"), 1.4)
        seen[said] = np.stack([person.rebuilt for person in people])
        faces = np.concatenate([person.aged for person in people])
        as_said[said] = np.mean(predict(model.encoder, faces) @ (direction_of(model.gender, "male")), axis=0)
    np.testing.assert_array_equal(seen["female"], seen["male"])
    np.testing.assert_array_equal(seen["female"], seen[None])
    assert as_said["female"] < as_said[None] < as_said["male"]


def direction_of(network, said: str) -> np.ndarray:
    return keras.ops.convert_to_numpy(network(one_hot_genders([said])))[0]


def test_a_gender_is_what_lies_between_the_latents_of_women_and_of_men(model):
    random = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 40, 200]], np.uint8)
    genders = tuple(random.choice(GENDERS, 40))
    faces = np.stack([np.broadcast_to(colours[GENDERS.index(name)], (64, 64, 3)) for name in genders])
    classes = np.arange(40) % 6
    people = FaceSet(faces, classes * 10 + 9, classes, ("",) * 40, genders, ("",) * 40, np.zeros((40, 5, 2)), Path())
    found = gender_network(model.encoder, people)
    female, male = predict(model.encoder, np.broadcast_to(colours[:, None, None], (2, 64, 64, 3)))
    for name, sign in zip(GENDERS, (-1, 1), strict=True):
        np.testing.assert_allclose(direction_of(found, name), sign * SHARE / 2 * (male - female), atol=1e-4)
    np.testing.assert_array_equal(direction_of(found, ""), np.zeros(100))
    only_children = replace(people, classes=np.zeros(40, int))
    assert gender_network(model.encoder, only_children) is None


def test_a_model_that_knows_no_genders_says_so(model):
    card = {**model.card, "networks": {k: v for k, v in model.card["networks"].items() if k != "gender"}}
    with pytest.raises(WeightsError, match="has no gender"):
        PeoplePainter(replace(model, card=card), gender="female")


def test_photographs_ask_more_of_adults_between_the_outermost_ages_and_no_more_of_children():
    child, adult = photo_strengths(one_hot([0, 2]), list(one_hot(range(6))), 1.5)
    np.testing.assert_allclose(child, 1.5)
    assert adult[2:5].min() > 1.3 * 1.5 > adult[[0, 1, 5]].max()
    (years,) = photo_strengths(one_hot([2]), [age_weights(50)], 1.5)
    assert adult[3] <= years[0] <= adult[4] + 1e-6
