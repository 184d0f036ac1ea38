"""The store and a whole batch on a disk that ignores case and has no allocation, locks, hard links and folder sync."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fuse_disk
import numpy as np
import pytest
from commands import faceage, rows_of
from conftest import REPOSITORY
from test_resume import SCRIPT
from test_store import KILLED

from faceage.batch.names import grid_path, pictures_under, remove_pictures
from faceage.store.latents import count_rows, read_rows


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    with fuse_disk.mounted(tmp_path_factory.mktemp("fuse")) as disk:
        yield disk


@pytest.fixture(scope="module")
def photos(tmp_path_factory, lfw10):
    """Photos of lfw10, two of them of two people and with names that differ by case alone."""
    folder = tmp_path_factory.mktemp("caseless") / "photos"
    folder.mkdir()
    people = [min(person.glob("*.jpg")) for person in sorted(lfw10.iterdir())]
    for name, photo in zip(("A.jpg", "a.jpg", "b.jpg", "c.jpg"), people, strict=False):
        shutil.copy(photo, folder / name)
    return folder


def refusal(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno of a call that is refused."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return None


def test_the_disk_is_what_its_name_says(disk):
    (disk / "Sub").mkdir()
    (disk / "sub" / "A").write_text("one")
    os.replace(disk / "SUB" / "a", disk / "SUB" / "B")
    (disk / "suB" / "b").write_text("two")
    assert (os.listdir(disk / "SUB"), (disk / "Sub" / "B").read_text()) == (["B"], "two")
    with open(disk / "sub" / "b", "rb+") as file:
        assert refusal(fcntl.flock, file, fcntl.LOCK_EX) == fuse_disk.REFUSED["flock"]
        assert refusal(fcntl.lockf, file, fcntl.LOCK_EX) == fuse_disk.REFUSED["lock"]
        assert refusal(os.unlink, disk / "sub" / "b") == errno.EACCES
    assert refusal(os.link, disk / "sub" / "b", disk / "c") == fuse_disk.REFUSED["link"]
    assert refusal((disk / "a:b").touch) == errno.EINVAL
    folder = os.open(disk, os.O_RDONLY)
    assert refusal(os.fsync, folder) == fuse_disk.REFUSED["fsyncdir"]
    os.close(folder)


def test_pictures_have_names_that_the_disk_takes(disk, tmp_path):
    names = ["12:30?.jpg", "12?30:.jpg", "12_30_.jpg", "Trip. /1.jpg", "n" * 200 + ".jpg", "n" * 200 + "m.jpg", "ü.jpg"]
    paths = {name: grid_path(disk / "pictures", name, 0) for name in names}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert len(set(paths.values())) == len(names)
    assert paths["ü.jpg"].name == "ü.jpg_0.png"
    assert paths["12:30?.jpg"].name.startswith("12_30_.jpg~")
    assert grid_path(tmp_path, "12:30?.jpg", 0).name == "12:30?.jpg_0.png"
    moved = pictures_under(disk / "pictures", {"12:30?.jpg": "b/12:30?.jpg"}, tmp_path)
    assert list(moved) == [(paths["12:30?.jpg"], tmp_path / "grids" / "b" / "12:30?.jpg_0.png")]
    remove_pictures(disk / "pictures", names[:3])
    assert set((disk / "pictures").rglob("*.png")) == {paths[name] for name in names[3:]}


def test_a_store_that_is_killed_there_loses_and_doubles_no_row(disk):
    (disk / "store").mkdir()
    command = [sys.executable, "-c", KILLED, disk / "store" / "latents.h5", Path(__file__).parent, "67"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def assert_same(out: Path, expected: Path) -> None:
    rows, wanted = rows_of(out), rows_of(expected)
    for row in (*rows.values(), *wanted.values()):
        row.pop("seconds")
    assert rows == wanted
    assert len({name.casefold() for name in rows}) == 4
    assert count_rows(out / "latents.h5") == count_rows(expected / "latents.h5")
    pictures = [
        {path.name: path.read_bytes() for path in (place / "grids").rglob("*.png")} for place in (out, expected)
    ]
    assert pictures[0] == pictures[1]
    found, right = (
        {(row.source, row.face): row for row in read_rows(place / "latents.h5")} for place in (out, expected)
    )
    for key, row in found.items():
        np.testing.assert_allclose(row.latent, right[key].latent, atol=1e-3)


def test_a_batch_there_ends_as_on_a_local_disk(disk, photos, tmp_path):
    arguments = "--objective", "pixel", "--steps", 2, "--ages", "60+", "--draw", "generator", "--no-report"
    assert faceage("batch", photos, "--out", tmp_path / "local", *arguments).returncode == 0
    assert faceage("batch", photos / "A.jpg", photos / "c.jpg", "--out", disk / "out", *arguments).returncode == 0
    whole = faceage("batch", photos, "--out", disk / "out", *arguments)
    assert whole.returncode == 0, whole.stderr
    assert_same(disk / "out", tmp_path / "local")


def run(photos: Path, out: Path, *last: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(photos), str(out), *map(str, last)]
    return subprocess.run(command, capture_output=True, text=True, timeout=540)


@pytest.mark.slow
def test_a_batch_that_is_killed_there_ends_as_on_a_local_disk(disk, photos, tmp_path):
    local = run(photos, tmp_path / "local")
    assert local.returncode == 0, local.stderr[-3000:]
    out = disk / "killed"
    assert run(photos, out, int(local.stdout) // 2).returncode == -signal.SIGKILL
    ended = run(photos, out)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "has no locks" in ended.stderr
    assert_same(out, tmp_path / "local")
