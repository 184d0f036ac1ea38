"""What a batch leaves behind, without its networks: for each face its grid and its latents, and a manifest."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, parse_ages
from faceage.batch.names import grid_path, lies_below
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.plan import LATENTS, MANIFEST
from faceage.images import encode_portrait
from faceage.people.drawn import Drawn
from faceage.people.options import OptimiserOptions
from faceage.pictures.save import save_png
from faceage.report.rows import Painter
from faceage.store.latents import LatentIndex, LatentWriter
from faceage.store.manifest import OK, Manifest, PhotoOutcome

WEIGHTS = "0ddba11"
HOSTILE = (
    "</script><script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.jpg',
    "' onmouseover='alert(1).jpg",
    "<!--<script>.jpg",
    "]]>.jpg",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "${alert(1)}`.jpg",
    "&lt;b&gt;&#60;.jpg",
    "javascript:alert(1)",
    "100%25 #1?.jpg",
    "two\nlines\tand\rmore.jpg",
    "\u202egpj.exe",
    "\u2066\u200b\ufeff\u2028.jpg",
    "\x1b[31mred.jpg",
    "שלום.jpg",
    "名前 👩\u200d🚀.jpg",
    "\\xff\\n.jpg",
    "a  b .jpg",
)
"""Names of photos that are out to become something else on a page."""


def shade(person: int, column: int) -> np.ndarray:
    """The one colour of a face: of the photo (column 0), its reconstruction (1), or class `column` - 2."""
    return np.array([40 + 20 * column, 30 + 23 * (person % 9), 200 - 20 * column], np.uint8)


def draw(rows, ages, strength) -> list[Drawn]:
    """Draws faces of one colour each, as a report's `draw`: the person's number is in their latent."""
    people = []
    for row in rows:
        person = int(row.latent[0])
        photo, rebuilt, *aged = (face(person, column) for column in (0, 1, *(COLUMNS[age.label] for age in ages)))
        people.append(Drawn(photo, rebuilt, photo, np.stack(aged)))
    return people


PAINTER = Painter(draw, "c0ffee")
"""What a report draws with."""

COLUMNS = {label: 2 + index for index, label in enumerate(AGE_CLASSES)}


def face(person: int, column: int) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(shade(person, column), (64, 64, 3)))


class Batch:
    """Writes what a batch leaves behind, without its networks: faces of one colour each, which `draw` draws."""

    def __init__(self, out: Path, face_row, ages: str = ",".join(AGE_CLASSES)) -> None:
        self.out, self._face_row = out, face_row
        self._draw = DrawOptions(parse_ages(ages))
        self._rows: list = []
        self._outcomes: list[PhotoOutcome] = []

    def add(self, name: str, faces: int = 1, entered: bool = True, warning: str = "", **changes) -> None:
        for number in range(faces):
            person = len(self._rows)
            latent = np.zeros(100, np.float32)
            latent[0] = person
            age = np.eye(6, dtype=np.float32)[person % 6]
            distance = np.array([0.5 + 0.004 * person, 0.2 + 0.004 * person], np.float32)
            row = dataclasses.replace(
                self._face_row("row", number),
                source=name,
                aligned=face(person, 0),
                portrait=encode_portrait(face(person, 0)),
                age=age,
                latent=latent,
                identity_distance=distance,
            )
            self._rows.append(dataclasses.replace(row, **changes))
            if lies_below(name):
                grid = grid_path(self.out, name, number)
                grid.parent.mkdir(parents=True, exist_ok=True)
                save_png(Image.new("RGB", (8, 8)), grid)
        if entered:
            seconds = {"decode": 0.25, "optimise": 1.5}
            self._outcomes.append(PhotoOutcome(name, OK, faces, "", seconds, warning=warning))

    def fail(self, name: str, status: str, reason: str) -> None:
        self._outcomes.append(PhotoOutcome(name, status, 0, reason, {"decode": 0.5}))

    def write(self) -> Path:
        self.out.mkdir(parents=True, exist_ok=True)
        found = WEIGHTS, FindOptions(optimiser=OptimiserOptions(steps=60)).to_json()
        index = LatentIndex(self.out / LATENTS, *found, {**self._draw.to_json(), "drawn": PAINTER.drawn})
        index.begin(lambda source: False)
        latents = LatentWriter(self.out / LATENTS, "0", *found)
        index.count(latents.write(self._rows))
        manifest = Manifest(self.out / MANIFEST, ())
        manifest.append(self._outcomes)
        manifest.close()
        return self.out
