"""The counts of a prepared data set, and a sheet of its faces."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.genders import GENDERS
from faceage.pictures.grid import draw_grid
from faceage.sizes import FACE_SIZE
from faceage.store.dataset import SPLITS, opened

PAPER_FACES = 5000
"""Fewest faces of an age class in the training of Age-cGAN."""


@dataclass(frozen=True)
class DataInfo:
    """Faces in all, per split, per class, and per class and split; people with a known identity; faces of each known
    gender; dropped rows by reason.
    """

    faces: int
    people: int
    genders: dict[str, int]
    per_split: dict[str, int]
    per_class: dict[str, int]
    per_class_and_split: dict[str, dict[str, int]]
    dropped: dict[str, int]


def few_faces(per_class: Mapping[str, int]) -> list[str]:
    """A sentence for each class with fewer faces than the paper's."""
    enough = f"the paper has {PAPER_FACES} of each class or more"
    return [f"{count} faces of {name}; {enough}" for name, count in per_class.items() if count < PAPER_FACES]


def read_info(path: Path) -> DataInfo:
    """Count what a prepared file holds. Raises DataError for a foreign file."""
    with opened(path) as file:
        counts = np.zeros((len(AGE_CLASSES), len(SPLITS)), int)
        genders = file["gender"].asstr()[:]
        np.add.at(counts, (file["age_class"][:], file["split"][:]), 1)
        return DataInfo(
            faces=int(counts.sum()),
            people=len(set(file["identity"].asstr()[:]) - {""}),
            genders={name: int((genders == name).sum()) for name in GENDERS},
            per_split=dict(zip(SPLITS, counts.sum(0).tolist(), strict=True)),
            per_class=dict(zip(AGE_CLASSES, counts.sum(1).tolist(), strict=True)),
            per_class_and_split={
                name: dict(zip(SPLITS, row, strict=True))
                for name, row in zip(AGE_CLASSES, counts.tolist(), strict=True)
            },
            dropped=json.loads(file.attrs["dropped"]),
        )


def contact_sheet(path: Path, columns: int = 12) -> Image.Image:
    """The first `columns` faces of each age class, or all where there are fewer, a row for each class."""
    cells = np.full((len(AGE_CLASSES), columns, FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)
    with opened(path) as file:
        classes = file["age_class"][:]
        for index, row in enumerate(cells):
            members = np.flatnonzero(classes == index)[:columns]
            row[: len(members)] = file["faces"][members]
    return draw_grid(cells, row_labels=AGE_CLASSES)
