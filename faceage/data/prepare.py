"""Rows → one HDF5 file of aligned faces, by the same detector and the same transform that `faceage batch` uses."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES, age_class
from faceage.data.rows import Row, Rows
from faceage.errors import DataError, PhotoError
from faceage.images import FACE_SIZE, written_whole
from faceage.photos.align import align, face_transform
from faceage.photos.decode import decode, read_photo
from faceage.photos.detect import Detection, Detector, most_central

FORMAT = "faceage-dataset"
VERSION = 1
SPLITS = ("train", "validation", "test")
_SHARES = (0.90, 0.05)
_CHUNK = 256


@dataclass(frozen=True)
class PrepareReport:
    """What became of the rows: faces kept per split, and the number dropped for each reason."""

    faces: int
    per_split: dict[str, int]
    per_class: dict[str, int]
    dropped: dict[str, int]


def split_of(source: str) -> int:
    """Index into `SPLITS`, 90/5/5 by a hash of the file name: the same photo falls the same way in every data set."""
    name = source.rsplit("/", 1)[-1]
    position = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / 2**64
    return int(np.searchsorted(np.cumsum(_SHARES), position, side="right"))


def prepare(rows: Rows, out: Path, progress: Callable[[int], Any] = lambda done: None) -> PrepareReport:
    """Detect, align and store every row's face in `out`; `progress` is told how many rows have just been done.

    Of several faces in a photo the label belongs to the one nearest the middle, by the layout of labelled data sets.
    Raises DataError where not one face is found.
    """
    detector = Detector()
    dropped = Counter(rows.dropped)
    with written_whole(out) as partial:
        with h5py.File(partial, "w") as file:
            file.attrs.update(format=FORMAT, version=VERSION, age_classes=list(AGE_CLASSES), splits=list(SPLITS))
            file.attrs["root"] = str(rows.root.resolve())
            columns = _create(file)
            for start in range(0, len(rows.rows), _CHUNK):
                chunk = rows.rows[start : start + _CHUNK]
                kept = _faces(chunk, detector, dropped)
                _append(columns, kept)
                progress(len(chunk))
            file.attrs["dropped"] = json.dumps(dict(sorted(dropped.items())))
            report = _report(columns, dropped)
        if report.faces == 0:
            raise DataError(f"no face was found in the {len(rows.rows)} photos of {rows.root}")
    return report


def _faces(chunk: list[Row], detector: Detector, dropped: Counter[str]) -> list[tuple[Row, np.ndarray, Detection]]:
    readable: list[tuple[Row, np.ndarray]] = []
    for row in chunk:
        try:
            readable.append((row, decode(read_photo(row.path))))
        except PhotoError:
            # The label goes with its image: a list of images and a list of labels would drift apart here.
            dropped["unreadable"] += 1
    kept = []
    for (row, photo), faces in zip(readable, detector.detect([photo for _, photo in readable]), strict=True):
        if not faces:
            dropped["no face"] += 1
            continue
        face = most_central(faces, photo)
        kept.append((row, align(photo, face_transform(face.landmarks)), face))
    return kept


def _create(file: h5py.File) -> dict[str, h5py.Dataset]:
    def column(name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
        return file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(_CHUNK, *shape))

    return {
        "faces": column("faces", (FACE_SIZE, FACE_SIZE, 3), np.uint8),
        "age": column("age", (), np.int16),
        "age_class": column("age_class", (), np.int8),
        "split": column("split", (), np.int8),
        "source": column("source", (), h5py.string_dtype()),
        "gender": column("gender", (), h5py.string_dtype()),
        "box": column("box", (4,), np.float32),
        "landmarks": column("landmarks", (5, 2), np.float32),
    }


def _append(columns: dict[str, h5py.Dataset], kept: list[tuple[Row, np.ndarray, Detection]]) -> None:
    if not kept:
        return
    values = {
        "faces": np.stack([face for _, face, _ in kept]),
        "age": [row.age for row, _, _ in kept],
        "age_class": [age_class(row.age) for row, _, _ in kept],
        "split": [split_of(row.source) for row, _, _ in kept],
        "source": [row.source for row, _, _ in kept],
        "gender": [row.gender for row, _, _ in kept],
        "box": np.stack([detection.box for _, _, detection in kept]),
        "landmarks": np.stack([detection.landmarks for _, _, detection in kept]),
    }
    for name, dataset in columns.items():
        start = len(dataset)
        dataset.resize(start + len(kept), axis=0)
        dataset[start:] = values[name]


def _report(columns: dict[str, h5py.Dataset], dropped: Counter[str]) -> PrepareReport:
    split, classes = columns["split"][:], columns["age_class"][:]
    return PrepareReport(
        faces=len(split),
        per_split={name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        per_class={name: int((classes == i).sum()) for i, name in enumerate(AGE_CLASSES)},
        dropped=dict(sorted(dropped.items())),
    )
