"""People drawn from their latents: the same pixels in a batch, from a file, in a report and in a measurement."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from faceage.ages import Age, towards
from faceage.faces.masks import aligned_landmarks, head_mask
from faceage.images import decode_portrait, to_float, to_uint8
from faceage.model import Model
from faceage.networks.predict import draw, predict
from faceage.people.drawn import Drawn, is_grey
from faceage.people.optimise import Latents
from faceage.people.re_age import ReAger
from faceage.people.views import VIEWS, fixed_views, in_views, mean_of_views
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
            faces, changes = draw_in_views(self._model, aligned, latents.take(np.array(chosen)), weights, strength)
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


def draw_in_views(
    model: Model, aligned: np.ndarray, latents: Latents, ages: Sequence[np.ndarray], strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """`draw_people`, and (n, k, 64, 64, 3) float32: how that changes (n, 64, 64, 3) uint8 faces, the mean over views.

    The latents of the face as it is are `latents`; those of its other views come from the encoder.
    """
    drawn, changes = [], []
    for start in range(0, len(aligned), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        own = latents.take(chosen)
        count = len(own.latent)
        views = fixed_views(count)
        seen = to_uint8(ops.convert_to_numpy(in_views(to_float(aligned[chosen]), views)))
        of_views = own.take(np.tile(np.arange(count), VIEWS))
        of_views.latent[count:] = predict(model.encoder, seen[count:], batch_size=AT_ONCE)
        of_views.offset[count:] = 0
        people = draw_people(model.person_generator, of_views, ages, strength)
        drawn.append(people[:count])
        moved = people[:, 1:].astype(np.float32) - people[:, :1]
        parts = [ops.convert_to_numpy(mean_of_views(moved[:, age], views)) for age in range(len(ages))]
        changes.append(np.stack(parts, axis=1))
    return np.concatenate(drawn), np.concatenate(changes)


def latents_of(rows: Sequence[FaceRow]) -> Latents:
    """The latents of stored `rows`."""
    names = ("age", "latent_initial", "latent", "offset", "identity_distance")
    return Latents(*(np.stack([getattr(row, name) for row in rows]) for name in names))
