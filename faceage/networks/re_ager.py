"""Re-ager R: draws the photograph of an age, at the photo's resolution, from what G knows of that age at 64 pixels."""

import keras
from keras import layers

from faceage.ages import AGE_CLASSES
from faceage.networks.layers import Modulate, SpaceToDepth, leaky_relu
from faceage.sizes import PORTRAIT_SIZE

_LAST = 1 / 16
"""Of what the last convolution sees."""


def re_ager(
    dtype: str = "float32",
    widths: tuple[int, ...] = (32, 64, 128, 192),
    depths: tuple[int, ...] = (1, 2, 2, 3),
    size: int = PORTRAIT_SIZE,
) -> keras.Model:
    """Portraits (b, 160, 160, 3) in -1..1 with G's change laid over them, and ages (b, 6) → what to add, as large.

    `dtype` is a Keras dtype policy; `widths` are the channels at a half, a quarter, … of the resolution and `depths`
    the residual blocks there, on the way down and again on the way up. A U-Net (Ronneberger et al. 2015) whose blocks
    are modulated by the age (FiLM, Perez et al. 2018), without normalisation, and with bilinear up-sampling: pixel
    shuffle leaves a grid. All but the last convolution work at half the resolution and below.
    """
    portrait = keras.Input((size, size, 3), name="portrait")
    age = keras.Input((len(AGE_CLASSES),), name="age")
    condition = age
    for _ in range(2):
        condition = layers.Dense(128, activation="silu", dtype=dtype)(condition)

    def residuals(x, level):
        for _ in range(depths[level]):
            x = _residual(x, condition, dtype)
        return x

    def up(x):
        return layers.UpSampling2D(2, interpolation="bilinear", dtype=dtype)(x)

    x = SpaceToDepth(2, dtype=dtype)(portrait)  # (b, 80, 80, 12)
    x = _conv(widths[0], 3, dtype)(x)
    skips = []
    for level in range(len(widths) - 1):
        x = residuals(x, level)
        skips.append(x)
        x = layers.Conv2D(widths[level + 1], 2, 2, dtype=dtype)(x)
    x = residuals(x, -1)  # (b, 10, 10, 192)
    for level in reversed(range(len(widths) - 1)):
        x = up(_conv(widths[level], 1, dtype)(x))
        x = _conv(widths[level], 1, dtype)(layers.Concatenate(dtype=dtype)([x, skips[level]]))
        x = residuals(x, level)
    x = leaky_relu(dtype)(_conv(24, 3, dtype)(leaky_relu(dtype)(x)))
    x = layers.Concatenate(dtype=dtype)([up(x), portrait])  # (b, 160, 160, 27)
    # Scaled down, or a step of Adam in this one layer moves every pixel by more than an age does.
    x = layers.Rescaling(_LAST, dtype=dtype)(x)
    small = keras.initializers.RandomNormal(stddev=2e-3 / _LAST, seed=0)
    x = layers.Conv2D(3, 3, padding="same", kernel_initializer=small, dtype=dtype)(x)
    return keras.Model([portrait, age], layers.Activation("linear", dtype="float32", name="added")(x), name="re_ager")


def _conv(filters: int, size: int, dtype: str, **kwargs) -> keras.layers.Layer:
    return layers.Conv2D(filters, size, padding="same", dtype=dtype, **kwargs)


def _residual(x: keras.KerasTensor, condition: keras.KerasTensor, dtype: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    h = _conv(channels, 3, dtype)(leaky_relu(dtype)(x))
    h = Modulate(dtype=dtype)([h, layers.Dense(2 * channels, kernel_initializer="zeros", dtype=dtype)(condition)])
    # Beginning as the identity, as does the modulation.
    h = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros", dtype=dtype)(leaky_relu(dtype)(h))
    return layers.Add(dtype=dtype)([x, h])
