"""`report.html`: a run on one page, which any browser opens from a disk, without network."""

import base64
import functools
import hashlib
import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.store.manifest import PhotoOutcome

INLINE_BYTES = 24_000_000
"""Of pictures, as they are written into the page. More of them lie beside it."""

_BINS = 28


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face in the gallery."""

    name: str
    """Its photo's."""
    number: int
    """As in the files, from 0; -1 where the photo has one face."""
    strip: Path | None
    """Its pictures: photo, rebuilt, then from young to old; None where there are none to be shown."""
    drawn: bool
    """False where a strip has the photo alone."""
    grid: str
    """URL of its grid, seen from the report; empty where there is none."""
    pasted: str
    """URL of the whole photo with its faces aged, with a * in place of the age; empty where there is none."""
    age: int
    """Index of the class that the photo shows."""
    before: float
    """Identity distance of the rebuilt face to the photo, before optimisation."""
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
    distances: np.ndarray
    """(total_faces, 2) float: identity distances before and after."""
    age_counts: np.ndarray
    """(6,): faces that look each class."""
    same_person_below: float | None
    """As of `model.same_person_below`, for the model that found the people; None if that is not known."""
    seconds: Mapping[str, float]
    settings: Mapping[str, str]
    versions: Mapping[str, str]


def picture_urls(out: Path, strips: Sequence[Path | None], inline_bytes: int = INLINE_BYTES) -> list[str]:
    """For each of `strips` where a page in `out` finds it: in its own text, if all take `inline_bytes` there or less.

    "" for None. Above that they are read where they lie: page and folder belong together.
    """
    # Base64 makes four bytes of three.
    size = sum(path.stat().st_size for path in strips if path) * 4 // 3
    url = _data_url if size <= inline_bytes else functools.partial(file_url, out)
    return [url(path) if path else "" for path in strips]


def file_url(out: Path, path: Path) -> str:
    """The URL of a file in `out`, seen from the page there."""
    return quote(os.fsencode(path.relative_to(out).as_posix()))


def _data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def visible(text: str) -> str:
    """`text` with an escape such as \\u202e for each character that shows as nothing or changes how others show.

    Joiners stay: names in Persian and some emoji need them.
    """
    return "".join(_escape(c) if unicodedata.category(c) in _UNSEEN and c not in _JOINERS else c for c in text)


_UNSEEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def render_report(contents: Contents, strips: Sequence[str]) -> str:
    """The page. `strips` are the URLs of the faces' strips, in their order."""
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
        strips=list(strips),
        alone=all(url.startswith("data:") for url in strips if url),
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
        "classes": list(AGE_CLASSES),
        "names": [visible(face.name) for face in faces],
        "numbers": [face.number for face in faces],
        "drawn": [int(face.drawn) for face in faces],
        "grids": [face.grid for face in faces],
        "pasted": [face.pasted for face in faces],
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
