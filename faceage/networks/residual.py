"""The small residual trunk of the compact recogniser and the age estimator."""

import keras
from keras import layers

from faceage.networks.layers import BatchNormalization, leaky_relu


def residual_trunk(face: keras.KerasTensor, width: int, blocks: tuple[int, ...], dtype: str) -> keras.KerasTensor:
    """Faces (b, 64, 64, 3) → feature maps (b, side, side, c), side 32 / 2^(stages - 1).

    One stage per entry of `blocks`, each halving the side and, after the first, doubling the channels from `width`.
    """
    x = layers.Conv2D(width, 3, 2, "same", use_bias=False, dtype=dtype)(face)  # (b, 32, 32, width)
    x = BatchNormalization(dtype=dtype)(x)
    x = leaky_relu(dtype)(x)
    for stage, count in enumerate(blocks):
        channels = width * 2**stage
        for block in range(count):
            x = _block(x, channels, 2 if block == 0 and stage > 0 else 1, dtype)
    return x


def feature_maps(network: keras.Model) -> keras.Model:
    """The same network, with the last feature map (b, h, w, c) of each size as its outputs.

    Only the network's own layers count: `inception-resnet-v2`, whose trunk is one layer, has just the enlarged face.
    """
    maps = {layer.output.shape[1]: layer.output for layer in network.layers[1:] if len(layer.output.shape) == 4}
    return keras.Model(network.input, list(maps.values()))


def _block(x: keras.KerasTensor, channels: int, stride: int, dtype: str) -> keras.KerasTensor:
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        if stride > 1:
            shortcut = layers.AveragePooling2D(stride, dtype=dtype)(shortcut)
        shortcut = layers.Conv2D(channels, 1, use_bias=False, dtype=dtype)(shortcut)
        shortcut = BatchNormalization(dtype=dtype)(shortcut)
    x = layers.Conv2D(channels, 3, stride, "same", use_bias=False, dtype=dtype)(x)
    x = BatchNormalization(dtype=dtype)(x)
    x = leaky_relu(dtype)(x)
    x = layers.Conv2D(channels, 3, 1, "same", use_bias=False, dtype=dtype)(x)
    # Starting each block as the identity lets a deep trunk train at a high rate from the first step.
    x = BatchNormalization(gamma_initializer="zeros", dtype=dtype)(x)
    x = layers.Add(dtype=dtype)([x, shortcut])
    return leaky_relu(dtype)(x)
