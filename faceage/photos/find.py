"""Which files are photos, in an order that is the same on every machine."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from faceage.errors import UsageError, did_you_mean

EXTENSIONS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"],
)

OTHERS_FOLDERS = frozenset(
    [
        # Previews, bins and snapshots of network storage.
        *("@eadir", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "@__thumb", "network trash folder"),
        # Bins and system folders of operating systems.
        *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "lost.dir", "__macosx"),
    ]
)
"""Folders that other programs fill with copies, previews and rubbish, in lower case; most others are hidden ones."""

OTHERS_ENDINGS = (".lrdata", ".cocatalog")
"""Endings of such folders, in lower case: previews of Lightroom and Capture One."""

LIBRARY_ENDINGS = (".photoslibrary", ".photolibrary", ".aplibrary", ".migratedphotolibrary")
"""Endings of libraries of Photos, iPhoto and Aperture: only what the user put in is walked."""

LIBRARY_ORIGINALS = ("originals", "masters")

RESULTS = "grids", "pasted", "report", "prints", "sheets", "faces", "animations"
"""Folders of aged pictures that faceage writes, beside its `RESULTS_MARK`."""
RESULTS_MARK = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A file to read: its `path`, its path `relative` to what was asked for, and `name`, the same as printable text.

    `problem` says why it is listed though it cannot be read (an unreadable folder), else "".
    """

    path: Path
    relative: PurePath
    name: str
    problem: str = ""


def find_photos(
    places: Sequence[Path],
    listed: Sequence[Path] = (),
    exclude: Sequence[str] = (),
    skipped: Counter[str] | None = None,
) -> list[FoundPhoto]:
    """Photos in folders (by extension, to any depth) and files named outright (whatever their extension).

    Folders come in the order given, their contents sorted by name; hidden files and folders are left out. So are
    folders of other programs and of faceage's results, and files in those that are `listed`: they are counted by the
    folders' names in `skipped`. A folder reached twice through links is walked once, and a file reached twice is listed
    once. Paths are relative to the folder if there is one place, else to the parent that all places share.

    `listed` are more places, from a list that may be older than the folders: one that is gone is a photo with a
    problem. Files and folders that match a pattern of `exclude` (* ? [ ]) are left out: those of such a name or, where
    it has a slash, those whose path ends so. Above a place, folders do not count; of a file that is named outright, all
    of its path does. Raises UsageError for another place that does not exist.
    """
    for place in places:
        if not os.path.lexists(place):
            raise UsageError(f"no such file or folder: {place}", _beside(place))
    everywhere = [*places, *listed]
    if not everywhere:
        return []
    base = _base(everywhere)
    found: dict[Path, FoundPhoto] = {}
    seen: set[tuple[int, int]] = set()
    skipped = Counter() if skipped is None else skipped
    for number, place in enumerate(everywhere):
        if os.path.isdir(place):
            files = _walk(place, seen, exclude, skipped)
        elif exclude and any(_matches(f"/{part}", exclude) for part in _with_folders(place)):
            continue
        elif number >= len(places) and (folder := _results_with(place)):
            skipped[folder.name] = max(skipped[folder.name], 1)
            continue
        else:
            files = iter([(place, "" if os.path.lexists(place) else "no such file")])
        for path, problem in files:
            key = Path(os.path.abspath(path))
            relative = PurePath(os.path.relpath(key, base))
            found.setdefault(key, FoundPhoto(path, relative, printable(relative), problem))
    return list(found.values())


def printable(path: PurePath) -> str:
    """A path as valid text with forward slashes; bytes that are no UTF-8 become escapes such as \\xff."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _base(places: Sequence[Path]) -> Path:
    if len(places) == 1 and os.path.isdir(places[0]):
        return Path(os.path.abspath(places[0]))
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(place)) for place in places]))


def _beside(place: Path) -> str:
    """A hint at what lies where `place` does not, and is called much like it."""
    try:
        names = os.listdir(place.parent)
    except OSError:
        names = []
    return f"{did_you_mean(place.name, names)}check the spelling, or quote a name with spaces"


def _walk(
    top: Path, seen: set[tuple[int, int]], exclude: Sequence[str], skipped: Counter[str]
) -> Iterator[tuple[Path, str]]:
    above = f"/{os.path.basename(os.path.abspath(top))}"
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
        for entry in entries:
            below = (path / entry.name).relative_to(top).as_posix() if exclude else ""
            if entry.name.startswith(".") or _matches(f"{above}/{below}", exclude):
                continue
            is_folder = _is_folder(entry)
            if is_folder and _is_others(path, entry.name):
                skipped[entry.name] += 1
            else:
                waiting.append((path / entry.name, is_folder))


def _with_folders(file: Path) -> list[str]:
    """The path of a file as it was given, and of each folder in it."""
    path = PurePath(os.path.normpath(file))
    return [part.as_posix() for part in (path, *path.parents) if part.name]


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a file or folder is excluded, by its name or by the end of its path, which begins with a slash."""
    return any(
        fnmatchcase(path, f"*/{pattern}") if "/" in pattern else fnmatchcase(path.rpartition("/")[2], pattern)
        for pattern in (pattern.removeprefix("./").strip("/") for pattern in patterns)
    )


def is_results(folder: Path) -> bool:
    """Whether faceage writes aged pictures into this folder."""
    return folder.name in RESULTS and os.path.isfile(folder.parent / RESULTS_MARK)


def _results_with(file: Path) -> Path | None:
    """The folder of results that a file lies in."""
    return next((folder for folder in Path(os.path.abspath(file)).parents if is_results(folder)), None)


def _is_others(parent: Path, name: str) -> bool:
    """Whether another program keeps copies or rubbish in this folder of `parent`, or faceage its results."""
    if is_results(parent / name):
        return True
    name = name.lower()
    if parent.suffix.lower() in LIBRARY_ENDINGS:
        return name not in LIBRARY_ORIGINALS
    return name in OTHERS_FOLDERS or name.endswith(OTHERS_ENDINGS)


def _is_folder(entry: os.DirEntry) -> bool:
    # Where a link leads nowhere or to itself, `is_dir` may raise; without a link it needs no look at the disk.
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()
