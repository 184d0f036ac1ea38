"""A training run: a folder that explains itself, in which an interrupted training is continued.

RUN/log.txt                 dated lines of all stages
RUN/model/                  the model so far, for `faceage batch --weights RUN/model`
RUN/<stage>/options.json    everything that decides how the stage ends: options, data, networks of earlier stages
RUN/<stage>/stats.jsonl     one row of losses and scores per epoch, and their values without learning
RUN/<stage>/events.*        the same for TensorBoard, with pictures
RUN/<stage>/reals.png       some training faces
RUN/<stage>/<name>-N.png    samples after epoch N
RUN/<stage>/last.weights.h5, best.weights.h5   checkpoints, with the state of the optimizers
RUN/<stage>/model/          the networks of a finished stage, and done.json, its options, data and networks
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faceage.backend import distribution, is_chief, own_folder
from faceage.errors import TrainingError, UsageError
from faceage.files import UNWRITABLE, make_folder, only_one, remove_partials, write_text
from faceage.model import enter_networks, load_network, read_card, save_network, update_card
from faceage.model_search import CARD
from faceage.pictures.grid import draw_grid
from faceage.pictures.save import save_png
from faceage.training.checkpoint import Position, load_checkpoint, read_position
from faceage.training.job import Inputs, Job, Progress, Splits
from faceage.training.jobs import makers
from faceage.training.stage import AUTO, Stage, StageOptions
from faceage.training.watch import BEST, LAST, Watch, stop_requests

DONE = "done.json"


class Run:
    """The folder of a run, and how it reports.

    `start` is a model folder whose networks replace those of stages that have not been trained in the run; `devices`
    is one of `backend.DEVICES`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: Path | None = None,
        people: Path | None = None,
        devices: str = "one",
        progress: Progress = lambda what, done, total: None,
        say: Callable[[str], Any] = lambda line: None,
    ) -> None:
        self.folder = folder
        self.model_folder = folder / "model"
        self.start = start
        self.people = people
        self.devices = devices
        self.progress = progress
        self._say = say

    def log(self, line: str) -> None:
        """Add a line to log.txt and pass it to `say`. Of several workers, only the first one does."""
        if not is_chief(self.devices):
            return
        make_folder(self.folder)
        with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        self._say(line)

    def source(self, name: str, job: type[Job]) -> Path | None:
        """The model folder that `job` takes network `name` from: that of an earlier stage, or else `start`."""
        for stage in reversed(makers(name, before=job.NAME)):
            if name in _networks(folder := self.folder / stage / "model"):
                return folder
        start = self.start or self._begun_with(job.NAME)
        return start if start is not None and name in _networks(start) else None

    def _begun_with(self, stage: str) -> Path | None:
        """The model folder that a stage was started from, for a command that continues without `--start`."""
        before = _read(self.folder / stage / "options.json") or {}
        return Path(before["start"]) if before.get("start") else None

    def sources(self, job: type[Job], coming: Collection[str] = ()) -> dict[str, Path]:
        """The model folder of each network that `job` takes, but for those that are `coming`: still to be trained.

        Raises UsageError where one that it needs is missing.
        """
        found: dict[str, Path] = {}
        for name in (name for name in (*job.NEEDS, *job.USES) if name not in coming):
            folder = self.source(name, job)
            if folder is not None:
                found[name] = folder
            elif name in job.NEEDS:
                raise UsageError(
                    f"{job.NAME} needs the {name} of an earlier stage, which {self.folder} does not have",
                    f"train it first: faceage train {makers(name)[0]}; or name a model that has it with --start",
                )
        return found


def network_scores(sources: dict[str, Path]) -> dict[str, Any]:
    """The scores of each network where it was measured, from the card of its own model folder."""
    scores = {name: read_card(folder)["scores"] for name, folder in sources.items()}
    return {name: scores[name][name] for name in sources if name in scores[name]}


def stage_state(options: StageOptions, sources: dict[str, Path], data: Splits) -> dict[str, Any]:
    """Everything that decides how a stage ends."""
    networks = {name: _networks(folder)[name]["sha256"] for name, folder in sources.items()}
    return {
        "options": asdict(options),
        "data": {"name": data.name, "sha256": data.fingerprint},
        "networks": networks,
    }


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Raise TrainingError where the disk of `folder` takes no more in the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise TrainingError(
            f"{folder} cannot be written to: {error.strerror}", "free some space, and the same command goes on"
        ) from error


def is_done(job: type[Job], run: Run, state: dict[str, Any]) -> bool:
    """Whether the stage has ended with these options, data and networks."""
    before = _read(run.folder / job.NAME / "model" / DONE)
    return before is not None and not _changes(before, state)


def stage_position(run: Run, name: str) -> Position:
    """The position of a stage's last checkpoint."""
    return read_position(run.folder / name / LAST)


def train_stage(job: type[Job], options: StageOptions, run: Run, data: Splits, restart: bool = False) -> bool:
    """Train one stage to its end and copy its networks to RUN/model; False if it had ended before.

    Continues from the last checkpoint, or begins again with `restart`. Raises UsageError where the checkpoint is of
    other options, other data or other networks of earlier stages, TrainingError where the disk is full.
    """
    with (
        writing_to(run.folder),
        distribution(run.devices, options.batch_size),
        own_folder(run.devices, run.folder / job.NAME) as folder,
        only_one(folder, "training"),
    ):
        sources = run.sources(job)
        state = stage_state(options, sources, data)
        if is_done(job, run, state) and not restart:
            run.log(f"{job.NAME}: ended before with the same options, data and networks")
            _measure(job, folder, run)
            return False
        job.check(options, sources, network_scores(sources))
        _open(folder, state, run, restart)
        inputs = Inputs(
            data,
            folder,
            {name: _load(place, name, options.resolved(len(data.train)).dtype) for name, place in sources.items()},
            run.people,
            run.progress,
            lambda line: run.log(f"{job.NAME}: {line}"),
        )
        _train(job(options, inputs), state, run)
    return True


def _train(job: Job, state: dict[str, Any], run: Run) -> None:
    folder, options = job.inputs.folder, job.options
    keras.utils.set_random_seed(options.seed)
    job.prepare()
    stage = job.stage()
    # Before the checkpoint is loaded: a stage may train the networks that are its own baseline.
    baselines = job.baselines()
    start = load_checkpoint(folder / LAST, stage)
    job.inputs.say(f"from epoch {start.epoch}, step {start.step}" if start > Position() else "begins")
    _show_reals(job)
    with stop_requests() as stop:
        watch = Watch(job, folder, start, stop, baselines)
        watch.begin(stage)
        try:
            for epoch in range(start.epoch, options.epochs):
                first_step = start.step if epoch == start.epoch else 0
                stage.begin_epoch(epoch)
                # Keras would shuffle the batches in an order that a resumed run cannot repeat.
                stage.fit(
                    job.batches(epoch, first_step),
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    shuffle=False,
                    verbose=0,
                    callbacks=[watch],
                )
        finally:
            watch.close()
    # A checkpoint may be of more epochs than are asked for now.
    _export(job, stage, max(start, Position(options.epochs)), state, run)


def _export(job: Job, stage: Stage, end: Position, state: dict[str, Any], run: Run) -> None:
    """Write the networks of the best epoch, or of the `end` where none is best, to the model folders."""
    folder, options = job.inputs.folder, job.options
    best = folder / BEST
    position = load_checkpoint(best, stage) if best.exists() else end
    steps = position.epoch * options.steps_per_epoch + position.step
    provenance = {
        "stage": job.NAME,
        "data": job.inputs.data.name,
        "data_sha256": job.inputs.data.fingerprint,
        "faces": len(job.inputs.data.train),
        "steps": steps,
        "options": {**asdict(options), "epochs": end.epoch},
        "networks": state["networks"],
        "code": version("faceage"),
        **job.provenance(stage),
    }
    made = folder / "model"
    (made / DONE).unlink(missing_ok=True)
    results = job.results(stage)
    for name, network in results.items():
        save_network(made, name, network, provenance)
    scores = job.final_scores({name: _load(made, name, "float32") for name in results})
    update_card(made, lambda card: card["scores"].update(scores))
    if is_chief(run.devices):
        enter_networks(run.model_folder, made)
    write_text(made / DONE, json.dumps(state, indent=2) + "\n")
    job.inputs.say(f"ended after {steps} steps, {json.dumps(scores)}")


def _measure(job: type[Job], folder: Path, run: Run) -> None:
    """Enter the scores of an ended stage on the people of the run."""
    scores = job.measure(folder / "model", run.people) if run.people is not None else {}
    if scores:
        update_card(folder / "model", lambda card: card["scores"].update(scores))
        if is_chief(run.devices):
            update_card(run.model_folder, lambda card: card["scores"].update(scores))
        run.log(f"{job.NAME}: measured on {run.people}, {json.dumps(scores)}")


def _open(folder: Path, state: dict[str, Any], run: Run, restart: bool) -> None:
    """Compare `state` with that of the checkpoint, and write options.json."""
    remove_partials(folder)
    path = folder / "options.json"
    before = _read(path)
    # Training for longer is allowed.
    changes = _changes(before, state, "epochs") if before is not None else ""
    if changes and not restart and (folder / LAST).exists():
        raise UsageError(
            f"{folder} was begun with other options ({changes})",
            f"choose another --run folder, or discard its checkpoints: faceage train {folder.name} … --restart",
        )
    if changes or restart:
        # Without a checkpoint there may be results of its preparation, which are of other options too.
        _clear(folder)
    start = run.start.resolve() if run.start else (before or {}).get("start")
    written = {**state, "start": str(start) if start else None, "code": version("faceage")}
    write_text(path, json.dumps(written, indent=2) + "\n")


def _changes(before: dict[str, Any], state: dict[str, Any], *allowed: str) -> str:
    """The options, data and networks in which `state` differs from `before`, but for the options `allowed`."""
    old, new = _flat(before), _flat(state)
    if new["dtype"] == AUTO:
        # The fastest dtype depends on the machine.
        allowed = (*allowed, "dtype")
    keys = [key for key in sorted({*old, *new} - {*allowed}) if old.get(key) != new.get(key)]
    return ", ".join(f"{key}: {old.get(key)} → {new.get(key)}" for key in keys)


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    data = {f"data {key}": value for key, value in state["data"].items()}
    networks = {f"the {name}": sha256[:8] for name, sha256 in state["networks"].items()}
    return {**state["options"], **data, **networks}


def _clear(folder: Path) -> None:
    (folder / "model" / DONE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".f32", ".h5", ".png", ".jsonl") or path.name.startswith("events."):
            path.unlink()


def _show_reals(job: Job) -> None:
    faces = job.inputs.data.train
    # Where there are fewer than 48 faces, some are shown twice.
    shown = np.resize(np.random.default_rng(job.options.seed).permutation(len(faces)), 48)
    save_png(draw_grid(faces.faces[shown].reshape(6, 8, *faces.faces.shape[1:])), job.inputs.folder / "reals.png")


def _load(folder: Path, name: str, dtype: str) -> keras.Model:
    return load_network(folder, read_card(folder), name, dtype)


def _networks(folder: Path) -> dict[str, Any]:
    return read_card(folder)["networks"] if (folder / CARD).exists() else {}


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
