"""The age estimator: six class probabilities from an aligned face."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import ndtr

from faceage.ages import AGE_CLASSES, LOWEST_AGES
from faceage.backend import input_gradient
from faceage.data.dataset import FaceBatches, FaceSet
from faceage.errors import UsageError
from faceage.networks.age_estimator import age_estimator
from faceage.networks.augment import erase, view
from faceage.networks.predict import predict
from faceage.training.job import Baseline, Job
from faceage.training.stage import StageOptions, SupervisedStage, cross_entropy, unit_faces

LABEL_DEVIATION = 3.0
"""Years. How far a photo's label is taken to be off, as a standard deviation, when a class is learnt from it."""


@dataclass(frozen=True)
class AgeOptions(StageOptions):
    """12 epochs of 300 steps, twenty minutes on two fast CPU cores.

    `attack` is how far, as ‖·‖₂ of a face in -1..1, each face is at most moved to where the network errs more before it
    learns from it (adversarial training, Madry et al. 2018), 0 for not at all. What such a network's gradient adds to a
    face looks like age (Tsipras et al. 2019); what another's adds are specks that nobody else takes for it. G and
    the optimiser follow that gradient. Such a network guesses ages less well: of what is kept, `start_share` is the
    network that the stage began with (Wortsman et al. 2022), and between the two lie some that do both.
    """

    epochs: int = 12
    steps_per_epoch: int = 300
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    attack: float = 2.0
    start_share: float = 0.0


class AgeJob(Job):
    """Trains the age estimator, from the trunk of a compact recogniser where there is one."""

    NAME = "age"
    MAKES = ("age_estimator",)
    USES = ("recognizer", "age_estimator")
    OPTIONS = AgeOptions

    def prepare(self) -> None:
        if self.options.start_share and "age_estimator" not in self.inputs.networks:
            raise UsageError("start_share is of an age estimator to begin with", "name its model by --start")

    def best(self) -> tuple[str, bool]:
        return "exact", True

    def stage(self) -> "AgeTraining":
        options = self.options
        network = self.begun_with("age_estimator") or self._from_trunk()
        self._start = network.get_weights()
        stage = AgeTraining(network, options.seed, options.attack)
        stage.compile(options.learning_rate, options.epochs * self.steps_per_epoch, options.weight_decay)
        return stage

    def _from_trunk(self) -> keras.Model:
        network = age_estimator(self.options.dtype)
        if (trained := self.inputs.networks.get("recognizer")) is not None:
            self.inputs.say(f"begins with {start_from_trunk(network, trained)} layers of the recogniser")
        return network

    def batches(self, epoch: int, first_step: int = 0) -> FaceBatches:
        # Ages as they come: the score is that of the data's own mix of them.
        faces = self.inputs.data.train
        return FaceBatches(faces, balanced=False, targets=soft_classes(faces.ages), **self.sizes(epoch, first_step))

    def scores(self, stage: "AgeTraining") -> dict[str, float]:
        return age_scores(stage.network, self.inputs.data.validation)

    def baselines(self) -> dict[str, Baseline]:
        shares = np.bincount(self.inputs.data.validation.classes, minlength=len(AGE_CLASSES))
        most = float(shares.max() / shares.sum())
        return {name: Baseline(most, "always the commonest class") for name in ("accuracy", "exact")}

    def results(self, stage: "AgeTraining") -> dict[str, keras.Model]:
        share = self.options.start_share
        pairs = zip(self._start, stage.network.get_weights(), strict=True)
        stage.network.set_weights([share * start + (1 - share) * weight for start, weight in pairs])
        return {"age_estimator": stage.network}

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        test = self.inputs.data.test
        scores = age_scores(kept["age_estimator"], test)
        return {"age_estimator": {**scores, "faces": len(test), "data": f"{self.inputs.data.name}, test split"}}


def age_scores(network: keras.Model, faces: FaceSet) -> dict[str, float]:
    """Shares of `faces` whose class is hit exactly, and missed by one at most."""
    miss = np.abs(predict(network, faces.faces).argmax(1) - faces.classes)
    return {"exact": round(float((miss == 0).mean()), 4), "within_one": round(float((miss <= 1).mean()), 4)}


class AgeTraining(SupervisedStage):
    """Cross-entropy on (faces uint8 (b, 64, 64, 3), class probabilities (b, 6)), on augmented and attacked views."""

    LOSSES = ("loss", "accuracy")

    def __init__(self, network: keras.Model, seed: int, attack: float) -> None:
        super().__init__(network, seed)
        self.attack = attack

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        seen = erase(view(unit_faces(pixels), self.random), self.random)
        guess = self.network(self._attacked(seen, target) if self.attack else seen, training=True)
        loss = cross_entropy(target, guess)
        hit = ops.equal(ops.argmax(guess, axis=-1), ops.argmax(target, axis=-1))
        return loss, {"loss": loss, "accuracy": ops.mean(ops.cast(hit, "float32"))}

    def _attacked(self, faces: Any, target: Any) -> Any:
        """`faces`, each moved a random part of the radius up the gradient of its loss, from a random place nearby."""
        near = faces + 0.5 * self.attack * _unit_length(keras.random.normal(ops.shape(faces), seed=self.random))

        def losses(x: Any) -> Any:
            return -ops.sum(target * ops.log(self.network(x, training=False) + 1e-7), axis=-1)

        part = keras.random.uniform((ops.shape(faces)[0], 1, 1, 1), seed=self.random)
        return faces + part * self.attack * _unit_length(ops.stop_gradient(input_gradient(losses, near)))


def _unit_length(faces: Any) -> Any:
    return faces / (ops.sqrt(ops.sum(ops.square(faces), axis=(1, 2, 3), keepdims=True)) + 1e-12)


def soft_classes(ages: np.ndarray) -> np.ndarray:
    """Ages in years (n,) as class probabilities (n, 6) float32: the age blurred by `LABEL_DEVIATION`.

    A face of 29 is nearly one of 30: to call the neighbouring class plainly wrong would teach the labels' noise.
    """
    edges = np.concatenate([[-np.inf], LOWEST_AGES[1:] - 0.5, [np.inf]])
    below = ndtr((edges[None] - np.asarray(ages, np.float64)[:, None]) / LABEL_DEVIATION)
    return np.diff(below, axis=1).astype(np.float32)


def start_from_trunk(network: keras.Model, trained: keras.Model) -> int:
    """Copy the weights of `trained` layer by layer, as far as its shapes are the network's; the number of layers."""
    copied = 0
    for layer, other in zip(network.layers, trained.layers, strict=False):
        shapes = [weight.shape for weight in layer.get_weights()]
        if [weight.shape for weight in other.get_weights()] != shapes:
            break
        layer.set_weights(other.get_weights())
        copied += bool(shapes)
    return copied
