"""Stage 1: the conditional GAN. G learns to draw a face of each age, D to tell it from a real one of that age."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.ages import AGE_CLASSES
from faceage.backend import fuse, gradients, input_gradient
from faceage.data.dataset import FaceBatches, load_faces
from faceage.images import save_png
from faceage.networks import LATENT_SIZE
from faceage.networks.augment import view
from faceage.networks.discriminator import discriminator
from faceage.networks.generator import generator
from faceage.outputs.grid import draw_grid
from faceage.outputs.samples import sample_grid
from faceage.training.run import StageRun, data_provenance
from faceage.training.stage import Stage, unit_faces
from faceage.weights import save_network


@dataclass(frozen=True)
class GANOptions:
    """`faceage train gan`: 32 epochs of 250 steps take an hour on two fast CPU cores; the first weights had 36."""

    epochs: int = 32
    steps_per_epoch: int = 250
    batch_size: int = 64
    learning_rate: float = 2e-4
    dtype: str = "mixed_bfloat16"
    seed: int = 0


def train_gan(data: Path, run: Path, options: GANOptions, progress: Callable[[int], Any] = lambda steps: None) -> None:
    """Train on the train split of the prepared file `data`; G (its moving average) and D join RUN/model."""
    stage = StageRun(run, "gan", {"data": data.name, **asdict(options)})
    faces = load_faces(data, "train")
    keras.utils.set_random_seed(options.seed)
    gan = GAN(generator(options.dtype), discriminator(options.dtype), generator(), options.seed)
    gan.compile(options.learning_rate)
    done = stage.resume(gan)
    if done == 0:
        # Fewer faces than places are shown again.
        shown = np.resize(np.random.default_rng(options.seed).permutation(len(faces)), 48)
        save_png(draw_grid(faces.faces[shown].reshape(6, 8, *faces.faces.shape[1:])), stage.folder / "reals.png")

    def show(epoch: int) -> dict[str, float]:
        save_png(sample_grid(gan.average, rows=8, seed=options.seed), stage.folder / f"samples-{epoch:04d}.png")
        return {}

    batches = FaceBatches(faces, options.batch_size, options.steps_per_epoch, seed=options.seed, first_epoch=done)
    stage.fit(gan, batches, options.epochs, done, progress, show)
    provenance = {
        **data_provenance(data, faces),
        "stage": "gan",
        "steps": int(ops.convert_to_numpy(gan.steps)),
        "options": asdict(options),
    }
    save_network(stage.model_folder, "generator", gan.average, provenance)
    save_network(stage.model_folder, "discriminator", gan.discriminator, provenance)


class GAN(Stage):
    """Trains `generator` and `discriminator` on (faces uint8 (b, 64, 64, 3), one-hot ages (b, 6)).

    Non-saturating logistic loss (Goodfellow et al. 2014); a real face shown with a wrong age counts as fake (Reed et
    al. 2016); R1 on real faces every `R1_EVERY` steps (Mescheder et al. 2018; Karras et al. 2020); everything that D
    sees is augmented alike (Zhao et al. 2020). `average` is the moving average of G that is kept in the end.
    """

    LOSSES = ("g_loss", "d_loss", "d_real", "d_fake", "d_wrong_age")
    WRONG_AGE = 0.3
    R1 = 1.0
    R1_EVERY = 16
    AVERAGE_DECAY = 0.999
    AVERAGE_EVERY = 4

    def __init__(self, generator: keras.Model, discriminator: keras.Model, average: keras.Model, seed: int = 0) -> None:
        super().__init__(seed)
        self.generator = generator
        self.discriminator = discriminator
        self.average = average
        self.average.set_weights(generator.get_weights())
        self.steps = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps")
        self.built = True

    def compile(self, learning_rate: float = 2e-4, **kwargs) -> None:
        super().compile(**kwargs)
        self.generator_optimizer = keras.optimizers.Adam(learning_rate, beta_1=0.0, beta_2=0.99)
        self.discriminator_optimizer = keras.optimizers.Adam(learning_rate, beta_1=0.0, beta_2=0.99)
        # Unbuilt optimisers would be restored from a checkpoint empty, with no more than a warning.
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self._apply = fuse(self._apply_gradients)
        self._average = fuse(self._average_weights)

    def train_step(self, data):
        pixels, ages, _ = keras.utils.unpack_x_y_sample_weight(data)
        faces, ages = unit_faces(pixels), ops.cast(ages, "float32")
        batch = ops.shape(faces)[0]

        def generator_loss():
            latents = keras.random.normal((batch, LATENT_SIZE), seed=self.random)
            fakes = self.generator([latents, ages], training=True)
            logits = self.discriminator([view(fakes, self.random), ages], training=True)
            return ops.mean(ops.softplus(-logits)), (fakes, logits)

        g_loss, (fakes, _), g_gradients = gradients(generator_loss, self.generator.trainable_variables)
        fakes = ops.stop_gradient(fakes)
        wrong = self._wrong_ages(ages)

        def discriminator_loss():
            real_logits = self.discriminator([view(faces, self.random), ages], training=True)
            fake_logits = self.discriminator([view(fakes, self.random), ages], training=True)
            wrong_logits = self.discriminator([view(faces, self.random), wrong], training=True)
            loss = ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))
            loss = loss + self.WRONG_AGE * ops.mean(ops.softplus(wrong_logits))
            penalty = ops.cond(
                ops.equal(self.steps % self.R1_EVERY, 0),
                lambda: self._r1(view(faces, self.random), ages),
                lambda: ops.zeros(()),
            )
            return loss + 0.5 * self.R1 * self.R1_EVERY * penalty, (loss, real_logits, fake_logits, wrong_logits)

        _, (d_loss, real, fake, wrong_logits), d_gradients = gradients(
            discriminator_loss, self.discriminator.trainable_variables
        )
        self._apply(g_gradients, d_gradients)
        self.steps.assign_add(1)
        average_now = ops.equal(self.steps % self.AVERAGE_EVERY, 0)
        ops.cond(average_now, self._average, lambda: ops.zeros(()))
        return self.report(
            g_loss=g_loss,
            d_loss=d_loss,
            d_real=_share(real > 0),
            d_fake=_share(fake < 0),
            d_wrong_age=_share(wrong_logits < 0),
        )

    def _wrong_ages(self, ages):
        """A class other than the true one for each row, all others equally likely."""
        classes = len(AGE_CLASSES)
        step = keras.random.randint((ops.shape(ages)[0],), 1, classes, seed=self.random)
        return ops.one_hot((ops.argmax(ages, axis=-1) + ops.cast(step, "int32")) % classes, classes)

    def _r1(self, faces, ages):
        gradient = input_gradient(lambda x: self.discriminator([x, ages], training=True), faces)
        return ops.mean(ops.sum(ops.square(gradient), axis=(1, 2, 3)))

    def _apply_gradients(self, g_gradients, d_gradients) -> None:
        self.generator_optimizer.apply(g_gradients, self.generator.trainable_variables)
        self.discriminator_optimizer.apply(d_gradients, self.discriminator.trainable_variables)

    def _average_weights(self):
        # Until the average has seen enough steps to forget its random beginning, it forgets faster.
        steps = ops.cast(self.steps, "float32")
        decay = ops.minimum(self.AVERAGE_DECAY**self.AVERAGE_EVERY, steps / (steps + 10 * self.AVERAGE_EVERY))
        for kept, new in zip(self.average.weights, self.generator.weights, strict=True):
            kept.assign(kept * decay + (1 - decay) * ops.cast(new, kept.dtype))
        return ops.zeros(())


def _share(condition):
    return ops.mean(ops.cast(condition, "float32"))
