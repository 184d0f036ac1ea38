"""What a batch run is asked to do, checked before any work is done, and what of it is still left."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path, PurePath
from typing import Any

from faceage.ages import AGE_CLASSES, DETAILS, STRENGTH
from faceage.errors import PhotoError, UsageError
from faceage.images import FACE_SIZE
from faceage.people.options import OptimiserOptions
from faceage.photos.decode import fingerprint, read_photo
from faceage.photos.decoders import stamp
from faceage.photos.find import EXTENSIONS, FoundPhoto, find_photos
from faceage.photos.write_like import ending_for
from faceage.store.latents import count_rows
from faceage.store.manifest import FAILED, UNREADABLE, PhotoOutcome, read_manifest

MANIFEST, LATENTS, GRIDS, PASTED, SHARDS = "manifest.jsonl", "latents.h5", "grids", "pasted", "shards"
DRAWN = GRIDS, PASTED
"""Folders of what is drawn."""

_LONGEST_NAME = 255
"""Bytes in a file name, on every common file system."""


@dataclass(frozen=True)
class BatchOptions:
    """What decides the outcome of a photo, apart from its bytes and the weights.

    `faces` is "all", "largest" or numbers, "0,2", of which 0 is the largest; `min_face` a width in photo pixels or
    None; `age_class` the class that every face is taken to have, or None to estimate it; `targets` the classes to draw,
    `strength` how far towards them (`ages.towards`, times `ages.emphasis`) and `details` how much of the photo in them
    (`people.details`); `scale` enlarges the grid. `paste` asks for the whole photo too, and changes nothing else.
    """

    faces: str = "all"
    min_face: int | None = None
    age_class: int | None = None
    targets: tuple[int, ...] = tuple(range(len(AGE_CLASSES)))
    strength: float = STRENGTH
    details: float = DETAILS
    scale: int = 2
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    paste: bool = False

    def fingerprint(self, weights: str) -> str:
        """One hash for these options with the model of fingerprint `weights`."""
        text = json.dumps({**self.to_json(), "weights": weights, "face_size": FACE_SIZE}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """What is stored with the latents: all but `paste`, which they do not depend on."""
        return {name: value for name, value in asdict(self).items() if name != "paste"}

    @property
    def face_numbers(self) -> Iterable[int]:
        """The numbers of the faces that are chosen, in their order, as far as a photo has them."""
        if self.faces == "all":
            return count()
        return (0,) if self.faces == "largest" else tuple(map(int, self.faces.split(",")))

    @property
    def labels(self) -> list[str]:
        """What the ages to draw are called."""
        return [AGE_CLASSES[target] for target in self.targets]


@dataclass(frozen=True)
class Task:
    """What a worker has to know: the output folder, the model's folder, the options and their `settings` hash."""

    out: Path
    weights: Path
    options: BatchOptions
    settings: str


@dataclass(frozen=True)
class Plan:
    """The photos `todo`, and what stands of earlier runs: photos already `done`, and `others` not asked for this time.

    Of the photos `unpasted` only the aged photos are missing.

    `settings` is the fingerprint of the options and the weights; `outdated` counts the photos of `todo` that were done
    with others.
    """

    out: Path
    options: BatchOptions
    settings: str
    todo: tuple[FoundPhoto, ...]
    done: tuple[PhotoOutcome, ...]
    others: tuple[PhotoOutcome, ...] = ()
    outdated: int = 0
    unpasted: tuple[tuple[FoundPhoto, PhotoOutcome], ...] = ()


@dataclass(frozen=True)
class Again:
    """What is done again though nothing changed: everything, or photos that could not be read."""

    everything: bool = False
    unreadable: bool = False


NOTHING_AGAIN = Again()


def choose_photos(places: Sequence[Path], out: Path, shard: tuple[int, int] = (1, 1)) -> list[FoundPhoto]:
    """The photos in `places`, or those that fall to the first number of the second in `shard`.

    Raises UsageError where there is none in all, or `out` cannot be the output folder for them.
    """
    check_out(places, out)
    photos = find_photos(places)
    if not photos:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UsageError(f"no photo in {', '.join(map(str, places))}", f"photos are files that end in {kinds}")
    number, of = shard
    if of == 1:
        return photos
    # By name, so that a photo stays in its shard whatever comes or goes beside it.
    return [photo for photo in photos if _share(photo.name) % of == number - 1]


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Where a shard's results go until they are merged into `out`: a folder like any other run's."""
    number, of = shard
    return out if of == 1 else out / SHARDS / f"{number}-of-{of}"


def _share(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def left_of(
    photos: Sequence[FoundPhoto], out: Path, options: BatchOptions, weights: str, again: Again = NOTHING_AGAIN
) -> Plan:
    """What is left to do of `photos` with the model of fingerprint `weights`. Writes nothing.

    Raises UsageError where `out` holds something else.
    """
    settings = options.fingerprint(weights)
    before = {row.path: row for row in read_manifest(out / MANIFEST)}
    stored = count_rows(out / LATENTS)
    done, todo, unpasted, outdated = [], [], [], 0
    for photo in photos:
        row = before.pop(photo.name, None)
        outdated += bool(row and row.settings != settings)
        if (
            row
            and not again.everything
            and row.settings == settings
            and row.faces == stored[photo.name]
            and _stands(out, photo, row, options, again.unreadable)
        ):
            if options.paste and not _is_pasted(out, photo, row, options):
                unpasted.append((photo, row))
            else:
                done.append(row)
        else:
            todo.append(photo)
    others = tuple(row for row in before.values() if row.settings == settings)
    if any(row.faces for row in before.values() if row.settings != settings):
        # One latents.h5 has one model and one set of options; dropping the others' rows would lose them.
        raise UsageError(
            f"--out {out} holds other photos that were done with other options or weights",
            "choose another --out folder",
        )
    return Plan(out, options, settings, tuple(todo), tuple(done), others, outdated, tuple(unpasted))


def check_out(places: Sequence[Path], out: Path) -> None:
    """Raise UsageError where `out` cannot be the output folder for `places`."""
    if os.path.exists(out) and not os.path.isdir(out):
        raise UsageError(f"--out {out} is a file", "name a folder; it is made if need be")
    where = Path(os.path.realpath(out))
    results = [Path(os.path.realpath(out / name)) for name in DRAWN]
    hint = "a next run would take results for photos: choose another"
    for place in places:
        inside = Path(os.path.realpath(place))
        if not os.path.isdir(inside):
            continue
        if inside in (where, *where.parents, *(parent for path in results for parent in path.parents)):
            raise UsageError(f"--out {out} lies inside the input {place}", hint)
        if any(path in (inside, *inside.parents) for path in results):
            raise UsageError(f"the input {place} lies inside the results of --out {out}", hint)


def open_out(out: Path) -> None:
    """Make the output folder and write to it once. Raises UsageError for a read-only or full disk."""
    try:
        (out / GRIDS).mkdir(parents=True, exist_ok=True)
        # Without a name, so that a kill leaves nothing.
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"\0" * 65536)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(
            f"cannot write to --out {out}: {error.strerror or error}", "free some space, or choose another folder"
        ) from error


def lies_below(relative: PurePath) -> bool:
    """Whether a source that a stranger's file names is a path below a folder, and no other place of this machine."""
    return not (relative.is_absolute() or ".." in relative.parts or "\0" in str(relative))


def grid_path(out: Path, relative: PurePath, face: int) -> Path:
    """Where a face's grid goes."""
    return result_path(out / GRIDS, relative, str(face), ".png")


def pasted_paths(out: Path, relative: PurePath, labels: Sequence[str]) -> list[Path]:
    """Where a photo goes whose faces are aged, for each of the ages called `labels`."""
    return [result_path(out / PASTED, relative, label, ending_for(relative)) for label in labels]


def result_path(results: Path, relative: PurePath, label: str, ending: str) -> Path:
    """Where what was drawn goes: the photo's relative path, extension and all, and the face's number or its age.

    A name that would be longer than file systems allow is cut and told apart by a hash.
    """
    folder, ending = results / relative.parent, f"_{label}{ending}"
    name = os.fsencode(relative.name)
    if len(name) + len(ending) > _LONGEST_NAME:
        mark = "~" + hashlib.sha256(name).hexdigest()[:12]
        name = name[: _LONGEST_NAME - len(ending) - len(mark)] + mark.encode()
    return folder / (os.fsdecode(name) + ending)


def _stands(out: Path, photo: FoundPhoto, row: PhotoOutcome, options: BatchOptions, again: bool) -> bool:
    """Whether an earlier run's row is still true: the photo is as it was and its grids are there."""
    if row.status == FAILED or photo.problem or (row.status == UNREADABLE and again):
        return False
    return _grids_exist(out, photo, row, options) and _unchanged(photo, row)


def _unchanged(photo: FoundPhoto, row: PhotoOutcome) -> bool:
    if row.modified and stamp(photo.path) == (row.size, row.modified):
        return True
    try:
        return bool(row.input) and fingerprint(read_photo(photo.path)) == row.input
    except PhotoError:
        return False


def _grids_exist(out: Path, photo: FoundPhoto, row: PhotoOutcome, options: BatchOptions) -> bool:
    return all(grid_path(out, photo.relative, face).exists() for face in islice(options.face_numbers, row.faces))


def _is_pasted(out: Path, photo: FoundPhoto, row: PhotoOutcome, options: BatchOptions) -> bool:
    if not row.faces:
        return True
    return row.pasted and all(path.exists() for path in pasted_paths(out, photo.relative, options.labels))
