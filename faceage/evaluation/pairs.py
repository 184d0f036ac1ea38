"""Pairs of photos, and whether they show one person: from a CSV file."""

import csv
from dataclasses import dataclass
from pathlib import Path

from faceage.errors import UsageError
from faceage.photos.lists import name_in, parse_table

_TRUE, _FALSE = ("1", "true", "yes", "same"), ("0", "false", "no", "different")


@dataclass(frozen=True)
class Pair:
    """Two photos, by their names and where they are, and whether they show one person, if that is known."""

    names: tuple[str, str]
    photos: tuple[Path, Path]
    same: bool | None = None


def read_pairs(path: Path) -> list[Pair]:
    """The rows of a CSV file with the columns a, b and, if it is known, same (1 or 0); paths are relative to it.

    Raises UsageError for anything else.
    """
    hint = "its first line is a,b,same and the others name two photos and 1 for one person or 0, or nothing"
    pairs: list[Pair] = []
    known: dict[frozenset[str], bool] = {}
    try:
        lines = parse_table(path.read_bytes())
        _, header = next(lines, (0, []))
        if not {"a", "b"} <= set(header):
            raise UsageError(f"{path} has no columns a and b", hint)
        for number, cells in lines:
            row = dict(zip(header, cells, strict=False))
            a, b = (name_in(path.parent, row.get(key, "")) for key in ("a", "b"))
            text = row.get("same", "").strip()
            if not a or not b or text.lower() not in (*_TRUE, *_FALSE, ""):
                raise UsageError(f"{path}, line {number}: {a!r}, {b!r}, {text!r} is no pair", hint)
            same = text.lower() in _TRUE if text else None
            if same is not None and known.setdefault(frozenset((a, b)), same) != same:
                raise UsageError(
                    f"{path}, line {number}: {a!r} and {b!r} are one person in one line and two in another"
                )
            pairs.append(Pair((a, b), (path.parent / a, path.parent / b), same))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", hint) from error
    if not pairs:
        raise UsageError(f"{path} lists no pairs", hint)
    return pairs
