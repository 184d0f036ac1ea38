"""Stages so small that a whole training takes seconds, as a module for the tests and as a program that can be killed.

tiny_training.py EPOCHS RUN...     trains a narrow GAN in each RUN, bit for bit the same each time; prints each step
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from keras import ops

from faceage.ages import AGE_CLASSES, age_class
from faceage.data.dataset import FaceSet, Portraits
from faceage.faces.align import TEMPLATE
from faceage.genders import GENDERS
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator, patch_discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.re_ager import re_ager
from faceage.networks.residual import residual_trunk
from faceage.training.gan import GAN, GANJob, GANOptions
from faceage.training.job import Baseline, Job, Splits
from faceage.training.photo import FAR, NEAR, PhotoJob, PhotoOptions, PhotoTraining
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
        landmarks=np.repeat(np.float32(TEMPLATE)[None], count, 0),
        root=Path("photos"),
        identities=tuple(f"person {i % (count // 4)}" for i in range(count)),
        portraits=Enlarged(faces.astype(np.uint8)),
    )


class Enlarged(Portraits):
    """Portraits that are faces of 64 pixels enlarged, in place of a file."""

    def __init__(self, faces: np.ndarray) -> None:
        object.__setattr__(self, "faces", faces)

    def take(self, chosen: np.ndarray) -> "Enlarged":
        return Enlarged(self.faces[chosen])

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        return self.faces[chosen].repeat(3, 1).repeat(3, 2)[:, 16:-16, 16:-16]


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


@contextmanager
def narrow_trunks() -> Iterator[None]:
    """Inside, recognisers and age estimators are built with a tenth of their operations."""

    def narrow(face: keras.KerasTensor, width: int, blocks: tuple[int, ...], dtype: str) -> keras.KerasTensor:
        return residual_trunk(face, width=4, blocks=(1,) * len(blocks), dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("recognizer", "age_estimator"):
            patch.setattr(f"faceage.networks.{module}.residual_trunk", narrow)
        yield


def compile_unfused(stage: keras.Model, *arguments: float, **keywords: int) -> None:
    """Compile a stage without XLA, which takes seconds for each update. It compiles those of GANs and recognisers."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("adversarial", "stage"):
            patch.setattr(f"faceage.training.{module}.fuse", lambda update: update)
        stage.compile(*arguments, **keywords)


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


def tiny_re_ager() -> keras.Model:
    return re_ager(widths=(4, 6, 6, 8), depths=(1, 1, 1, 1))


def tiny_patches() -> keras.Model:
    return patch_discriminator((NEAR, FAR), len(AGE_CLASSES) + len(GENDERS), widths=(4, 4, 6))


def photo_stage(options: PhotoOptions) -> PhotoTraining:
    """The photo stage with narrow networks."""
    stage = PhotoTraining(
        re_ager=tiny_re_ager(),
        drawing=tiny_re_ager(),
        discriminator=tiny_patches(),
        encoder=encoder(width=4),
        generator=generator(width=8),
        age_estimator=age_estimator(width=8),
        options=options,
    )
    for frozen in stage.proposals.networks:
        frozen.trainable = False
    compile_unfused(stage)
    return stage


class TinyPhoto(PhotoJob):
    """The photo stage with narrow networks."""

    NEEDS = USES = MAKES = ()

    def stage(self) -> PhotoTraining:
        return photo_stage(self.options)

    def results(self, stage: PhotoTraining) -> dict[str, keras.Model]:
        return {}


def photo_options(**changes) -> PhotoOptions:
    """Pairs for two epochs, the discriminator alone for one; its say rises from the fourth epoch on."""
    small = {"steps_per_epoch": 2, "batch_size": 4, "pairs_epochs": 2, "alone_epochs": 1, "ramp": 2, "warm_up": 0}
    small |= {"dtype": "float32"}
    return PhotoOptions(**{**small, **changes})


@contextmanager
def eagerly() -> Iterator[None]:
    """Steps run operation by operation: compiling one takes longer than the few steps of a small training."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def main() -> None:
    epochs, *folders = sys.argv[1:]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    options = GANOptions(epochs=int(epochs), steps_per_epoch=STEPS, batch_size=8)
    for folder in folders:
        run = Run(Path(folder), progress=lambda what, done, total: print("step", done, flush=True))
        train_stage(TinyGAN, options, run, TinySplits())


if __name__ == "__main__":
    main()
