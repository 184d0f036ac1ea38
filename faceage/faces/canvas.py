"""The sizes at which photos are searched for faces, and the canvases that photos of many sizes share."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceage.photos.decode import Reduction

SMALLEST_FACE_ON_CANVAS = 20
"""Pixels. mtcnn 1.0 loses faces at other values (it counts pyramid levels from the whole image): scale the canvas."""

CANVAS_SIDES = (128, 256, 384, 640, 1024, 1600, 2560, 4096)
"""A photo goes onto the smallest of these that holds it, so that many photos share a batch and a compiled shape."""

DEFAULT_CANVAS = 640
"""Longest side a photo is searched at when no smallest face is asked for: it finds faces of 1/32 of that side."""

GLANCE_PIXELS = 420_000
"""Of a photo that is larger than its canvas, when one level of MTCNN's first stage looks whether there are small faces.

As many in a panorama as in a square. The glance takes 0.4 times as long as the search on the canvas.
"""


@dataclass(frozen=True)
class Letterbox:
    """A photo's place on a square canvas: scaled by `scale`, in the upper left corner of `side`×`side` pixels."""

    side: int
    scale: float

    @classmethod
    def for_photo(cls, width: int, height: int, min_face: int | None = None) -> "Letterbox":
        """Canvas for a photo of `width`×`height`, on which a face of `min_face` photo pixels is still found."""
        longest = max(width, height)
        if min_face is None:
            scale = min(1.0, DEFAULT_CANVAS / longest)
        else:
            scale = min(SMALLEST_FACE_ON_CANVAS / min_face, CANVAS_SIDES[-1] / longest)
            # Enlarging shows MTCNN nothing new but makes faces under 20 pixels reachable; shrinking far below the
            # size that a large `min_face` allows would cost the landmarks their precision.
            scale = min(max(scale, min(1.0, DEFAULT_CANVAS / 2 / longest)), 2.0)
        # As `draw` rounds it: rounding up would put 640.0000001 on the canvas for 1024.
        needed = round(longest * scale)
        side = next((side for side in CANVAS_SIDES if side >= needed), CANVAS_SIDES[-1])
        return cls(side, scale)

    @staticmethod
    def reduction(min_face: int | None = None) -> Reduction:
        """How much smaller a photo may be decoded and still fills its canvas, and nearly has the glance's pixels."""
        if min_face is None:
            return Reduction(DEFAULT_CANVAS, area=int(0.8 * GLANCE_PIXELS))
        return Reduction(DEFAULT_CANVAS // 2, max(1, min_face // SMALLEST_FACE_ON_CANVAS))

    def draw(self, photo: np.ndarray, factor: int = 1) -> np.ndarray:
        """(h, w, 3) uint8 photo, decoded `factor` times smaller → (side, side, 3) uint8 canvas, black beside it."""
        height, width = photo.shape[:2]
        scale = self.scale * factor
        size = (max(1, min(self.side, round(width * scale))), max(1, min(self.side, round(height * scale))))
        canvas = np.zeros((self.side, self.side, 3), np.uint8)
        canvas[: size[1], : size[0]] = resize(photo, size)
        return canvas


def resize(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 photo → as wide and as high as `size` says; itself where it is so already."""
    if size == (photo.shape[1], photo.shape[0]):
        return photo
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
