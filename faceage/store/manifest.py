"""`manifest.jsonl`: the journal of a batch. A photo's row is appended when what it promises is on disk.

A run adds a row when a photo's people are on disk and another one when its pictures are; at its end each photo has one.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from faceage.errors import UsageError
from faceage.files import remove_partials_of, sync, written_whole

OK, NO_FACE, UNREADABLE, FAILED = "ok", "no_face", "unreadable", "failed"
STATUSES = (OK, NO_FACE, UNREADABLE, FAILED)


@dataclass(frozen=True, slots=True)
class PhotoOutcome:
    """What became of one photo: a row of the manifest."""

    path: str
    """Its name in the results."""
    status: str
    """One of `STATUSES`."""
    faces: int
    """How many rows it has in latents.h5."""
    reason: str
    """Why the status is not ok, else empty."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    input: str = ""
    """SHA-256 of its bytes; empty if it could not be read."""
    size: int = 0
    """In bytes."""
    modified: int = 0
    """Time of change, in ns: with the same size and time it counts as unchanged."""
    found: str = ""
    """Hash of the options and weights that its people were found with; empty in the rows of older versions."""
    drawn: str = ""
    """Hash of the options and weights that its pictures were drawn with; empty where they are not all there."""
    place: str = ""
    """Hash of the real path that it was read from."""
    warning: str = ""
    """What is not quite right with a photo that is used, such as missing rows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_FIELDS = {field.name for field in fields(PhotoOutcome)}


def read_manifest(path: Path) -> dict[str, PhotoOutcome]:
    """The last row of each photo by its name; a line that is no row, such as one cut off by a kill, is left out.

    Raises UsageError where there is something else by that name.
    """
    return {row.path: row for row in map(_outcome, _lines(path)) if row}


class Manifest:
    """The open manifest of a run."""

    def __init__(self, path: Path, rows: Iterable[PhotoOutcome]) -> None:
        """Begin with the `rows` that stand of earlier runs."""
        remove_partials_of(path)
        self._path = path
        self._replace(rows)
        self._file = open(path, "ab")  # noqa: SIM115 - open for the whole run

    def append(self, outcomes: Iterable[PhotoOutcome]) -> None:
        """Add rows, which take the place of earlier ones of the same photos; they are on disk when this returns."""
        self._file.writelines(map(_line, outcomes))
        sync(self._file)

    def close(self) -> None:
        """End it with one row for each photo."""
        self._file.close()
        self._replace(read_manifest(self._path).values())

    def _replace(self, rows: Iterable[PhotoOutcome]) -> None:
        with written_whole(self._path) as partial, open(partial, "wb") as file:
            file.writelines(map(_line, rows))


def _line(outcome: PhotoOutcome) -> bytes:
    return json.dumps(outcome.to_json()).encode() + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "choose another --out folder") from error


def _outcome(line: bytes) -> PhotoOutcome | None:
    try:
        # Older versions had other fields too.
        return PhotoOutcome(**{name: value for name, value in json.loads(line).items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
