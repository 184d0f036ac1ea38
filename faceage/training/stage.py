"""What the stages share: their options, averaged losses for `fit()`, and one network trained towards one loss."""

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from faceage.backend import assign_random, average_devices, fastest_dtype, fuse, gradients, step_value

_DRAWS_PER_EPOCH = 1_000_000
"""Random numbers reserved for an epoch: more than it draws."""

AUTO = "auto"
DTYPES = (AUTO, "float32", "mixed_bfloat16")
"""Keras dtype policies that stages can be trained with, and the fastest of them on this machine."""


@dataclass(frozen=True)
class StageOptions:
    """Options of every stage."""

    epochs: int = 10
    """Passes of `steps_per_epoch` steps."""
    steps_per_epoch: int = 250
    """Steps of an epoch, between checkpoints and scores; 0 is one pass over the training faces."""
    batch_size: int = 64
    """Faces of one step."""
    learning_rate: float = 2e-4
    """Of Adam; the highest, where a schedule changes it."""
    dtype: str = AUTO
    """One of `DTYPES`."""
    seed: int = 0
    """Of everything random."""

    def steps(self, faces: int) -> int:
        """Steps of one epoch with `faces` training faces."""
        return self.steps_per_epoch or max(1, math.ceil(faces / self.batch_size))

    def resolved(self, faces: int) -> "StageOptions":
        """The options as they are with `faces` training faces on this machine: no "auto", and the steps of an epoch."""
        dtype = fastest_dtype() if self.dtype == AUTO else self.dtype
        return replace(self, dtype=dtype, steps_per_epoch=self.steps(faces))


class Stage(keras.Model):
    """A `keras.Model` whose `train_step` answers the means since the epoch began of the values named in `LOSSES`."""

    LOSSES: tuple[str, ...] = ()

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self._means = [keras.metrics.Mean(name=name) for name in self.LOSSES]

    def restart_random(self, epoch: int) -> None:
        """Set every random state, including dropout's, to its value at the beginning of `epoch`."""
        states = self.random_states
        assign_random(states, [(self.seed + i, epoch * _DRAWS_PER_EPOCH) for i in range(len(states))])

    def begin_epoch(self, epoch: int) -> None:
        """Called before `fit` for `epoch`, also where training resumes in the middle of it."""

    def join_devices(self) -> None:
        """Make the networks the same on all devices, at the end of an epoch."""
        average_devices([v for v in self.non_trainable_variables if v.name in ("moving_mean", "moving_variance")])

    @property
    def random_states(self) -> list[keras.Variable]:
        """The states of random generators, which Keras does not save in checkpoints."""
        return [variable for variable in self.variables if variable.name == "seed_generator_state"]

    @property
    def metrics(self) -> list[keras.Metric]:
        return self._means

    def report(self, **values: Any) -> dict[str, Any]:
        """Add a step's values to the means; answers the means."""
        for mean in self._means:
            mean.update_state(values[mean.name])
        return {mean.name: step_value(mean.result()) for mean in self._means}

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a stage is built in `__init__`. Keras, whose private method this is, would use up a batch to build
        it, and fails at that on several workers.
        """


class SupervisedStage(Stage):
    """Trains one network with AdamW, whose rate rises for `WARM_UP` steps and then falls along a cosine to zero."""

    WARM_UP = 200

    def __init__(self, network: keras.Model, seed: int) -> None:
        super().__init__(seed)
        self.network = network
        self.built = True

    def compile(self, learning_rate: float, steps: int, weight_decay: float = 0.0, **kwargs: Any) -> None:
        """`steps` is the length of the whole training, over which the rate falls."""
        # No optimizer of Keras's own, which would be saved as well.
        super().compile(optimizer=None, **kwargs)
        schedule = keras.optimizers.schedules.CosineDecay(
            learning_rate / 100, max(1, steps - self.WARM_UP), warmup_target=learning_rate, warmup_steps=self.WARM_UP
        )
        self.network_optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
        # Keras restores an unbuilt optimizer empty, with only a warning.
        self.network_optimizer.build(self.trained_variables)
        self._apply = fuse(self._apply_gradients)

    @property
    def trained_variables(self) -> list[keras.Variable]:
        return self.network.trainable_variables

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """The scalar loss of a batch, and the values named in `LOSSES`."""
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, Any]:
        _, values, found = gradients(lambda: self.loss_of(data), self.trained_variables)
        self._apply(found)
        return self.report(**values)

    def _apply_gradients(self, gradients: Any) -> None:
        self.network_optimizer.apply(gradients, self.trained_variables)


def unit_faces(pixels: Any) -> Any:
    """uint8 faces of a batch → float32 in -1..1."""
    return ops.cast(pixels, "float32") / 127.5 - 1.0


def cross_entropy(target: Any, guess: Any) -> Any:
    """Mean over (b, 6) rows of class probabilities."""
    return -ops.mean(ops.sum(target * ops.log(guess + 1e-7), axis=-1))
