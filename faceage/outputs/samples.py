"""Faces of people who do not exist: the paper's figure, one person per row, one age per column."""

import keras
import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, one_hot
from faceage.images import to_uint8
from faceage.networks import LATENT_SIZE
from faceage.outputs.grid import draw_grid


def sample_faces(generator: keras.Model, rows: int, seed: int) -> np.ndarray:
    """(rows, 6, 64, 64, 3) uint8: `rows` latents from N(0, I) by `seed`, each at every age."""
    latents = np.random.default_rng(seed).standard_normal((rows, LATENT_SIZE), dtype=np.float32)
    every = one_hot(range(len(AGE_CLASSES)))
    drawn = [generator.predict_on_batch([np.repeat(latent[None], len(every), axis=0), every]) for latent in latents]
    return to_uint8(np.stack(drawn))


def sample_grid(generator: keras.Model, rows: int, seed: int, scale: int = 1) -> Image.Image:
    """`sample_faces` as a labelled picture."""
    return draw_grid(sample_faces(generator, rows, seed), AGE_CLASSES, scale)
