"""The photo stage: R learns on real photos to draw, at their resolution, what G knows of an age at 64 pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from faceage.ages import AGE_CLASSES, one_hot
from faceage.backend import gradients
from faceage.data.dataset import PortraitBatches, dated_people
from faceage.genders import GENDERS
from faceage.images import to_uint8
from faceage.networks.augment import affine_views
from faceage.networks.discriminator import patch_discriminator
from faceage.networks.re_ager import re_ager
from faceage.networks.skin import SMOOTHING, smooth_skin
from faceage.people.re_age import lay_over
from faceage.pictures.grid import draw_grid
from faceage.training.adversarial import AdversarialOptions, AdversarialStage
from faceage.training.job import Job
from faceage.training.people import GENDER_KNOWN, split_labels
from faceage.training.proposals import Proposals
from faceage.training.stage import unit_faces

SHOWN = 2
"""People of each class in the picture of an epoch."""

NEAR, FAR = 96, 64
"""Sides in pixels of what the discriminator sees: a part of a portrait, and nearly all of it at half the resolution."""
PAIRS, ALONE, BOTH = "pairs", "alone", "both"
"""Parts of the training: R learns from pairs, the discriminator learns alone, both learn."""
TAUGHT = 3
"""Steps of the discriminator for each of R's, with other views of the same portraits: R is faster than it."""
PAIRS_LATER = 4
"""Of a batch, one in so many is a pair too when the discriminator has a say: what they taught is not forgotten."""


@dataclass(frozen=True)
class PhotoOptions(AdversarialOptions):
    """Options of the photo stage; the defaults take some hours on two fast CPU cores, and minutes on a GPU."""

    epochs: int = 20
    steps_per_epoch: int = 200
    batch_size: int = 16
    learning_rate: float = 1e-4
    discriminator_rate: float = 4.0
    clip: float = 1.0
    beta_1: float = 0.5
    average_decay: float = 0.998
    wrong_age: float = 0.2
    r1: float = 0.0
    pairs_epochs: int = 5
    """Epochs of pairs alone, before the discriminator has a say."""
    alone_epochs: int = 2
    """Epochs in which the discriminator then learns alone, until it sees at once what R draws."""
    ramp: int = 100
    """Steps over which the losses of the way forward then rise to their weights."""
    warm_up: int = 100
    """Steps over which R's learning rate rises: Adam's first steps, at full rate, undo what R knew."""
    edges: float = 2.0
    """Weight of the difference of neighbouring pixels in pairs; that of the pixels themselves is 1."""
    hold: float = 0.7
    """Weight of how far the means of 5×5 and of 10×10 pixels move from what G decided."""
    colour: float = 0.3
    """Of that, the weight of how far their colours move, beside their brightness."""
    full: float = 0.02
    """Weight of how far single pixels do."""
    adversarial: float = 0.1
    """Weight of the discriminator's loss, after `ramp`."""
    strength: float = 1.6
    """Ageing strength in training lies between half of this and all of it."""
    stains: float = 0.8
    """Share, at most, of what G leaves behind on the way there and back that is laid over the photo in pairs."""


class PhotoJob(Job):
    """Trains the re-ager against a patch discriminator."""

    NAME = "photo"
    MAKES = ("re_ager",)
    NEEDS = ("encoder", "generator", "age_estimator")
    USES = ("re_ager",)
    OPTIONS = PhotoOptions

    def stage(self) -> "PhotoTraining":
        networks, options = self.inputs.networks, self.options
        stage = PhotoTraining(
            re_ager=self.begun_with("re_ager") or re_ager(options.dtype),
            drawing=re_ager(),
            discriminator=patch_discriminator((NEAR, FAR), len(AGE_CLASSES) + len(GENDERS), options.dtype),
            encoder=networks["encoder"],
            generator=networks["generator"],
            age_estimator=networks["age_estimator"],
            options=options,
        )
        stage.compile()
        return stage

    def batches(self, epoch: int, first_step: int = 0) -> PortraitBatches:
        train = self.inputs.data.train
        return PortraitBatches(train, targets=dated_people(train), **self.sizes(epoch, first_step))

    def pictures(self, stage: "PhotoTraining") -> dict[str, Image.Image]:
        shown = self.inputs.data.validation.of_each_class(SHOWN)
        return {"portraits": aged_portraits(stage, shown.faces, shown.portraits[np.arange(len(shown))])}

    def results(self, stage: "PhotoTraining") -> dict[str, keras.Model]:
        return {"re_ager": stage.drawing}


def aged_portraits(stage: "PhotoTraining", faces: np.ndarray, portraits: np.ndarray) -> Image.Image:
    """Each of the people as they are and at the six ages, as the moving average draws them now."""
    columns = [portraits]
    for target in one_hot(range(len(AGE_CLASSES))):
        ages = ops.convert_to_tensor(np.repeat(target[None], len(faces), 0))
        started = stage.proposed(unit_faces(faces), unit_faces(portraits), ages, 1.0)
        columns.append(to_uint8(ops.convert_to_numpy(started + stage.drawing([started, ages]))))
    return draw_grid(np.stack(columns, 1), ("photo", *AGE_CLASSES))


class PhotoTraining(AdversarialStage):
    """Trains R on batches of `PortraitBatches`, whose targets are `dated_people` (b, 8).

    Two losses together. Pairs: what G leaves behind of a face that it ages and takes back is laid over the photo, and
    its skin smoothed; R gives the photo itself. That teaches skin, and what stains look like. Forward: the photo with
    G's change to another age laid over it. What G decided, the means of small squares, stays; the rest is up to a
    patch discriminator. It sees each portrait turned, scaled and shifted anew: what is seen at one place in one way is
    fooled by dots in fixed places. It learns alone before R hears of it: at chance it would teach nothing. `drawing`,
    the moving average of R, is kept.
    """

    options: PhotoOptions
    BEGINS_AT_RANDOM = True
    LOSSES = ("loss", "pairs", "edges", "hold", "full", "g_loss", "d_loss", "d_real", "d_fake", "d_wrong_age")
    TURN = np.deg2rad(8.0)
    SCALES = (0.9, 1.1), (0.8, 0.9)
    """Of the near view and of the far one."""

    def __init__(
        self,
        re_ager: keras.Model,
        drawing: keras.Model,
        discriminator: keras.Model,
        encoder: keras.Model,
        generator: keras.Model,
        age_estimator: keras.Model,
        options: PhotoOptions = PhotoOptions(),
    ) -> None:
        super().__init__(discriminator, [re_ager], [drawing], options)
        self.re_ager = re_ager
        self.drawing = drawing
        self.proposals = Proposals(encoder, generator, age_estimator, self.random)
        self.part = BOTH

    def learning_rate(self) -> Any:
        rate, steps = self.options.learning_rate, self.options.warm_up
        return keras.optimizers.schedules.PolynomialDecay(rate / 100, steps, rate) if steps else rate

    def begin_epoch(self, epoch: int) -> None:
        first = self.options.pairs_epochs
        part = PAIRS if epoch < first else ALONE if epoch < first + self.options.alone_epochs else BOTH
        if part != self.part:
            # Another step is traced: a branch in the graph would hold the memory of all.
            self.part, self.train_function = part, None

    def train_step(self, data: Any) -> dict[str, Any]:
        (faces, portraits, masks), labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        faces, portraits, labels = unit_faces(faces), unit_faces(portraits), ops.cast(labels, "float32")
        mirrored = keras.random.uniform((ops.shape(faces)[0], 1, 1, 1), seed=self.random) < 0.5
        faces, portraits, masks = (ops.where(mirrored, ops.flip(x, 2), x) for x in (faces, portraits, masks))
        ages, genders = split_labels(labels)
        targets = self.wrong_ages(ages)
        strength = self._uniform(faces, self.options.strength / 2, self.options.strength)
        aged, own, asked, change = self.proposals(faces, targets, strength[..., 0, 0])
        smoothing = SMOOTHING / 3 * ops.exp(self._uniform(faces, 0.0, np.log(10.0)))
        skin = smooth_skin(portraits, smoothing)
        started = lay_over(skin, change)
        genders *= ops.cast(keras.random.uniform((ops.shape(faces)[0], 1), seed=self.random) < GENDER_KNOWN, "float32")
        labels, wanted = (ops.concatenate([each, genders], axis=1) for each in (ages, targets))
        n = self._pairs_a_batch
        # What G leaves of a face that it ages and takes back.
        stains = change[:n] + self.proposals.changed(aged[:n], asked[:n], own[:n])
        spoilt = lay_over(skin[:n], stains * self._uniform(stains, 0.1, self.options.stains))

        def drawn(added: Any) -> Any:
            """As people see it: beside the head, portraits stay as they are."""
            return portraits + masks * (ops.clip(started + added, -1, 1) - portraits)

        values = dict.fromkeys(self.LOSSES, ops.zeros(()))
        if self.part == PAIRS:
            values |= self._restore(portraits, spoilt, ages)
        elif self.part == ALONE:
            seen = drawn(self.re_ager([started, targets], training=False))
            values |= self._teach(portraits, labels, seen, wanted)
        else:
            seen, found = self._re_age(portraits, labels, spoilt, started, wanted, drawn)
            values |= found | self._teach(portraits, labels, seen, wanted)
        self._end_step()
        return self.report(**values)

    @property
    def _pairs_a_batch(self) -> int:
        size = self.options.batch_size
        return size if self.part == PAIRS else max(1, size // PAIRS_LATER)

    def proposed(self, faces: Any, portraits: Any, targets: Any, strength: float) -> Any:
        """What R is shown: (b, 160, 160, 3) `portraits`, skin smoothed, with G's change to the ages `targets`."""
        return lay_over(smooth_skin(portraits), self.proposals(faces, targets, strength).change)

    def _restore(self, portraits: Any, spoilt: Any, ages: Any) -> dict[str, Any]:
        """R's step on pairs alone."""
        loss, values, found = gradients(
            lambda: self._pair_losses(portraits, spoilt + self.re_ager([spoilt, ages], training=True)),
            self.trained_variables,
        )
        self._apply_trained(found)
        return {"loss": loss, **values}

    def _re_age(
        self, portraits: Any, labels: Any, spoilt: Any, started: Any, wanted: Any, drawn: Callable[[Any], Any]
    ) -> tuple[Any, dict[str, Any]]:
        """R's step on a few pairs and on the way forward; answers the portraits that it drew as well."""
        options = self.options
        n = self._pairs_a_batch
        ages = ops.concatenate([labels[:n], wanted])[:, : len(AGE_CLASSES)]
        first = (options.pairs_epochs + options.alone_epochs) * options.steps_per_epoch
        ramp = ops.clip((ops.cast(self.steps, "float32") - first) / options.ramp, 0, 1)

        def loss_of() -> tuple[Any, Any]:
            both = ops.concatenate([spoilt, started])
            added = self.re_ager([both, ages], training=True)
            pairs, values = self._pair_losses(portraits[:n], (both + added)[:n])
            moved = added[n:]
            hold = 0.7 * self._moved(moved, 5) + 0.3 * self._moved(moved, 10)
            full = ops.mean(ops.abs(moved))
            seen = drawn(moved)
            _, views = self._views(portraits, seen)
            g_loss = ops.mean(ops.softplus(-self.discriminator([*views, wanted], training=True)))
            forward = options.hold * hold + options.full * full + options.adversarial * g_loss
            return pairs + ramp * forward, (seen, {**values, "hold": hold, "full": full, "g_loss": g_loss})

        loss, (seen, values), found = gradients(loss_of, self.trained_variables)
        self._apply_trained(found)
        return ops.stop_gradient(seen), {"loss": loss, **values}

    def _teach(self, portraits: Any, labels: Any, drawn: Any, wanted: Any) -> dict[str, Any]:
        """The discriminator's steps; answers the last one's values."""
        for _ in range(TAUGHT):
            loss = partial(self._telling_apart, *self._views(portraits, drawn), labels, wanted)
            _, (d_loss, shares), found = gradients(loss, self.discriminator.trainable_variables)
            self._apply_discriminator(found)
        return {"d_loss": d_loss, **shares}

    def _pair_losses(self, portraits: Any, restored: Any) -> tuple[Any, dict[str, Any]]:
        difference = restored - portraits
        pixels = ops.mean(ops.abs(difference))
        edges = ops.mean(ops.abs(difference[:, 1:] - difference[:, :-1]))
        edges = edges + ops.mean(ops.abs(difference[:, :, 1:] - difference[:, :, :-1]))
        return pixels + self.options.edges * edges, {"pairs": pixels, "edges": edges}

    def _moved(self, pixels: Any, side: int) -> Any:
        means = ops.average_pool(pixels, side, data_format="channels_last")
        brightness = ops.mean(means, axis=-1, keepdims=True)
        colours = self.options.colour * ops.mean(ops.abs(means - brightness))
        return ops.mean(ops.abs(brightness)) + colours

    def _telling_apart(self, real: Any, drawn: Any, labels: Any, wanted: Any) -> tuple[Any, Any]:
        """D's loss on real and drawn portraits, and on real ones with another's age or gender."""
        wrong = ops.roll(labels, 1, axis=0)
        logits = self.discriminator(
            [
                *(ops.concatenate([one, other, one]) for one, other in zip(real, drawn, strict=True)),
                ops.concatenate([labels, wanted, wrong]),
            ],
            training=True,
        )
        is_real, is_drawn, is_wrong = ops.split(logits, 3)
        # Others of the same age say nothing.
        apart = ops.sum(ops.abs(wrong - labels), axis=1, keepdims=True) / 2
        loss = ops.mean(ops.softplus(-is_real)) + ops.mean(ops.softplus(is_drawn))
        total = loss + self.options.wrong_age * ops.mean(ops.clip(apart, 0, 1) * ops.softplus(is_wrong))
        shares = {
            name: ops.mean(ops.cast(right, "float32"))
            for name, right in (("d_real", is_real > 0), ("d_fake", is_drawn < 0), ("d_wrong_age", is_wrong < 0))
        }
        return total, (loss, shares)

    def _views(self, portraits: Any, drawn: Any) -> tuple[list[Any], list[Any]]:
        """What D sees of portraits and of those drawn of them: the same squares of both.

        Whose face it is and where its edges are then says nothing, and D learns several times faster what does.
        """
        both = ops.concatenate([portraits, drawn], axis=-1)
        half = ops.average_pool(both, 2, data_format="channels_last")
        seen = [
            affine_views(whole, self.random, side, self.TURN, scale)
            for whole, side, scale in zip((both, half), (NEAR, FAR), self.SCALES, strict=True)
        ]
        return [view[..., :3] for view in seen], [view[..., 3:] for view in seen]

    def _uniform(self, faces: Any, least: float, most: float) -> Any:
        return keras.random.uniform((ops.shape(faces)[0], 1, 1, 1), least, most, seed=self.random)
