"""Run by test_torch.py with each backend: `backends.py OUT.npz`. One step of every stage, from the same numbers.

Random numbers differ between backends, so that they come from NumPy here, for weights, latents and augmentation alike.
"""

import os
import sys
from pathlib import Path

from absent import hide

if os.environ["KERAS_BACKEND"] == "torch":
    # Training on PyTorch works where there is no TensorFlow.
    hide("tensorflow")

import keras
import numpy as np
from keras import ops
from plain_stage import BATCH, Batches, outcome, train
from tiny_training import Enlarged, narrow_trunks, photo_options, tiny_patches, tiny_re_ager

from faceage.ages import AGE_CLASSES
from faceage.genders import GENDERS
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator, projected_discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.recognizer import recognizer
from faceage.training import adversarial
from faceage.training import stage as training_stage
from faceage.training.age import AgeTraining
from faceage.training.encoder import EncoderTraining
from faceage.training.gan import GAN
from faceage.training.identity import IdentityTraining
from faceage.training.photo import PhotoTraining
from faceage.training.recognizer import Distillation

random = np.random.default_rng(0)


def normal(shape, mean=0.0, stddev=1.0, dtype="float32", seed=None):
    return ops.convert_to_tensor(random.normal(mean, stddev, shape), dtype)


def uniform(shape, minval=0.0, maxval=1.0, dtype="float32", seed=None):
    return ops.convert_to_tensor(random.uniform(minval, maxval, shape), dtype)


def randint(shape, minval, maxval, dtype="int32", seed=None):
    return ops.convert_to_tensor(random.integers(minval, maxval, shape), dtype)


def shuffle(x, axis=0, seed=None):
    return ops.take(x, random.permutation(x.shape[0]), axis=axis)


keras.random.normal, keras.random.uniform, keras.random.randint = normal, uniform, randint
keras.random.shuffle = shuffle


def drawn(network: keras.Model) -> keras.Model:
    """`network` with weights of NumPy's and without dropout."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    for variable in network.trainable_variables:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            variable.assign(random.normal(0, np.prod(shape[:-1]) ** -0.5, shape))
        else:
            variable.assign(random.normal(variable.path.endswith("gamma"), 0.1, shape))
    return network


def supervised(stage):
    stage.compile(1e-3, steps=1000)
    return stage


def competing(kind, **networks):
    stage = kind(**networks)
    stage.compile()
    return stage


def generators() -> tuple[keras.Model, keras.Model]:
    return drawn(generator(width=8)), generator(width=8)


def gan(steps: int):
    drawing, average = generators()
    stage = competing(GAN, generator=drawing, discriminator=drawn(discriminator(width=8)), average=average)
    stage.steps.assign(steps)
    return stage


def identity():
    drawing, average = generators()
    eyes = drawn(recognizer()), drawn(age_estimator(width=8))
    return competing(
        IdentityTraining,
        encoder=drawn(encoder(width=4)),
        generator=drawing,
        discriminator=drawn(projected_discriminator(eyes, len(AGE_CLASSES) + len(GENDERS), width=8)),
        recognizer=eyes[0],
        age_estimator=eyes[1],
        encoding=encoder(width=4),
        drawing=average,
    )


def photo(epoch: int):
    options = photo_options(batch_size=BATCH)
    stage = competing(
        PhotoTraining,
        re_ager=drawn(tiny_re_ager()),
        drawing=tiny_re_ager(),
        discriminator=drawn(tiny_patches()),
        encoder=drawn(encoder(width=4)),
        generator=generators()[0],
        age_estimator=drawn(age_estimator(width=8)),
        options=options,
    )
    stage.begin_epoch(epoch)
    # All of the discriminator's say.
    stage.steps.assign(1000)
    return stage


STAGES = {
    "age": lambda: supervised(AgeTraining(drawn(age_estimator(width=8)), 0, attack=1.0)),
    "recognizer": lambda: supervised(Distillation(drawn(recognizer()), 0)),
    "gan": lambda: gan(0),
    "gan-between-penalties": lambda: gan(1),
    "encoder": lambda: supervised(EncoderTraining(drawn(encoder(width=4)), generators()[0], 0)),
    "identity": identity,
    "photo-pairs": lambda: photo(0),
    "photo-alone": lambda: photo(2),
    "photo": lambda: photo(3),
}


def gradients_of(stage: keras.Model) -> np.ndarray:
    """Those of a stage's first step in one row: what Adam's momenta are in proportion to."""
    optimizers = [each for each in vars(stage).values() if isinstance(each, keras.optimizers.Optimizer)]
    momenta = [v for optimizer in optimizers for v in optimizer.variables if "momentum" in v.path]
    return np.concatenate([ops.convert_to_numpy(momentum).ravel() for momentum in momenta])


def first_step(name: str) -> dict[str, np.ndarray]:
    """The losses and gradients of a stage's first step."""
    global random
    random = np.random.default_rng(1)
    stage = STAGES[name]()
    faces, targets = Batches()[0]
    if name == "recognizer":
        targets = random.standard_normal((BATCH, 128)).astype(np.float32)
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    if name.startswith("photo"):
        faces = faces, Enlarged(faces)[np.arange(BATCH)]
    if name == "identity" or name.startswith("photo"):
        targets = np.concatenate([targets, np.eye(len(GENDERS))[random.integers(len(GENDERS), size=BATCH)]], axis=1)
    losses = stage.train_step(keras.tree.map_structure(ops.convert_to_tensor, (faces, targets)))
    found = {f"{name}_loss_{key}": ops.convert_to_numpy(value) for key, value in losses.items()}
    return {**found, f"{name}_gradients": gradients_of(stage)}


def main(out: Path) -> None:
    found = {}
    # XLA compiles each update for seconds; it is asked to for `train` below.
    fuse = training_stage.fuse
    training_stage.fuse = adversarial.fuse = lambda update: update
    with narrow_trunks():
        for name in STAGES:
            found |= first_step(name)
    training_stage.fuse = fuse
    found |= {f"unbroken_{name}": value for name, value in outcome(*train(out.parent, 3)).items()}
    train(out.parent, 2)
    resumed = outcome(*train(out.parent, 3, first_epoch=2, seed=9))
    np.savez(out, **found, **{f"resumed_{name}": value for name, value in resumed.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
