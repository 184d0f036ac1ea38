"""The main job: photos in, grids, latents and a manifest out; one bad photo is one row and the rest goes on."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES, towards
from faceage.batch.manifest import FAILED, NO_FACE, OK, STATUSES, UNREADABLE, Manifest, PhotoOutcome
from faceage.batch.plan import LATENTS, MANIFEST, Plan, grid_path, open_out
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, PhotoError, UsageError
from faceage.images import save_png
from faceage.latents.optimise import LatentOptimiser, Latents, OptimiserOptions
from faceage.latents.store import FaceRow, LatentStore
from faceage.networks.predict import draw
from faceage.outputs.grid import draw_grid
from faceage.photos.align import align, face_transform
from faceage.photos.decode import decode, fingerprint, read_photo
from faceage.photos.detect import Detection, Detector
from faceage.photos.find import FoundPhoto
from faceage.weights import Model, load_model

_PHOTOS_AT_ONCE = 32
_PIXELS_AT_ONCE = 100_000_000
"""Decoded photos wait for the detector in groups of at most so many; one larger photo makes a group of its own."""


@dataclass
class RunSummary:
    """What a run did, photos done by an earlier run included."""

    photos: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    skipped: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    distances: list[tuple[float, float]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return EXIT_OK if set(self.photos) <= {OK} else EXIT_SOME_FAILED

    @property
    def median_distance(self) -> tuple[float, float]:
        """Identity distance before and after optimisation, over the faces of this run; there must be one."""
        before, after = np.median(np.array(self.distances), axis=0)
        return float(before), float(after)

    def to_json(self) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "photos": {status: self.photos[status] for status in STATUSES},
            "skipped": self.skipped,
            "faces": self.faces,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }
        if self.distances:
            summary["identity_distance"] = [round(value, 4) for value in self.median_distance]
        return summary


@dataclass
class _Photo:
    """A photo on its way: what is known of it, and how many of its faces are still to come back."""

    found: FoundPhoto
    input: str = ""
    pixels: np.ndarray | None = None
    faces: int = 0
    waiting: int = 0
    error: str = ""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    rows: list[FaceRow] = field(default_factory=list)


@dataclass(frozen=True)
class _Face:
    photo: _Photo
    number: int
    detection: Detection
    transform: np.ndarray
    aligned: np.ndarray


def run_batch(
    weights: Path, plan: Plan, progress: Callable[[int, int], Any] = lambda photos, faces: None
) -> RunSummary:
    """Do what is left of `plan` with the model in the folder `weights`.

    `progress(photos, faces)` is told what has just been finished. Raises UsageError if the output folder cannot be
    used and WeightsError if the model cannot, before any work; UsageError too where writing fails later.
    """
    open_out(plan.out)
    run = _BatchRun(load_model(weights), plan, progress)
    try:
        return run.run()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write to {plan.out}: {reason}", "mend that, and the same command goes on") from error


class _BatchRun:
    def __init__(self, model: Model, plan: Plan, progress: Callable[[int, int], Any]) -> None:
        self._model = model
        self._plan = plan
        self._progress = progress
        self._summary = RunSummary()
        self._finished: list[_Photo] = []

    def run(self) -> RunSummary:
        plan, options = self._plan, self._plan.options
        self._store = LatentStore(plan.out / LATENTS, self._model.fingerprint, asdict(options))
        standing = [*plan.others, *plan.done]
        self._store.begin(keep={row.path for row in standing}.__contains__)
        self._manifest = Manifest(plan.out / MANIFEST, standing)
        self._count_earlier()
        try:
            if plan.todo:
                self._detector = Detector()
                self._optimiser = LatentOptimiser(
                    self._model, OptimiserOptions(**options.optimiser), age_class=options.age_class
                )
                self._work()
        finally:
            # Also on Ctrl-C: what is finished is recorded, what is not will be done by the next run.
            try:
                self._record()
            finally:
                self._manifest.close()
        return self._summary

    def _count_earlier(self) -> None:
        for row in self._plan.done:
            self._summary.photos[row.status] += 1
            self._summary.faces += row.faces
        self._summary.skipped = len(self._plan.done)

    def _work(self) -> None:
        queue: list[_Face] = []
        for group in self._decoded():
            queue += self._aligned(group)
            while len(queue) >= self._optimiser.batch_size:
                self._age(queue[: self._optimiser.batch_size])
                del queue[: self._optimiser.batch_size]
            if self._store.due:
                self._record()
        if queue:
            self._age(queue)

    def _decoded(self) -> Iterator[list[_Photo]]:
        """Groups of read photos, the next group being read while the last one is worked on."""
        with ThreadPoolExecutor(1) as pool:
            todo = [_Photo(found) for found in self._plan.todo]
            group: list[_Photo] = []
            pixels = 0
            pending = [pool.submit(_read, photo) for photo in todo[:_PHOTOS_AT_ONCE]]
            try:
                for i in range(len(todo)):
                    photo = pending.pop(0).result()
                    self._summary.seconds["decode"] += photo.seconds["decode"]
                    if i + _PHOTOS_AT_ONCE < len(todo):
                        pending.append(pool.submit(_read, todo[i + _PHOTOS_AT_ONCE]))
                    group.append(photo)
                    pixels += 0 if photo.pixels is None else photo.pixels.shape[0] * photo.pixels.shape[1]
                    if len(group) == _PHOTOS_AT_ONCE or pixels > _PIXELS_AT_ONCE:
                        yield group
                        group, pixels = [], 0
                if group:
                    yield group
            finally:
                for future in pending:
                    future.cancel()

    def _aligned(self, group: list[_Photo]) -> list[_Face]:
        """The faces of a group; photos without any are finished here."""
        readable = [(photo, photo.pixels) for photo in group if photo.pixels is not None]
        with self._timed("detect", [photo for photo, _ in readable]):
            detections = self._detector.detect([pixels for _, pixels in readable], self._plan.options.min_face)
        faces: list[_Face] = []
        for (photo, pixels), found in zip(readable, detections, strict=True):
            chosen = found[:1] if self._plan.options.faces == "largest" else found
            with self._timed("align", [photo]):
                for number, detection in enumerate(chosen):
                    transform = face_transform(detection.landmarks)
                    faces.append(_Face(photo, number, detection, transform, align(pixels, transform)))
            photo.faces = photo.waiting = len(chosen)
            # Photos are large and faces are small: only the faces wait for the optimiser.
            photo.pixels = None
        for photo in group:
            if photo.waiting == 0:
                self._finish(photo)
        return faces

    def _age(self, faces: list[_Face]) -> None:
        """Optimise and draw a batch of faces, and finish the photos whose last face this was."""
        aligned = np.stack([face.aligned for face in faces])
        photos = [face.photo for face in faces]
        with self._timed("optimise", photos):
            latents = self._optimiser(aligned)
        with self._timed("draw", photos):
            drawn = self._draw(latents)
        for i, face in enumerate(faces):
            with self._timed("write", [face.photo]):
                try:
                    self._save_grid(face, drawn[i])
                except OSError as error:
                    face.photo.error = f"its grid cannot be written: {error.strerror or error}"
            face.photo.rows.append(_row(face, latents, i))
            face.photo.waiting -= 1
            if face.photo.waiting == 0:
                self._finish(face.photo)

    def _draw(self, latents: Latents) -> np.ndarray:
        """(n, 1 + targets, 64, 64, 3) uint8: the reconstruction and the face in every class asked for."""
        options = self._plan.options
        ages = [latents.age, *(towards(latents.age, target, options.strength) for target in options.targets)]
        generator, offset, size = (
            self._model.person_generator,
            latents.offset.astype(np.float32),
            self._optimiser.batch_size,
        )
        return np.stack([draw(generator, latents.latent, age, offset, batch_size=size) for age in ages], axis=1)

    def _save_grid(self, face: _Face, drawn: np.ndarray) -> None:
        labels = ["photo", "rebuilt", *(AGE_CLASSES[c] for c in self._plan.options.targets)]
        cells = np.concatenate([face.aligned[None], drawn])[None]
        path = grid_path(self._plan.out, face.photo.found.relative, face.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(draw_grid(cells, labels, self._plan.options.scale), path)

    def _finish(self, photo: _Photo) -> None:
        self._finished.append(photo)
        if not photo.error:
            self._store.add(photo.rows)
        self._progress(1, photo.faces)

    def _record(self) -> None:
        """Latents first, then the manifest: a row there promises that everything else is on disk."""
        with self._timed("write", []):
            self._store.flush()
        for photo in self._finished:
            outcome = self._outcome(photo)
            self._manifest.append(outcome)
            self._summary.photos[outcome.status] += 1
            self._summary.faces += outcome.faces
            if outcome.status == OK:
                for row in photo.rows:
                    before, after = row.identity_distance
                    self._summary.distances.append((float(before), float(after)))
        self._finished = []

    def _outcome(self, photo: _Photo) -> PhotoOutcome:
        if photo.error:
            # One that cannot be read never got as far as having faces.
            status = FAILED if photo.faces else UNREADABLE
        elif photo.faces:
            status = OK
        else:
            status = NO_FACE
        return PhotoOutcome(
            path=photo.found.name,
            status=status,
            faces=photo.faces if status == OK else 0,
            reason=photo.error or ("" if photo.faces else "no face was found"),
            seconds={stage: round(seconds, 4) for stage, seconds in photo.seconds.items()},
            input=photo.input,
            settings=self._plan.settings,
        )

    @contextmanager
    def _timed(self, stage: str, photos: Sequence[_Photo]) -> Iterator[None]:
        """Add the time to the run's stage, and to each photo its share."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._summary.seconds[stage] += seconds
        for photo in photos:
            photo.seconds[stage] += seconds / len(photos)


def _read(photo: _Photo) -> _Photo:
    started = time.perf_counter()
    try:
        if photo.found.problem:
            raise PhotoError(photo.found.problem)
        content = read_photo(photo.found.path)
        photo.input = fingerprint(content)
        photo.pixels = decode(content)
    except PhotoError as error:
        photo.error = str(error)
    photo.seconds["decode"] += time.perf_counter() - started
    return photo


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
