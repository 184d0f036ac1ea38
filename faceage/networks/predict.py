"""Running a network over many faces."""

import keras
import numpy as np

from faceage.images import to_float


def predict(network: keras.Model, faces: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """`network`'s output for (n, 64, 64, 3) uint8 faces, in batches of one compiled shape."""
    outputs = []
    for start in range(0, len(faces), batch_size):
        batch = faces[start : start + batch_size]
        padded = np.concatenate([batch, np.repeat(batch[:1], batch_size - len(batch), axis=0)])
        outputs.append(network.predict_on_batch(to_float(padded))[: len(batch)])
    return np.concatenate(outputs)
