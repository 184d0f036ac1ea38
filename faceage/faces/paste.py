"""An aged face back in its photo: what changes with age is added to the photo's own pixels, the rest is not touched.

The change is G(z, target) − G(z, own age), of 64×64 pixels. Taken as it is, it would bring G's light, colours and
contrast along; so it is split, matched to the photo, and laid through a mask that follows the landmarks.
"""

import math

import numpy as np
from PIL import Image
from scipy import ndimage

from faceage.images import FACE_SIZE

_FINE = 4
"""The change and its mask are drawn so many times finer than the aligned face: splines leave no steps when enlarged."""
_SIDE = FACE_SIZE * _FINE

_SHADING, _COLOUR = 0.4, 0.2
"""How much is taken of what changes slowly over the face, and of colour: much of it has nothing to do with age."""
_LIGHTER, _DARKER = 22.0, 40.0
"""Grey levels that no change goes beyond: much lighter skin looks like plaster, much darker like a hole."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def paste_face(
    photo: np.ndarray,
    transform: np.ndarray,
    landmarks: np.ndarray,
    aligned: np.ndarray,
    own: np.ndarray,
    aged: np.ndarray,
    folds: float = 1.0,
) -> None:
    """Age one face of `photo` in place; pixels where `face_mask` is 0 stay as they are, bit for bit.

    `photo` is (h, w, c) uint8 with c = 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA; alpha stays.
    `transform` (2, 3) takes photo to aligned pixels, `landmarks` (5, 2) are in photo pixels; `aligned` (64, 64, 3)
    uint8 is the face as it is in the photo, `own` and `aged` are what G draws at its own age and at another. What is
    fine in the change is taken `folds` times. Raises ValueError where `lies_in` says no.
    """
    transform = np.asarray(transform, np.float64)
    if not lies_in(transform, landmarks, photo.shape[:2]):
        raise ValueError("the face lies outside the photo")
    mask = face_mask(aligned_landmarks(transform, landmarks))
    change = _enlarged(_age_change(aligned, own, aged, mask, folds)) * mask[..., None]
    if photo.shape[2] < 3:
        change = (change @ _LUMA)[..., None]
    rows, columns = _region(transform, photo.shape[:2])
    region = photo[rows, columns]
    # One channel after the other: the face may have as many pixels as memory has room for.
    for channel in range(change.shape[2]):
        added = to_photo(change[..., channel], transform, photo.shape[:2])
        region[..., channel] = np.clip(np.rint(region[..., channel] + added), 0, 255).astype(np.uint8)


def lies_in(transform: np.ndarray, landmarks: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether a face with such numbers, which may be a stranger's, can be in a photo of `shape` (height, width)."""
    if not (np.isfinite(transform).all() and np.isfinite(landmarks).all()):
        return False
    (x, y), (height, width) = landmarks.mean(0), shape
    scale = math.sqrt(abs(_area(transform)))
    # A face is at least a pixel, and no more than eight times as large as the photo.
    large_enough = FACE_SIZE / 8 / max(height, width) <= scale <= FACE_SIZE
    return bool(large_enough and 0 <= x < width and 0 <= y < height)


def aligned_landmarks(transform: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(5, 2) landmarks in aligned pixels, for those in photo pixels."""
    return np.asarray(landmarks, np.float64) @ transform[:, :2].T + transform[:, 2]


def face_mask(landmarks: np.ndarray) -> np.ndarray:
    """How much of the change each quarter of a pixel takes: (256, 256) float32 0..1 for (5, 2) aligned `landmarks`.

    1 in the middle of the face, falling to exactly 0 inside the aligned square; less on the irises and between the
    lips, which do not age but where G's faces differ most.
    """
    mask = face_oval(landmarks)
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    mouth = (left_mouth + right_mouth) / 2
    y, x = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _FINE
    for eye in (left_eye, right_eye):
        mask *= 1 - 0.65 * bump(x - eye[0], y - eye[1], 3.5, 2.2)
    half = max(math.hypot(*(right_mouth - left_mouth)) / 2, 2.0)
    mask *= 1 - 0.5 * bump(x - mouth[0], y - mouth[1], 0.6 * half, 2.5)
    return mask.astype(np.float32)


def face_oval(landmarks: np.ndarray) -> np.ndarray:
    """(256, 256) float64 as of `face_mask`, irises and lips included."""
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    height = max(mouth[1] - eyes[1], 8.0)
    width = max(math.hypot(*(right_eye - left_eye)), 8.0)
    y, x = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _FINE
    # From the brow to the chin. In a turned head the nose is nearer the far side, which has less of the face.
    top, bottom = eyes[1] - 0.62 * height, mouth[1] + 0.52 * height
    middle = (eyes[0] + mouth[0]) / 2
    middle -= 0.3 * (nose[0] - middle)
    across = np.abs(x - middle) / (1.02 * width)
    along = np.abs(y - (top + bottom) / 2) / ((bottom - top) / 2)
    mask = _rise((1.0 - (across**2.4 + along**2.4) ** (1 / 2.4)) / 0.38)
    # G knows least about what is near the edge of its square.
    return mask * _rise((np.minimum(np.minimum(x, y), FACE_SIZE - np.maximum(x, y)) - 2) / 6)


def to_photo(values: np.ndarray, transform: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(256, 256) float32 `values` of an aligned face as the photo's pixels have them: those of its part of the photo.

    The photo is of `shape` (height, width); where it has fewer pixels than `values`, they are averaged.
    """
    rows, columns = _region(transform, shape)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return np.zeros((max(rows.stop - rows.start, 0), max(columns.stop - columns.start, 0)), np.float32)
    scale = math.sqrt(abs(_area(transform))) * _FINE
    if scale > 1:
        values = ndimage.gaussian_filter(values, scale / 2, mode="constant", truncate=3)
    (a, b, c), (d, e, f) = transform * _FINE
    at = (a, b, c + a * columns.start + b * rows.start, d, e, f + d * columns.start + e * rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.transform(size, Image.Transform.AFFINE, at, Image.Resampling.BICUBIC))


def _region(transform: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a photo that the aligned square touches."""
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    corners = inverse[:2] @ np.array([[0, FACE_SIZE, 0, FACE_SIZE], [0, 0, FACE_SIZE, FACE_SIZE], [1, 1, 1, 1]])
    height, width = shape
    (left, top), (right, bottom) = np.floor(corners.min(1)), np.ceil(corners.max(1))
    rows, columns = np.clip([top, bottom], 0, height), np.clip([left, right], 0, width)
    return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))


def _area(transform: np.ndarray) -> float:
    return float(np.linalg.det(np.asarray(transform, np.float64)[:, :2]))


def _age_change(aligned: np.ndarray, own: np.ndarray, aged: np.ndarray, mask: np.ndarray, folds: float) -> np.ndarray:
    """(64, 64, 3) float32: what is added to the aligned face, in grey levels."""
    photo, before, after = (np.asarray(face, np.float32) for face in (aligned, own, aged))
    weights = mask.reshape(FACE_SIZE, _FINE, FACE_SIZE, _FINE).mean((1, 3))
    weights /= max(float(weights.sum()), 1e-6)

    luma = (after - before) @ _LUMA
    colour = _blurred(after - before - luma[..., None], 2.5)
    shading = _blurred(luma, 7.0)
    fine = (luma - shading) * _contrast(photo @ _LUMA, before @ _LUMA)
    # Without its mean, no age makes the whole face lighter, darker or of another colour.
    shading = shading - (shading * weights).sum()
    colour = colour - (colour * weights[..., None]).sum((0, 1))

    change = _SHADING * shading + folds * fine
    limit = np.where(change > 0, _LIGHTER, _DARKER)
    change = limit * np.tanh(change / limit)
    return (change[..., None] + _COLOUR * colour).astype(np.float32)


def _contrast(photo: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """How much weaker, or a little stronger, the photo's light and contrast are than G's, by place."""

    def detail(luma: np.ndarray) -> np.ndarray:
        return np.sqrt(_blurred((luma - _blurred(luma, 6.0)) ** 2, 8.0) + 9.0)

    light = (_blurred(photo, 3.0) + 16.0) / (_blurred(drawn, 3.0) + 16.0)
    return np.clip(light, 0.4, 1.2) * np.clip(detail(photo) / detail(drawn), 0.6, 1.3)


def _enlarged(change: np.ndarray) -> np.ndarray:
    return ndimage.zoom(change, (_FINE, _FINE, 1), order=3, mode="nearest", grid_mode=True)


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(values, (sigma, sigma, 0)[: values.ndim], mode="nearest")


def _rise(values: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and smooth between."""
    t = np.clip(values, 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: np.ndarray, y: np.ndarray, wide: float, high: float) -> np.ndarray:
    """A Gaussian of height 1 at the origin, with these standard deviations."""
    return np.exp(-((x / wide) ** 2 + (y / high) ** 2) / 2)
