"""From photos to grids, rows of latents and outcomes; one bad photo is one row and the rest goes on."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, TypeVar

import numpy as np

from faceage.ages import one_hot
from faceage.batch.paste import Paster
from faceage.batch.plan import LATENTS, Task, grid_path, pasted_paths
from faceage.errors import PhotoError
from faceage.faces.align import align, face_transform, side_in_photo
from faceage.faces.detect import Detection, Detector, Letterbox, failure
from faceage.images import FACE_SIZE
from faceage.model import load_model
from faceage.people.details import add_details
from faceage.people.draw import draw_people
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.photos.decode import Reduction
from faceage.photos.decoders import Decoder, ReadPhoto, read_ahead, stamp
from faceage.photos.find import FoundPhoto
from faceage.pictures.grid import person_grid
from faceage.pictures.save import save_png
from faceage.store.latents import FaceRow, LatentWriter
from faceage.store.manifest import FAILED, NO_FACE, OK, UNREADABLE, PhotoOutcome

_PHOTOS_AT_ONCE = 32
_PIXELS_AT_ONCE = 100_000_000
"""Decoded photos wait for the detector in groups of at most so many; one larger photo makes a group of its own."""

_SHARP = 1.5
"""Pixels of a reduced photo, at least, for one of the aligned face: with fewer it would be softer than it need be."""

_SECONDS_UNRECORDED = 30.0
"""What is finished is recorded at least so often, so that a kill costs no more than that."""

_GRIDS_WAITING = 128
"""Faces whose grids may wait to be written while the next ones are worked on."""

_PASTED_WAITING = 16
"""As many faces where their photos are written too, which takes so long that a run could not be stopped soon."""


@dataclass
class Done:
    """What has been finished and is on disk: it only has to be entered.

    `parts` are the parts of the latents that the rows of the photos of `outcomes` are in; `distances` the identity
    distances of their faces, before and after by turns; `seconds` what each stage took.
    """

    outcomes: list[PhotoOutcome]
    parts: dict[str, int]
    distances: list[float]
    seconds: dict[str, float]


@dataclass
class _Photo:
    """A photo on its way: what is known of it, and how many of its faces are still to come back."""

    found: FoundPhoto
    read: ReadPhoto
    pixels: np.ndarray | None
    factor: int
    error: str
    readable: bool
    faces: int = 0
    waiting: int = 0
    found_faces: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    rows: list[FaceRow] = field(default_factory=list)
    drawn: list[tuple[FaceRow, np.ndarray]] = field(default_factory=list)
    """To be pasted when all of its faces are there."""


@dataclass(frozen=True)
class _Face:
    photo: _Photo
    number: int
    detection: Detection
    transform: np.ndarray
    aligned: np.ndarray


class Worker:
    """The networks, and the stages that each photo goes through.

    Decoding, detection and writing go on beside the optimiser, each at most a bounded number of photos ahead or behind.
    """

    def __init__(self, task: Task, writer: str, parts: Mapping[str, int]) -> None:
        """Work on `task`, and write latents under the name `writer` after the `parts` that there are."""
        options = task.options
        model = load_model(task.weights)
        self._task = task
        self._model = model
        self._detector = Detector()
        self._decoder = Decoder()
        self._optimiser = LatentOptimiser(model.fast, options.optimiser, age_class=options.age_class)
        self._latents = LatentWriter(task.out / LATENTS, writer, model.fingerprint, options.to_json())
        self._latents.go_on(parts)
        self._paster = Paster()
        self._waiting = _PASTED_WAITING if options.paste else _GRIDS_WAITING
        self._finished: list[_Photo] = []
        self._seconds: dict[str, float] = defaultdict(float)

    def run(
        self, photos: Sequence[FoundPhoto], progress: Callable[[int, int], Any] = lambda photos, faces: None
    ) -> Iterator[Done]:
        """Do `photos`; what is answered may be entered. `progress(photos, faces)` is told what has just been finished.

        Where this is ended early, `rest` answers what was finished since.
        """
        recorded = time.monotonic()
        waiting: list[_Face] = []
        writing: list[tuple[Future[None], _Face, FaceRow]] = []
        size = self._optimiser.batch_size
        with ThreadPoolExecutor(1) as writer:
            try:
                with closing(_ahead(self._found(photos))) as groups:
                    for group, faces in groups:
                        for photo in group:
                            if not photo.waiting:
                                self._finish(photo, progress)
                        waiting += faces
                        while (full := len(waiting) >= size) or self._due(recorded):
                            if full:
                                writing += self._age(waiting[:size], writer)
                                del waiting[:size]
                                self._written(writing, self._waiting, progress)
                            if self._due(recorded):
                                yield self.rest()
                                recorded = time.monotonic()
                if waiting:
                    writing += self._age(waiting, writer)
            finally:
                self._decoder.close()
                self._written(writing, 0, progress)
                self._paster.close()
        yield self.rest()

    def _due(self, recorded: float) -> bool:
        """Whether enough is finished, or some of it for long enough, to be entered."""
        return self._latents.due or (bool(self._finished) and time.monotonic() - recorded > _SECONDS_UNRECORDED)

    def rest(self) -> Done:
        """What is finished and was in no answer before, on disk."""
        with self._timed("write", []):
            parts = self._latents.flush()
        finished, self._finished = self._finished, []
        seconds, self._seconds = self._seconds, defaultdict(float)
        rows = [row for photo in finished if not photo.error for row in photo.rows]
        distances = [float(distance) for row in rows for distance in row.identity_distance]
        return Done([self._outcome(photo) for photo in finished], parts, distances, dict(seconds))

    def _found(self, photos: Sequence[FoundPhoto]) -> Generator[tuple[list[_Photo], list[_Face]], None, None]:
        """Groups of photos, and the faces in them."""
        for group in self._groups(photos):
            detections = self._detected([photo for photo in group if photo.pixels is not None])
            faces: list[_Face] = []
            for photo, found in detections:
                numbers = list(takewhile(len(found).__gt__, self._task.options.face_numbers))
                chosen = self._sharpen(photo, [found[number] for number in numbers])
                if photo.pixels is None:
                    continue
                with self._timed("align", [photo]):
                    for number, face in zip(numbers, chosen, strict=True):
                        transform = face_transform(face.landmarks)
                        aligned = align(photo.pixels, transform * [photo.factor, photo.factor, 1])
                        faces.append(_Face(photo, number, face, transform, aligned))
                photo.faces = photo.waiting = len(numbers)
                photo.found_faces = len(found)
                # Photos are large and faces are small: only the faces wait for the optimiser.
                photo.pixels = None
            yield group, faces

    def _sharpen(self, photo: _Photo, faces: list[Detection]) -> list[Detection]:
        """Read a photo again, where it was read too small for the smallest of `faces`; these as they then are."""
        if photo.factor == 1 or not faces:
            return faces
        smallest = min(side_in_photo(face_transform(face.landmarks)) for face in faces)
        allowed = max(1, int(smallest / FACE_SIZE / _SHARP))
        if photo.factor <= allowed:
            return faces
        read = self._decoder.read(photo.found, Reduction(1, allowed))
        photo.seconds["decode"] += read.seconds
        self._seconds["decode"] += read.seconds
        photo.pixels, photo.factor, photo.error = read.pixels, read.factor, read.error
        if not read.error and read.input != photo.read.input:
            photo.pixels, photo.error = None, "the photo changed while it was worked on"
        if photo.pixels is None:
            return faces
        with self._timed("detect", [photo]):
            try:
                return self._detector.refine(photo.pixels, faces, self._task.options.min_face, photo.factor)
            except Exception as error:
                photo.pixels, photo.error = None, failure(error)
                return faces

    def _groups(self, photos: Sequence[FoundPhoto]) -> Iterator[list[_Photo]]:
        group: list[_Photo] = []
        pixels = 0
        # Whoever looks for faces on a canvas of 640 pixels does not have 12 million decoded.
        reduction = Letterbox.reduction(self._task.options.min_face)
        for found, read in zip(photos, read_ahead(photos, reduction), strict=True):
            photo = _Photo(found, read, read.pixels, read.factor, read.error, readable=not read.error)
            photo.seconds["decode"] = read.seconds
            self._seconds["decode"] += read.seconds
            size = 0 if read.pixels is None else read.pixels.shape[0] * read.pixels.shape[1]
            # What was read is kept without what it was read for.
            photo.read = ReadPhoto(input=read.input, size=read.size, modified=read.modified)
            del read
            if group and (len(group) == _PHOTOS_AT_ONCE or pixels + size > _PIXELS_AT_ONCE):
                yield group
                group, pixels = [], 0
            group.append(photo)
            pixels += size
        if group:
            yield group

    def _detected(self, photos: list[_Photo]) -> list[tuple[_Photo, list[Detection]]]:
        pixels = [photo.pixels for photo in photos if photo.pixels is not None]
        factors = [photo.factor for photo in photos]
        detections = []
        with self._timed("detect", photos):
            answers = self._detector.detect_each(pixels, self._task.options.min_face, factors)
        for photo, found in zip(photos, answers, strict=True):
            if isinstance(found, str):
                photo.error, photo.pixels = found, None
            else:
                detections.append((photo, found))
        return detections

    def _age(self, faces: list[_Face], writer: ThreadPoolExecutor) -> list[tuple[Future[None], _Face, FaceRow]]:
        """Optimise and draw a batch of faces, and have their grids written."""
        options = self._task.options
        aligned = np.stack([face.aligned for face in faces])
        photos = [face.photo for face in faces]
        with self._timed("optimise", photos):
            latents = self._optimiser(aligned)
        with self._timed("draw", photos):
            asked = list(one_hot(options.targets))
            drawn = draw_people(self._model.person_generator, latents, asked, options.strength)
            shown = add_details(self._model, aligned, latents, drawn, asked, options.strength, options.details)
        rows = [_row(face, latents, i) for i, face in enumerate(faces)]
        return [
            (writer.submit(self._save, face, row, shown[i], drawn[i]), face, row)
            for i, (face, row) in enumerate(zip(faces, rows, strict=True))
        ]

    def _save(self, face: _Face, row: FaceRow, shown: np.ndarray, drawn: np.ndarray) -> None:
        """Write a face's grid, `shown`, and, with the last face of a photo that is pasted, the photo with `drawn`."""
        photo, options = face.photo, self._task.options
        with self._timed("write", [photo]):
            path = grid_path(self._task.out, photo.found.relative, face.number)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(person_grid(face.aligned, shown, options.labels, options.scale), path)
        if options.paste:
            photo.drawn.append((row, drawn))
            if len(photo.drawn) == photo.faces:
                with self._timed("paste", [photo]):
                    paths = pasted_paths(self._task.out, photo.found.relative, options.labels)
                    ages = list(one_hot(options.targets))
                    self._paster.paste(photo.found, photo.read.input, photo.drawn, ages, paths)
                photo.drawn = []

    def _written(
        self,
        writing: list[tuple[Future[None], _Face, FaceRow]],
        leave: int,
        progress: Callable[[int, int], Any],
    ) -> None:
        """Take leave of all grids but the last `leave`, and finish the photos whose last face this was."""
        while len(writing) > leave:
            future, face, row = writing.pop(0)
            photo = face.photo
            try:
                future.result()
            except OSError as error:
                photo.error = f"its pictures cannot be written: {error.strerror or error}"
            except PhotoError as error:
                photo.error = str(error)
            photo.rows.append(row)
            photo.waiting -= 1
            if not photo.waiting:
                self._finish(photo, progress)

    def _finish(self, photo: _Photo, progress: Callable[[int, int], Any]) -> None:
        if not photo.error and stamp(photo.found.path) != (photo.read.size, photo.read.modified):
            photo.error = "the photo changed while it was worked on"
        self._finished.append(photo)
        if not photo.error:
            self._latents.add(photo.rows)
        progress(1, photo.faces)

    def _outcome(self, photo: _Photo) -> PhotoOutcome:
        failed = FAILED if photo.readable else UNREADABLE
        status = failed if photo.error else OK if photo.faces else NO_FACE
        return PhotoOutcome(
            path=photo.found.name,
            status=status,
            faces=photo.faces if status == OK else 0,
            reason=photo.error or ("" if photo.faces else self._nobody(photo)),
            seconds={stage: round(seconds, 4) for stage, seconds in photo.seconds.items()},
            input=photo.read.input,
            size=photo.read.size,
            modified=photo.read.modified,
            settings=self._task.settings,
            pasted=self._task.options.paste and status == OK,
        )

    def _nobody(self, photo: _Photo) -> str:
        if not photo.found_faces:
            return "no face was found"
        return f"it has no face {self._task.options.faces}: there are {photo.found_faces}, from 0"

    @contextmanager
    def _timed(self, stage: str, photos: Sequence[_Photo]) -> Iterator[None]:
        """Add the time to the run's stage, and to each photo its share."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._seconds[stage] += seconds
        for photo in photos:
            photo.seconds[stage] += seconds / len(photos)


def _row(face: _Face, latents: Latents, i: int) -> FaceRow:
    return FaceRow(
        source=face.photo.found.name,
        face=face.number,
        box=face.detection.box,
        landmarks=face.detection.landmarks,
        confidence=face.detection.confidence,
        aligned=face.aligned,
        age=latents.age[i],
        latent_initial=latents.initial[i],
        latent=latents.latent[i],
        offset=latents.offset[i],
        identity_distance=latents.distance[i],
        transform=face.transform.astype(np.float32),
    )


Item = TypeVar("Item")


def _ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """`items`, the next one being made in a thread while the last one is worked on."""
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        while not stopped.is_set():
            try:
                made.put((is_item, value), timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    break
            put(False, None)
        except BaseException as error:
            put(False, error)
        finally:
            items.close()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (taken := made.get())[0]:
            yield taken[1]
        if taken[1]:
            raise taken[1]
    finally:
        stopped.set()
        # A photo that hangs must not keep a run that is being stopped; what it leads to is thrown away in any case.
        thread.join(timeout=5)
