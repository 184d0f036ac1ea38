"""The smallest stage whose outcome does not hang on chance, for scripts that compare devices and backends."""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from faceage.networks.predict import predict
from faceage.training.stage import SupervisedStage, unit_faces

BATCH, STEPS = 8, 4


class Batches(keras.utils.PyDataset):
    """Faces whose first pixel counts them, and classes; the same in every epoch."""

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int):
        random = np.random.default_rng(index)
        faces = random.integers(0, 256, (BATCH, 64, 64, 3), np.uint8)
        faces[:, 0, 0, 0] = np.arange(BATCH) + BATCH * index
        return faces, np.eye(6, dtype=np.float32)[random.integers(0, 6, BATCH)]


class Plain(SupervisedStage):
    """A stage without chance and without batch normalisation; `first` is the mean of the faces' numbers."""

    LOSSES = ("loss", "first")

    def __init__(self, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        face = keras.Input((64, 64, 3))
        hidden = layers.Dense(8, activation="tanh")(layers.Flatten()(layers.AveragePooling2D(16)(face)))
        super().__init__(keras.Model(face, layers.Dense(6)(hidden)), seed)
        # Keras's initialisers draw other numbers on each backend.
        random = np.random.default_rng(seed)
        self.network.set_weights([random.normal(0, 0.2, weight.shape) for weight in self.network.get_weights()])
        self.compile(0.5, steps=100)

    def loss_of(self, data):
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        loss = ops.mean(ops.square(self.network(unit_faces(pixels)) - target))
        return loss, {"loss": loss, "first": ops.mean(ops.cast(pixels[:, 0, 0, 0], "float32"))}


class EachEpoch(keras.callbacks.Callback):
    """What a run does around the epochs."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.model.restart_random(epoch)

    def on_train_batch_end(self, batch, logs=None) -> None:
        assert all(np.isfinite(float(value)) for value in logs.values())

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.model.join_devices()
        self.model.save_weights(self.checkpoint)


def train(folder: Path, epochs: int, first_epoch: int = 0, seed: int = 0) -> tuple[Plain, dict]:
    stage, checkpoint = Plain(seed), folder / "last.weights.h5"
    if first_epoch:
        stage.load_weights(checkpoint)
    history = stage.fit(
        Batches(),
        epochs=epochs,
        initial_epoch=first_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[EachEpoch(checkpoint)],
    )
    return stage, history.history


def outcome(stage: Plain, history: dict) -> dict[str, np.ndarray]:
    weights = {f"weight{i}": weight for i, weight in enumerate(stage.network.get_weights())}
    return {**weights, **history, "predicted": predict(stage.network, Batches()[0][0], batch_size=BATCH)}
