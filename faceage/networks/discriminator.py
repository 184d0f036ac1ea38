"""Discriminators, real or generated: D of Age-cGAN, one on the features of frozen networks, one of places."""

from collections.abc import Sequence

import keras
from keras import layers

from faceage.ages import AGE_CLASSES
from faceage.networks.layers import BatchNormalization, LabelPlanes, leaky_relu
from faceage.networks.residual import feature_maps
from faceage.sizes import FACE_SIZE

_PLACES = 4
"""Side of the grid of places that each head of a projected discriminator judges."""


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


def projected_discriminator(
    eyes: Sequence[keras.Model], labels: int, dtype: str = "float32", width: int = 64
) -> keras.Model:
    """Faces (b, 64, 64, 3) in -1..1 and (b, labels) → logits (b, 16·heads), float32; positive means real.

    Its inputs are the pixels and the feature maps of the frozen networks `eyes`, with which it needs far fewer training
    steps than on pixels alone (Sauer et al. 2021). Each map has a head of `width` filters that judges 4×4 places;
    labels enter as a product with the features of a place (Miyato & Koyama 2018). There is no batch normalisation, by
    whose statistics it would know a batch of generated faces without looking at any of them.
    """
    face = keras.Input((FACE_SIZE, FACE_SIZE, 3), name="face")
    label = keras.Input((labels,), name="label")
    inputs = [face]
    for eye in eyes:
        maps = feature_maps(eye)
        maps.trainable = False
        inputs += maps(face)
    logits = []
    for x in inputs:
        while x.shape[1] > _PLACES:
            x = layers.Conv2D(width, 3, 2, "same", dtype=dtype)(x)
            x = leaky_relu(dtype)(x)
        x = layers.Conv2D(width, 3, 1, "same", dtype=dtype)(x)
        x = leaky_relu(dtype)(x)
        x = layers.Reshape((_PLACES**2, width), dtype="float32")(x)
        looks_real = layers.Flatten(dtype="float32")(layers.Dense(1, dtype="float32")(x))
        looks_right = layers.Dot((2, 1), dtype="float32")([x, layers.Dense(width, dtype="float32")(label)])
        logits.append(layers.Add(dtype="float32")([looks_real, looks_right]))  # (b, 16)
    return keras.Model([face, label], layers.Concatenate(dtype="float32")(logits), name="projected_discriminator")


def patch_discriminator(
    sides: Sequence[int], labels: int, dtype: str = "float32", widths: tuple[int, ...] = (32, 64, 96, 128)
) -> keras.Model:
    """Pictures (b, side, side, 3) in -1..1 for each of `sides`, and (b, labels) → logits (b, places), float32.

    Positive means real. Every picture has convolutions of its own, `widths` filters at each halving, which judge its
    places one by one (Isola et al. 2017); labels enter as a product with a place's features (Miyato & Koyama 2018).
    """
    pictures = [keras.Input((side, side, 3)) for side in sides]
    label = keras.Input((labels,), name="label")
    logits = []
    for x in pictures:
        for width in widths:
            x = leaky_relu(dtype)(layers.Conv2D(width, 4, 2, "same", dtype=dtype)(x))
        x = leaky_relu(dtype)(layers.Conv2D(width, 3, 1, "same", dtype=dtype)(x))
        x = layers.Reshape((-1, width), dtype="float32")(x)
        looks_real = layers.Flatten(dtype="float32")(layers.Dense(1, dtype="float32")(x))
        asked = layers.Dense(width, use_bias=False, dtype="float32")(label)
        looks_right = layers.Rescaling(width**-0.5, dtype="float32")(layers.Dot((2, 1), dtype="float32")([x, asked]))
        logits.append(layers.Add(dtype="float32")([looks_real, looks_right]))
    return keras.Model([*pictures, label], layers.Concatenate(dtype="float32")(logits), name="patch_discriminator")
