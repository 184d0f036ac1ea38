"""A whole batch on a disk that ignores case and has no allocation, locks, hard links and sync of folders.

There is no such disk here: `refusing_disk` stands between the program and a local one.
"""

import errno
import shutil
import signal
import subprocess
import sys

import pytest
import refusing_disk
from commands import rows_of
from test_resume import SCRIPT

from faceage.store.latents import count_rows

REFUSED = {
    "allocate": errno.EOPNOTSUPP,
    "flock": errno.ENOSYS,
    "folder_fsync": errno.EINVAL,
    "link": errno.EPERM,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory, lfw10):
    """Photos of lfw10, two of them of two people and with names that differ by case alone."""
    folder = tmp_path_factory.mktemp("caseless") / "photos"
    folder.mkdir()
    people = sorted(lfw10.iterdir())
    for number, person in enumerate(people[:4]):
        shutil.copy(min(person.glob("*.jpg")), folder / f"{number}.jpg")
    for name, person in zip(("A.jpg", "a.jpg"), people[4:6], strict=True):
        shutil.copy(min(person.glob("*.jpg")), folder / name)
    return folder


def run(photos, out, environment=None, *last: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(photos), str(out), *map(str, last)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=540)


def test_the_shim_ignores_case(tmp_path):
    (tmp_path / "disk").mkdir()
    code = """
import os, sys
from pathlib import Path
disk = Path(sys.argv[1])
(disk / "Sub").mkdir()
(disk / "sub" / "A").write_text("one")
os.replace(disk / "SUB" / "a", disk / "SUB" / "B")
(disk / "suB" / "b").write_text("two")
assert (disk / "sub" / "b").exists() and not (disk / "sub" / "a").exists()
print([*os.listdir(disk / "SUB")], (disk / "Sub" / "B").read_text())
"""
    environment = refusing_disk.environment(tmp_path, tmp_path / "disk")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "disk"], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "['B'] two\n", done.stderr


@pytest.mark.slow
def test_a_batch_that_is_killed_there_ends_as_on_a_local_disk(photos, tmp_path):
    local = run(photos, tmp_path / "local")
    assert local.returncode == 0, local.stderr[-3000:]
    (tmp_path / "disk").mkdir()
    environment = refusing_disk.environment(tmp_path, tmp_path / "disk", **REFUSED)
    out = tmp_path / "disk" / "out"
    assert run(photos, out, environment, int(local.stdout) // 2).returncode == -signal.SIGKILL
    ended = run(photos, out, environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "has no locks" in ended.stderr
    rows, expected = rows_of(out), rows_of(tmp_path / "local")
    for row in (*rows.values(), *expected.values()):
        row.pop("seconds")
    assert rows == expected
    assert len(rows) == 6
    assert len({name.casefold() for name in rows}) == 6
    assert count_rows(out / "latents.h5") == count_rows(tmp_path / "local" / "latents.h5")
    pictures = [
        {path.name: path.read_bytes() for path in (place / "grids").rglob("*.png")}
        for place in (out, tmp_path / "local")
    ]
    assert pictures[0] == pictures[1]
