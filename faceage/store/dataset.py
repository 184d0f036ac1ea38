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
from faceage.sizes import FACE_SIZE
from faceage.store import table
from faceage.store.table import BYTES, Columns

FORMAT = "faceage-dataset"
VERSION = 3
SPLITS = ("train", "validation", "test")

COLUMNS: Columns = {
    "faces": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "portrait": ((), BYTES),
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

DROPPED_COLUMNS: Columns = {"dropped/source": ((), str), "dropped/reason": ((), str)}

Part = Mapping[str, np.ndarray]
"""Rows of `COLUMNS` and `DROPPED_COLUMNS`, by the names of the datasets."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A prepared file to read from. Raises DataError for what `faceage data prepare` did not write."""
    if not path.exists():
        raise DataError(f"there is no data set {path}", "check the spelling, or write one: faceage data prepare")
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise DataError(f"{path} is no prepared data set of this version", "write one: faceage data prepare")
            yield file
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a prepared data set: {error}") from error


def write(path: Path, attributes: Mapping[str, Any], parts: Iterable[Part], size: int) -> None:
    """Write the file from `parts`, one after the other, whole or not at all; one is in memory at a time.

    Raises OSError where the disk has no room for so many bytes.
    """
    reasons: Counter[str] = Counter()
    own = {"format": FORMAT, "version": VERSION, "age_classes": list(AGE_CLASSES), "splits": list(SPLITS)}
    columns = {**COLUMNS, **DROPPED_COLUMNS}
    with table.new_file(path, {**own, **attributes}, size) as file:
        table.create(file, columns)
        for part in parts:
            for name in columns:
                table.append(file[name], part[name])
            reasons.update(map(str, part["dropped/reason"]))
        file.attrs["dropped"] = json.dumps(dict(sorted(reasons.items())))


def read(path: Path, *names: str) -> Part:
    """Whole datasets of a prepared file, all of them unless `names` says which. Raises DataError for a foreign file."""
    with opened(path) as file:
        chosen = names or (*COLUMNS, *DROPPED_COLUMNS)
        return {name: table.read(file[name]) for name in chosen}


def rows_hash(path: Path) -> str | None:
    """The hash of the rows that `path` was made of, None where it is no prepared file of this version."""
    try:
        with opened(path) as file:
            return str(file.attrs["rows_sha256"])
    except DataError:
        return None


def load_dropped(path: Path) -> list[tuple[str, str]]:
    """(source, reason) of every row that is not in the file. Raises DataError for a foreign file."""
    return list(zip(*read(path, *DROPPED_COLUMNS).values(), strict=True))
