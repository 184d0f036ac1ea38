"""How much two aligned faces differ around eyes, nose and mouth.

Gaze, nose and smile do not change with age, but are too small to count in a mean over the whole face.
"""

import numpy as np
from keras import ops

from faceage.faces.align import TEMPLATE
from faceage.sizes import FACE_SIZE

_WIDTH = 4.0
"""Standard deviation of the Gaussian around each landmark, in pixels: about as wide as an eye."""
_SHARES = (2, 2, 2, 1, 1, 1)
"""Relative weights of eye, eye, nose, and the mouth's corners and middle."""


def landmark_weights() -> np.ndarray:
    """(64, 64) float32 of sum 1, high around the landmarks, the same when mirrored."""
    places = np.vstack([TEMPLATE, TEMPLATE[3:].mean(0)])
    centres = np.arange(FACE_SIZE) + 0.5
    columns, rows = (np.exp(-(((centres - places[:, i, None]) / _WIDTH) ** 2) / 2) for i in (0, 1))
    weights = np.einsum("p,pr,pc->rc", np.array(_SHARES), rows, columns)
    return (weights / weights.sum()).astype(np.float32)


_WEIGHTS = landmark_weights()[..., None]


def landmark_difference(one, other):
    """Mean absolute difference of faces (b, 64, 64, 3) around their landmarks, (b,)."""
    weights = ops.convert_to_tensor(_WEIGHTS)
    return ops.mean(ops.sum(weights * ops.abs(one - other), axis=(1, 2)), axis=-1)
