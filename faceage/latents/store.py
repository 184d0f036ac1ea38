"""`latents.h5`: one row per face, readable at any moment by any HDF5 reader.

The file is only ever replaced whole: rows are collected, added to a copy, and the copy takes the name. A kill at any
moment leaves the last complete file.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.errors import UsageError
from faceage.images import FACE_SIZE
from faceage.networks import LATENT_SIZE, OFFSET_SIZE

FORMAT = "faceage-latents"
VERSION = 2

_COLUMNS: dict[str, tuple[tuple[int, ...], Any]] = {
    "source": ((), h5py.string_dtype()),
    "face": ((), np.int32),
    "box": ((4,), np.float32),
    "landmarks": ((5, 2), np.float32),
    "confidence": ((), np.float32),
    "aligned": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "age": ((len(AGE_CLASSES),), np.float32),
    "latent_initial": ((LATENT_SIZE,), np.float32),
    "latent": ((LATENT_SIZE,), np.float32),
    "offset": ((OFFSET_SIZE,), np.float16),
    "identity_distance": ((2,), np.float32),
    "transform": ((2, 3), np.float32),
}


@dataclass(frozen=True)
class FaceRow:
    """One row; the fields are the datasets of `latents.h5` (boxes and landmarks in pixels of the upright photo)."""

    source: str
    face: int
    box: np.ndarray
    landmarks: np.ndarray
    confidence: float
    aligned: np.ndarray
    age: np.ndarray
    latent_initial: np.ndarray
    latent: np.ndarray
    offset: np.ndarray
    identity_distance: np.ndarray
    transform: np.ndarray


class LatentStore:
    """Collects rows and writes them out; rows may be relied on after `flush`."""

    MIN_ROWS = 64

    def __init__(self, path: Path, weights: str, options: dict[str, Any]) -> None:
        self._path = path
        self._attributes = {
            "format": FORMAT,
            "version": VERSION,
            "weights": weights,
            "options": json.dumps(options, sort_keys=True),
            "age_classes": list(AGE_CLASSES),
        }
        self._pending: list[FaceRow] = []
        self._stored = 0

    def begin(self, keep: Callable[[str], bool]) -> None:
        """Start from the file that is there, with the rows whose source passes `keep`; or from none.

        Raises UsageError if the path holds something that is no latents file.
        """
        rows = read_rows(self._path, keep) if self._path.exists() else []
        self._write(rows, fresh=True)
        self._stored = len(rows)

    def add(self, rows: list[FaceRow]) -> None:
        """Take `rows`; they are safe after the next `flush`."""
        self._pending += rows

    @property
    def due(self) -> bool:
        """Whether enough is pending to be worth a copy of the file: a share of it, so that the cost stays linear."""
        return len(self._pending) >= max(self.MIN_ROWS, self._stored // 8)

    def flush(self) -> None:
        """Put everything that is pending on disk."""
        if self._pending:
            self._write(self._pending, fresh=False)
            self._stored += len(self._pending)
            self._pending = []

    def _write(self, rows: list[FaceRow], fresh: bool) -> None:
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            if not fresh:
                shutil.copyfile(self._path, partial)
            with h5py.File(partial, "w" if fresh else "r+") as file:
                if fresh:
                    file.attrs.update(self._attributes)
                    for name, (shape, dtype) in _COLUMNS.items():
                        file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(64, *shape))
                for name, dataset in file.items():
                    start = len(dataset)
                    dataset.resize(start + len(rows), axis=0)
                    if rows:
                        dataset[start:] = [getattr(row, name) for row in rows]
            _sync(partial)
            os.replace(partial, self._path)
        finally:
            partial.unlink(missing_ok=True)


def read_rows(path: Path, keep: Callable[[str], bool] = lambda source: True) -> list[FaceRow]:
    """The rows of a latents file whose source passes `keep`. Raises UsageError for a file that is none."""
    with _opened(path) as file:
        sources = file["source"].asstr()[:].tolist()
        chosen = [i for i, source in enumerate(sources) if keep(source)]
        columns = {name: file[name][:][chosen] for name in _COLUMNS if name != "source"}
    return [
        FaceRow(source=sources[i], **{name: column[k] for name, column in columns.items()})
        for k, i in enumerate(chosen)
    ]


def count_rows(path: Path) -> Counter[str]:
    """How many rows each source has; none where there is no file. Raises UsageError for a file of another kind."""
    if not path.exists():
        return Counter()
    with _opened(path) as file:
        return Counter(file["source"].asstr()[:].tolist())


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise UsageError(f"{path} is no latents file of this version", "choose another --out folder")
            yield file
    except (OSError, KeyError) as error:
        raise UsageError(f"{path} cannot be read as a latents file: {error}", "choose another --out folder") from error


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
