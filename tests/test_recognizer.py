"""Training the recogniser: each loss against NumPy, which weights it moves, and who may look through the result."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_disk import fill_up
from tiny_training import TinySplits, face_set

from faceage.backend import compile_step, gradients
from faceage.errors import DataError, TrainingError, UsageError
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE
from faceage.files import find_room
from faceage.model import MIN_ACCURACY, check_recognizer
from faceage.networks.augment import view
from faceage.networks.predict import predict
from faceage.networks.recognizer import recognizer
from faceage.networks.residual import residual_trunk
from faceage.training.identity import IdentityJob, IdentityOptions
from faceage.training.job import Inputs
from faceage.training.recognizer import (
    ArcFace,
    Distillation,
    RecognizerJob,
    RecognizerOptions,
    Triplets,
    best_accuracy,
    people_of,
)
from faceage.training.stage import SupervisedStage, unit_faces
from faceage.training.teacher import teacher_embeddings, teachers_threshold

FACES = face_set()
PIXELS = FACES.faces[:12]
PERSON = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], np.int32)


def unit_rows(count: int, size: int = 128) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def small_recognizer() -> keras.Model:
    """The compact recogniser, narrower and less deep."""
    face = keras.Input((64, 64, 3))
    features = layers.Flatten()(residual_trunk(face, width=8, blocks=(1, 1, 1), dtype="float32"))
    return keras.Model(face, layers.UnitNormalization()(layers.Dense(128)(features)))


STAGES = {
    "distillation": (lambda network: Distillation(network, 0), unit_rows(12)),
    "arcface": (lambda network: ArcFace(network, 4, 0.3, 32.0, 0), PERSON),
    "triplets": (lambda network: Triplets(network, 0.3, 0), PERSON),
}


def new_stage(name: str, network: keras.Model | None = None) -> SupervisedStage:
    keras.utils.set_random_seed(0)
    return STAGES[name][0](network or small_recognizer())


def batch(name: str, pixels: np.ndarray = PIXELS) -> tuple:
    return tuple(ops.convert_to_tensor(part) for part in (pixels, STAGES[name][1]))


@pytest.mark.parametrize("name", STAGES)
def test_each_method_moves_the_recogniser_alone_and_learns_a_fixed_batch(name):
    stage = new_stage(name)
    stage.compile(0.01, steps=1000)
    step = compile_step(lambda *data: stage.train_step(data))
    weights = stage.weights
    before = [weight.numpy() for weight in weights]
    losses = []
    for _ in range(20):
        # The same views in each step.
        stage.random.state.assign([0, 0])
        stage.reset_metrics()
        losses.append(float(step(*batch(name))["loss"]))
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:2])
    own = {id(weight) for weight in stage.network.weights} | ({id(stage.centres)} if name == "arcface" else set())
    assert {id(weight) for weight in weights} == own
    still = [w.path for w, old in zip(weights, before, strict=True) if np.array_equal(w.numpy(), old)]
    assert still == []


def embeddings_of(stage: SupervisedStage, pixels: np.ndarray) -> np.ndarray:
    """What the network makes of the views that the next loss will look at."""
    state = stage.random.state.numpy()
    found = stage.network(view(unit_faces(pixels), stage.random, shift=2), training=True)
    stage.random.state.assign(state)
    return ops.convert_to_numpy(found)


def numpy_arcface(embeddings, centres, person, margin, scale) -> float:
    """Deng et al. 2019, formula 3, one face after the other."""
    losses = []
    for embedding, own in zip(embeddings.astype(float), person, strict=True):
        logits = np.array([embedding @ centre / np.linalg.norm(centre) for centre in centres])
        logits[own] = np.cos(np.arccos(logits[own]) + margin)
        logits *= scale
        losses.append(np.log(np.exp(logits - logits[own]).sum()))
    return float(np.mean(losses))


@pytest.mark.parametrize(("margin", "scale"), [(0.0, 1.0), (0.0, 32.0), (0.3, 32.0), (0.5, 64.0)])
def test_arcface_is_softmax_over_cosines_with_a_margin_on_the_own_angle(margin, scale):
    stage = new_stage("arcface")
    stage.margin, stage.scale = margin, scale
    embeddings = embeddings_of(stage, PIXELS)
    loss, values = stage.loss_of(batch("arcface"))
    centres = stage.centres.numpy()
    assert float(loss) == pytest.approx(numpy_arcface(embeddings, centres, PERSON, margin, scale), rel=1e-3)
    nearest = (embeddings @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T).argmax(1)
    assert float(values["accuracy"]) == pytest.approx((nearest == PERSON).mean())


def always(vector: np.ndarray) -> keras.Model:
    """A recogniser that sees one embedding in every face."""
    face = keras.Input((64, 64, 3))
    dense = layers.Dense(128, kernel_initializer="zeros")
    network = keras.Model(face, layers.UnitNormalization()(dense(layers.GlobalAveragePooling2D()(face))))
    dense.bias.assign(vector)
    return network


def test_arcface_pulls_to_the_own_centre_and_off_the_others():
    stage = new_stage("arcface", always(unit_rows(1)[0]))
    stage.centres.assign(unit_rows(5)[1:])
    data = ops.convert_to_tensor(PIXELS[:2]), ops.convert_to_tensor(PERSON[:2])
    _, _, found = gradients(lambda: stage.loss_of(data), [stage.centres, stage.network.layers[-2].bias])
    by_centres, by_embedding = (ops.convert_to_numpy(gradient) for gradient in found)

    def cosines(centres: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        return centres @ embedding / np.linalg.norm(centres, axis=1) / np.linalg.norm(embedding)

    before = stage.centres.numpy(), unit_rows(1)[0]
    for after in (before[0] - 1e-3 * by_centres, before[1]), (before[0], before[1] - 1e-3 * by_embedding):
        change = cosines(*after) - cosines(*before)
        assert change[0] > 0
    assert (cosines(before[0] - 1e-3 * by_centres, before[1]) - cosines(*before))[1:].max() < 0


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.8])
def test_arcface_asks_for_more_the_further_off_even_past_pi(margin):
    start, aside, other = np.eye(128, dtype=np.float32)[:3]
    stage = ArcFace(always(start), 2, margin, 4.0, 0)
    data = ops.convert_to_tensor(PIXELS[:1]), ops.convert_to_tensor(PERSON[:1])
    losses = []
    for angle in np.linspace(0.01, np.pi - 0.01, 50):
        stage.centres.assign([np.cos(angle) * start + np.sin(angle) * aside, other])
        losses.append(float(stage.loss_of(data)[0]))
    assert (np.diff(losses) > 0).all()
    assert np.isfinite(losses).all()


def numpy_triplets(embeddings: np.ndarray, person: np.ndarray, margin: float) -> float:
    """Hermans et al. 2017, batch hard with the soft margin, sharpened five times."""
    losses = []
    for i, name in enumerate(person):
        apart = [np.linalg.norm(embeddings[i] - other) for other in embeddings.astype(float)]
        hardest_same = max(d for d, n in zip(apart, person, strict=True) if n == name)
        hardest_other = min(d for d, n in zip(apart, person, strict=True) if n != name)
        losses.append(np.logaddexp(0, 5 * (hardest_same - hardest_other + margin)) / 5)
    return float(np.mean(losses))


@pytest.mark.parametrize(
    "person", [PERSON, np.arange(12) % 2, np.array([0] * 11 + [1])], ids=["four", "two", "one alone"]
)
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_triplets_take_the_hardest_of_each_kind(person, margin):
    stage = new_stage("triplets")
    stage.margin = margin
    # Embeddings that lie far apart, as a new network's do not.
    for weight in stage.network.layers[-2].trainable_variables:
        weight.assign(np.random.default_rng(0).standard_normal(weight.shape))
    embeddings = embeddings_of(stage, PIXELS)
    loss, values = stage.loss_of((ops.convert_to_tensor(PIXELS), ops.convert_to_tensor(person)))
    assert float(loss) == pytest.approx(numpy_triplets(embeddings, person, margin), rel=1e-3)
    rows, columns = np.triu_indices(12, 1)
    apart, same = np.linalg.norm(embeddings[rows] - embeddings[columns], axis=1), person[rows] == person[columns]
    assert float(values["same"]) == pytest.approx(apart[same].mean(), rel=1e-3)
    assert float(values["different"]) == pytest.approx(apart[~same].mean(), rel=1e-3)
    assert np.ptp(apart) > 0.3


@pytest.mark.parametrize("name", STAGES)
def test_a_face_twice_and_a_batch_of_one_person_leave_gradients_finite(name):
    stage = new_stage(name, always(unit_rows(1)[0]))
    targets = unit_rows(12) if name == "distillation" else np.zeros(12, np.int32)
    data = ops.convert_to_tensor(np.repeat(PIXELS[:1], 12, axis=0)), ops.convert_to_tensor(targets)
    loss, values, found = gradients(lambda: stage.loss_of(data), stage.trained_variables)
    for value in (loss, *values.values(), *found):
        assert np.isfinite(ops.convert_to_numpy(value)).all()


def test_distillation_is_the_cosine_and_how_they_lie_to_each_other():
    stage, targets = new_stage("distillation"), unit_rows(12)
    embeddings = embeddings_of(stage, PIXELS)
    loss, values = stage.loss_of(batch("distillation"))
    cosine = (embeddings * targets).sum(1).mean()
    apart = np.square(embeddings @ embeddings.T - targets @ targets.T).mean()
    assert float(values["cosine"]) == pytest.approx(cosine, abs=1e-4)
    assert float(loss) == pytest.approx(1 - cosine + 10 * apart, rel=1e-3)


def named(*identities: str):
    return replace(face_set(8).take(np.arange(len(identities))), identities=identities)


def test_people_of_are_those_with_two_photos_in_the_order_of_their_names():
    found = people_of(named("zoe", "", "ann", "bob", "zoe", "ann", "", "zoe"))
    assert [group.tolist() for group in found] == [[2, 5], [0, 4, 7]]
    assert people_of(named("", "")) == []
    assert people_of(named("ann", "bob")) == []


def test_threshold_is_as_strict_as_the_teachers_on_pairs_of_one_gender():
    random = np.random.default_rng(0)
    lessons, embeddings = (random.normal(0, 0.04, (60, 128)).astype(np.float32) for _ in range(2))
    genders = [("male", "female", "")[i % 3] for i in range(60)]
    threshold, rate = teachers_threshold(embeddings, lessons, genders)

    def accepted(rows: np.ndarray, limit: float) -> float:
        pairs = [(i, j) for i in range(60) for j in range(i) if genders[i] == genders[j] != ""]
        return float(np.mean([np.linalg.norm(rows[i] - rows[j]) < limit for i, j in pairs]))

    assert 0 < rate < 0.5
    assert accepted(lessons, SAME_PERSON_DISTANCE) == pytest.approx(rate)
    assert accepted(embeddings, threshold) == pytest.approx(rate, abs=0.005)


def test_threshold_without_genders_is_that_of_all_pairs():
    random = np.random.default_rng(0)
    lessons, embeddings = (random.normal(0, 0.04, (30, 128)).astype(np.float32) for _ in range(2))
    threshold, rate = teachers_threshold(embeddings, lessons, [""] * 30)
    assert teachers_threshold(embeddings, lessons, ["male"] * 30) == (threshold, rate)
    assert 0 < rate < 1


def test_best_accuracy_is_one_where_people_are_their_colours():
    faces = np.repeat(np.uint8([0, 0, 255, 255]), 64 * 64 * 3).reshape(4, 64, 64, 3)
    network = always(np.zeros(128, np.float32))
    # Dark and light faces on opposite sides.
    network.layers[-2].kernel.assign(np.ones((3, 128)))
    assert best_accuracy(network, faces, ["ann", "ann", "bob", "bob"]) == 1
    assert best_accuracy(network, faces, ["ann", "bob", "ann", "bob"]) == 0.5
    assert predict(network, faces).shape == (4, 128)


def job(tmp_path, **options) -> RecognizerJob:
    return RecognizerJob(RecognizerOptions(steps_per_epoch=2, **options), Inputs(TinySplits(), tmp_path))


class Strangers(TinySplits):
    """Faces of nobody in particular."""

    @property
    def train(self):
        return replace(face_set(), identities=("",) * 24)


def test_auto_is_arcface_where_people_are_known_and_distillation_elsewhere(tmp_path):
    assert job(tmp_path).method == "arcface"
    strangers = Inputs(Strangers(), tmp_path)
    assert RecognizerJob(RecognizerOptions(), strangers).method == "distil"
    assert job(tmp_path, method="triplet").method == "triplet"
    with pytest.raises(UsageError, match="'facenet'") as error:
        job(tmp_path, method="facenet")
    assert "auto, arcface, triplet, distil" in error.value.hint
    with pytest.raises(DataError, match="does not hold two people with two photos"):
        RecognizerJob(RecognizerOptions(method="triplet"), strangers).prepare()


@pytest.mark.parametrize("method", ["arcface", "triplet"])
def test_batches_of_known_people_number_them_as_the_stage_does(tmp_path, method):
    trained = job(tmp_path, method=method, batch_size=8)
    trained.prepare()
    faces, numbers = trained.batches(1)[0]
    known = people_of(face_set())
    for face, number in zip(faces, numbers, strict=True):
        assert any(np.array_equal(face, face_set().faces[i]) for i in known[number])


class Teacher:
    """In place of dlib: a face's embedding are the colours of its photo, repeated. `lessons` counts them."""

    lessons = 0

    def chip(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return photo

    def embed(self, chips: list[np.ndarray]) -> np.ndarray:
        Teacher.lessons += len(chips)
        return np.stack([np.resize(chip, 128).astype(np.float32) for chip in chips])


@pytest.fixture
def teacher(monkeypatch):
    """A teacher whose photos are numbers: those in their sources, "30_7.jpg"."""
    monkeypatch.setattr(Teacher, "lessons", 0)
    monkeypatch.setattr("faceage.training.teacher.Dlib", Teacher)
    monkeypatch.setattr("faceage.training.teacher.read_photo", lambda path: path.stem)
    monkeypatch.setattr("faceage.training.teacher.decode", lambda stem: np.array(stem.split("_"), int) + 1)
    return Teacher


class Reversed(TinySplits):
    """The same faces in another order."""

    @property
    def train(self):
        return face_set().take(np.arange(24)[::-1])


def test_lessons_of_one_data_set_are_not_given_for_the_faces_of_another(tmp_path, teacher):
    one, other = (
        RecognizerJob(RecognizerOptions(method="distil"), Inputs(data, tmp_path))
        for data in (TinySplits("one"), Reversed("other"))
    )
    np.testing.assert_allclose(one._lessons[1][::-1], other._lessons[1], atol=1e-5)
    assert teacher.lessons == 4 * 24


@pytest.mark.parametrize("room", [0, 4096], ids=["none", "some"])
def test_a_disk_that_is_full_while_dlib_teaches_is_told_and_the_rest_is_taught_later(
    tmp_path, small_disk, teacher, monkeypatch, room
):
    expected = teacher_embeddings(FACES, 20, tmp_path / "cache")
    rest = small_disk / "rest"
    # What others write meanwhile, the room that was found does not say.
    if room:
        monkeypatch.setattr("faceage.training.teacher.find_room", lambda path, size: fill_up(rest, room))
    else:
        fill_up(rest)
    with pytest.raises(TrainingError, match="cannot be written: No space left on device") as error:
        teacher_embeddings(FACES, 20, small_disk / "cache")
    assert "the same command goes on" in error.value.hint
    rest.unlink()
    monkeypatch.setattr("faceage.training.teacher.find_room", find_room)
    teacher.lessons = 0
    told = []
    found = teacher_embeddings(FACES, 20, small_disk / "cache", told.append)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert told[0] == 20 - teacher.lessons == (8 if room else 0)


def test_a_network_to_begin_with_must_be_of_the_kind_that_was_asked_for(tmp_path):
    begun = job(tmp_path, kind="inception-resnet-v2")
    begun.inputs.networks["recognizer"] = recognizer()
    with pytest.raises(UsageError, match="is compact, not inception-resnet-v2"):
        begun.stage()


def test_an_unknown_kind_is_told_in_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="facenet"):
        job(tmp_path, kind="facenet").stage()


def test_weights_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "no.h5").write_text("no HDF5")
    begun = job(tmp_path, kind="inception-resnet-v2", backbone=str(tmp_path / "missing.h5"))
    with pytest.raises(UsageError, match=r"missing.h5 does not hold Inception-ResNet-v2's weights"):
        begun.stage()


def scored(accuracy: float) -> dict:
    return {"recognizer": {"same_different": {"balanced_accuracy": accuracy}}}


@pytest.mark.parametrize("scores", [{}, {"recognizer": {}}, {"recognizer": {"threshold": 1.0}}])
def test_a_recogniser_that_nobody_measured_is_refused(scores):
    with pytest.raises(UsageError, match=r"was not measured on people.*asks for 80%") as error:
        check_recognizer(scores, 0.8, "measure it")
    assert error.value.hint == "measure it"
    check_recognizer(scores, 0.0, "")


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.799, float("nan")])
def test_a_recogniser_that_tells_nobody_apart_is_refused(accuracy):
    with pytest.raises(UsageError, match=r"balanced accuracy; identity asks for 80%"):
        check_recognizer(scored(accuracy), 0.8, "")
    check_recognizer(scored(accuracy), 0.0, "")


def test_a_good_recogniser_may_be_looked_through():
    for accuracy in (0.8, 0.93, 1.0):
        check_recognizer(scored(accuracy), 0.8, "")


def test_identity_begins_with_a_recogniser_that_knows_people_only():
    def prepare(scores: dict, **options) -> None:
        IdentityJob.check(IdentityOptions(**options), IdentityJob.NEEDS, scores)

    for scores in ({}, scored(MIN_ACCURACY - 0.01)):
        with pytest.raises(UsageError, match="the recogniser") as error:
            prepare(scores)
        assert "--set min_accuracy=0" in error.value.hint
        assert "--people DIR" in error.value.hint
        prepare(scores, min_accuracy=0.0)
    prepare(scored(MIN_ACCURACY))
    with pytest.raises(UsageError, match="asks for 95%"):
        prepare(scored(0.9), min_accuracy=0.95)
