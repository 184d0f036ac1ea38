"""From rows of latents to pictures: grids, single faces, animations and whole photos, of a batch or of a file."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.batch.names import ANIMATIONS, FACES, GRIDS, SHEETS, pasted_paths, picture_path
from faceage.batch.options import DrawOptions
from faceage.batch.paste import Paster
from faceage.batch.photo import Photo, timed
from faceage.batch.strips import strip_path, write_strip
from faceage.errors import PhotoError
from faceage.model import Model
from faceage.people.draw import AT_ONCE, PeoplePainter
from faceage.people.drawn import Drawn
from faceage.photos.decode import LIMITS, Limits
from faceage.photos.provenance import EDITED, GENERATED
from faceage.pictures.grid import draw_grid, grid_size, person_cells, person_labels
from faceage.pictures.save import check_webp, save_animation, save_png, save_webp
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.latents import FaceRow
from faceage.store.manifest import FAILED, OK

_STILL = "png", "webp"
FILES = {GRIDS: _STILL, SHEETS: _STILL, FACES: _STILL, ANIMATIONS: ("gif", "webp")}
"""What can be drawn, and the types of file that it can be written as, the default first."""

MILLISECONDS = 80
"""Of a frame of an animation."""

_ON_A_SHEET = 16
_WRITERS = 2


@dataclass(frozen=True)
class Layout:
    """How each person is shown by itself, in a file of one of the kind's types."""

    kind: str = GRIDS
    file: str = "png"

    def __post_init__(self) -> None:
        if self.kind not in _SAVE:
            raise ValueError(f"a person is drawn in one of {', '.join(_SAVE)}, not in {self.kind}")


@dataclass(frozen=True)
class Sheets:
    """Several people in a picture, which `draw_sheets` draws."""

    file: str = "png"


class Drawer:
    """Draws photos' people, with networks that are loaded once, into the folder `out`."""

    def __init__(
        self,
        model: Model,
        out: Path,
        options: DrawOptions,
        layout: Layout | None = None,
        keep: bool = False,
        limits: Limits = LIMITS,
        drawn: str = "",
    ) -> None:
        """`keep` leaves pictures that are there already as they are; `limits` are of photos to paste into.

        `layout` None is grids. `drawn` is the hash of `options` and the weights, for strips.
        """
        self._keep = keep
        self._out = out
        self._options = options
        self._layout = layout or Layout()
        self._drawn = drawn
        self._paint = PeoplePainter(model, options.draw, options.gender)
        self._paster = Paster(limits)

    def draw(self, photos: Iterable[Photo]) -> Generator[Photo, None, None]:
        """`photos`, each when its pictures are on disk, or its outcome says why they cannot be written."""
        with ThreadPoolExecutor(_WRITERS) as writers:
            for group in _groups(photos):
                yield from self._draw_group(group, writers)

    def close(self) -> None:
        """End the process that reads photos to paste into."""
        self._paster.close()

    def _draw_group(self, photos: list[Photo], writers: ThreadPoolExecutor) -> Iterator[Photo]:
        rows = [row for photo in photos for row in photo.faces]
        with timed("draw", photos):
            drawn = iter(self._paint(rows, self._options.ages, self._options.strength))
        people = [[next(drawn) for _ in photo.faces] for photo in photos]
        writing = [writers.submit(self._write, *each) for each in zip(photos, people, strict=True)]
        for photo, faces, written in zip(photos, people, writing, strict=True):
            reason = self._finish(photo, faces, written)
            photo.outcome = replace(photo.outcome, status=FAILED if reason else OK, reason=reason)
            yield photo

    def _finish(self, photo: Photo, people: Sequence[Drawn], written: "Future[None]") -> str:
        """Paste, where that is asked for, and wait for the other pictures; why it could not be done, or ""."""
        try:
            if self._options.paste:
                paths = pasted_paths(self._out, photo.name, self._options.ages)
                if not (self._keep and all(path.exists() for path in paths)):
                    with timed("paste", [photo]):
                        self._paster.paste(photo, people, paths, self._options.mark)
            written.result()
        except OSError as error:
            return f"its pictures cannot be written: {error.strerror or error}"
        except PhotoError as error:
            return str(error)
        return ""

    def _write(self, photo: Photo, people: Sequence[Drawn]) -> None:
        with timed("write", [photo]):
            for row, person in zip(photo.faces, people, strict=True):
                layout = self._layout
                path = picture_path(self._out / layout.kind, photo.name, str(row.face), f".{layout.file}")
                if not (self._keep and path.exists()):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _SAVE[layout.kind](person, path, self._options)
                if self._options.strips:
                    path = strip_path(self._out, photo.name, row.face)
                    write_strip(path, person, self._options.ages, self._drawn, self._options.mark)


def check_fits(kind: str, file: str, options: DrawOptions, people: int) -> None:
    """Raise UsageError where pictures of `kind`, of so many people, would be larger than a file of this type can be."""
    if file == "webp" and kind in (GRIDS, SHEETS):
        side = PORTRAIT_SIZE * options.scale
        rows, columns = min(people, _ON_A_SHEET) if kind == SHEETS else 1, 2 + len(options.ages)
        check_webp(grid_size(rows, columns, side), kind)


def draw_sheets(rows: Iterable[FaceRow], model: Model, out: Path, options: DrawOptions, file: str) -> Iterator[int]:
    """Pictures of 16 people each, a row as of a person's grid, into `out`/sheets; yields how many people there are."""
    paint, rows = PeoplePainter(model, options.draw, options.gender), iter(rows)
    for number in count(1):
        if not (sheet := list(islice(rows, _ON_A_SHEET))):
            return
        path = out / SHEETS / f"{number:04}.{file}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(_grid(paint(sheet, options.ages, options.strength), options), path, EDITED)
        yield len(sheet)


def _groups(photos: Iterable[Photo]) -> Iterator[list[Photo]]:
    """Photos with enough faces, together, to be drawn at once."""
    group: list[Photo] = []
    for photo in photos:
        group.append(photo)
        if sum(len(photo.faces) for photo in group) >= AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _cells(person: Drawn, options: DrawOptions) -> np.ndarray:
    """`person_cells` at the size that is asked for, the aged ones with their mark."""
    return person_cells(person.photo, person.rebuilt, person.aged, PORTRAIT_SIZE * options.scale, options.mark)


def _grid(people: Sequence[Drawn], options: DrawOptions) -> Image.Image:
    return draw_grid(np.stack([_cells(person, options) for person in people]), person_labels(options.labels))


def _aged(person: Drawn, options: DrawOptions) -> list[Image.Image]:
    return [Image.fromarray(cell) for cell in _cells(person, options)[2:]]


def _without_photo(options: DrawOptions) -> bytes:
    """What pictures say of themselves that show nothing but aged faces."""
    return GENERATED if options.draw == "generator" else EDITED


def _save(picture: Image.Image, path: Path, xmp: bytes) -> None:
    (save_webp if path.suffix == ".webp" else save_png)(picture, path, xmp)


def _save_grid(person: Drawn, path: Path, options: DrawOptions) -> None:
    _save(_grid([person], options), path, EDITED)


def _save_faces(person: Drawn, path: Path, options: DrawOptions) -> None:
    """One picture an age, in a folder instead of the file `path`."""
    path.with_suffix("").mkdir(exist_ok=True)
    for label, face in zip(options.labels, _aged(person, options), strict=True):
        _save(face, path.with_suffix("") / f"{label}{path.suffix}", _without_photo(options))


def _save_moving(person: Drawn, path: Path, options: DrawOptions) -> None:
    save_animation(_aged(person, options), path, MILLISECONDS, _without_photo(options))


_SAVE = {GRIDS: _save_grid, FACES: _save_faces, ANIMATIONS: _save_moving}
