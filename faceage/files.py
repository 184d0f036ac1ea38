"""The file system: files that are whole or absent, and one process at a time in a folder."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceage.errors import UsageError


def partial_name(path: Path) -> Path:
    """Where `path` is written before it is renamed: the same folder, so that the rename is atomic.

    The name is short, since `path` may already have the longest name the file system takes, and no other thread's.
    """
    return path.with_name(f".{os.getpid()}-{threading.get_native_id()}{_partial_ending(path)}")


def _partial_ending(path: Path) -> str:
    # Keras writes weights under no other ending than theirs.
    return ".partial" + (".weights.h5" if path.name.endswith(".weights.h5") else path.suffix)


def remove_partials(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder` and below, where nobody else may be writing."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and ".partial" in name:
                Path(place, name).unlink()


def remove_partials_of(path: Path) -> None:
    """Remove what a killed process left half-written of `path`, where nobody else writes files with its ending."""
    for partial in path.parent.glob(f".*{_partial_ending(path)}"):
        partial.unlink()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give the name to write to; the file takes the name `path` only if the block ends well, and when it is on disk."""
    partial = partial_name(path)
    try:
        yield partial
        # Renamed before, it would be there and empty after a power cut.
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Make the folder, and hold its lock, which the system gives back however the process ends.

    Raises UsageError at once where another process holds it; `what` is what that one is then said to be doing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        # Windows: nothing like it that ends with the process.
        yield
        return
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is {what} in {folder}", "wait for it, or choose another folder"
            ) from error
        yield
