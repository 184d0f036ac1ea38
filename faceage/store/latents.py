"""`latents.h5`: one row per face, readable at any moment by any HDF5 reader.

latents.h5              the index: its settings, the list of parts, and a link for every column
latents/index-….h5      what the links lead to: the columns as virtual datasets over all parts
latents/<writer>-….h5   the parts: latents files with rows of their own

No file is ever changed. Each `write` of a writer adds a part, and the index is replaced, so that a kill at any moment
leaves an index whose rows are all there. When there are more than `_MOST_PARTS`, the small ones at the end are merged.
So a row is copied some seven times until there are a million, and a reader with the usual limit of open files can open
all parts at once. HDF5 answers fill values where a part cannot be opened, so what can go wrong is made an error:
`latents.h5` alone is a file of broken links, and a merged part leaves a stub that cannot be converted to rows. Where a
part is lost all the same, numbers are NaN and not zeros.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.errors import UsageError
from faceage.files import link_or_copy, remove_partials_of
from faceage.images import decode_portrait
from faceage.store.latent_parts import COLUMNS, FORMAT, PARTS, VERSION, opened_part, read_blocks, read_contents
from faceage.store.table import create, fill, new_file, room

_MOST_PARTS = 32
"""Few enough for any limit of open files, many enough that rows are seldom copied."""

_MERGE_ROWS = 256
"""Rows that are in memory while parts are merged."""


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One row; the fields are the datasets of `latents.h5` (boxes and landmarks in pixels of the upright photo).

    `portrait` is the aligned face as an image file (`images.encode_portrait`), b"" in files of version 2.
    """

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
    portrait: bytes = b""

    @property
    def photo(self) -> np.ndarray:
        """The aligned face at its largest, uint8: of 160 pixels where there is a portrait, else of 64."""
        return decode_portrait(self.portrait) if self.portrait else self.aligned


class LatentWriter:
    """Writes rows as parts; they count when the index has been told."""

    def __init__(self, index: Path, writer: str, weights: str, options: Mapping[str, Any]) -> None:
        """Write parts for the `index`, named after `writer`."""
        self._folder = index.with_name(PARTS)
        self._name = _unique(writer)
        self._attributes = _attributes(weights, options)
        self._number = 0

    def write(self, rows: Sequence[FaceRow]) -> dict[str, int]:
        """Put `rows` on disk; the parts that were written, {name: rows}."""
        if not rows:
            return {}
        block = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        name = f"{self._name}-{self._number}"
        _write_part(self._folder / f"{name}.h5", self._attributes, len(rows), room(block), [block])
        self._number += 1
        return {name: len(rows)}


class LatentIndex:
    """`latents.h5` itself: which parts count. `parts` is {name: rows}, in the order of the rows."""

    def __init__(
        self, path: Path, weights: str, options: Mapping[str, Any], drawing: Mapping[str, Any] | None = None
    ) -> None:
        """`options` are those that rows were found with, `drawing` those of their pictures, which parts do not have."""
        self._path = path
        self._drawing = json.dumps(drawing or {}, sort_keys=True)
        self._folder = path.with_name(PARTS)
        self._attributes = _attributes(weights, options)
        self._run = _unique("index")
        self._writes = self._merges = 0
        self.parts: dict[str, int] = {}

    def begin(self, keep: Callable[[str], bool]) -> None:
        """Start from the rows on disk whose source passes `keep`; from none where there is no file.

        Raises UsageError for a file that is not a latents file, or one of an earlier version.
        """
        before = self._before()
        self.parts = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_partials_of(self._path)
        for path, rows in before.items():
            with opened_part(path, rows) as part:
                kept = np.array([keep(source) for source in part["source"].asstr()[:rows]], bool)
            if kept.all() and path.parent == self._folder:
                self.parts[path.stem] = rows
            elif kept.any():
                self.parts[self._merge({path: rows}, [kept])] = int(kept.sum())
        self._write()
        for path in self._folder.glob("*.h5"):
            # Files that a killed run wrote and did not count, and parts that an earlier run merged.
            if path.stem not in self.parts and path != self._index and path not in before:
                path.unlink()
        self._leave_stubs([path for path in before if path.parent == self._folder and path.stem not in self.parts])

    def count(self, parts: Mapping[str, int]) -> None:
        """Let the rows of `parts` count, which a `LatentWriter` has put on disk."""
        if not parts:
            return
        self.parts.update(parts)
        merged = {}
        if len(self.parts) > _MOST_PARTS:
            names = list(self.parts)[_first_to_merge(list(self.parts.values())) :]
            merged = {self._folder / f"{name}.h5": self.parts.pop(name) for name in names}
            self.parts[self._merge(merged)] = sum(merged.values())
        self._write()
        self._leave_stubs(list(merged))

    @property
    def _index(self) -> Path:
        return self._folder / f"{self._run}-{self._writes}.h5"

    def _before(self) -> dict[Path, int]:
        if not self._path.exists():
            return {}
        contents = read_contents(self._path)
        if contents.version != VERSION:
            raise UsageError(
                f"{self._path} was written by an earlier version of faceage", "choose another --out folder"
            )
        return contents.parts

    def _merge(self, parts: Mapping[Path, int], kept: Sequence[np.ndarray] | None = None) -> str:
        """Write the rows of `parts`, those that are `kept` where not all are, into a new part; its name."""
        self._merges += 1
        name = f"{self._run}-merged-{self._merges}"
        masks = kept or [np.ones(rows, bool) for rows in parts.values()]

        def blocks() -> Iterator[dict[str, np.ndarray]]:
            for (path, rows), mask in zip(parts.items(), masks, strict=True):
                with opened_part(path, rows) as part:
                    for start in range(0, rows, _MERGE_ROWS):
                        wanted = mask[start : start + _MERGE_ROWS]
                        if wanted.any():
                            stop = start + len(wanted)
                            yield {name: column[start:stop][wanted] for name, column in part.items()}

        rows = sum(int(mask.sum()) for mask in masks)
        size = room({}) + sum(path.stat().st_size for path in parts)
        _write_part(self._folder / f"{name}.h5", self._attributes, rows, size, blocks())
        return name

    def _write(self) -> None:
        self._writes += 1
        total = sum(self.parts.values())
        size = room({}) + 1024 * len(COLUMNS) * (1 + len(self.parts))
        with new_file(self._index, self._attributes, size, durable=True) as file:
            if not total:
                create(file, COLUMNS, 0)
            for name, (shape, dtype) in COLUMNS.items() if total else ():
                _write_virtual(file, name, (total, *shape), dtype, self.parts)
        contents = {"run": self._run, "parts": json.dumps(self.parts), "drawing": self._drawing}
        with new_file(self._path, {**self._attributes, **contents}, size, durable=True) as file:
            for name in COLUMNS:
                file[name] = h5py.ExternalLink(f"{PARTS}/{self._index.name}", name)
        # Who has just opened latents.h5 may still follow its links.
        (self._folder / f"{self._run}-{self._writes - 2}.h5").unlink(missing_ok=True)

    def _leave_stubs(self, paths: Sequence[Path]) -> None:
        """Put something in the place of parts that makes HDF5 fail where an old index still leads to them."""
        for path in paths[:1]:
            with new_file(path, {}, room({})) as file:
                stub = file.create_dataset("merged into another part", (0,), np.dtype("V1"))
                for name in COLUMNS:
                    file[name] = stub
        for path in paths[1:]:
            link_or_copy(paths[0], path)


def read_rows(path: Path, keep: Callable[[str], bool] = lambda source: True) -> list[FaceRow]:
    """The rows of a latents file whose source passes `keep`. Raises UsageError for a file that is none."""
    return list(_rows(path, keep))


def row_blocks(
    path: Path, size: int = 64, keep: Callable[[str], bool] = lambda source: True
) -> Iterator[list[FaceRow]]:
    """The rows of a latents file whose source passes `keep`, in their order, `size` at a time.

    They are the rows of the moment at which this begins, whatever a batch adds meanwhile. Raises UsageError for a file
    that is none, and where rows are missing.
    """
    rows = _rows(path, keep)
    while block := list(islice(rows, size)):
        yield block


def count_rows(path: Path) -> Counter[str]:
    """How many rows each source has; none where there is no file. Raises UsageError for a file of another kind."""
    if not path.exists():
        return Counter()
    return Counter(source for block in read_blocks(path, {}) for source in block["source"])


def read_settings(path: Path) -> tuple[str, dict[str, Any]]:
    """The weights and options that a latents file was made with. Raises UsageError for a file of another kind."""
    contents = read_contents(path)
    return contents.weights, contents.options


def read_drawing(path: Path) -> dict[str, Any]:
    """The options that a latents file's people were drawn with; {} where it has none. Raises UsageError as above."""
    return read_contents(path).drawing


def _rows(path: Path, keep: Callable[[str], bool]) -> Iterator[FaceRow]:
    for block in read_blocks(path, keep=keep):
        portraits = [bytes(content) for content in block.pop("portrait", [b""] * len(block["source"]))]
        for *values, portrait in zip(*block.values(), portraits, strict=True):
            yield FaceRow(**dict(zip(block, values, strict=True)), portrait=portrait)


def _attributes(weights: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "weights": weights,
        "options": json.dumps(options, sort_keys=True),
        "age_classes": list(AGE_CLASSES),
    }


def _unique(name: str) -> str:
    # An index must not take parts for its own that another run has given their names.
    return f"{name}-{uuid4().hex[:8]}"


def _first_to_merge(rows: Sequence[int]) -> int:
    """The part from which on all are merged: the first that does not have more rows than all behind it together."""
    return next((i for i in range(len(rows) - 1) if rows[i] <= sum(rows[i + 1 :])), len(rows) - 2)


def _write_part(
    path: Path, attributes: Mapping[str, Any], rows: int, size: int, blocks: Iterator[Any] | Sequence[Any]
) -> None:
    # The index that will count on it makes its name durable, in the same folder.
    with new_file(path, attributes, size) as file:
        create(file, COLUMNS, rows)
        start = 0
        for block in blocks:
            for name, values in block.items():
                fill(file[name], start, values)
            start += len(block["source"])


def _write_virtual(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, parts: Mapping[str, int]) -> None:
    dtype = h5py.string_dtype() if dtype is str else dtype
    layout, start = h5py.VirtualLayout(shape, dtype), 0
    for part, rows in parts.items():
        layout[start : start + rows] = h5py.VirtualSource(f"{part}.h5", name, (rows, *shape[1:]), dtype)
        start += rows
    missing = {"f": np.nan, "i": -1}.get(np.dtype(dtype).kind)
    file.create_virtual_dataset(name, layout, fillvalue=missing)
