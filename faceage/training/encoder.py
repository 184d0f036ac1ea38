"""Stage 2, initial latent approximation: E learns to recover z from G(z, y)."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops
from PIL import Image

from faceage.evaluation.held_out import HELD_OUT, z_error
from faceage.networks.encoder import encoder
from faceage.people.samples import aged_grid
from faceage.sizes import LATENT_SIZE
from faceage.training.job import Baseline, Job
from faceage.training.stage import StageOptions, SupervisedStage


@dataclass(frozen=True)
class EncoderOptions(StageOptions):
    """Options of the encoder stage; the defaults take 5 minutes on two fast CPU cores."""

    epochs: int = 8
    learning_rate: float = 4e-4


class EncoderJob(Job):
    """Trains E on generated faces with the ages of the train split."""

    NAME = "encoder"
    MAKES = ("encoder",)
    NEEDS = ("generator",)
    USES = ("encoder",)
    OPTIONS = EncoderOptions

    def best(self) -> tuple[str, bool]:
        return "held_out_z_error", False

    def stage(self) -> "EncoderTraining":
        drawing = self.inputs.networks["generator"]
        network = self.begun_with("encoder") or encoder(self.options.dtype)
        stage = EncoderTraining(network, drawing, self.options.seed)
        stage.compile(self.options.learning_rate, self.options.epochs * self.options.steps_per_epoch)
        return stage

    def scores(self, stage: "EncoderTraining") -> dict[str, float]:
        return {"held_out_z_error": z_error(stage.network, stage.drawing, self.options.seed + 1)}

    def pictures(self, stage: "EncoderTraining") -> dict[str, Image.Image]:
        return {"faces": aged_grid(stage.network, stage.drawing, self.inputs.data.validation, rows=8)}

    def baselines(self) -> dict[str, Baseline]:
        return {name: Baseline(1.0, "z = 0") for name in ("z_error", "held_out_z_error")}

    def results(self, stage: "EncoderTraining") -> dict[str, keras.Model]:
        return {"encoder": stage.network}

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        error = z_error(kept["encoder"], self.inputs.networks["generator"], self.options.seed + 1)
        return {"encoder": {"z_error": round(error, 4), "z_error_of_zero": 1.0, "faces": f"{HELD_OUT} drawn by G"}}


class EncoderTraining(SupervisedStage):
    """Trains E on (faces, one-hot ages (b, 6)), of which only the ages are used: E sees G(z, y) of random z.

    `z_error` is the mean squared error per dimension; z = 0 scores 1.0.
    """

    LOSSES = ("z_error",)

    def __init__(self, network: keras.Model, drawing: keras.Model, seed: int) -> None:
        super().__init__(network, seed)
        self.drawing = drawing

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        _, ages, _ = keras.utils.unpack_x_y_sample_weight(data)
        ages = ops.cast(ages, "float32")
        latents = keras.random.normal((ops.shape(ages)[0], LATENT_SIZE), seed=self.random)
        drawn = ops.stop_gradient(self.drawing([latents, ages], training=False))
        guess = self.network(drawn, training=True)
        error = ops.mean(ops.square(guess - latents))
        return error, {"z_error": error}
