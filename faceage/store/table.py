"""Tables in HDF5, a dataset for each column: what the parts of latents and of prepared data are made of."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faceage.files import find_room, written_whole

BYTES = h5py.vlen_dtype(np.uint8)
"""The type of a column whose rows are bytes, of any number: image files."""

Columns = Mapping[str, tuple[tuple[int, ...], Any]]
"""Names of datasets: the shape and the type of one row, `str` for text and `BYTES` for bytes."""

_CHUNK = 256


@contextmanager
def new_file(path: Path, attributes: Mapping[str, Any], size: int, durable: bool = False) -> Iterator[h5py.File]:
    """An HDF5 file of `size` bytes at most to write to, which is at `path` when the block ends well, or not at all.

    Raises OSError before anything is written where the disk has no room for it.
    """
    with written_whole(path, durable) as partial:
        find_room(partial, size)
        with h5py.File(partial, "w", libver=("earliest", "v110")) as file:
            file.attrs.update(attributes)
            yield file


def create(file: h5py.File, columns: Columns, rows: int | None = None) -> None:
    """Create the empty `columns`, for exactly so many `rows`, or for as many as will be appended."""
    for name, (shape, dtype) in columns.items():
        if rows is None:
            file.create_dataset(name, (0, *shape), _kind(dtype), maxshape=(None, *shape), chunks=(_CHUNK, *shape))
        else:
            file.create_dataset(name, (rows, *shape), _kind(dtype))


def append(dataset: h5py.Dataset, values: Sequence[Any] | np.ndarray) -> None:
    """Add rows to a column that was created for any number of them."""
    if len(values):
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        fill(dataset, start, values)


def fill(dataset: h5py.Dataset, start: int, values: Sequence[Any] | np.ndarray) -> None:
    """Write rows from `start` on; text and bytes are objects, one for each row."""
    if dataset.dtype.kind != "O":
        dataset[start : start + len(values)] = values
        return
    objects = np.empty(len(values), object)
    for i, value in enumerate(values):
        objects[i] = np.frombuffer(value, np.uint8) if _is_bytes(dataset) and isinstance(value, bytes) else value
    place = dataset.id.get_space()
    place.select_hyperslab((start,), (len(values),))
    # h5py itself takes byte rows of one length for a matrix, and refuses it.
    dataset.id.write(h5py.h5s.create_simple((len(values),)), place, objects, h5py.h5t.py_create(dataset.dtype))


def read(dataset: h5py.Dataset, rows: slice = slice(None)) -> np.ndarray:
    """Rows of a column, text as `str`."""
    return dataset.asstr()[rows] if h5py.check_string_dtype(dataset.dtype) else dataset[rows]


def checked(file: h5py.File, columns: Columns) -> dict[str, h5py.Dataset]:
    """The columns. Raises ValueError unless all are in this file, of one length, with the bytes for that many rows."""
    datasets: dict[str, h5py.Dataset] = {}
    rows = None
    for name, (shape, dtype) in columns.items():
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is not in this file")
        dataset = datasets[name] = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 + len(shape):
            raise ValueError(f"{name} is not a dataset of such rows")
        (count, *row), kind = dataset.shape, dataset.dtype
        if tuple(row) != shape or not _same_type(kind, np.dtype(_kind(dtype))):
            raise ValueError(f"{name} has rows of {row} {kind}")
        rows = count if rows is None else rows
        if count != rows:
            raise ValueError(f"{name} has {count} rows, others have {rows}")
        if dataset.external is not None or dataset.is_virtual:
            raise ValueError(f"{name} lies in another file")
        if dataset.id.get_storage_size() < rows * kind.itemsize * math.prod(shape):
            raise ValueError(f"{name} has {rows} rows and not the bytes for them")
    return datasets


def room(block: Mapping[str, Sequence[Any] | np.ndarray]) -> int:
    """More bytes than these rows take in a file: {column: values}."""
    return 65_536 + sum(
        # Text and bytes lie in a heap, whose blocks have some space left over.
        64 + (4 * len(value) if isinstance(value, str | bytes) else np.asarray(value).nbytes)
        for values in block.values()
        for value in values
    )


def _kind(dtype: Any) -> Any:
    return h5py.string_dtype() if dtype is str else dtype


def _is_bytes(dataset: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(dataset.dtype) is None


def _same_type(one: np.dtype, other: np.dtype) -> bool:
    return one == other and h5py.check_vlen_dtype(one) == h5py.check_vlen_dtype(other)
