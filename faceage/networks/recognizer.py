"""Face recognisers FR: aligned face → unit embedding. Identity distance is the distance of two embeddings."""

import keras
from keras import layers, ops

from faceage.networks.residual import feature_maps, residual_trunk
from faceage.sizes import FACE_SIZE

EMBEDDING_SIZE = 128

RECOGNIZERS = ("compact", "inception-resnet-v2")

IMAGENET = "imagenet"
"""Stands for the weights of Keras Applications, which Keras downloads and checks."""

_INCEPTION_SIDE = 160


def recognizer(kind: str = "compact", dtype: str = "float32", backbone: str | None = None) -> keras.Model:
    """Faces (b, 64, 64, 3) in -1..1 → embeddings (b, 128) of length 1, float32. `kind` is one of `RECOGNIZERS`.

    `inception-resnet-v2` (Keras Applications, average pooling, dense 128; 54,533,472 parameters) is the reference; it
    enlarges faces to 160×160. `backbone` are the initial weights of its trunk: None for random ones, `IMAGENET`, or a
    file in the layout of Keras Applications without the top.
    """
    face = keras.Input((FACE_SIZE, FACE_SIZE, 3), name="face")
    if kind == "compact":
        features = residual_trunk(face, width=32, blocks=(2, 2, 2, 3), dtype=dtype)  # (b, 4, 4, 256)
        # Flattened, not averaged: in aligned faces, the position of a feature tells people apart.
        features = layers.Flatten(dtype=dtype)(features)
    elif kind == "inception-resnet-v2":
        features = _inception_resnet_v2(face, dtype, backbone)
    else:
        raise ValueError(f"recogniser {kind!r} is none of {', '.join(RECOGNIZERS)}")
    embedding = layers.Dense(EMBEDDING_SIZE, dtype="float32")(features)
    embedding = layers.UnitNormalization(dtype="float32", name="embedding")(embedding)
    return keras.Model(face, embedding, name="recognizer")


def identity_distance(a, b):
    """Euclidean distance of (b, n) embeddings, (b,); the small constant keeps its gradient finite at zero."""
    return ops.sqrt(ops.sum(ops.square(a - b), axis=-1) + 1e-8)


def with_features(network: keras.Model) -> keras.Model:
    """A recogniser with outputs [*`feature_maps`, embedding]."""
    return keras.Model(network.input, [*feature_maps(network).outputs, network.output])


def feature_difference(one, other):
    """Mean squared distance (b,), 0..4, of two lists of feature maps (b, h, w, c), normalised at each pixel.

    This is LPIPS (Zhang et al. 2018) without learnt weights.
    """
    total = 0.0
    for a, b in zip(one, other, strict=True):
        a, b = (features * ops.rsqrt(ops.sum(ops.square(features), -1, keepdims=True) + 1e-6) for features in (a, b))
        total += ops.mean(ops.sum(ops.square(ops.cast(a - b, "float32")), axis=-1), axis=(1, 2))
    return total / len(one)


def kind_of(network: keras.Model) -> str:
    """Which of `RECOGNIZERS` a recogniser is."""
    return RECOGNIZERS[any(layer.name.startswith("inception_resnet_v2") for layer in network.layers)]


def _inception_resnet_v2(face: keras.KerasTensor, dtype: str, backbone: str | None) -> keras.KerasTensor:
    enlarged = layers.Resizing(_INCEPTION_SIDE, _INCEPTION_SIDE, dtype="float32")(face)
    previous = keras.config.dtype_policy()
    # Keras Applications takes the dtype policy of its layers from the global one only.
    keras.config.set_dtype_policy(dtype)
    try:
        trunk = keras.applications.InceptionResNetV2(
            include_top=False, weights=backbone, input_shape=(_INCEPTION_SIDE, _INCEPTION_SIDE, 3), pooling="avg"
        )
    finally:
        keras.config.set_dtype_policy(previous)
    return trunk(enlarged)
