"""People drawn from their latents: the same pixels for a photo just aged and for latents read from a file."""

from collections.abc import Sequence

import keras
import numpy as np

from faceage.ages import towards
from faceage.latents.optimise import Latents
from faceage.latents.store import FaceRow
from faceage.networks.predict import draw

_AT_ONCE = 32
"""One batch size for everybody: another might round otherwise."""


def draw_people(
    person_generator: keras.Model, latents: Latents, asked: Sequence[np.ndarray], strength: float
) -> np.ndarray:
    """(n, 1 + k, 64, 64, 3) uint8: each person at their own age, and at each of k ages `asked`, (6,) weights."""
    offset = latents.offset.astype(np.float32)
    ages = [latents.age, *(towards(latents.age, age, strength) for age in asked)]
    return np.stack([draw(person_generator, latents.latent, age, offset, batch_size=_AT_ONCE) for age in ages], axis=1)


def draw_rows(
    person_generator: keras.Model, rows: Sequence[FaceRow], asked: Sequence[np.ndarray], strength: float
) -> np.ndarray:
    """`draw_people` for the people of stored `rows`."""
    names = ("age", "latent_initial", "latent", "offset", "identity_distance")
    latents = Latents(*(np.stack([getattr(row, name) for row in rows]) for name in names))
    return draw_people(person_generator, latents, asked, strength)
