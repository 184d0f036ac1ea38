"""People at other ages as photographs: G says at 64 pixels what an age changes, R draws it at the photo's own size."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.backend import compile_step
from faceage.images import LUMA, to_float
from faceage.networks.predict import in_batches
from faceage.networks.skin import smooth_skin
from faceage.sizes import PORTRAIT_SIZE

_AT_ONCE = 32
"""Portraits drawn together, always: another batch size might round otherwise."""

_COLOUR = 0.3
"""Share of the colours of G's change that R is shown, beside all of its light: stains are coloured, age hardly is."""

_REACH = np.array([0.95, 1, 1.4, 1.45, 1.45, 1.2], np.float32)
"""Of each class: how much further G is asked to go for photographs of adults than for faces of its own.

Its faces are of the class at strength 1; in a photo, which keeps its own face, the change to one of the classes between
the youngest and the oldest is hardly seen by then. Of a child, more than that makes a mask. Found on photos of the
validation split.
"""


class ReAger:
    """Draws portraits with the network `re_ager`, compiled once."""

    def __init__(self, re_ager: keras.Model) -> None:
        self._re_ager = re_ager
        self._smooth = _of_arrays(smooth_skin)
        self._draw = _of_arrays(self._add)

    def __call__(
        self, portraits: np.ndarray, changes: np.ndarray, ages: Sequence[np.ndarray], masks: np.ndarray
    ) -> np.ndarray:
        """(n, k, 160, 160, 3) uint8: each of (n, 160, 160, 3) uint8 `portraits` at each of k `ages`, (6,) weights.

        `changes` (n, k, 64, 64, 3) float32, on the scale of uint8, are what G proposes for them. Where `masks`
        (n, 160, 160, 1), 0..1, are 0, portraits stay as they are: beside the head G knows little.
        """
        count, of_each = changes.shape[:2]
        portraits = to_float(portraits)
        skin = np.concatenate(list(in_batches(self._smooth, [portraits], _AT_ONCE)))

        def draw(faces: np.ndarray, change: np.ndarray, age: np.ndarray) -> np.ndarray:
            return self._draw(skin[faces], portraits[faces], masks[faces], change, age)

        columns = (
            np.repeat(np.arange(count), of_each),
            changes.reshape(-1, *changes.shape[2:]) / np.float32(127.5),
            np.tile(np.stack(ages).astype(np.float32), (count, 1)),
        )
        aged = in_batches(draw, columns, _AT_ONCE)
        return np.concatenate(list(aged)).reshape(count, of_each, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)

    def _add(self, skin: Any, portrait: Any, mask: Any, change: Any, age: Any) -> Any:
        """Aged portraits, uint8."""
        started = lay_over(skin, change)
        drawn = started + self._re_ager([started, age], training=False)
        aged = portrait + mask * (drawn - portrait)
        return ops.cast(ops.clip(ops.round((aged + 1) * 127.5), 0, 255), "uint8")


def lay_over(skin: Any, change: Any) -> Any:
    """What R is shown: G's change (b, 64, 64, 3) laid over portraits (b, 160, 160, 3) with smooth skin, in -1..1."""
    size = (PORTRAIT_SIZE, PORTRAIT_SIZE)
    light = ops.sum(change * ops.convert_to_tensor(LUMA), axis=-1, keepdims=True)
    change = light + _COLOUR * (change - light)
    return ops.clip(skin + ops.image.resize(change, size, "bicubic", data_format="channels_last"), -1, 1)


def photo_strengths(own: np.ndarray, ages: Sequence[np.ndarray], strength: float) -> np.ndarray:
    """(n, k) ageing strengths with which G proposes photographs of this `strength`.

    Of people of age weights `own` (n, 6), at k `ages`, (6,) weights.
    """
    adult = 1 - np.clip(own[:, :1], 0, 1)
    return np.float32(strength) * (1 + adult * (np.stack(ages) @ _REACH - 1))


def mean_change(drawn: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """(n, k, 64, 64, 3) float32: how G's faces at k ages differ from those at people's own age.

    Both are (n, 1 + k, 64, 64, 3) uint8, drawn of the people and of their mirror images and mirrored back: stains are
    in one of them, age is in both.
    """
    whole = (drawn.astype(np.float32) + mirrored) / 2
    return whole[:, 1:] - whole[:, :1]


def _of_arrays(call: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """`call`, compiled, from arrays to an array."""
    step = compile_step(call)
    return lambda *arrays: ops.convert_to_numpy(step(*map(ops.convert_to_tensor, arrays)))
