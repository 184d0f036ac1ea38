"""Checkpoints: a stage's weights, its optimizers and its position in training, in one file."""

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
    """Finished epochs, and finished steps of the next one."""

    epoch: int = 0
    step: int = 0


def save_checkpoint(path: Path, stage: Stage, position: Position, score: float | None = None) -> None:
    """Write everything that training resumes from. On a full disk, raises TrainingError and keeps the previous file.

    Keras saves neither random states nor the running means of metrics; without them an epoch that was stopped half way
    would not end like an unbroken one.
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
                for i, variable in enumerate(_unsaved(stage)):
                    group[str(i)] = keras.ops.convert_to_numpy(variable)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"the checkpoint {path} cannot be written: {error}",
            f"training goes on from {path}, as it was before" if path.exists() else "",
        ) from error


def load_checkpoint(path: Path, stage: Stage) -> Position:
    """Restore the compiled `stage` from `save_checkpoint`'s file, if there is one; answers the position.

    Raises TrainingError for another file.
    """
    if not path.exists():
        return Position()
    try:
        stage.load_weights(path)
        unsaved, states = _unsaved(stage), stage.random_states
        with h5py.File(path) as file:
            values = [file[_GROUP][str(i)][()] for i in range(len(unsaved))]
        # The file holds the random states of the first device, from which those of the others are derived.
        assign_random(states, values[: len(states)])
        for variable, value in zip(unsaved[len(states) :], values[len(states) :], strict=True):
            variable.assign(value)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} is no checkpoint of this stage, or of another version", "begin again with --restart"
        ) from error
    return read_position(path)


def read_position(path: Path) -> Position:
    """The position of a checkpoint, 0 without one. Raises TrainingError for another file."""
    if not path.exists():
        return Position()
    try:
        with h5py.File(path) as file:
            return Position(int(file[_GROUP].attrs["epoch"]), int(file[_GROUP].attrs["step"]))
    except (OSError, KeyError) as error:
        raise TrainingError(f"{path} is no checkpoint", "begin again with --restart") from error


def read_score(path: Path) -> float | None:
    """The score that was saved with a checkpoint, or None."""
    with h5py.File(path) as file:
        score = file[_GROUP].attrs.get("score")
    return None if score is None else float(score)


def _unsaved(stage: Stage) -> list[keras.Variable]:
    """Variables that change in training and that Keras does not save."""
    return [*stage.random_states, *(variable for mean in stage.metrics for variable in mean.variables)]
