"""How a face moved from one frame to the next, to a fraction of a pixel: landmarks alone are off by more."""

import numpy as np
from scipy import ndimage

from faceage.faces.align import align
from faceage.faces.paste import face_mask
from faceage.sizes import FACE_SIZE

_STEPS = 6
_ENOUGH = 0.01
"""Pixels of the aligned face: a step that moves it less is the last one."""
_LARGEST = np.array([0.1, 0.1, 8.0, 8.0])
"""Of a step in scale, rotation and pixels: what is no face may ask for any."""
_BLUR = 1.0
"""Pixels, of the differences that are matched."""


class Register:
    """An aligned face that others are laid over: Lucas-Kanade for similarity transforms, inverse compositional.

    (Baker & Matthews 2004.) Faces differ in brightness and contrast, too, which is taken out.
    """

    def __init__(self, face: np.ndarray) -> None:
        """`face` is (64, 64, 3) uint8, aligned."""
        self._weights = face_mask(FACE_SIZE)
        self._target = self._normalised(face)
        down, across = np.gradient(self._target)
        place = np.arange(FACE_SIZE) + 0.5 - FACE_SIZE / 2
        x, y = np.meshgrid(place, place)
        # Of scale, rotation and shift, about the middle of the square.
        steepest = np.stack([across * x + down * y, down * x - across * y, across, down], axis=-1)
        self._steepest = (steepest * self._weights[..., None]).reshape(-1, 4)
        self._inverse = np.linalg.pinv(self._steepest.T @ steepest.reshape(-1, 4))

    def __call__(self, photo: np.ndarray, transform: np.ndarray) -> tuple[np.ndarray, float]:
        """The (2, 3) transform from (h, w, 3) uint8 `photo` near `transform` by which it fits best, and how well.

        How well is the correlation, -1..1, of the two faces.
        """
        transform = np.asarray(transform, np.float64)
        for _ in range(_STEPS):
            face = self._normalised(align(photo, transform))
            found = self._inverse @ (self._steepest.T @ (face - self._target).ravel())
            scale, turn, *shift = np.clip(found, -_LARGEST, _LARGEST)
            step = np.array([[1 + scale, -turn], [turn, 1 + scale]])
            # The face at a place is the target at the place that the step takes it to, and so are their transforms.
            middle = np.array([[0, 0, FACE_SIZE / 2]] * 2)
            transform = step @ (transform - middle) + middle + [[0, 0, shift[0]], [0, 0, shift[1]]]
            if np.hypot(*shift) + FACE_SIZE / 2 * np.hypot(scale, turn) < _ENOUGH:
                break
        face = self._normalised(align(photo, transform))
        return transform, float((face * self._target * self._weights).sum() / self._weights.sum())

    def _normalised(self, face: np.ndarray) -> np.ndarray:
        """Its brightness, with mean 0 and variance 1 where it counts."""
        light = ndimage.gaussian_filter(face.mean(-1, dtype=np.float32), _BLUR)
        weights = self._weights / self._weights.sum()
        light = light - (light * weights).sum()
        return light / max(np.sqrt((light**2 * weights).sum()), 1.0)
