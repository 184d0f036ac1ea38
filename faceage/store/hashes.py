"""SHA-256 of large files, remembered in the user's cache for as long as a file stays as it is."""

import contextlib
import json
import time
from pathlib import Path

from faceage.files import user_cache, write_text
from faceage.store.weights import sha256

_MEMORY = "hashes.json"

_SETTLED_NS = 2_000_000_000
"""A file that changed less long ago may change again within the same tick of its disk's clock: it is not remembered."""


def remembered_sha256(path: Path) -> str:
    """The SHA-256 of a file, read only if it changed since it was last read. Raises OSError."""
    memory, name, stat = _memory(), str(path.resolve()), path.stat()
    # A time of modification can be set by anyone, a time of change cannot.
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    entry = " ".join(map(str, (name, *state)))
    if digest := _read(memory).get(entry):
        return digest
    digest = sha256(path)
    if time.time_ns() - stat.st_ctime_ns > _SETTLED_NS:
        known = {other: value for other, value in _read(memory).items() if _is_of_another(other, name)}
        # Without a memory, as on a read-only disk, it is read again the next time.
        with contextlib.suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_text(memory, json.dumps({**known, entry: digest}, indent=1))
    return digest


def _is_of_another(entry: str, name: str) -> bool:
    """Whether an entry is of a file that is there, other than the one called `name`."""
    place = entry.rsplit(" ", 5)[0]
    return place != name and Path(place).exists()


def _memory() -> Path:
    return user_cache() / _MEMORY


def _read(memory: Path) -> dict[str, str]:
    try:
        return dict(json.loads(memory.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
