"""What a batch is asked to do, checked before any work is done, and what of it is still left."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from faceage.batch.changes import changed_options
from faceage.batch.names import GRIDS, PICTURES, album_photos, digest_of, grid_path, name_photos, pasted_paths
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.photo import Photo
from faceage.errors import UsageError
from faceage.files import partial_name, sync
from faceage.people.options import FACES_AT_ONCE
from faceage.photos.decode import LIMITS, Limits
from faceage.photos.decoders import stamp
from faceage.photos.find import EXTENSIONS, RESULTS_MARK, FoundPhoto
from faceage.store.latent_parts import VERSION, read_contents
from faceage.store.latents import count_rows, read_drawing, read_settings
from faceage.store.manifest import FAILED, UNREADABLE, PhotoOutcome, read_manifest

MANIFEST, LATENTS, SHARDS = RESULTS_MARK, "latents.h5", "shards"


@dataclass(frozen=True)
class Task:
    """What a worker has to know."""

    out: Path
    weights: Path
    """The model's folder."""
    find: FindOptions
    draw: DrawOptions
    found: str
    """Hash of `find` and the weights."""
    drawn: str
    """Hash of `draw` and the weights."""
    limits: Limits = LIMITS
    """What reading one photo may cost."""
    faces_at_once: int = FACES_AT_ONCE
    """In a batch of the optimiser."""


@dataclass(frozen=True)
class Again:
    """What is done again though nothing changed."""

    everything: bool = False
    unreadable: bool = False
    """Photos that could not be read."""


NOTHING_AGAIN = Again()


@dataclass(frozen=True)
class Plan:
    """What is left of a task."""

    out: Path
    to_find: tuple[Photo, ...]
    """Photos whose people are not known."""
    to_draw: tuple[Photo, ...]
    """Photos whose people are known, and whose pictures are missing or were drawn otherwise."""
    done: tuple[PhotoOutcome, ...]
    others: tuple[PhotoOutcome, ...] = ()
    """Rows of photos that are not asked for this time."""
    outdated: int = 0
    """Photos of `to_find` whose people were found with other options or weights."""
    redrawn: int = 0
    """Photos of `to_draw` that were drawn with other options or weights: their pictures go."""
    found_anew: str = ""
    """What is different for `outdated`, as of `changed_options`."""
    drawn_anew: str = ""
    """What is different for `redrawn`."""
    replaced: int = 0
    """Photos of `to_find` that are not the ones that were there before: their people and pictures go."""
    skipped_folders: Mapping[str, int] = field(default_factory=dict)
    """How many folders of other programs, and of results, were left out, by name."""

    @property
    def standing(self) -> list[PhotoOutcome]:
        """The rows that stand before any work."""
        return [*self.others, *self.done, *(photo.outcome for photo in self.to_draw)]


def choose_photos(
    places: Sequence[Path],
    out: Path,
    shard: tuple[int, int] = (1, 1),
    listed: Sequence[Path] = (),
    exclude: Sequence[str] = (),
    skipped: Counter[str] | None = None,
) -> list[FoundPhoto]:
    """The photos in `places` and `listed`, or those that fall to the first number of the second in `shard`.

    `listed`, `exclude` and `skipped` are as of `find_photos`. Raises UsageError where there is none in all, or `out`
    cannot be the output folder for them.
    """
    check_out(places, out, listed)
    photos = album_photos(places, listed, exclude, skipped)
    if not photos:
        kinds, where = " ".join(sorted(EXTENSIONS)), ", ".join(map(str, [*places, *listed]))
        raise UsageError(f"no photo in {where}", f"photos are files that end in {kinds}")
    number, of = shard
    # By name, so that a photo stays in its shard whatever comes or goes beside it.
    return photos if of == 1 else [photo for photo in photos if _share(photo.name) % of == number - 1]


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Where a shard's results go until they are merged into `out`: a folder like any other run's."""
    number, of = shard
    return out if of == 1 else out / SHARDS / f"{number}-of-{of}"


def _share(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def left_of(
    task: Task,
    files: Sequence[FoundPhoto],
    again: Again = NOTHING_AGAIN,
    skipped_folders: Mapping[str, int] | None = None,
) -> Plan:
    """What is left to do of `files`; `skipped_folders` are handed on. Writes nothing.

    Raises UsageError where the output folder holds something else, or people that were found otherwise and would be
    lost.
    """
    before = read_manifest(task.out / MANIFEST)
    stored = count_rows(task.out / LATENTS)
    _check_version(task.out, before)
    to_find, to_draw, done, outdated, redrawn, replaced = [], [], [], 0, 0, 0
    for photo in name_photos(files, before.values()):
        row = before.pop(photo.name, None)
        unchanged = row is not None and _unchanged(photo.file, row)
        known = (
            row is not None
            and unchanged
            and not again.everything
            and row.found == task.found
            and row.faces == stored[photo.name]
            and _is_final(photo.file, row, again.unreadable)
        )
        if not known:
            outdated += bool(row and row.found != task.found)
            replaced += bool(row and row.faces and not unchanged)
            photo.outcome = PhotoOutcome(photo.name, "", 0, "", place=photo.outcome.place)
            to_find.append(photo)
        elif _pictures_stand(task, photo):
            done.append(photo.outcome)
        else:
            if photo.outcome.drawn != task.drawn:
                redrawn += bool(photo.outcome.drawn)
                photo.outcome = replace(photo.outcome, drawn="")
            to_draw.append(photo)
    if any(row.faces and row.found != task.found for row in before.values()):
        # One latents.h5 has one model and one set of options; dropping the others' rows would lose them.
        raise UsageError(
            f"--out {task.out} holds other photos whose people were found with other options or weights: "
            f"{_found_anew(task)}",
            "choose another --out folder",
        )
    others = tuple(row for row in before.values() if row.found == task.found)
    return Plan(
        task.out,
        tuple(to_find),
        tuple(to_draw),
        tuple(done),
        others,
        outdated,
        redrawn,
        _found_anew(task) if outdated else "",
        changed_options(read_drawing(task.out / LATENTS), task.draw.to_json()) if redrawn else "",
        replaced,
        dict(skipped_folders or {}),
    )


def _found_anew(task: Task) -> str:
    latents = task.out / LATENTS
    return changed_options(read_settings(latents)[1] if latents.exists() else {}, task.find.to_json())


def _check_version(out: Path, rows: dict[str, PhotoOutcome]) -> None:
    """Raise UsageError where an earlier version of faceage wrote what is in `out`."""
    latents = out / LATENTS
    if any(not row.found for row in rows.values()) or (latents.exists() and read_contents(latents).version != VERSION):
        raise UsageError(
            f"--out {out} was written by an earlier version of faceage",
            "choose another --out folder; 'faceage render' and 'faceage report' still read this one",
        )


def _is_final(file: FoundPhoto, row: PhotoOutcome, again: bool) -> bool:
    """Whether finding a photo's people again would change nothing. Where only drawing failed, they stay."""
    if row.faces:
        return True
    return not (file.problem or row.status == FAILED or (row.status == UNREADABLE and again))


def _unchanged(file: FoundPhoto, row: PhotoOutcome) -> bool:
    if file.problem and row.faces:
        # It is in a list and is gone: its people stay, as those of a photo that is gone from a folder do.
        return True
    if row.modified and stamp(file.path) == (row.size, row.modified):
        return True
    return bool(row.input) and digest_of(file.path) == row.input


def _pictures_stand(task: Task, photo: Photo) -> bool:
    row = photo.outcome
    if not row.faces:
        return True
    if row.status == FAILED or row.drawn != task.drawn:
        return False
    faces = islice(task.find.face_numbers, row.faces)
    wanted = [grid_path(task.out, row.path, face) for face in faces]
    if task.draw.paste:
        wanted += pasted_paths(task.out, row.path, task.draw.ages)
    return all(path.exists() for path in wanted)


def check_out(places: Sequence[Path], out: Path, listed: Sequence[Path] = ()) -> None:
    """Raise UsageError where `out` cannot be the output folder for `places`, and `listed` ones that are folders.

    Of listed files, results are left out (`find_photos`).
    """
    if os.path.exists(out) and not os.path.isdir(out):
        raise UsageError(f"--out {out} is a file", "name a folder; it is made if need be")
    where = Path(os.path.realpath(out))
    results = [Path(os.path.realpath(out / name)) for name in PICTURES]
    above = {where, *where.parents, *(parent for path in results for parent in path.parents)}
    hint = "a next run would take results for photos: choose another"
    for place in [*places, *filter(os.path.isdir, listed)]:
        inside = Path(os.path.realpath(place))
        if os.path.isdir(inside) and inside in above:
            raise UsageError(f"--out {out} lies inside the input {place}", hint)
        if any(path in (inside, *inside.parents) for path in results):
            raise UsageError(f"the input {place} lies inside the results of --out {out}", hint)


def open_out(out: Path, folder: str = GRIDS) -> None:
    """Make the output folder with `folder` in it, and write to it once.

    Raises UsageError for a read-only or full disk.
    """
    with writing_to(out):
        (out / folder).mkdir(parents=True, exist_ok=True)
        # With a name: on some disks an open file that has none any more is lost. A run that begins removes it.
        probe = partial_name(out / MANIFEST)
        try:
            with open(probe, "wb") as file:
                file.write(bytes(65536))
                sync(file)
        finally:
            probe.unlink(missing_ok=True)


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Raise UsageError for an OSError in the block, which does nothing but write to `out`."""
    try:
        yield
    except OSError as error:
        hint = "free some space, or choose another folder; the same command then goes on"
        raise UsageError(f"cannot write to --out {out}: {error.strerror or error}", hint) from error
