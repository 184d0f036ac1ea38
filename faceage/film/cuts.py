"""Where a new shot begins in a film."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

_SHOT_SIZE = (32, 18)
"""Pixels of the pictures that two frames are compared by."""
_UNLIKE, _RATHER_UNLIKE = 0.5, 0.85
"""Correlation of two frames at a cut; and at one where colours change by `_OTHER_COLOURS`. A flash does not."""
_OTHER_COLOURS = 0.4
_SUDDEN = 0.7
"""Correlation at a cut between two frames that are `_JUMP` times as unlike as the two before."""
_JUMP, _STILL = 5.0, 0.01
"""Frames are never taken to be more alike than 1 - `_STILL`: noise is no movement."""


@dataclass
class Cuts:
    """Finds where new shots begin, in frames that are shown to it one after the other, by small pictures of them."""

    picture: np.ndarray | None = None
    """(18, 32, 3) uint8: the last frame that is not blank."""
    usual: float = 1.0
    """How unlike each other the last two of them were; before two are known, as unlike as can be."""
    blank: bool = False
    """Whether the last frame is of one colour: a flash, or the dark between two pictures."""

    def before(self, photo: np.ndarray) -> bool:
        """Whether a cut lies between the frame of before and this one."""
        picture = _picture(photo)
        self.blank = bool(picture.std((0, 1)).max() < 1)
        if self.blank:
            # What comes after it tells.
            return False
        last, self.picture = self.picture, picture
        if last is None:
            return False
        alike = _likeness(last, picture)
        jump = 1 - alike > _JUMP * max(self.usual, _STILL)
        self.usual = 1 - alike
        return (
            alike < _UNLIKE
            or (alike < _SUDDEN and jump)
            or (alike < _RATHER_UNLIKE and _colours_apart(last, picture) > _OTHER_COLOURS)
        )


def _picture(photo: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize(_SHOT_SIZE, Image.Resampling.BOX, reducing_gap=2.0))


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two small pictures, -1..1."""
    a, b = (picture.mean(-1).ravel() - picture.mean() for picture in (one, other))
    scale = np.sqrt((a @ a) * (b @ b))
    # A frame of one colour is like no other picture, and like another one of its kind.
    return float(a @ b / scale) if scale > len(a) else float(max(a @ a, b @ b) <= len(a))


def _colours_apart(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels that are of another colour in the other picture."""
    counts = [np.histogramdd(picture.reshape(-1, 3), bins=4, range=[(0, 256)] * 3)[0] for picture in (one, other)]
    return float(np.abs(counts[0] - counts[1]).sum() / (2 * one[..., 0].size))
