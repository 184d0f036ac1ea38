"""What a recogniser can be trained by: a teacher's embeddings, or people's identities."""

from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.networks.augment import view
from faceage.networks.recognizer import EMBEDDING_SIZE
from faceage.training.stage import SupervisedStage, unit_faces


class EmbeddingStage(SupervisedStage):
    """Trains a recogniser on (faces uint8 (b, 64, 64, 3), targets), seen shifted, mirrored, lighter or darker."""

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.embedding_loss(self.network(view(unit_faces(pixels), self.random, shift=2), training=True), target)

    def embedding_loss(self, embedding: Any, target: Any) -> tuple[Any, dict[str, Any]]:
        """The scalar loss of unit embeddings (b, 128), and the values named in `LOSSES`."""
        raise NotImplementedError


class Distillation(EmbeddingStage):
    """(faces uint8 (b, 64, 64, 3), teacher's unit embeddings (b, 128)): match each, and how they lie to each other."""

    LOSSES = ("loss", "cosine")
    SIMILARITY = 10.0

    def embedding_loss(self, embedding: Any, target: Any) -> tuple[Any, dict[str, Any]]:
        cosine = ops.mean(ops.sum(embedding * target, axis=-1))
        apart = ops.matmul(embedding, ops.transpose(embedding)) - ops.matmul(target, ops.transpose(target))
        loss = 1 - cosine + self.SIMILARITY * ops.mean(ops.square(apart))
        return loss, {"loss": loss, "cosine": cosine}


class ArcFace(EmbeddingStage):
    """Additive angular margin (Deng et al. 2019) on (faces uint8 (b, 64, 64, 3), people's numbers (b,) int)."""

    LOSSES = ("loss", "accuracy")

    def __init__(self, network: keras.Model, people: int, margin: float, scale: float, seed: int) -> None:
        super().__init__(network, seed)
        self.margin = margin
        self.scale = scale
        self.centres = self.add_weight(shape=(people, EMBEDDING_SIZE), initializer="random_normal", name="centres")

    @property
    def trained_variables(self) -> list[keras.Variable]:
        return [*self.network.trainable_variables, self.centres]

    def embedding_loss(self, embedding: Any, person: Any) -> tuple[Any, dict[str, Any]]:
        cosine = ops.matmul(embedding, ops.transpose(ops.normalize(self.centres)))
        cosine = ops.clip(cosine, -1 + 1e-6, 1 - 1e-6)
        angle = ops.arccos(cosine)
        # Past π the cosine would rise again and reward being further off.
        further = ops.where(
            angle + self.margin < np.pi, ops.cos(angle + self.margin), cosine - self.margin * np.sin(self.margin)
        )
        own = ops.one_hot(person, self.centres.shape[0], dtype="float32")
        logits = self.scale * ops.where(own > 0, further, cosine)
        loss = ops.mean(ops.categorical_crossentropy(own, logits, from_logits=True))
        hit = ops.equal(ops.argmax(cosine, axis=-1), ops.argmax(own, axis=-1))
        return loss, {"loss": loss, "accuracy": ops.mean(ops.cast(hit, "float32"))}


class Triplets(EmbeddingStage):
    """Batch-hard triplets (Hermans et al. 2017) on (faces uint8 (b, 64, 64, 3), people's numbers (b,) int).

    Each face's farthest face of the same person in the batch is to be nearer, by `margin`, than the nearest stranger's.
    `same` and `different` are the mean distances of all pairs of either kind.
    """

    LOSSES = ("loss", "same", "different")

    def __init__(self, network: keras.Model, margin: float, seed: int) -> None:
        super().__init__(network, seed)
        self.margin = margin

    def embedding_loss(self, embedding: Any, person: Any) -> tuple[Any, dict[str, Any]]:
        apart = 2 - 2 * ops.matmul(embedding, ops.transpose(embedding))
        distance = ops.sqrt(ops.maximum(apart, 1e-8))
        person = ops.cast(person, "int32")
        same = ops.cast(ops.equal(person[:, None], person[None]), "float32")
        farthest = ops.max(distance * same, axis=1)
        nearest = ops.min(distance + 4.0 * same, axis=1)
        loss = ops.mean(ops.softplus((farthest - nearest + self.margin) * self.SHARPNESS)) / self.SHARPNESS
        others = same - ops.eye(ops.shape(person)[0])
        values = {
            "same": ops.sum(distance * others) / ops.maximum(ops.sum(others), 1),
            "different": ops.sum(distance * (1 - same)) / ops.maximum(ops.sum(1 - same), 1),
        }
        return loss, {"loss": loss, **values}

    SHARPNESS = 5.0
