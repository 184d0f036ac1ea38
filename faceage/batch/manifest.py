"""`manifest.jsonl`: one row per photo, appended when all that the photo gave is on disk."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faceage.errors import UsageError
from faceage.images import write_text

OK, NO_FACE, UNREADABLE, FAILED = "ok", "no_face", "unreadable", "failed"
STATUSES = (OK, NO_FACE, UNREADABLE, FAILED)


@dataclass(frozen=True)
class PhotoOutcome:
    """What became of one photo.

    `status` is one of `STATUSES`; `reason` says why where it is not ok; `input` is the SHA-256 of the photo's bytes (""
    if it could not be read) and `settings` the hash of weights and options: a next run may skip the photo if both are
    unchanged.
    """

    path: str
    status: str
    faces: int
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)
    input: str = ""
    settings: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_manifest(path: Path) -> list[PhotoOutcome]:
    """The rows of a manifest; a last line cut off by a kill, or any other that is none, is left out.

    Raises UsageError where there is something else by that name.
    """
    outcomes = []
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "choose another --out folder") from error
    for line in lines:
        try:
            outcomes.append(PhotoOutcome(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return outcomes


class Manifest:
    """The open manifest of a run."""

    def __init__(self, path: Path, kept: list[PhotoOutcome]) -> None:
        """Begin with the `kept` rows of an earlier run."""
        write_text(path, "".join(_line(outcome) for outcome in kept))
        self._file = open(path, "a")  # noqa: SIM115 - open for the whole run

    def append(self, outcome: PhotoOutcome) -> None:
        self._file.write(_line(outcome))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _line(outcome: PhotoOutcome) -> str:
    return json.dumps(outcome.to_json()) + "\n"
