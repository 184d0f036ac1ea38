"""Rows → one HDF5 file of aligned faces, by the same detector and the same transform that `faceage batch` uses.

The rows are in the order of a hash, so that the first n of them are a fair sample: sorted names are sorted ages.

The work is done in parts of `PART_ROWS` rows. A finished part is a file in FILE.h5.parts/, and a run that was killed
goes on with the parts that are missing. At the end the parts are joined to FILE.h5 and deleted.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from faceage.ages import age_class
from faceage.data.info import DataInfo, read_info
from faceage.data.near_duplicates import descriptors, groups_of
from faceage.data.rows import Row, Rows
from faceage.errors import DataError, PhotoError
from faceage.faces.align import align, face_transform, resized
from faceage.faces.detect import Detection, Detector, most_central
from faceage.images import PORTRAIT_SIZE, encode_portrait
from faceage.photos.decode import decode, read_photo
from faceage.store.dataset import COLUMNS, DROPPED_COLUMNS, VERSION, Part, made_of, write
from faceage.store.parts import Parts
from faceage.store.table import BYTES, room

PART_ROWS = 256
"""Rows in a part: what a kill costs at most, some 15 seconds of two cores."""

_GROUP_BYTES = 64_000_000
"""A group of decoded photos ends where it is so large. Three are in memory: one read, one searched, one aligned."""

SHARES = (0.90, 0.05)
"""Of the faces that go into the train and the validation split; the rest is for testing."""

T = TypeVar("T")


def split_of(source: str, identity: str = "") -> int:
    """Index into `store.SPLITS`, 90/5/5 by a hash of the identity, so that nobody is in two splits.

    Of someone unknown the file name is hashed: the same photo falls the same way in every data set.
    """
    return int(np.searchsorted(np.cumsum(SHARES), _position(identity or _name(source)), side="right"))


def splits_of(sources: np.ndarray, identities: np.ndarray, described: np.ndarray) -> np.ndarray:
    """Split (n,) of each face, near-duplicates together: the same photo again, cut or retouched, is in no other split.

    `described` are the `descriptors` of the faces. A group that hashes fall apart goes to the first of its splits,
    training, so that nothing which was trained on is tested on.
    """
    splits = np.array([split_of(source, person) for source, person in zip(sources, identities, strict=True)], np.int8)
    groups = groups_of(described, list(identities))
    first = np.full(groups.max(initial=-1) + 1, len(SHARES), np.int8)
    np.minimum.at(first, groups, splits)
    return first[groups]


def hash_order(rows: Sequence[Row]) -> list[Row]:
    """`rows` in the order of a hash of their file names, which says nothing of what they show."""
    return sorted(rows, key=lambda row: (_position(_name(row.source)), row.source))


def _name(source: str) -> str:
    return source.rsplit("/", 1)[-1]


def _position(key: str) -> float:
    """0..1 by a hash."""
    return int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:8], "big") / 2**64


def fingerprint(rows: Rows) -> str:
    """SHA-256 of what decides the file, save the pixels themselves: version, root, rows, sizes of the photos, drops."""
    digest = hashlib.sha256(json.dumps([VERSION, str(rows.root.resolve())]).encode())
    for row in rows.rows:
        path = rows.path(row)
        size = path.stat().st_size if path.exists() else None
        digest.update(json.dumps([row.source, row.age, row.gender, row.identity, size]).encode())
    for source, reason in rows.dropped:
        digest.update(json.dumps([source, reason]).encode())
    return digest.hexdigest()


def prepare(rows: Rows, out: Path, progress: Callable[[int], Any] = lambda done: None) -> DataInfo:
    """Detect, align and store every row's face in `out`; `progress` is told how many rows have just been done.

    Goes on where an earlier call for the same rows was stopped, and leaves `out` as it is where one came to its end. Of
    several faces in a photo the label belongs to the one nearest the middle, by the layout of labelled data sets.
    Raises DataError where not one face is found, and where a disk fails.
    """
    rows = Rows(rows.root, hash_order(rows.rows), rows.dropped)
    attributes = {"root": str(rows.root.resolve()), "rows_sha256": fingerprint(rows)}
    if made_of(out, attributes["rows_sha256"]):
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
        # Beside the parts, so that a kill leaves nothing that the next run does not clear away.
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
    """The parts, each face in the split that it has among all of them."""
    known = list(parts.read(starts, "source", "identity", "faces"))
    sources, identities = (np.concatenate([part[name] for part in known]) for name in ("source", "identity"))
    splits = splits_of(sources, identities, np.concatenate([descriptors(part["faces"]) for part in known]))
    start = 0
    for part in parts.read(starts):
        count = len(part["source"])
        yield {**part, "split": splits[start : start + count]}
        start += count


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
    """Photos of one part on their way: the pixels of every row, None if unreadable, and what the detector found."""

    start: int
    photos: list[tuple[Row, np.ndarray | None]] = field(default_factory=list)
    detections: list[list[Detection]] = field(default_factory=list)


def _made(rows: Rows, starts: Sequence[int], progress: Callable[[int], Any]) -> Iterator[tuple[int, Part]]:
    """The parts that begin at the rows `starts`.

    The detector takes most of the time and every core; reading and aligning go on beside it. Several processes, each
    with a TensorFlow of 1 GB, were no faster.
    """
    if not starts:
        return
    detector = Detector()

    def detected(groups: Iterable[_Group]) -> Iterator[_Group]:
        for group in groups:
            group.detections = detector.detect([photo for _, photo in group.photos if photo is not None])
            yield group

    groups = _ahead(detected(_ahead(_read(rows, starts))))
    for start, members in groupby(groups, lambda group: group.start):
        kept: list[tuple[Any, ...]] = []
        dropped: list[tuple[str, str]] = []
        for group in members:
            _align(group, kept, dropped)
            progress(len(group.photos))
        yield start, _part(kept, dropped)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one being made in a thread while the last one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _read(rows: Rows, starts: Sequence[int]) -> Iterator[_Group]:
    """Each part's photos in groups. Where a group ends depends on its part alone, so that a resumed run, whose batches
    would otherwise be others, gives the same bits.
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
            # All the rest of the photos may be about to fail like this, and would be gone from the data for good.
            raise DataError(f"{path} {error}", "mend that, and the same command goes on") from error
        raise


def _align(group: _Group, kept: list[tuple[Any, ...]], dropped: list[tuple[str, str]]) -> None:
    """Add a row of `COLUMNS` for each face to `kept`, pixels and labels as one, and to `dropped` what has no face."""
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
            # All at once, NumPy would take arrays of one length for a matrix.
            column[i] = value
        return column
    return np.array(values, dtype).reshape(len(values), *shape)
