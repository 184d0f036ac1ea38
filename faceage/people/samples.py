"""Faces at every age: of people who do not exist, as in the paper's figure, and of real ones. One person per row."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.dataset import FaceSet
from faceage.networks.predict import draw, predict, random_latents
from faceage.pictures.grid import draw_grid

_EVERY_AGE = one_hot(range(len(AGE_CLASSES)))


def sample_faces(generator: keras.Model, rows: int, seed: int, ages: np.ndarray = _EVERY_AGE) -> np.ndarray:
    """(rows, k, 64, 64, 3) uint8: `rows` latents from N(0, I) by `seed`, each at all `ages`, (k, 6) weights."""
    latents = random_latents(rows, seed)
    drawn = draw(generator, np.repeat(latents, len(ages), axis=0), np.tile(ages, (rows, 1)))
    return drawn.reshape(rows, len(ages), *drawn.shape[1:])


def sample_grid(
    generator: keras.Model,
    rows: int,
    seed: int,
    scale: int = 1,
    ages: np.ndarray = _EVERY_AGE,
    labels: Sequence[str] = AGE_CLASSES,
) -> Image.Image:
    """`sample_faces` as a labelled picture."""
    return draw_grid(sample_faces(generator, rows, seed, ages), labels, scale)


WALK_STEPS = 24
"""Pictures from one person of a walk to the next."""


def walk_latents(people: int, seed: int, steps: int = WALK_STEPS) -> np.ndarray:
    """(people · steps, 100) float32: a closed walk by the `people` latents that `sample_faces` draws by `seed`.

    From one to the next on the sphere (White 2016): along a straight line the latents in between would be shorter than
    any from N(0, I), and look like nobody. It slows down at each, so that it has no corners.
    """
    stops = random_latents(people, seed)
    way = (1 - np.cos(np.pi * np.arange(steps) / steps)) / 2  # (steps,), 0 to below 1
    legs = zip(stops, np.roll(stops, -1, axis=0), strict=True)
    return np.concatenate([_on_the_sphere(a, b, way) for a, b in legs]).astype(np.float32)


def _on_the_sphere(a: np.ndarray, b: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(k, n) points on the arc from `a` to `b`, (n,), at the shares `way` (k,) of its angle."""
    cosine = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    angle = np.arccos(np.clip(cosine, -1, 1))
    # One and the same, or opposite: there is no arc, or no single one.
    if np.sin(angle) < 1e-6:
        return (1 - way)[:, None] * a + way[:, None] * b
    return (np.sin((1 - way) * angle)[:, None] * a + np.sin(way * angle)[:, None] * b) / np.sin(angle)


def walk_frames(
    generator: keras.Model, people: int, seed: int, ages: np.ndarray, labels: Sequence[str], scale: int = 1
) -> Iterator[Image.Image]:
    """The frames of a walk through `people` random people, each with the person of the moment at `ages` (k, 6)."""
    for latent in walk_latents(people, seed):
        drawn = draw(generator, np.repeat(latent[None], len(ages), axis=0), ages, batch_size=len(ages))
        yield draw_grid(drawn[None], labels, scale)


def aged_grid(encoder: keras.Model, generator: keras.Model, faces: FaceSet, rows: int) -> Image.Image:
    """The first `rows` of `faces`: the face, what G draws from E's latent at its age, and at every age."""
    shown = faces.first(rows)
    latents = predict(encoder, shown.faces)
    every = range(len(AGE_CLASSES))
    ages = np.stack([one_hot([own, *every]) for own in shown.classes])  # (rows, 7, 6)
    repeated = np.repeat(latents, ages.shape[1], axis=0)
    drawn = draw(generator, repeated, ages.reshape(-1, len(AGE_CLASSES)))
    drawn = drawn.reshape(*ages.shape[:2], *shown.faces.shape[1:])
    return draw_grid(np.concatenate([shown.faces[:, None], drawn], axis=1), ("photo", "rebuilt", *AGE_CLASSES))
