"""From five landmarks to an aligned face: one similarity transform, the same for training data and for photos."""

import math

import numpy as np
from PIL import Image

from faceage.sizes import FACE_SIZE

TEMPLATE = np.array(
    [[19.6, 18.6], [44.4, 18.6], [32.0, 33.2], [20.9, 44.0], [43.1, 44.0]],
)
"""Where the landmarks (eye, eye, nose, mouth corner, mouth corner; image left before right) lie in the 64×64 face.

The median of MTCNN's landmarks on UTKFace, made symmetric: from the hairline to below the chin. x, y in continuous
pixels (a pixel's centre is at .5).
"""


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation, uniform scale and shift that take `source` nearest to `target`, in least squares (Umeyama 1991).

    Both are (n, 2) float points; the answer is a (2, 3) float64 matrix. Raises ValueError if all of `source` is one
    point.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    a, b = source - source.mean(0), target - target.mean(0)
    variance = a.var(0).sum()
    if not variance > 1e-12:
        raise ValueError("the landmarks are one point")
    u, s, vt = np.linalg.svd(b.T @ a / len(a))
    # Without the sign, mirrored landmarks would give a reflection, which no rotation of a head is.
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (s * sign).sum() / variance
    return np.hstack([scale * rotation, (target.mean(0) - scale * rotation @ source.mean(0))[:, None]])


def face_transform(landmarks: np.ndarray) -> np.ndarray:
    """(2, 3) matrix from photo pixels to aligned-face pixels, for (5, 2) `landmarks` in the upright photo."""
    return similarity(landmarks, TEMPLATE)


def resized(transform: np.ndarray, side: int) -> np.ndarray:
    """The (2, 3) `transform` to an aligned face of `side` pixels, for the one to the aligned face of 64."""
    return np.asarray(transform, np.float64) * (side / FACE_SIZE)


def side_in_photo(transform: np.ndarray) -> float:
    """Side of the aligned face in photo pixels, for the (2, 3) `transform` from these to its own."""
    return FACE_SIZE / float(np.hypot(*transform[:, 0]))


def align(photo: np.ndarray, transform: np.ndarray, side: int = FACE_SIZE) -> np.ndarray:
    """Cut the aligned face, or another square, out of a photo.

    `photo` is (h, w, 3) uint8, `transform` (2, 3) from photo to the square's pixels; the answer is (side, side, 3)
    uint8. What is larger than that is averaged down, not point-sampled; outside the photo is its mirror image.
    """
    height, width = photo.shape[:2]
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    corners = inverse @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    left, top = np.floor(corners[:2].min(1)).astype(int) - 2
    right, bottom = np.ceil(corners[:2].max(1)).astype(int) + 2

    # Only the part around the face is touched, so that the cost follows the face and not the photo.
    columns = _mirror(np.arange(left, right), width)
    rows = _mirror(np.arange(top, bottom), height)
    region = Image.fromarray(photo[rows[:, None], columns[None, :]])

    oversampling = max(1, math.ceil(np.hypot(inverse[0, 0], inverse[1, 0])))
    a, b, c, d, e, f = inverse[:2].ravel()
    coefficients = (a / oversampling, b / oversampling, c - left, d / oversampling, e / oversampling, f - top)
    size = (side * oversampling, side * oversampling)
    warped = region.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(warped.reduce(oversampling) if oversampling > 1 else warped)


def _mirror(index: np.ndarray, size: int) -> np.ndarray:
    """Indices folded back into 0..size-1 as if the row were mirrored at both ends, again and again."""
    folded = np.mod(index, 2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)
