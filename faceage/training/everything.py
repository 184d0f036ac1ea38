"""`train all`: what is left to do, how long it will take, and doing it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceage.backend import is_chief
from faceage.errors import UsageError
from faceage.model import build_network, load_model, update_card
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import OptimiserOptions
from faceage.people.samples import aged_grid, sample_grid
from faceage.pictures.save import save_png
from faceage.training.checkpoint import Position
from faceage.training.job import Inputs, Splits
from faceage.training.presets import JOBS, preset_options
from faceage.training.run import Run, is_done, stage_position, stage_state, train_stage
from faceage.training.settings import changed
from faceage.training.stage import Stage, StageOptions

MEASURED_STEPS = 10
OPTIMISED = 64
"""Test faces that the finished model is tried on."""


@dataclass(frozen=True)
class Planned:
    """One stage of a plan: `left` of its `steps` are still to do.

    `seconds` is what they, and what has to come before the first of all, are expected to take.
    """

    name: str
    options: StageOptions
    steps: int
    left: int
    seconds: float


def all_options(preset: str, settings: Sequence[str]) -> dict[str, StageOptions]:
    """Each stage's options in a preset, with every "stage.key=value" of `settings`. Raises UsageError."""
    of_stage: dict[str, list[str]] = {name: [] for name in JOBS}
    for setting in settings:
        stage, dot, rest = setting.partition(".")
        if not dot or stage not in JOBS:
            raise UsageError(
                f"--set {setting!r} names no stage", f"for all stages it is STAGE.KEY=VALUE, of {', '.join(JOBS)}"
            )
        of_stage[stage].append(rest)
    return {name: changed(preset_options(preset, name), given, name) for name, given in of_stage.items()}


def make_plan(options: Mapping[str, StageOptions], run: Run, sample: Splits, faces: int) -> list[Planned]:
    """What is left of each stage, its time estimated from `MEASURED_STEPS` real steps.

    `sample` are faces to measure on, of which the whole data set has `faces` in its train split.
    """
    plan = []
    fresh = False
    for name in JOBS:
        chosen = options[name]
        per_epoch = chosen.steps(faces)
        steps = chosen.epochs * per_epoch
        # What comes after a stage that is trained is trained too, if it takes its networks.
        done = not fresh and _done(name, chosen, run, sample)
        position = stage_position(run, name)
        left = 0 if done else steps - min(steps, position.epoch * per_epoch + position.step)
        fresh = fresh or not done
        begun = position > Position()
        seconds = measure(name, chosen, left, begun, run, sample) if left else 0.0
        plan.append(Planned(name, chosen, steps, left, seconds))
    return plan


def _done(name: str, options: StageOptions, run: Run, data: Splits) -> bool:
    try:
        return is_done(JOBS[name], run, stage_state(options, run.sources(JOBS[name]), data))
    except UsageError:
        # A network of an earlier stage is not there yet.
        return False


def measure(name: str, options: StageOptions, left: int, begun: bool, run: Run, sample: Splits) -> float:
    """Seconds of the `left` steps of a stage, from `MEASURED_STEPS`, and unless it has `begun` of its preparation's."""
    job_type = JOBS[name]
    networks = {needed: build_network(needed, options.dtype) for needed in job_type.NEEDS}
    for network in networks.values():
        network.trainable = False
    job = job_type(options, Inputs(sample, run.folder / name, networks))
    seconds = 0.0
    # First: the stage itself would have it differentiate what is still frozen then.
    if not begun and (preparation := job.preparation()) is not None:
        stage, steps = preparation
        seconds += steps * _step_seconds(stage, job.example())
    return seconds + left * _step_seconds(job.stage(), job.example())


def _step_seconds(stage: Stage, batch: tuple[np.ndarray, np.ndarray]) -> float:
    """Of a step after the compilation."""
    stage.train_on_batch(*batch)
    started = time.perf_counter()
    for _ in range(MEASURED_STEPS):
        stage.train_on_batch(*batch)
    return (time.perf_counter() - started) / MEASURED_STEPS


def train_all(options: Mapping[str, StageOptions], run: Run, data: Splits, restart: bool = False) -> None:
    """Every stage that has not ended with these options, data and networks, and then a look at the whole model."""
    trained = [train_stage(job, options[name], run, data, restart) for name, job in JOBS.items()]
    if is_chief(run.devices) and (any(trained) or not (run.folder / "faces.png").exists()):
        evaluate(run, data)


def evaluate(run: Run, data: Splits) -> None:
    """Try RUN/model on `OPTIMISED` faces of the test split as `faceage batch` would; the scores join its card."""
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


def describe(plan: Sequence[Planned], data: Path) -> dict[str, object]:
    """A plan as JSON."""
    return {
        "data": str(data),
        "stages": [
            {
                "stage": planned.name,
                "steps": planned.steps,
                "left": planned.left,
                "seconds": round(planned.seconds),
                "options": vars(planned.options),
            }
            for planned in plan
        ],
    }
