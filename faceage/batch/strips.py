"""Strips: a person's pictures in a row, as the report shows them. They are kept where the person is drawn.

A strip says in its comment what it was drawn with, so that whoever finds it knows whether it is still the right one.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.ages import Age, young_to_old
from faceage.batch.names import STRIPS, picture_path
from faceage.files import written_whole
from faceage.people.drawn import Drawn
from faceage.photos.provenance import EDITED, with_xmp
from faceage.pictures.grid import person_cells
from faceage.sizes import PORTRAIT_SIZE

SIDE = PORTRAIT_SIZE
"""Pixels of a picture."""
_QUALITY = 80


def strip_path(out: Path, name: str, face: int) -> Path:
    """Where the strip of a photo's face lies."""
    return picture_path(out / STRIPS, name, str(face), ".jpg")


def write_strip(path: Path, person: Drawn, ages: Sequence[Age], drawn: str, marked: bool = False) -> None:
    """Write the strip of a person drawn at `ages`: the photo, rebuilt, then from young to old.

    `drawn` is the hash of the options and weights, "" where the person is not drawn and `ages` are none. With `marked`,
    aged pictures have the letters AI in a corner.
    """
    aged = person.aged[[ages.index(age) for age in young_to_old(ages)]] if ages else person.aged
    cells = person_cells(person.photo, person.rebuilt, aged, SIDE, marked)
    options = {"quality": _QUALITY, "comment": drawn}
    if ages:
        options = with_xmp("JPEG", EDITED, options)
    file = io.BytesIO()
    Image.fromarray(np.concatenate(cells, axis=1)).save(file, "JPEG", **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_bytes(file.getvalue())


def drawn_with(path: Path) -> str | None:
    """The hash that a strip was written with, "" where it shows the photo alone; None where none can be read."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return bytes(image.info.get("comment", b"")).decode("ascii", "replace")
    except (OSError, SyntaxError, ValueError):
        return None
