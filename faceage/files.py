"""The file system: whole files, locks, room and links, also on disks that refuse some of these calls.

Network disks, FUSE and memory cards lack what a local disk has, or answer with an error. What can be done without the
missing call goes on; where a promise gets weaker, one warning says so.
"""

import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from faceage.errors import UsageError

_REFUSALS = frozenset(
    {
        errno.EBADF,
        errno.EINVAL,
        errno.ENODEV,
        errno.ENOLCK,
        errno.ENOSYS,
        errno.ENOTSUP,
        errno.ENOTTY,
        errno.EOPNOTSUPP,
        errno.EPERM,
    }
)
"""What NFS, SMB, FUSE and exFAT answer to a call that they do not have. A full or failing disk answers otherwise."""

UNWRITABLE = frozenset({errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EROFS})
"""What a disk answers that is full, or that may not be written to."""

SPECIAL = re.compile(r'[\x01-\x1f\\:*?"<>|]|[. ]$')
"""What memory cards, SMB and Windows refuse: some characters anywhere in a name, and others at its end."""

_BLOCK = 1 << 20

_PARTIAL = re.compile(r"\.\d+(-\d+)?\.partial")


def partial_name(path: Path) -> Path:
    """Where `path` is written before it is renamed: in the same folder, so that the rename is atomic.

    The name is short, since `path` may have the longest name that the file system takes, and unique to this thread.
    """
    return path.with_name(f".{os.getpid()}-{threading.get_native_id()}{_partial_ending(path)}")


def _partial_ending(path: Path) -> str:
    # Keras writes weights only to names that end in .weights.h5.
    return ".partial" + (".weights.h5" if path.name.endswith(".weights.h5") else path.suffix)


def is_partial(name: str) -> bool:
    """Whether a file of this name is one of `partial_name`."""
    return bool(_PARTIAL.match(name))


def remove_partials(folder: Path) -> None:
    """Remove the partial files of killed processes in `folder` and below. No other process may be writing there."""
    for place, _, names in os.walk(folder):
        for name in names:
            if is_partial(name):
                Path(place, name).unlink()


def remove_partials_of(path: Path) -> None:
    """Remove the partial files of `path` that killed processes left; no other process may write its kind of file."""
    for partial in path.parent.glob(f".*{_partial_ending(path)}"):
        if is_partial(partial.name):
            partial.unlink()


@contextmanager
def written_whole(path: Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes `path` if the block ends well, once its bytes are on disk.

    A `durable` file is sure to have its name after a power cut, too.
    """
    partial = partial_name(path)
    try:
        yield partial
        # Renamed before its bytes are on disk, it could be empty after a power cut.
        with open(partial, "rb+") as file:
            sync(file)
        os.replace(partial, path)
        if durable:
            _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def user_cache() -> Path:
    """The folder for what the user's other runs may take up."""
    import platformdirs

    # Without $HOME, as in cron, it is the one that the system knows for the user.
    return Path(platformdirs.user_cache_dir("faceage"))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where the disk has no hard links. Whole or not at all."""
    with written_whole(target) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def sync(file: IO[Any]) -> None:
    """Return when what was written to the open `file` is on disk. Raises OSError where it cannot be written."""
    file.flush()
    _fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        # Windows opens no folders, nor does a folder that may be written but not listed.
        return
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _warn_once("the disk does not say when files are written: a power cut may cost the newest results")


def find_room(path: Path, size: int) -> None:
    """Raise OSError where the disk cannot take `size` more bytes at the end of `path`, which may not exist yet.

    For files that HDF5 writes: it crashes the process when a write fails.
    """
    path.touch()
    # Not for appending: glibc stands in for a disk without allocation by writing, and refuses such a descriptor.
    with open(path, "rb+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            os.posix_fallocate(file.fileno(), end, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _REFUSALS:
                raise
            while size > 0:
                size -= file.write(bytes(min(_BLOCK, size)))
        finally:
            file.truncate(end)


@cache
def longest_name(folder: Path) -> int:
    """How many bytes the name of a file in `folder` may have, which need not exist yet."""
    try:
        return os.pathconf(_existing(folder), "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


@cache
def takes_special_names(folder: Path) -> bool:
    """Whether files in `folder`, which need not exist yet, may have every name of Linux: `SPECIAL` too."""
    place = _existing(folder)
    # Where neither can be written, nothing is known of the disk's names.
    return _takes(place, ':*?"<>|\\') or not _takes(place, "plain")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _takes(folder: Path, name: str) -> bool:
    probe = Path(f"{partial_name(folder / 'probe')}{name}")
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def make_folder(folder: Path) -> None:
    """Make the folder and those that it is in. Raises UsageError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}", "choose another folder") from error


@contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Make the folder and hold its lock, which the system releases however the process ends.

    Raises UsageError at once where another process holds it; `what` says what that process is doing.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    # A lock that is only a file would outlive a killed process and stop the next one.
    lock = FileLock(folder / ".lock", timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UsageError(f"another process is {what} in {folder}", "wait for it, or choose another folder") from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _warn_once("the disk has no locks: do not start two processes that write to the same folder")
    try:
        yield
    finally:
        lock.release()


@cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning("%s", message)
