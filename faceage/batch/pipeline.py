"""The main job: photos in, latents and pictures out, each photo exactly once however often it is stopped."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceage.batch.engines import Engine, local_engine
from faceage.batch.names import remove_pictures
from faceage.batch.photo import Photo, Tell, tell_nobody
from faceage.batch.plan import LATENTS, MANIFEST, NOTHING_AGAIN, Again, Plan, Task, left_of, open_out, writing_to
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED
from faceage.files import only_one
from faceage.model import fingerprint, read_card, same_person_below
from faceage.photos.find import FoundPhoto
from faceage.store.latents import LatentIndex, row_blocks
from faceage.store.manifest import OK, STATUSES, Manifest, PhotoOutcome

if TYPE_CHECKING:
    from faceage.batch.worker import Done


MOST_PROBLEMS = 5


@dataclass
class RunSummary:
    """What a run did, photos done by an earlier run included."""

    photos: Counter[str] = field(default_factory=Counter)
    """By status."""
    faces: int = 0
    skipped: int = 0
    """Photos that an earlier run had done."""
    outdated: int = 0
    """Photos whose people were found with other options or weights before."""
    replaced: int = 0
    """Photos that others have taken the place of."""
    problems: list[PhotoOutcome] = field(default_factory=list)
    """The first `MOST_PROBLEMS` rows of photos that failed or show no face."""
    warnings: int = 0
    """Photos that are used though something is not quite right with them; their rows say what."""
    skipped_folders: Mapping[str, int] = field(default_factory=dict)
    """How many folders of other programs, and of results, were left out, by name."""
    detected: int = 0
    """Photos that this run looked for faces in."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    distances: "array[float]" = field(default_factory=lambda: array("f"))
    """Before and after by turns, in four bytes each: there may be millions."""
    same_person_below: float | None = None
    """As of `model.same_person_below`."""

    @property
    def optimised(self) -> int:
        """Faces whose latents this run found."""
        return len(self.distances) // 2

    @property
    def without_face(self) -> int:
        """Photos that failed or show no face."""
        return self.photos.total() - self.photos[OK]

    @property
    def exit_code(self) -> int:
        return EXIT_OK if set(self.photos) <= {OK} else EXIT_SOME_FAILED

    @property
    def median_distance(self) -> tuple[float, float]:
        """Of the rebuilt faces of this run: distance to the photo before and after optimisation; NaN where none is."""
        if not self.distances:
            return math.nan, math.nan
        before, after = np.median(np.array(self.distances).reshape(-1, 2), axis=0)
        return float(before), float(after)

    def add(self, done: "Done") -> None:
        """Count what is new."""
        self.count(done.finished)
        self.distances.extend(done.distances)
        self.detected += done.detected
        for stage, seconds in done.seconds.items():
            self.seconds[stage] += seconds

    def count(self, outcomes: Sequence[PhotoOutcome]) -> None:
        """Count photos that are done."""
        for outcome in outcomes:
            self.photos[outcome.status] += 1
            self.warnings += bool(outcome.warning)
            if outcome.status != OK and len(self.problems) < MOST_PROBLEMS:
                self.problems.append(outcome)
            self.faces += outcome.faces if outcome.status == OK else 0

    def to_json(self) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "photos": {status: self.photos[status] for status in STATUSES},
            "skipped": self.skipped,
            "outdated": self.outdated,
            "replaced": self.replaced,
            "warnings": self.warnings,
            "skipped_folders": dict(self.skipped_folders),
            "detected": self.detected,
            "optimised": self.optimised,
            "faces": self.faces,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }
        if self.distances:
            summary["identity_distance"] = [round(value, 4) for value in self.median_distance]
        return summary


def run_batch(
    task: Task,
    files: Sequence[FoundPhoto],
    again: Again = NOTHING_AGAIN,
    engine: Engine = local_engine,
    begins: Callable[[Plan], Any] = lambda plan: None,
    progress: Callable[[int, int], Any] = lambda photos, faces: None,
    tell: Tell = tell_nobody,
    skipped_folders: Mapping[str, int] | None = None,
) -> RunSummary:
    """Do what an earlier run has left of `files`.

    `begins(plan)` is told what is left, `progress(photos, faces)` what has just been finished, and
    `tell(stage, done, total)` how far a stage is. `skipped_folders`, which were left out of `files`, are handed on to
    the plan and the summary. Raises UsageError if the output folder cannot be used or another run uses it, and
    WeightsError if the model cannot, before any work; UsageError too where writing fails later.
    """
    open_out(task.out)
    with only_one(task.out, "aging photos"):
        plan = left_of(task, files, again, skipped_folders)
        begins(plan)
        return _run(plan, task, engine, progress, tell)


def _run(plan: Plan, task: Task, engine: Engine, progress: Callable[[int, int], Any], tell: Tell) -> RunSummary:
    card = read_card(task.weights)
    summary = RunSummary(
        skipped=len(plan.done),
        outdated=plan.outdated,
        replaced=plan.replaced,
        skipped_folders=plan.skipped_folders,
        same_person_below=same_person_below(card),
    )
    summary.count(plan.done)
    standing = {row.path for row in plan.standing}
    with writing_to(task.out):
        drawing = {**task.draw.to_json(), "drawn": task.drawn}
        index = LatentIndex(task.out / LATENTS, fingerprint(card), task.find.to_json(), drawing)
        index.begin(keep=standing.__contains__)
        manifest = Manifest(task.out / MANIFEST, plan.standing)

    def record(done: "Done") -> None:
        with writing_to(task.out):
            # Latents first, then the manifest: a row there promises that everything else is on disk.
            index.count(done.parts)
            manifest.append([*done.found, *done.finished])
        summary.add(done)
        if done.finished:
            progress(len(done.finished), sum(outcome.faces for outcome in done.finished))

    try:
        with writing_to(task.out):
            # Whatever they show is of other people, or was drawn otherwise; the manifest promises none of it any more.
            stale = [*plan.to_find, *(photo for photo in plan.to_draw if photo.outcome.drawn != task.drawn)]
            remove_pictures(task.out, {photo.name for photo in stale})
        if plan.to_find or plan.to_draw:
            engine(task, plan.to_find, _with_faces(task.out, plan.to_draw), record, tell)
    finally:
        with writing_to(task.out):
            manifest.close()
    return summary


def _with_faces(out: Path, photos: Sequence[Photo]) -> Iterator[Photo]:
    """`photos` with their rows, in the order of the latents file; few of them are in memory at a time."""
    wanted = {photo.name: photo for photo in photos}
    if not wanted:
        return
    blocks = row_blocks(out / LATENTS, keep=wanted.__contains__)
    rows = (row for block in blocks for row in block)
    # A photo's rows follow each other.
    for name, faces in groupby(rows, key=lambda row: row.source):
        photo = wanted.pop(name)
        photo.faces = list(faces)
        yield photo
