"""The visible mark of an aged picture: the letters AI in a corner."""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SHARE = 1 / 24
"""Of a picture's shorter side: the size of the letters."""
_SMALLEST = 11
"""Size of the letters in pixels, at least: smaller ones cannot be read."""
_GROUND, _INK = 32, 255
"""Of 0..255 in every channel: grey in any colour space."""


def mark(pixels: np.ndarray, faces: Sequence[Sequence[float]] = ()) -> tuple[slice, slice]:
    """Write AI into a corner of (h, w, c) uint8 `pixels`, in place, c as of `photos.write_like`: alpha becomes opaque.

    It is the corner, the lower right one first, that `faces`, boxes (x, y, width, height), cover least. Returns the
    rows and columns of the mark.
    """
    height, width = pixels.shape[:2]
    label = _label(max(_SMALLEST, round(min(height, width) * _SHARE)))[:height, :width]
    corners = [(top, left) for top in (height - len(label), 0) for left in (width - label.shape[1], 0)]
    top, left = min(corners, key=lambda corner: sum(_overlap(corner, label.shape, face) for face in faces))
    region = slice(top, top + label.shape[0]), slice(left, left + label.shape[1])
    pixels[region] = label[..., None]
    if pixels.shape[2] in (2, 4):
        pixels[(*region, -1)] = 255
    return region


@functools.cache
def _label(size: int) -> np.ndarray:
    """(h, w) uint8: the letters, `size` pixels high with what is above and below them."""
    font, edge = ImageFont.load_default(size), size // 4
    left, top, right, bottom = font.getbbox("AI")
    label = Image.new("L", (int(right - left) + 2 * edge, int(bottom - top) + 2 * edge), _GROUND)
    ImageDraw.Draw(label).text((edge - left, edge - top), "AI", _INK, font)
    return np.asarray(label)


def _overlap(corner: tuple[int, int], size: tuple[int, ...], face: Sequence[float]) -> float:
    (top, left), (height, width), (x, y, face_width, face_height) = corner, size, face
    across = min(left + width, x + face_width) - max(left, x)
    down = min(top + height, y + face_height) - max(top, y)
    return max(across, 0) * max(down, 0)
