"""The stages: which weights move, by how much and when, what each option and each loss does, and which faces come."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops
from scipy.stats import norm
from tiny_training import TinySplits, compile_unfused, face_set, narrow_trunks

from faceage.ages import age_class, one_hot
from faceage.backend import compile_step
from faceage.data.dataset import FaceBatches, PeopleBatches, one_hot_people
from faceage.errors import TrainingError, UsageError
from faceage.evaluation.held_out import identity_scores, z_error
from faceage.model import load_network, read_card
from faceage.model_search import find_model
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator, projected_discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.predict import draw, predict
from faceage.networks.recognizer import identity_distance, recognizer
from faceage.people.samples import aged_grid
from faceage.training.age import AgeJob, AgeOptions, AgeTraining, age_scores, soft_classes, start_from_trunk
from faceage.training.checkpoint import read_position
from faceage.training.encoder import EncoderTraining
from faceage.training.gan import GAN, GANJob, GANOptions
from faceage.training.head_start import HeadStart, give_head_start
from faceage.training.identity import (
    IdentityOptions,
    IdentityTraining,
    tone_difference,
)
from faceage.training.job import Inputs
from faceage.training.stage import StageOptions, SupervisedStage, cross_entropy, unit_faces

BATCH = 8
FACES = face_set()
PIXELS, CLASSES = FACES.faces[::3], one_hot(FACES.classes[::3])


def values(variables) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def parts(stage: keras.Model) -> dict[str, list[keras.Variable]]:
    """Every weight of a stage: of each of its networks, of their batch norm's statistics, and its own."""
    found = {}
    for name, value in vars(stage).items():
        if isinstance(value, keras.Model):
            found[name] = [variable for variable in value.weights if "moving_" not in variable.path]
            found[f"{name} statistics"] = [variable for variable in value.weights if "moving_" in variable.path]
        elif isinstance(value, keras.Variable):
            found[name] = [value]
    assert {id(variable) for variable in stage.weights} <= {
        id(variable) for part in found.values() for variable in part
    }
    return found


def moving(stage: keras.Model, act) -> set[str]:
    """The parts of a stage of which anything moves in `act`."""
    before = {name: values(variables) for name, variables in parts(stage).items()}
    act()
    return {
        name
        for name, variables in parts(stage).items()
        if any(not np.array_equal(old, new) for old, new in zip(before[name], values(variables), strict=True))
    }


def kernels(network: keras.Model) -> list[keras.Variable]:
    return [variable for variable in network.trainable_variables if variable.path.endswith("kernel")]


def everything(stage: keras.Model) -> list[keras.Variable]:
    """Weights, step count, random states, means and what the optimisers remember."""
    return stage.variables + stage.trained_optimizer.variables + stage.discriminator_optimizer.variables


def step(stage: keras.Model, data=(PIXELS, CLASSES)) -> dict[str, float]:
    report = stage.train_step(tuple(ops.convert_to_tensor(part) for part in data))
    return {name: float(value) for name, value in report.items()}


@pytest.fixture(scope="module")
def only_gan():
    keras.utils.set_random_seed(0)
    gan = GAN(generator(width=8), discriminator(width=8), generator(width=8), GANOptions())
    gan.compile()
    return gan, values(everything(gan))


@pytest.fixture
def gan(only_gan):
    """A GAN as new. Compiling it takes seconds, so that it is rewound instead of made again."""
    gan, start = only_gan
    for variable, value in zip(everything(gan), start, strict=True):
        variable.assign(value)
    return gan


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras calls it on TensorFlow")
def test_keras_still_calls_the_private_method_that_stages_replace():
    """It builds the model with a batch: were it renamed, fit() would train on one batch less."""
    calls = []

    class Plain(keras.Model):
        def _maybe_symbolic_build(self, *args, **kwargs):
            calls.append(args or kwargs)

        def train_step(self, data):
            return {"loss": ops.zeros(())}

    model = Plain()
    model.built = True
    model.compile(optimizer=None)
    model.fit(np.zeros((2, 1)), verbose=0)
    assert calls


def test_average_starts_as_the_generator(gan):
    assert_equal(values(gan.average.weights), values(gan.generator.weights))


def test_gan_step_moves_both_networks_and_every_fourth_the_average(gan):
    trained = {"generator", "generator statistics", "discriminator", "discriminator statistics", "steps"}
    before = values(kernels(gan.generator) + kernels(gan.discriminator))
    for done in range(1, 5):
        found = moving(gan, lambda: step(gan))
        assert found == (trained | {"average", "average statistics"} if done % 4 == 0 else trained)
    assert int(gan.steps) == 4
    after = values(kernels(gan.generator) + kernels(gan.discriminator))
    assert all((old != new).any() for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_neither_network_moves_in_the_others_update(gan, still):
    optimizer = gan.trained_optimizer if still == "generator" else gan.discriminator_optimizer
    optimizer.learning_rate.assign(0.0)
    assert {"generator", "discriminator"} - moving(gan, lambda: step(gan)) == {still}


@pytest.mark.parametrize(("done", "decay"), [(3, 4 / 44), (99, 100 / 140), (999_999, 0.999**4)])
def test_average_follows_every_fourth_step_by_its_schedule(gan, done, decay):
    step(gan)
    gan.steps.assign(done)
    before = values(gan.average.weights)
    step(gan)
    expected = [decay * old + (1 - decay) * new for old, new in zip(before, values(gan.generator.weights), strict=True)]
    for found, wanted in zip(values(gan.average.weights), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=1e-5)


def test_without_decay_the_average_is_the_generator_after_each_step(gan, monkeypatch):
    monkeypatch.setattr(gan, "options", GANOptions(average_decay=0.0))
    # Uncompiled: the compiled one has the old decay.
    monkeypatch.setattr(gan, "_average", gan._average_weights)
    for _ in range(2):
        before = values(gan.average.weights)
        step(gan)
        assert_equal(values(gan.average.weights), values(gan.generator.weights))
        assert any((old != new).any() for old, new in zip(before, values(gan.average.weights), strict=True))


def test_wrong_ages_are_all_the_others_and_never_the_right_one(gan):
    right = np.repeat(np.arange(6), 600)
    wrong = ops.convert_to_numpy(gan.wrong_ages(one_hot(right)))
    assert set(np.unique(wrong)) == {0, 1}
    np.testing.assert_array_equal(wrong.sum(axis=1), 1)
    counts = np.zeros((6, 6), int)
    np.add.at(counts, (right, wrong.argmax(axis=1)), 1)
    assert (np.diag(counts) == 0).all()
    others = counts[~np.eye(6, dtype=bool)]
    # 600 draws, each of five equally likely: 120, with a deviation of 10.
    assert others.min() > 70
    assert others.max() < 170


@functools.cache
def one_generator() -> keras.Model:
    return generator(width=8)


def judged_by(judging: keras.Model, options: GANOptions) -> GAN:
    """A GAN of which only D is of interest."""
    return GAN(one_generator(), judging, one_generator(), options)


def linear_discriminator(of_ages: float = 1.0, labels: int = 6) -> tuple[keras.Model, np.ndarray]:
    """A logit that is linear in the face and the label's number, and its slope in the face."""
    face, age = keras.Input((64, 64, 3)), keras.Input((labels,))
    of_face, of_age = keras.layers.Dense(1, use_bias=False), keras.layers.Dense(1, use_bias=False)
    network = keras.Model([face, age], of_face(keras.layers.Flatten()(face)) + of_age(age))
    of_age.kernel.assign(of_ages * np.arange(labels)[:, None])
    return network, values([of_face.kernel])[0]


def discriminator_loss(
    options: GANOptions, steps: int = 0, of_ages: float = 1.0
) -> tuple[float, float, dict[str, float], np.ndarray]:
    """Of a linear D on real and drawn faces: loss with and without the penalty, the shares, and D's slope."""
    judging, slope = linear_discriminator(of_ages)
    gan = judged_by(judging, options)
    gan.steps.assign(steps)
    faces, ages = unit_faces(PIXELS), ops.convert_to_tensor(CLASSES)
    whole, (loss, shares) = gan.telling_apart(faces, ages, [(-faces, ages)])
    return float(whole), float(loss), {name: float(share) for name, share in shares.items()}, slope


def softplus(x: np.ndarray) -> float:
    return float(np.logaddexp(0, x).mean())


def test_discriminator_loss_is_the_logistic_one_and_the_wrong_ages_and_the_slope():
    plain = {"augment": False, "average_decay": 0.0}
    _, loss, shares, slope = discriminator_loss(GANOptions(wrong_age=0.0, r1=0.0, **plain))
    faces, classes = ops.convert_to_numpy(unit_faces(PIXELS)).reshape(BATCH, -1), CLASSES.argmax(1)[:, None]
    real, fake = faces @ slope + classes, -faces @ slope + classes
    assert loss == pytest.approx(softplus(-real) + softplus(fake), rel=1e-4)
    assert shares == {
        "d_real": pytest.approx((real > 0).mean()),
        "d_fake": pytest.approx((fake < 0).mean()),
        "d_wrong_age": 0,
    }
    whole, loss, _, slope = discriminator_loss(GANOptions(wrong_age=0.0, r1=0.7, **plain))
    assert whole - loss == pytest.approx(0.5 * 0.7 * 16 * np.square(slope).sum(), rel=1e-3)
    # A face with another of the six ages: with ages that weigh nothing, the logit is that of the face.
    _, loss, shares, slope = discriminator_loss(GANOptions(wrong_age=0.3, r1=0.0, **plain), of_ages=0.0)
    assert loss == pytest.approx(
        softplus(-faces @ slope) + softplus(-faces @ slope) + 0.3 * softplus(faces @ slope), rel=1e-4
    )
    assert shares["d_wrong_age"] == pytest.approx((faces @ slope < 0).mean())


@pytest.mark.parametrize(("steps", "applied"), [(0, 1), (1, 0), (15, 0), (16, 1), (17, 0), (48, 1)])
def test_the_slope_is_asked_for_every_sixteenth_step_only(steps, applied):
    whole, loss, _, _ = discriminator_loss(GANOptions(r1=1.0), steps)
    assert (whole > loss) == applied
    whole, loss, _, _ = discriminator_loss(GANOptions(r1=0.0), steps)
    assert whole == loss


def test_without_augmentation_the_discriminator_sees_faces_as_they_are():
    faces = unit_faces(PIXELS)
    for augment in (False, True):
        seen = judged_by(linear_discriminator()[0], GANOptions(augment=augment)).seen(faces)
        assert np.array_equal(ops.convert_to_numpy(seen), ops.convert_to_numpy(faces)) is not augment


@pytest.mark.parametrize("wrong_age", [0.0, 0.3])
def test_baselines_are_what_a_discriminator_scores_that_cannot_tell(tmp_path, wrong_age):
    options = GANOptions(wrong_age=wrong_age, r1=0.0)
    judging, _ = linear_discriminator()
    judging.set_weights([0 * weight for weight in judging.get_weights()])
    gan, faces, ages = judged_by(judging, options), unit_faces(PIXELS), ops.convert_to_tensor(CLASSES)
    baselines = GANJob(options, Inputs(TinySplits(), tmp_path)).baselines()
    assert float(gan.fooling(faces, ages)) == pytest.approx(baselines["g_loss"].value)
    loss, _ = gan.telling_apart(faces, ages, [(faces, ages)])
    assert float(loss) == pytest.approx(baselines["d_loss"].value)


def test_the_discriminator_learns_at_its_multiple_of_the_rate():
    stage = judged_by(linear_discriminator()[0], GANOptions(learning_rate=1e-4, discriminator_rate=4))
    stage.compile()
    rates = [float(optimizer.learning_rate) for optimizer in (stage.trained_optimizer, stage.discriminator_optimizer)]
    assert rates == pytest.approx([1e-4, 4e-4])


def test_gan_reports_means_of_losses_and_shares(gan):
    report = step(gan)
    assert set(report) == set(GAN.LOSSES)
    assert all(np.isfinite(value) for value in report.values())
    assert all(0 <= report[name] <= 1 for name in ("d_real", "d_fake", "d_wrong_age"))


def test_random_states_depend_on_the_epoch_alone_dropout_too(gan):
    latents = np.random.default_rng(0).standard_normal((BATCH, 100), dtype=np.float32)
    inputs = [ops.convert_to_tensor(latents), ops.convert_to_tensor(CLASSES)]

    def drawn(epoch: int) -> np.ndarray:
        gan.restart_random(epoch)
        dropped = gan.generator(inputs, training=True)
        return ops.convert_to_numpy(ops.concatenate([dropped, gan.seen(unit_faces(PIXELS))], axis=0))

    first = drawn(3)
    np.testing.assert_array_equal(drawn(3), first)
    for other in (drawn(2), drawn(4)):
        assert (other[:BATCH] != first[:BATCH]).any()
        assert (other[BATCH:] != first[BATCH:]).any()
    # The stage's own, and a dropout's each in G and in its average.
    assert len(gan.random_states) == 5
    assert len({tuple(state) for state in np.array(values(gan.random_states)).tolist()}) == 5


SUPERVISED = {
    "age": (lambda: AgeTraining(age_estimator(width=8), 0, attack=1.0), soft_classes(FACES.ages[::3])),
    "encoder": (lambda: EncoderTraining(encoder(width=4), generator(width=8), 0), CLASSES),
}


def supervised(name: str) -> tuple[SupervisedStage, tuple]:
    build, targets = SUPERVISED[name]
    keras.utils.set_random_seed(0)
    with narrow_trunks():
        stage = build()
    compile_unfused(stage, 0.05, steps=1000)
    return stage, (PIXELS, targets)


@pytest.mark.parametrize("name", SUPERVISED)
def test_supervised_stage_moves_its_network_alone_and_learns_a_fixed_batch(name):
    stage, data = supervised(name)
    losses, before = [], values(kernels(stage.network))
    one_step = compile_step(lambda *batch: stage.train_step(batch))

    def learn():
        for _ in range(15):
            # The same views, and for the encoder the same latents, in each step.
            stage.random.state.assign([0, 0])
            stage.reset_metrics()
            losses.append(float(one_step(*map(ops.convert_to_tensor, data))[stage.LOSSES[0]]))

    assert moving(stage, learn) == {"network", "network statistics"}
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:2])
    assert all((old != new).any() for old, new in zip(before, values(kernels(stage.network)), strict=True))


def test_attacked_faces_are_near_and_look_less_like_their_age():
    stage = AgeTraining(age_estimator(width=8), 0, attack=1.5)
    faces = ops.concatenate([unit_faces(PIXELS)] * 4, axis=0)
    targets = np.tile(soft_classes(FACES.ages[::3]), (4, 1))
    moved = stage._attacked(faces, ops.convert_to_tensor(targets))
    lengths = np.linalg.norm(ops.convert_to_numpy(moved - faces).reshape(len(faces), -1), axis=1)
    assert 0 < lengths.min() < 0.5 < 1 < lengths.max() <= 1.5 + 1e-4

    def losses(shown):
        guess = ops.convert_to_numpy(stage.network(shown, training=False))
        return -(targets * np.log(guess)).sum(1)

    rise = losses(moved) - losses(faces)
    assert (rise > 0).mean() > 0.9
    # Anywhere else, as far away, is not nearly as bad.
    noise = np.random.default_rng(0).standard_normal(faces.shape).astype(np.float32)
    noise *= (lengths / np.linalg.norm(noise.reshape(len(noise), -1), axis=1))[:, None, None, None]
    assert rise.mean() > 3 * abs(losses(faces + noise) - losses(faces)).mean()


def test_what_is_kept_of_an_age_estimator_lies_between_its_beginning_and_its_end(tmp_path):
    network = age_estimator()
    start = values(network.weights)
    given = Inputs(TinySplits(), tmp_path, {"age_estimator": network})
    job = AgeJob(AgeOptions(steps_per_epoch=2, dtype="float32", start_share=0.25), given)
    job.prepare()
    stage = job.stage()
    for weight in stage.network.weights:
        weight.assign_add(ops.ones_like(weight))
    kept = job.results(stage)["age_estimator"]
    for old, new in zip(start, values(kept.weights), strict=True):
        np.testing.assert_allclose(new, old + 0.75, atol=1e-5)
    with pytest.raises(UsageError, match="to begin with"):
        AgeJob.check(AgeOptions(start_share=0.25), (), {})


def test_encoder_sees_other_latents_in_each_step_and_zero_scores_one():
    stage, data = supervised("encoder")
    for variable in stage.network.layers[-1].weights:
        variable.assign(ops.zeros_like(variable))
    errors = [float(stage.loss_of(tuple(ops.convert_to_tensor(part) for part in data))[0]) for _ in range(8)]
    assert len(set(errors)) == 8
    assert np.mean(errors) == pytest.approx(1, abs=0.1)
    assert z_error(stage.network, stage.drawing, seed=0) == pytest.approx(1, abs=0.02)


def test_learning_rate_rises_then_falls_to_zero():
    stage = SupervisedStage(keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)]), 0)
    stage.compile(2e-3, steps=1000)
    rate = [float(stage.network_optimizer._learning_rate(done)) for done in range(0, 1001, 20)]
    assert rate[0] == pytest.approx(2e-5)
    assert rate[10] == max(rate) == pytest.approx(2e-3)
    assert rate[50] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rate[:11]) > 0).all()
    assert (np.diff(rate[10:]) < 0).all()


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
    always = keras.layers.Dense(6, kernel_initializer="zeros")
    network = keras.Model(face, always(keras.layers.GlobalAveragePooling2D()(face)))
    always.bias.assign([0, 0, 1, 0, 0, 0])
    expected = np.abs(FACES.classes - 2)
    scores = age_scores(network, FACES)
    assert scores["exact"] == pytest.approx((expected == 0).mean(), abs=1e-4)
    assert scores["within_one"] == pytest.approx((expected <= 1).mean(), abs=1e-4)
    assert 0 < scores["exact"] < scores["within_one"] < 1


def test_age_estimator_starts_from_a_compact_recognizers_trunk():
    source, network = recognizer(), age_estimator()
    source.set_weights([weight + 0.01 for weight in source.get_weights()])
    head = values(network.layers[-1].weights)
    copied = start_from_trunk(network, source)
    assert copied == sum(bool(layer.weights) for layer in network.layers) - 1
    assert_equal(values(network.layers[-1].weights), head)
    trunk = values(network.weights)[: -len(head)]
    assert_equal(trunk, values(source.weights)[: len(trunk)])


def test_another_kind_of_recognizer_is_not_started_from():
    network = age_estimator(width=8)
    before = values(network.weights)
    # A trunk of other shapes, as the reference's is.
    assert start_from_trunk(network, recognizer()) == 0
    assert_equal(values(network.weights), before)


TERMS = (
    "same_age",
    "other_age",
    "pixel",
    "perceptual",
    "adversarial",
    "latent",
    "aged_age",
    "sampled_age",
    "tone",
    "landmarks",
)
PEOPLE = 6
AGES = one_hot([1] * PEOPLE)
LABELS = np.concatenate([AGES, np.eye(2, dtype=np.float32)[[1] * PEOPLE]], axis=1)
"""All are of one gender too: nothing but who they are tells them apart."""


class Refined:
    """The identity stage with narrow networks, and six people drawn by the shipped G.

    The weights of the terms are variables: one compiled step serves every test.
    """

    def __init__(self) -> None:
        folder = find_model()
        card = read_card(folder)
        latents = np.random.default_rng(0).standard_normal((PEOPLE, 100), dtype=np.float32)
        self.faces = draw(load_network(folder, card, "generator"), latents, AGES, batch_size=PEOPLE)
        self.weights = {name: keras.Variable(getattr(IdentityOptions, name)) for name in TERMS}
        keras.utils.set_random_seed(0)
        with narrow_trunks():
            recogniser, ages = recognizer(), age_estimator(width=8)
        recogniser.trainable = ages.trainable = False
        self.stage = IdentityTraining(
            encoder(width=4),
            generator(width=16),
            projected_discriminator([recogniser, ages], LABELS.shape[1], width=8),
            recogniser,
            ages,
            encoder(width=4),
            generator(width=16),
            IdentityOptions(learning_rate=2e-3, strength=1.5, **self.weights),
        )
        compile_unfused(self.stage)
        self._step = compile_step(lambda faces, labels: self.stage.train_step((faces, labels)))
        self._variables = [*everything(self.stage), *self.weights.values()]
        self._start = values(self._variables)

    def rewind(self) -> "Refined":
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)
        return self

    def step(self) -> dict[str, float]:
        """The losses of one step."""
        self.stage.reset_metrics()
        report = self._step(ops.convert_to_tensor(self.faces), ops.convert_to_tensor(LABELS))
        return {name: float(value) for name, value in report.items()}

    def rebuilt(self, faces: np.ndarray) -> np.ndarray:
        return draw(self.stage.generator, predict(self.stage.encoder, faces, PEOPLE), AGES, batch_size=PEOPLE)

    def weigh(self, **weights: float) -> None:
        """Give the named terms these weights and all others none."""
        for name, variable in self.weights.items():
            variable.assign(weights.get(name, 0.0))


@pytest.fixture(scope="module")
def only_refined():
    return Refined()


@pytest.fixture
def refined(only_refined):
    """The stage as new."""
    return only_refined.rewind()


def test_averages_start_as_encoder_and_generator(refined):
    stage = refined.stage
    assert_equal(values(stage.encoding.weights), values(stage.encoder.weights))
    assert_equal(values(stage.drawing.weights), values(stage.generator.weights))


def test_averages_of_what_was_trained_before_forget_slowly_from_the_first_step_on(refined):
    stage = refined.stage
    for _ in range(3):
        refined.step()
    before = values(stage.drawing.weights)
    refined.step()
    decay = 0.999**4
    for found, old, new in zip(values(stage.drawing.weights), before, values(stage.generator.weights), strict=True):
        np.testing.assert_allclose(found, decay * old + (1 - decay) * new, atol=1e-6, rtol=1e-5)


def test_identity_moves_encoder_generator_and_discriminator_and_no_other_network(refined):
    stage = refined.stage
    # The recogniser and the age estimator never, and no statistics of E and G, which run as they will be used.
    trained = {"encoder", "generator", "discriminator", "steps"}
    learning = kernels(stage.encoder) + kernels(stage.generator) + kernels(stage.discriminator)
    before = values(learning)
    for _ in range(3):
        assert moving(stage, refined.step) == trained
    found = moving(stage, refined.step)
    assert trained | {"encoding", "drawing"} == found - {"encoding statistics", "drawing statistics"}
    assert all((old != new).any() for old, new in zip(before, values(learning), strict=True))
    for kept, network in ((stage.encoding, stage.encoder), (stage.drawing, stage.generator)):
        for name in ("moving_mean", "moving_variance"):
            pairs = zip(kept.weights, network.weights, strict=True)
            for ours, theirs in (pair for pair in pairs if name in pair[0].path):
                np.testing.assert_allclose(*values([ours, theirs]), atol=1e-6)


def test_without_any_weight_encoder_and_generator_rest(refined):
    refined.weigh()
    assert moving(refined.stage, refined.step) == {"discriminator", "steps"}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_falls_on_a_fixed_batch(refined, term):
    refined.weigh(**{term: 1.0})
    refined.stage.discriminator_optimizer.learning_rate.assign(0.0)
    # Downhill, and no further: at the rate of the other tests, some machines' rounding takes it past the valley.
    refined.stage.trained_optimizer.learning_rate.assign(5e-4)
    report = {"adversarial": "g_loss", "sampled_age": "loss"}.get(term, term)
    found = []
    for _ in range(5):
        refined.stage.random.state.assign([0, 0])
        losses = refined.step()
        assert losses["loss"] == pytest.approx(losses[report], rel=1e-4)
        found.append(losses["loss"])
    assert found[-1] < found[0] - 0.001, found
    assert found == sorted(found, reverse=True)


def test_photo_and_drawn_faces_are_seen_through_the_same_view(refined):
    stage, random = refined.stage, np.random.default_rng(0)
    one, other = (random.uniform(-1, 1, (BATCH, 64, 64, 3)).astype(np.float32) for _ in range(2))
    first, second, third = values(stage._views(one, one, one + 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(third - first, 1, atol=1e-5)
    stage.random.state.assign([5, 0])
    straight = values(stage._views(one, other))
    stage.random.state.assign([5, 0])
    assert_equal(values(stage._views(other, one)), straight[::-1])
    (rows,) = values(stage._views(np.repeat(one[:1], BATCH, axis=0)))
    assert len({row.tobytes() for row in rows}) == BATCH
    # Mirrored, moved, and noise of one twentieth on top.
    assert np.abs(rows - one[:1]).mean(axis=(1, 2, 3)).max() > 0.3
    stage.random.state.assign([5, 0])
    (noise,) = values(stage._views(np.zeros_like(one)))
    assert noise.std() == pytest.approx(0.05, rel=0.02)


def test_aged_faces_are_never_of_the_photos_age_and_shown_with_the_one_asked_for(refined, monkeypatch):
    stage, asked, shown, fooled = refined.stage, [], [], []
    loss_of, telling_apart, fooling = stage.loss_of, stage.telling_apart, stage.fooling

    def note_ages(faces, labels, other_ages):
        asked.append((labels, other_ages))
        return loss_of(faces, labels, other_ages)

    def note_drawn(faces, labels, drawn):
        shown.extend(drawn)
        return telling_apart(faces, labels, drawn)

    def note_fooling(faces, labels):
        fooled.append(labels)
        return fooling(faces, labels)

    monkeypatch.setattr(stage, "loss_of", note_ages)
    monkeypatch.setattr(stage, "telling_apart", note_drawn)
    monkeypatch.setattr(stage, "fooling", note_fooling)
    stage.train_step((ops.convert_to_tensor(refined.faces), ops.convert_to_tensor(LABELS)))
    ((labels, other_ages),) = asked
    np.testing.assert_array_equal(ops.convert_to_numpy(labels), LABELS)
    wrong = ops.convert_to_numpy(other_ages)
    assert (wrong.argmax(1) != AGES.argmax(1)).all()
    np.testing.assert_array_equal(wrong.sum(1), 1)
    (aged, of_aged), (sampled, of_sampled) = shown
    # Aged people keep their gender; of those drawn from random latents there is none to tell.
    np.testing.assert_array_equal(ops.convert_to_numpy(of_aged), np.c_[wrong, LABELS[:, 6:]])
    np.testing.assert_array_equal(ops.convert_to_numpy(of_sampled), np.c_[AGES, np.zeros((PEOPLE, 2))])
    for judged, learnt in zip(fooled, (of_aged, of_sampled), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(judged), ops.convert_to_numpy(learnt))
    assert aged.shape == sampled.shape == refined.faces.shape


def test_wrong_labels_are_of_another_gender_or_of_another_age(refined):
    labels = np.repeat(np.eye(6, 8, dtype=np.float32), 300, axis=0)
    labels[::3, 6], labels[1::3, 7] = 1, 1
    wrong = ops.convert_to_numpy(refined.stage.wrong_labels(labels))
    assert set(np.unique(wrong)) == {0, 1}
    np.testing.assert_array_equal(wrong[:, :6].sum(1), 1)
    np.testing.assert_array_equal(wrong[:, 6:].sum(1), labels[:, 6:].sum(1))
    other_age = (wrong[:, :6] != labels[:, :6]).any(1)
    other_gender = (wrong[:, 6:] != labels[:, 6:]).any(1)
    np.testing.assert_array_equal(other_age, ~other_gender)
    # 1,200 of known gender, each equally likely: 600, with a deviation of 17.
    assert 500 < other_gender.sum() < 700


def test_the_discriminator_is_told_the_gender_of_half_of_the_photos(refined, monkeypatch):
    stage, told, alike = refined.stage, [], np.repeat(LABELS[:1], 400, axis=0)
    monkeypatch.setattr(stage, "discriminating", lambda faces, labels, drawn: told.append(ops.convert_to_numpy(labels)))
    faces = np.zeros((400, 1, 1, 3), np.float32)
    stage.discriminating_people(faces, ops.convert_to_tensor(alike), alike[:, :6], faces, faces)
    (labels,) = told
    np.testing.assert_array_equal(labels[:, :6], alike[:, :6])
    known = labels[:, 6:].any(1)
    np.testing.assert_array_equal(labels[known], alike[known])
    # 200, with a deviation of 10.
    assert 150 < known.sum() < 250


def apart(faces: np.ndarray) -> float:
    """Mean absolute difference of all pairs of faces, in grey levels."""
    rows, columns = np.triu_indices(len(faces), 1)
    return float(np.abs(faces[rows].astype(float) - faces[columns]).mean())


def told_apart(refined: Refined) -> tuple[float, float, float]:
    """How far people's rebuilt faces lie apart: as a share of how far their photos do, and as a multiple of how far two
    views of one photo do; and how much nearer, to the recogniser, they are to their own photo than to the others."""
    faces = refined.faces
    ours, moved = (refined.rebuilt(view) for view in (faces, np.roll(faces, 1, axis=2)))
    within = np.abs(ours.astype(float) - moved).mean()
    photos, drawn = (predict(refined.stage.recognizer, shown, PEOPLE) for shown in (faces, ours))
    distances = np.linalg.norm(drawn[:, None] - photos[None], axis=-1)
    own = np.eye(PEOPLE, dtype=bool)
    nearer = float(distances[~own].mean() - distances[own].mean())
    return apart(ours) / apart(faces), apart(ours) / max(float(within), 0.1), nearer


def test_two_people_do_not_get_one_picture(refined):
    for _ in range(60):
        refined.step()
    share, multiple, nearer = told_apart(refined)
    assert share > 0.15
    assert multiple > 5
    assert nearer > 0.15
    # The measure is one that a G fails which hears nothing of z.
    first = refined.stage.generator.layers[3]
    first.kernel.assign(np.r_[np.zeros((100, 128)), values([first.kernel])[0][100:]])
    assert told_apart(refined) == (0, 0, pytest.approx(0, abs=1e-3))


def test_without_the_terms_for_the_person_they_do(refined):
    refined.weigh(adversarial=0.25, aged_age=0.15, sampled_age=0.1)
    for _ in range(60):
        refined.step()
    assert told_apart(refined)[2] < 0.05


def head_start(refined: Refined) -> HeadStart:
    stage = refined.stage
    eyes = [stage.recognizer, stage.age_estimator]
    discriminator = projected_discriminator(eyes, LABELS.shape[1], width=8)
    alone = HeadStart(discriminator, stage.encoder, stage.generator, 1.5, IdentityOptions())
    compile_unfused(alone)
    return alone


def test_a_head_start_moves_the_discriminator_alone_until_it_tells_drawn_from_real(refined):
    stage = head_start(refined)
    data = ops.convert_to_tensor(refined.faces), ops.convert_to_tensor(LABELS)
    one_step = compile_step(lambda *batch: stage.train_step(batch))

    def learn() -> dict[str, float]:
        stage.reset_metrics()
        return {name: float(value) for name, value in one_step(*data).items()}

    assert moving(stage, learn) == {"discriminator", "steps"}
    assert learn()["d_real"] < 0.9
    for _ in range(200):
        found = learn()
        if told := min(found["d_real"], found["d_fake"]) > 0.9:
            break
    assert told, found


def test_a_head_start_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    path = tmp_path / "head_start.weights.h5"

    def give(stage, steps=4, stop_after=None):
        told = []

        def progress(done):
            told.append(done)
            if done == stop_after:
                raise KeyboardInterrupt

        def batches(first_step):
            return FaceBatches(FACES, BATCH, steps, targets=one_hot_people(FACES), first_step=first_step)

        give_head_start(stage, batches, steps, path, progress)
        return told

    def begin():
        keras.utils.set_random_seed(0)
        judging, _ = linear_discriminator(labels=LABELS.shape[1])
        stage = HeadStart(judging, encoder(width=4), one_generator(), 1.5, IdentityOptions())
        # A few steps take less time than to compile one.
        stage.compile(run_eagerly=True)
        return stage

    monkeypatch.setattr("faceage.training.head_start.CHECKPOINT_EVERY", 2)
    unbroken = begin()
    assert give(unbroken) == [1, 2, 3, 4]
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        give(begin(), stop_after=3)
    assert read_position(path).step == 2
    resumed = begin()
    assert give(resumed) == [3, 4]
    assert_equal(heads(resumed), heads(unbroken))
    given = begin()
    assert give(given) == []
    assert_equal(heads(given), heads(unbroken))
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_head_start_is_told(refined, tmp_path):
    path = tmp_path / "head_start.weights.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(TrainingError, match="no checkpoint of this stage"):
        give_head_start(head_start(refined), lambda first_step: None, 4, path)
    with pytest.raises(TrainingError, match="no checkpoint"):
        read_position(path)


def heads(stage: HeadStart) -> list[np.ndarray]:
    return values(stage.discriminator.trainable_variables)


def test_identity_scores_are_those_of_the_recogniser(refined):
    faces = replace(face_set(PEOPLE), faces=refined.faces)
    stage = refined.stage
    found = identity_scores(stage.encoder, stage.generator, stage.recognizer, stage.age_estimator, faces)
    drawn = draw(stage.generator, predict(stage.encoder, faces.faces), one_hot(faces.classes))
    embeddings, theirs = (predict(stage.recognizer, shown) for shown in (faces.faces, drawn))
    assert found["same_age"] == pytest.approx(np.linalg.norm(embeddings - theirs, axis=1).mean(), rel=1e-4)
    assert 0 < found["other_age"] <= 2
    assert 0 <= found["aged_hits"] <= 1
    assert found["aged_cross_entropy"] > 0


def test_a_row_of_aged_faces_is_the_photo_rebuilt_and_at_every_age():
    faces, network, drawing = face_set(8), encoder(width=4), one_generator()
    picture = np.asarray(aged_grid(network, drawing, faces, rows=2))
    assert picture.shape[1] == 8 * 66 + 2
    head = picture.shape[0] - (2 * 66 + 2)
    latents = predict(network, faces.faces[:2])
    for row, own in enumerate(faces.classes[:2]):
        expected = draw(drawing, np.repeat(latents[row : row + 1], 7, axis=0), one_hot([own, *range(6)]))
        for column, face in enumerate([faces.faces[row], *expected]):
            top, left = head + 2 + row * 66, 2 + column * 66
            np.testing.assert_array_equal(picture[top : top + 64, left : left + 64], face)


def test_distance_and_cross_entropy_are_what_they_are_called():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(ops.convert_to_numpy(identity_distance(a, b)), np.linalg.norm(a - b, axis=1), rtol=1e-5)
    guess = random.dirichlet(np.ones(6), 6).astype(np.float32)
    assert float(cross_entropy(one_hot(range(6)), guess)) == pytest.approx(-np.log(np.diag(guess)).mean(), rel=1e-4)


def test_tone_is_colour_in_its_place_and_contrast_and_nothing_else():
    faces = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 64, 64, 3)).astype(np.float32)
    rearranged = faces.reshape(3, 4, 16, 4, 16, 3)[:, :, ::-1, :, ::-1].reshape(faces.shape)
    assert float(tone_difference(faces, rearranged)) == pytest.approx(0, abs=1e-4)
    assert float(tone_difference(faces, faces[:, ::-1, ::-1])) > 0.005
    # One colour of three lighter, and then all of them half as strong about their means at each place.
    assert float(tone_difference(faces + np.float32([0.3, 0, 0]), faces)) == pytest.approx(0.1, rel=1e-3)
    means = faces.reshape(3, 4, 16, 4, 16, 3).mean(axis=(2, 4)).repeat(16, axis=1).repeat(16, axis=2)
    softer = means + (faces - means) / 2
    less = faces.std(axis=(1, 2)) - softer.std(axis=(1, 2))
    assert less.min() > 0.1
    assert float(tone_difference(faces, softer)) == pytest.approx(less.mean(), rel=1e-3)


@pytest.mark.parametrize(("faces", "steps"), [(1, 1), (63, 1), (64, 1), (65, 2), (640, 10)])
def test_no_steps_per_epoch_are_one_pass_over_the_faces(faces, steps):
    assert StageOptions(steps_per_epoch=0).steps(faces) == steps
    assert StageOptions(steps_per_epoch=7).steps(faces) == 7


def people(*counts: int) -> list[np.ndarray]:
    """The faces of FACES in turn, so many of each person."""
    return np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])


def make_batches(kind: str, batch_size: int = 8, steps: int = 5, **place: int):
    if kind == "faces":
        return FaceBatches(FACES, batch_size, steps, **place)
    return PeopleBatches(FACES, people(4, 5, 6, 4, 5), batch_size, steps, **place)


def bytes_of(batches) -> list[tuple[bytes, ...]]:
    return [tuple(np.asarray(part).tobytes() for part in batches[i]) for i in range(len(batches))]


@pytest.mark.parametrize("kind", ["faces", "people"])
@pytest.mark.parametrize("first_step", [0, 1, 3, 5])
def test_batches_from_a_step_on_are_the_rest_of_the_epoch(kind, first_step):
    place = {"seed": 2, "epoch": 3}
    assert (
        bytes_of(make_batches(kind, first_step=first_step, **place))
        == bytes_of(make_batches(kind, **place))[first_step:]
    )


@pytest.mark.parametrize("kind", ["faces", "people"])
def test_a_batch_depends_on_seed_epoch_and_step(kind):
    places = [{"seed": seed, "epoch": epoch} for seed in (0, 1) for epoch in (0, 1)]
    found = [batch for place in places for batch in bytes_of(make_batches(kind, **place))]
    assert len(set(found)) == len(found) == 20
    assert [batch for place in places for batch in bytes_of(make_batches(kind, **place))] == found


@pytest.mark.parametrize("batch_size", [4, 8, 10, 20])
def test_people_come_four_times_each_with_their_own_faces(batch_size):
    of_people = people(4, 5, 6, 4, 5)
    owner = {FACES.faces[face].tobytes(): number for number, faces in enumerate(of_people) for face in faces}
    batches = make_batches("people", batch_size)
    for i in range(len(batches)):
        faces, numbers = batches[i]
        assert faces.shape == (batch_size, 64, 64, 3)
        assert numbers.dtype == np.int32
        assert [owner[face.tobytes()] for face in faces] == numbers.tolist()
        assert len({face.tobytes() for face in faces}) == batch_size
        counts = np.unique_counts(numbers).counts
        assert sorted(counts, reverse=True) == [4] * (batch_size // 4) + [batch_size % 4] * (batch_size % 4 > 0)


def test_people_with_few_photos_show_them_again():
    batches = PeopleBatches(FACES, people(2, 3), 8, 20)
    for i in range(20):
        faces, numbers = batches[i]
        assert sorted(numbers.tolist()) == [0] * 4 + [1] * 4
        assert 2 <= len({face.tobytes() for face in faces}) <= 5


def test_nobody_comes_twice_while_there_are_others():
    of_people = people(4, 4, 4)
    for count in (1, 2, 3, 4, 6):
        batches = PeopleBatches(FACES, of_people, 4 * count, 20)
        for i in range(20):
            numbers = batches[i][1]
            times = np.bincount(numbers, minlength=3) // 4
            assert times.max() - times.min() <= 1, (count, times)
