"""Training the identity stage's discriminator alone, before E and G: an untrained one would push them anywhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from keras import ops

from faceage.training.adversarial import D_LOSSES, AdversarialOptions
from faceage.training.checkpoint import Position, load_checkpoint, save_checkpoint
from faceage.training.people import PeopleStage, split_labels
from faceage.training.stage import unit_faces

RATE = 10.0
"""Learning rate as a multiple of the stage's. It can be high, as nothing is trained against D yet."""
CHECKPOINT_EVERY = 250
"""Steps between checkpoints."""


class HeadStart(PeopleStage):
    """Trains `discriminator` alone, on (faces uint8 (b, 64, 64, 3), `one_hot_people` (b, 8)).

    D sees the photos, the same people at random other ages, and people sampled from random latents.
    """

    LOSSES = D_LOSSES

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
        pixels, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        faces, labels = unit_faces(pixels), ops.cast(labels, "float32")
        ages, _ = split_labels(labels)
        other_ages = self.wrong_ages(ages)
        latents = self.encoder(faces, training=False)
        asked = self.random_strength(ages, other_ages, self.strength)
        random = keras.random.normal(ops.shape(latents), seed=self.random)
        drawn = self.generator([ops.concatenate([latents, random]), ops.concatenate([asked, ages])], training=False)
        _, (d_loss, shares), found = self.discriminating_people(faces, labels, other_ages, *ops.split(drawn, 2))
        self.update([], found)
        return self.report(d_loss=d_loss, **shares)


def give_head_start(
    stage: HeadStart,
    batches: Callable[[int], keras.utils.PyDataset],
    steps: int,
    path: Path,
    progress: Callable[[int], Any] = lambda done: None,
) -> None:
    """Train the compiled `stage` for `steps`, with its checkpoint at `path`, from which it resumes.

    `batches(step)` are the batches from a step on; `progress` gets the number of steps done. Raises TrainingError for
    another file at `path`, and where the checkpoint cannot be written.
    """
    done = load_checkpoint(path, stage).step

    def keep(batch: int, logs: Any) -> None:
        step = done + batch + 1
        if step % CHECKPOINT_EVERY == 0 or step == steps:
            save_checkpoint(path, stage, Position(step=step))
        progress(step)

    if done < steps:
        kept = keras.callbacks.LambdaCallback(on_train_batch_end=keep)
        stage.fit(batches(done), shuffle=False, verbose=0, callbacks=[kept])
