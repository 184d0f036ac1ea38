"""Discriminator D of Age-cGAN: is this face real, and of this age?"""

import keras
from keras import layers

from faceage.ages import AGE_CLASSES
from faceage.images import FACE_SIZE
from faceage.networks.layers import BatchNormalization, LabelPlanes, leaky_relu


def discriminator(dtype: str = "float32", width: int = 64) -> keras.Model:
    """Faces (b, 64, 64, 3) in -1..1 and one-hot ages (b, 6) → logits (b, 1), float32; positive means real.

    `width` is the number of filters of the first convolution; the reference has 64 and 1,569,665 parameters.
    """
    face = keras.Input((FACE_SIZE, FACE_SIZE, 3), name="face")
    age = keras.Input((len(AGE_CLASSES),), name="age")
    x = layers.Conv2D(width, 3, 2, "same", dtype=dtype)(face)  # (b, 32, 32, 64)
    x = leaky_relu(dtype)(x)
    x = LabelPlanes(dtype=dtype)(x, age)  # (b, 32, 32, 70)
    for filters in (2 * width, 4 * width, 8 * width):
        x = layers.Conv2D(filters, 3, 2, "same", dtype=dtype)(x)
        x = BatchNormalization(dtype=dtype)(x)
        x = leaky_relu(dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)  # (b, 8192)
    logit = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model([face, age], logit, name="discriminator")
