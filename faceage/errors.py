"""One exception tree, and the exit status each part of it ends a command with."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any


class FaceageError(Exception):
    """Anything a user can cause or mend. `str(error)` is one sentence; `hint` says what to try."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FaceageError):
    """The command cannot start as it was asked: a wrong path, option or combination of them."""


class WeightsError(FaceageError):
    """A model that is missing, incomplete, damaged or made for something else."""


class DownloadError(FaceageError):
    """A server does not send a file, or sends another one than was asked for."""


class DataError(FaceageError):
    """A data set that cannot be read or holds nothing to train or measure on."""


class TrainingError(FaceageError):
    """A training that cannot go on: a loss that is no number, a checkpoint that cannot be read or written."""


class MissingExtraError(FaceageError):
    """A command needs an optional package; `hint` names the extra to install."""


class Interrupted(FaceageError):
    """Stopped by the user or the system, after what was done has been saved. The command says how it goes on."""

    exit_code = 130


class PhotoError(FaceageError):
    """One photo cannot be used. The batch records `str(error)` as its reason and goes on."""

    exit_code = 1


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The beginning of a hint: "did you mean 60+? ", or nothing where none of `words` is near."""
    near = get_close_matches(word, list(words), n=2)
    return f"did you mean {' or '.join(near)}? " if near else ""


def import_extra(module: str, extra: str, message: str) -> Any:
    """The module of an optional package. Raises MissingExtraError with this `message` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(message, f"pip install 'faceage[{extra}]'") from error


EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_INTERRUPTED = 130
