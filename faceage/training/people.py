"""Training on people of known ages and genders: what the identity stage and its discriminator's head start share."""

from typing import Any

import keras
from keras import ops

from faceage.ages import AGE_CLASSES
from faceage.training.adversarial import AdversarialStage

GENDER_KNOWN = 0.5
"""Share of photos whose gender D is told; that of people sampled from random latents is always unknown."""


class PeopleStage(AdversarialStage):
    """Trains against a `discriminator` that is told age and gender, as (b, 8) `one_hot_people`.

    Told ages only, D would not mind whether a boy is drawn as a man or as a woman.
    """

    BEGINS_AT_RANDOM = False

    def discriminating_people(
        self, faces: Any, labels: Any, other_ages: Any, aged: Any, sampled: Any
    ) -> tuple[Any, Any, list]:
        """`discriminating` on real `faces`, on the same `aged` to one-hot `other_ages`, and on `sampled` people."""
        ages, genders = split_labels(labels)
        known = keras.random.uniform((ops.shape(faces)[0], 1), seed=self.random) < GENDER_KNOWN
        real = ops.concatenate([ages, genders * ops.cast(known, "float32")], axis=1)
        drawn = [(ops.stop_gradient(shown), of) for shown, of in self._drawn(labels, other_ages, aged, sampled)]
        return self.discriminating(faces, real, drawn)

    def fooling_people(self, labels: Any, other_ages: Any, aged: Any, sampled: Any) -> Any:
        """`fooling` of the generated people of `discriminating_people`."""
        return sum(self.fooling(shown, of) for shown, of in self._drawn(labels, other_ages, aged, sampled))

    def _drawn(self, labels: Any, other_ages: Any, aged: Any, sampled: Any) -> list[tuple[Any, Any]]:
        ages, genders = split_labels(labels)
        return [
            (aged, ops.concatenate([other_ages, genders], axis=1)),
            (sampled, ops.concatenate([ages, ops.zeros_like(genders)], axis=1)),
        ]

    def wrong_labels(self, labels: Any) -> Any:
        """The wrong gender for half of the people whose gender is known, wrong ages for all others."""
        ages, genders = split_labels(labels)
        known = ops.sum(genders, axis=1, keepdims=True)
        other_gender = known * ops.cast(keras.random.uniform(ops.shape(known), seed=self.random) < 0.5, "float32")
        wrong_ages = ages + (1 - other_gender) * (self.wrong_ages(ages) - ages)
        return ops.concatenate([wrong_ages, genders + other_gender * (known - 2 * genders)], axis=1)

    def random_strength(self, ages: Any, other_ages: Any, most: float) -> Any:
        """(b, 6) `ages` moved towards `other_ages` by random strengths (`ages.towards`) from 1 to `most`."""
        strength = keras.random.uniform((ops.shape(ages)[0], 1), 1.0, most, seed=self.random)
        return ages + strength * (other_ages - ages)


def split_labels(labels: Any) -> tuple[Any, Any]:
    """(b, 8) `one_hot_people` → one-hot ages (b, 6) and one-hot genders (b, 2), zeros where unknown."""
    return labels[:, : len(AGE_CLASSES)], labels[:, len(AGE_CLASSES) :]
