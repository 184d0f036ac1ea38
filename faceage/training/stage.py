"""What the stages share: their options, averaged losses for `fit()`, and one network trained towards one loss."""

import math
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from faceage.backend import assign_random, average_devices, fastest_dtype, fuse, gradients, step_value

_DRAWS_PER_EPOCH = 1_000_000


@dataclass(frozen=True)
class StageOptions:
    """What every stage can be told.

    `steps_per_epoch` 0 is one pass over the training faces; `dtype` a Keras dtype policy, by default the
    fastest that this machine has; `seed` fixes everything random.
    """

    epochs: int = 10
    steps_per_epoch: int = 250
    batch_size: int = 64
    learning_rate: float = 2e-4
    dtype: str = field(default_factory=fastest_dtype)
    seed: int = 0

    def steps(self, faces: int) -> int:
        """Steps of one epoch over so many faces."""
        return self.steps_per_epoch or max(1, math.ceil(faces / self.batch_size))


class Stage(keras.Model):
    """A `keras.Model` whose `train_step` reports the epoch's means of the values named in `LOSSES`."""

    LOSSES: tuple[str, ...] = ()

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self._means = [keras.metrics.Mean(name=name) for name in self.LOSSES]

    def restart_random(self, epoch: int) -> None:
        """Set every random state, dropout's too, to where it stands at the beginning of `epoch`."""
        states = self.random_states
        assign_random(states, [(self.seed + i, epoch * _DRAWS_PER_EPOCH) for i in range(len(states))])

    def begin_epoch(self, epoch: int) -> None:
        """Called before `fit` for `epoch`, also where a training goes on in the middle of it."""

    def join_devices(self) -> None:
        """End an epoch with the same networks on every device."""
        average_devices([v for v in self.non_trainable_variables if v.name in ("moving_mean", "moving_variance")])

    @property
    def random_states(self) -> list[keras.Variable]:
        """The variables that random numbers come from: Keras saves them in no checkpoint."""
        return [variable for variable in self.variables if variable.name == "seed_generator_state"]

    @property
    def metrics(self) -> list[keras.Metric]:
        return self._means

    def report(self, **values: Any) -> dict[str, Any]:
        """Add a step's values to the means; the means so far."""
        for mean in self._means:
            mean.update_state(values[mean.name])
        return {mean.name: step_value(mean.result()) for mean in self._means}

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a stage is built when it is made. Keras would take a batch for it, and fail at it on workers."""


class SupervisedStage(Stage):
    """Trains `network` alone, by Adam with a rate that rises for `WARM_UP` steps and falls along a cosine to zero."""

    WARM_UP = 200

    def __init__(self, network: keras.Model, seed: int) -> None:
        super().__init__(seed)
        self.network = network
        self.built = True

    def compile(self, learning_rate: float, steps: int, weight_decay: float = 0.0, **kwargs: Any) -> None:
        """`steps` is the length of the whole training, over which the rate falls."""
        # None of Keras's own making, which it would save too.
        super().compile(optimizer=None, **kwargs)
        schedule = keras.optimizers.schedules.CosineDecay(
            learning_rate / 100, max(1, steps - self.WARM_UP), warmup_target=learning_rate, warmup_steps=self.WARM_UP
        )
        self.network_optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
        # An unbuilt optimiser would be restored from a checkpoint empty, with no more than a warning.
        self.network_optimizer.build(self.trained_variables)
        self._apply = fuse(self._apply_gradients)

    @property
    def trained_variables(self) -> list[keras.Variable]:
        return self.network.trainable_variables

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """The scalar to minimise for a batch, and the values named in `LOSSES`."""
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, Any]:
        _, values, found = gradients(lambda: self.loss_of(data), self.trained_variables)
        self._apply(found)
        return self.report(**values)

    def _apply_gradients(self, found: Any) -> None:
        self.network_optimizer.apply(found, self.trained_variables)


def unit_faces(pixels: Any) -> Any:
    """uint8 faces of a batch → float32 in -1..1, inside the compiled step."""
    return ops.cast(pixels, "float32") / 127.5 - 1.0


def cross_entropy(target: Any, guess: Any) -> Any:
    """Mean over (b, 6) rows of class probabilities."""
    return -ops.mean(ops.sum(target * ops.log(guess + 1e-7), axis=-1))
