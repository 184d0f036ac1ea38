"""Which files are photos, in an order that is the same on every machine."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from faceage.errors import UsageError

EXTENSIONS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"],
)


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A file to read: its `path`, its path `relative` to what was asked for, and `name`, the same as printable text.

    `problem` says why it is listed though it cannot be read (an unreadable folder), else "".
    """

    path: Path
    relative: PurePath
    name: str
    problem: str = ""


def find_photos(places: Sequence[Path]) -> list[FoundPhoto]:
    """Photos in folders (by extension, to any depth) and files named outright (whatever their extension).

    Folders come in the order given, their contents sorted by name; hidden files and folders are left out, a folder
    reached twice through links is walked once, and a file reached twice is listed once. Paths are relative to the
    folder if there is one place, else to the parent that all places share. Raises UsageError for a place that does not
    exist.
    """
    for place in places:
        if not os.path.lexists(place):
            raise UsageError(f"no such file or folder: {place}", "check the spelling, or quote a name with spaces")
    base = _base(places)
    found: dict[Path, FoundPhoto] = {}
    seen: set[tuple[int, int]] = set()
    for place in places:
        files = _walk(place, seen) if os.path.isdir(place) else iter([(place, "")])
        for path, problem in files:
            key = Path(os.path.abspath(path))
            relative = PurePath(os.path.relpath(key, base))
            found.setdefault(key, FoundPhoto(path, relative, printable(relative), problem))
    return list(found.values())


def printable(path: PurePath) -> str:
    """A path as valid text with forward slashes; bytes that are no UTF-8 become escapes such as \\xff."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def unescaped(name: str) -> str:
    r"""The path that `printable` wrote with escapes such as \xff."""
    return os.fsdecode(re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes([int(found[1], 16)]), name.encode()))


def _base(places: Sequence[Path]) -> Path:
    if len(places) == 1 and os.path.isdir(places[0]):
        return Path(os.path.abspath(places[0]))
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(place)) for place in places]))


def _walk(top: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, str]]:
    waiting = [(top, True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            if path.suffix.lower() in EXTENSIONS:
                yield path, ""
            continue
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name), reverse=True)
        except OSError as error:
            yield path, f"folder cannot be read: {error.strerror}"
            continue
        waiting += [(path / entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith(".")]


def _is_folder(entry: os.DirEntry) -> bool:
    # Where a link leads nowhere or to itself, `is_dir` may raise; without a link it needs no look at the disk.
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()
