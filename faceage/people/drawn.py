"""What drawing a person gives; without Keras, for those who only show it."""

from dataclasses import dataclass

import numpy as np

_CHROMA = 2
"""Levels by which the channels of a grey photo's face may differ: conversions and compression round."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Drawn:
    """One person's pictures, uint8: `aged` (k, s, s, 3) at k ages, of side s = 160, or 64 by the generator."""

    photo: np.ndarray
    """The aligned face, of 160 pixels where its portrait is stored."""
    rebuilt: np.ndarray
    """(64, 64, 3): the generator's face at the person's own age."""
    unaged: np.ndarray
    """(s, s, 3): what `aged` differs from by age alone."""
    aged: np.ndarray

    def in_greys(self) -> "Drawn":
        """The same pictures in shades of grey."""
        return Drawn(*(_grey(pixels) for pixels in (self.photo, self.rebuilt, self.unaged, self.aged)))


def is_grey(face: np.ndarray) -> bool:
    """Whether (h, w, 3) uint8 pixels show shades of grey alone."""
    return int(np.ptp(face.astype(np.int16), axis=2).max(initial=0)) <= _CHROMA


def _grey(pixels: np.ndarray) -> np.ndarray:
    luma = np.rint(pixels.astype(np.float32) @ _LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)
