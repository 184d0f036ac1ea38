"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceage.errors import UsageError


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
