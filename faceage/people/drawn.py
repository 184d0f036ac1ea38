"""What drawing a person gives; without Keras, for those who only show it."""

from dataclasses import dataclass

import numpy as np


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
