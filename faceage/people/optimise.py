"""Identity-preserving latent optimisation (Antipov et al. 2017, section 2.3), batched over faces.

    z* = argmin over z of ‖FR(x) − FR(G(z, y))‖₂, with G and FR frozen

That is the objective "paper". The default one adds:

- FR sees both faces through the same small random shift and mirroring: an optimiser that looks through one fixed
  view learns to fool FR instead of drawing the person.
- Every other step draws the person at another age, so that who it is holds for all of them.
- Besides z, an offset of G's first layer is found, where a person is more than 100 numbers.
- z is held to the encoder's, and the faces at other ages to what G draws of that: the further they go, the more the
  person smears.
- The pixels and FR's inner layers are to be the photo's too, which leaves less room to look alike to FR alone; and the
  eyes, the nose and the mouth, at every age.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.ages import AGE_CLASSES, one_hot, towards
from faceage.backend import compile_step, gradients
from faceage.images import to_float
from faceage.model import Model
from faceage.networks.landmarks import landmark_difference
from faceage.networks.recognizer import feature_difference, identity_distance, with_features
from faceage.people.options import FACES_AT_ONCE, OBJECTIVES, OptimiserOptions
from faceage.sizes import FACE_SIZE, LATENT_SIZE


@dataclass(frozen=True)
class Latents:
    """The outcome for n faces, float32.

    `age` (n, 6) the class probabilities used as y; `initial` (n, 100) from the encoder; `latent` (n, 100) and `offset`
    (n, k), float16, of G's first layer, the best found; `distance` (n, 2) ‖FR(x) − FR(G(z, y))‖₂ for the one and the
    other, 0..2.
    """

    age: np.ndarray
    initial: np.ndarray
    latent: np.ndarray
    offset: np.ndarray
    distance: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> "Latents":
        """Those of the faces at the indices `chosen`."""
        return Latents(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def columns(self, number: int) -> dict[str, Any]:
        """Those of one face as the columns `STORED` of its row."""
        return {name: getattr(self, field.name)[number] for name, field in zip(STORED, fields(self), strict=True)}


STORED = "age", "latent_initial", "latent", "offset", "identity_distance"
"""The columns of a stored row that are latents, in the order of the fields of `Latents`."""


class LatentOptimiser:
    """Encodes faces and optimises their latents in compiled batches of one fixed size.

    What is random is drawn once per step and shared by all faces, and every loss is a sum of one face's terms: who
    else is in the batch makes no difference to a face.
    """

    CHECK_EVERY = 10
    """Steps between looks at the plain distance, which decides which z of a face's path is kept."""
    VIEWS = 8
    """What FR makes of the photo is worked out once for each of so many views, not at each step."""

    def __init__(
        self, model: Model, options: OptimiserOptions, batch_size: int = FACES_AT_ONCE, age: np.ndarray | None = None
    ) -> None:
        """`age` (6,) are the age weights of every face, if known; otherwise the model's estimator gives their y."""
        if options.objective not in OBJECTIVES:
            raise ValueError(f"objective {options.objective!r} is none of {', '.join(OBJECTIVES)}")
        if options.objective == "paper":
            options = replace(options, shift=0, prior=0.0)
        self.options = options
        self.batch_size = batch_size
        self._age = age
        self._encoder, self._recognizer, self._age_estimator = model.encoder, model.recognizer, model.age_estimator
        self._generator = model.person_generator
        self._features = with_features(model.recognizer)
        self._latent = keras.Variable(np.zeros((batch_size, LATENT_SIZE), np.float32), name="latent")
        self._initial = keras.Variable(np.zeros((batch_size, LATENT_SIZE), np.float32), name="initial")
        width = self._generator.inputs[2].shape[1]
        self._offset = keras.Variable(np.zeros((batch_size, width), np.float32), name="offset")
        self._optimizers = [
            keras.optimizers.Adam(options.haste * rate, beta_1=0.9, beta_2=0.99)
            for rate in (options.learning_rate, options.offset_rate)[: len(self._searched)]
        ]
        for optimizer, variable in zip(self._optimizers, self._searched, strict=True):
            optimizer.build([variable])
        self._prepare = compile_step(self._prepare_step)
        self._look = compile_step(self._look_through)
        self._step = compile_step(self._optimise_step)
        self._other_step = compile_step(self._optimise_other_step)
        self._check = compile_step(self._objective)
        self._draw = compile_step(lambda age: self._drawn(age)[0])

    @property
    def _searched(self) -> list[keras.Variable]:
        return [self._latent, self._offset] if self.options.objective == "identity" else [self._latent]

    def __call__(
        self,
        faces: np.ndarray,
        progress: Callable[[int], Any] = lambda done: None,
        stepped: Callable[[int], Any] = lambda step: None,
    ) -> Latents:
        """Latents for (n, 64, 64, 3) uint8 faces.

        `progress` is told how many faces have just been done, `stepped` how many steps of their batch.
        """
        parts = []
        for start in range(0, len(faces), self.batch_size):
            batch = faces[start : start + self.batch_size]
            parts.append(self._run(batch, stepped))
            progress(len(batch))
        if not parts:
            widths = (len(AGE_CLASSES), LATENT_SIZE, LATENT_SIZE, self._offset.shape[1], 2)
            parts = [tuple(np.empty((0, width), np.float32) for width in widths)]
        age, initial, latent, offset, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Latents(age, initial, latent, offset.astype(np.float16), distance)

    def _run(self, batch: np.ndarray, stepped: Callable[[int], Any]) -> tuple[np.ndarray, ...]:
        count = len(batch)
        # One compiled shape: a short batch is filled up with its first face.
        padded = np.concatenate([batch, np.repeat(batch[:1], self.batch_size - count, axis=0)])
        faces = ops.convert_to_tensor(to_float(padded))
        age, initial, embedding = self._prepare(faces)
        own_age = ops.convert_to_numpy(age)
        self._restart(initial)
        kept = [ops.convert_to_numpy(variable.value) for variable in (self._latent, self._offset)]
        value, distance = self._check(*kept, faces, age, embedding)
        best_value, first, best_distance = (ops.convert_to_numpy(v) for v in (value, distance, distance))

        if self.options.objective != "none":
            random = np.random.default_rng(self.options.seed)
            views = [self._draw_view(random) for _ in range(self.VIEWS)]
            course = self._course(random)
            seen = {i: self._look(faces, *views[i]) for i in {i for i, _ in course}}
            others = self._others(own_age, {target for _, target in course if target is not None})
            for step, (i, target) in enumerate(course, start=1):
                if target is None:
                    self._step(faces, age, *views[i], seen[i])
                else:
                    self._other_step(faces, *others[target], *views[i], seen[i][-1])
                stepped(step)
                if step % self.CHECK_EVERY == 0 or step == self.options.steps:
                    # As they will be kept: what is read back from a file draws the same face.
                    offset = ops.cast(ops.cast(self._offset.value, "float16"), "float32")
                    now = [ops.convert_to_numpy(part) for part in (self._latent.value, offset)]
                    value, distance = (ops.convert_to_numpy(v) for v in self._check(*now, faces, age, embedding))
                    better = value < best_value
                    best_value = np.where(better, value, best_value)
                    best_distance = np.where(better, distance, best_distance)
                    kept = [np.where(better[:, None], new, old) for new, old in zip(now, kept, strict=True)]
        distances = np.stack([first, best_distance], axis=1)
        result = (own_age, ops.convert_to_numpy(initial), *kept, distances)
        return tuple(np.array(column[:count], np.float32) for column in result)

    def _restart(self, initial) -> None:
        self._latent.assign(initial)
        self._initial.assign(initial)
        self._offset.assign(ops.zeros_like(self._offset))
        for optimizer in self._optimizers:
            for variable in optimizer.variables:
                # The learning rate is a variable of the optimizer too.
                if variable is not optimizer.learning_rate:
                    variable.assign(ops.zeros_like(variable))

    def _course(self, random: np.random.Generator) -> list[tuple[int, int | None]]:
        """For each step the number of its view, and of the class that it draws, None for the own age."""
        steps, both = self.options.steps, self.options.objective == "identity"
        views, targets = (_cycled(count, steps, random) for count in (self.VIEWS, len(AGE_CLASSES)))
        return [(views[i], targets[i // 2] if both and i % 2 else None) for i in range(steps)]

    def _others(self, own_age: np.ndarray, targets: Iterable[int]) -> dict[int, tuple[Any, Any, Any]]:
        """Of each class of `targets`: the (b, 6) age to draw, its one-hot (1, 6), and what G draws of it by now."""
        found = {}
        for target in targets:
            other = one_hot([target])
            asked = ops.convert_to_tensor(towards(own_age, other[0], self.options.strength))
            found[target] = asked, ops.convert_to_tensor(other), self._draw(asked)
        return found

    def _draw_view(self, random: np.random.Generator) -> tuple[Any, Any]:
        """A view for every face: which rows and which columns, mirrored half the time."""
        limit = self.options.shift
        rows, columns = (
            np.clip(np.arange(FACE_SIZE) + random.integers(-limit, limit + 1), 0, FACE_SIZE - 1) for _ in range(2)
        )
        if random.random() < 0.5 and self.options.objective != "paper":
            columns = columns[::-1]
        rows, columns = (np.ascontiguousarray(part, np.int32) for part in (rows, columns))
        return ops.convert_to_tensor(rows), ops.convert_to_tensor(columns)

    def _prepare_step(self, faces):
        if self._age is None:
            age = self._age_estimator(faces, training=False)
        else:
            age = ops.convert_to_tensor(np.tile(self._age, (self.batch_size, 1)))
        return age, self._encoder(faces, training=False), self._recognizer(faces, training=False)

    def _look_through(self, faces, rows, columns):
        """FR's inner layers and its embedding of the faces in one view."""
        return self._features(_view(faces, rows, columns), training=False)

    def _objective(self, latent, offset, faces, age, target):
        """(value that decides which latents are kept, identity distance), each (b,), without any view."""
        drawn = self._generator([ops.convert_to_tensor(latent), age, ops.convert_to_tensor(offset)], training=False)
        distance = identity_distance(self._recognizer(drawn, training=False), target)
        pixel = ops.mean(ops.abs(drawn - faces), axis=(1, 2, 3))
        return (pixel if self.options.objective == "pixel" else distance), distance

    def _optimise_step(self, faces, age, rows, columns, seen):
        """Bring the people, drawn at their own ages, nearer to their photos."""
        options = self.options

        def loss():
            drawn, prior = self._drawn(age)
            pixel = ops.mean(ops.abs(drawn - faces), axis=(1, 2, 3))
            if options.objective == "pixel":
                return ops.sum(pixel + prior), ()
            *wanted, target = seen
            *maps, embedding = self._features(_view(drawn, rows, columns), training=False)
            distance = identity_distance(embedding, target)
            if options.objective == "paper":
                return ops.sum(distance + prior), ()
            alike = options.pixel * pixel + options.perceptual * feature_difference(wanted, maps)
            alike += options.landmarks * landmark_difference(drawn, faces)
            return ops.sum(distance + alike + prior), ()

        self._descend(loss)

    def _optimise_other_step(self, faces, age, other, anchor, rows, columns, target):
        """Keep who they are, drawn at another age, looking that age, and near to `anchor`."""
        options = self.options

        def loss():
            drawn, prior = self._drawn(age)
            viewed = _view(drawn, rows, columns)
            distance = identity_distance(self._recognizer(viewed, training=False), target)
            guess = self._age_estimator(viewed, training=False)
            dated = -ops.sum(other * ops.log(guess + 1e-7), axis=-1)
            strayed = ops.mean(ops.abs(drawn - anchor), axis=(1, 2, 3))
            alike = options.other * distance + options.anchor * strayed
            alike += options.other_landmarks * landmark_difference(drawn, faces)
            return ops.sum(alike + options.age * dated + prior), ()

        self._descend(loss)

    def _drawn(self, age):
        """The people at these ages, and what their latents cost."""
        latent, offset = ops.convert_to_tensor(self._latent), ops.convert_to_tensor(self._offset)
        moved = latent - ops.convert_to_tensor(self._initial)
        prior = ops.mean(ops.square(moved), axis=-1) + ops.mean(ops.square(offset), axis=-1)
        return self._generator([latent, age, offset], training=False), self.options.prior * prior

    def _descend(self, loss: Callable[[], tuple[Any, Any]]) -> None:
        _, _, found = gradients(loss, self._searched)
        for optimizer, variable, gradient in zip(self._optimizers, self._searched, found, strict=True):
            optimizer.apply([gradient], [variable])


def _cycled(count: int, length: int, random: np.random.Generator) -> list[int]:
    """`length` numbers below `count`: all in a random order, then all in another."""
    cycles = -(-length // count)
    return [int(number) for _ in range(cycles) for number in random.permutation(count)][:length]


def _view(faces, rows, columns):
    return ops.take(ops.take(faces, rows, axis=1), columns, axis=2)
