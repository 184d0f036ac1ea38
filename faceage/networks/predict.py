"""Running a network over many faces, in batches of one compiled shape."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from faceage.images import to_float, to_uint8
from faceage.sizes import LATENT_SIZE

_BATCH = 128


def predict(network: keras.Model, faces: np.ndarray, batch_size: int = _BATCH) -> np.ndarray:
    """`network`'s output for (n, 64, 64, 3) uint8 faces."""
    return np.concatenate(
        list(in_batches(lambda batch: network.predict_on_batch(to_float(batch)), [faces], batch_size))
    )


def draw(generator: keras.Model, *inputs: np.ndarray, batch_size: int = _BATCH) -> np.ndarray:
    """(n, 64, 64, 3) uint8 faces for (n, 100) latents, (n, 6) age weights and, if `generator` takes them, offsets."""
    drawn = in_batches(lambda *batch: generator.predict_on_batch(list(batch)), list(inputs), batch_size)
    return np.concatenate([to_uint8(faces) for faces in drawn])


def random_latents(count: int, seed: int) -> np.ndarray:
    """(count, 100) float32 from N(0, I)."""
    return np.random.default_rng(seed).standard_normal((count, LATENT_SIZE), dtype=np.float32)


def in_batches(call: Callable[..., Any], columns: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """`call` of the rows of `columns` in batches of `batch_size`, always: another size might round otherwise."""
    for start in range(0, len(columns[0]), batch_size):
        parts = [column[start : start + batch_size] for column in columns]
        count = len(parts[0])
        # A short batch is padded with its first row: another shape would be compiled anew.
        padded = [np.concatenate([part, np.repeat(part[:1], batch_size - count, axis=0)]) for part in parts]
        yield np.asarray(call(*padded))[:count]
