"""Stage 1: the conditional GAN. G learns to draw a face of each age, D to tell it from a real one of that age."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops
from PIL import Image

from faceage.backend import gradients
from faceage.evaluation.realism import realism, realism_floor
from faceage.networks.discriminator import discriminator
from faceage.networks.generator import generator
from faceage.people.samples import sample_grid
from faceage.sizes import LATENT_SIZE
from faceage.training.adversarial import D_LOSSES, AdversarialOptions, AdversarialStage
from faceage.training.job import Baseline, Job
from faceage.training.stage import unit_faces


@dataclass(frozen=True)
class GANOptions(AdversarialOptions):
    """Options of the GAN stage; the defaults take an hour on two fast CPU cores."""

    epochs: int = 32


class GANJob(Job):
    """Trains G, whose moving average is kept, and D."""

    NAME = "gan"
    MAKES = ("generator", "discriminator")
    USES = ("recognizer", "generator", "discriminator")
    OPTIONS = GANOptions

    def best(self) -> tuple[str, bool]:
        return "frechet", False

    def stage(self) -> "GAN":
        dtype = self.options.dtype
        drawing = self.begun_with("generator") or generator(dtype)
        judging = self.begun_with("discriminator") or discriminator(dtype)
        stage = GAN(drawing, judging, generator(), self.options)
        stage.compile()
        return stage

    def scores(self, stage: "GAN") -> dict[str, float]:
        if (recognizer := self.inputs.networks.get("recognizer")) is None:
            return {}
        held_out = self.inputs.data.validation
        return {"frechet": realism(stage.average, recognizer, held_out, self.options.seed)}

    def pictures(self, stage: "GAN") -> dict[str, Image.Image]:
        return {"samples": sample_grid(stage.average, rows=8, seed=self.options.seed)}

    def baselines(self) -> dict[str, Baseline]:
        nothing_told = math.log(2)
        found = {
            "g_loss": Baseline(nothing_told, "D cannot tell"),
            "d_loss": Baseline(nothing_told * (2 + self.options.wrong_age), "D cannot tell"),
            "d_real": Baseline(0.5, "D cannot tell"),
            "d_fake": Baseline(0.5, "D cannot tell"),
        }
        if (recognizer := self.inputs.networks.get("recognizer")) is not None:
            splits = self.inputs.data
            found["frechet"] = Baseline(realism_floor(recognizer, splits.train, splits.validation), "other real faces")
        return found

    def results(self, stage: "GAN") -> dict[str, keras.Model]:
        return {"generator": stage.average, "discriminator": stage.discriminator}


class GAN(AdversarialStage):
    """Trains `generator` and `discriminator` on (faces uint8 (b, 64, 64, 3), one-hot ages (b, 6)).

    `average` is the moving average of G that is kept in the end.
    """

    LOSSES = ("g_loss", *D_LOSSES)

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        average: keras.Model,
        options: GANOptions = GANOptions(),
    ) -> None:
        super().__init__(discriminator, [generator], [average], options)
        self.generator = generator
        self.average = average

    def train_step(self, data: Any) -> dict[str, Any]:
        pixels, ages, _ = keras.utils.unpack_x_y_sample_weight(data)
        faces, ages = unit_faces(pixels), ops.cast(ages, "float32")

        def generator_loss():
            latents = keras.random.normal((ops.shape(faces)[0], LATENT_SIZE), seed=self.random)
            drawn = self.generator([latents, ages], training=True)
            return self.fooling(drawn, ages), drawn

        g_loss, drawn, g_gradients = gradients(generator_loss, self.trained_variables)
        drawn = ops.stop_gradient(drawn)
        _, (d_loss, shares), d_gradients = self.discriminating(faces, ages, [(drawn, ages)])
        self.update(g_gradients, d_gradients)
        return self.report(g_loss=g_loss, d_loss=d_loss, **shares)
