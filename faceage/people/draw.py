"""People drawn from their latents: the same pixels in a batch, from a file, in a report and in a measurement."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from faceage.ages import Age, towards
from faceage.faces.masks import aligned_landmarks, head_mask
from faceage.genders import one_hot_genders
from faceage.model import Model, check_entry
from faceage.networks.predict import draw, predict
from faceage.people.drawn import Drawn, tones_of
from faceage.people.optimise import STORED, Latents
from faceage.people.re_age import ReAger, mean_change, photo_strengths
from faceage.sizes import LATENT_SIZE, PORTRAIT_SIZE
from faceage.store.latents import FaceRow

Strength = float | np.ndarray
"""Ageing strength: of all, or (n, k) of each of n people at each of k ages."""

AT_ONCE = 32
"""Faces drawn together, always: another batch size might round otherwise."""


class PeoplePainter:
    """Draws people with a model, whose networks are compiled once."""

    def __init__(self, model: Model, draw: str = "photo", gender: str | None = None) -> None:
        """`draw` "photo" takes the re-ager for faces whose portrait is stored, where the model has one.

        `gender`, one of `GENDERS`, is everybody's; None leaves it to the latents. Raises WeightsError where the model
        knows no genders.
        """
        self._model = model
        self._direction = gender_direction(model, gender)
        re_ager = model.fast.re_ager if draw == "photo" else None
        self._re_ager = None if re_ager is None else ReAger(re_ager)

    def __call__(self, rows: Sequence[FaceRow], ages: Sequence[Age], strength: float) -> list[Drawn]:
        """The people of `rows` at each of `ages`, by `strength` (`ages.towards`); of grey or sepia photos, in those."""
        if not rows:
            return []
        weights = [age.weights for age in ages]
        latents = latents_of(rows)
        chosen = [i for i, row in enumerate(rows) if row.portrait] if self._re_ager else []
        strengths = np.full((len(rows), len(ages)), strength, np.float32)
        strengths[chosen] = photo_strengths(latents.age[chosen], weights, strength)
        faces = draw_people(self._model.person_generator, latents, weights, strengths, self._direction)
        photos = [row.photo for row in rows]
        drawn = [Drawn(photo, face[0], face[0], face[1:]) for photo, face in zip(photos, faces, strict=True)]
        if self._re_ager and chosen:
            aligned = np.stack([rows[i].aligned for i in chosen])
            own = latents.take(np.array(chosen))
            mirrored = draw_mirrored(self._model, aligned, own, weights, strengths[chosen], self._direction)
            changes = mean_change(faces[chosen], mirrored)
            masks = np.stack([_mask(rows[i]) for i in chosen])
            pictures = self._re_ager(np.stack([photos[i] for i in chosen]), changes, weights, masks)
            for i, aged in zip(chosen, pictures, strict=True):
                drawn[i] = replace(drawn[i], unaged=photos[i], aged=aged)
        # The networks know coloured faces alone, and would give a grey or sepia photo some of their colours.
        toned = zip(drawn, (tones_of(row.aligned) for row in rows), strict=True)
        return [person.in_tones(tones) if tones else person for person, tones in toned]


def gender_direction(model: Model, gender: str | None) -> np.ndarray:
    """(100,) float32: what is added to the latents of people of this gender; zeros for None.

    Raises WeightsError where the model knows no genders.
    """
    if gender is None:
        return np.zeros(LATENT_SIZE, np.float32)
    check_entry(model.card, "gender", model.folder)
    assert model.gender is not None
    return keras.ops.convert_to_numpy(model.gender(one_hot_genders([gender])))[0]


def _mask(row: FaceRow) -> np.ndarray:
    return head_mask(aligned_landmarks(row.transform, row.landmarks), PORTRAIT_SIZE)


def draw_people(
    person_generator: keras.Model,
    latents: Latents,
    ages: Sequence[np.ndarray],
    strength: Strength,
    direction: np.ndarray | float = 0.0,
) -> np.ndarray:
    """(n, 1 + k, 64, 64, 3) uint8: each person at their own age, and at each of k `ages`, (6,) weights.

    `direction`, (100,), is added to the latents at those ages: of a gender, say, that a child does not show yet.
    """
    offset = latents.offset.astype(np.float32)
    every = [(latents.latent, latents.age, offset)]
    moved = latents.latent + np.float32(direction)
    strengths = np.broadcast_to(strength, (len(offset), len(ages)))
    for age, each in zip(ages, strengths.T, strict=True):
        every.append((moved, towards(latents.age, age, each[:, None]), offset))
    # All ages of all people in one column, since batches are filled up.
    columns = (np.concatenate(column) for column in zip(*every, strict=True))
    drawn = draw(person_generator, *columns, batch_size=AT_ONCE)
    return drawn.reshape(len(every), len(offset), *drawn.shape[1:]).swapaxes(0, 1)


def draw_mirrored(
    model: Model,
    aligned: np.ndarray,
    latents: Latents,
    ages: Sequence[np.ndarray],
    strength: Strength,
    direction: np.ndarray | float = 0.0,
) -> np.ndarray:
    """`draw_people` for the mirror images of (n, 64, 64, 3) uint8 faces, by the encoder's latents, mirrored back."""
    latent = predict(model.encoder, np.ascontiguousarray(aligned[:, :, ::-1]), batch_size=AT_ONCE)
    mirrored = replace(latents, latent=latent, offset=np.zeros_like(latents.offset))
    return draw_people(model.person_generator, mirrored, ages, strength, direction)[:, :, :, ::-1]


def draw_changes(
    model: Model, rows: Sequence[FaceRow], ages: Sequence[Age], strength: float, direction: np.ndarray
) -> np.ndarray:
    """(n, k, 64, 64, 3) float32, on the scale of uint8: what G proposes to change in each photograph for each age."""
    weights, latents = [age.weights for age in ages], latents_of(rows)
    strengths = photo_strengths(latents.age, weights, strength)
    own = draw_people(model.person_generator, latents, weights, strengths, direction)
    aligned = np.stack([row.aligned for row in rows])
    return mean_change(own, draw_mirrored(model, aligned, latents, weights, strengths, direction))


def latents_of(rows: Sequence[FaceRow]) -> Latents:
    """The latents of stored `rows`."""
    return Latents(*(np.stack([getattr(row, name) for row in rows]) for name in STORED))
