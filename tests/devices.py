"""Run by test_distribution.py as a process of its own: `devices.py logical OUT.npz` or `devices.py worker OUT.npz RUN`.

`logical` trains on one and then on two logical CPU devices; `worker` is one of the processes that TF_CONFIG names.
"""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from faceage.backend import distribution, is_chief, own_folder
from faceage.errors import UsageError
from faceage.networks.discriminator import discriminator
from faceage.networks.generator import generator
from faceage.networks.predict import predict
from faceage.training.gan import GAN
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


def held(variable: keras.Variable) -> list[np.ndarray]:
    """What each device of this process holds."""
    return [value.numpy() for value in tf.distribute.get_strategy().experimental_local_results(variable.value)]


def apart(variables) -> list[str]:
    """Paths of those that are not the same on both devices."""
    return [v.path for v in variables if not np.array_equal(*held(v))]


def logical(out: Path) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    folder = out.parent
    found = {f"one_{name}": value for name, value in outcome(*train(folder, 3)).items()}
    try:
        distribution("all", BATCH + 1)
    except UsageError as error:
        found["refused"] = np.array(f"{error}; {error.hint}")
    with distribution("all", BATCH):
        found |= {f"two_{name}": value for name, value in outcome(*train(folder, 3)).items()}

        keras.utils.set_random_seed(0)
        gan = GAN(generator(width=4), discriminator(width=4), generator(width=4))
        gan.compile()
        before = [variable.numpy() for variable in gan.variables]
        gan.fit(Batches(), shuffle=False, verbose=0, callbacks=[EachEpoch(folder / "gan.weights.h5")])
        moved = [v.path for v, old in zip(gan.variables, before, strict=True) if not np.array_equal(held(v)[0], old)]
        found["trainable"] = np.array([v.path for v in gan.generator.variables if v.trainable])
        found["gan_names"] = np.array([v.path for v in gan.variables])
        found["gan_moved"], found["gan_apart"] = np.array(moved), np.array(apart(gan.variables))
        found["gan_random"] = np.array([v.path for v in gan.random_states])
        found["gan_steps"] = gan.steps.numpy()
        gan.restart_random(0)
        draw = tf.distribute.get_strategy().run(lambda: keras.random.normal((2, 100), seed=gan.random))
        found["latents"] = np.stack(
            [part.numpy() for part in tf.distribute.get_strategy().experimental_local_results(draw)]
        )
    np.savez(out, **found)


def worker(out: Path, run: Path) -> None:
    with distribution("all", BATCH), own_folder(run) as folder:
        train(folder, 2)
        # Stopped here, a run goes on from what the folder holds.
        stage, history = train(folder, 3, first_epoch=2, seed=9)
        np.savez(
            out,
            **outcome(stage, history),
            chief=is_chief(),
            own=folder == run,
            options=(folder / "options.json").read_text(),
            random=held(stage.random.state)[0],
        )


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    {"logical": logical, "worker": worker}[what](*map(Path, paths))
