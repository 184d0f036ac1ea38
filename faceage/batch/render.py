"""Drawing again from stored latents: no detector or optimiser is needed, and no photo but to paste into."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, age_weights, one_hot
from faceage.batch.paste import paste_stored
from faceage.batch.plan import lies_below, result_path
from faceage.errors import UsageError
from faceage.model import Model
from faceage.people.details import add_details
from faceage.people.draw import draw_people, latents_of
from faceage.photos.find import FoundPhoto
from faceage.pictures.grid import draw_grid, person_grid
from faceage.pictures.save import save_animation, save_png, save_webp
from faceage.store.latents import FaceRow, count_rows, read_settings, row_blocks

KINDS = {"grids": ("png", "webp"), "faces": ("png", "webp"), "sheets": ("png", "webp"), "animations": ("gif", "webp")}
"""What can be drawn, and the types of file that it can be written as."""
_AT_ONCE = 32
_ON_A_SHEET = 16
MILLISECONDS = 80
"""Of a frame of an animation."""


@dataclass(frozen=True)
class Age:
    """An age to draw: what it is called, and its weights (6,)."""

    label: str
    weights: np.ndarray

    @classmethod
    def of(cls, text: str) -> "Age":
        """ "60+" is a class, "25" an age in years between the middles of two. Raises ValueError for anything else."""
        if text in AGE_CLASSES:
            return cls(text, one_hot([AGE_CLASSES.index(text)])[0])
        return cls(text, age_weights(float(text)))


@dataclass(frozen=True)
class RenderOptions:
    """What is drawn: one of `KINDS`, at `ages`, by `strength` with `details`, enlarged `scale` times, as a `file`."""

    kind: str
    ages: Sequence[Age]
    strength: float
    details: float
    scale: int
    file: str


def render(
    latents: Path,
    model: Model,
    out: Path,
    options: RenderOptions,
    progress: Callable[[int], Any] = lambda faces: None,
) -> int:
    """Draw every face of the file `latents` into `out`; how many there were.

    Raises UsageError where the file is none, or was made with other weights than `model`'s.
    """
    _check_weights(latents, model)
    count = 0
    blocks = row_blocks(latents, _ON_A_SHEET if options.kind == "sheets" else _AT_ONCE)
    with ThreadPoolExecutor() as writers:
        for number, rows in enumerate(blocks, start=1):
            found, aligned = latents_of(rows), np.stack([row.aligned for row in rows])
            asked = [age.weights for age in options.ages]
            drawn = draw_people(model.person_generator, found, asked, options.strength)
            drawn = add_details(model, aligned, found, drawn, asked, options.strength, options.details)
            if options.kind == "sheets":
                _save_sheet(rows, drawn, out / options.kind / f"{number:04}.{options.file}", options)
            else:
                list(writers.map(lambda row, faces: _save(row, faces, out, options), rows, drawn))
            count += len(rows)
            progress(len(rows))
    return count


def render_photos(
    latents: Path,
    model: Model,
    photos: Sequence[FoundPhoto],
    out: Path,
    ages: Sequence[Age],
    strength: float,
    progress: Callable[[int], Any] = lambda faces: None,
) -> dict[str, str]:
    """Write each photo of the file `latents` into `out`, once at each of `ages`, with all of its faces aged.

    `photos` are where they are looked for, by name. The answer has every photo, and "" or why it could not be done.
    Raises UsageError where the file is none, or was made with other weights than `model`'s.
    """
    _check_weights(latents, model)
    said = dict.fromkeys(count_rows(latents), "there is no photo of that name")
    weights = {age.label: age.weights for age in ages}
    known = {photo.name: (photo, "") for photo in photos if photo.name in said}
    for name, faces, problem in paste_stored(latents, model, known, out, weights, strength):
        said[name] = problem
        progress(faces)
    return said


def _check_weights(latents: Path, model: Model) -> None:
    weights, _ = read_settings(latents)
    if weights != model.fingerprint:
        raise UsageError(f"{latents} was made with other weights than {model.folder}", "name those with --weights DIR")


def _save(row: FaceRow, drawn: np.ndarray, out: Path, options: RenderOptions) -> None:
    relative = PurePosixPath(row.source)
    if not lies_below(relative):
        # A stranger's file must not choose where on this machine something is written.
        raise UsageError(f"the source {row.source!r} is no path below a folder")
    path = result_path(out / options.kind, relative, str(row.face), f".{options.file}")
    path.parent.mkdir(parents=True, exist_ok=True)
    save = save_webp if options.file == "webp" else save_png
    labels = [age.label for age in options.ages]
    if options.kind == "grids":
        save(person_grid(row.aligned, drawn, labels, options.scale), path)
        return
    pictures = [_enlarged(face, options.scale) for face in drawn[1:]]
    if options.kind == "animations":
        save_animation(pictures, path, MILLISECONDS)
        return
    path.with_suffix("").mkdir(exist_ok=True)
    for label, picture in zip(labels, pictures, strict=True):
        save(picture, path.with_suffix("") / f"{label}{path.suffix}")


def _save_sheet(rows: Sequence[FaceRow], drawn: np.ndarray, path: Path, options: RenderOptions) -> None:
    """One picture of several people, each a row as of their grid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    people = np.concatenate([np.stack([row.aligned for row in rows])[:, None], drawn], axis=1)
    picture = draw_grid(people, ("photo", "rebuilt", *(age.label for age in options.ages)), options.scale)
    (save_webp if options.file == "webp" else save_png)(picture, path)


def _enlarged(face: np.ndarray, scale: int) -> Image.Image:
    picture = Image.fromarray(face)
    size = (picture.width * scale, picture.height * scale)
    return picture if scale == 1 else picture.resize(size, Image.Resampling.BICUBIC)
