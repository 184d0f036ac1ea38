"""A disk that refuses calls, or takes names that differ by case for one: a shim between Python and the C library.

It answers as NFS, SMB, FUSE and exFAT would, and needs no rights and no kernel that has them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/types.h>

/* REFUSED_<CALL> holds the errno that the call fails with. */
#define REFUSE(name) { char *set = getenv("REFUSED_" name); if (set) { errno = atoi(set); return -1; } }
#define REAL(type, name, ...) ((type (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, name))
#include <dlfcn.h>

/* Below CASELESS a name is that of whatever is there already and differs by case alone, part for part. */
static const char *folded(const char *path, char *buffer) {
    const char *top = getenv("CASELESS");
    size_t length = top ? strlen(top) : 0;
    if (!path || !length || strncmp(path, top, length) || path[length] != '/' || strlen(path) >= PATH_MAX) return path;
    strcpy(buffer, top);
    for (const char *part = path + length; *part;) {
        while (*part == '/') part++;
        size_t size = strcspn(part, "/");
        char name[NAME_MAX + 1];
        if (!size) break;
        if (size > NAME_MAX) return path;
        memcpy(name, part, size);
        name[size] = 0;
        DIR *listing = REAL(DIR *, "opendir", const char *)(buffer);
        for (struct dirent *entry; listing && (entry = readdir(listing));)
            if (!strcasecmp(entry->d_name, name)) { strcpy(name, entry->d_name); break; }
        if (listing) closedir(listing);
        strcat(strcat(buffer, "/"), name);
        part += size;
    }
    return buffer;
}
#define FOLD(path) char path##_[2 * PATH_MAX]; path = folded(path, path##_);

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
    FOLD(path) return REAL(int, #name, const char *, int, int)(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
    FOLD(path) return REAL(int, #name, int, const char *, int, int)(at, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)
#define STAT(name) int name(const char *path, struct stat *found) { \
    FOLD(path) return REAL(int, #name, const char *, void *)(path, found); }
STAT(stat)
STAT(lstat)
#define STAT64(name) int name(const char *path, struct stat64 *found) { \
    FOLD(path) return REAL(int, #name, const char *, void *)(path, found); }
STAT64(stat64)
STAT64(lstat64)
int fstatat(int at, const char *path, struct stat *found, int flags) {
    FOLD(path) return REAL(int, "fstatat", int, const char *, void *, int)(at, path, found, flags);
}
int fstatat64(int at, const char *path, struct stat64 *found, int flags) {
    FOLD(path) return REAL(int, "fstatat64", int, const char *, void *, int)(at, path, found, flags);
}
int mkdir(const char *path, mode_t mode) { FOLD(path) return REAL(int, "mkdir", const char *, mode_t)(path, mode); }
int unlink(const char *path) { FOLD(path) return REAL(int, "unlink", const char *)(path); }
int rmdir(const char *path) { FOLD(path) return REAL(int, "rmdir", const char *)(path); }
int access(const char *path, int mode) { FOLD(path) return REAL(int, "access", const char *, int)(path, mode); }
DIR *opendir(const char *path) { FOLD(path) return REAL(DIR *, "opendir", const char *)(path); }
int rename(const char *a, const char *b) {
    FOLD(a) FOLD(b) return REAL(int, "rename", const char *, const char *)(a, b);
}

int fsync(int fd) {
    struct stat found;
    if (getenv("REFUSED_FOLDER_FSYNC") && !fstat(fd, &found) && S_ISDIR(found.st_mode)) REFUSE("FOLDER_FSYNC")
    REFUSE("FSYNC")
    return REAL(int, "fsync", int)(fd);
}
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


def environment(folder: Path, caseless: Path | None = None, **refused: int) -> dict[str, str]:
    """The environment of a process whose calls fail with these errnos, and to which names in `caseless` ignore case.

    The calls are `fsync`, `folder_fsync`, `flock`, `link` and `allocate`. Skips the test where there is no compiler.
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
    names = {} if caseless is None else {"CASELESS": str(caseless)}
    return {**os.environ, "LD_PRELOAD": str(shim), **errnos, **names}
