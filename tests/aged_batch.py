"""What a batch leaves behind, without its networks: for each face its grid and its latents, and a manifest."""

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.batch.plan import LATENTS, MANIFEST, BatchOptions, grid_path
from faceage.people.options import OptimiserOptions
from faceage.pictures.grid import person_grid
from faceage.pictures.save import save_png
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


class Batch:
    """Writes what a batch leaves behind, without its networks: faces of one colour each."""

    def __init__(self, out: Path, face_row, targets: tuple[int, ...] = (0, 1, 2, 3, 4, 5), scale: int = 2) -> None:
        self.out, self._face_row = out, face_row
        self._options = BatchOptions(targets=targets, scale=scale, optimiser=OptimiserOptions(steps=60))
        self._rows: list = []
        self._outcomes: list[PhotoOutcome] = []

    def add(
        self, name: str, faces: int = 1, path: PurePosixPath | None = None, entered: bool = True, **changes
    ) -> None:
        for face in range(faces):
            person = len(self._rows)
            columns = [0, 1, *(target + 2 for target in self._options.targets)]
            cells = np.stack([np.broadcast_to(shade(person, column), (64, 64, 3)) for column in columns])
            age = np.eye(6, dtype=np.float32)[person % 6]
            distance = np.array([0.5 + 0.004 * person, 0.2 + 0.004 * person], np.float32)
            row = dataclasses.replace(
                self._face_row("row", face), source=name, aligned=cells[0], age=age, identity_distance=distance
            )
            self._rows.append(dataclasses.replace(row, **changes))
            grid = grid_path(self.out, path or PurePosixPath(name), face)
            grid.parent.mkdir(parents=True, exist_ok=True)
            labels = [AGE_CLASSES[target] for target in self._options.targets]
            save_png(person_grid(cells[0], cells[1:], labels, self._options.scale), grid)
        if entered:
            seconds = {"decode": 0.25, "optimise": 1.5}
            self._outcomes.append(PhotoOutcome(name, OK, faces, "", seconds))

    def fail(self, name: str, status: str, reason: str) -> None:
        self._outcomes.append(PhotoOutcome(name, status, 0, reason, {"decode": 0.5}))

    def write(self) -> Path:
        self.out.mkdir(parents=True, exist_ok=True)
        settings = WEIGHTS, dataclasses.asdict(self._options)
        index = LatentIndex(self.out / LATENTS, *settings)
        index.begin(lambda source: False)
        latents = LatentWriter(self.out / LATENTS, "0", *settings)
        latents.add(self._rows)
        index.count(latents.flush())
        manifest = Manifest(self.out / MANIFEST, ())
        manifest.append(self._outcomes)
        manifest.close()
        return self.out
