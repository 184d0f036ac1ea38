"""Random views of a face, differentiable: what the discriminator, the recogniser and the optimiser look at."""

import keras
import numpy as np
from keras import ops

from faceage.images import FACE_SIZE


def shift_and_flip(faces, seed: keras.random.SeedGenerator, shift: int = 4, flip: bool = True):
    """Each of (b, 64, 64, c) moved by up to `shift` whole pixels each way, half of them mirrored; edges are repeated.

    A selection matrix per axis instead of a gather: its gradient is a matrix product too, which is several times faster
    than a scatter.
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
    """Each face's contrast times 1 ± `amount` about its mean, then its brightness plus or minus `amount`."""
    batch = ops.shape(faces)[0]
    factor, offset = (
        keras.random.uniform((batch, 1, 1, 1), -amount, amount, dtype=faces.dtype, seed=seed) for _ in range(2)
    )
    mean = ops.mean(faces, axis=(1, 2, 3), keepdims=True)
    return (faces - mean) * (1 + factor) + mean + offset


def erase(faces, seed: keras.random.SeedGenerator, size: int = 24):
    """Each face without one random square of `size` pixels, which becomes grey (DeVries & Taylor 2017)."""
    batch = ops.shape(faces)[0]
    pixels = ops.arange(FACE_SIZE)
    rows, columns = (
        ops.logical_and(pixels[None] >= first, pixels[None] < first + size)
        for first in (keras.random.randint((batch, 1), 1 - size, FACE_SIZE, seed=seed) for _ in range(2))
    )
    erased = ops.logical_and(rows[:, :, None], columns[:, None, :])
    return faces * ops.cast(ops.logical_not(erased), faces.dtype)[..., None]


def view(faces, seed: keras.random.SeedGenerator, shift: int = 4):
    """The augmentation of everything that a network in training sees (Zhao et al. 2020, small amplitudes)."""
    return brightness_and_contrast(shift_and_flip(faces, seed, shift), seed)


def affine_views(pictures, seed: keras.random.SeedGenerator, side: int, turn: float, scale: tuple[float, float]):
    """A square of `side` pixels out of each of (b, h, h, 3), turned, scaled, shifted and mirrored at random.

    Turned by up to `turn` radians and by a factor between those of `scale`; what lies outside is repeated edge.
    """
    batch, height = ops.shape(pictures)[0], pictures.shape[1]

    def uniform(least, most):
        return keras.random.uniform((batch,), least, most, seed=seed)

    angle, size = uniform(-turn, turn), ops.exp(uniform(np.log(scale[0]), np.log(scale[1])))
    mirror = ops.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    # From the view's pixels to the picture's: the affine transform is asked for what lies at each of its own.
    cos, sin = ops.cos(angle) / size, ops.sin(angle) / size
    room = ops.maximum(height - side / size, 0.0) / 2
    across, down = (height / 2 + room * uniform(-1.0, 1.0) for _ in range(2))
    a, b, d, e = mirror * cos, -sin, mirror * sin, cos
    half = side / 2
    zero = ops.zeros_like(a)
    transforms = ops.stack([a, b, across - half * (a + b), d, e, down - half * (d + e), zero, zero], axis=1)
    views = ops.image.affine_transform(
        pictures, transforms, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
    )
    return views[:, :side, :side]


def blurred(pictures):
    """(b, h, w, c) through a binomial filter of 5 taps each way."""
    taps = ops.convert_to_tensor(np.array([1, 4, 6, 4, 1], np.float32) / 16)
    channels = pictures.shape[-1]
    for shape in ((5, 1, 1, 1), (1, 5, 1, 1)):
        kernel = ops.broadcast_to(ops.reshape(taps, shape), (*shape[:2], channels, 1))
        pictures = ops.depthwise_conv(pictures, kernel, padding="same", data_format="channels_last")
    return pictures
