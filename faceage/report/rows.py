"""The report of a batch: what its manifest, latents and grids say, on one page."""

import os
import platform
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.batch.plan import LATENTS, MANIFEST, grid_path, lies_below
from faceage.errors import UsageError
from faceage.files import remove_partials, remove_partials_of, write_text
from faceage.photos.find import printable, unescaped
from faceage.pictures.grid import cut_person
from faceage.report.page import (
    FACES_A_SHEET,
    INLINE_BYTES,
    Contents,
    Failure,
    Sheets,
    ShownFace,
    face_sheet,
    render_report,
)
from faceage.store.latents import FaceRow, read_settings, row_blocks
from faceage.store.manifest import OK, STATUSES, PhotoOutcome, read_manifest

REPORT, PICTURES = "report.html", "report"
_MOST_FAILURES = 10_000
_SHEETS_AT_ONCE = 8
_GREY = 128
"""Of what cannot be shown."""
_PACKAGES = ("faceage", "keras", "tensorflow", "torch", "mtcnn", "numpy", "pillow")


def write_report(
    out: Path,
    most: int,
    model: tuple[str, str] = ("", ""),
    inline_bytes: int = INLINE_BYTES,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Path:
    """Write the report of the batch in the folder `out`, which may still be running; the page's path.

    At most `most` faces are shown, evenly chosen from all; their pictures lie in the page if they take `inline_bytes`
    there or less, beside it otherwise. `model` is the fingerprint and the name of a model that may be the one that was
    used. `progress` is told how many of how many faces are there. Raises UsageError where there is no batch in `out`,
    or it cannot be written to.
    """
    if not (out / MANIFEST).is_file() or not (out / LATENTS).is_file():
        raise UsageError(f"there is no batch in {out}", "name the --out of 'faceage batch'; shards have to be merged")
    photos = {row.path: row for row in read_manifest(out / MANIFEST)}
    weights, options = read_settings(out / LATENTS)
    pictures = _Pictures(out, options["targets"])
    faces = _AllFaces(total=sum(row.faces for row in photos.values()), most=most)
    sheets = Sheets(out / PICTURES, inline_bytes)
    shown: list[ShownFace] = []
    try:
        _remove_partials(out)
        with ThreadPoolExecutor() as pool:
            chosen = faces.choose(_finished(out, photos))
            while rows := list(islice(chosen, _SHEETS_AT_ONCE * FACES_A_SHEET)):
                drawn, grids = zip(*pool.map(pictures, rows), strict=True)
                starts = range(0, len(rows), FACES_A_SHEET)
                for sheet in pool.map(face_sheet, [np.stack(drawn[at : at + FACES_A_SHEET]) for at in starts]):
                    sheets.add(sheet)
                shown += [_shown(row, grid, photos[row.source].faces) for row, grid in zip(rows, grids, strict=True)]
                progress(len(shown), min(faces.total, most))
        contents = Contents(
            title=printable(PurePath(out.resolve().name)),
            photos=_count_photos(photos.values()),
            faces=shown,
            total_faces=len(faces.distances) // 2,
            failures=[
                Failure(row.path, row.status, row.reason)
                for row in islice((row for row in photos.values() if row.status != OK), _MOST_FAILURES)
            ],
            ages=pictures.ages,
            distances=np.array(faces.distances, np.float32).reshape(-1, 2),
            age_counts=faces.ages,
            seconds=_sum_seconds(photos.values()),
            settings=_describe(options, weights, model),
            versions=_versions(),
        )
        write_text(out / REPORT, render_report(contents, sheets.urls()))
        sheets.remove_others()
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {out}: {error.strerror or error}", "free some space; the faces are all there"
        ) from error
    return out / REPORT


def _remove_partials(out: Path) -> None:
    """Remove what a report that was killed left half-written."""
    remove_partials(out / PICTURES)
    remove_partials_of(out / REPORT)


def _finished(out: Path, photos: Mapping[str, PhotoOutcome]) -> Iterator[FaceRow]:
    """The rows of photos that the manifest has: others are still being written, or were when a run was killed."""
    for rows in row_blocks(out / LATENTS, FACES_A_SHEET * _SHEETS_AT_ONCE):
        yield from (row for row in rows if row.source in photos and photos[row.source].status == OK)


@dataclass
class _AllFaces:
    """Counts every face, and chooses those to show: all, or `most` of `total`, evenly."""

    total: int
    most: int
    distances: "array[float]" = field(default_factory=lambda: array("f"))
    """Before and after by turns, in four bytes each: there may be millions."""
    ages: np.ndarray = field(default_factory=lambda: np.zeros(len(AGE_CLASSES), int))

    def choose(self, rows: Iterable[FaceRow]) -> Iterator[FaceRow]:
        for number, row in enumerate(rows):
            self.distances.extend(row.identity_distance.tolist())
            self.ages[row.age.argmax()] += 1
            if (number + 1) * self.most // self.total > number * self.most // self.total:
                yield row


class _Pictures:
    """Gives (2 + ages, 64, 64, 3) uint8 for a row: aligned, rebuilt, and `ages` from young to old; and the grid's URL.

    Where the grid is gone, all but the first are grey, and there is no URL.
    """

    def __init__(self, out: Path, targets: list[int]) -> None:
        """`targets` are the classes in the grids, which may be in any order, or there twice."""
        self._out = out
        self._targets = len(targets)
        wanted, columns = np.unique(targets, return_index=True)
        self.ages = [AGE_CLASSES[target] for target in wanted]
        self._columns = [1, *(2 + columns)]

    def __call__(self, row: FaceRow) -> tuple[np.ndarray, str]:
        faces = np.full((2 + len(self.ages), *row.aligned.shape), _GREY, np.uint8)
        faces[0] = row.aligned
        path = _find_grid(self._out, row)
        if path is None:
            return faces, ""
        try:
            with Image.open(path) as grid:
                faces[1:] = cut_person(grid, self._targets)[self._columns]
        except (OSError, ValueError, Image.DecompressionBombError):
            # Somebody has put something else there, or cut it off.
            return faces, ""
        return faces, quote(os.fsencode(path.relative_to(self._out).as_posix()))


def _find_grid(out: Path, row: FaceRow) -> Path | None:
    """The grid of a face, or None where it is gone."""
    for relative in (PurePosixPath(row.source), PurePosixPath(unescaped(row.source))):
        # A stranger's latents must not choose what of this machine is shown.
        if not lies_below(relative):
            continue
        path = grid_path(out, relative, int(row.face))
        if path.is_file():
            return path
    return None


def _shown(row: FaceRow, grid: str, faces: int) -> ShownFace:
    before, after = row.identity_distance.tolist()
    return ShownFace(
        name=row.source,
        number=int(row.face) + 1 if faces > 1 else 0,
        grid=grid,
        age=int(row.age.argmax()),
        before=before,
        after=after,
    )


def _count_photos(rows: Iterable[PhotoOutcome]) -> dict[str, int]:
    counts = Counter(row.status for row in rows)
    return {status: counts[status] for status in STATUSES}


def _sum_seconds(rows: Iterable[PhotoOutcome]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for row in rows:
        for stage, value in row.seconds.items():
            seconds[stage] += value
    return dict(seconds)


def _describe(options: Mapping[str, Any], weights: str, model: tuple[str, str]) -> dict[str, str]:
    """What decided how the faces came out, in words."""
    fingerprint, name = model
    said = {"model": name} if fingerprint == weights else {}
    said["weights"] = weights
    for option, value in options.items():
        if option == "targets":
            said["ages"] = ", ".join(AGE_CLASSES[target] for target in value)
        elif option == "age_class":
            said["people's age"] = "estimated" if value is None else AGE_CLASSES[value]
        elif option == "min_face":
            said["narrowest face"] = "1/32 of the photo's longer side" if value is None else f"{value} pixels"
        elif option == "optimiser":
            said[option] = ", ".join(f"{name} {number}".replace("_", " ") for name, number in value.items())
        else:
            said[option.replace("_", " ")] = str(value)
    return said


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # PyTorch is an extra, and TensorFlow may be one of its other distributions.
            continue
    return {**versions, "python": platform.python_version()}
