"""How a face's proportions change from child to adult: a smooth warp between mean shapes of two ages.

Aligned faces keep their eyes and mouth in place, but a child's cheeks are wider, the nose is shorter and the eyes are
further apart. Ramanathan & Chellappa (2006) grow faces by published measurements; here MTCNN's
landmarks are means over the training split of UTKFace, and the outline is set by hand from mean faces of each age.
"""

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates

from faceage.sizes import FACE_SIZE

GROWN = 25.0
"""Years from which on proportions stay."""

_YEARS = (1, 4.5, 8.5, 12.5, 16.5, GROWN)
_MIDDLE = FACE_SIZE / 2
# Half widths and heights in pixels of the aligned face of 64, at each of _YEARS.
_EYE, _EYE_Y = (12.9, 12.7, 12.5, 12.47, 12.3, 12.09), (19.2, 19.1, 19.07, 19.02, 18.84, 18.63)
_NOSE_Y = (31.2, 32.5, 33.2, 33.4, 33.5, 33.35)
_MOUTH, _MOUTH_Y = (10.1, 10.8, 11.3, 11.4, 11.2, 10.7), (44.4, 43.85, 43.5, 43.47, 43.58, 43.9)
_CHEEK, _CHEEK_Y = (25.8, 24.8, 24.4, 24.0, 23.4, 22.0), 33
_JAW, _JAW_Y = (21.5, 20.0, 19.2, 18.7, 18.0, 17.0), 50
_CHIN_Y = (57.5, 58.5, 59.0, 59.0, 59.0, 59.5)
_BROADER = np.array([0.8, 1.0])
"""How much wider the cheeks and the jaw of an adult of build 1 are, in the same pixels."""
_ADULT_BUILD = (10, 20)
"""Years between which build comes to show."""

_FRAME = np.array([(x, y) for x in range(0, 65, 16) for y in range(0, 65, 16) if {x, y} & {0, 64}])
"""Points that stay: the square's border, so that the face fits its photo."""
_GRID = 33
_TURNED = 0.3
"""Of the eyes' distance, how far the nose may lie beside their middle: such a face is turned, and is left as it is."""


def growth(landmarks: np.ndarray, own: float, years: float, build: float = 0.0) -> np.ndarray:
    """(33, 33, 2) float64: where each point of the aligned face at `years` was in it at the age `own`, as a shift x, y.

    `landmarks` (5, 2) are the aligned face's. `build` is -1 for a slim adult and 1 for a broad one; it is open for
    those who are to grow up alone. All zeros where nothing grows.
    """
    open_build = build * np.interp(own, _ADULT_BUILD, (1, 0))
    before, after = _shape(own), _shape(years, open_build)
    shift = (before - after) * _frontality(landmarks)
    places = after.copy()
    places[:5] = landmarks - shift[:5]
    if not shift.any():
        return np.zeros((_GRID, _GRID, 2))
    spline = RBFInterpolator(np.vstack([places, _FRAME]), np.vstack([shift, np.zeros(_FRAME.shape)]))
    x, y = np.meshgrid(*[np.linspace(0, FACE_SIZE, _GRID)] * 2)
    return spline(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(_GRID, _GRID, 2)


def warp(face: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(s, s, 3) uint8 `face` after the growth `shifts`, (33, 33, 2)."""
    side = len(face)
    place = np.arange(side) + 0.5
    nodes = np.meshgrid(*[place / side * (_GRID - 1)] * 2, indexing="ij")
    x, y = (map_coordinates(shifts[..., i], nodes, order=1) * side / FACE_SIZE for i in (0, 1))
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    channels = [
        map_coordinates(face[..., i].astype(np.float32), [rows + y, columns + x], order=3, mode="nearest")
        for i in range(face.shape[2])
    ]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)


def _shape(years: float, build: float = 0.0) -> np.ndarray:
    """(10, 2): the landmarks, cheeks, jaw and chin of the mean face."""
    table = (_EYE, _EYE_Y, _NOSE_Y, _MOUTH, _MOUTH_Y, _CHEEK, _JAW, _CHIN_Y)
    eye, eye_y, nose_y, mouth, mouth_y, cheek, jaw, chin_y = (np.interp(years, _YEARS, column) for column in table)
    cheek, jaw = np.array([cheek, jaw]) + build * np.interp(years, _ADULT_BUILD, (0, 1)) * _BROADER
    pairs = ((eye, eye_y), (mouth, mouth_y), (cheek, _CHEEK_Y), (jaw, _JAW_Y))
    eyes, mouths, cheeks, jaws = ([(_MIDDLE - half, y), (_MIDDLE + half, y)] for half, y in pairs)
    return np.array([*eyes, (_MIDDLE, nose_y), *mouths, *cheeks, *jaws, (_MIDDLE, chin_y)])


def _frontality(landmarks: np.ndarray) -> float:
    """1 for a face from the front, 0 for one that is turned too far for these shapes."""
    left, right, nose = landmarks[:3]
    apart = max(float(np.hypot(*(right - left))), 1.0)
    return float(np.clip(1 - abs(nose[0] - (left[0] + right[0]) / 2) / (_TURNED * apart), 0, 1))
