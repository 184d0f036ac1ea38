"""The stages: which weights move, by how much and when; and that a stopped run goes on where it was."""

import functools
import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy.stats import norm

from faceage.ages import age_class, one_hot
from faceage.data.dataset import FaceBatches, FaceSet
from faceage.errors import UsageError
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.predict import predict
from faceage.networks.recognizer import recognizer
from faceage.training.age import AgeOptions, AgeTraining, _start_from_recognizer, age_scores, soft_classes, train_age
from faceage.training.encoder import EncoderOptions, EncoderTraining, train_encoder
from faceage.training.gan import GAN, GANOptions, train_gan
from faceage.training.recognizer import Distillation, teachers_threshold
from faceage.training.run import StageRun, data_provenance
from faceage.training.stage import SupervisedStage, unit_faces
from faceage.training.teacher import SAME_PERSON_DISTANCE
from faceage.weights import load_network, read_card, save_network

BATCH = 8


def face_set(count: int = 24) -> FaceSet:
    """Faces of noise, each of its own brightness; ages from 0 to 100."""
    random = np.random.default_rng(0)
    faces = random.integers(0, 100, (count, 64, 64, 3)) + random.integers(0, 156, (count, 1, 1, 1))
    ages = np.linspace(0, 100, count).astype(int)
    names = tuple(f"{age}_{i}.jpg" for i, age in enumerate(ages))
    genders = tuple(("male", "female", "")[i % 3] for i in range(count))
    classes = np.array([age_class(int(age)) for age in ages])
    landmarks = np.zeros((count, 5, 2), np.float32)
    return FaceSet(faces.astype(np.uint8), ages, classes, names, genders, ("",) * count, landmarks, None)


FACES = face_set()
PIXELS, CLASSES = FACES.faces[::3], one_hot(FACES.classes[::3])


def values(variables) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def moved(variables, before: list[np.ndarray]) -> set[str]:
    """Paths of those that no longer have the values of `before`."""
    after = values(variables)
    return {v.path for v, old, new in zip(variables, before, after, strict=True) if not np.array_equal(old, new)}


def kernels(network: keras.Model) -> set[str]:
    return {variable.path for variable in network.trainable_variables if variable.path.endswith("kernel")}


def new_gan(seed: int = 0) -> GAN:
    keras.utils.set_random_seed(seed)
    gan = GAN(generator(width=8), discriminator(width=8), generator(width=8), seed)
    gan.compile()
    return gan


def everything(gan: GAN) -> list[keras.Variable]:
    """Weights, step count, random states, means and what the optimisers remember."""
    return gan.variables + gan.generator_optimizer.variables + gan.discriminator_optimizer.variables


@pytest.fixture(scope="module")
def only_gan():
    gan = new_gan()
    return gan, values(everything(gan))


@pytest.fixture
def gan(only_gan):
    """A GAN as new. Compiling it takes seconds, so that it is rewound instead of made again."""
    gan, start = only_gan
    for variable, value in zip(everything(gan), start, strict=True):
        variable.assign(value)
    return gan


def step(stage: keras.Model, data=(PIXELS, CLASSES)) -> dict:
    return stage.train_step(tuple(ops.convert_to_tensor(part) for part in data))


def test_average_starts_as_the_generator(gan):
    assert_equal(values(gan.average.weights), values(gan.generator.weights))


def test_gan_step_moves_both_networks_and_only_those(gan):
    weights = gan.weights
    before = values(weights)
    step(gan)
    changed = moved(weights, before)
    assert kernels(gan.generator) | kernels(gan.discriminator) <= changed
    own = {variable.path for network in (gan.generator, gan.discriminator) for variable in network.weights}
    assert changed - own == {gan.steps.path}
    assert int(gan.steps) == 1


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_neither_network_moves_in_the_others_update(gan, still):
    moving = "discriminator" if still == "generator" else "generator"
    getattr(gan, f"{still}_optimizer").learning_rate.assign(0.0)
    frozen, trained = getattr(gan, still), getattr(gan, moving)
    before, before_trained = values(frozen.trainable_variables), values(trained.trainable_variables)
    step(gan)
    assert_equal(values(frozen.trainable_variables), before)
    assert kernels(trained) <= moved(trained.trainable_variables, before_trained)


@pytest.mark.parametrize(("done", "decay"), [(3, 4 / 44), (99, 100 / 140), (999_999, 0.999**4)])
def test_average_follows_every_fourth_step_by_its_schedule(gan, done, decay):
    step(gan)
    gan.steps.assign(done)
    before = values(gan.average.weights)
    step(gan)
    expected = [decay * old + (1 - decay) * new for old, new in zip(before, values(gan.generator.weights), strict=True)]
    for found, wanted in zip(values(gan.average.weights), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("done", [0, 1, 2, 4, 102])
def test_average_rests_between(gan, done):
    gan.steps.assign(done)
    before = values(gan.average.weights)
    step(gan)
    assert_equal(values(gan.average.weights), before)


def test_wrong_ages_are_all_the_others_and_never_the_right_one(gan):
    right = np.repeat(np.arange(6), 600)
    wrong = ops.convert_to_numpy(gan._wrong_ages(one_hot(right)))
    assert set(np.unique(wrong)) == {0, 1}
    np.testing.assert_array_equal(wrong.sum(axis=1), 1)
    counts = np.zeros((6, 6), int)
    np.add.at(counts, (right, wrong.argmax(axis=1)), 1)
    assert (np.diag(counts) == 0).all()
    others = counts[~np.eye(6, dtype=bool)]
    # 600 draws, each of five equally likely: 120, with a deviation of 10.
    assert others.min() > 70
    assert others.max() < 170


def test_r1_is_the_squared_slope_of_the_logit(gan):
    face, age = keras.Input((64, 64, 3)), keras.Input((6,))
    logit = keras.layers.Dense(1)
    linear = keras.Model([face, age], logit(keras.layers.Flatten()(face)) + 0 * ops.sum(age))
    tried = GAN(generator(width=8), linear, generator(width=8))
    found = tried._r1(unit_faces(PIXELS), ops.convert_to_tensor(CLASSES))
    assert float(found) == pytest.approx(float(np.square(values([logit.kernel])[0]).sum()), rel=1e-4)


@pytest.mark.parametrize(("done", "applied"), [(0, True), (1, False), (15, False), (16, True), (17, False), (48, True)])
def test_r1_is_applied_every_sixteenth_step_only(only_gan, gan, monkeypatch, done, applied):
    _, start = only_gan
    outcomes = []
    for weight in (GAN.R1, 0.0):
        monkeypatch.setattr(GAN, "R1", weight)
        for variable, value in zip(everything(gan), start, strict=True):
            variable.assign(value)
        gan.steps.assign(done)
        step(gan)
        outcomes.append(values(gan.discriminator_optimizer.variables))
    same = [np.array_equal(one, other) for one, other in zip(*outcomes, strict=True)]
    assert all(same) is not applied


def test_gan_reports_means_of_losses_and_shares(gan):
    report = step(gan)
    assert set(report) == set(GAN.LOSSES)
    numbers = {name: float(value) for name, value in report.items()}
    assert all(np.isfinite(value) for value in numbers.values())
    assert all(0 <= numbers[name] <= 1 for name in ("d_real", "d_fake", "d_wrong_age"))


def unit_rows(count: int, size: int) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SUPERVISED = {
    "age": (lambda: AgeTraining(age_estimator(width=8), 0), soft_classes(FACES.ages[::3])),
    "recognizer": (lambda: Distillation(recognizer(), 0), unit_rows(BATCH, 128)),
    "encoder": (lambda: EncoderTraining(encoder(width=4), generator(width=8), 0), CLASSES),
}


def supervised(name: str, learning_rate: float = 0.05) -> tuple[SupervisedStage, tuple]:
    build, targets = SUPERVISED[name]
    keras.utils.set_random_seed(0)
    stage = build()
    stage.compile(learning_rate, steps=1000)
    return stage, (PIXELS, targets)


@pytest.mark.parametrize("name", SUPERVISED)
def test_supervised_stage_moves_its_network_alone_and_learns_a_fixed_batch(name):
    stage, data = supervised(name)
    weights = stage.weights
    before = values(weights)
    losses = []
    for _ in range(15):
        # The same views, and for the encoder the same latents, in each step.
        stage.random.state.assign([0, 0])
        stage.reset_metrics()
        losses.append(float(step(stage, data)[stage.LOSSES[0]]))
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:2])
    changed = moved(weights, before)
    assert kernels(stage.network) <= changed
    assert changed <= {variable.path for variable in stage.network.weights}


def test_encoder_leaves_the_generator_untouched():
    stage, data = supervised("encoder")
    before = values(stage.drawing.variables)
    step(stage, data)
    assert_equal(values(stage.drawing.variables), before)


def test_encoder_sees_other_latents_in_each_step_and_zero_scores_one():
    stage, data = supervised("encoder")
    for variable in stage.network.layers[-1].weights:
        variable.assign(ops.zeros_like(variable))
    data = tuple(ops.convert_to_tensor(part) for part in data)
    errors = [float(stage.loss_of(data)[0]) for _ in range(8)]
    assert len(set(errors)) == 8
    assert np.mean(errors) == pytest.approx(1, abs=0.1)


def test_learning_rate_rises_then_falls_to_zero():
    stage, _ = supervised("age", learning_rate=2e-3)
    rate = [float(stage.network_optimizer._learning_rate(done)) for done in range(1001)]
    assert rate[0] == pytest.approx(2e-5)
    assert rate[200] == max(rate) == pytest.approx(2e-3)
    assert rate[1000] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rate[:201]) > 0).all()
    assert (np.diff(rate[201:]) < 0).all()


def test_soft_classes_blur_an_age_by_three_years():
    ages = np.array([0, 18, 19, 24, 29, 30, 64, 100])
    found = soft_classes(ages)
    assert found.dtype == np.float32
    assert found.shape == (8, 6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert found.min() >= 0
    np.testing.assert_array_equal(found.argmax(axis=1), [age_class(int(age)) for age in ages])
    # 29 lies half a year below its class's border at 29.5, 24 in the middle of 18.5 to 29.5.
    assert found[4, :2].sum() == pytest.approx(norm.cdf(0.5 / 3), abs=1e-6)
    assert found[3, 1] == pytest.approx(norm.cdf(5.5 / 3) - norm.cdf(-5.5 / 3), abs=1e-6)


def test_age_scores_count_exact_hits_and_neighbours():
    face = keras.Input((64, 64, 3))
    # Always says 30-39.
    always = keras.layers.Dense(6, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0))
    network = keras.Model(face, always(keras.layers.GlobalAveragePooling2D()(face)))
    always.bias.assign([0, 0, 1, 0, 0, 0])
    expected = np.abs(FACES.classes - 2)
    scores = age_scores(network, FACES)
    assert scores["exact"] == pytest.approx((expected == 0).mean(), abs=1e-4)
    assert scores["within_one"] == pytest.approx((expected <= 1).mean(), abs=1e-4)
    assert 0 < scores["exact"] < scores["within_one"] < 1


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_predict_gives_one_row_per_face_around_the_batch_edge(count):
    network = age_estimator(width=8)
    faces = FACES.faces[:count]
    expected = ops.convert_to_numpy(network(unit_faces(faces), training=False))
    np.testing.assert_allclose(predict(network, faces, batch_size=4), expected, atol=1e-5)


def test_age_estimator_starts_from_a_compact_recognizers_trunk(tmp_path):
    source, network = recognizer(), age_estimator()
    head = values(network.layers[-1].weights)
    assert _start_from_recognizer(tmp_path, network) == ""
    save_network(tmp_path, "recognizer", source, {"kind": "compact"})
    assert _start_from_recognizer(tmp_path, network) == read_card(tmp_path)["networks"]["recognizer"]["sha256"]
    assert_equal(values(network.layers[-1].weights), head)
    trunk = values(network.weights)[: -len(head)]
    for ours, theirs in zip(trunk, values(source.weights)[: len(trunk)], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_another_kind_of_recognizer_is_not_started_from(tmp_path):
    network = age_estimator()
    before = values(network.weights)
    save_network(tmp_path, "recognizer", recognizer(), {"kind": "inception-resnet-v2"})
    assert _start_from_recognizer(tmp_path, network) == ""
    assert_equal(values(network.weights), before)


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


class Brightness(SupervisedStage):
    """The smallest stage: a face's class from its mean colour, without chance. `pixels` shows which faces came."""

    LOSSES = ("loss", "pixels")

    def __init__(self, seed: int = 0) -> None:
        keras.utils.set_random_seed(seed)
        super().__init__(keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)]), seed)
        self.compile(0.1, steps=16)

    def loss_of(self, data):
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        guess = self.network(ops.mean(unit_faces(pixels), axis=(1, 2)))
        loss = ops.mean(ops.square(guess - target))
        return loss, {"loss": loss, "pixels": ops.mean(ops.cast(pixels, "float32"))}


STEPS = 3


def train_brightness(folder, epochs: int, seed: int = 0) -> tuple[Brightness, StageRun, list]:
    run, stage, told = StageRun(folder, "brightness", {"epochs": epochs}), Brightness(seed), []
    done = run.resume(stage)
    batches = FaceBatches(FACES, BATCH, STEPS, seed=3, first_epoch=done)
    run.fit(stage, batches, epochs, done, told.append, lambda epoch: {"score": epoch / 2})
    return stage, run, told


def test_resumed_run_ends_as_the_unbroken_one(tmp_path):
    unbroken, straight, told = train_brightness(tmp_path / "unbroken", 4)
    train_brightness(tmp_path / "broken", 2)
    resumed, run, told_again = train_brightness(tmp_path / "broken", 4, seed=9)
    assert sum(told) == sum(told_again) == 4 * STEPS
    assert told_again[0] == 2 * STEPS

    for ours, theirs in zip(values(resumed.network.weights), values(unbroken.network.weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert int(resumed.network_optimizer.iterations) == 4 * STEPS

    rows = run.stats()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["score"] for row in rows] == [0.5, 1, 1.5, 2]
    for row, other in zip(rows, straight.stats(), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=2e-5)
        # Batch i of epoch e is the same faces in both.
        assert row["pixels"] == pytest.approx(other["pixels"], abs=2e-5)
    assert len({row["pixels"] for row in rows}) == 4
    names = {path.name for path in (tmp_path / "broken" / "brightness").iterdir()}
    assert names == {"options.json", "stats.jsonl", "epoch-4.weights.h5"}


def test_an_epoch_that_was_not_checkpointed_is_told_once(tmp_path):
    _, run, _ = train_brightness(tmp_path, 2)
    # Killed after the row of epoch 3 and before its checkpoint.
    run.append_stats({"epoch": 3, "loss": 99.0})
    _, run, _ = train_brightness(tmp_path, 4)
    rows = run.stats()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert max(row["loss"] for row in rows) < 99


def test_a_finished_run_trains_no_more(tmp_path):
    stage, _, _ = train_brightness(tmp_path, 2)
    again, run, told = train_brightness(tmp_path, 2, seed=9)
    assert_equal(values(again.network.weights), values(stage.network.weights))
    assert sum(told) == 2 * STEPS
    assert len(run.stats()) == 2


def test_gan_checkpoint_restores_weights_moments_and_steps(tmp_path):
    gan, run = new_gan(), StageRun(tmp_path, "gan", {})
    batches = FaceBatches(FACES, BATCH, 2)
    run.fit(gan, batches, 3, 0)
    other = new_gan(seed=1)
    assert StageRun(tmp_path, "gan", {}).resume(other) == 3
    assert int(other.steps) == 6
    for network in ("generator", "discriminator", "average"):
        assert_equal(values(getattr(other, network).weights), values(getattr(gan, network).weights))
    assert moved(other.average.weights, values(other.generator.weights))
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert int(optimizer.iterations) == 6
    for optimizer in ("generator_optimizer", "discriminator_optimizer"):
        memory = values(getattr(gan, optimizer).variables)
        assert_equal(values(getattr(other, optimizer).variables), memory)
        assert sum(np.abs(value).sum() > 0 for value in memory) > len(memory) / 3
    rows = run.stats()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert set(GAN.LOSSES) <= rows[0].keys()


def test_a_run_refuses_other_options_once_it_has_trained(tmp_path):
    options = {"epochs": 2, "seed": 0, "data": "faces.h5"}
    StageRun(tmp_path, "stage", {**options, "seed": 5})
    run = StageRun(tmp_path, "stage", options)
    assert json.loads((run.folder / "options.json").read_text()) == options
    run.save_checkpoint(Brightness(), 1)
    with pytest.raises(UsageError, match=r"seed: 0 → 1\)") as error:
        StageRun(tmp_path, "stage", {**options, "seed": 1})
    assert "--run" in error.value.hint
    assert json.loads((run.folder / "options.json").read_text()) == options
    with pytest.raises(UsageError, match=r"data: faces.h5 → other.h5, seed: 0 → 1\)"):
        StageRun(tmp_path, "stage", {**options, "data": "other.h5", "seed": 1, "epochs": 9})


def test_a_run_may_train_for_longer(tmp_path):
    options = {"epochs": 2, "seed": 0}
    StageRun(tmp_path, "stage", options).save_checkpoint(Brightness(), 2)
    run = StageRun(tmp_path, "stage", {**options, "epochs": 7})
    assert run.checkpoint() == (2, run.folder / "epoch-2.weights.h5")
    assert json.loads((run.folder / "options.json").read_text())["epochs"] == 7


def test_stages_of_one_run_do_not_mix(tmp_path):
    StageRun(tmp_path, "one", {"seed": 0}).save_checkpoint(Brightness(), 1)
    other = StageRun(tmp_path, "other", {"seed": 1})
    assert other.checkpoint() is None
    assert other.stats() == []
    assert other.model_folder == tmp_path / "model"


def test_the_newest_checkpoint_is_by_number(tmp_path):
    run, stage = StageRun(tmp_path, "stage", {}), Brightness()
    for epoch in (9, 10):
        stage.save_weights(run.folder / f"epoch-{epoch}.weights.h5")
    (run.folder / "epoch-99.weights.h5.old").touch()
    assert run.checkpoint()[0] == 10
    run.save_checkpoint(stage, 11)
    assert {path.name for path in run.folder.glob("epoch-*.h5")} == {"epoch-9.weights.h5", "epoch-11.weights.h5"}


@pytest.fixture
def small_networks(monkeypatch):
    """Every stage and every loader builds the same networks, narrower."""
    import faceage.networks as networks
    import faceage.training as training

    narrow = {"generator": 8, "discriminator": 8, "encoder": 4, "age_estimator": 8}
    homes = [("gan", "generator"), ("gan", "discriminator"), ("encoder", "encoder"), ("age", "age_estimator")]
    for stage, name in homes:
        module = getattr(networks, name)
        small = functools.partial(getattr(module, name), width=narrow[name])
        monkeypatch.setattr(module, name, small)
        monkeypatch.setattr(getattr(training, stage), name, small)


def test_stages_add_their_networks_to_one_model(tmp_path, small_networks, write_faces):
    data, run = write_faces(tmp_path / "faces.h5", [FACES.take(np.arange(len(FACES)))] * 3), tmp_path / "run"
    few = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4}
    train_gan(data, run, GANOptions(**few))
    train_encoder(data, run, EncoderOptions(**few))
    train_age(data, run, AgeOptions(**few))
    assert {"reals.png", "samples-0001.png"} <= {path.name for path in (run / "gan").iterdir()}

    card = read_card(run / "model")
    assert set(card["networks"]) == {"generator", "discriminator", "encoder", "age_estimator"}
    for entry in card["networks"].values():
        assert (entry["steps"], entry["faces"], entry["data"]) == (2, len(FACES), "faces")
        assert entry["data_sha256"] == data_provenance(data, FACES)["data_sha256"]
    assert card["networks"]["encoder"]["generator"] == card["networks"]["generator"]["sha256"]
    assert card["networks"]["encoder"]["z_error"] > 0.5
    assert card["scores"]["age_estimator"]["faces"] == len(FACES)

    kept = load_network(run / "model", card, "generator")
    gan = new_gan(seed=1)
    StageRun(run, "gan", {"data": "faces.h5", **vars(GANOptions(**few))}).resume(gan)
    for stored, average in zip(values(kept.weights), values(gan.average.weights), strict=True):
        np.testing.assert_allclose(stored, average, atol=1e-3, rtol=1e-3)
