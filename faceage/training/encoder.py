"""Stage 2, initial latent approximation: E learns to give z back from G(z, y)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from keras import ops

from faceage.data.dataset import FaceBatches, load_faces
from faceage.networks import LATENT_SIZE
from faceage.networks.encoder import encoder
from faceage.training.run import StageRun, data_provenance
from faceage.training.stage import SupervisedStage
from faceage.weights import load_network, read_card, save_network


@dataclass(frozen=True)
class EncoderOptions:
    """`faceage train encoder`: 8 epochs of 250 steps, five minutes on two fast CPU cores."""

    epochs: int = 8
    steps_per_epoch: int = 250
    batch_size: int = 64
    learning_rate: float = 4e-4
    dtype: str = "mixed_bfloat16"
    seed: int = 0


def train_encoder(
    data: Path, run: Path, options: EncoderOptions, progress: Callable[[int], Any] = lambda steps: None
) -> None:
    """Train E on faces that the generator of RUN/model draws, at the ages of `data`'s train split; E joins it."""
    stage = StageRun(run, "encoder", {"data": data.name, **asdict(options)})
    card = read_card(stage.model_folder)
    drawing = load_network(stage.model_folder, card, "generator", options.dtype)
    faces = load_faces(data, "train")
    keras.utils.set_random_seed(options.seed)
    training = EncoderTraining(encoder(options.dtype), drawing, options.seed)
    training.compile(options.learning_rate, options.epochs * options.steps_per_epoch)
    done = stage.resume(training)
    batches = FaceBatches(faces, options.batch_size, options.steps_per_epoch, seed=options.seed, first_epoch=done)
    stage.fit(training, batches, options.epochs, done, progress)
    score = stage.stats()[-1]["z_error"]
    provenance = {
        **data_provenance(data, faces),
        "stage": "encoder",
        "steps": options.epochs * options.steps_per_epoch,
        "generator": card["networks"]["generator"]["sha256"],
        "options": asdict(options),
        "z_error": score,
        "z_error_of_zero": 1.0,
    }
    save_network(stage.model_folder, "encoder", training.network, provenance)


class EncoderTraining(SupervisedStage):
    """(faces, one-hot ages (b, 6)) → only the ages are used: E sees G(z, y) for fresh z, and is to answer z.

    `z_error` is the mean squared error per dimension; answering 0 scores 1.0.
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
