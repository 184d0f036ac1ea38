"""The people of a latents file drawn again: no detector or optimiser is needed, and no photo but to paste into."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from faceage.batch.chosen import EVERYBODY, Chosen
from faceage.batch.draw import Drawer, Layout, Sheets, draw_sheets
from faceage.batch.names import MARK, digest_of, lies_below
from faceage.batch.options import DrawOptions
from faceage.batch.photo import Photo
from faceage.batch.plan import MANIFEST
from faceage.errors import UsageError
from faceage.model import Model
from faceage.photos.decode import LIMITS, Limits
from faceage.photos.find import FoundPhoto, printable
from faceage.store.latents import FaceRow, count_rows, read_settings
from faceage.store.manifest import OK, PhotoOutcome, read_manifest


def render(
    latents: Path,
    model: Model,
    out: Path,
    options: DrawOptions,
    layout: Layout | Sheets,
    files: Sequence[FoundPhoto] = (),
    progress: Callable[[int], Any] = lambda faces: None,
    limits: Limits = LIMITS,
    chosen: Chosen = EVERYBODY,
) -> dict[str, str]:
    """Draw the `chosen` people of the file `latents` into `out`; paste into the photos `files`, if the options say so.

    `limits` bound what reading one of them may cost.

    The answer has every photo, and "" or why it could not be done. Raises UsageError where the file is none, or was
    made with other weights than `model`'s.
    """
    check_weights(latents, model)
    if isinstance(layout, Sheets):
        for faces in draw_sheets(chosen.rows(latents), model, out, options, layout.file):
            progress(faces)
        return {name: "" for name in count_rows(latents) if chosen.photo(name)}
    said = {}
    known = find_again(latents, files) if options.paste else {}
    with closing(Drawer(model, out, options, layout, limits=limits)) as drawer:
        for photo in drawer.draw(_photos(chosen.rows(latents), known)):
            said[photo.name] = photo.outcome.reason
            progress(len(photo.faces))
            photo.forget()
    return said


def check_weights(latents: Path, model: Model) -> dict[str, Any]:
    """The options that people of a latents file were found with. Raises UsageError where `model` did not find them."""
    weights, found = read_settings(latents)
    if weights != model.fingerprint:
        raise UsageError(f"{latents} was made with other weights than {model.folder}", "name those with --weights DIR")
    return found


def find_again(latents: Path, files: Sequence[FoundPhoto]) -> dict[str, FoundPhoto]:
    """Which of `files` each photo of a latents file is, by name: with its album's name or without it.

    Of several with one name it is the one whose bytes the manifest beside the file knows.
    """
    by_name: dict[str, list[FoundPhoto]] = defaultdict(list)
    for file in files:
        for name in {file.name, printable(file.relative)}:
            by_name[name].append(file)
    rows = read_manifest(latents.with_name(MANIFEST))
    found = {}
    for name in count_rows(latents):
        plain = re.sub(MARK, "", name)
        below = "/".join(PurePosixPath(plain).parts[1:])
        candidates = by_name[name] or by_name[plain] or by_name[below]
        if len(candidates) > 1 and name in rows:
            candidates = [file for file in candidates if digest_of(file.path) == rows[name].input] or candidates
        if candidates:
            found[name] = candidates[0]
    return found


def _photos(chosen: Iterator[FaceRow], known: Mapping[str, FoundPhoto]) -> Iterator[Photo]:
    # A photo's rows follow each other.
    for name, rows in groupby(chosen, key=lambda row: row.source):
        if not lies_below(name):
            # A stranger's file must not choose where on this machine something is written.
            raise UsageError(f"the source {name!r} is no path below a folder")
        faces = list(rows)
        file = known.get(name) or FoundPhoto(Path(), PurePath(name), name, "there is no photo of that name")
        yield Photo(file, PhotoOutcome(name, OK, len(faces), ""), faces)
