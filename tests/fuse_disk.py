"""A disk as memory cards and network shares are, mounted by FUSE over a local folder.

It ignores case, takes short names only and none with some characters, refuses calls, and replaces and removes no file
that is open. `fuse_disk.py BELOW MOUNT` serves it; `mounted` does that for a test, which it skips where it cannot.
"""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REFUSED = {
    "fallocate": errno.EOPNOTSUPP,
    "fsyncdir": errno.EINVAL,
    "flock": errno.ENOSYS,
    "lock": errno.ENOLCK,
    "link": errno.EPERM,
    "symlink": errno.EPERM,
    "chmod": errno.EPERM,
    "chown": errno.EPERM,
}
"""What a disk without allocation, locks, sync of folders, links and modes answers to these calls."""

_FORBIDDEN = set('\\:*?"<>|') | set(map(chr, range(32)))
_LONGEST_NAME = 143
"""Bytes, as on an encrypted disk."""
_SECONDS_TO_MOUNT = 20


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk in `folder`, which is empty and takes its files too."""
    pytest.importorskip("mfusepy", reason="needs mfusepy and libfuse", exc_type=(ImportError, OSError, AttributeError))
    below, top = folder / "below", folder / "disk"
    below.mkdir()
    top.mkdir()
    with subprocess.Popen([sys.executable, __file__, below, top], stderr=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + _SECONDS_TO_MOUNT
        while not os.path.ismount(top):
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                said, *_ = server.stderr.read().splitlines() or ["no answer"]
                pytest.skip(f"may not mount a disk by FUSE: {said}")
            time.sleep(0.02)
        try:
            yield top
        finally:
            subprocess.run(["umount", "-l", top], check=True)
            server.wait(10)


def _serve(below: str, top: str) -> None:
    import mfusepy

    class Disk(mfusepy.Operations):
        """Every path is that of the file below whose name differs by case at most."""

        use_ns = True

        def __init__(self) -> None:
            self._open: dict[int, str] = {}
            for call, number in REFUSED.items():
                setattr(self, call, _refusing(number))

        def _real(self, path: str) -> str:
            """`path` as it is written below, or would be."""
            real = below
            for part in path.split("/"):
                if part:
                    names = os.listdir(real) if part not in (".", "..") and os.path.isdir(real) else []
                    same = (name for name in names if name.casefold() == part.casefold())
                    real = os.path.join(real, next(same, part))
            return real

        def _new(self, path: str) -> str:
            """The same for what is to be made. Raises OSError for a name that the disk does not take."""
            name = path.rpartition("/")[2]
            if _FORBIDDEN & set(name) or name.endswith((" ", ".")):
                raise OSError(errno.EINVAL, "")
            if len(name.encode()) > _LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, "")
            return self._real(path)

        def _check_free(self, real: str) -> None:
            if real in self._open.values():
                raise OSError(errno.EACCES, "")

        def getattr(self, path, fh=None):
            found = os.fstat(fh) if fh else os.lstat(self._real(path))
            fields = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_blocks")
            # A memory card counts times in steps of two seconds.
            mtime = found.st_mtime_ns // 2_000_000_000 * 2_000_000_000
            return {**{name: getattr(found, name) for name in fields}, "st_mtime": mtime, "st_atime": mtime}

        def readdir(self, path, fh):
            return [".", "..", *os.listdir(self._real(path))]

        def statfs(self, path):
            found = os.statvfs(below)
            whole = {name: getattr(found, name) for name in dir(found) if name.startswith("f_") and name != "f_fsid"}
            return whole | {"f_namemax": _LONGEST_NAME}

        def open(self, path, flags):
            return self._opened(self._real(path), flags)

        def create(self, path, mode, fi=None):
            return self._opened(self._new(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

        def _opened(self, real: str, flags: int, mode: int = 0) -> int:
            # The kernel says where to write, also to a file that is opened for appending.
            handle = os.open(real, flags & ~os.O_APPEND, mode)
            self._open[handle] = real
            return handle

        def release(self, path, fh):
            del self._open[fh]
            os.close(fh)

        def read(self, path, size, offset, fh):
            return os.pread(fh, size, offset)

        def write(self, path, data, offset, fh):
            return os.pwrite(fh, data, offset)

        def truncate(self, path, length, fh=None):
            os.truncate(fh or self._real(path), length)

        def fsync(self, path, datasync, fh):
            os.fsync(fh)

        def utimens(self, path, times=None):
            os.utime(self._real(path), ns=times)

        def mkdir(self, path, mode):
            os.mkdir(self._new(path), mode)

        def rmdir(self, path):
            os.rmdir(self._real(path))

        def unlink(self, path):
            self._check_free(real := self._real(path))
            os.unlink(real)

        def rename(self, old, new):
            target = self._new(new)
            self._check_free(target)
            os.rename(self._real(old), target)

    def _refusing(number: int):
        def refuse(*arguments):
            raise OSError(number, "")

        return refuse

    # Nothing is remembered: names that differ by case would be two to the kernel. What is removed while open is gone.
    options = {"attr_timeout": 0, "entry_timeout": 0, "hard_remove": True}
    mfusepy.FUSE(Disk(), top, foreground=True, nothreads=True, **options)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
