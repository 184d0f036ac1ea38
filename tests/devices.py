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
from plain_stage import BATCH, Batches, EachEpoch, outcome, train

from faceage.backend import average_devices, distribution, is_chief, own_folder
from faceage.errors import UsageError
from faceage.networks.discriminator import discriminator
from faceage.networks.generator import generator
from faceage.training.gan import GAN


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
    with own_folder("all", run) as folder, distribution("all", BATCH):
        train(folder, 2)
        # Stopped here, a run goes on from what the folder holds.
        stage, history = train(folder, 3, first_epoch=2, seed=9)
        number = keras.Variable(float(is_chief("all")))
        number.assign(float(is_chief("all")))
        average_devices([number])
        np.savez(
            out,
            **outcome(stage, history),
            averaged=number.numpy(),
            chief=is_chief("all"),
            own=folder == run,
            options=(folder / "options.json").read_text(),
            random=held(stage.random.state)[0],
        )


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    {"logical": logical, "worker": worker}[what](*map(Path, paths))
