"""An aged face back in its photo: how it differs from the face as it was is added to the photo's own pixels."""

import math

import numpy as np
from PIL import Image
from scipy import ndimage

from faceage.images import LUMA
from faceage.sizes import FACE_SIZE

_FEATHER = 0.08
"""Of the aligned square's side: how far from its border the change is whole. Hair at the border has an age too."""

_ROWS_AT_ONCE = 64


def paste_face(photo: np.ndarray, transform: np.ndarray, face: np.ndarray, aged: np.ndarray) -> None:
    """Age one face of `photo` in place; pixels where `face_mask` is 0 stay as they are, bit for bit.

    `photo` is (h, w, c) uint8 with c = 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA; alpha stays.
    `transform` (2, 3) takes photo to aligned pixels (of 64); `face` and `aged` are (s, s, 3) of any one side s, uint8
    or numbers on its scale: the face as it was drawn or cut out, and aged. A photo with more pixels keeps its detail;
    the change is enlarged.
    Raises ValueError where `lies_in` says no.
    """
    transform = np.asarray(transform, np.float64)
    if not lies_in(transform, photo.shape[:2]):
        raise ValueError("the face lies outside the photo")
    side = len(face)
    change = (aged.astype(np.float32) - face) * face_mask(side)[..., None]
    if photo.shape[2] < 3:
        change = (change @ LUMA)[..., None]
    in_face = transform * (side / FACE_SIZE)
    scale = math.sqrt(abs(np.linalg.det(in_face[:, :2])))
    if scale > 1:
        # The photo has fewer pixels: average instead of skipping.
        change = ndimage.gaussian_filter(change, (scale / 2, scale / 2, 0), mode="constant", truncate=3)
    channels = [Image.fromarray(np.ascontiguousarray(channel, np.float32)) for channel in np.moveaxis(change, 2, 0)]
    rows, columns = face_region(transform, photo.shape[:2])
    # Some rows at a time, which the processor's cache holds: the face may be as large as the photo.
    for top in range(rows.start, rows.stop, _ROWS_AT_ONCE):
        part = photo[top : min(top + _ROWS_AT_ONCE, rows.stop), columns, : len(channels)]
        added = np.stack([_in_photo(channel, in_face, part.shape, (top, columns.start)) for channel in channels], -1)
        added += part
        part[...] = np.clip(np.rint(added, out=added), 0, 255, out=added)


def lies_in(transform: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether an aligned face with this transform, which may be a stranger's, can be in a photo of `shape` (h, w)."""
    if not np.isfinite(transform).all():
        return False
    scale = math.sqrt(abs(np.linalg.det(np.asarray(transform, np.float64)[:, :2])))
    # A face is at least a pixel, and no more than eight times as large as the photo.
    if not FACE_SIZE / 8 / max(shape) <= scale <= FACE_SIZE:
        return False
    x, y = np.linalg.solve(transform[:, :2], FACE_SIZE / 2 - transform[:, 2])
    return bool(0 <= x < shape[1] and 0 <= y < shape[0])


def face_mask(side: int) -> np.ndarray:
    """(side, side) float32: how much of the change each pixel of an aligned face takes.

    0 at the square's border, 1 inside, with rounded corners: hair and background are aged as far as the square reaches.
    """
    away = np.minimum(np.arange(side), side - 1 - np.arange(side)) / side
    rise = np.clip(away / _FEATHER, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return np.outer(rise, rise).astype(np.float32)


def _in_photo(channel: Image.Image, transform: np.ndarray, shape: tuple[int, ...], at: tuple[int, int]) -> np.ndarray:
    """An aligned face's `channel` as the part of the photo with this `shape` and first (row, column) has it."""
    (a, b, c), (d, e, f) = transform
    row, column = at
    coefficients = (a, b, c + a * column + b * row, d, e, f + d * column + e * row)
    size = (shape[1], shape[0])
    return np.asarray(channel.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC))


def face_region(transform: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a photo of `shape` (h, w) that the aligned square touches; no other is changed."""
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    corners = inverse[:2] @ np.array([[0, FACE_SIZE, 0, FACE_SIZE], [0, 0, FACE_SIZE, FACE_SIZE], [1, 1, 1, 1]])
    height, width = shape
    (left, top), (right, bottom) = np.floor(corners.min(1)), np.ceil(corners.max(1))
    rows, columns = np.clip([top, bottom], 0, height), np.clip([left, right], 0, width)
    return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))
