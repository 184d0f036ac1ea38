"""`latents.h5`: one row per face, readable at any moment by any HDF5 reader.

latents.h5               the index: every dataset is a virtual one over the parts
latents/<writer>-0.h5    the parts, each a latents file of its own with at most `PART_ROWS` rows

A file is only ever replaced whole, a part by itself and more rows, and the index after it. So a kill at any moment
leaves an index whose rows are there, one that is being read stays true, and what a flush costs does not grow.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.errors import UsageError
from faceage.files import remove_partials_of, written_whole
from faceage.images import FACE_SIZE
from faceage.networks import LATENT_SIZE, OFFSET_SIZE

FORMAT = "faceage-latents"
VERSION = 3
PARTS = "latents"
PART_ROWS = 1024

_COLUMNS: dict[str, tuple[tuple[int, ...], Any]] = {
    "source": ((), h5py.string_dtype()),
    "face": ((), np.int32),
    "box": ((4,), np.float32),
    "landmarks": ((5, 2), np.float32),
    "confidence": ((), np.float32),
    "aligned": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "portrait": ((), h5py.vlen_dtype(np.uint8)),
    "age": ((len(AGE_CLASSES),), np.float32),
    "latent_initial": ((LATENT_SIZE,), np.float32),
    "latent": ((LATENT_SIZE,), np.float32),
    "offset": ((OFFSET_SIZE,), np.float16),
    "identity_distance": ((2,), np.float32),
    "transform": ((2, 3), np.float32),
}
_CHUNK = 64
_ROOM = 65_536 + _CHUNK * 24_576
"""More bytes than a file takes besides its rows, the rest of a chunk included."""


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One row; the fields are the datasets of `latents.h5` (boxes and landmarks in pixels of the upright photo)."""

    source: str
    face: int
    box: np.ndarray
    landmarks: np.ndarray
    confidence: float
    aligned: np.ndarray
    portrait: bytes
    age: np.ndarray
    latent_initial: np.ndarray
    latent: np.ndarray
    offset: np.ndarray
    identity_distance: np.ndarray
    transform: np.ndarray


class LatentWriter:
    """Collects rows and writes them into parts of its own; rows may be relied on when the index has been told."""

    MIN_ROWS = 64

    def __init__(self, index: Path, writer: str, weights: str, options: Mapping[str, Any]) -> None:
        """Write parts for the `index`, all named after `writer`, which no other process uses at the same time."""
        self._folder = index.with_name(PARTS)
        self._writer = writer
        self._attributes = _attributes(weights, options)
        self._pending: list[FaceRow] = []
        self._number, self._rows = 0, 0

    def go_on(self, parts: Mapping[str, int]) -> None:
        """Begin where the `parts` of an index, {name: rows}, end: the last one of this writer is filled up."""
        numbers = [int(n) for w, _, n in (name.rpartition("-") for name in parts) if w == self._writer]
        if numbers:
            self._number = max(numbers)
            self._rows = parts[self._name]

    def add(self, rows: list[FaceRow]) -> None:
        """Take `rows`; they are on disk after the next `flush`."""
        self._pending += rows

    @property
    def due(self) -> bool:
        """Whether enough is pending to be worth a flush."""
        return len(self._pending) >= self.MIN_ROWS

    def flush(self) -> dict[str, int]:
        """Put everything that is pending on disk; answers the parts that were written, {name: rows}."""
        written = {}
        while self._pending:
            if self._rows == PART_ROWS:
                self._number, self._rows = self._number + 1, 0
            taken = self._pending[: PART_ROWS - self._rows]
            path = self._folder / f"{self._name}.h5"
            columns: dict[str, Any] = {name: [getattr(row, name) for row in taken] for name in _COLUMNS}
            columns["portrait"] = [np.frombuffer(row.portrait, np.uint8) for row in taken]
            _append(path, columns, self._attributes if self._rows == 0 else None)
            self._rows += len(taken)
            written[self._name] = self._rows
            del self._pending[: len(taken)]
        return written

    @property
    def _name(self) -> str:
        return f"{self._writer}-{self._number}"


class LatentIndex:
    """`latents.h5` itself: which rows of which parts count. `parts` is {name: rows}, in the order of the rows."""

    def __init__(
        self, path: Path, weights: str, options: Mapping[str, Any], drawing: Mapping[str, Any] | None = None
    ) -> None:
        """`options` are those that rows were found with, `drawing` those of their pictures, which parts do not have."""
        self._path = path
        self._attributes = _attributes(weights, options)
        self._drawing = {} if drawing is None else {"drawing": json.dumps(drawing, sort_keys=True)}
        self.parts: dict[str, int] = {}

    def begin(self, keep: Callable[[str], bool]) -> None:
        """Start from what is there, with the rows whose source passes `keep`; or from nothing.

        Raises UsageError if the path holds something that is no latents file.
        """
        folder = self._path.with_name(PARTS)
        before = _parts_of(self._path) if self._path.exists() else {}
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials_of(self._path)
        self.parts = {}
        for number, (name, rows) in enumerate(before.items()):
            with _opened(folder / f"{name}.h5") as file:
                kept = [i for i, source in enumerate(_sources(file, rows)) if keep(source)]
                said = {key: file.attrs[key] for key in ("weights", "options")}
                if len(kept) == len(file["source"]) and said.items() <= self._attributes.items():
                    self.parts[name] = rows
                elif kept:
                    # Under another name, since the index still counts on the old one.
                    kept_name = f"kept{_generation(before)}-{number}"
                    columns = {column: file[column][:rows][kept] for column in _COLUMNS}
                    _append(folder / f"{kept_name}.h5", columns, self._attributes)
                    self.parts[kept_name] = len(kept)
        self._write()
        for path in folder.iterdir():
            # Parts of a run that was killed before the index knew them, and those that lost rows.
            if path.suffix == ".h5" and path.stem not in self.parts:
                path.unlink()

    def count(self, parts: Mapping[str, int]) -> None:
        """Let the rows of `parts` count, which a `LatentWriter` has put on disk."""
        if parts:
            self.parts.update(parts)
            self._write()

    def _write(self) -> None:
        total = sum(self.parts.values())
        with _replaced(self._path) as partial:
            _find_room(partial, _ROOM + 1024 * len(_COLUMNS) * len(self.parts))
            with h5py.File(partial, "w", libver=("earliest", "v110")) as file:
                file.attrs.update(self._attributes | self._drawing)
                for name, (shape, dtype) in _COLUMNS.items():
                    if not total:
                        file.create_dataset(name, (0, *shape), dtype)
                        continue
                    layout, start = h5py.VirtualLayout((total, *shape), dtype), 0
                    for part, rows in self.parts.items():
                        source = h5py.VirtualSource(f"{PARTS}/{part}.h5", name, (rows, *shape), dtype)
                        layout[start : start + rows] = source
                        start += rows
                    file.create_virtual_dataset(name, layout)


def read_rows(path: Path, keep: Callable[[str], bool] = lambda source: True) -> list[FaceRow]:
    """The rows of a latents file whose source passes `keep`. Raises UsageError for a file that is none."""
    return [row for rows in row_blocks(path, _CHUNK) for row in rows if keep(row.source)]


def row_blocks(path: Path, size: int) -> Iterator[list[FaceRow]]:
    """The rows of a latents file in their order, `size` at a time. Raises UsageError for a file that is none."""
    with _opened(path) as file:
        for start in range(0, len(file["source"]), size):
            columns = {name: file[name][start : start + size] for name in _COLUMNS if name != "source"}
            sources = file["source"].asstr()[start : start + size]
            columns["portrait"] = [portrait.tobytes() for portrait in columns["portrait"]]
            yield [FaceRow(source, *row) for source, *row in zip(sources, *columns.values(), strict=True)]


def count_rows(path: Path) -> Counter[str]:
    """How many rows each source has; none where there is no file. Raises UsageError for a file of another kind."""
    if not path.exists():
        return Counter()
    with _opened(path) as file:
        return Counter(_sources(file))


def read_settings(path: Path) -> tuple[str, dict[str, Any]]:
    """The weights and options that a latents file was made with. Raises UsageError for a file of another kind."""
    with _opened(path) as file:
        return file.attrs["weights"], json.loads(file.attrs["options"])


def read_drawing(path: Path) -> dict[str, Any]:
    """The options that a latents file's people were drawn with, {} where it has none. Raises UsageError as above."""
    with _opened(path) as file:
        return json.loads(file.attrs.get("drawing", "{}"))


def _attributes(weights: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "weights": weights,
        "options": json.dumps(options, sort_keys=True),
        "age_classes": list(AGE_CLASSES),
    }


def _generation(parts: Mapping[str, int]) -> int:
    """A number that no part's writer has yet among `parts`."""
    return 1 + max((int(name[4:].partition("-")[0]) for name in parts if name.startswith("kept")), default=0)


def _append(path: Path, columns: Mapping[str, Any], attributes: Mapping[str, Any] | None) -> None:
    """Replace a part by itself and more rows; with `attributes`, write a new one."""
    count = len(columns["source"])
    with _replaced(path) as partial:
        if attributes is None:
            shutil.copyfile(path, partial)
        _find_room(partial, _ROOM + sum(np.asarray(value).nbytes for column in columns.values() for value in column))
        with h5py.File(partial, "r+" if attributes is None else "w") as file:
            if attributes is not None:
                file.attrs.update(attributes)
                for name, (shape, dtype) in _COLUMNS.items():
                    chunks = (_CHUNK, *shape)
                    file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks)
            for name, column in columns.items():
                start = len(file[name])
                file[name].resize(start + count, axis=0)
                if name != "portrait":
                    file[name][start:] = column
                    continue
                for i, portrait in enumerate(column, start):
                    # Together, h5py takes those of one length for a matrix.
                    file[name][i] = portrait


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Give the name to write to; if the block ends well, the file takes the name `path` and survives a power cut."""
    with written_whole(path) as partial:
        yield partial
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A renamed file survives a power cut when its folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_room(path: Path, size: int) -> None:
    """Raise OSError where the disk cannot take `size` more bytes: HDF5 crashes a process that it fails amid a write."""
    with open(path, "ab") as file:
        if hasattr(os, "posix_fallocate"):
            end = file.tell()
            os.posix_fallocate(file.fileno(), end, size)
            file.truncate(end)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The latents file, all of whose shapes and types are as they should be, and its parts' too."""
    hint = "choose another --out folder"
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise UsageError(f"{path} is no latents file of this version", hint)
            _check(file, path)
            yield file
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be read as a latents file: {error}", hint) from error


def _check(file: h5py.File, path: Path) -> None:
    """Raise ValueError unless reading the file gives rows, from this folder, and no more of them than it has bytes."""
    rows = None
    for name, (shape, dtype) in _COLUMNS.items():
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} lies in another file")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 + len(shape):
            raise ValueError(f"{name} is no dataset of such rows")
        if dataset.shape[1:] != shape or dataset.dtype != np.dtype(dtype):
            raise ValueError(f"{name} has rows of {dataset.shape[1:]} {dataset.dtype}")
        rows = len(dataset) if rows is None else rows
        if len(dataset) != rows:
            raise ValueError(f"{name} has {len(dataset)} rows, others have {rows}")
        if dataset.external is not None:
            raise ValueError(f"{name} lies in another file")
        if dataset.is_virtual:
            continue
        if rows and dataset.id.get_storage_size() < rows * dataset.dtype.itemsize:
            raise ValueError(f"{name} has {rows} rows and not the bytes for them")
    if file["source"].is_virtual:
        for part, count in _mapping(file).items():
            with h5py.File(path.parent / PARTS / f"{part}.h5") as opened:
                if opened["source"].is_virtual:
                    raise ValueError(f"part {part} is an index itself")
                _check(opened, path)
                if len(opened["source"]) < count:
                    raise ValueError(f"part {part} has lost rows")


def _mapping(file: h5py.File) -> dict[str, int]:
    """Which parts the index is made of: {name: rows}. Raises ValueError where its datasets say anything else."""
    found = {}
    for name in _COLUMNS:
        parts = {}
        for source in file[name].virtual_sources():
            place = PurePosixPath(source.file_name)
            if place.parent != PurePosixPath(PARTS) or place.suffix != ".h5" or source.dset_name.strip("/") != name:
                raise ValueError(f"{name} lies in {source.file_name}")
            (start, *_), (end, *_) = source.vspace.get_select_bounds()
            parts[place.stem] = int(end - start + 1)
        found[name] = parts
    if any(parts != found["source"] for parts in found.values()):
        raise ValueError("its datasets lie in different parts")
    return found["source"]


def _parts_of(path: Path) -> dict[str, int]:
    with _opened(path) as file:
        return _mapping(file) if file["source"].is_virtual else {}


def _sources(file: h5py.File, rows: int | None = None) -> list[str]:
    return file["source"].asstr()[:rows].tolist()
