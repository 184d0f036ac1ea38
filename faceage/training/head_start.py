"""The discriminator's head start: it learns alone what is wrong with drawn faces, before E and G learn from it.

A discriminator that knows nothing yet pushes them anywhere.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from keras import ops

from faceage.training.adversarial import AdversarialOptions, AdversarialStage
from faceage.training.stage import unit_faces

RATE = 10.0
"""Of D alone, as a multiple of the options' learning rate: nobody moves against it yet."""


class HeadStart(AdversarialStage):
    """Trains `discriminator` alone, on (faces uint8 (b, 64, 64, 3), one-hot ages (b, 6)).

    It sees the photos, the people in them at random other ages, and people drawn from random latents.
    """

    LOSSES = ("d_loss", "d_real", "d_fake", "d_wrong_age")

    def __init__(
        self,
        discriminator: keras.Model,
        encoder: keras.Model,
        generator: keras.Model,
        strength: float,
        options: AdversarialOptions,
    ) -> None:
        super().__init__(discriminator, [], [], replace(options, discriminator_rate=RATE))
        self.encoder = encoder
        self.generator = generator
        self.strength = strength

    def train_step(self, data: Any) -> dict[str, Any]:
        pixels, ages, _ = keras.utils.unpack_x_y_sample_weight(data)
        faces, ages = unit_faces(pixels), ops.cast(ages, "float32")
        other_ages = self.wrong_ages(ages)
        latents = self.encoder(faces, training=False)
        asked = random_strength(ages, other_ages, self.strength, self.random)
        random = keras.random.normal(ops.shape(latents), seed=self.random)
        drawn = self.generator([ops.concatenate([latents, random]), ops.concatenate([asked, ages])], training=False)
        aged, sampled = ops.split(ops.stop_gradient(drawn), 2)
        _, (d_loss, shares), found = self.discriminating(faces, ages, [(aged, other_ages), (sampled, ages)])
        self.update([], found)
        return self.report(d_loss=d_loss, **shares)


def random_strength(ages: Any, other_ages: Any, most: float, random: keras.random.SeedGenerator) -> Any:
    """Each of (b, 6) `ages` moved towards the other by a strength (`ages.towards`) from 1 to `most`."""
    strength = keras.random.uniform((ops.shape(ages)[0], 1), 1.0, most, seed=random)
    return ages + strength * (other_ages - ages)


def give_head_start(
    stage: HeadStart, batches: keras.utils.PyDataset, path: Path, progress: Callable[[int], Any] = lambda done: None
) -> None:
    """Train the compiled `stage` on `batches`, or read what came of that from `path`, where it is written.

    `progress` is told the number of steps done.
    """
    if path.exists():
        stage.discriminator.load_weights(path)
        return
    told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress(batch + 1))
    stage.fit(batches, shuffle=False, verbose=0, callbacks=[told])
    partial = path.with_name(f".{path.name}.partial.weights.h5")
    try:
        stage.discriminator.save_weights(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
