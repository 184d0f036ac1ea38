"""What the head start and the identity stage share: people of known ages and genders, and what G makes of them."""

from typing import Any

import keras
from keras import ops

from faceage.ages import AGE_CLASSES
from faceage.training.adversarial import AdversarialStage

GENDER_KNOWN = 0.5
"""Of the photos, the share whose gender D is told: of people drawn from random latents there is none to tell."""


class PeopleStage(AdversarialStage):
    """Trains against a `discriminator` that is told a face's age and gender, as (b, 8) `one_hot_people`.

    People drawn at another age are to keep their gender: told ages alone, D takes a boy for a man or for a woman.
    """

    BEGINS_AT_RANDOM = False

    def discriminating_people(
        self, faces: Any, labels: Any, other_ages: Any, aged: Any, sampled: Any
    ) -> tuple[Any, Any, list]:
        """`discriminating` on `faces` of `labels`, on them `aged` to one-hot `other_ages`, and on people `sampled`."""
        ages, genders = split_labels(labels)
        known = keras.random.uniform((ops.shape(faces)[0], 1), seed=self.random) < GENDER_KNOWN
        real = ops.concatenate([ages, genders * ops.cast(known, "float32")], axis=1)
        drawn = [(ops.stop_gradient(shown), of) for shown, of in self._drawn(labels, other_ages, aged, sampled)]
        return self.discriminating(faces, real, drawn)

    def fooling_people(self, labels: Any, other_ages: Any, aged: Any, sampled: Any) -> Any:
        """What the people that `discriminating_people` sees lose where D does not take them for real."""
        return sum(self.fooling(shown, of) for shown, of in self._drawn(labels, other_ages, aged, sampled))

    def _drawn(self, labels: Any, other_ages: Any, aged: Any, sampled: Any) -> list[tuple[Any, Any]]:
        ages, genders = split_labels(labels)
        return [
            (aged, ops.concatenate([other_ages, genders], axis=1)),
            (sampled, ops.concatenate([ages, ops.zeros_like(genders)], axis=1)),
        ]

    def wrong_labels(self, labels: Any) -> Any:
        """Another gender for half of those whose gender is known, and `wrong_ages` for all others."""
        ages, genders = split_labels(labels)
        known = ops.sum(genders, axis=1, keepdims=True)
        other_gender = known * ops.cast(keras.random.uniform(ops.shape(known), seed=self.random) < 0.5, "float32")
        wrong_ages = ages + (1 - other_gender) * (self.wrong_ages(ages) - ages)
        return ops.concatenate([wrong_ages, genders + other_gender * (known - 2 * genders)], axis=1)

    def random_strength(self, ages: Any, other_ages: Any, most: float) -> Any:
        """Each of (b, 6) `ages` moved towards the other by a strength (`ages.towards`) from 1 to `most`."""
        strength = keras.random.uniform((ops.shape(ages)[0], 1), 1.0, most, seed=self.random)
        return ages + strength * (other_ages - ages)


def split_labels(labels: Any) -> tuple[Any, Any]:
    """(b, 8) `one_hot_people` → one-hot ages (b, 6) and one-hot genders (b, 2), zeros where unknown."""
    return labels[:, : len(AGE_CLASSES)], labels[:, len(AGE_CLASSES) :]
