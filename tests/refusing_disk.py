"""A disk that refuses calls: a shim between Python and the C library.

It answers as NFS, SMB, FUSE and exFAT would, and needs no rights and no kernel that has them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>

/* REFUSED_<CALL> holds the errno that the call fails with. */
#define REFUSE(name) { char *set = getenv("REFUSED_" name); if (set) { errno = atoi(set); return -1; } }
#define REAL(type, name, ...) ((type (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, name))
#include <dlfcn.h>

int fsync(int fd) { REFUSE("FSYNC") return REAL(int, "fsync", int)(fd); }
int flock(int fd, int how) { REFUSE("FLOCK") return REAL(int, "flock", int, int)(fd, how); }
int link(const char *a, const char *b) {
    REFUSE("LINK") return REAL(int, "link", const char *, const char *)(a, b);
}
int linkat(int f, const char *a, int g, const char *b, int flags) {
    REFUSE("LINK") return REAL(int, "linkat", int, const char *, int, const char *, int)(f, a, g, b, flags);
}
static int allocate(const char *name, int fd, off_t start, off_t size) {
    char *set = getenv("REFUSED_ALLOCATE");
    return set ? atoi(set) : REAL(int, name, int, off_t, off_t)(fd, start, size);
}
int posix_fallocate(int fd, off_t start, off_t size) { return allocate("posix_fallocate", fd, start, size); }
int posix_fallocate64(int fd, off_t start, off_t size) { return allocate("posix_fallocate64", fd, start, size); }
"""


def environment(folder: Path, **refused: int) -> dict[str, str]:
    """The environment of a process whose calls fail with these errnos.

    The calls are `fsync`, `flock`, `link` and `allocate`. Skips the test where there is no compiler.
    `folder` takes the shim.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("needs Linux and a C compiler")
    shim = folder / "refusing.so"
    if not shim.exists():
        source = folder / "refusing.c"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    errnos = {f"REFUSED_{call.upper()}": str(number) for call, number in refused.items()}
    return {**os.environ, "LD_PRELOAD": str(shim), **errnos}
