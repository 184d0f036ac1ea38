"""Generator G of Age-cGAN: (z, y) → face (Antipov, Baccouche & Dugelay 2017, after DCGAN)."""

import keras
from keras import layers

from faceage.ages import AGE_CLASSES
from faceage.networks.layers import BatchNormalization, UpsampleConv, dropout, leaky_relu
from faceage.sizes import LATENT_SIZE


def generator(dtype: str = "float32", width: int = 256) -> keras.Model:
    """Latents (b, 100) and age weights (b, 6) → faces (b, 64, 64, 3), float32 in -1..1.

    `dtype` is a Keras dtype policy; `width` the number of channels at 8×8, 256 in the reference of 34,885,251
    parameters.
    """
    latent = keras.Input((LATENT_SIZE,), name="latent")
    age = keras.Input((len(AGE_CLASSES),), name="age")
    x = layers.Concatenate(dtype=dtype)([latent, age])
    x = layers.Dense(8 * width, dtype=dtype)(x)
    x = leaky_relu(dtype)(x)
    x = dropout(0.2, dtype)(x)
    x = layers.Dense(8 * 8 * width, dtype=dtype)(x)
    x = BatchNormalization(dtype=dtype)(x)
    x = leaky_relu(dtype)(x)
    x = dropout(0.2, dtype)(x)
    x = layers.Reshape((8, 8, width), dtype=dtype)(x)
    for filters in (width // 2, width // 4):
        x = UpsampleConv(filters, dtype=dtype)(x)  # (b, 16, 16, 128), then (b, 32, 32, 64)
        x = BatchNormalization(momentum=0.8, dtype=dtype)(x)
        x = leaky_relu(dtype)(x)
    x = UpsampleConv(3, dtype=dtype)(x)  # (b, 64, 64, 3)
    face = layers.Activation("tanh", dtype="float32", name="face")(x)
    return keras.Model([latent, age], face, name="generator")


def with_offset(network: keras.Model) -> keras.Model:
    """A generator with a third input: offsets (b, 8·width) that are added to the output of its first dense layer.

    z and the age meet in that layer, so that an offset describes a person in more detail than z and leaves age to y.
    """
    first = next(layer for layer in network.layers if isinstance(layer, layers.Dense)).output
    offset = keras.Input(first.shape[1:], name="offset")
    rest = keras.Model(first, network.output)
    return keras.Model([*network.inputs, offset], rest(layers.Add(dtype="float32")([first, offset])))
