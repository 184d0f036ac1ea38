"""Several people that one child may become: equally like the photo to the recogniser, and different to look at.

What a photo says of z is what the recogniser sees of the face, and z ~ N(0, I) otherwise. So near the z that was found,
plausible people lie as N(z, Σ) with Σ = (I + JᵀJ / σ²)⁻¹, J the recogniser's Jacobian (Laplace's approximation). The
directions of Σ in which the drawn adult changes most are the alternatives: ± the first, then ± the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from faceage.ages import Age, towards, years_of
from faceage.faces.growth import growth, warp
from faceage.faces.masks import aligned_landmarks, head_mask
from faceage.images import to_float
from faceage.model import Model
from faceage.networks.predict import in_batches, predict
from faceage.people.draw import AT_ONCE, draw_people, gender_direction, latents_of
from faceage.people.drawn import tones_of
from faceage.people.options import ADULT_STRENGTH
from faceage.people.re_age import ReAger, mean_change
from faceage.pictures.grid import resize
from faceage.sizes import FACE_SIZE, LATENT_SIZE, PORTRAIT_SIZE
from faceage.store.latents import FaceRow

SPARED = 0.1
"""An alternative may be further from the photo than the face that was found by at most this identity distance."""

_ADULT = Age("35")
"""The age at which alternatives are to differ, whatever ages are drawn, so that they stay the same people."""
_STEP = 0.5
"""Of the differences that stand for derivatives."""
_IDENTITY, _TONE = 0.1, 0.1
"""σ of the recogniser's embedding, and of the colours of large areas: light is no feature of a face."""
_GENDER = 0.1
"""The same of a step towards a gender that is said, in units of z."""
_LARGE = 8
"""Pixels of 64: how large an area has to be to count as light."""
_FAR = 2.0
"""Standard deviations between the person found and an alternative."""
_SAID = 1.6
"""How far towards a gender that is said: by 1, every third boy below 4 is seen as a woman."""
_NEARER = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of that, tried in this order until `SPARED` holds."""


@dataclass(frozen=True)
class Adult:
    """One alternative at k ages: `pictures` (k, s, s, 3) uint8, and the identity distance (k,) of each to the photo."""

    pictures: np.ndarray
    distances: np.ndarray


class Spread:
    """Draws the people that one child may become."""

    def __init__(self, model: Model, gender: str | None = None) -> None:
        """`gender` is as of `PeoplePainter`: no alternative is of the other."""
        self._model = model
        self._gender = _SAID * gender_direction(model, gender)
        re_ager = model.fast.re_ager
        self._re_ager = None if re_ager is None else ReAger(re_ager)

    def __call__(self, row: FaceRow, ages: Sequence[Age], count: int, strength: float = ADULT_STRENGTH) -> list[Adult]:
        """The first `count`, at most `MOST_ADULTS`, of the people that the one of `row` may be at `ages`.

        The likeliest first, and the same for the same row and weights, whatever `ages` there are.
        """
        photo = row.photo
        landmarks = aligned_landmarks(row.transform, row.landmarks)
        mask = head_mask(landmarks, PORTRAIT_SIZE)
        own, to = float(years_of(row.age)), [float(years_of(age.weights)) for age in ages]
        people = self._people(row, mask, count, strength)
        changes = self._changes(row, people, ages, strength)
        if self._re_ager is not None and row.portrait:
            weights = [age.weights for age in ages]
            each = (count, 1, 1, 1)
            drawn = self._re_ager(np.tile(photo[None], each), changes, weights, np.tile(mask[None], each))
        else:
            drawn = np.clip(np.rint(row.aligned + changes), 0, 255).astype(np.uint8)
        builds = [0, *(1 if i % 2 else -1 for i in range(1, count))]
        grown = np.stack([
            [warp(picture, growth(landmarks, own, years, build)) for picture, years in zip(pictures, to, strict=True)]
            for pictures, build in zip(drawn, builds, strict=True)
        ])  # fmt: skip
        if (tones := tones_of(row.aligned)) is not None:
            grown = tones.of(grown)
        return [Adult(*each) for each in zip(grown, self._distances(row, grown), strict=True)]

    def _people(self, row: FaceRow, mask: np.ndarray, count: int, strength: float) -> np.ndarray:
        """(count, 100): shifts of z, the first zero."""
        shifts = np.zeros((count, LATENT_SIZE), np.float32)
        if count == 1:
            return shifts
        directions = self._directions(row, mask, strength)
        for i in range(1, count):
            way = directions[(i - 1) // 2] * (1 if i % 2 else -1)
            shifts[i] = way * self._far(row, way)
        return shifts

    def _directions(self, row: FaceRow, mask: np.ndarray, strength: float) -> np.ndarray:
        """(2, 100): `_FAR` standard deviations of plausible people in the two ways that show most in the adult."""
        steps = np.concatenate([np.zeros((1, LATENT_SIZE)), _STEP * np.eye(LATENT_SIZE)]).astype(np.float32)
        face = self._draw(row, steps, row.age)
        adult = self._draw(row, steps + self._gender, towards(row.age, _ADULT.weights, strength))
        seen = [self._embed(faces) for faces in (face, adult)]
        pixels = np.asarray(resize((mask * 255).astype(np.uint8).repeat(3, axis=2), FACE_SIZE))[..., :1] / 255
        look = _derivatives(adult) * pixels
        # What is different in both halves of the face; the rest is light from one side, or a turn of the head.
        look = (look + look[:, :, ::-1]) / 2
        tone = gaussian_filter(look, (0, _LARGE, _LARGE, 0))
        features = (look - tone).reshape(LATENT_SIZE, -1)
        tones = tone[:, _LARGE // 2 :: _LARGE, _LARGE // 2 :: _LARGE].reshape(LATENT_SIZE, -1)
        gender = self._gender[:, None] / max(float(np.linalg.norm(self._gender)), 1e-6)
        known = [*(_derivatives(each) / _IDENTITY for each in seen), tones / _TONE, gender / _GENDER]
        root = np.linalg.cholesky(np.linalg.inv(np.eye(LATENT_SIZE) + sum(each @ each.T for each in known)))
        _, _, ways = np.linalg.svd(features.T @ root, full_matrices=False)
        ways = ways[:2] @ root.T
        # A singular vector's sign is the library's choice.
        return _FAR * ways * np.sign(ways[np.arange(2), np.abs(ways).argmax(1)])[:, None]

    def _far(self, row: FaceRow, way: np.ndarray) -> float:
        """The share of `way` that keeps the person at their own age as near to the photo as `SPARED` says."""
        shares = np.array(_NEARER, np.float32)[:, None]
        photo = self._embed(to_float(row.aligned[None]))
        distances = np.linalg.norm(self._embed(self._draw(row, shares * way, row.age)) - photo, axis=1)
        return float(shares[distances <= distances[-1] + SPARED][0, 0])

    def _changes(self, row: FaceRow, people: np.ndarray, ages: Sequence[Age], strength: float) -> np.ndarray:
        """(count, k, 64, 64, 3) float32: how each, at k ages, differs from the person found at their own age."""
        latents, weights = latents_of([row] * len(people)), [age.weights for age in ages]
        mirrored = predict(self._model.encoder, row.aligned[None, :, ::-1], batch_size=AT_ONCE)

        def faces(latent: np.ndarray, offset: np.ndarray) -> np.ndarray:
            moved = replace(latents, latent=latent + people, offset=offset)
            drawn = draw_people(self._model.person_generator, moved, weights, strength, self._gender)
            # All are laid over one photo.
            drawn[:, 0] = drawn[0, 0]
            return drawn

        there = faces(latents.latent, latents.offset)
        back = faces(mirrored, np.zeros_like(latents.offset))[:, :, :, ::-1]
        return mean_change(there, back)

    def _distances(self, row: FaceRow, grown: np.ndarray) -> np.ndarray:
        """(count, k): how far each of `grown` (count, k, s, s, 3) is from the photo."""
        small = np.stack([np.asarray(resize(picture, FACE_SIZE)) for pictures in grown for picture in pictures])
        photo, *others = self._embed(to_float(np.concatenate([row.aligned[None], small])))
        return np.linalg.norm(np.stack(others) - photo, axis=1).reshape(grown.shape[:2])

    def _draw(self, row: FaceRow, shifts: np.ndarray, age: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) float32 in -1..1: the person of `row` with z moved by `shifts` (n, 100), at `age` (6,)."""
        count = len(shifts)
        columns = [row.latent + shifts, np.tile(age, (count, 1)), np.tile(row.offset.astype(np.float32), (count, 1))]
        call = self._model.person_generator.predict_on_batch
        return np.concatenate(list(in_batches(lambda *batch: call(list(batch)), columns, AT_ONCE)))

    def _embed(self, faces: np.ndarray) -> np.ndarray:
        return np.concatenate(list(in_batches(self._model.recognizer.predict_on_batch, [faces], AT_ONCE)))


def one_of(rows: Sequence[FaceRow], model: Model, threshold: float) -> tuple[FaceRow, list[FaceRow]]:
    """One person of the faces `rows` in several photos, and those that the recogniser takes for other people.

    The latents are the mean of those of the rest. The photo shown is the one nearest to the others; `threshold` is the
    identity distance below which two faces are one person.
    Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("there is no face")
    faces = to_float(np.stack([row.aligned for row in rows]))
    seen = np.concatenate(list(in_batches(model.recognizer.predict_on_batch, [faces], AT_ONCE)))
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    middle = int(apart.sum(1).argmin())
    near = apart[middle] < threshold
    for source in {row.source for row in rows}:
        # Two faces of one photo are two people.
        here = [i for i, row in enumerate(rows) if row.source == source]
        near[here] &= np.equal(here, min(here, key=lambda i: apart[middle, i]))
    kept, others = ([row for row, one in zip(rows, near, strict=True) if bool(one) is same] for same in (True, False))
    latents = latents_of(kept)
    names = {"age": "age", "latent_initial": "initial", "latent": "latent", "offset": "offset"}
    means = {column: getattr(latents, name).mean(0, dtype=np.float32) for column, name in names.items()}
    return replace(rows[middle], **means, identity_distance=latents.distance.mean(0)), others


def _derivatives(values: np.ndarray) -> np.ndarray:
    """(100, …) differences per unit of z for `values` (101, …): at z, and at a step along each of its axes."""
    return (values[1:] - values[:1]) / _STEP
