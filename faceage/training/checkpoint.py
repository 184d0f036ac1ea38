"""Checkpoints: a stage's weights, its optimisers and the place in training, in one file that is whole or absent."""

import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras

from faceage.backend import assign_random
from faceage.errors import TrainingError
from faceage.files import find_room, written_whole
from faceage.training.stage import Stage

_GROUP = "faceage"


@dataclass(frozen=True, order=True)
class Position:
    """Where a training stands: finished epochs, and steps done of the one that follows."""

    epoch: int = 0
    step: int = 0


def save_checkpoint(path: Path, stage: Stage, position: Position, score: float | None = None) -> None:
    """Write everything that training goes on from. Raises TrainingError, and leaves the file before it, on a full disk.

    Random states and running means are in no Keras checkpoint; without them an epoch that was stopped half way would
    not end as the unbroken one.
    """
    try:
        with written_whole(path) as partial:
            # Adam keeps two numbers for each one that is trained.
            find_room(partial, 65_536 + 3 * sum(4 * math.prod(weight.shape) for weight in stage.weights))
            stage.save_weights(partial)
            with h5py.File(partial, "a") as file:
                group = file.create_group(_GROUP)
                group.attrs.update(epoch=position.epoch, step=position.step)
                if score is not None:
                    group.attrs["score"] = score
                for i, variable in enumerate(_passing(stage)):
                    group[str(i)] = keras.ops.convert_to_numpy(variable)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"the checkpoint {path} cannot be written: {error}",
            f"training goes on from {path}, as it was before" if path.exists() else "",
        ) from error


def load_checkpoint(path: Path, stage: Stage) -> Position:
    """Bring the compiled `stage` to where `save_checkpoint` left it; without a file nothing changes.

    Raises TrainingError for a foreign file.
    """
    if not path.exists():
        return Position()
    try:
        stage.load_weights(path)
        passing, states = _passing(stage), stage.random_states
        with h5py.File(path) as file:
            values = [file[_GROUP][str(i)][()] for i in range(len(passing))]
        # A file holds the random states of the first device: each other one has its own.
        assign_random(states, values[: len(states)])
        for variable, value in zip(passing[len(states) :], values[len(states) :], strict=True):
            variable.assign(value)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} is no checkpoint of this stage, or of another version", "begin again with --restart"
        ) from error
    return read_position(path)


def read_position(path: Path) -> Position:
    """Where the checkpoint stands, at the beginning without one. Raises TrainingError for a foreign file."""
    if not path.exists():
        return Position()
    try:
        with h5py.File(path) as file:
            return Position(int(file[_GROUP].attrs["epoch"]), int(file[_GROUP].attrs["step"]))
    except (OSError, KeyError) as error:
        raise TrainingError(f"{path} is no checkpoint", "begin again with --restart") from error


def read_score(path: Path) -> float | None:
    """The score that was saved with the checkpoint, if it had one."""
    with h5py.File(path) as file:
        score = file[_GROUP].attrs.get("score")
    return None if score is None else float(score)


def _passing(stage: Stage) -> list[keras.Variable]:
    """What changes in training and is no weight."""
    return [*stage.random_states, *(variable for mean in stage.metrics for variable in mean.variables)]
