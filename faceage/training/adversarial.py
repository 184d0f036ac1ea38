"""Training against a discriminator: its loss and update, and the moving averages that become the result."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from faceage.ages import AGE_CLASSES
from faceage.backend import fuse, gradients, input_gradient
from faceage.networks.augment import view
from faceage.training.stage import Stage, StageOptions

R1_EVERY = 16
"""Steps between gradient penalties, whose weight is multiplied by as much (Karras et al. 2020)."""
AVERAGE_EVERY = 4
"""Steps between updates of the moving average."""
D_LOSSES = ("d_loss", "d_real", "d_fake", "d_wrong_age")
"""What is reported of the discriminator: its loss, and how often it is right about each kind of face."""


@dataclass(frozen=True)
class AdversarialOptions(StageOptions):
    """Options of every stage with a discriminator."""

    beta_1: float = 0.0
    """Of Adam."""
    beta_2: float = 0.99
    """Of Adam."""
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator, as a multiple of `learning_rate` (Heusel et al. 2017)."""
    wrong_age: float = 0.3
    """Weight of real faces with wrong labels, which count as fake (Reed et al. 2016)."""
    r1: float = 1.0
    """Weight of the gradient penalty on real faces (Mescheder et al. 2018)."""
    augment: bool = True
    """Shift, mirror, brighten and darken everything that the discriminator sees (Zhao et al. 2020)."""
    average_decay: float = 0.999
    """Decay of the moving average per step, 0 for no averaging."""
    clip: float = 0.0
    """Largest norm of a gradient, 0 for any."""


class AdversarialStage(Stage):
    """Trains networks against `discriminator` with the non-saturating logistic loss (Goodfellow et al. 2014).

    `trained` are the networks besides D; `averages`, in the same order, their moving averages, which are the result.
    """

    BEGINS_AT_RANDOM = True
    """True when training starts from random weights: the moving average warms up faster."""

    def __init__(
        self,
        discriminator: keras.Model,
        trained: list[keras.Model],
        averages: list[keras.Model],
        options: AdversarialOptions,
    ) -> None:
        super().__init__(options.seed)
        self.discriminator = discriminator
        self.trained = trained
        self.averages = averages
        self.options = options
        for average, network in zip(averages, trained, strict=True):
            average.set_weights(network.get_weights())
        self.steps = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps")
        self.built = True

    def compile(self, **kwargs: Any) -> None:
        # No optimizer of Keras's own, which would be saved as well.
        super().compile(optimizer=None, **kwargs)
        rate, betas = self.options.learning_rate, (self.options.beta_1, self.options.beta_2)
        clip = self.options.clip or None
        self.trained_optimizer = keras.optimizers.Adam(self.learning_rate(), *betas, global_clipnorm=clip)
        discriminator_rate = rate * self.options.discriminator_rate
        self.discriminator_optimizer = keras.optimizers.Adam(discriminator_rate, *betas, global_clipnorm=clip)
        # Keras restores an unbuilt optimizer empty, with only a warning.
        self.trained_optimizer.build(self.trained_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self._apply = fuse(self._apply_gradients)
        self._apply_trained = fuse(self._step_of_trained)
        self._apply_discriminator = fuse(self._step_of_discriminator)
        self._average = fuse(self._average_weights)

    def learning_rate(self) -> Any:
        """Of what is trained besides D: a number or a schedule."""
        return self.options.learning_rate

    @property
    def trained_variables(self) -> list[keras.Variable]:
        return [variable for network in self.trained for variable in network.trainable_variables]

    def fooling(self, faces: Any, labels: Any) -> Any:
        """Loss of generated `faces` (b, 64, 64, 3) with their `labels`: low where D takes them for real."""
        return ops.mean(ops.softplus(-self.discriminator([self.seen(faces), labels], training=True)))

    def discriminating(self, faces: Any, labels: Any, drawn: list[tuple[Any, Any]]) -> tuple[Any, Any, list]:
        """The result of `telling_apart`, and the gradients of D's loss."""
        variables = self.discriminator.trainable_variables
        return gradients(lambda: self.telling_apart(faces, labels, drawn), variables)

    def telling_apart(self, faces: Any, labels: Any, drawn: list[tuple[Any, Any]]) -> tuple[Any, tuple[Any, dict]]:
        """D's loss on real `faces`, on each (faces, labels) of `drawn`, and on real faces with wrong labels.

        Answers (loss with gradient penalty, (loss without it, D's accuracy on each kind)).
        """
        real = self.discriminator([self.seen(faces), labels], training=True)
        fakes = [self.discriminator([self.seen(f), of], training=True) for f, of in drawn]
        loss = ops.mean(ops.softplus(-real)) + sum(ops.mean(ops.softplus(fake)) for fake in fakes) / len(fakes)
        shares = {"d_real": _share(real > 0), "d_fake": sum(_share(fake < 0) for fake in fakes) / len(fakes)}
        if self.options.wrong_age:
            wrong = self.discriminator([self.seen(faces), self.wrong_labels(labels)], training=True)
            loss = loss + self.options.wrong_age * ops.mean(ops.softplus(wrong))
            shares["d_wrong_age"] = _share(wrong < 0)
        else:
            shares["d_wrong_age"] = ops.zeros(())
        if not self.options.r1:
            return loss, (loss, shares)
        penalty = ops.cond(
            ops.equal(self.steps % R1_EVERY, 0),
            lambda: self._gradient_penalty(self.seen(faces), labels),
            lambda: ops.zeros(()),
        )
        return loss + 0.5 * self.options.r1 * R1_EVERY * penalty, (loss, shares)

    def seen(self, faces: Any) -> Any:
        """`faces` as D sees them, augmented."""
        return view(faces, self.random) if self.options.augment else faces

    def update(self, gradients: Any, discriminator_gradients: Any) -> None:
        """End a step: update the networks, then the averages."""
        self._apply(gradients, discriminator_gradients)
        self._end_step()

    def _end_step(self) -> None:
        self.steps.assign_add(1)
        average_now = ops.equal(self.steps % self._average_every, 0)
        ops.cond(average_now, self._average, lambda: ops.zeros(()))

    @property
    def _average_every(self) -> int:
        return AVERAGE_EVERY if self.options.average_decay else 1

    def wrong_labels(self, labels: Any) -> Any:
        """Wrong labels for real faces. Here labels are one-hot ages."""
        return self.wrong_ages(labels)

    def wrong_ages(self, ages: Any) -> Any:
        """Another one-hot age class for each row, all equally likely."""
        classes = len(AGE_CLASSES)
        step = keras.random.randint((ops.shape(ages)[0],), 1, classes, seed=self.random)
        return ops.one_hot((ops.argmax(ages, axis=-1) + ops.cast(step, "int32")) % classes, classes)

    def _gradient_penalty(self, faces: Any, labels: Any) -> Any:
        gradient = input_gradient(lambda x: self.discriminator([x, labels], training=True), faces)
        return ops.mean(ops.sum(ops.square(gradient), axis=(1, 2, 3)))

    def _apply_gradients(self, gradients: Any, discriminator_gradients: Any) -> None:
        self._step_of_trained(gradients)
        self._step_of_discriminator(discriminator_gradients)

    def _step_of_trained(self, gradients: Any) -> None:
        self.trained_optimizer.apply(gradients, self.trained_variables)

    def _step_of_discriminator(self, gradients: Any) -> None:
        self.discriminator_optimizer.apply(gradients, self.discriminator.trainable_variables)

    def _average_weights(self) -> Any:
        decay = self.options.average_decay**AVERAGE_EVERY
        if self.BEGINS_AT_RANDOM:
            steps = ops.cast(self.steps, "float32")
            decay = ops.minimum(decay, steps / (steps + 10 * AVERAGE_EVERY))
        for average, network in zip(self.averages, self.trained, strict=True):
            for kept, new in zip(average.weights, network.weights, strict=True):
                kept.assign(kept * decay + (1 - decay) * ops.cast(new, kept.dtype))
        return ops.zeros(())


def _share(condition: Any) -> Any:
    return ops.mean(ops.cast(condition, "float32"))
