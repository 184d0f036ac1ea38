"""Age estimator: the six class probabilities of a face, used as its y where its age is unknown."""

import keras
from keras import layers

from faceage.ages import AGE_CLASSES
from faceage.networks.layers import dropout
from faceage.networks.residual import residual_trunk
from faceage.sizes import FACE_SIZE


def age_estimator(dtype: str = "float32", width: int = 32) -> keras.Model:
    """Faces (b, 64, 64, 3) in -1..1 → probabilities (b, 6), float32, summing to 1."""
    face = keras.Input((FACE_SIZE, FACE_SIZE, 3), name="face")
    features = residual_trunk(face, width=width, blocks=(2, 2, 2, 3), dtype=dtype)  # (b, 4, 4, 256)
    features = layers.GlobalAveragePooling2D(dtype=dtype)(features)
    features = dropout(0.3, dtype)(features)
    age = layers.Dense(len(AGE_CLASSES), activation="softmax", dtype="float32", name="age")(features)
    return keras.Model(face, age, name="age_estimator")
