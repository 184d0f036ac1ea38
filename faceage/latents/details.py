"""What G leaves out of a photo, put back at other ages.

Eyes, teeth, hair and what is behind a person age little, and are where G draws the photo worst. What it misses there,
photo − G(z, own age), is added to G(z, target). What is fine in the change with age is weakened there: much of it is
noise.
"""

import numpy as np
from scipy import ndimage

from faceage.images import FACE_SIZE
from faceage.networks.landmarks import landmark_weights
from faceage.photos.align import TEMPLATE
from faceage.photos.paste import face_mask

_FINE = 3.0
"""Pixels: what a Gaussian of this standard deviation takes away is fine."""
_WEAKER = 0.4
"""How much of what is fine in the change goes where nothing of the face is."""


def _face() -> np.ndarray:
    """(64, 64, 1) float32 0..1: how much of each pixel of an aligned face is skin that ages."""
    mask = face_mask(TEMPLATE)
    step = len(mask) // FACE_SIZE
    return mask.reshape(FACE_SIZE, step, FACE_SIZE, step).mean((1, 3))[..., None]


def _missed() -> np.ndarray:
    """(64, 64, 1) float32 0..1: how much of what G misses is put back."""
    landmarks = landmark_weights()[..., None]
    return np.maximum(landmarks / landmarks.max(), 1 - _face())


_AROUND, _MISSED = 1 - _face(), _missed()


def keep_details(aligned: np.ndarray, drawn: np.ndarray, share: float) -> np.ndarray:
    """One person's drawn faces with the details of the photo.

    `aligned` is (64, 64, 3) uint8 from the photo; `drawn` (1 + k, 64, 64, 3) uint8, the person at their own age and at
    k others (`draw_people`). The answer is the same with the k others changed: `share` 0 leaves them as they are, 1
    puts all of the details back.
    """
    own = drawn[0].astype(np.float32)
    others = drawn[1:].astype(np.float32)
    change = others - own
    fine = change - ndimage.gaussian_filter(change, (0, _FINE, _FINE, 0), mode="nearest")
    others += np.float32(share) * (_MISSED * (aligned - own) - _WEAKER * _AROUND * fine)
    return np.concatenate([drawn[:1], np.clip(np.rint(others), 0, 255).astype(np.uint8)])
