"""What a film is known again by, wherever it lies."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceage.photos.decode import stamp

_ENDS = 1 << 16
"""Bytes at either end of a file."""


def film_stamp(files: Mapping[str, Path]) -> list[Any]:
    """Changes where one of a film's files does, {name: path}: by their sizes, their times, and the first one's ends.

    Sizes and times alone may be another film's: those of clips that are not compressed, out of one archive.
    """
    return [_ends(next(iter(files.values()))), *((name, *stamp(path)) for name, path in files.items())]


def _ends(path: Path) -> str:
    """A hash of what a file begins and ends with, or "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(_ENDS)
            file.seek(-len(start), 2)
            return hashlib.sha256(start + file.read()).hexdigest()[:16]
    except OSError:
        return ""
