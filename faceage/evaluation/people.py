"""What a model makes of faces: each person rebuilt, and at every age, in each way there is to draw them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras.ops import convert_to_numpy
from PIL import Image

from faceage.ages import AGE_CLASSES, STRENGTH, one_hot
from faceage.data.dataset import FaceSet
from faceage.faces.masks import head_masks
from faceage.genders import one_hot_genders
from faceage.model import Model
from faceage.people.draw import Strength, draw_mirrored, draw_people
from faceage.people.drawn import tones_of
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.people.options import OptimiserOptions
from faceage.people.re_age import ReAger, mean_change, photo_strengths
from faceage.sizes import FACE_SIZE, PORTRAIT_SIZE

LATENTS = {"initial": "none", "pixel-wise": "pixel", "identity-preserving": "identity"}
"""The paper's three kinds of latents, and the optimiser's objective that each comes from."""

OPTIMISED = "identity-preserving"
"""The kind that `faceage batch` ages people with."""

Draw = Callable[[FaceSet, Latents, float], np.ndarray]
"""Draws (n, 6, 160, 160, 3) uint8 pictures: faces, of these latents, in every age class by this strength."""

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


def drawn(
    model: Model, latents: Latents, strength: Strength = STRENGTH, direction: np.ndarray | float = 0.0
) -> np.ndarray:
    """(n, 7, 64, 64, 3) uint8: the people at their own ages and in every class, as the generator draws them."""
    return draw_people(model.person_generator, latents, _EVERY, strength, direction)


def ways_to_draw(model: Model) -> dict[str, Draw]:
    """Every way by name, the one that users see first."""

    def change(faces: FaceSet, latents: Latents, strength: float, direction: np.ndarray | float = 0.0) -> np.ndarray:
        strengths = photo_strengths(latents.age, _EVERY, strength)
        mirrored = draw_mirrored(model, faces.faces, latents, _EVERY, strengths, direction)
        return mean_change(drawn(model, latents, strengths, direction), mirrored)

    def photographs(
        faces: FaceSet, latents: Latents, strength: float, direction: np.ndarray | float = 0.0
    ) -> np.ndarray:
        masks = head_masks(faces.landmarks)
        changes = change(faces, latents, strength, direction)
        return ReAger(model.fast.re_ager)(all_portraits(faces), changes, _EVERY, masks)

    def generator(_: FaceSet, latents: Latents, strength: float) -> np.ndarray:
        return np.rint(enlarged(drawn(model, latents, strength)[:, 1:])).astype(np.uint8)

    def plain_sum(faces: FaceSet, latents: Latents, strength: float) -> np.ndarray:
        """The baseline of the other ways."""
        sums = all_portraits(faces)[:, None] + enlarged(change(faces, latents, strength))
        return np.clip(np.rint(sums), 0, 255).astype(np.uint8)

    ways: dict[str, Draw] = {}
    if model.fast.re_ager is not None:
        ways["photographs"] = photographs
        if (gender := model.gender) is not None:
            # Everybody as the gender that their label gives.
            ways["gender said"] = lambda faces, latents, strength: photographs(
                faces, latents, strength, convert_to_numpy(gender(one_hot_genders(faces.genders)))
            )
    ways |= {"generator": generator, "plain sum": plain_sum}
    return {name: _in_tones(draw) for name, draw in ways.items()}


def _in_tones(draw: Draw) -> Draw:
    """`draw` with pictures of grey and sepia photos in their tones, as `faceage batch` gives them."""

    def toned(faces: FaceSet, latents: Latents, strength: float) -> np.ndarray:
        pictures = draw(faces, latents, strength)
        for i, face in enumerate(faces.faces):
            if tones := tones_of(face):
                pictures[i] = tones.of(pictures[i])
        return pictures

    return toned


def all_portraits(faces: FaceSet) -> np.ndarray:
    """(n, 160, 160, 3) uint8 of `faces`."""
    return faces.portraits[np.arange(len(faces))]


def enlarged(faces: np.ndarray) -> np.ndarray:
    """(n, k, 64, 64, 3) of any type → (n, k, 160, 160, 3) float32, bicubically, within the range of the input."""
    size = (PORTRAIT_SIZE, PORTRAIT_SIZE)
    planes = np.moveaxis(faces, -1, 2).reshape(-1, FACE_SIZE, FACE_SIZE).astype(np.float32)
    large = np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in planes])
    large = np.clip(large, planes.min(), planes.max()).reshape(*faces.shape[:2], 3, *size)
    return np.moveaxis(large, 2, -1)
