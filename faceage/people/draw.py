"""People drawn from their latents: the same pixels in a batch, from a file, in a report and in a measurement."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from faceage.ages import Age, towards
from faceage.faces.masks import aligned_landmarks, head_mask
from faceage.images import decode_portrait
from faceage.model import Model
from faceage.networks.predict import draw, predict
from faceage.people.drawn import Drawn, is_grey
from faceage.people.optimise import Latents
from faceage.people.re_age import ReAger
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.latents import FaceRow

AT_ONCE = 32
"""Faces drawn together, always: another batch size might round otherwise."""


class PeoplePainter:
    """Draws people with a model, whose networks are compiled once."""

    def __init__(self, model: Model, draw: str = "photo") -> None:
        """`draw` "photo" takes the re-ager for faces whose portrait is stored, where the model has one."""
        self._model = model
        self._re_ager = ReAger(model.re_ager) if model.re_ager is not None and draw == "photo" else None

    def __call__(self, rows: Sequence[FaceRow], ages: Sequence[Age], strength: float) -> list[Drawn]:
        """The people of `rows` at each of `ages`, by `strength` (`ages.towards`); those of grey photos in greys."""
        if not rows:
            return []
        weights = [age.weights for age in ages]
        latents = latents_of(rows)
        photos = [decode_portrait(row.portrait) if row.portrait else row.aligned for row in rows]
        drawn: dict[int, Drawn] = {}
        chosen = [i for i, row in enumerate(rows) if row.portrait] if self._re_ager else []
        if self._re_ager and chosen:
            aligned = np.stack([rows[i].aligned for i in chosen])
            faces, changes = draw_changes(self._model, aligned, latents.take(np.array(chosen)), weights, strength)
            masks = np.stack([_mask(rows[i]) for i in chosen])
            pictures = self._re_ager(np.stack([photos[i] for i in chosen]), changes, weights, masks)
            for i, face, aged in zip(chosen, faces, pictures, strict=True):
                drawn[i] = Drawn(photos[i], face[0], photos[i], aged)
        others = [i for i in range(len(rows)) if i not in drawn]
        if others:
            faces = draw_people(self._model.person_generator, latents.take(np.array(others)), weights, strength)
            for i, face in zip(others, faces, strict=True):
                drawn[i] = Drawn(photos[i], face[0], face[0], face[1:])
        # The networks know coloured faces alone, and would give a grey photo some of their colours.
        return [drawn[i].in_greys() if is_grey(row.aligned) else drawn[i] for i, row in enumerate(rows)]


def _mask(row: FaceRow) -> np.ndarray:
    return head_mask(aligned_landmarks(row.transform, row.landmarks), PORTRAIT_SIZE)


def draw_people(
    person_generator: keras.Model, latents: Latents, ages: Sequence[np.ndarray], strength: float
) -> np.ndarray:
    """(n, 1 + k, 64, 64, 3) uint8: each person at their own age, and at each of k `ages`, (6,) weights."""
    offset = latents.offset.astype(np.float32)
    every = [latents.age, *(towards(latents.age, age, strength) for age in ages)]
    return np.stack([draw(person_generator, latents.latent, age, offset, batch_size=AT_ONCE) for age in every], axis=1)


def draw_changes(
    model: Model, aligned: np.ndarray, latents: Latents, ages: Sequence[np.ndarray], strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """`draw_people`, and (n, k, 64, 64, 3) float32: how that changes (n, 64, 64, 3) uint8 faces, the mean of two views.

    One is the face, with its `latents`; the other its mirror image, with the encoder's.
    """
    latent = predict(model.encoder, np.ascontiguousarray(aligned[:, :, ::-1]), batch_size=AT_ONCE)
    mirrored = replace(latents, latent=latent, offset=np.zeros_like(latents.offset))
    faces, others = (draw_people(model.person_generator, one, ages, strength) for one in (latents, mirrored))
    mean = (faces.astype(np.float32) + others[:, :, :, ::-1]) / 2
    return faces, mean[:, 1:] - mean[:, :1]


def latents_of(rows: Sequence[FaceRow]) -> Latents:
    """The latents of stored `rows`."""
    names = ("age", "latent_initial", "latent", "offset", "identity_distance")
    return Latents(*(np.stack([getattr(row, name) for row in rows]) for name in names))
