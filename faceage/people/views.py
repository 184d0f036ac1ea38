"""A face a little turned, scaled and shifted, and mirrored: what G changes in all views is age, the rest are stains.

The networks were trained on faces in one position. What they get wrong of a face depends on where its edges fall, and
the mean over views is nearly free of it.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.sizes import FACE_SIZE

TURN, SCALE, SHIFT = np.deg2rad(6.0), np.log(1.08), 2.5
"""The most that a view is turned (radians), scaled (either way, logarithm) and shifted (pixels)."""
_FIXED = ((0.0, 0.0, 0.0, 0.0), (0.8, 0.7, 0.8, -0.4), (-0.8, -0.7, -0.4, 0.8), (0.3, -0.3, -0.8, -0.8))
"""Turn, scale, shift to the right and down of the views that people are drawn with, as shares of the most."""
VIEWS = 2 * len(_FIXED)
"""Of a face that is drawn: each way and mirrored."""

View = tuple[Any, ...]
"""Keras's affine transforms (b, 8) from a view to the face, and back."""


def fixed_views(count: Any) -> list[View]:
    """The views in which each of `count` faces is drawn; the first leaves them as they are."""
    # Worked out once and repeated: the sine of many numbers at once may be rounded otherwise.
    views = [_view(*(ops.full((1,), share, "float32") for share in each)) for each in _FIXED]
    return [tuple(ops.repeat(transform, count, axis=0) for transform in view) for view in views]


def random_view(count: Any, seed: keras.random.SeedGenerator) -> View:
    """A random view of each of `count` faces."""
    return _view(*(keras.random.uniform((count,), -1.0, 1.0, seed=seed) for _ in range(4)))


def in_views(faces: Any, views: Sequence[View]) -> Any:
    """(2vb, 64, 64, c): (b, 64, 64, c) `faces` in each of v `views`, and after each its mirror images."""
    seen = [ops.image.affine_transform(faces, there, fill_mode="nearest", **_LAST) for there, _ in views]
    return ops.concatenate([part for view in seen for part in (view, ops.flip(view, 2))])


def mean_of_views(changes: Any, views: Sequence[View]) -> Any:
    """(b, 64, 64, c): the mean of what was drawn of `in_views`, each put back in the face's place."""
    parts = ops.split(changes, 2 * len(views))
    pairs = zip(parts[::2], parts[1::2], strict=True)
    means = [(straight + ops.flip(mirrored, 2)) / 2 for straight, mirrored in pairs]
    back = [ops.image.affine_transform(mean, back, **_LAST) for mean, (_, back) in zip(means, views, strict=True)]
    return sum(back) / len(back)


_LAST: dict[str, Any] = {"interpolation": "bilinear", "data_format": "channels_last"}


def _view(turn: Any, scale: Any, right: Any, down: Any) -> View:
    angle, factor = TURN * turn, ops.exp(SCALE * scale)
    right, down = SHIFT * right, SHIFT * down
    cos, sin = factor * ops.cos(angle), factor * ops.sin(angle)
    there = _affine(cos, -sin, right, sin, cos, down)
    cos, sin = ops.cos(angle) / factor, ops.sin(angle) / factor
    return there, _affine(cos, sin, -cos * right - sin * down, -sin, cos, sin * right - cos * down)


def _affine(a: Any, b: Any, right: Any, c: Any, d: Any, down: Any) -> Any:
    """About the middle of the face."""
    middle = (FACE_SIZE - 1) / 2
    right = right + middle * (1 - a - b)
    down = down + middle * (1 - c - d)
    return ops.stack([a, b, right, c, d, down, ops.zeros_like(a), ops.zeros_like(a)], axis=1)
