"""A disk without room, for what has to be said of it."""

import contextlib
import os
from pathlib import Path


def fill_up(path: Path, room: int = 0) -> None:
    """Write to `path` until its disk has no room, but for `room` bytes."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(path, path.stat().st_size - room)
