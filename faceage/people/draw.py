"""People drawn from their latents: the same pixels for a photo just aged and for latents read from a file."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from faceage.ages import emphasis, towards
from faceage.model import Model
from faceage.networks.predict import draw, predict
from faceage.people.optimise import Latents
from faceage.store.latents import FaceRow

_AT_ONCE = 32
"""One batch size for everybody: another might round otherwise."""


def draw_people(
    person_generator: keras.Model, latents: Latents, asked: Sequence[np.ndarray], strength: float
) -> np.ndarray:
    """(n, 1 + k, 64, 64, 3) uint8: each person at their own age, and at each of k ages `asked`, (6,) weights."""
    offset = latents.offset.astype(np.float32)
    ages = [latents.age, *(towards(latents.age, age, strength * emphasis(age)) for age in asked)]
    return np.stack([draw(person_generator, latents.latent, age, offset, batch_size=_AT_ONCE) for age in ages], axis=1)


def draw_mirrored(
    model: Model, aligned: np.ndarray, latents: Latents, asked: Sequence[np.ndarray], strength: float
) -> np.ndarray:
    """`draw_people` for the mirror images of (n, 64, 64, 3) uint8 faces, by the encoder's latents, mirrored back."""
    latent = predict(model.encoder, np.ascontiguousarray(aligned[:, :, ::-1]), batch_size=_AT_ONCE)
    mirrored = replace(latents, latent=latent, offset=np.zeros_like(latents.offset))
    return draw_people(model.person_generator, mirrored, asked, strength)[:, :, :, ::-1]


def latents_of(rows: Sequence[FaceRow]) -> Latents:
    """The latents of stored `rows`."""
    names = ("age", "latent_initial", "latent", "offset", "identity_distance")
    return Latents(*(np.stack([getattr(row, name) for row in rows]) for name in names))
