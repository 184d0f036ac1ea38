"""What G proposes to change in training faces, while R learns to draw it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from faceage.training.views import View, in_views, mean_of_views, random_view


class Proposal(NamedTuple):
    """Of faces (b, 64, 64, 3): G's faces at other ages, and the (b, 6) ages between which they change."""

    aged: Any
    own: Any
    asked: Any
    change: Any


class Proposals:
    """Ages faces with frozen networks, which are no part of a stage's checkpoints."""

    def __init__(
        self,
        encoder: keras.Model,
        generator: keras.Model,
        age_estimator: keras.Model,
        random: keras.random.SeedGenerator,
    ) -> None:
        self.networks = encoder, generator, age_estimator
        self._random = random

    def __call__(self, faces: Any, targets: Any, strength: Any) -> Proposal:
        """Of (b, 64, 64, 3) `faces` in -1..1 by `strength` towards (b, 6) `targets`.

        The change is the mean over views of the face: stains are in one of them, age is in all.
        """
        _, _, age_estimator = self.networks
        own = age_estimator(faces, training=False)
        asked = own + strength * (targets - own)
        change = self.changed(faces, own, asked, [random_view(ops.shape(faces)[0], self._random)])
        return Proposal(ops.clip(faces + change, -1, 1), own, asked, change)

    def changed(self, faces: Any, before: Any, after: Any, views: Sequence[View] = ()) -> Any:
        """How G's faces change between two (b, 6) ages, the mean of `in_views`."""
        encoder, generator, _ = self.networks
        latents = encoder(in_views(faces, views), training=False)
        ages = (ops.tile(age, (2 + 2 * len(views), 1)) for age in (before, after))
        one, other = (generator([latents, age], training=False) for age in ages)
        return mean_of_views(other - one, views)
