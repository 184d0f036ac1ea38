"""Folders of labelled photos in any known layout, as rows and as a prepared data set."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faceage.data.imdb_wiki import HALVES, imdb_wiki_rows
from faceage.data.labelled import LABELS, labelled_rows
from faceage.data.prepare import fingerprint, prepare
from faceage.data.rows import Filters, Rows
from faceage.data.utkface import NO_AGE, utkface_rows
from faceage.errors import DataError, UsageError
from faceage.files import make_folder
from faceage.store.dataset import opened, rows_hash

LAYOUTS = (
    "a source is IMDB-WIKI as published (imdb_crop/imdb.mat, wiki_crop/wiki.mat), "
    "a folder with labels.csv (path, age[, identity][, gender]), "
    "or UTKFace ([age]_[gender]_[race]_[date&time].jpg, for example 26_1_0_20170116171048641.jpg)"
)


PREPARED = "data.h5"
"""The file in a run's folder that its data are prepared in."""


def read_rows(source: Path, filters: Filters) -> Rows:
    """The labelled photos of a folder, whose layout, one of `LAYOUTS`, is recognised by its files.

    Rows that are not used are in `dropped`, for example as "missing file". Raises DataError for another folder, for
    label files that cannot be read, and where no row is left.
    """
    if not source.is_dir():
        raise DataError(f"no such folder: {source}", LAYOUTS)
    if any((source / file).is_file() for file in HALVES.values()):
        rows = imdb_wiki_rows(source, filters)
    elif (source / LABELS).is_file():
        rows = labelled_rows(source, filters)
    else:
        rows = utkface_rows(source, filters)
        if not rows.rows and all(reason == NO_AGE for _, reason in rows.dropped):
            raise DataError(f"{source} is no source of faces with ages", LAYOUTS)
    _drop_absent(rows)
    if not rows.rows:
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(r for _, r in rows.dropped).most_common())
        raise DataError(f"not one photo of {source} can be used: {counts or 'it lists none'}")
    return rows


def prepared(
    source: Path,
    run_folder: Path,
    filters: Filters,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    in_use: bool = False,
) -> Path:
    """`source` itself if it is a prepared file, else run_folder/`PREPARED`, prepared from the folder `source`.

    A file prepared from the same rows is used again, one of other rows replaced. `progress` counts rows, done and in
    all. Raises UsageError as `reusable` and `make_folder` do, DataError as `read_rows` and `prepare` do.
    """
    if source.is_file():
        with opened(source):
            return source
    rows = read_rows(source, filters)
    out = run_folder / PREPARED
    # Refused before anything is written.
    if reusable(rows, out, in_use):
        progress(len(rows.rows), len(rows.rows))
        return out
    make_folder(run_folder)
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, len(rows.rows))

    prepare(rows, out, count)
    return out


def reusable(rows: Rows, out: Path, in_use: bool) -> bool:
    """Whether `out` was prepared from these rows.

    Raises UsageError where it was prepared from others and is `in_use`: stages were trained on it.
    """
    before = rows_hash(out)
    same = before == fingerprint(rows)
    if in_use and before is not None and not same:
        raise UsageError(
            f"{out} was prepared from other photos or labels than {rows.root} has now, and stages were trained on it",
            "choose another --run folder, or begin all stages again: faceage train all … --restart",
        )
    return same


def _drop_absent(rows: Rows) -> None:
    """Drop the rows whose photo is missing, or whose name is not UTF-8 and so cannot be stored in HDF5."""
    present = []
    for row in rows.rows:
        if row.source.encode("utf-8", "ignore").decode() != row.source:
            rows.drop(row.source, "name is not UTF-8")
        elif not os.path.isfile(rows.path(row)):
            rows.drop(row.source, "missing file")
        else:
            present.append(row)
    rows.rows = present
