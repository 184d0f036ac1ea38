"""The prepared data set: one HDF5 file, one row per aligned face, and a table of the rows that gave none."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.errors import DataError
from faceage.images import FACE_SIZE

FORMAT = "faceage-dataset"
VERSION = 3
SPLITS = ("train", "validation", "test")

ENCODED = h5py.vlen_dtype(np.uint8)
"""Rows that are the bytes of an image file."""

COLUMNS: dict[str, tuple[tuple[int, ...], Any]] = {
    "faces": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "portrait": ((), ENCODED),
    "age": ((), np.int16),
    "age_class": ((), np.int8),
    "split": ((), np.int8),
    "source": ((), str),
    "gender": ((), str),
    "identity": ((), str),
    "box": ((4,), np.float32),
    "landmarks": ((5, 2), np.float32),
}
"""The datasets: the shape and the type of one row. Boxes and landmarks are in pixels of the upright photo.

`portrait` is the aligned face again, at `PORTRAIT_SIZE` pixels, as an image file (`images.encode_portrait`).
"""

DROPPED_COLUMNS: dict[str, tuple[tuple[int, ...], Any]] = {"dropped/source": ((), str), "dropped/reason": ((), str)}

Part = Mapping[str, np.ndarray]
"""Rows of `COLUMNS` and `DROPPED_COLUMNS`, by the names of the datasets."""

_CHUNK = 256


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A prepared file to read from. Raises DataError for what `faceage data prepare` did not write."""
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise DataError(f"{path} is no prepared data set of this version", "write one: faceage data prepare")
            yield file
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a prepared data set: {error}") from error


def write(path: Path, attributes: Mapping[str, Any], parts: Iterable[Part]) -> None:
    """Write the file from `parts`, one after the other; one is in memory at a time."""
    reasons: Counter[str] = Counter()
    with h5py.File(path, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION, age_classes=list(AGE_CLASSES), splits=list(SPLITS))
        file.attrs.update(attributes)
        columns = {**COLUMNS, **DROPPED_COLUMNS}
        for name, (shape, dtype) in columns.items():
            kind = h5py.string_dtype() if dtype is str else dtype
            file.create_dataset(name, (0, *shape), kind, maxshape=(None, *shape), chunks=(_CHUNK, *shape))
        for part in parts:
            for name in columns:
                _append(file[name], part[name])
            reasons.update(map(str, part["dropped/reason"]))
        file.attrs["dropped"] = json.dumps(dict(sorted(reasons.items())))


def read(path: Path, *names: str) -> Part:
    """Whole datasets of a prepared file, all of them unless `names` says which. Raises DataError for a foreign file."""
    with opened(path) as file:
        chosen = names or (*COLUMNS, *DROPPED_COLUMNS)
        return {name: _column(file[name]) for name in chosen}


def _column(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]


def made_of(path: Path, rows_sha256: str) -> bool:
    """Whether `path` is a prepared file of this version, made of the rows of this hash."""
    try:
        with opened(path) as file:
            return file.attrs["rows_sha256"] == rows_sha256
    except DataError:
        return False


def load_dropped(path: Path) -> list[tuple[str, str]]:
    """(source, reason) of every row that is not in the file. Raises DataError for a foreign file."""
    return list(zip(*read(path, *DROPPED_COLUMNS).values(), strict=True))


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    start = len(dataset)
    dataset.resize(start + len(values), axis=0)
    if h5py.check_vlen_dtype(dataset.dtype) == np.uint8:
        # One by one: h5py takes arrays that happen to be of one length for a matrix.
        for row, content in enumerate(values, start):
            dataset[row] = content
    elif len(values):
        dataset[start:] = values
