"""What a photo is called in a batch's results, and where its pictures lie.

A photo is called by its folder's name and its path below that folder, whatever else a call names. It is known again by
its place, a hash of its real path, or by its name and bytes where it has moved. A second photo of the same name from
another place has a hash of its bytes in its name.
"""

import functools
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from faceage.ages import Age
from faceage.batch.photo import Photo
from faceage.errors import PhotoError
from faceage.files import SPECIAL, is_partial, longest_name, takes_special_names
from faceage.photos.decode import fingerprint, read_photo
from faceage.photos.find import RESULTS, FoundPhoto, find_photos, printable
from faceage.photos.write_like import ending_for
from faceage.store.manifest import PhotoOutcome

GRIDS, PASTED, STRIPS, PRINTS, SHEETS, FACES, ANIMATIONS = RESULTS
PICTURES = GRIDS, PASTED, STRIPS
"""Folders of what a batch draws."""

_LONGEST, _ENDING = 220, 35
"""Bytes of a photo's name in a picture's, and of what follows: an underscore, an age and an ending."""


_HOMES = "/home", "/Users"


def album_photos(
    places: Sequence[Path],
    listed: Sequence[Path] = (),
    exclude: Sequence[str] = (),
    skipped: Counter[str] | None = None,
) -> list[FoundPhoto]:
    """The photos in folders, and files named outright, each under the name of its folder and the path below it.

    A home folder's name is left out. `listed`, `exclude` and `skipped` are as of `find_photos`. Raises UsageError for a
    place that does not exist.
    """
    photos = []
    for place, in_list in [*((place, False) for place in places), *((place, True) for place in listed)]:
        found = find_photos([], [place], exclude, skipped) if in_list else find_photos([place], (), exclude, skipped)
        folder = Path(os.path.abspath(place if os.path.isdir(place) else place.parent))
        at_home = folder == Path(os.path.expanduser("~")) or str(folder.parent) in _HOMES
        album = PurePath("" if at_home else folder.name)
        photos += [replace(photo, name=printable(album / photo.relative)) for photo in found]
    return photos


def name_photos(files: Sequence[FoundPhoto], rows: Iterable[PhotoOutcome]) -> list[Photo]:
    """`files` under their names, each with its row among an earlier run's `rows` or an empty one.

    A file that is one of the others, by a link or as a copy of the same name, is left out.
    """
    names = _Names(rows)
    photos: dict[int, Photo | None] = {}
    # First those that are where they were: nobody else may take their names.
    places = [place_of(file.path) for file in files]
    for number, (file, place) in enumerate(zip(files, places, strict=True)):
        if place in names.places:
            photos[number] = names.claim(file, place, names.places[place])
    for number, (file, place) in enumerate(zip(files, places, strict=True)):
        if number not in photos:
            photos[number] = names.enter(file, place)
    return [photo for number in range(len(files)) if (photo := photos[number])]


def same_name(name: str) -> str:
    """The same for names that some disk takes for one: those that differ by case or by how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def place_of(path: Path) -> str:
    """A hash of the real path of a file: the same for the same file, and telling nothing of its folders."""
    path = Path(os.path.abspath(path))
    real = os.path.realpath(path) if path.is_symlink() else os.path.join(_real_folder(path.parent), path.name)
    return hashlib.sha256(os.fsencode(real)).hexdigest()[:16]


@functools.lru_cache(1024)
def _real_folder(folder: Path) -> str:
    return os.path.realpath(folder)


MARK = r"~[0-9a-f]{8,24}(?=\.[^./]*$|$)"
"""What `marked` puts into a name, as a regular expression."""


def marked(name: str, mark: str) -> str:
    """`name` with `mark` before its ending."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}~{mark}{path.suffix}"))


def possible_names(name: str, digest: Callable[[], str], place: str) -> Iterator[str]:
    """Names for a photo of this name, place and digest of bytes ("" if unknown), the next one where one is taken."""
    yield name
    yield marked(name, digest()[:8] or place[:8])
    yield marked(name, digest()[:8] + place)


def digest_of(path: Path) -> str:
    """SHA-256 of a photo's bytes, or "" where it cannot be read."""
    try:
        return fingerprint(read_photo(path))
    except PhotoError:
        return ""


class _Names:
    """The names that are taken: by rows of an earlier run, and by photos of this one."""

    def __init__(self, rows: Iterable[PhotoOutcome]) -> None:
        self._rows = {same_name(row.path): row for row in rows}
        self.places = {row.place: row for row in self._rows.values() if row.place}
        self._photos: dict[str, Photo] = {}
        self._placed: set[str] = set()

    def claim(self, file: FoundPhoto, place: str, row: PhotoOutcome) -> Photo | None:
        """`file` as the photo of `row`; None where it is that already."""
        key = same_name(row.path)
        if key in self._photos:
            return None
        # Where it lies now, if it was recognised by its bytes.
        photo = Photo(file, row if row.place == place else replace(row, place=place))
        self._photos[key] = photo
        self._placed.add(place)
        return photo

    def enter(self, file: FoundPhoto, place: str) -> Photo | None:
        """`file` by its own name if it is free or its own, else by one with a hash; None where it is another photo."""
        if place in self._placed:
            return None
        digest = functools.cache(lambda: digest_of(file.path))
        for name in possible_names(file.name, digest, place):
            holder, row = self._photos.get(same_name(name)), self._rows.get(same_name(name))
            if holder is None and row is None:
                photo = Photo(file, PhotoOutcome(name, "", 0, "", place=place))
                self._photos[same_name(name)] = photo
                self._placed.add(place)
                return photo
            if holder is not None and digest() and digest() == digest_of(holder.file.path):
                return None
            if holder is None and row is not None and (not row.input or row.input == digest()):
                return self.claim(file, place, row)
        return None


def grid_path(out: Path, name: str, face: int) -> Path:
    """Where the grid of a photo's face goes."""
    return picture_path(out / GRIDS, name, str(face), ".png")


def pasted_paths(out: Path, name: str, ages: Sequence[Age]) -> list[Path]:
    """Where a photo goes whose faces are aged, for each of `ages`."""
    return [picture_path(out / PASTED, name, age.label, ending_for(PurePosixPath(name))) for age in ages]


def picture_path(folder: Path, name: str, label: str, ending: str) -> Path:
    """Where a picture of a photo goes: the photo's name, extension and all, and the face's number or its age."""
    return folder / f"{_fitting(name, folder)}_{label}{ending}"


def lies_below(name: str) -> bool:
    """Whether a name that may be a stranger's is a path below a folder, and no other place of this machine."""
    path = PurePosixPath(name)
    return bool(path.name) and not (path.is_absolute() or ".." in path.parts or "\0" in name)


def remove_pictures(out: Path, names: Collection[str]) -> None:
    """Remove all pictures of the photos called `names`, and any that a killed run left half-written."""
    wanted = {same_name(_fitting(name, out)) for name in names}
    for path, owner, _ in _pictures(out):
        # Some disks list names in another case, or with other accents, than they were given.
        if same_name(owner) in wanted or is_partial(path.name):
            path.unlink(missing_ok=True)


def pictures_under(out: Path, names: Mapping[str, str], target: Path) -> Iterator[tuple[Path, Path]]:
    """Each picture in `out` of the photos that `names` gives a new name, and where it goes in `target`."""
    wanted = {same_name(_fitting(old, out)): _fitting(new, target) for old, new in names.items()}
    for path, owner, label in _pictures(out):
        if new := wanted.get(same_name(owner)):
            yield path, target / path.relative_to(out).parts[0] / (new + label)


def _pictures(out: Path) -> Iterator[tuple[Path, str, str]]:
    """(path, name of the photo as `_fitting` has it, what follows the name) of each picture in `out`."""
    for folder in (out / name for name in PICTURES):
        for place, _, files in os.walk(folder):
            below = Path(place).relative_to(folder)
            for file in files:
                head, _, label = file.rpartition("_")
                yield Path(place, file), (below / head).as_posix(), f"_{label}"


def _fitting(name: str, folder: Path) -> str:
    """`name` with parts that no file in `folder` can have cut or spelt otherwise, and told apart by a hash."""
    return "/".join(_possible(part, folder) for part in name.split("/"))


def _possible(part: str, folder: Path) -> str:
    content = part.encode()
    longest = min(_LONGEST, longest_name(folder) - _ENDING)
    spelling = SPECIAL.sub("_", part) if SPECIAL.search(part) and not takes_special_names(folder) else part
    if len(content) <= longest and spelling == part:
        return part
    mark = "~" + hashlib.sha256(content).hexdigest()[:12]
    return spelling.encode()[: longest - len(mark)].decode(errors="ignore") + mark
