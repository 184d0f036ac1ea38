"""Where in an aligned face the head is."""

import numpy as np

from faceage.faces.align import face_transform
from faceage.sizes import FACE_SIZE, PORTRAIT_SIZE


def aligned_landmarks(transform: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(5, 2) landmarks in pixels of the aligned face of 64, for those in the photo and the (2, 3) `transform`."""
    return np.asarray(landmarks, np.float64) @ transform[:, :2].T + transform[:, 2]


def head_mask(landmarks: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 1) float32, 0..1: 1 on the head, hair included, 0 beside it, for (5, 2) aligned `landmarks`.

    A turned head ends soon after the nose: the nose says how far it is turned.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    width, height = max(np.hypot(*(right_eye - left_eye)), 8.0), max(mouth[1] - eyes[1], 8.0)
    place = (np.arange(side) + 0.5) * FACE_SIZE / side
    middle = (eyes[0] + mouth[0]) / 2
    turned = np.clip(nose[0] - middle, -0.6 * width, 0.6 * width)
    towards, away = 1.35 * width - abs(turned), 1.35 * width + 0.3 * abs(turned)
    right, left = (towards, away) if turned > 0 else (away, towards)
    across = np.where(place > middle, (place - middle) / right, (middle - place) / left)
    # Upwards there is hair, as far as the square reaches.
    down = np.maximum(place - eyes[1], 0) / (mouth[1] + 0.9 * height - eyes[1])
    inside = 1 - (across[None, :] ** 2.4 + down[:, None] ** 2.4) ** (1 / 2.4)
    rise = np.clip(inside / 0.25, 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)[..., None]


def head_masks(landmarks: np.ndarray) -> np.ndarray:
    """(n, 160, 160, 1) float32: the `head_mask` of each portrait, for (n, 5, 2) landmarks in the photos."""
    return np.stack([head_mask(aligned_landmarks(face_transform(each), each), PORTRAIT_SIZE) for each in landmarks])
