"""Labelled grids of faces: one row per person, one column per age."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceage.pictures.mark import mark

_GAP = 2
_LABEL_HEIGHT, _LABEL_WIDTH = 16, 40
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 40)


def draw_grid(
    faces: np.ndarray, labels: Sequence[str] = (), scale: int = 1, row_labels: Sequence[str] = ()
) -> Image.Image:
    """(rows, columns, h, w, 3) uint8 faces as one picture, each enlarged `scale` times.

    The columns' `labels` stand above them and the `row_labels` to their left. Raises ValueError where the number of
    either is neither that of the columns or rows nor zero.
    """
    rows, columns, height, width, _ = faces.shape
    for given, count, what in ((labels, columns, "columns"), (row_labels, rows, "rows")):
        if given and len(given) != count:
            raise ValueError(f"{len(given)} labels for {count} {what}")
    step_x, step_y = width * scale + _GAP, height * scale + _GAP
    top, left = _LABEL_HEIGHT if labels else 0, _LABEL_WIDTH if row_labels else 0
    picture = Image.new("RGB", (columns * step_x + _GAP + left, rows * step_y + _GAP + top), _BACKGROUND)
    for row in range(rows):
        for column in range(columns):
            face = Image.fromarray(faces[row, column])
            if scale > 1:
                face = face.resize((width * scale, height * scale), Image.Resampling.BICUBIC)
            picture.paste(face, (_GAP + left + column * step_x, _GAP + top + row * step_y))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=10)
    for column, label in enumerate(labels):
        x = _GAP + left + column * step_x + width * scale / 2
        draw.text((x, top / 2 + 1), label, _INK, font, anchor="mm")
    for row, label in enumerate(row_labels):
        draw.text((left / 2 + 1, _GAP + top + row * step_y + height * scale / 2), label, _INK, font, anchor="mm")
    return picture


def grid_size(rows: int, columns: int, side: int) -> tuple[int, int]:
    """Width and height of a grid of square faces with labels above its columns."""
    return columns * (side + _GAP) + _GAP, rows * (side + _GAP) + _GAP + _LABEL_HEIGHT


def person_cells(
    photo: np.ndarray, rebuilt: np.ndarray, aged: np.ndarray, side: int, marked: bool = False
) -> np.ndarray:
    """(2 + ages, side, side, 3) uint8: one person's faces of any size, as a row of a grid shows them.

    With `marked`, the aged ones have the letters AI in a corner.
    """
    cells = np.stack([np.asarray(resize(face, side)) for face in (photo, rebuilt, *aged)])
    if marked:
        for cell in cells[2:]:
            mark(cell)
    return cells


def person_labels(ages: Sequence[str]) -> tuple[str, ...]:
    """What stands above the columns of `person_cells`."""
    return ("photo", "rebuilt", *ages)


def resize(face: np.ndarray, side: int) -> Image.Image:
    """A square (s, s, 3) uint8 face as a picture of `side` pixels."""
    picture = Image.fromarray(face)
    return picture if picture.width == side else picture.resize((side, side), Image.Resampling.BICUBIC)
