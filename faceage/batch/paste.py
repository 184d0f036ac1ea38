"""Aged faces back in their photos: of people just drawn, and of those whose latents are stored."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from faceage.batch.plan import pasted_paths
from faceage.errors import PhotoError
from faceage.faces.align import align
from faceage.faces.paste import lies_in, paste_face
from faceage.images import FACE_SIZE
from faceage.model import Model
from faceage.people.draw import draw_people, latents_of
from faceage.photos.decoders import Decoder
from faceage.photos.find import FoundPhoto
from faceage.photos.write_like import save_like
from faceage.store.latents import FaceRow, row_blocks

_AT_ONCE = 32
"""Faces that are drawn together: a batch that is not full takes as long."""

_SAME_FACE = 0.8
"""Correlation, at least, of a stored face with what the photo shows in its place: another copy of it has 0.98."""


class Paster:
    """Reads photos again, in a process of its own, and writes them with their faces aged. It holds one at a time."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    def paste(
        self,
        photo: FoundPhoto,
        input: str,
        faces: Sequence[tuple[FaceRow, np.ndarray]],
        ages: Sequence[np.ndarray],
        paths: Sequence[Path],
    ) -> None:
        """Write `photo` to each of k `paths`, its `faces` at one of k `ages`, (6,) weights, in each.

        A face comes with (1 + k, 64, 64, 3) uint8, drawn at its own and at the k ages. `input` is the SHA-256 of the
        photo's bytes; where it is not known (""), the photo must show the faces. Raises PhotoError for a photo that
        cannot be read or is another, and OSError where it cannot be written.
        """
        read = self._decoder.read(photo, original=True)
        if read.pixels is None or read.encoding is None:
            raise PhotoError(read.error)
        same = read.input == input if input else all(_shows(read.pixels, row) for row, _ in faces)
        if not same:
            raise PhotoError("the photo is not the one that its faces were found in")
        for number, (age, path) in enumerate(zip(ages, paths, strict=True), start=1):
            picture = read.pixels.copy()
            for row, drawn in faces:
                folds = _folds(row.age, age)
                paste_face(picture, row.transform, row.landmarks, row.aligned, drawn[0], drawn[number], folds)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_like(picture, read.encoding, path)

    def close(self) -> None:
        """End the process; it is started again when needed."""
        self._decoder.close()


def paste_stored(
    latents: Path,
    model: Model,
    photos: Mapping[str, tuple[FoundPhoto, str]],
    out: Path,
    ages: Mapping[str, np.ndarray],
    strength: float,
) -> Iterator[tuple[str, int, str]]:
    """Paste the faces of a latents file into those of their `photos` that are given, at `ages`, {label: (6,) weights}.

    `photos` are by the name that they have in the file, each with its `input` as of `Paster.paste`. Yields (name,
    faces, "" or why it could not be done). Raises OSError where a picture cannot be written.
    """
    paster = Paster()
    try:
        for group in _groups(latents, photos):
            everybody = [row for rows in group for row in rows]
            drawn = iter(draw_people(model.person_generator, latents_of(everybody), list(ages.values()), strength))
            for rows in group:
                photo, known = photos[rows[0].source]
                try:
                    faces = [(row, next(drawn)) for row in rows]
                    paths = pasted_paths(out, photo.relative, list(ages))
                    paster.paste(photo, known, faces, list(ages.values()), paths)
                except PhotoError as error:
                    yield photo.name, len(rows), str(error)
                else:
                    yield photo.name, len(rows), ""
    finally:
        paster.close()


def _folds(own: np.ndarray, asked: np.ndarray) -> float:
    """How many times the folds that come with age are taken, for a face of age weights (6,) `own`.

    Those of a person grown older by a class or more are thinner than a pixel of 64, so that G draws them weaker than
    they are. What it draws of a younger one is no finer than that.
    """
    classes = float((asked - own) @ np.arange(len(own)))
    return 1.0 + 0.5 * min(max(classes, 0.0), 1.0)


def _groups(latents: Path, photos: Mapping[str, object]) -> Iterator[list[list[FaceRow]]]:
    """Photos, each all of its rows (they follow each other in the file), in groups with enough faces to draw."""
    rows = (row for block in row_blocks(latents, _AT_ONCE) for row in block if row.source in photos)
    group: list[list[FaceRow]] = []
    for _, photo in groupby(rows, key=lambda row: row.source):
        group.append(list(photo))
        if sum(map(len, group)) >= _AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _shows(photo: np.ndarray, row: FaceRow) -> bool:
    """Whether the middle of the stored face is what the photo, (h, w, c) uint8, has in its place."""
    if not lies_in(row.transform, row.landmarks, photo.shape[:2]):
        return False
    colours = photo[..., :3] if photo.shape[2] > 2 else np.broadcast_to(photo[..., :1], (*photo.shape[:2], 3))
    middle = slice(FACE_SIZE // 4, -FACE_SIZE // 4)
    shown, stored = (face[middle, middle].mean(2).ravel() for face in (align(colours, row.transform), row.aligned))
    if not (shown.std() and stored.std()):
        return False
    return bool(np.corrcoef(shown, stored)[0, 1] > _SAME_FACE)
