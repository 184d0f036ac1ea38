"""Reading latents files: their rows lie in parts, of which one is open at a time, whatever their number.

Files come from strangers, too, so nothing is read before it has been checked, and no path that a file names is followed
out of its folder.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.errors import UsageError
from faceage.sizes import FACE_SIZE, LATENT_SIZE, OFFSET_SIZE
from faceage.store.table import BYTES, Columns, checked, read

FORMAT = "faceage-latents"
VERSION = 3
PARTS = "latents"
"""The folder of the parts, beside the index."""

COLUMNS: Columns = {
    "source": ((), str),
    "face": ((), np.int32),
    "box": ((4,), np.float32),
    "landmarks": ((5, 2), np.float32),
    "confidence": ((), np.float32),
    "aligned": ((FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "portrait": ((), BYTES),
    "age": ((len(AGE_CLASSES),), np.float32),
    "latent_initial": ((LATENT_SIZE,), np.float32),
    "latent": ((LATENT_SIZE,), np.float32),
    "offset": ((OFFSET_SIZE,), np.float16),
    "identity_distance": ((2,), np.float32),
    "transform": ((2, 3), np.float32),
}
_BEFORE_PORTRAITS: Columns = {name: column for name, column in COLUMNS.items() if name != "portrait"}
"""The columns of version 2."""

_CHUNK = 64
_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class Contents:
    """What a latents file says of itself: `parts` are its parts' paths and rows, in order; a part is one by itself.

    `run` is another one whenever a batch begins: as long as it stays, rows are added at the end and none is removed.
    """

    version: int
    run: str
    weights: str
    options: dict[str, Any]
    parts: dict[Path, int]
    drawing: dict[str, Any]


def read_contents(path: Path) -> Contents:
    """Raises UsageError for anything but a latents file of this version or the one before."""
    with _opened(path) as (file, version):
        options, weights = json.loads(file.attrs["options"]), file.attrs["weights"]
        drawing = json.loads(file.attrs.get("drawing", "{}"))
        if not isinstance(options, dict) or not isinstance(weights, str) or not isinstance(drawing, dict):
            raise ValueError("its weights or options are none")
        if "parts" in file.attrs:
            parts = json.loads(file.attrs["parts"])
        elif isinstance(file.get("source", getlink=True), h5py.HardLink) and file["source"].is_virtual:
            parts = _mapping(file["source"])
        else:
            return Contents(
                version, "", weights, options, {path: len(checked(file, _columns(version))["source"])}, drawing
            )
        if not isinstance(parts, dict) or not all(map(_NAME.fullmatch, parts)):
            raise ValueError("its list of parts is none")
        if not all(type(rows) is int and rows > 0 for rows in parts.values()):
            raise ValueError("its parts have no rows")
        run = str(file.attrs.get("run", ""))
    folder = path.with_name(PARTS)
    if parts and not folder.is_dir():
        hint = f"copy the folder {PARTS} that lay beside it, too: it holds the rows"
        raise UsageError(f"{path} is only the index of its rows, and there is no {folder}", hint)
    paths = {folder / f"{name}.h5": rows for name, rows in parts.items()}
    return Contents(version, run, weights, options, paths, drawing)


def read_blocks(
    path: Path, columns: Columns = COLUMNS, keep: Callable[[str], bool] = lambda source: True
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of a latents file in order, those whose source passes `keep`, a few at a time: {column: values}.

    They are the rows that were there at the first call, also while a batch adds rows and merges parts. Raises
    UsageError for anything but a latents file, and where rows are missing.
    """
    contents = read_contents(path)
    total, done = sum(contents.parts.values()), 0
    while done < total:
        try:
            for block, rows in _blocks_from(contents, done, total, columns, keep):
                done += rows
                if len(block["source"]):
                    yield block
        except UsageError:
            # The part may have been merged into another. That leaves the rows in their order.
            before, contents = contents, read_contents(path)
            if contents.run != before.run or contents.parts == before.parts:
                raise


def _blocks_from(
    contents: Contents, start: int, stop: int, columns: Columns, keep: Callable[[str], bool]
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Blocks from the row `start` up to `stop`, and how many rows each was taken from."""
    first = 0
    for path, rows in contents.parts.items():
        if first + rows > start and first < stop:
            with opened_part(path, rows) as part:
                for at in range(max(start - first, 0), min(rows, stop - first), _CHUNK):
                    end = min(at + _CHUNK, rows, stop - first)
                    yield _block(part, slice(at, end), columns, keep), end - at
        first += rows


def _block(
    part: dict[str, h5py.Dataset], rows: slice, columns: Columns, keep: Callable[[str], bool]
) -> dict[str, np.ndarray]:
    sources = read(part["source"], rows)
    kept = np.array([keep(source) for source in sources], bool)
    if not kept.any():
        return {"source": sources[:0]}
    block = {name: read(part[name], rows)[kept] for name in columns if name in part and name != "source"}
    return {"source": sources[kept], **block}


@contextmanager
def opened_part(path: Path, rows: int) -> Iterator[dict[str, h5py.Dataset]]:
    """The columns of a part. Raises UsageError unless it has at least so many `rows`."""
    with _opened(path) as (file, version):
        part = checked(file, _columns(version))
        if len(part["source"]) < rows:
            raise ValueError("rows are missing")
        yield part


def _columns(version: int) -> Columns:
    return COLUMNS if version == VERSION else _BEFORE_PORTRAITS


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, int]]:
    hint = "choose another --out folder"
    try:
        with h5py.File(path) as file:
            version = file.attrs.get("version")
            if file.attrs.get("format") != FORMAT or version not in (2, VERSION):
                raise UsageError(f"{path} is not a latents file of this version", hint)
            yield file, int(version)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be read as a latents file: {error}", hint) from error


def _mapping(sources: h5py.Dataset) -> dict[str, int]:
    """The parts of an index of version 2, {name: rows}, by its column `source`."""
    parts = {}
    for source in sources.virtual_sources():
        place = PurePosixPath(source.file_name)
        if place.parent != PurePosixPath(PARTS) or place.suffix != ".h5":
            raise ValueError(f"rows lie in {source.file_name}")
        (start, *_), (end, *_) = source.vspace.get_select_bounds()
        parts[place.stem] = int(end - start + 1)
    return parts
