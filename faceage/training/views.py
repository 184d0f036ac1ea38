"""A face, its mirror image, and more views of it: what G changes in all of them is age, stains are in one of them.

The networks were trained on faces in one position. What they get wrong of a face depends on where its edges fall, and
the mean over views has less of it.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.sizes import FACE_SIZE

TURN, SCALE, SHIFT = np.deg2rad(6.0), np.log(1.08), 2.5
"""The most that a view is turned (radians), scaled (either way, logarithm) and shifted (pixels)."""

View = tuple[Any, Any]
"""Keras's affine transforms (b, 8) from a view to the face, and back; for one call each: on PyTorch it changes them."""

_PLAIN: dict[str, Any] = {"interpolation": "bilinear", "data_format": "channels_last"}


def random_view(count: Any, seed: keras.random.SeedGenerator) -> View:
    """Each of `count` faces a little turned, scaled and shifted."""
    turn, scale, right, down = (keras.random.uniform((count,), -1.0, 1.0, seed=seed) for _ in range(4))
    angle, factor = TURN * turn, ops.exp(SCALE * scale)
    right, down = SHIFT * right, SHIFT * down
    cos, sin = factor * ops.cos(angle), factor * ops.sin(angle)
    there = _affine(cos, -sin, right, sin, cos, down)
    cos, sin = ops.cos(angle) / factor, ops.sin(angle) / factor
    return there, _affine(cos, sin, -cos * right - sin * down, -sin, cos, sin * right - cos * down)


def in_views(faces: Any, views: Sequence[View] = ()) -> Any:
    """(2(1 + v)b, 64, 64, c): (b, 64, 64, c) `faces`, their mirror images, and as much of each of v `views`."""
    turned = (ops.image.affine_transform(faces, there, fill_mode="nearest", **_PLAIN) for there, _ in views)
    return ops.concatenate([part for view in (faces, *turned) for part in (view, ops.flip(view, 2))])


def mean_of_views(changes: Any, views: Sequence[View] = ()) -> Any:
    """(b, 64, 64, c): the mean of what was drawn of `in_views`, each put back in the face's place."""
    parts = ops.split(changes, 2 * (1 + len(views)))
    first, *others = ((one + ops.flip(other, 2)) / 2 for one, other in zip(parts[::2], parts[1::2], strict=True))
    back = [ops.image.affine_transform(mean, back, **_PLAIN) for mean, (_, back) in zip(others, views, strict=True)]
    return sum(back, start=first) / (1 + len(views))


def _affine(a: Any, b: Any, right: Any, c: Any, d: Any, down: Any) -> Any:
    """About the middle of the face."""
    middle = (FACE_SIZE - 1) / 2
    right = right + middle * (1 - a - b)
    down = down + middle * (1 - c - d)
    return ops.stack([a, b, right, c, d, down, ops.zeros_like(a), ops.zeros_like(a)], axis=1)
