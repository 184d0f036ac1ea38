"""The generator as published, with the up-sampling spelt out: what the folded one is compared with."""

import keras

from faceage.networks.layers import UpsampleConv


def plain_generator(folded: keras.Model) -> keras.Model:
    """The same network with the same weights, each `UpsampleConv` replaced by up-sampling and a 5×5 convolution."""

    def replace(layer):
        if not isinstance(layer, UpsampleConv):
            return layer.__class__.from_config(layer.get_config())
        policy = layer.dtype_policy
        return keras.Sequential(
            [
                keras.layers.UpSampling2D(2, interpolation="nearest", dtype=policy),
                keras.layers.Conv2D(layer.filters, 5, padding="same", dtype=policy),
            ],
            name=layer.name,
        )

    plain = keras.models.clone_model(folded, clone_function=replace)
    plain.set_weights(folded.get_weights())
    return plain
