"""Encoder E of Age-cGAN: the first guess at the latent of a face."""

import keras
from keras import layers

from faceage.networks.layers import BatchNormalization, leaky_relu
from faceage.sizes import FACE_SIZE, LATENT_SIZE


def encoder(dtype: str = "float32", width: int = 32) -> keras.Model:
    """Faces (b, 64, 64, 3) in -1..1 → latents (b, 100), float32.

    `dtype` is a Keras dtype policy; `width` the filters of the first convolution, 32 in the reference of 18,287,268
    parameters.
    """
    face = keras.Input((FACE_SIZE, FACE_SIZE, 3), name="face")
    x = layers.Conv2D(width, 5, 2, "same", dtype=dtype)(face)  # (b, 32, 32, 32)
    x = leaky_relu(dtype)(x)
    for filters in (2 * width, 4 * width, 8 * width):
        x = layers.Conv2D(filters, 5, 2, "same", dtype=dtype)(x)  # … (b, 4, 4, 256)
        x = BatchNormalization(dtype=dtype)(x)
        x = leaky_relu(dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)
    x = layers.Dense(128 * width, dtype=dtype)(x)
    x = BatchNormalization(dtype=dtype)(x)
    x = leaky_relu(dtype)(x)
    latent = layers.Dense(LATENT_SIZE, dtype="float32", name="latent")(x)
    return keras.Model(face, latent, name="encoder")
