"""The age estimator: six class probabilities from an aligned face."""

from collections.abc import Collection, Mapping
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
"""Standard deviation, in years, that is assumed of age labels."""


@dataclass(frozen=True)
class AgeOptions(StageOptions):
    """Options of the age estimator; the defaults take 20 minutes on two fast CPU cores.

    G and the optimiser follow its gradient, so it is trained adversarially (Madry et al. 2018): the gradient of such a
    network adds signs of age to a face (Tsipras et al. 2019), that of another adds specks that no other network takes
    for age. Its estimates are less accurate.
    """

    epochs: int = 12
    steps_per_epoch: int = 300
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    """Of AdamW."""
    attack: float = 2.0
    """Largest perturbation of a training face, as ‖·‖₂ for pixels in -1..1; 0 trains without."""
    start_share: float = 0.0
    """Share of the initial network in the average of weights that is the result (Wortsman et al. 2022), 0 to 1."""


class AgeJob(Job):
    """Trains the age estimator, from the trunk of a compact recogniser where there is one."""

    NAME = "age"
    MAKES = ("age_estimator",)
    USES = ("recognizer", "age_estimator")
    OPTIONS = AgeOptions

    @classmethod
    def check(cls, options: AgeOptions, networks: Collection[str], scores: Mapping[str, Any] | None) -> None:
        if options.start_share and "age_estimator" not in networks:
            raise UsageError("start_share needs an age estimator to begin with", "name its model by --start")

    def best(self) -> tuple[str, bool]:
        return "exact", True

    def stage(self) -> "AgeTraining":
        options = self.options
        network = self.begun_with("age_estimator") or self._from_trunk()
        self._start = network.get_weights()
        stage = AgeTraining(network, options.seed, options.attack)
        stage.compile(options.learning_rate, options.epochs * options.steps_per_epoch, options.weight_decay)
        return stage

    def _from_trunk(self) -> keras.Model:
        network = age_estimator(self.options.dtype)
        if (trained := self.inputs.networks.get("recognizer")) is not None:
            self.inputs.say(f"begins with {start_from_trunk(network, trained)} layers of the recogniser")
        return network

    def batches(self, epoch: int, first_step: int = 0) -> FaceBatches:
        # Unbalanced, since scores are computed on the distribution of the data.
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
    """Shares of `faces` whose estimated class is the true one, and at most one class off."""
    miss = np.abs(predict(network, faces.faces).argmax(1) - faces.classes)
    return {"exact": round(float((miss == 0).mean()), 4), "within_one": round(float((miss <= 1).mean()), 4)}


class AgeTraining(SupervisedStage):
    """Cross-entropy on (faces uint8 (b, 64, 64, 3), class probabilities (b, 6)), augmented and perturbed."""

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
        """`faces`, each moved along the gradient of its loss by up to `attack`, starting from a random point nearby."""
        near = faces + 0.5 * self.attack * _unit_length(keras.random.normal(ops.shape(faces), seed=self.random))

        def losses(x: Any) -> Any:
            return -ops.sum(target * ops.log(self.network(x, training=False) + 1e-7), axis=-1)

        part = keras.random.uniform((ops.shape(faces)[0], 1, 1, 1), seed=self.random)
        return faces + part * self.attack * _unit_length(ops.stop_gradient(input_gradient(losses, near)))


def _unit_length(faces: Any) -> Any:
    return faces / (ops.sqrt(ops.sum(ops.square(faces), axis=(1, 2, 3), keepdims=True)) + 1e-12)


def soft_classes(ages: np.ndarray) -> np.ndarray:
    """Ages in years (n,) as class probabilities (n, 6) float32, for labels with an error of `LABEL_DEVIATION`.

    Hard classes would teach the noise of the labels: a face of 29 may well be of 30.
    """
    edges = np.concatenate([[-np.inf], LOWEST_AGES[1:] - 0.5, [np.inf]])
    below = ndtr((edges[None] - np.asarray(ages, np.float64)[:, None]) / LABEL_DEVIATION)
    return np.diff(below, axis=1).astype(np.float32)


def start_from_trunk(network: keras.Model, trained: keras.Model) -> int:
    """Copy weights from `trained` layer by layer while shapes agree; answers the number of layers."""
    copied = 0
    for layer, other in zip(network.layers, trained.layers, strict=False):
        shapes = [weight.shape for weight in layer.get_weights()]
        if [weight.shape for weight in other.get_weights()] != shapes:
            break
        layer.set_weights(other.get_weights())
        copied += bool(shapes)
    return copied
