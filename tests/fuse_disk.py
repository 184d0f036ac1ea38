"""A disk as memory cards and network shares are, mounted by FUSE over a local folder.

It ignores case, and refuses whatever a test says. `fuse_disk.py BELOW MOUNT OPTIONS` serves it; `mounted` does that for
a test, and skips the test where nothing can be mounted.
"""

import errno
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
def mounted(
    folder: Path, refused: dict[str, int] | None = None, plain_names: bool = False, busy: bool = False, **mount: Any
) -> Iterator[Path]:
    """A disk in `folder`, which is empty and takes its files too; `mount` are options of FUSE.

    `refused` are calls and their errnos, by default `REFUSED`. On a disk of `plain_names`, names are short, and as on
    FAT. One that is `busy` replaces and removes no file that is open, as SMB does.
    """
    pytest.importorskip("mfusepy", reason="needs mfusepy and libfuse", exc_type=(ImportError, OSError, AttributeError))
    below, top = folder / "below", folder / "disk"
    below.mkdir()
    top.mkdir()
    options = {"refused": REFUSED if refused is None else refused, "plain_names": plain_names, "busy": busy}
    command = [sys.executable, __file__, below, top, json.dumps(options), json.dumps(mount)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
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


def _serve(below: str, top: str, options: dict[str, Any], mount: dict[str, Any]) -> None:
    import mfusepy

    class Disk(mfusepy.Operations):
        """Every path is that of the file below whose name differs by case at most."""

        use_ns = True

        def __init__(self, refused: dict[str, int], plain_names: bool, busy: bool) -> None:
            self._plain_names, self._busy = plain_names, busy
            self._open: dict[int, str] = {}
            for call, number in refused.items():
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
            if self._plain_names and (_FORBIDDEN & set(name) or name.endswith((" ", "."))):
                raise OSError(errno.EINVAL, "")
            if self._plain_names and len(name.encode()) > _LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, "")
            return self._real(path)

        def _check_free(self, real: str) -> None:
            if self._busy and Counter(self._open.values())[real]:
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
            return whole | {"f_namemax": _LONGEST_NAME if self._plain_names else found.f_namemax}

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
    mount |= {"attr_timeout": 0, "entry_timeout": 0, "hard_remove": True}
    mfusepy.FUSE(Disk(**options), top, foreground=True, nothreads=True, **mount)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4]))
