"""The main job: photos in, grids, latents and a manifest out, each photo exactly once however often it is stopped."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceage.ages import one_hot
from faceage.batch.engines import Engine, local_engine
from faceage.batch.plan import (
    DRAWN,
    LATENTS,
    MANIFEST,
    NOTHING_AGAIN,
    Again,
    BatchOptions,
    Plan,
    Task,
    left_of,
    open_out,
)
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError
from faceage.files import only_one, remove_partials
from faceage.model import fingerprint, load_model, read_card
from faceage.photos.find import FoundPhoto
from faceage.store.latents import LatentIndex
from faceage.store.manifest import OK, STATUSES, Manifest, PhotoOutcome

if TYPE_CHECKING:
    from faceage.batch.worker import Done


@dataclass
class RunSummary:
    """What a run did, photos done by an earlier run included."""

    photos: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    skipped: int = 0
    outdated: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    distances: "array[float]" = field(default_factory=lambda: array("f"))
    """Before and after by turns, in four bytes each: there may be millions."""

    @property
    def exit_code(self) -> int:
        return EXIT_OK if set(self.photos) <= {OK} else EXIT_SOME_FAILED

    @property
    def median_distance(self) -> tuple[float, float]:
        """Identity distance before and after optimisation, over the faces of this run; there must be one."""
        before, after = np.median(np.array(self.distances).reshape(-1, 2), axis=0)
        return float(before), float(after)

    def add(self, done: "Done") -> None:
        for outcome in done.outcomes:
            self.photos[outcome.status] += 1
            self.faces += outcome.faces
        self.distances.extend(done.distances)
        for stage, seconds in done.seconds.items():
            self.seconds[stage] += seconds

    def to_json(self) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "photos": {status: self.photos[status] for status in STATUSES},
            "skipped": self.skipped,
            "outdated": self.outdated,
            "faces": self.faces,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }
        if self.distances:
            summary["identity_distance"] = [round(value, 4) for value in self.median_distance]
        return summary


def run_batch(
    weights: Path,
    photos: Sequence[FoundPhoto],
    out: Path,
    options: BatchOptions,
    again: Again = NOTHING_AGAIN,
    engine: Engine = local_engine,
    begins: Callable[[Plan], Any] = lambda plan: None,
    progress: Callable[[int, int], Any] = lambda photos, faces: None,
) -> RunSummary:
    """Do what an earlier run has left of `photos`, into `out`, with the model in the folder `weights`.

    `begins(plan)` is told what is left, and `progress(photos, faces)` what has just been finished. Raises UsageError if
    the output folder cannot be used or another run uses it, and WeightsError if the model cannot, before any work;
    UsageError too where writing fails later.
    """
    open_out(out)
    with only_one(out, "aging photos"):
        plan = left_of(photos, out, options, fingerprint(read_card(weights)), again)
        begins(plan)
        try:
            return _run(plan, Task(out, weights, options, plan.settings), engine, progress)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"cannot write to {out}: {reason}", "mend that, and the same command goes on") from error


def _run(plan: Plan, task: Task, engine: Engine, progress: Callable[[int, int], Any]) -> RunSummary:
    summary = RunSummary(skipped=len(plan.done), outdated=plan.outdated)
    for row in plan.done:
        summary.photos[row.status] += 1
        summary.faces += row.faces
    standing = {row.path for row in (*plan.others, *plan.done)}
    todo = list(plan.todo)
    for pictures in DRAWN:
        remove_partials(plan.out / pictures)
    if plan.unpasted:
        pasted = _paste_standing(plan, task, standing, progress)
        summary.photos[OK] += len(pasted)
        summary.faces += sum(row.faces for row in pasted)
        standing |= {row.path for row in pasted}
        # What could not be pasted is done from the beginning, and entered with its reason if it fails again.
        todo += [photo for photo, _ in plan.unpasted if photo.name not in standing]
    index = LatentIndex(plan.out / LATENTS, fingerprint(read_card(task.weights)), plan.options.to_json())
    index.begin(keep=standing.__contains__)
    manifest = Manifest(plan.out / MANIFEST, standing)

    def record(done: "Done") -> None:
        # Latents first, then the manifest: a row there promises that everything else is on disk.
        index.count(done.parts)
        manifest.append(done.outcomes)
        summary.add(done)

    try:
        if todo:
            engine(task, todo, index.parts, record, progress)
    finally:
        manifest.close()
    return summary


def _paste_standing(
    plan: Plan, task: Task, standing: set[str], progress: Callable[[int, int], Any]
) -> list[PhotoOutcome]:
    """Paste what an earlier run drew and did not paste, from its latents; the rows of those that went well."""
    rows = {row.path: row for _, row in plan.unpasted}
    photos = {photo.name: (photo, row.input) for photo, row in plan.unpasted}
    # Keras with it, which a run that has nothing to do need not wait for.
    from faceage.batch.paste import paste_stored

    ages = dict(zip(plan.options.labels, one_hot(plan.options.targets), strict=True))
    pasted = []
    # A second row of a path takes the place of the first, and a manifest that is opened again has only that one.
    manifest = Manifest(plan.out / MANIFEST, standing | rows.keys())
    try:
        model = load_model(task.weights)
        for name, faces, error in paste_stored(
            plan.out / LATENTS, model, photos, plan.out, ages, plan.options.strength
        ):
            if not error:
                pasted.append(replace(rows[name], pasted=True))
                manifest.append(pasted[-1:])
                progress(1, faces)
    finally:
        manifest.close()
    return pasted
