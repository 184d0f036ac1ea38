"""What is said of aged pictures: the figures against cases done by hand, and the published judges on real faces."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image, ImageFilter
from shared import detector, small_batches, with_re_ager
from tiny_training import face_set

from faceage.ages import AGE_CLASSES
from faceage.data.dataset import load_faces
from faceage.evaluation.people import all_portraits, find_latents, ways_to_draw
from faceage.evaluation.photographs import Judges, judge_photographs, kid, skin_detail
from faceage.evaluation.published import AgeGenderJudge, FeatureJudge
from faceage.model import load_model
from faceage.model_search import find_model
from faceage.networks.re_ager import re_ager
from faceage.people.samples import sample_faces
from faceage.sizes import PORTRAIT_SIZE

SIDE = 16


class Colours:
    """Reads a flat picture: red is the age, green above 100 is a man, blue is who it is."""

    name, threshold = "colours", 0.5

    def ages(self, faces: np.ndarray) -> np.ndarray:
        return faces[:, 0, 0, 0].astype(float)

    def genders(self, faces: np.ndarray) -> np.ndarray:
        return np.where(faces[:, 0, 0, 1] > 100, "male", "female")

    def embed(self, faces: np.ndarray) -> np.ndarray:
        return faces[:, 0, 0, 2:].astype(np.float32)

    def features(self, faces: np.ndarray) -> np.ndarray:
        return faces[:, 0, 0].astype(np.float32) / 100


AGES = np.array([9, 24, 35, 45, 55, 70])


def flat(age, man, who) -> np.ndarray:
    shape = np.broadcast_shapes(*(np.shape(part) for part in (age, man, who)))
    colours = np.stack([np.broadcast_to(part, shape) for part in (age, 200 * np.asarray(man), who)], axis=-1)
    faces = np.broadcast_to(colours[..., None, None, :], (*shape, SIDE, SIDE, 3)).astype(np.uint8)
    # Skin that is flat has no detail to compare with.
    faces[..., 1::3, 1::3, :] += 20
    return faces


@pytest.fixture
def case():
    """Two people of each class, a man and a woman, whose pictures have the target's age exactly; and their photos."""
    faces = face_set(12)
    classes, man, who = np.repeat(np.arange(6), 2), np.tile([True, False], 6), np.arange(12) * 20
    faces = replace(faces, classes=classes, genders=("male", "female") * 6, identities=tuple(map(str, who)))
    portraits = flat(AGES[classes], man, who)
    return faces, portraits, flat(AGES[None], man[:, None], who[:, None])


def judged(case, pictures=None):
    faces, portraits, right = case
    judge = Colours()
    return judge_photographs(
        right if pictures is None else pictures,
        portraits,
        faces,
        (portraits, faces.classes),
        Judges(judge, judge, judge),
    )


def test_right_pictures_are_right_in_everything(case):
    scores = judged(case)
    assert scores.faces == 12
    assert all(found.value == 1 for kind in scores.class_hit.values() for found in kind.values())
    assert scores.age_seen["real"] == scores.age_seen["aged"] == dict(zip(AGE_CLASSES, AGES, strict=True))
    assert scores.age_off["mean"] == scores.age_off["worst"] == 0
    assert sum(one is None for row in scores.age_off["pairs"] for one in row) == 6
    assert (scores.years_added, scores.years_taken) == (70 - 24, (55 + 70) / 2 - 9)
    assert scores.accepted["all"].value == 1
    assert scores.accepted["60+"].count == 12
    assert all(found.value == 1 for row in scores.gender.values() for found in row.values())


def test_what_is_wrong_is_counted_where_it_is(case):
    faces, _, right = case
    wrong = right.copy()
    wrong[:2, 5, ..., 0] = 55  # children at 60+ look 55
    wrong[2, 0, ..., 1] = 0  # a man of 19-29 as a child looks like a girl
    wrong[4:6, 3, ..., 2] += 7  # two of 30-39 at 40-49 are somebody else
    scores = judged(case, wrong)
    assert scores.class_hit["aged"]["60+"].value == pytest.approx(10 / 12, abs=1e-4)
    assert scores.age_off["pairs"][0][5] == -15
    assert scores.age_off["worst"] == 15
    assert scores.age_off["mean"] == pytest.approx(15 / 30)
    assert scores.gender["19-29"]["0-18"].value == 0.5
    assert scores.gender["30-39"]["0-18"].value == 1
    assert scores.accepted["40-49"].value == pytest.approx(10 / 12, abs=1e-4)
    assert scores.accepted["all"].value == pytest.approx(70 / 72, abs=1e-4)
    unknown = replace(faces, genders=("",) * 12)
    assert judged((unknown, *case[1:])).gender["0-18"]["real"].count == 0


def test_the_kernel_distance_is_unbiased_and_grows():
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 300, 40))
    distances = [kid(one, other + shift) for shift in (0, 0.2, 0.5)]
    assert abs(distances[0]) < 20 < distances[1] < distances[2]
    assert kid(other + 0.5, one) == pytest.approx(distances[2])
    # Of few rows it is as far off to either side.
    assert abs(np.mean([kid(*random.standard_normal((2, 10, 40))) for _ in range(300)])) < 30
    assert np.isnan(kid(one[:1], other))


@pytest.fixture(scope="module")
def portraits(astronaut) -> np.ndarray:
    """One face, cut a little differently 12 times."""
    from faceage.faces.align import align, face_transform, resized

    (face,) = detector().detect([astronaut])[0]
    moves = np.random.default_rng(0).normal(0, 2, (12, 1, 2))
    return np.stack([
        align(astronaut, resized(face_transform(face.landmarks + move), PORTRAIT_SIZE), PORTRAIT_SIZE) for move in moves
    ])  # fmt: skip


def each(faces: np.ndarray, change) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(face))) for face in faces])


def test_skin_detail_is_what_blurring_takes_and_noise_adds(portraits):
    blurred = each(portraits, lambda face: face.filter(ImageFilter.GaussianBlur(1.5)))
    noise = np.random.default_rng(0).normal(0, 10, portraits.shape)
    noisy = np.clip(portraits + noise, 0, 255).astype(np.uint8)
    plain = skin_detail(portraits)
    assert (skin_detail(blurred) < 0.6 * plain).all()
    assert (skin_detail(noisy) > 1.5 * plain).all()
    # Brows, eyes and lips are no skin.
    dark = portraits.copy()
    dark[:, 40:53, 40:58] = 0
    assert skin_detail(dark) == pytest.approx(plain, rel=0.15)


def test_the_published_estimator_sees_a_woman_of_her_age(portraits):
    judge = AgeGenderJudge()
    ages = judge.ages(portraits)
    assert ((ages > 20) & (ages < 50)).all()
    assert (judge.genders(portraits) == "female").all()
    # The mirror image is the same person, a smaller copy too, and others in the batch change nothing.
    np.testing.assert_allclose(judge.ages(portraits[:, :, ::-1]), ages, atol=0.01)
    small = each(portraits, lambda face: face.resize((64, 64), Image.Resampling.HAMMING))
    np.testing.assert_allclose(judge.ages(small), ages, atol=1.5)
    np.testing.assert_allclose(judge.ages(portraits[3:4]), ages[3:4], rtol=1e-4)


def test_features_notice_a_grid_of_dots_and_not_how_a_picture_was_saved(portraits, tmp_path):
    judge = FeatureJudge()

    def saved(face: Image.Image) -> Image.Image:
        face.save(tmp_path / "face.jpg", quality=95)
        return Image.open(tmp_path / "face.jpg").convert("RGB")

    dotted = portraits.copy()
    dotted[:, 40:120:6, 40:120:6] //= 2
    features = judge.features(portraits)
    assert features.shape == (12, 1024)
    assert kid(judge.features(dotted), features) > 5 * abs(kid(judge.features(each(portraits, saved)), features))


def test_every_way_to_draw_gives_pictures_of_one_size(tmp_path, write_faces, monkeypatch):
    """The re-ager is untrained: it draws the photo with the generator's change, its skin smoothed."""
    small_batches(monkeypatch.setattr)
    keras.utils.set_random_seed(0)
    model = load_model(find_model())
    people = replace(face_set(4), faces=sample_faces(model.generator, 1, seed=0)[0, :4])
    faces = load_faces(write_faces(tmp_path / "faces.h5", [people] * 3), "test")
    latents = find_latents(model, faces.faces, "initial")
    assert list(ways_to_draw(with_re_ager(model, None))) == ["generator", "plain sum"]
    ways = ways_to_draw(with_re_ager(model, re_ager()))
    assert list(ways) == ["photographs", "gender said", "generator", "plain sum"]
    pictures = {way: draw(faces, latents, 1.0) for way, draw in ways.items()}
    for drawn in pictures.values():
        assert (drawn.shape, drawn.dtype) == ((4, 6, PORTRAIT_SIZE, PORTRAIT_SIZE, 3), np.uint8)
    assert np.abs(pictures["photographs"].astype(int) - pictures["plain sum"]).mean() < 8
    # Strength 0 leaves people at their own age: the plain sum is then the photo.
    assert np.abs(ways["plain sum"](faces, latents, 0.0)[:, 3].astype(int) - all_portraits(faces)).max() <= 1
    # As in a batch, a photo in greys stays in greys.
    grey = replace(faces, faces=np.repeat(faces.faces[..., 1:2], 3, axis=-1))
    for way, draw in ways.items():
        levels = draw(grey.first(1), latents.take(slice(1)), 1.0)
        assert (levels == levels[..., :1]).all(), way
