"""Rows → one HDF5 file of aligned faces, by the same detector and the same transform that `faceage batch` uses.

Rows are stored in the order of a hash, so that the first n are a fair sample: sorted names are often sorted ages.

The work is done in parts of `PART_ROWS` rows. A finished part is a file in FILE.h5.parts/, so that an interrupted run
goes on with the missing parts. At the end the parts are joined to FILE.h5 and deleted.
"""

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import age_class
from faceage.ahead import ahead
from faceage.data.info import DataInfo, read_info
from faceage.data.near_duplicates import descriptors, groups_of
from faceage.data.rows import Row, Rows
from faceage.errors import DataError, PhotoError
from faceage.faces.align import align, face_transform, resized
from faceage.faces.detect import Detection, Detector, most_central
from faceage.images import encode_portrait
from faceage.photos.decode import decode, read_photo
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.dataset import COLUMNS, DROPPED_COLUMNS, VERSION, Part, rows_hash, write
from faceage.store.parts import Parts
from faceage.store.table import BYTES, room

PART_ROWS = 256
"""Rows of a part. A kill costs at most one part, some 15 seconds on two cores."""

_GROUP_BYTES = 64_000_000
"""Decoded photos of a group, at most, give or take one. Three groups are in memory: one being read, one in the
detector, one being aligned."""

SHARES = (0.90, 0.05)
"""Shares of the train and validation splits; the rest is the test split."""


def split_of(source: str, identity: str = "") -> int:
    """Index into `SPLITS`, 90/5/5 by a hash of the identity, so that all photos of a person share a split.

    Where the person is unknown, the file name is hashed: the same photo gets the same split in every data set.
    """
    return int(np.searchsorted(np.cumsum(SHARES), _hash(identity or source.rsplit("/", 1)[-1]), side="right"))


def joined_splits(splits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`splits` (n,) with one split for each of `groups` (n,), the first one of its members.

    That is the train split before the others, so that no photo that was trained on is tested on.
    """
    first = np.full(groups.max(initial=-1) + 1, len(SHARES), np.int8)
    np.minimum.at(first, groups, splits)
    return first[groups]


def hash_order(rows: Sequence[Row]) -> list[Row]:
    """`rows` in the order of a hash of their paths.

    The hash is not that of `split_of`: in its order, all rows of the train split would come first.
    """
    return sorted(rows, key=lambda row: (_hash(f"order of {row.source}"), row.source))


def _hash(key: str) -> float:
    """A number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:8], "big") / 2**64


def fingerprint(rows: Rows) -> str:
    """SHA-256 of everything that decides the file except pixels: version, root, rows, photo sizes and dropped rows.

    It does not depend on the order of the rows.
    """
    digest = hashlib.sha256(json.dumps([VERSION, str(rows.root.resolve())]).encode())
    for row in hash_order(rows.rows):
        path = rows.path(row)
        size = path.stat().st_size if path.exists() else None
        digest.update(json.dumps([row.source, row.age, row.gender, row.identity, size]).encode())
    for source, reason in rows.dropped:
        digest.update(json.dumps([source, reason]).encode())
    return digest.hexdigest()


def prepare(rows: Rows, out: Path, progress: Callable[[int], Any] = lambda done: None) -> DataInfo:
    """Detect, align and store every row's face in `out`; `progress` gets the number of rows done since its last call.

    An interrupted call for the same rows is continued, a finished one is not repeated. In a photo of several faces the
    label belongs to the one nearest the middle, as labelled data sets are laid out. Raises DataError where no face is
    found, and where a disk fails.
    """
    rows = Rows(rows.root, hash_order(rows.rows), rows.dropped)
    attributes = {"root": str(rows.root.resolve()), "rows_sha256": fingerprint(rows)}
    if rows_hash(out) == attributes["rows_sha256"]:
        progress(len(rows.rows))
        return read_info(out)
    parts = Parts(out.with_name(out.name + ".parts"), attributes)
    starts = range(0, len(rows.rows), PART_ROWS)
    missing = [start for start in starts if start not in parts]
    progress(len(rows.rows) - sum(len(rows.rows[start : start + PART_ROWS]) for start in missing))
    with _writing(out):
        parts.folder.mkdir(exist_ok=True)
    for start, part in _made(rows, missing, progress):
        with _writing(out):
            parts.save(start, part)
    with _writing(out):
        # In the folder of the parts, which the next run deletes if this one is killed.
        joined = parts.folder / "joined.h5"
        dropped = _part([], rows.dropped)
        size = room(dropped) + parts.size(starts)
        write(joined, attributes, chain([dropped], _with_splits(parts, starts)), size)
        info = read_info(joined)
        if info.faces:
            os.replace(joined, out)
    parts.delete()
    if info.faces == 0:
        raise DataError(f"no face was found in the {len(rows.rows)} photos of {rows.root}")
    return info


def _with_splits(parts: Parts, starts: Sequence[int]) -> Iterator[Part]:
    """The parts, with near-duplicates in one split."""
    splits, identities, described = [], [], []
    for part in parts.read(starts, "split", "identity", "faces"):
        splits.append(part["split"])
        identities += list(part["identity"])
        # Only these stay in memory, a twelfth of the faces.
        described.append(descriptors(part["faces"]))
    if not splits:
        return
    joined = joined_splits(np.concatenate(splits), groups_of(np.concatenate(described), identities))
    ends = np.cumsum([len(split) for split in splits])
    for part, split in zip(parts.read(starts), np.split(joined, ends[:-1]), strict=True):
        yield {**part, "split": split}


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Where the disk is full or fails, h5py raises either, in its own words.
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{out} cannot be written: {reason}", "mend that, and the same command goes on") from error


@dataclass
class _Group:
    """Some photos of the part that begins at row `start`, None for an unreadable one, and their detections."""

    start: int
    photos: list[tuple[Row, np.ndarray | None]] = field(default_factory=list)
    detections: list[list[Detection]] = field(default_factory=list)


def _made(rows: Rows, starts: Sequence[int], progress: Callable[[int], Any]) -> Iterator[tuple[int, Part]]:
    """The parts that begin at the rows `starts`.

    The detector takes most of the time and all cores; photos are read and aligned in threads beside it. Several
    processes, each with a TensorFlow of 1 GB, were no faster.
    """
    if not starts:
        return
    detector = Detector()

    def detected(groups: Iterable[_Group]) -> Generator[_Group, None, None]:
        for group in groups:
            group.detections = detector.detect([photo for _, photo in group.photos if photo is not None])
            yield group

    groups = ahead(detected(ahead(_read(rows, starts))))
    for start, members in groupby(groups, lambda group: group.start):
        kept: list[tuple[Any, ...]] = []
        dropped: list[tuple[str, str]] = []
        for group in members:
            _align(group, kept, dropped)
            progress(len(group.photos))
        yield start, _part(kept, dropped)


def _read(rows: Rows, starts: Sequence[int]) -> Generator[_Group, None, None]:
    """Each part's photos in groups, which never cross parts: a resumed run has the same batches, and gives the same
    bits.
    """
    for start in starts:
        group, size = _Group(start), 0
        for row in rows.rows[start : start + PART_ROWS]:
            photo = _photo(rows.path(row))
            group.photos.append((row, photo))
            size += 0 if photo is None else photo.nbytes
            if size >= _GROUP_BYTES:
                yield group
                group, size = _Group(start), 0
        if group.photos:
            yield group


def _photo(path: Path) -> np.ndarray | None:
    """The pixels, or None for a damaged file. Raises DataError where it is not the file that fails but the disk."""
    try:
        return decode(_content(path))
    except PhotoError:
        return None


def _content(path: Path) -> bytes:
    try:
        return read_photo(path)
    except PhotoError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, PermissionError):
            # All remaining photos may fail in the same way, and would be dropped from the data for good.
            raise DataError(f"{path} {error}", "mend that, and the same command goes on") from error
        raise


def _align(group: _Group, kept: list[tuple[Any, ...]], dropped: list[tuple[str, str]]) -> None:
    """Add a row of `COLUMNS` for each face to `kept`, and source and reason of each other photo to `dropped`."""
    detections = iter(group.detections)
    for row, photo in group.photos:
        if photo is None:
            dropped.append((row.source, "unreadable"))
        elif not (faces := next(detections)):
            dropped.append((row.source, "no face"))
        else:
            face = most_central(faces, photo)
            transform = face_transform(face.landmarks)
            portrait = align(photo, resized(transform, PORTRAIT_SIZE), PORTRAIT_SIZE)
            kept.append(
                (
                    align(photo, transform),
                    np.frombuffer(encode_portrait(portrait), np.uint8),
                    row.age,
                    age_class(row.age),
                    split_of(row.source, row.identity),
                    row.source,
                    row.gender,
                    row.identity,
                    face.box,
                    face.landmarks,
                )
            )


def _part(kept: Sequence[tuple[Any, ...]], dropped: Sequence[tuple[str, str]]) -> Part:
    return {
        name: _column([row[i] for row in rows], shape, dtype)
        for columns, rows in ((COLUMNS, kept), (DROPPED_COLUMNS, dropped))
        for i, (name, (shape, dtype)) in enumerate(columns.items())
    }


def _column(values: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if dtype is str or dtype is BYTES:
        column = np.empty(len(values), object)
        for i, value in enumerate(values):
            # One by one: NumPy takes arrays that happen to be of one length for a matrix.
            column[i] = value
        return column
    return np.array(values, dtype).reshape(len(values), *shape)
