"""Where an aligned face is skin, and that skin without its fine detail."""

from typing import Any

import numpy as np
from keras import ops

from faceage.faces.align import TEMPLATE
from faceage.sizes import FACE_SIZE, PORTRAIT_SIZE

SMOOTHING = 0.012
"""Of the guided filter: the variance, for light in 0..1, above which an edge is kept."""
_RADIUS = 5
"""Of the guided filter, in pixels of a portrait."""


def skin_mask(size: int = PORTRAIT_SIZE) -> np.ndarray:
    """(size, size, 1) float32, 0..1: how far each pixel of an aligned face is skin; eyes and mouth are not."""
    place = (np.arange(size) + 0.5) * FACE_SIZE / size

    def ellipse(centre: np.ndarray, width: float, height: float, soft: float) -> np.ndarray:
        radius = np.hypot((place[None] - centre[0]) / width, (place[:, None] - centre[1]) / height)
        return np.clip((1 - radius) * min(width, height) / soft + 0.5, 0, 1)

    mouth = TEMPLATE[3:].mean(0)
    skin = ellipse(TEMPLATE.mean(0), 25, 32, 5) * (1 - 0.8 * ellipse(mouth, 10, 4.5, 2))
    for eye in TEMPLATE[:2]:
        skin *= 1 - ellipse(eye, 7.5, 4, 2)
    return skin.astype(np.float32)[..., None]


_SKIN = skin_mask()


def smooth_skin(portraits: Any, epsilon: Any = SMOOTHING) -> Any:
    """Portraits (b, 160, 160, 3) in -1..1 with their skin smoothed by a guided filter (He et al. 2010), which keeps
    edges of more than `epsilon`, a number or (b, 1, 1, 1).
    """
    colours = (portraits + 1) / 2
    light = ops.mean(colours, axis=-1, keepdims=True)
    means = _box(ops.concatenate([light, ops.square(light), colours, colours * light], axis=-1))
    mean, square, colour, product = means[..., :1], means[..., 1:2], means[..., 2:5], means[..., 5:]
    slope = (product - colour * mean) / (square - mean * mean + epsilon)
    slope, offset = ops.split(_box(ops.concatenate([slope, colour - slope * mean], axis=-1)), 2, axis=-1)
    smoothed = 2 * (slope * light + offset) - 1
    return portraits + ops.convert_to_tensor(_SKIN) * (smoothed - portraits)


def _box(values: Any) -> Any:
    """The mean over the window around each pixel, cut off at the borders."""
    return ops.average_pool(values, 2 * _RADIUS + 1, 1, "same", data_format="channels_last")
