"""The report of a batch: what its manifest and its latents say, on one page."""

import os
import platform
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import numpy as np

from faceage.ages import AGE_CLASSES, Age, young_to_old
from faceage.batch.names import grid_path, lies_below
from faceage.batch.options import DrawOptions
from faceage.batch.plan import LATENTS, MANIFEST, writing_to
from faceage.errors import UsageError
from faceage.files import remove_partials, remove_partials_of, write_text
from faceage.images import decode_portrait
from faceage.people.drawn import Drawn
from faceage.photos.find import printable
from faceage.pictures.grid import person_cells
from faceage.report.page import (
    FACES_A_SHEET,
    INLINE_BYTES,
    SIDE,
    Contents,
    Sheets,
    ShownFace,
    face_sheet,
    render_report,
)
from faceage.store.latents import FaceRow, read_settings, row_blocks
from faceage.store.manifest import OK, STATUSES, PhotoOutcome, read_manifest

REPORT, PICTURES = "report.html", "report"
_MOST_FAILURES = 10_000
_GREY = 128
"""Of what cannot be shown."""
_PACKAGES = ("faceage", "keras", "tensorflow", "torch", "mtcnn", "numpy", "pillow")


Draw = Callable[[Sequence[FaceRow], Sequence[Age], float], Sequence[Drawn]]
"""Draws people as `people.draw.PeoplePainter` does."""


def write_report(
    out: Path,
    most: int,
    model: str = "",
    draw: Draw | None = None,
    inline_bytes: int = INLINE_BYTES,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Path:
    """Write the report of the batch in the folder `out`, which may still be running; the page's path.

    At most `most` faces are shown, evenly chosen from all, as `draw` draws them of their latents; without it only the
    photos are. Pictures lie in the page if they take `inline_bytes` there or less, beside it otherwise. `model` is the
    name of the model that was used. `progress` is told how many of how many faces are there. Raises UsageError
    where there is no batch in `out`, or it cannot be written to.
    """
    if not (out / MANIFEST).is_file() or not (out / LATENTS).is_file():
        raise UsageError(f"there is no batch in {out}", "name the --out of 'faceage batch'; shards have to be merged")
    photos = read_manifest(out / MANIFEST)
    options = DrawOptions.of_latents(out / LATENTS)
    ages = young_to_old(options.ages)
    faces = _AllFaces(total=sum(row.faces for row in photos.values() if row.status == OK), most=most)
    with writing_to(out):
        _remove_partials(out)
        sheets = Sheets(out / PICTURES, inline_bytes)
        shown: list[ShownFace] = []
        chosen = faces.choose(_finished(out, photos))
        while rows := list(islice(chosen, 2 * FACES_A_SHEET)):
            people = draw(rows, ages, options.strength) if draw else [_undrawn(row, len(ages)) for row in rows]
            cells = [person_cells(one.photo, one.rebuilt, one.aged, SIDE) for one in people]
            for start in range(0, len(cells), FACES_A_SHEET):
                sheets.add(face_sheet(np.stack(cells[start : start + FACES_A_SHEET])))
            shown += [_shown(out, row, photos[row.source]) for row in rows]
            progress(len(shown), min(faces.total, most))
        contents = Contents(
            title=printable(PurePath(out.resolve().name)),
            photos=_count_photos(photos.values()),
            faces=shown,
            total_faces=len(faces.distances) // 2,
            failures=list(islice((row for row in photos.values() if row.status != OK), _MOST_FAILURES)),
            ages=[age.label for age in ages],
            drawn=draw is not None,
            distances=np.array(faces.distances, np.float32).reshape(-1, 2),
            age_counts=faces.ages,
            seconds=_sum_seconds(photos.values()),
            settings=_describe(out / LATENTS, options, model),
            versions=_versions(),
        )
        write_text(out / REPORT, render_report(contents, sheets.urls()))
        sheets.remove_others()
    return out / REPORT


def _remove_partials(out: Path) -> None:
    """Remove what a report that was killed left half-written."""
    remove_partials(out / PICTURES)
    remove_partials_of(out / REPORT)


def _finished(out: Path, photos: Mapping[str, PhotoOutcome]) -> Iterator[FaceRow]:
    """The rows of photos that the manifest has: others are still being written, or were when a run was killed."""
    for rows in row_blocks(out / LATENTS, FACES_A_SHEET):
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


def _undrawn(row: FaceRow, ages: int) -> Drawn:
    """The photo, and grey in place of what is not drawn."""
    grey = np.full_like(row.aligned, _GREY)
    photo = decode_portrait(row.portrait) if row.portrait else row.aligned
    return Drawn(photo, grey, grey, np.stack([grey] * ages))


def _shown(out: Path, row: FaceRow, photo: PhotoOutcome) -> ShownFace:
    before, after = row.identity_distance.tolist()
    # A stranger's latents must not choose what of this machine is shown.
    path = grid_path(out, row.source, int(row.face)) if lies_below(row.source) else None
    return ShownFace(
        name=row.source,
        number=int(row.face) + 1 if photo.faces > 1 else 0,
        grid=quote(os.fsencode(path.relative_to(out).as_posix())) if path and path.is_file() else "",
        age=int(row.age.argmax()),
        before=before,
        after=after,
        warning=photo.warning,
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


def _describe(latents: Path, options: DrawOptions, model: str) -> dict[str, str]:
    """What decided how the faces came out, in words."""
    weights, found = read_settings(latents)
    said = {"model": model} if model else {}
    said |= {"weights": weights, "ages": ", ".join(options.labels)}
    for option, value in {**found, **options.to_json()}.items():
        if option in ("age", "age_class"):
            said["people's age"] = "estimated" if value is None else str(value)
        elif option == "min_face":
            said["narrowest face"] = "1/32 of the photo's longer side" if value is None else f"{value} pixels"
        elif option == "optimiser":
            said[option] = ", ".join(f"{name} {number}".replace("_", " ") for name, number in value.items())
        elif option not in ("ages", "targets"):
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
