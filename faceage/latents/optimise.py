"""Identity-preserving latent optimisation (Antipov et al. 2017, section 2.3), batched over faces.

    z* = argmin over z of ‖FR(x) − FR(G(z, y))‖₂, with G and FR frozen

Here FR sees both faces through the same small random shift, mirroring and noise, other ones at each step: an optimiser
that looks through one fixed view learns to fool FR instead of drawing the person.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.ages import AGE_CLASSES, one_hot
from faceage.backend import compile_step, gradients
from faceage.images import FACE_SIZE, to_float
from faceage.networks import LATENT_SIZE
from faceage.networks.recognizer import identity_distance
from faceage.weights import Model

OBJECTIVES = ("identity", "pixel", "none")


@dataclass(frozen=True)
class OptimiserOptions:
    """What decides a face's latent, apart from the face and the weights.

    `objective` is one of `OBJECTIVES`; `pixel` and `prior` weigh the mean absolute pixel difference (in -1..1) and the
    mean square of z beside the identity distance; `noise` is the standard deviation of what is added to each view and
    `shift` its largest displacement in pixels.
    """

    objective: str = "identity"
    steps: int = 60
    learning_rate: float = 0.05
    pixel: float = 0.3
    prior: float = 0.02
    shift: int = 2
    noise: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Latents:
    """The outcome for n faces, float32.

    `age` (n, 6) the class probabilities used as y; `initial` (n, 100) from the encoder; `latent` (n, 100) the best
    found; `distance` (n, 2) ‖FR(x) − FR(G(z, y))‖₂ for the one and the other, 0..2.
    """

    age: np.ndarray
    initial: np.ndarray
    latent: np.ndarray
    distance: np.ndarray


class LatentOptimiser:
    """Encodes faces and optimises their latents in compiled batches of one fixed size.

    What is random is drawn once per step and shared by all faces, and every loss is a sum of one face's terms: who
    else is in the batch makes no difference to a face.
    """

    CHECK_EVERY = 10
    """Steps between looks at the plain distance, which decides which z of a face's path is kept."""

    def __init__(
        self, model: Model, options: OptimiserOptions, batch_size: int = 32, age_class: int | None = None
    ) -> None:
        """`age_class` is the class of every face, if it is known; otherwise the model's estimator gives their y."""
        if options.objective not in OBJECTIVES:
            raise ValueError(f"objective {options.objective!r} is none of {', '.join(OBJECTIVES)}")
        self.options = options
        self.batch_size = batch_size
        self._age_class = age_class
        self._model = model
        self._latent = keras.Variable(np.zeros((batch_size, LATENT_SIZE), np.float32), name="latent")
        self._optimizer = keras.optimizers.Adam(options.learning_rate, beta_1=0.9, beta_2=0.99)
        self._optimizer.build([self._latent])
        self._prepare = compile_step(self._prepare_step)
        self._step = compile_step(self._optimise_step)
        self._check = compile_step(self._objective)

    def __call__(self, faces: np.ndarray, progress: Callable[[int], Any] = lambda done: None) -> Latents:
        """Latents for (n, 64, 64, 3) uint8 faces; `progress` is told how many faces have just been done."""
        parts = []
        for start in range(0, len(faces), self.batch_size):
            batch = faces[start : start + self.batch_size]
            parts.append(self._run(batch))
            progress(len(batch))
        if not parts:
            return Latents(*(np.empty((0, width), np.float32) for width in (len(AGE_CLASSES), *[LATENT_SIZE] * 2, 2)))
        return Latents(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        count = len(batch)
        # One compiled shape: a short batch is filled up with its first face.
        padded = np.concatenate([batch, np.repeat(batch[:1], self.batch_size - count, axis=0)])
        faces = ops.convert_to_tensor(to_float(padded))
        age, initial, target = self._prepare(faces)
        value, distance = self._check(initial, faces, age, target)
        best_value, first, best_distance = (ops.convert_to_numpy(v) for v in (value, distance, distance))
        best = ops.convert_to_numpy(initial)

        if self.options.objective != "none":
            self._restart(initial)
            random = np.random.default_rng(self.options.seed)
            for step in range(1, self.options.steps + 1):
                self._step(faces, age, *self._draw_view(random))
                if step % self.CHECK_EVERY == 0 or step == self.options.steps:
                    latent = self._latent.value
                    value, distance = (ops.convert_to_numpy(v) for v in self._check(latent, faces, age, target))
                    better = value < best_value
                    best_value = np.where(better, value, best_value)
                    best_distance = np.where(better, distance, best_distance)
                    best = np.where(better[:, None], ops.convert_to_numpy(latent), best)
        result = (ops.convert_to_numpy(age), ops.convert_to_numpy(initial), best, np.stack([first, best_distance], 1))
        return tuple(np.array(column[:count], np.float32) for column in result)

    def _restart(self, initial) -> None:
        self._latent.assign(initial)
        for variable in self._optimizer.variables:
            # The learning rate is a variable of the optimiser too.
            if variable is not self._optimizer._learning_rate:
                variable.assign(ops.zeros_like(variable))

    def _draw_view(self, random: np.random.Generator) -> tuple[Any, ...]:
        """One view for every face of this step: rows, columns (mirrored half the time) and noise."""
        limit = self.options.shift
        rows, columns = (
            np.clip(np.arange(FACE_SIZE) + random.integers(-limit, limit + 1), 0, FACE_SIZE - 1) for _ in range(2)
        )
        if random.random() < 0.5:
            columns = columns[::-1]
        noise = random.normal(0, self.options.noise, (FACE_SIZE, FACE_SIZE, 3))
        return tuple(
            ops.convert_to_tensor(np.ascontiguousarray(part))
            for part in (rows.astype(np.int32), columns.astype(np.int32), noise.astype(np.float32))
        )

    def _prepare_step(self, faces):
        if self._age_class is None:
            age = self._model.age_estimator(faces, training=False)
        else:
            age = ops.convert_to_tensor(one_hot([self._age_class] * self.batch_size))
        return age, self._model.encoder(faces, training=False), self._model.recognizer(faces, training=False)

    def _objective(self, latent, faces, age, target):
        """(value that decides which z is kept, identity distance), each (b,), without any view."""
        drawn = self._model.generator([latent, age], training=False)
        distance = identity_distance(self._model.recognizer(drawn, training=False), target)
        pixel = ops.mean(ops.abs(drawn - faces), axis=(1, 2, 3))
        return (pixel if self.options.objective == "pixel" else distance), distance

    def _optimise_step(self, faces, age, rows, columns, noise):
        def loss():
            latent = ops.convert_to_tensor(self._latent)
            drawn = self._model.generator([latent, age], training=False)
            pixel = ops.mean(ops.abs(drawn - faces), axis=(1, 2, 3))
            prior = self.options.prior * ops.mean(ops.square(latent), axis=-1)
            if self.options.objective == "pixel":
                return ops.sum(pixel + prior), ()
            seen = ops.concatenate([drawn, faces], axis=0)
            seen = ops.take(ops.take(seen, rows, axis=1), columns, axis=2) + noise
            drawn_embedding, embedding = ops.split(self._model.recognizer(seen, training=False), 2, axis=0)
            distance = identity_distance(drawn_embedding, ops.stop_gradient(embedding))
            return ops.sum(distance + self.options.pixel * pixel + prior), ()

        _, _, found = gradients(loss, [self._latent])
        self._optimizer.apply(found, [self._latent])
