"""Preparing in parts: a run that was stopped at any moment goes on, and ends in the same file to the last bit."""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

from faceage.data.prepare import prepare
from faceage.data.rows import Filters
from faceage.data.sources import read_rows
from faceage.errors import DataError
from faceage.store.dataset import COLUMNS, DROPPED_COLUMNS
from faceage.store.parts import Parts
from faceage.store.table import BYTES

PHOTOS, PART_ROWS = 40, 8
SCRIPT = """
import sys
from pathlib import Path
import faceage.data.prepare as module
from faceage.data.rows import Filters
from faceage.data.sources import read_rows
from faceage.errors import DataError
module.PART_ROWS = {part_rows}
{before}
try:
    module.prepare(read_rows(Path(sys.argv[1]), Filters()), Path(sys.argv[2]))
except DataError as error:
    sys.exit(f"DataError: {{error}}")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory, astronaut):
    """Chips of one face among photos that cannot be used, in a folder with labels."""
    root = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    lines = ["path,age,identity", "gone.jpg,5,nobody"]
    for i in range(PHOTOS):
        top, left = random.integers((0, 100), (30, 130))
        side = int(random.integers(90, 200))
        chip = Image.fromarray(astronaut[top : top + 220, left : left + 220]).resize((side, side))
        chip.save(root / f"{i}.jpg", quality=95)
        lines.append(f"{i}.jpg,{2 * i},person {i // 4}")
    (root / "3.jpg").write_bytes((root / "3.jpg").read_bytes()[:900])
    Image.new("RGB", (100, 100)).save(root / "20.jpg")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("faceage.data.prepare.PART_ROWS", PART_ROWS)


def start(source, out, before: str = "") -> subprocess.Popen:
    script = SCRIPT.format(part_rows=PART_ROWS, before=before)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, source, out]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def content(path) -> dict[str, object]:
    """Every attribute and dataset."""
    with h5py.File(path) as file:
        found: dict[str, object] = {f"@{name}": str(value) for name, value in file.attrs.items()}
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
    found["portrait"] = [portrait.tobytes() for portrait in found["portrait"]]
    return found


def part_of(faces: int) -> dict[str, np.ndarray]:
    """A part with so many faces, all the same."""
    part = {}
    for name, (shape, dtype) in {**COLUMNS, **DROPPED_COLUMNS}.items():
        part[name] = np.ones((faces, *shape), object if dtype in (str, BYTES) else dtype)
        if dtype is BYTES:
            for i in range(faces):
                part[name][i] = np.arange(30, dtype=np.uint8)
        elif dtype is str:
            part[name][:] = "text"
    return part


def assert_same(one, other) -> None:
    one, other = content(one), content(other)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.fixture(scope="module")
def unbroken(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "faces.h5"
    process = start(source, out)
    assert process.wait(300) == 0, process.stderr.read()
    return out


SLOWLY = """
import time
from faceage.store.parts import Parts
save = Parts.save
Parts.save = lambda *part: (save(*part), time.sleep(0.5))
"""
"""A pause after each part, so that a kill comes between the first and the last however fast the machine is."""

KILLED_WHILE_JOINING = """
import os, signal
from itertools import count
from faceage.store import table
append, calls = table.append, count()
table.append = lambda *values: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == 90 else append(*values)
"""


def test_a_killed_run_goes_on_and_ends_in_the_same_file(source, unbroken, tmp_path, small_parts, monkeypatch):
    out, parts = tmp_path / "faces.h5", tmp_path / "faces.h5.parts"
    for wanted in (1, 3):
        process = start(source, out, SLOWLY)
        while len(list(parts.glob("[0-9]*.h5"))) < wanted and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not out.exists()
    finished = len(list(parts.glob("[0-9]*.h5")))
    assert 3 <= finished < PHOTOS // PART_ROWS
    # What a kill amid writing leaves.
    (parts / ".4711.partial.h5").write_bytes(b"half a part")

    made, save = [], Parts.save
    monkeypatch.setattr(Parts, "save", lambda self, number, part: (made.append(number), save(self, number, part)))
    info = prepare(read_rows(source, Filters()), out)
    assert len(made) == PHOTOS // PART_ROWS - finished
    assert info.faces == PHOTOS - 2
    assert info.dropped == {"missing file": 1, "no face": 1, "unreadable": 1}
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


def test_after_a_kill_amid_joining_no_face_is_looked_for_again(source, unbroken, tmp_path, small_parts, monkeypatch):
    out = tmp_path / "faces.h5"
    assert start(source, out, KILLED_WHILE_JOINING).wait(300) == -signal.SIGKILL
    assert not out.exists()
    assert list((tmp_path / "faces.h5.parts").glob(".*.partial.h5"))
    monkeypatch.setattr("faceage.data.prepare.Detector", None)
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


def test_parts_of_other_rows_are_not_used(source, unbroken, tmp_path, small_parts):
    out = tmp_path / "faces.h5"
    parts = Parts(tmp_path / "faces.h5.parts", {"rows_sha256": "of other rows"})
    for number in range(0, 10 * PHOTOS, PART_ROWS):
        parts.save(number, part_of(1))
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


@pytest.mark.parametrize("faces", [0, 1, 3])
def test_a_part_comes_back_where_all_portraits_have_one_length(tmp_path, faces):
    parts = Parts(tmp_path, {"rows_sha256": "rows"})
    parts.save(0, part_of(faces))
    (found,) = parts.read([0])
    for name, values in part_of(faces).items():
        assert len(found[name]) == faces
        for one, other in zip(found[name], values, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_part_that_was_cut_short_counts_as_missing(tmp_path):
    parts = Parts(tmp_path, {"rows_sha256": "rows"})
    parts.save(0, part_of(100))
    assert 0 in parts
    assert 8 not in parts
    assert 0 not in Parts(tmp_path, {"rows_sha256": "other rows"})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert 0 not in parts


def test_large_photos_make_small_groups_and_the_same_faces(source, unbroken, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr("faceage.data.prepare._GROUP_BYTES", 1)
    told = []
    prepare(read_rows(source, Filters()), tmp_path / "faces.h5", told.append)
    assert sum(told) == PHOTOS
    one, other = content(tmp_path / "faces.h5"), content(unbroken)
    for name in ("source", "age", "split", "identity", "dropped/source", "dropped/reason"):
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("limit", [20_000, 200_000], ids=["a part", "the file"])
def test_a_full_disk_is_one_clear_error_and_the_next_run_goes_on(source, unbroken, tmp_path, small_parts, limit):
    out = tmp_path / "faces.h5"
    out.write_text("from before")
    # A limit on the size of a file fails as a full disk does, in the middle of a write.
    process = start(source, out, f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "DataError" in told.splitlines()[-1]
    assert f"{out} cannot be written" in told
    assert out.read_text() == "from before"
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)


def test_a_source_that_goes_away_is_an_error_and_no_dropped_rows(source, tmp_path):
    rows = read_rows(source, Filters())
    rows.root = tmp_path / "unmounted"
    with pytest.raises(DataError, match=r"unmounted.* cannot be read"):
        prepare(rows, tmp_path / "faces.h5")
    assert not (tmp_path / "faces.h5").exists()
