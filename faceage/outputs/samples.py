"""Faces at every age: of people who do not exist, as in the paper's figure, and of real ones. One person per row."""

import keras
import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.dataset import FaceSet
from faceage.networks.predict import draw, predict, random_latents
from faceage.outputs.grid import draw_grid


def sample_faces(generator: keras.Model, rows: int, seed: int) -> np.ndarray:
    """(rows, 6, 64, 64, 3) uint8: `rows` latents from N(0, I) by `seed`, each at every age."""
    latents = random_latents(rows, seed)
    every = np.tile(one_hot(range(len(AGE_CLASSES))), (rows, 1))
    drawn = draw(generator, np.repeat(latents, len(AGE_CLASSES), axis=0), every)
    return drawn.reshape(rows, len(AGE_CLASSES), *drawn.shape[1:])


def sample_grid(generator: keras.Model, rows: int, seed: int, scale: int = 1) -> Image.Image:
    """`sample_faces` as a labelled picture."""
    return draw_grid(sample_faces(generator, rows, seed), AGE_CLASSES, scale)


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
