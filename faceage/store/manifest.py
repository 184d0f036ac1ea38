"""`manifest.jsonl`: one row per photo, appended when all that the photo gave is on disk. It is the journal of a run."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faceage.errors import UsageError
from faceage.files import remove_partials_of, sync, written_whole

OK, NO_FACE, UNREADABLE, FAILED = "ok", "no_face", "unreadable", "failed"
STATUSES = (OK, NO_FACE, UNREADABLE, FAILED)


@dataclass(frozen=True, slots=True)
class PhotoOutcome:
    """What became of one photo.

    `status` is one of `STATUSES`; `reason` says why where it is not ok. A next run may skip the photo if `input`, the
    SHA-256 of its bytes ("" if it could not be read), or its `size` in bytes and time of change `modified` (ns), and
    `settings`, the hash of weights and options, are unchanged. `pasted` says whether the photo with its faces aged was
    written too.
    """

    path: str
    status: str
    faces: int
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    input: str = ""
    size: int = 0
    modified: int = 0
    settings: str = ""
    pasted: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_manifest(path: Path) -> Iterator[PhotoOutcome]:
    """The rows of a manifest; a last line cut off by a kill, or any other that is none, is left out.

    Raises UsageError where there is something else by that name.
    """
    for line in _lines(path):
        if outcome := _outcome(line):
            yield outcome


class Manifest:
    """The open manifest of a run."""

    def __init__(self, path: Path, kept: Collection[str]) -> None:
        """Begin with the last row of an earlier run for each of the `kept` paths."""
        remove_partials_of(path)
        last = {outcome.path: number for number, outcome in enumerate(_numbered(path)) if outcome}
        # Row by row: a manifest may be larger than memory is.
        with written_whole(path) as partial, open(partial, "wb") as file:
            for number, (line, outcome) in enumerate(zip(_lines(path), _numbered(path), strict=True)):
                if outcome and outcome.path in kept and last[outcome.path] == number:
                    file.write(line + b"\n")
        self._file = open(path, "ab")  # noqa: SIM115 - open for the whole run

    def append(self, outcomes: Iterable[PhotoOutcome]) -> None:
        """Add rows; they are on disk when this returns."""
        self._file.write("".join(json.dumps(outcome.to_json()) + "\n" for outcome in outcomes).encode())
        sync(self._file)

    def close(self) -> None:
        self._file.close()


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "choose another --out folder") from error


def _numbered(path: Path) -> Iterator[PhotoOutcome | None]:
    return map(_outcome, _lines(path))


def _outcome(line: bytes) -> PhotoOutcome | None:
    try:
        return PhotoOutcome(**json.loads(line))
    except (ValueError, TypeError):
        return None
