"""A training run is a folder that explains itself, and goes on where it was stopped.

RUN/model/                  the model so far: what `faceage batch --weights RUN/model` loads
RUN/<stage>/options.json    everything the stage was started with
RUN/<stage>/stats.jsonl     one row of losses and scores per epoch
RUN/<stage>/*.png           what it looked like
RUN/<stage>/epoch-N.weights.h5   the last checkpoint, with the optimisers' state
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from faceage.data.dataset import FaceSet
from faceage.errors import UsageError
from faceage.images import write_text
from faceage.training.stage import Stage

_CHECKPOINT = re.compile(r"^epoch-(\d+)\.weights\.h5$")


class StageRun:
    """One stage's folder inside a run."""

    def __init__(self, run: Path, stage: str, options: dict[str, Any]) -> None:
        """Open or create it. Raises UsageError if it was begun with other options."""
        self.folder = run / stage
        self.model_folder = run / "model"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model_folder.mkdir(exist_ok=True)
        self._check_options(options)

    def _check_options(self, options: dict[str, Any]) -> None:
        path = self.folder / "options.json"
        # Training longer is no other run: the number of epochs may grow.
        fixed = {key: value for key, value in options.items() if key != "epochs"}
        if self.checkpoint() is not None and path.exists():
            before = json.loads(path.read_text())
            changed = sorted(key for key, value in fixed.items() if before.get(key) != value)
            if changed:
                given = ", ".join(f"{key}: {before.get(key)} → {fixed[key]}" for key in changed)
                raise UsageError(f"{self.folder} was begun with other options ({given})", "choose another --run folder")
        write_text(path, json.dumps(options, indent=2) + "\n")

    def checkpoint(self) -> tuple[int, Path] | None:
        """The number of finished epochs and the file that holds their outcome."""
        found = [(int(m[1]), p) for p in self.folder.iterdir() if (m := _CHECKPOINT.match(p.name))]
        return max(found, default=None)

    def resume(self, model: keras.Model) -> int:
        """Load the last checkpoint into the compiled `model`; the number of epochs it has already trained."""
        last = self.checkpoint()
        if last is None:
            return 0
        model.load_weights(last[1])
        return last[0]

    def fit(
        self,
        model: Stage,
        batches: keras.utils.PyDataset,
        epochs: int,
        first_epoch: int,
        progress: Callable[[int], Any] = lambda steps: None,
        each_epoch: Callable[[int], dict[str, float]] = lambda epoch: {},
    ) -> None:
        """Train `model` from `first_epoch` up to `epochs`, saving after each.

        `progress` is told how many steps have just been done, `each_epoch` the number of the epoch that has just ended;
        what it answers is added to the epoch's row of scores.
        """
        progress(first_epoch * len(batches))
        if first_epoch < epochs:
            callback = _EndOfEpoch(self, progress, each_epoch)
            # Keras would take the batches in an order that a resumed run cannot repeat.
            model.fit(batches, epochs=epochs, initial_epoch=first_epoch, shuffle=False, callbacks=[callback], verbose=0)

    def stats(self) -> list[dict[str, float]]:
        """The rows of `stats.jsonl` so far."""
        path = self.folder / "stats.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def save_checkpoint(self, model: keras.Model, epoch: int) -> None:
        previous = self.checkpoint()
        path = self.folder / f"epoch-{epoch}.weights.h5"
        partial = self.folder / ".partial.weights.h5"
        model.save_weights(partial)
        os.replace(partial, path)
        if previous is not None and previous[1] != path:
            previous[1].unlink()

    def append_stats(self, row: dict[str, Any]) -> None:
        # An epoch that ended without its checkpoint is trained again: its first row goes.
        rows = [*(before for before in self.stats() if before["epoch"] < row["epoch"]), row]
        write_text(self.folder / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


class _EndOfEpoch(keras.callbacks.Callback):
    def __init__(
        self, run: StageRun, progress: Callable[[int], Any], each_epoch: Callable[[int], dict[str, float]]
    ) -> None:
        super().__init__()
        self._run = run
        self._progress = progress
        self._each_epoch = each_epoch

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self._started = time.monotonic()
        # Checkpoints hold no random state: without this a resumed run would draw its first epoch's latents again.
        self.model.restart_random(epoch)

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._progress(1)

    def on_epoch_end(self, epoch, logs=None) -> None:
        seconds = time.monotonic() - self._started
        self.model.join_devices()
        scores = {**(logs or {}), **self._each_epoch(epoch + 1)}
        rounded = {name: round(float(value), 5) for name, value in scores.items()}
        self._run.append_stats({"epoch": epoch + 1, "seconds": round(seconds, 1), **rounded})
        self._run.save_checkpoint(self.model, epoch + 1)


def data_provenance(data: Path, faces: FaceSet) -> dict[str, Any]:
    """What model.json says of the training data: the file's name, the number of faces and a hash of which they were."""
    names = hashlib.sha256("\n".join(faces.sources).encode()).hexdigest()
    return {"data": data.stem, "faces": len(faces), "data_sha256": names, "code": version("faceage")}
