"""Stages so small that a whole training takes seconds, as a module for the tests and as a program that can be killed.

tiny_training.py RUN EPOCHS     trains a narrow GAN in RUN, bit for bit the same each time; prints each step
"""

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from faceage.ages import age_class
from faceage.data.dataset import FaceSet
from faceage.networks.discriminator import discriminator
from faceage.networks.generator import generator
from faceage.training.gan import GAN, GANJob, GANOptions
from faceage.training.job import Baseline, Job, Splits
from faceage.training.run import Run, train_stage
from faceage.training.stage import StageOptions, SupervisedStage, unit_faces

STEPS = 4


def face_set(count: int = 24, seed: int = 0) -> FaceSet:
    """Faces of noise, each of its own brightness; ages from 0 to 100; four faces of each person."""
    random = np.random.default_rng(seed)
    faces = random.integers(0, 100, (count, 64, 64, 3)) + random.integers(0, 156, (count, 1, 1, 1))
    ages = np.linspace(0, 100, count).astype(int)
    return FaceSet(
        faces=faces.astype(np.uint8),
        ages=ages,
        classes=np.array([age_class(int(age)) for age in ages]),
        sources=tuple(f"{age}_{i}.jpg" for i, age in enumerate(ages)),
        genders=tuple(("male", "female", "")[i % 3] for i in range(count)),
        landmarks=np.zeros((count, 5, 2), np.float32),
        root=Path("photos"),
        identities=tuple(f"person {i % (count // 4)}" for i in range(count)),
    )


class TinySplits(Splits):
    """Three sets of noise in place of a prepared file."""

    def __init__(self, fingerprint: str = "noise") -> None:
        self.path, self.name, self.fingerprint = Path("noise.h5"), "noise", fingerprint

    @cached_property
    def train(self) -> FaceSet:
        return face_set(seed=0)

    @cached_property
    def validation(self) -> FaceSet:
        return face_set(seed=1)

    @cached_property
    def test(self) -> FaceSet:
        return face_set(seed=2)


class Brightness(SupervisedStage):
    """A face's class from its mean colour, with dropout and noise. `pixels` shows which faces came."""

    LOSSES = ("loss", "pixels")
    WARM_UP = 2

    def loss_of(self, data):
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        colours = ops.mean(unit_faces(pixels), axis=(1, 2))
        colours = colours + 0.1 * keras.random.normal(ops.shape(colours), seed=self.random)
        loss = ops.mean(ops.square(self.network(colours, training=True) - target))
        return loss, {"loss": loss, "pixels": ops.mean(ops.cast(pixels, "float32"))}


@dataclass(frozen=True)
class BrightnessOptions(StageOptions):
    epochs: int = 4
    steps_per_epoch: int = STEPS
    batch_size: int = 8
    learning_rate: float = 0.1


class BrightnessJob(Job):
    """The smallest stage. Its results are named as the age estimator's, since a model folder knows no others."""

    NAME = "brightness"
    MAKES = ()
    OPTIONS = BrightnessOptions

    def stage(self) -> Brightness:
        layers = keras.layers.Dense(16), keras.layers.Dropout(0.5, seed=0), keras.layers.Dense(6)
        stage = Brightness(keras.Sequential([keras.Input((3,)), *layers]), self.options.seed)
        stage.compile(self.options.learning_rate, steps=16)
        return stage

    def scores(self, stage: Brightness) -> dict[str, float]:
        return {"score": float(np.abs(stage.network.get_weights()[0]).mean())}

    def baselines(self) -> dict[str, Baseline]:
        return {"loss": Baseline(1 / 6, "always zero")}

    def results(self, stage: Brightness) -> dict[str, keras.Model]:
        return {}


class TinyGAN(GANJob):
    """The GAN stage with narrow networks."""

    def stage(self) -> GAN:
        stage = GAN(generator(width=8), discriminator(width=8), generator(width=8), self.options)
        stage.compile()
        return stage

    def results(self, stage: GAN) -> dict[str, keras.Model]:
        return {}

    MAKES = ()


def main() -> None:
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    options = GANOptions(epochs=int(sys.argv[2]), steps_per_epoch=STEPS, batch_size=8)
    run = Run(Path(sys.argv[1]), progress=lambda what, done, total: print("step", done, flush=True))
    train_stage(TinyGAN, options, run, TinySplits())


if __name__ == "__main__":
    main()
