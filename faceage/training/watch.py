"""Around the training steps: progress, scores and pictures after each epoch, checkpoints, and stopping by signals."""

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tensorboardX import SummaryWriter

from faceage.errors import Interrupted, TrainingError
from faceage.files import write_text
from faceage.pictures.save import save_png
from faceage.training.checkpoint import Position, read_score, save_checkpoint
from faceage.training.job import Baseline, Job
from faceage.training.stage import Stage

LAST, BEST, STATS = "last.weights.h5", "best.weights.h5", "stats.jsonl"


class StopRequest:
    """A request by Ctrl-C or SIGTERM to stop after the current step."""

    signal: str = ""
    """The name of the signal, "" without a request."""


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a StopRequest; a second one acts at once."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hold(number: int, frame: Any) -> None:
        request.signal = signal.Signals(number).name
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, hold)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watch(keras.callbacks.Callback):
    """The callback of every stage."""

    def __init__(
        self, job: Job, folder: Path, start: Position, stop: StopRequest, baselines: Mapping[str, Baseline]
    ) -> None:
        """`start` is the position of the stage, whose random states and means are those of the checkpoint."""
        super().__init__()
        self._job = job
        self._folder = folder
        self._last = folder / LAST
        self._start = start
        self._stop = stop
        self._steps = job.options.steps_per_epoch
        self._total = job.options.epochs * self._steps
        self._writer = SummaryWriter(str(folder), purge_step=start.epoch + 1)
        self._baselines = baselines

    def begin(self, stage: Stage) -> None:
        """Keep the means of the resumed epoch: Keras resets them when it begins."""
        self._means = [(variable, variable.numpy()) for mean in stage.metrics for variable in mean.variables]
        self._tell(self._start.epoch, self._start.step)

    def close(self) -> None:
        self._writer.close()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.monotonic()
        self._first = 0
        self._epoch = epoch
        if self._start.step and epoch == self._start.epoch:
            self._first = self._start.step
            for variable, value in self._means:
                variable.assign(value)
        else:
            self.model.restart_random(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = self._first + batch + 1
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                checkpoint = self._last if self._last.exists() else "none yet"
                raise TrainingError(
                    f"{self._job.NAME}: {name} is {float(value)} after step {done} of epoch {self._epoch + 1}",
                    f"the last good checkpoint is {checkpoint}; a lower learning rate may help",
                )
        self._tell(self._epoch, done)
        if self._stop.signal and done < self._steps:
            save_checkpoint(self._last, self.model, Position(self._epoch, done))
            raise Interrupted(
                f"{self._stop.signal}: {self._job.NAME} is saved at step {done} of epoch {self._epoch + 1}"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.monotonic() - self._started
        self.model.join_devices()
        values = {**(logs or {}), **self._job.scores(self.model)}
        row = {"epoch": epoch + 1, "seconds": round(seconds, 1)}
        row.update({name: round(float(value), 5) for name, value in values.items()})
        baselines = {name: round(b.value, 5) for name, b in self._baselines.items() if name in row}
        append_row(self._folder / STATS, {**row, "baselines": baselines})
        self._show(epoch + 1, row, baselines)
        # First, since an epoch that `last` has is not scored again if the run is killed in between.
        self._keep_best(row)
        save_checkpoint(self._last, self.model, Position(epoch + 1))
        if self._stop.signal and epoch + 1 < self._job.options.epochs:
            raise Interrupted(f"{self._stop.signal}: {self._job.NAME} is saved after epoch {epoch + 1}")

    def _show(self, epoch: int, row: dict[str, float], baselines: dict[str, float]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "seconds"):
                self._writer.add_scalar(name, value, epoch)
        for name, value in baselines.items():
            self._writer.add_scalar(f"{name}/baseline", value, epoch)
        for name, picture in self._job.pictures(self.model).items():
            save_png(picture, self._folder / f"{name}-{epoch:04d}.png")
            self._writer.add_image(name, np.asarray(picture), epoch, dataformats="HWC")
        self._writer.flush()
        besides = {name: f" ({b.meaning}: {b.value:.4g})" for name, b in self._baselines.items()}
        values = [f"{name} {value:g}{besides.get(name, '')}" for name, value in row.items() if name != "epoch"]
        self._job.inputs.say(f"epoch {epoch}/{self._job.options.epochs}: {', '.join(values)}")

    def _keep_best(self, row: dict[str, float]) -> None:
        best = self._job.best()
        if best is None or best[0] not in row:
            return
        name, more_is_better = best
        path = self._folder / BEST
        before = read_score(path) if path.exists() else None
        if before is None or (row[name] > before if more_is_better else row[name] < before):
            save_checkpoint(path, self.model, Position(int(row["epoch"])), row[name])

    def _tell(self, epoch: int, step: int) -> None:
        self._job.inputs.progress(self._job.NAME, min(self._total, epoch * self._steps + step), self._total)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of `stats.jsonl`, none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add an epoch's row, in place of one from a run that was killed before the epoch's checkpoint was written."""
    rows = [*(before for before in read_rows(path) if before["epoch"] < row["epoch"]), row]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
