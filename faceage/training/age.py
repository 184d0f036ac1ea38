"""The age estimator: six class probabilities from an aligned face."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import ndtr

from faceage.ages import LOWEST_AGES
from faceage.data.dataset import FaceBatches, FaceSet, load_faces
from faceage.networks.age_estimator import age_estimator
from faceage.networks.augment import view
from faceage.networks.predict import predict
from faceage.training.run import StageRun, data_provenance
from faceage.training.stage import SupervisedStage, unit_faces
from faceage.weights import load_network, read_card, save_network, update_card

LABEL_DEVIATION = 3.0
"""Years. How far a photo's label is taken to be off, as a standard deviation, when a class is learnt from it."""


@dataclass(frozen=True)
class AgeOptions:
    """`faceage train age`: 12 epochs of 300 steps, ten minutes on two fast CPU cores."""

    epochs: int = 12
    steps_per_epoch: int = 300
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    dtype: str = "mixed_bfloat16"
    seed: int = 0


def train_age(data: Path, run: Path, options: AgeOptions, progress: Callable[[int], Any] = lambda steps: None) -> None:
    """Train on `data`'s train split and measure on its test split; the estimator and its score join RUN/model.

    Where RUN/model already has a compact recogniser, the estimator starts from its trunk.
    """
    stage = StageRun(run, "age", {"data": data.name, **asdict(options)})
    faces, held_out, test = (load_faces(data, split) for split in ("train", "validation", "test"))
    keras.utils.set_random_seed(options.seed)
    network = age_estimator(options.dtype)
    training = AgeTraining(network, options.seed)
    training.compile(options.learning_rate, options.epochs * options.steps_per_epoch, options.weight_decay)
    done = stage.resume(training)
    started_from = _start_from_recognizer(stage.model_folder, network) if done == 0 else ""
    # Drawn as they come: the score is that of the data's own mix of ages.
    batches = FaceBatches(
        faces,
        options.batch_size,
        options.steps_per_epoch,
        seed=options.seed,
        balanced=False,
        targets=soft_classes(faces.ages),
        first_epoch=done,
    )
    stage.fit(training, batches, options.epochs, done, progress, lambda epoch: age_scores(network, held_out))
    provenance = {
        **data_provenance(data, faces),
        "stage": "age",
        "steps": options.epochs * options.steps_per_epoch,
        "started_from": started_from,
        "options": asdict(options),
    }
    save_network(stage.model_folder, "age_estimator", network, provenance)
    kept = load_network(stage.model_folder, read_card(stage.model_folder), "age_estimator")
    scores = {**age_scores(kept, test), "faces": len(test), "data": f"{data.stem}, test split"}
    update_card(stage.model_folder, lambda card: card["scores"].update(age_estimator=scores))


def age_scores(network: keras.Model, faces: FaceSet) -> dict[str, float]:
    """Shares of `faces` whose class is hit exactly, and missed by one at most."""
    miss = np.abs(predict(network, faces.faces).argmax(1) - faces.classes)
    return {"exact": round(float((miss == 0).mean()), 4), "within_one": round(float((miss <= 1).mean()), 4)}


class AgeTraining(SupervisedStage):
    """Cross-entropy on (faces uint8 (b, 64, 64, 3), class probabilities (b, 6)), on augmented views."""

    LOSSES = ("loss", "accuracy")

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        guess = self.network(view(unit_faces(pixels), self.random), training=True)
        loss = -ops.mean(ops.sum(target * ops.log(guess + 1e-7), axis=-1))
        hit = ops.equal(ops.argmax(guess, axis=-1), ops.argmax(target, axis=-1))
        return loss, {"loss": loss, "accuracy": ops.mean(ops.cast(hit, "float32"))}


def soft_classes(ages: np.ndarray) -> np.ndarray:
    """Ages in years (n,) as class probabilities (n, 6) float32: the age blurred by `LABEL_DEVIATION`.

    A face of 29 is nearly one of 30: to call the neighbouring class plainly wrong would teach the labels' noise.
    """
    edges = np.concatenate([[-np.inf], LOWEST_AGES[1:] - 0.5, [np.inf]])
    below = ndtr((edges[None] - np.asarray(ages, np.float64)[:, None]) / LABEL_DEVIATION)
    return np.diff(below, axis=1).astype(np.float32)


def _start_from_recognizer(folder: Path, network: keras.Model) -> str:
    """Copy the trunk of the recogniser in a model folder, if it has a compact one; its hash, or ""."""
    if not (folder / "model.json").exists():
        return ""
    card = read_card(folder)
    entry = card["networks"].get("recognizer", {})
    if entry.get("kind") != "compact":
        return ""
    source = load_network(folder, card, "recognizer")
    for layer, trained in zip(network.layers, source.layers, strict=False):
        shapes = [weight.shape for weight in layer.get_weights()]
        if [weight.shape for weight in trained.get_weights()] != shapes:
            break
        layer.set_weights(trained.get_weights())
    return entry["sha256"]
