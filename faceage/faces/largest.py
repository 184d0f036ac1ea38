"""The largest face of each photo, aligned: photos come in any number and size, and only faces stay in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceage.faces.align import align, face_transform
from faceage.faces.detect import Detector
from faceage.photos.decoders import read_ahead
from faceage.photos.find import FoundPhoto, printable

_PHOTOS_AT_ONCE = 32
_PIXELS_AT_ONCE = 100_000_000


@dataclass(frozen=True)
class LargestFace:
    """What a photo shows: `aligned` (64, 64, 3) uint8 of its largest face, and how many `faces` there are.

    Without a face that can be used `aligned` is None, and `reason` says why.
    """

    aligned: np.ndarray | None = None
    faces: int = 0
    reason: str = ""


def largest_faces(photos: Sequence[Path]) -> Iterator[LargestFace]:
    """The largest face of each of `photos`, in their order. A photo that cannot be used is one with a reason."""
    detector = Detector()
    waiting: list[np.ndarray | str] = []
    pixels = 0
    for read in read_ahead([FoundPhoto(path, path, printable(path)) for path in photos]):
        waiting.append(read.error if read.pixels is None else read.pixels)
        pixels += 0 if read.pixels is None else read.pixels.shape[0] * read.pixels.shape[1]
        if len(waiting) == _PHOTOS_AT_ONCE or pixels >= _PIXELS_AT_ONCE:
            yield from _largest(detector, waiting)
            waiting, pixels = [], 0
    yield from _largest(detector, waiting)


def _largest(detector: Detector, photos: Sequence[np.ndarray | str]) -> Iterator[LargestFace]:
    found = iter(detector.detect_each([photo for photo in photos if not isinstance(photo, str)]))
    for photo in photos:
        if isinstance(photo, str):
            yield LargestFace(reason=photo)
        elif isinstance(faces := next(found), str):
            yield LargestFace(reason=faces)
        elif not faces:
            yield LargestFace(reason="no face was found")
        else:
            yield LargestFace(align(photo, face_transform(faces[0].landmarks)), len(faces))
