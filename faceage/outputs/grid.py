"""Labelled grids of faces: one row per person, one column per age."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 2
_LABEL_HEIGHT = 16
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 40)


def draw_grid(faces: np.ndarray, labels: Sequence[str] = (), scale: int = 1) -> Image.Image:
    """(rows, columns, h, w, 3) uint8 faces as one picture, each enlarged `scale` times, under the columns' `labels`.

    Raises ValueError where the number of labels is neither that of the columns nor zero.
    """
    rows, columns, height, width, _ = faces.shape
    if labels and len(labels) != columns:
        raise ValueError(f"{len(labels)} labels for {columns} columns")
    step_x, step_y = width * scale + _GAP, height * scale + _GAP
    top = _LABEL_HEIGHT if labels else 0
    picture = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP + top), _BACKGROUND)
    for row in range(rows):
        for column in range(columns):
            face = Image.fromarray(faces[row, column])
            if scale > 1:
                face = face.resize((width * scale, height * scale), Image.Resampling.BICUBIC)
            picture.paste(face, (_GAP + column * step_x, _GAP + top + row * step_y))
    if labels:
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=10)
        for column, label in enumerate(labels):
            x = _GAP + column * step_x + width * scale / 2
            draw.text((x, top / 2 + 1), label, _INK, font, anchor="mm")
    return picture
