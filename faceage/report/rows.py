"""The report of a batch: what its manifest and its latents say, on one page."""

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
from faceage.batch.names import PASTED, grid_path, lies_below, pasted_paths, picture_path
from faceage.batch.options import DrawOptions
from faceage.batch.plan import LATENTS, MANIFEST, writing_to
from faceage.batch.strips import drawn_with, strip_path, write_strip
from faceage.errors import UsageError
from faceage.files import remove_partials_of, write_text
from faceage.people.drawn import Drawn
from faceage.photos.find import printable
from faceage.report.page import INLINE_BYTES, Contents, ShownFace, file_url, picture_urls, render_report
from faceage.store.latents import FaceRow, read_drawing, read_settings, row_blocks
from faceage.store.manifest import OK, STATUSES, PhotoOutcome, read_manifest

REPORT = "report.html"
_AT_ONCE = 32
"""Faces that are drawn together."""
_MOST_FAILURES = 10_000
_GREY = 128
"""Level shown in place of missing pictures."""
_PACKAGES = ("faceage", "keras", "tensorflow", "torch", "mtcnn", "numpy", "pillow")


@dataclass(frozen=True)
class Painter:
    """Draws those faces whose strips are not there."""

    draw: Callable[[Sequence[FaceRow], Sequence[Age], float], Sequence[Drawn]]
    """Draws people as `people.draw.PeoplePainter` does."""
    drawn: str
    """Hash of the options and weights that it draws with."""


def write_report(
    out: Path,
    most: int,
    model: str = "",
    painter: Painter | None = None,
    inline_bytes: int = INLINE_BYTES,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    same_person_below: float | None = None,
) -> Path:
    """Write the report of the batch in the folder `out`, which may still be running; the page's path.

    At most `most` faces are shown, evenly chosen from all: as the batch drew them, or else as the `painter` draws them
    of their latents; without it only the photos are. Pictures lie in the page if they take `inline_bytes` there or
    less, beside it otherwise. `model` is the name of the model that was used, and below the identity distance
    `same_person_below` it takes two faces for one person. `progress` is told how many of how many faces are there.
    Raises UsageError where there is no batch in `out`, or it cannot be written to.
    """
    if not (out / MANIFEST).is_file() or not (out / LATENTS).is_file():
        raise UsageError(f"there is no batch in {out}", "name the --out of 'faceage batch'; shards have to be merged")
    photos = read_manifest(out / MANIFEST)
    options = DrawOptions.of_latents(out / LATENTS)
    wanted = str(read_drawing(out / LATENTS).get("drawn", ""))
    faces = _AllFaces(total=sum(row.faces for row in photos.values() if row.status == OK), most=most)
    with writing_to(out):
        # What a report that was killed left half-written.
        remove_partials_of(out / REPORT)
        shown: list[ShownFace] = []
        chosen = faces.choose(_finished(out, photos))
        while rows := list(islice(chosen, _AT_ONCE)):
            drawn = _ensure_strips(out, rows, options, wanted, painter)
            for row, is_drawn in zip(rows, drawn, strict=True):
                shown.append(_shown(out, row, photos[row.source], options, is_drawn))
            progress(len(shown), min(faces.total, most))
        contents = Contents(
            title=printable(PurePath(out.resolve().name)),
            photos=_count_photos(photos.values()),
            faces=shown,
            total_faces=len(faces.distances) // 2,
            failures=list(islice((row for row in photos.values() if row.status != OK), _MOST_FAILURES)),
            ages=[age.label for age in young_to_old(options.ages)],
            distances=np.array(faces.distances, np.float32).reshape(-1, 2),
            age_counts=faces.ages,
            same_person_below=same_person_below,
            seconds=_sum_seconds(photos.values()),
            settings=_describe(out / LATENTS, options, model),
            versions=_versions(),
        )
        pictures = picture_urls(out, [face.strip for face in shown], inline_bytes)
        write_text(out / REPORT, render_report(contents, pictures))
    return out / REPORT


def _ensure_strips(
    out: Path, rows: Sequence[FaceRow], options: DrawOptions, wanted: str, painter: Painter | None
) -> list[bool]:
    """Draw those of `rows` whose strips are missing or drawn otherwise than `wanted`; which are drawn now."""
    right = {wanted, painter.drawn if painter else ""} - {""}
    strips = [(row, path, drawn_with(path) if path else None) for row in rows for path in [_strip(out, row)]]
    missing = [(row, path, drawn) for row, path, drawn in strips if path and drawn not in right]
    if painter and missing:
        people = painter.draw([row for row, _, _ in missing], options.ages, options.strength)
        for (_, path, _), person in zip(missing, people, strict=True):
            write_strip(path, person, options.ages, painter.drawn, options.mark)
        return [path is not None for _, path, _ in strips]
    for row, path, drawn in missing:
        if drawn != "":
            write_strip(path, _undrawn(row), (), "")
    return [drawn in right for _, _, drawn in strips]


def _strip(out: Path, row: FaceRow) -> Path | None:
    # A stranger's latents must not choose what of this machine is shown, or written to.
    return strip_path(out, row.source, int(row.face)) if lies_below(row.source) else None


def _finished(out: Path, photos: Mapping[str, PhotoOutcome]) -> Iterator[FaceRow]:
    """The rows of photos that the manifest has: others are still being written, or were when a run was killed."""
    for rows in row_blocks(out / LATENTS, _AT_ONCE):
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


def _undrawn(row: FaceRow) -> Drawn:
    """The photo, and grey in place of what is not drawn."""
    grey = np.full_like(row.aligned, _GREY)
    return Drawn(row.photo, grey, grey, grey[None][:0])


def _shown(out: Path, row: FaceRow, photo: PhotoOutcome, options: DrawOptions, drawn: bool) -> ShownFace:
    before, after = row.identity_distance.tolist()
    strip, face = _strip(out, row), int(row.face)
    grid = grid_path(out, row.source, face)
    return ShownFace(
        name=row.source,
        number=face if photo.faces > 1 else -1,
        strip=strip,
        drawn=drawn,
        grid=file_url(out, grid) if strip and grid.is_file() else "",
        pasted=_pasted(out, row.source, options.ages) if strip else "",
        age=int(row.age.argmax()),
        before=before,
        after=after,
        warning=photo.warning,
    )


def _pasted(out: Path, name: str, ages: Sequence[Age]) -> str:
    paths = pasted_paths(out, name, ages)
    if not all(path.is_file() for path in paths):
        return ""
    # The * stands for the age: `quote` leaves no other in a URL.
    return file_url(out, picture_path(out / PASTED, name, "", "")) + "*" + quote(paths[0].suffix)


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
            usual = "1/32 of the photo's longer side, or 1/100 where such show"
            said["narrowest face"] = usual if value is None else f"{value} pixels"
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
