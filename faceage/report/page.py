"""`report.html`: a run on one page, which any browser opens from a disk, without network."""

import base64
import hashlib
import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.files import written_whole
from faceage.store.manifest import PhotoOutcome

SIDE = 128
"""Pixels of a face in a sheet."""
FACES_A_SHEET = 16
"""Few enough that a page of faces from all over a run does not fill a browser's memory with sheets."""
INLINE_BYTES = 24_000_000
"""Of pictures, as they are written into the page. More of them lie beside it."""

_JPEG_QUALITY = 88
_BINS = 28


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face in the gallery."""

    name: str
    """Its photo's."""
    number: int
    """From 1 where the photo has several faces, else 0."""
    grid: str
    """URL of its grid, seen from the report; empty where there is none."""
    age: int
    """Index of the class that the photo shows."""
    before: float
    """Identity distance before optimisation."""
    after: float
    warning: str = ""
    """What is not quite right with the photo."""


@dataclass(frozen=True)
class Contents:
    """What the page shows, the pictures excepted."""

    title: str
    photos: Mapping[str, int]
    """By status, in the order to show them in."""
    faces: Sequence[ShownFace]
    """All, or some of them."""
    total_faces: int
    failures: Sequence[PhotoOutcome]
    """The rows of photos that gave no face: all, or some of those that `photos` counts."""
    ages: Sequence[str]
    """What the faces are drawn at, from young to old."""
    drawn: bool
    """False where only the photos are shown."""
    distances: np.ndarray
    """(total_faces, 2) float: identity distances before and after."""
    age_counts: np.ndarray
    """(6,): faces that look each class."""
    seconds: Mapping[str, float]
    settings: Mapping[str, str]
    versions: Mapping[str, str]


def face_sheet(faces: np.ndarray) -> bytes:
    """(n, columns, `SIDE`, `SIDE`, 3) uint8 as one JPEG, a person per row; n is at most `FACES_A_SHEET`."""
    rows, columns, side = faces.shape[:3]
    pixels = faces.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


class Sheets:
    """Takes the sheets of a page: in its text as long as they are few, as files in a folder beside it otherwise.

    A file is named after what is in it, so that a page that is open, or stays because this one is not finished, keeps
    its own.
    """

    def __init__(self, folder: Path, inline_bytes: int = INLINE_BYTES) -> None:
        self._folder = folder
        self._room = inline_bytes
        self._inlined: list[bytes] | None = []
        self._names: list[str] = []

    def add(self, sheet: bytes) -> None:
        if self._inlined is None:
            self._write(sheet)
            return
        self._inlined.append(sheet)
        # Base64 makes four bytes of three.
        self._room -= len(sheet) * 4 // 3
        if self._room < 0:
            sheets, self._inlined = self._inlined, None
            for each in sheets:
                self._write(each)

    def urls(self) -> list[str]:
        """For each sheet in the order they came, where the page finds it."""
        if self._inlined is None:
            return [f"{self._folder.name}/{name}" for name in self._names]
        return [f"data:image/jpeg;base64,{base64.b64encode(sheet).decode()}" for sheet in self._inlined]

    def remove_others(self) -> None:
        """Remove the sheets of earlier pages, now that this one is in their place."""
        kept = set(self._names)
        for path in self._folder.glob("*.jpg"):
            if path.name not in kept:
                path.unlink()
        if not kept and self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _write(self, sheet: bytes) -> None:
        self._folder.mkdir(exist_ok=True)
        name = f"{hashlib.sha256(sheet).hexdigest()[:16]}.jpg"
        with written_whole(self._folder / name) as partial:
            partial.write_bytes(sheet)
        self._names.append(name)


def visible(text: str) -> str:
    """`text` with an escape such as \\u202e for each character that shows as nothing or changes how others show.

    Joiners stay: names in Persian and some emoji need them.
    """
    return "".join(_escape(c) if unicodedata.category(c) in _UNSEEN and c not in _JOINERS else c for c in text)


_UNSEEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def render_report(contents: Contents, sheets: Sequence[str]) -> str:
    """The page. `sheets` are URLs of the faces' `face_sheet`s, in the faces' order: photo, rebuilt, then `ages`."""
    import jinja2
    from markupsafe import Markup

    templates = jinja2.PackageLoader("faceage", "report")
    environment = jinja2.Environment(
        loader=templates, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style, script = (templates.get_source(environment, f"report.{kind}")[0] for kind in ("css", "js"))
    return environment.get_template("report.html.jinja").render(
        contents=contents,
        title=visible(contents.title),
        settings={visible(name): visible(value) for name, value in contents.settings.items()},
        median=_medians(contents.distances),
        distance_chart=_distance_chart(contents.distances),
        age_chart=list(zip(AGE_CLASSES, contents.age_counts.tolist(), strict=True)),
        data=_data(contents),
        sheets=list(sheets),
        style=Markup(style),
        script=Markup(script),
        # The browser runs what came with the page and nothing that a name smuggles in, and asks no other machine.
        policy=f"default-src 'none'; img-src data: blob: file: 'self'; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(contents: Contents) -> dict[str, Any]:
    """What the script takes: a column per field, which is small and quick to read for many thousands of faces."""
    faces, failures = contents.faces, contents.failures
    return {
        "ages": list(contents.ages),
        "drawn": contents.drawn,
        "classes": list(AGE_CLASSES),
        "facesASheet": FACES_A_SHEET,
        "names": [visible(face.name) for face in faces],
        "numbers": [face.number for face in faces],
        "grids": [face.grid for face in faces],
        "looks": [face.age for face in faces],
        "before": [_number(face.before) for face in faces],
        "after": [_number(face.after) for face in faces],
        "warnings": [visible(face.warning) for face in faces],
        "failures": {
            "names": [visible(failure.path) for failure in failures],
            "statuses": [failure.status for failure in failures],
            "reasons": [visible(failure.reason) for failure in failures],
        },
    }


def _number(value: float) -> float | None:
    # JSON has no other numbers.
    return round(float(value), 4) if math.isfinite(value) else None


def _medians(distances: np.ndarray) -> tuple[float, float] | None:
    known = distances[np.isfinite(distances).all(1)]
    return tuple(np.median(known, axis=0).tolist()) if len(known) else None


def _distance_chart(distances: np.ndarray) -> list[tuple[float, float, int, int]]:
    """(from, to, faces before, faces after) for each bin; none where no distance is known."""
    known = distances[np.isfinite(distances).all(1)]
    if not len(known):
        return []
    limit = max(0.1, math.ceil(known.max() * 10) / 10)
    (before, edges), (after, _) = (np.histogram(column, _BINS, (0, limit)) for column in known.T)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), before.tolist(), after.tolist(), strict=True))
