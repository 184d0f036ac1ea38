"""What a model makes of photos: each person rebuilt, and at every age."""

from collections.abc import Callable
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES, DETAILS, STRENGTH, one_hot
from faceage.model import Model
from faceage.people.draw import draw_people
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.people.options import OptimiserOptions

LATENTS = {"initial": "none", "pixel-wise": "pixel", "identity-preserving": "identity"}
"""The paper's three kinds of latents, and the optimiser's objective that each comes from."""

OPTIMISED = "identity-preserving"
"""The kind that `faceage batch` ages people with."""

_EVERY = list(one_hot(range(len(AGE_CLASSES))))


def find_latents(
    model: Model,
    faces: np.ndarray,
    kind: str = OPTIMISED,
    seed: int = 0,
    progress: Callable[[int], Any] = lambda _: None,
) -> Latents:
    """Latents of (n, 64, 64, 3) uint8 `faces`, of one of the kinds of `LATENTS`; `progress` hears of faces done."""
    return LatentOptimiser(model.fast, OptimiserOptions(objective=LATENTS[kind], seed=seed))(faces, progress)


def rebuilt(model: Model, latents: Latents) -> np.ndarray:
    """(n, 64, 64, 3) uint8: the people at their own ages."""
    return draw_people(model.person_generator, latents, [], STRENGTH)[:, 0]


def drawn(model: Model, latents: Latents, strength: float = STRENGTH) -> np.ndarray:
    """(n, 7, 64, 64, 3) uint8: the people at their own ages and in every class, as G draws them."""
    return draw_people(model.person_generator, latents, _EVERY, strength)


def aged(
    model: Model,
    faces: np.ndarray,
    latents: Latents,
    people: np.ndarray,
    strength: float = STRENGTH,
    details: float = DETAILS,
) -> np.ndarray:
    """(n, 6, 64, 64, 3) uint8: the people of (n, 64, 64, 3) `faces` in every class."""
    return people[:, 1:]
