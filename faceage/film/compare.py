"""Two looks at a face brought to the same sharpness and light, which embeddings take for part of who it is."""

from itertools import count

import numpy as np
from scipy import ndimage

_BLUR_STEP = 0.25
"""Pixels of the aligned face: the standard deviations of the blurs that are tried lie so far apart."""


def sharpness(aligned: np.ndarray) -> float:
    """Of an aligned face (64, 64, 3): how much of it is detail, in grey levels."""
    return float(ndimage.laplace(aligned.mean(-1, dtype=np.float32)).std())


def equally_clear(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both aligned (64, 64, 3) uint8 faces, the clearer one in the light of the other and out of focus as that is."""
    clear, dull = (one, other) if sharpness(one) > sharpness(other) else (other, one)
    (mean, spread), (dull_mean, dull_spread) = (
        (face.mean((0, 1), dtype=np.float64), face.std((0, 1), dtype=np.float64)) for face in (clear, dull)
    )
    lit = (clear - mean) * dull_spread / np.maximum(spread, 1) + dull_mean
    blurs = (ndimage.gaussian_filter(lit, (step * _BLUR_STEP,) * 2 + (0,)) for step in count())
    blurred = next(face for face in blurs if sharpness(face) <= max(sharpness(dull), 1.0))
    return np.clip(blurred, 0, 255).astype(np.uint8), dull
