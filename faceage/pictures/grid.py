"""Labelled grids of faces: one row per person, one column per age."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceage.images import FACE_SIZE

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


def person_grid(aligned: np.ndarray, drawn: np.ndarray, labels: Sequence[str], scale: int) -> Image.Image:
    """One person: the (64, 64, 3) aligned face, and of `drawn` (1 + ages, …) the reconstruction and each age."""
    return draw_grid(np.concatenate([aligned[None], drawn])[None], ("photo", "rebuilt", *labels), scale)


def cut_person(grid: Image.Image, ages: int) -> np.ndarray:
    """The (2 + ages, 64, 64, 3) uint8 faces of a `person_grid` of so many ages, made small again.

    They are those that were drawn where the grid's scale is 1, and close to them otherwise. Raises ValueError for a
    picture of another layout.
    """
    columns = 2 + ages
    side, rest = divmod(grid.width - _GAP - columns * _GAP, columns)
    if rest or side < FACE_SIZE or side % FACE_SIZE or grid.height != side + 2 * _GAP + _LABEL_HEIGHT:
        raise ValueError(f"a picture of {grid.width}×{grid.height} is no grid of {ages} ages")
    picture, top = grid.convert("RGB"), _GAP + _LABEL_HEIGHT
    lefts = [_GAP + column * (side + _GAP) for column in range(columns)]
    boxes = [(left, top, left + side, top + side) for left in lefts]
    # Cut before made small, or else what is around would shine in.
    cells = [picture.crop(box).resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BOX) for box in boxes]
    return np.stack([np.asarray(cell) for cell in cells])
