"""Differentiable augmentation of faces, for the discriminators, the recogniser and the optimiser."""

import keras
import numpy as np
from keras import ops

from faceage.sizes import FACE_SIZE


def shift_and_flip(faces, seed: keras.random.SeedGenerator, shift: int = 4, flip: bool = True):
    """Shift each of (b, 64, 64, c) by up to `shift` whole pixels, with repeated edges, and mirror half of them.

    This multiplies by a selection matrix per axis instead of gathering: the gradient is a matrix product as well,
    several times faster than a scatter.
    """
    batch = ops.shape(faces)[0]
    pixels = ops.arange(FACE_SIZE)
    dy, dx = (keras.random.randint((batch, 1), -shift, shift + 1, seed=seed) for _ in range(2))
    rows = ops.clip(pixels[None] + dy, 0, FACE_SIZE - 1)
    columns = ops.clip(pixels[None] + dx, 0, FACE_SIZE - 1)
    if flip:
        mirrored = keras.random.uniform((batch, 1), seed=seed) < 0.5
        columns = ops.where(mirrored, FACE_SIZE - 1 - columns, columns)
    select_rows = ops.one_hot(rows, FACE_SIZE, dtype=faces.dtype)  # (b, 64 to, 64 from)
    select_columns = ops.one_hot(columns, FACE_SIZE, dtype=faces.dtype)
    channels = faces.shape[-1]
    faces = ops.matmul(select_rows, ops.reshape(faces, (-1, FACE_SIZE, FACE_SIZE * channels)))
    faces = ops.reshape(faces, (-1, FACE_SIZE, FACE_SIZE, channels))
    return ops.einsum("btw,bhwc->bhtc", select_columns, faces)


def brightness_and_contrast(faces, seed: keras.random.SeedGenerator, amount: float = 0.2):
    """Scale each face's contrast about its mean by 1 ± `amount`, and shift its brightness by ± `amount`."""
    batch = ops.shape(faces)[0]
    factor, offset = (
        keras.random.uniform((batch, 1, 1, 1), -amount, amount, dtype=faces.dtype, seed=seed) for _ in range(2)
    )
    mean = ops.mean(faces, axis=(1, 2, 3), keepdims=True)
    return (faces - mean) * (1 + factor) + mean + offset


def erase(faces, seed: keras.random.SeedGenerator, size: int = 24):
    """Replace a random square of `size` pixels of each face by grey (DeVries & Taylor 2017)."""
    batch = ops.shape(faces)[0]
    pixels = ops.arange(FACE_SIZE)
    rows, columns = (
        ops.logical_and(pixels[None] >= first, pixels[None] < first + size)
        for first in (keras.random.randint((batch, 1), 1 - size, FACE_SIZE, seed=seed) for _ in range(2))
    )
    erased = ops.logical_and(rows[:, :, None], columns[:, None, :])
    return faces * ops.cast(ops.logical_not(erased), faces.dtype)[..., None]


def view(faces, seed: keras.random.SeedGenerator, shift: int = 4):
    """The augmentation of most training faces (Zhao et al. 2020, with small amplitudes)."""
    return brightness_and_contrast(shift_and_flip(faces, seed, shift), seed)


def affine_views(pictures, seed: keras.random.SeedGenerator, side: int, turn: float, scale: tuple[float, float]):
    """A random square of `side` pixels of each of (b, h, h, c), rotated, scaled and mirrored, with repeated edges.

    The angle is up to `turn` radians, the factor between those of `scale`. Pixels are gathered, since TensorFlow
    approximates the gradient of its own affine transform: twice too large, and spread over pixels that no view shows.
    """
    batch, height = ops.shape(pictures)[0], pictures.shape[1]

    def uniform(least, most):
        return keras.random.uniform((batch, 1, 1), least, most, seed=seed)

    angle, size = uniform(-turn, turn), ops.exp(uniform(np.log(scale[0]), np.log(scale[1])))
    mirror = ops.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    room = ops.maximum(height - side / size, 0.0) / 2
    # The middle of the view, and the place of each of its pixels, among the pixels of the picture.
    across, down = ((height - 1) / 2 + room * uniform(-1.0, 1.0) for _ in range(2))
    place = ops.arange(side, dtype="float32") - (side - 1) / 2
    x, y = place[None, None, :], place[None, :, None]
    cos, sin = ops.cos(angle) / size, ops.sin(angle) / size
    columns = ops.clip(across + mirror * cos * x - sin * y, 0, height - 1)
    rows = ops.clip(down + mirror * sin * x + cos * y, 0, height - 1)
    left, top = (ops.minimum(ops.floor(place), height - 2) for place in (columns, rows))
    first = ops.arange(batch)[:, None, None] * height**2 + ops.cast(top * height + left, "int32")
    pixels = ops.reshape(pictures, (-1, pictures.shape[-1]))
    upper_left, upper_right, lower_left, lower_right = (
        ops.take(pixels, first + offset, axis=0) for offset in (0, 1, height, height + 1)
    )
    right, bottom = (columns - left)[..., None], (rows - top)[..., None]
    upper = upper_left + right * (upper_right - upper_left)
    lower = lower_left + right * (lower_right - lower_left)
    return upper + bottom * (lower - upper)
