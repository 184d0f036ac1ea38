"""What drawing a person gives; without Keras, for those who only show it."""

from dataclasses import dataclass

import numpy as np

from faceage.images import LUMA

_OFF_TONE = 2.5
"""Levels, as root mean square, by which a grey or toned photo's face may lie off the curve of its tones. Of 1,016 faces
the 48 such lie off by at most 2.3, those in colour by at least 3.0."""

_DEGREE = 3
"""Of the curve."""


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

    def in_tones(self, tones: "Tones") -> "Drawn":
        """The same pictures in a photo's tones."""
        return Drawn(*map(tones.of, (self.photo, self.rebuilt, self.unaged, self.aged)))


@dataclass(frozen=True)
class Tones:
    """The colours of a photo in greys, sepia or other tones, where brightness says all: a curve over the luma."""

    curve: np.ndarray
    """(4, 3): what red, green and blue have beyond the luma, as a polynomial of it."""
    least: float
    most: float
    """The luma that the curve is known for."""

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """(…, 3) uint8 pictures in these tones."""
        luma = pictures.astype(np.float32) @ LUMA
        beyond = _powers(np.clip(luma, self.least, self.most)) @ self.curve
        return np.clip(np.rint(np.rint(luma)[..., None] + beyond), 0, 255).astype(np.uint8)


def tones_of(face: np.ndarray) -> Tones | None:
    """The tones of a (h, w, 3) uint8 face, or None for one in colours."""
    pixels = face.reshape(-1, 3).astype(np.float64)
    luma = pixels @ LUMA.astype(np.float64)
    powers, beyond = _powers(luma), pixels - luma[:, None]
    curve = np.linalg.lstsq(powers, beyond, rcond=None)[0]
    off = np.sqrt(np.mean((beyond - powers @ curve) ** 2))
    return None if off > _OFF_TONE else Tones(curve, luma.min(), luma.max())


def _powers(luma: np.ndarray) -> np.ndarray:
    return (luma[..., None] / 255) ** np.arange(_DEGREE + 1)
