"""The photo stage: what R starts as, which weights move in either phase, and that a killed training goes on in both."""

import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from test_run import assert_same_checkpoint, without_seconds
from test_stages import assert_equal, moving, values
from tiny_training import TinyPhoto, TinySplits, eagerly, face_set, photo_options, photo_stage

from faceage.ages import one_hot
from faceage.backend import compile_step, gradients
from faceage.data.dataset import dated_people
from faceage.errors import Interrupted
from faceage.faces.align import TEMPLATE
from faceage.faces.masks import head_masks
from faceage.images import to_float, to_uint8
from faceage.networks.augment import affine_views
from faceage.networks.re_ager import re_ager
from faceage.networks.skin import skin_mask, smooth_skin
from faceage.people.re_age import lay_over
from faceage.sizes import PORTRAIT_SIZE
from faceage.training.checkpoint import Position, read_position
from faceage.training.job import Inputs
from faceage.training.photo import PhotoJob, aged_portraits
from faceage.training.run import Run, train_stage
from faceage.training.views import in_views, mean_of_views, random_view
from faceage.training.watch import read_rows

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")
"""That `eagerly` leaves tf.data as it is."""

FACES = face_set(4)
PORTRAITS = FACES.portraits[np.arange(len(FACES))]


@pytest.fixture(scope="module")
def only_stage():
    keras.utils.set_random_seed(0)
    stage = photo_stage(photo_options())
    return stage, values(everything(stage))


def rewound(stage: keras.Model, start: list[np.ndarray]) -> keras.Model:
    """The stage as new, since compiling one takes seconds."""
    for variable, value in zip(everything(stage), start, strict=True):
        variable.assign(value)
    stage.reset_metrics()
    return stage


@pytest.fixture
def stage(only_stage):
    return rewound(*only_stage)


@pytest.fixture
def taught_once(monkeypatch):
    """The discriminator takes one step for each of the re-ager's: three are three times the work, and tell no more."""
    monkeypatch.setattr("faceage.training.photo.TAUGHT", 1)


def everything(stage: keras.Model) -> list[keras.Variable]:
    return stage.variables + stage.trained_optimizer.variables + stage.discriminator_optimizer.variables


def step(stage: keras.Model, *pictures: np.ndarray) -> dict[str, float]:
    """A step on faces and portraits, those of `FACES` by default."""
    batch = (*(pictures or (FACES.faces, PORTRAITS)), head_masks(FACES.landmarks)), dated_people(FACES)
    report = stage.train_step(keras.tree.map_structure(ops.convert_to_tensor, batch))
    return {name: float(value) for name, value in report.items()}


def smooth_pictures(count: int, side: int) -> np.ndarray:
    """Pictures of a few waves, (count, side, side, 3) float32 in -1..1."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in random.uniform(-3, 3, (3 * count, 3))]
    return np.stack(waves).reshape(count, 3, side, side).transpose(0, 2, 3, 1).astype(np.float32)


def test_the_re_ager_is_small_enough_to_ship_and_begins_near_zero():
    network = re_ager()
    assert network.count_params() < 11_000_000
    assert [x.shape[1:] for x in network.inputs] == [(PORTRAIT_SIZE, PORTRAIT_SIZE, 3), (6,)]
    added = ops.convert_to_numpy(network([smooth_pictures(2, PORTRAIT_SIZE), one_hot([0, 5])], training=False))
    assert added.shape == (2, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)
    assert 0 < np.abs(added).mean() < 0.05


@pytest.mark.parametrize("size", [32, 64])
def test_the_re_ager_takes_other_sizes(size):
    network = re_ager(widths=(4, 6, 6, 8), depths=(1, 1, 1, 1), size=size)
    assert network([smooth_pictures(1, size), one_hot([3])]).shape == (1, size, size, 3)


def test_a_step_on_pairs_moves_the_re_ager_alone_and_every_fourth_its_average(stage):
    stage.begin_epoch(0)
    reports = []
    for done in range(1, 5):
        moved = moving(stage, lambda: reports.append(step(stage)))
        assert moved == {"re_ager", "steps", *(["drawing"] if done % 4 == 0 else [])}
    for report in reports:
        assert set(report) == set(stage.LOSSES)
        assert np.isfinite(list(report.values())).all()
        assert report["loss"] > 0
        assert report["g_loss"] == report["d_loss"] == report["hold"] == 0


def test_the_discriminator_alone_learns_to_see_what_is_drawn(stage):
    stage.begin_epoch(2)
    stage.discriminator_optimizer.learning_rate.assign(2e-3)
    reports = []
    assert moving(stage, lambda: reports.append(step(stage))) == {"discriminator", "steps"}
    for _ in range(30):
        for mean in stage.metrics:
            mean.reset_state()
        reports.append(step(stage))
    assert all(report["loss"] == report["g_loss"] == report["hold"] == 0 for report in reports)
    assert np.mean([report["d_loss"] for report in reports[-5:]]) < 0.9 * reports[0]["d_loss"]


@pytest.mark.usefixtures("taught_once")
def test_a_step_with_the_discriminator_moves_both_and_nothing_frozen(stage):
    stage.begin_epoch(3)
    frozen = stage.proposals.networks
    before = [values(network.weights) for network in frozen]
    for done in range(1, 5):
        report = {}
        moved = moving(stage, lambda report=report: report.update(step(stage)))
        assert moved == {"re_ager", "discriminator", "steps", *(["drawing"] if done % 4 == 0 else [])}
        assert np.isfinite(list(report.values())).all()
        assert min(report["g_loss"], report["d_loss"], report["hold"], report["pairs"]) > 0
    for network, old in zip(frozen, before, strict=True):
        assert_equal(values(network.weights), old)


@pytest.mark.parametrize("still", ["re_ager", "discriminator"])
@pytest.mark.usefixtures("taught_once")
def test_neither_moves_in_the_others_update(stage, still):
    stage.begin_epoch(3)
    optimizer = stage.trained_optimizer if still == "re_ager" else stage.discriminator_optimizer
    optimizer.learning_rate.assign(0.0)
    assert {"re_ager", "discriminator"} - moving(stage, lambda: step(stage)) == {still}


@pytest.mark.usefixtures("taught_once")
def test_the_discriminator_is_listened_to_slowly(stage, monkeypatch):
    """At R's first step with it its weight is zero: however it judges, R's gradient is the same."""

    def update(steps: int, bias: float) -> list[np.ndarray]:
        for variable, value in zip(everything(stage), start, strict=True):
            variable.assign(value)
        stage.steps.assign(steps)
        for weight in stage.discriminator.trainable_variables:
            if weight.path.endswith("bias"):
                weight.assign(weight + bias)
        step(stage)
        return values(stage.trained_optimizer.variables[2:])

    stage.begin_epoch(3)
    start = values(everything(stage))
    first = 3 * stage.options.steps_per_epoch
    assert_equal(update(first, 0.0), update(first, 1.0))
    later = update(first + 4, 0.0), update(first + 4, 1.0)
    assert any((one != other).any() for one, other in zip(*later, strict=True))


def test_pairs_teach_the_re_ager_to_restore_the_photo(stage):
    stage.begin_epoch(0)
    stage.trained_optimizer.learning_rate.assign(5e-3)
    faces, portraits = (to_uint8(smooth_pictures(4, side)) for side in (64, PORTRAIT_SIZE))
    losses = []
    for _ in range(30):
        for mean in stage.metrics:
            mean.reset_state()
        losses.append(step(stage, faces, portraits)["loss"])
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_change_is_what_the_generator_draws_otherwise_at_the_age_asked_for(stage):
    faces = to_float(FACES.faces)
    targets = one_hot([0, 1, 4, 5])
    aged, own, asked, change = (ops.convert_to_numpy(part) for part in stage.proposals(faces, targets, 1.5))
    np.testing.assert_allclose(own.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(asked, own + 1.5 * (targets - own), atol=1e-6)
    np.testing.assert_allclose(aged, np.clip(faces + change, -1, 1), atol=1e-6)
    mirrored = ops.convert_to_numpy(stage.proposals(faces[:, :, ::-1], targets, 0.0).change)
    # At no strength nothing changes.
    np.testing.assert_allclose(mirrored, 0, atol=1e-6)


def test_the_picture_of_an_epoch_shows_everybody_at_every_age(stage):
    grid = np.asarray(aged_portraits(stage, FACES.faces, FACES.portraits[np.arange(4)]))
    assert grid.shape[0] > 4 * PORTRAIT_SIZE
    assert grid.shape[1] > 7 * PORTRAIT_SIZE


def test_views_put_back_are_the_face_and_take_stains_of_one_place_apart():
    faces = ops.convert_to_tensor(smooth_pictures(3, 64))
    views = [random_view(3, keras.random.SeedGenerator(1)) for _ in range(2)]
    for some in ((), views):
        seen = in_views(faces, some)
        assert seen.shape == (6 * (1 + len(some)), 64, 64, 3)
        np.testing.assert_array_equal(seen[:3], faces)
        back = ops.convert_to_numpy(mean_of_views(seen, some))
        np.testing.assert_allclose(back[:, 8:-8, 8:-8], faces[:, 8:-8, 8:-8], atol=0.03)
    stain = np.zeros((18, 64, 64, 3), np.float32)
    stain[:, 20, 20] = 1.0
    # A stain in one place of every view comes to lie in as many places.
    assert ops.convert_to_numpy(mean_of_views(stain, views)).max() < 0.4


def test_a_change_is_laid_over_where_it_is():
    # Without colour, of which less is laid over.
    change = smooth_pictures(2, 64)[..., :1].repeat(3, axis=-1) / 2
    large = ops.convert_to_numpy(lay_over(np.zeros((2, PORTRAIT_SIZE, PORTRAIT_SIZE, 3), np.float32), change))
    assert large.shape == (2, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)
    # Five pixels for two of them: the mean of each five rows is that of the two.
    means = large.reshape(2, 32, 5, 32, 5, 3).mean((2, 4))
    np.testing.assert_allclose(means, change.reshape(2, 32, 2, 32, 2, 3).mean((2, 4)), atol=0.02)


def test_of_a_change_all_of_the_light_is_laid_over_and_less_of_the_colour():
    change = np.full((1, 64, 64, 3), (0.3, -0.1, -0.1), np.float32)
    laid = ops.convert_to_numpy(lay_over(np.zeros((1, PORTRAIT_SIZE, PORTRAIT_SIZE, 3), np.float32), change))[0, 80, 80]
    weights = (0.299, 0.587, 0.114)
    assert laid @ weights == pytest.approx(change[0, 0, 0] @ weights, abs=1e-5)
    assert 0 < np.ptp(laid) < 0.5 * np.ptp(change)


@pytest.mark.usefixtures("taught_once")
def test_a_compiled_step_has_the_losses_of_an_uncompiled_one(only_stage):
    reports = []
    for run in (lambda act: act, compile_step):
        stage = rewound(*only_stage)
        stage.begin_epoch(3)
        stage.steps.assign(1000)
        act = run(lambda *data, stage=stage: stage.train_step((data[:3], data[3])))
        batch = (FACES.faces, PORTRAITS, head_masks(FACES.landmarks), dated_people(FACES))
        found = act(*map(ops.convert_to_tensor, batch))
        reports.append({name: float(value) for name, value in found.items()})
    assert reports[1] == pytest.approx(reports[0], rel=1e-3)


class Killed(BaseException):
    """Ends a training as a kill does: nothing is saved."""


@pytest.mark.usefixtures("taught_once")
def test_stopped_and_killed_in_every_part_it_ends_bit_for_bit_as_the_unbroken_one(only_stage, tmp_path, monkeypatch):
    monkeypatch.setattr("faceage.training.photo.SHOWN", 1)
    options = photo_options(epochs=5, batch_size=2)
    steps = options.steps_per_epoch

    class Rewound(TinyPhoto):
        def stage(self):
            return rewound(*only_stage)

    def train(name: str, at: int = 0, act=lambda: None) -> Path:
        run = Run(tmp_path / name, progress=lambda what, done, total: act() if done == at else None)
        train_stage(Rewound, options, run, TinySplits())
        return run.folder / "photo"

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def kill() -> None:
        raise Killed

    with eagerly():
        one = train("unbroken")
        # In the pairs' second epoch; with D alone; as both begin; in the last epoch, whose beginning is done again.
        for act, at, position in (
            (stop, steps + 1, Position(1, 1)),
            (stop, 2 * steps + 1, Position(2, 1)),
            (stop, 3 * steps + 1, Position(3, 1)),
            (kill, 4 * steps + 1, Position(4)),
        ):
            with pytest.raises((Interrupted, Killed)):
                train("broken", at, act)
            assert read_position(tmp_path / "broken" / "photo" / "last.weights.h5") == position
        other = train("broken")
    assert_same_checkpoint(one / "last.weights.h5", other / "last.weights.h5")
    rows = read_rows(one / "stats.jsonl")
    assert without_seconds(rows) == without_seconds(read_rows(other / "stats.jsonl"))
    assert [row["g_loss"] > 0 for row in rows] == [False, False, False, True, True]
    assert [row["d_loss"] > 0 for row in rows] == [False, False, True, True, True]
    assert (one / "portraits-0005.png").read_bytes() == (other / "portraits-0005.png").read_bytes()


def test_batches_of_the_job_are_of_portraits(tmp_path):
    job = PhotoJob(photo_options(), Inputs(TinySplits(), tmp_path))
    (faces, portraits, masks), labels = job.batches(0)[0]
    assert (faces.shape, portraits.shape) == ((4, 64, 64, 3), (4, PORTRAIT_SIZE, PORTRAIT_SIZE, 3))
    assert (masks.shape, labels.shape) == ((4, PORTRAIT_SIZE, PORTRAIT_SIZE, 1), (4, 8))
    assert masks[:, PORTRAIT_SIZE // 2, PORTRAIT_SIZE // 2].min() > 0.9


def test_skin_is_cheeks_and_forehead_and_neither_eyes_nor_background():
    mask = skin_mask()[..., 0]
    assert mask.shape == (PORTRAIT_SIZE, PORTRAIT_SIZE)
    assert (mask.min(), mask.max()) == (0, 1)
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=0.05)
    scale = PORTRAIT_SIZE / 64
    (left, eye), (right, _), (nose, tip) = (TEMPLATE * scale).round().astype(int)[:3]
    assert mask[eye, left] < 0.05
    assert mask[eye, right] < 0.05
    assert mask[tip, left] > 0.9
    assert mask[eye - round(9 * scale), nose] > 0.9
    assert mask[:, :4].max() == mask[:, -4:].max() == mask[:15, :30].max() == 0


def test_skin_is_smoothed_between_its_edges_and_nothing_else():
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.05, (1, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)).astype(np.float32)
    step = np.where(np.arange(PORTRAIT_SIZE) < PORTRAIT_SIZE // 2, -0.7, 0.7)[None, None, :, None].astype(np.float32)
    smooth = ops.convert_to_numpy(smooth_skin(noise + step))
    skin = skin_mask()[..., 0] > 0.99
    outside = skin_mask()[..., 0] == 0
    np.testing.assert_array_equal(smooth[0][outside], (noise + step)[0][outside])
    away = skin & (np.abs(np.arange(PORTRAIT_SIZE) - PORTRAIT_SIZE / 2) > 12)[None]
    assert (smooth - step)[0][away].std() < 0.3 * noise[0][away].std()
    edge = smooth[0][skin.nonzero()[0].min() + 5, PORTRAIT_SIZE // 2 - 1 : PORTRAIT_SIZE // 2 + 1]
    assert np.ptp(edge, axis=0).min() > 1.2
    # A higher threshold smooths more, for each picture on its own.
    two = np.concatenate([noise, noise])
    weak, strong = ops.convert_to_numpy(smooth_skin(two, np.array([1e-4, 0.1], np.float32).reshape(2, 1, 1, 1)))
    assert strong[skin].std() < weak[skin].std()
    np.testing.assert_allclose(strong, ops.convert_to_numpy(smooth_skin(noise, 0.1))[0], atol=1e-5)


def views(pictures: np.ndarray, *arguments) -> np.ndarray:
    return ops.convert_to_numpy(affine_views(pictures, keras.random.SeedGenerator(3), *arguments))


def test_a_view_without_turn_and_scale_is_a_square_of_the_picture_or_of_its_mirror_image():
    pictures = smooth_pictures(40, 24)
    found = views(pictures, 24, 0.0, (1.0, 1.0))
    for picture, view in zip(pictures, found, strict=True):
        assert min(np.abs(view - other).max() for other in (picture, picture[:, ::-1])) < 1e-3
    mirrored = [np.abs(v - p).mean() > np.abs(v - p[:, ::-1]).mean() for p, v in zip(pictures, found, strict=True)]
    assert 8 < sum(mirrored) < 32


def test_views_show_all_of_a_picture_at_sizes_between_the_bounds():
    side, height = 24, 48
    y, x = np.mgrid[:height, :height].astype(np.float32)
    pictures = np.repeat(np.stack([y, x, 0 * x], -1)[None], 200, 0)
    found = views(pictures, side, np.deg2rad(8), (0.6, 1.1))
    assert found.shape == (200, side, side, 3)
    assert np.isfinite(found).all()
    middle = found[:, 8:16, 8:16]
    along = np.stack([np.diff(middle[..., c], axis=2).mean((1, 2)) for c in (0, 1)], -1)
    lengths, turns = np.linalg.norm(along, axis=1), np.arctan2(along[:, 0], np.abs(along[:, 1]))
    # So many of the picture's pixels lie between two of the view's.
    assert 1 / 1.1 - 0.02 < lengths.min() < 0.97
    assert 1.5 < lengths.max() < 1 / 0.6 + 0.02
    assert np.abs(turns).max() < np.deg2rad(8.5)
    assert np.abs(turns).max() > np.deg2rad(6)
    centres = found[:, side // 2, side // 2, :2]
    assert (np.ptp(centres, axis=0) > 8).all()


def test_views_can_be_learnt_through():
    pictures = keras.Variable(smooth_pictures(2, 24))
    seed = keras.random.SeedGenerator(0)
    _, _, (found,) = gradients(
        lambda: (ops.sum(affine_views(pictures.value, seed, 12, 0.1, (0.8, 1.1))), ()), [pictures]
    )
    found = ops.convert_to_numpy(found)
    # Each pixel of a view is a mean of those around it: its weights sum to one, whatever is enlarged.
    assert found.sum() == pytest.approx(2 * 12 * 12 * 3, rel=1e-3)
