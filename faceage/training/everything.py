"""`train all`: the steps that are left, all stages in their order, and an evaluation of the model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceage.backend import is_chief
from faceage.errors import UsageError
from faceage.model import load_model, update_card
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import OptimiserOptions
from faceage.people.samples import aged_grid, sample_grid
from faceage.pictures.save import save_png
from faceage.training.checkpoint import Position
from faceage.training.job import Job, Splits
from faceage.training.jobs import JOBS
from faceage.training.overrides import overridden
from faceage.training.photo import PhotoJob
from faceage.training.presets import preset_options
from faceage.training.recognizer import has_pairs, is_measured
from faceage.training.run import Run, is_done, network_scores, stage_position, stage_state, train_stage, writing_to
from faceage.training.stage import StageOptions
from faceage.training.watch import LAST

OPTIMISED = 64
"""Test faces that the finished model is tried on."""


@dataclass(frozen=True)
class Planned:
    """One stage of a plan: `left` of its `steps` are still to do."""

    name: str
    options: StageOptions
    steps: int
    left: int


def all_options(preset: str, overrides: Sequence[str], names: Iterable[str] = JOBS) -> dict[str, StageOptions]:
    """The options of the stages `names` in a preset, with every "stage.key=value" of `overrides`. Raises UsageError."""
    of_stage: dict[str, list[str]] = {name: [] for name in names}
    for override in overrides:
        stage, dot, rest = override.partition(".")
        if not dot or stage not in of_stage:
            raise UsageError(
                f"--set {override!r} names no stage", f"write STAGE.KEY=VALUE with one of the stages {', '.join(JOBS)}"
            )
        of_stage[stage].append(rest)
    return {name: overridden(preset_options(preset, name), given, name) for name, given in of_stage.items()}


def make_plan(options: Mapping[str, StageOptions], run: Run, data: Splits | None, faces: int) -> list[Planned]:
    """The steps left of each stage, with `faces` in the train split. `data` is None where nothing is prepared yet."""
    plan = []
    fresh = False
    for job in _jobs(options):
        stage = options[job.NAME]
        per_epoch = stage.steps(faces)
        steps = stage.epochs * per_epoch
        # A stage whose inputs are trained anew cannot be done.
        done = not fresh and data is not None and _done(job, stage, run, data)
        fresh = fresh or not done
        position = stage_position(run, job.NAME)
        left = 0 if done else steps - min(steps, position.epoch * per_epoch + position.step)
        plan.append(Planned(job.NAME, stage, steps, left))
    return plan


def _jobs(options: Mapping[str, StageOptions]) -> list[type[Job]]:
    """The stages that are trained: with no epochs, the photo stage would add a network that knows nothing."""
    jobs = [job for job in JOBS.values() if job.NAME in options]
    return [job for job in jobs if job is not PhotoJob or options[job.NAME].epochs]


def _done(job: type[Job], options: StageOptions, run: Run, data: Splits) -> bool:
    try:
        return is_done(job, run, stage_state(options, run.sources(job), data))
    except UsageError:
        # A network of an earlier stage does not exist yet.
        return False


def train_all(options: Mapping[str, StageOptions], run: Run, data: Splits, restart: bool = False) -> None:
    """Train every stage that has not ended with these options, data and networks, then evaluate the whole model.

    Raises UsageError and MissingExtraError before the first stage for what would stop a later one.
    """
    plan = make_plan(options, run, data, len(data.train))
    check_plan(plan, run, data.test.identities, restart)
    jobs = _jobs(options)
    trained = [train_stage(job, options[job.NAME], run, data, restart) for job in jobs]
    if is_chief(run.devices) and (any(trained) or not (run.folder / "faces.png").exists()):
        with writing_to(run.folder):
            evaluate(run, data)


def begun_stages(run: Run) -> set[str]:
    """The stages that have a checkpoint in the run."""
    return {name for name in JOBS if (run.folder / name / LAST).exists()}


def check_plan(plan: Sequence[Planned], run: Run, identities: Sequence[str], restart: bool = False) -> None:
    """Raise UsageError for what would stop a stage of the plan, and not only when the stages before it have ended.

    `identities` are those of the test split, on which the recogniser is measured where no other people are given.
    """
    if not restart:
        _check_checkpoints(plan, run)
    coming: set[str] = set()
    for planned in plan:
        if planned.left or restart:
            job = JOBS[planned.name]
            sources = run.sources(job, coming)
            scores = None if _to_be_measured(run, sources, coming, identities) else network_scores(sources)
            job.check(planned.options, {*sources, *coming}, scores)
            coming.update(job.MAKES)


def _to_be_measured(run: Run, sources: dict[str, Path], coming: set[str], identities: Sequence[str]) -> bool:
    """Whether the run is still to measure the recogniser."""
    if "recognizer" in coming:
        return run.people is not None or has_pairs([name for name in identities if name])
    return run.people is not None and not is_measured(network_scores(sources).get("recognizer", {}), run.people)


def _check_checkpoints(plan: Sequence[Planned], run: Run) -> None:
    """Raise UsageError where training a stage of the plan would invalidate the checkpoints of a later one."""
    changed: set[str] = set()
    for planned in plan:
        job = JOBS[planned.name]
        if changed & {*job.NEEDS, *job.USES} and stage_position(run, planned.name) > Position():
            raise UsageError(
                f"{run.folder / planned.name} was trained with another {' and '.join(sorted(changed))}",
                "choose another --run folder, begin all stages again with --restart, or train one stage at a time",
            )
        if planned.left:
            changed.update(job.MAKES)


def evaluate(run: Run, data: Splits) -> None:
    """Run the optimiser of `faceage batch` with RUN/model on test faces; the scores are added to its card."""
    run.progress("evaluation", 0, OPTIMISED)
    model = load_model(run.model_folder)
    faces = data.test.first(OPTIMISED)
    options = OptimiserOptions()
    latents = LatentOptimiser(model, options)(faces.faces)
    before, after = (round(float(value), 4) for value in np.median(latents.distance, axis=0))
    scores = {
        "identity_distance_encoder": before,
        "identity_distance_optimised": after,
        "optimiser_steps": options.steps,
        "faces": len(faces),
        "data": f"{data.name}, test split",
        "judge": "the recogniser that the optimiser looks through",
    }
    update_card(run.model_folder, lambda card: card["scores"].update(batch=scores))
    save_png(sample_grid(model.generator, rows=16, seed=0), run.folder / "samples.png")
    save_png(aged_grid(model.encoder, model.generator, data.test, rows=16), run.folder / "faces.png")
    run.log(f"evaluation: {json.dumps(scores)}")
    run.progress("evaluation", OPTIMISED, OPTIMISED)
