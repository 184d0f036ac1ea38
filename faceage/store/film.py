"""What is known of a film on disk: tables in HDF5, written whole, that a run which was stopped goes on from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faceage.sizes import FACE_SIZE
from faceage.store.latents import COLUMNS, FaceRow
from faceage.store.table import BYTES, Columns, checked, create, fill, new_file, read, room

FORMAT = "faceage-film"
VERSION = 2

Tables = Mapping[str, Columns]
Rows = Mapping[str, Mapping[str, Any]]
"""{table: {column: values}}"""

STRETCH: Tables = {
    "frames": {"pts": ((), np.int64)},
    "cuts": {"frame": ((), np.int64)},
    "blanks": {"frame": ((), np.int64)},
    "after": {"picture": ((18, 32, 3), np.uint8), "usual": ((), np.float64)},
    "sightings": {
        "frame": ((), np.int64),
        "track": ((), np.int32),
        "motion": ((2, 3), np.float64),
        "box": ((4,), np.float32),
        "landmarks": ((5, 2), np.float32),
        "confidence": ((), np.float32),
    },
    "views": {
        "score": ((), np.float64),
        "frame": ((), np.int64),
        "track": ((), np.int32),
        "box": ((4,), np.float32),
        "landmarks": ((5, 2), np.float32),
        "confidence": ((), np.float32),
        "aligned": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
        "portrait": ((), BYTES),
    },
}
"""Of a stretch of a film: the times of its frames, its cuts and blank frames, what the next stretch's cuts are known by
(`film.cuts`), and what was seen (`film.follow`)."""

PEOPLE: Tables = {
    "frames": {"pts": ((), np.int64), "shot": ((), np.int32)},
    "places": {
        "frame": ((), np.int64),
        "person": ((), np.int32),
        "transform": ((2, 3), np.float64),
        "landmarks": ((5, 2), np.float64),
        "visible": ((), np.float32),
    },
    "people": COLUMNS,
}
"""Of a whole film: where each person is in each frame, and rows of latents, `face` being the person's number."""


def write_tables(path: Path, tables: Tables, rows: Rows, digest: str, **attributes: Any) -> None:
    """Write `rows` of `tables`, which were made by what has this `digest`, whole or not at all. Raises OSError."""
    own = {"format": FORMAT, "version": VERSION, "digest": digest, **attributes}
    with new_file(path, own, sum(room(block) for block in rows.values())) as file:
        for table, columns in tables.items():
            count = len(next(iter(rows[table].values())))
            create(file.create_group(table), columns, count)
            for name in columns:
                if count:
                    fill(file[table][name], 0, rows[table][name])


def read_tables(
    path: Path, tables: Tables, digest: str
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]] | None:
    """The rows and attributes that `write_tables` wrote; None where they were made by something else, or are none."""
    try:
        with h5py.File(path) as file:
            if (file.attrs.get("format"), file.attrs.get("digest")) != (FORMAT, digest):
                return None
            rows = {
                table: {name: read(values) for name, values in checked(file[table], columns).items()}
                for table, columns in tables.items()
            }
            return rows, dict(file.attrs)
    except (OSError, KeyError, ValueError, RuntimeError):
        return None


def face_rows(people: Mapping[str, np.ndarray]) -> list[FaceRow]:
    """The rows of the table `people`."""
    return [FaceRow(**{**row, "portrait": bytes(row["portrait"])}) for row in each_row(people)]


def each_row(columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A table's rows, each {column: value}."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
