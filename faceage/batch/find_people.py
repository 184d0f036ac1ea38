"""From photos to rows of latents: read, detect, align, encode and optimise. A bad photo is a row with a reason."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from faceage.ahead import ahead
from faceage.batch.options import FindOptions
from faceage.batch.photo import OPTIMISED, SEARCHED, Photo, Tell, tell_nobody, timed
from faceage.faces.align import align, face_transform, resized, side_in_photo
from faceage.faces.canvas import Letterbox
from faceage.faces.detect import Detection, Detector, failure
from faceage.images import encode_portrait
from faceage.model import Model
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.people.options import FACES_AT_ONCE
from faceage.photos.decode import LIMITS, Limits, Reduction
from faceage.photos.decoders import Decoder, ReadPhoto, read_ahead, stamp
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.latents import FaceRow
from faceage.store.manifest import FAILED, NO_FACE, OK, UNREADABLE

_FIRST_PHOTOS, _PHOTOS_AT_ONCE = 4, 32
_PIXELS_AT_ONCE = 100_000_000
"""Decoded photos wait for the detector in groups of at most so many; one larger photo makes a group of its own.

The first groups are small, so that there soon is something to see.
"""

_SECONDS_A_BLOCK = 10.0
"""A block of photos is answered at the latest after so long, so that a kill costs little."""

_SECONDS_TO_FILL = 30.0
"""Longest wait for a full batch of the optimiser: where few photos show a face, it would take hours."""


@dataclass(frozen=True)
class _Face:
    photo: Photo
    number: int
    detection: Detection
    transform: np.ndarray
    aligned: np.ndarray
    portrait: bytes


class PeopleFinder:
    """The detector and the optimiser, loaded once."""

    def __init__(
        self,
        model: Model,
        options: FindOptions,
        limits: Limits = LIMITS,
        faces_at_once: int = FACES_AT_ONCE,
        tell: Tell = tell_nobody,
    ) -> None:
        self._options = options
        self._tell = tell
        self._limits = limits
        self._detector = Detector()
        self._decoder = Decoder(limits)
        age = None if options.age is None else options.age.weights
        self._optimiser = LatentOptimiser(model.fast, options.optimiser, faces_at_once, age)

    def find(self, photos: Sequence[Photo]) -> Generator[list[Photo], None, None]:
        """`photos` in blocks, with their `faces` found and their outcome known, as far as it does not hang on drawing.

        Decoding and detection go on beside the optimiser, each at most a bounded number of photos ahead.
        """
        waiting: list[_Face] = []
        finished: list[Photo] = []
        answered = begun = time.monotonic()
        size, searched = self._optimiser.batch_size, 0
        try:
            with closing(ahead(self._detected(photos))) as groups:
                for group, faces in groups:
                    searched += len(group)
                    self._tell(SEARCHED, searched, len(photos))
                    finished += [photo for photo in group if not photo.waiting]
                    begun = begun if waiting else time.monotonic()
                    waiting += faces
                    while len(waiting) >= size or (waiting and time.monotonic() - begun > _SECONDS_TO_FILL):
                        finished += self._optimise(waiting[:size])
                        del waiting[:size]
                        begun = time.monotonic()
                        if sum(len(photo.faces) for photo in finished) >= size:
                            yield self._finish(finished)
                            finished, answered = [], time.monotonic()
                    if finished and time.monotonic() - answered > _SECONDS_A_BLOCK:
                        yield self._finish(finished)
                        finished, answered = [], time.monotonic()
            if waiting:
                finished += self._optimise(waiting)
            if finished:
                yield self._finish(finished)
        finally:
            self._decoder.close()

    def _finish(self, photos: list[Photo]) -> list[Photo]:
        for photo in photos:
            outcome = photo.outcome
            changed = stamp(photo.file.path) != (outcome.size, outcome.modified)
            if outcome.status == OK and changed:
                photo.outcome = replace(outcome, status=FAILED, reason=_CHANGED, faces=0)
                photo.faces = []
        return photos

    def _detected(self, photos: Sequence[Photo]) -> Generator[tuple[list[Photo], list[_Face]], None, None]:
        """Groups of photos, and the faces in them."""
        for group in self._groups(photos):
            readable = [photo for photo in group if photo.pixels is not None]
            faces: list[_Face] = []
            for photo, detections in zip(readable, self._detect(readable), strict=True):
                if not isinstance(detections, str):
                    faces += self._cut_out(photo, detections)
                # Photos are large and faces are small: only the faces wait for the optimiser.
                photo.pixels = None
            yield group, faces

    def _groups(self, photos: Sequence[Photo]) -> Iterator[list[Photo]]:
        group: list[Photo] = []
        pixels, most = 0, min(_FIRST_PHOTOS, _PHOTOS_AT_ONCE)
        # Detection needs only 640 pixels a side, so decode at reduced size.
        reduction = Letterbox.reduction(self._options.min_face)
        reads = read_ahead([photo.file for photo in photos], reduction, limits=self._limits)
        for photo, read in zip(photos, reads, strict=True):
            self._enter(photo, read)
            size = 0 if read.pixels is None else read.pixels.shape[0] * read.pixels.shape[1]
            del read
            if group and (len(group) == most or pixels + size > _PIXELS_AT_ONCE):
                yield group
                group, pixels, most = [], 0, min(2 * most, _PHOTOS_AT_ONCE)
            group.append(photo)
            pixels += size
        if group:
            yield group

    def _enter(self, photo: Photo, read: ReadPhoto) -> None:
        photo.pixels, photo.factor = read.pixels, read.factor
        status, reason = (UNREADABLE, read.error) if read.error else ("", "")
        photo.outcome = replace(
            photo.outcome,
            status=status,
            reason=reason,
            warning=read.warning,
            input=read.input,
            size=read.size,
            modified=read.modified,
        )
        photo.seconds["decode"] += read.seconds

    def _detect(self, photos: list[Photo]) -> list[list[Detection] | str]:
        pixels = [photo.pixels for photo in photos if photo.pixels is not None]
        factors = [photo.factor for photo in photos]

        def again(number: int, reduction: Reduction) -> tuple[np.ndarray, int] | None:
            read = self._decoder.read(photos[number].file, reduction)
            same = read.pixels is not None and read.input == photos[number].outcome.input
            return (read.pixels, read.factor) if read.pixels is not None and same else None

        with timed("detect", photos):
            found = self._detector.detect_each(pixels, self._options.min_face, factors, again)
        for photo, detections in zip(photos, found, strict=True):
            if isinstance(detections, str):
                _fail(photo, detections)
            else:
                photo.detections = len(detections)
                if not self._numbers(photo):
                    photo.outcome = replace(photo.outcome, status=NO_FACE, reason=self._nobody(photo))
        return found

    def _numbers(self, photo: Photo) -> list[int]:
        """The numbers of the chosen faces that the photo has."""
        return list(takewhile(photo.detections.__gt__, self._options.face_numbers))

    def _nobody(self, photo: Photo) -> str:
        if not photo.detections:
            return "no face was found"
        return f"it has no face {self._options.faces}: there are {photo.detections}, from 0"

    def _cut_out(self, photo: Photo, detections: list[Detection]) -> list[_Face]:
        """The chosen faces, aligned."""
        numbers = self._numbers(photo)
        chosen = self._sharpen(photo, [detections[number] for number in numbers])
        if photo.pixels is None:
            return []
        faces = []
        with timed("align", [photo]):
            for number, face in zip(numbers, chosen, strict=True):
                transform = face_transform(face.landmarks)
                here = transform * [photo.factor, photo.factor, 1]
                portrait = encode_portrait(align(photo.pixels, resized(here, PORTRAIT_SIZE), PORTRAIT_SIZE))
                faces.append(_Face(photo, number, face, transform, align(photo.pixels, here), portrait))
        photo.waiting = len(faces)
        return faces

    def _sharpen(self, photo: Photo, faces: list[Detection]) -> list[Detection]:
        """Decode a photo again where it has fewer pixels than a portrait of the smallest of `faces`; these, refined."""
        if photo.factor == 1 or not faces:
            return faces
        smallest = min(side_in_photo(face_transform(face.landmarks)) for face in faces)
        allowed = max(1, int(smallest / PORTRAIT_SIZE))
        if photo.factor <= allowed:
            return faces
        read = self._decoder.read(photo.file, Reduction(1, allowed))
        photo.seconds["decode"] += read.seconds
        photo.pixels, photo.factor = read.pixels, read.factor
        if read.error or read.input != photo.outcome.input:
            photo.pixels = None
            _fail(photo, read.error or _CHANGED)
            return faces
        assert photo.pixels is not None
        with timed("detect", [photo]):
            try:
                return self._detector.refine(photo.pixels, faces, self._options.min_face, photo.factor)
            except Exception as error:
                photo.pixels = None
                _fail(photo, failure(error))
                return faces

    def _optimise(self, faces: list[_Face]) -> list[Photo]:
        """Find the latents of a batch of faces; the photos whose last face this was."""
        steps = self._options.optimiser.steps

        def stepped(step: int) -> None:
            self._tell(OPTIMISED, step, steps)

        with timed("optimise", [face.photo for face in faces]):
            latents = self._optimiser(np.stack([face.aligned for face in faces]), stepped=stepped)
        finished = []
        for i, face in enumerate(faces):
            photo = face.photo
            photo.faces.append(_row(face, latents, i))
            photo.waiting -= 1
            if not photo.waiting:
                photo.outcome = replace(photo.outcome, status=OK, faces=len(photo.faces))
                finished.append(photo)
        return finished


_CHANGED = "the photo changed while it was worked on"


def _fail(photo: Photo, reason: str) -> None:
    photo.outcome = replace(photo.outcome, status=FAILED, reason=reason)


def _row(face: _Face, latents: Latents, i: int) -> FaceRow:
    return FaceRow(
        source=face.photo.name,
        face=face.number,
        box=face.detection.box,
        landmarks=face.detection.landmarks,
        confidence=face.detection.confidence,
        aligned=face.aligned,
        portrait=face.portrait,
        **latents.columns(i),
        transform=face.transform.astype(np.float32),
    )
