"""A run that is killed, at any moment, is ended by the same command: every photo once, and as if nothing had been."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import faceage, rows_of
from PIL import Image

from faceage.ages import parse_ages
from faceage.batch import find_people, worker
from faceage.batch.age_photos import make_task
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.plan import LATENTS, NOTHING_AGAIN, choose_photos, left_of, open_out
from faceage.batch.worker import Worker
from faceage.cli import app
from faceage.errors import WeightsError
from faceage.files import only_one
from faceage.model_search import find_model
from faceage.people.options import OptimiserOptions
from faceage.store.latent_parts import read_contents
from faceage.store.latents import LatentIndex, count_rows, read_rows
from faceage.store.manifest import read_manifest

SCRIPT = Path(__file__).with_name("killed_batch.py")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "photos"
    (folder / "sub").mkdir(parents=True)
    portrait = Image.fromarray(astronaut)
    for i in range(7):
        portrait.crop((20 + i, i, 360 + 4 * i, 300 + 3 * i)).save(folder / ("sub" if i % 2 else "") / f"{i}.png")
    two = Image.new("RGB", (700, 320))
    for i in range(2):
        two.paste(portrait.crop((60, 0, 380, 320)), (350 * i, 0))
    two.save(folder / "two.png")
    Image.new("RGB", (100, 100)).save(folder / "nobody.png")
    (folder / "broken.png").write_bytes(b"no photo")
    return folder


def start(photos: Path, out: Path, *last: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(photos), str(out), *map(str, last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(photos: Path, out: Path) -> int:
    """Run to the end; how many writes there were."""
    process = start(photos, out)
    said, complaint = process.communicate(timeout=300)
    assert process.returncode == 1, complaint[-3000:]
    return int(said)


@pytest.fixture(scope="module")
def unbroken(photos, tmp_path_factory) -> tuple[Path, int]:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    return out, end(photos, out)


def assert_whole(out: Path) -> None:
    """What is there now can be read, and every row in the manifest has all that it promises."""
    index = out / LATENTS
    stored = count_rows(index)
    if index.exists():
        with h5py.File(index) as file:
            # Where a part were missing, HDF5 would fill in zeros.
            assert all(np.linalg.norm(file["latent"][:], axis=1) > 0)
    for path, row in read_manifest(out / "manifest.jsonl").items():
        assert stored[path] == row.faces
        for face in range(row.faces if row.drawn else 0):
            with Image.open(out / "grids" / f"{path}_{face}.png") as grid:
                grid.load()
        if row.drawn:
            with Image.open(out / "pasted" / f"{path}_60+.png") as pasted:
                pasted.load()


def assert_same(out: Path, expected: Path) -> None:
    """Whatever writer wrote them, the same rows, latents, grids and nothing else."""
    rows, wanted = rows_of(out), rows_of(expected)
    for row in (*rows.values(), *wanted.values()):
        row.pop("seconds")
    assert rows == wanted
    found, right = (
        sorted(read_rows(folder / LATENTS), key=lambda row: (row.source, row.face)) for folder in (out, expected)
    )
    assert [(row.source, row.face) for row in found] == [(row.source, row.face) for row in right]
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one.latent, other.latent, atol=1e-3)
        np.testing.assert_allclose(one.identity_distance, other.identity_distance, atol=1e-3)
        np.testing.assert_array_equal(one.aligned, other.aligned)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    parts = {f"latents/{path.name}" for path in (out / "latents").iterdir()}
    assert files - parts == {
        path.relative_to(expected).as_posix()
        for path in expected.rglob("*")
        if path.is_file() and path.parent.name != "latents"
    }


def test_the_unbroken_run_is_what_it_should_be(unbroken):
    out, writes = unbroken
    assert writes > 60
    assert_whole(out)
    rows = rows_of(out)
    assert {path: row["status"] for path, row in rows.items() if row["status"] != "ok"} == {
        "photos/broken.png": "unreadable",
        "photos/nobody.png": "no_face",
    }
    assert count_rows(out / LATENTS).total() == 9
    # Several parts have been merged.
    assert 1 < len(read_contents(out / LATENTS).parts) <= 4
    # Every photo has one row, though it had two on the way.
    assert len((out / "manifest.jsonl").read_text().splitlines()) == len(rows)


def killed_and_ended(photos: Path, unbroken: Path, out: Path, at: list[int]) -> None:
    for last in at:
        process = start(photos, out, last)
        process.communicate(timeout=300)
        # Later kills may find less to do than there are writes left.
        assert process.returncode in (-signal.SIGKILL, 1)
        assert_whole(out)
    end(photos, out)
    assert_same(out, unbroken)


@pytest.mark.parametrize("share", [0.3, pytest.param(0.75, marks=pytest.mark.slow)])
def test_killed_at_a_write_and_ended(photos, unbroken, tmp_path, share):
    killed_and_ended(photos, unbroken[0], tmp_path / "out", [int(share * unbroken[1])])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_killed_at_each_write_and_ended(photos, unbroken, tmp_path, part):
    # Twice, since the run that goes on writes other things first.
    last = 1 + part * unbroken[1] // 20 + part % 2
    killed_and_ended(photos, unbroken[0], tmp_path / "out", [last, 1 + last // 2])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_killed_at_ten_random_moments_and_ended(photos, unbroken, tmp_path, part):
    out, moments = tmp_path / "out", random.Random(part)
    started = time.monotonic()
    end(photos, tmp_path / "timed")
    takes = time.monotonic() - started
    for _ in range(10):
        process = start(photos, out)
        time.sleep(moments.uniform(0.3, 1.1) * takes)
        process.kill()
        process.communicate()
        if out.exists():
            assert_whole(out)
    end(photos, out)
    assert_same(out, unbroken[0])


def test_a_second_run_on_the_same_folder_is_told_at_once(photos, tmp_path):
    out = tmp_path / "out"
    with only_one(out, "testing"):
        result = faceage("batch", photos, "--out", out)
    assert result.returncode == 2
    assert "another process is aging photos" in result.stderr
    assert not (out / "manifest.jsonl").exists()


def test_an_interrupt_ends_with_130_and_keeps_what_is_finished(photos, unbroken, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "faceage", "batch", photos, "--out", out, "--steps", "10000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (out / LATENTS).exists():
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert_whole(out)
    assert not list(out.rglob("*.partial*"))


def test_an_interrupt_that_a_library_makes_an_error_of_is_one_all_the_same(monkeypatch):
    """As TensorFlow does where one comes while it takes a number from Python."""

    def loading(arguments):
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as interrupt:
            raise WeightsError("the weights do not fit") from interrupt

    monkeypatch.setattr(app, "_run", loading)
    result = faceage("weights", "list")
    assert result.returncode == 130
    assert "interrupted" in result.stderr
    assert "fit" not in result.stderr


def test_a_photo_that_changes_during_the_run_is_noticed_and_done_again(astronaut, tmp_path, monkeypatch):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    path = folder / "a.png"
    Image.fromarray(astronaut).save(path)
    align = find_people.align

    def changing(*arguments):
        path.write_bytes(path.read_bytes() + b"x")
        return align(*arguments)

    arguments = ["batch", folder, "--out", out, "--objective", "none", "--ages", "60+"]
    with monkeypatch.context() as patch:
        patch.setattr(find_people, "align", changing)
        run = faceage(*arguments)
    assert run.returncode == 1, run.stderr
    (row,) = rows_of(out).values()
    assert (row["status"], row["faces"]) == ("failed", 0)
    assert "changed" in row["reason"]
    assert count_rows(out / LATENTS).total() == 0
    assert faceage(*arguments).returncode == 0
    (row,) = rows_of(out).values()
    assert (row["status"], row["faces"]) == ("ok", 1)


def test_what_is_drawn_is_told_before_the_rest_of_its_block(astronaut, tmp_path, monkeypatch):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(astronaut).save(folder / name)
    find = FindOptions(optimiser=OptimiserOptions("none"))
    task = make_task(out, find_model(), find, DrawOptions(parse_ages("60+"), draw="generator"))
    plan = left_of(task, choose_photos([folder], out), NOTHING_AGAIN)
    open_out(out)
    LatentIndex(out / LATENTS, "", {}, {}).begin(keep=lambda name: True)
    monkeypatch.setattr(worker, "_SECONDS_UNRECORDED", 0.0)
    working, told, waits = Worker(task, "0"), threading.Event(), []
    draw = working._drawer.draw

    def waiting(photos):
        for photo in draw(photos):
            yield photo
            waits.append(told.wait(60))

    monkeypatch.setattr(working._drawer, "draw", waiting)
    finished = []
    for done in working.find(plan.to_find):
        finished += done.finished
        if finished:
            told.set()
    working.close()
    assert sorted(row.path for row in finished) == ["photos/a.png", "photos/b.png"]
    assert waits == [True, True]


@pytest.mark.parametrize(("wait", "batches"), [(30.0, [3]), (-1.0, [1, 2])])
def test_a_batch_that_fills_slowly_is_not_waited_for(astronaut, tmp_path, monkeypatch, wait, batches):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(astronaut).save(folder / name)
    sizes = []
    optimise = find_people.PeopleFinder._optimise

    def counting(self, faces):
        sizes.append(len(faces))
        return optimise(self, faces)

    monkeypatch.setattr(find_people, "_SECONDS_TO_FILL", wait)
    monkeypatch.setattr(find_people, "_FIRST_PHOTOS", 1)
    monkeypatch.setattr(find_people.PeopleFinder, "_optimise", counting)
    done = faceage("batch", folder, "--out", tmp_path / "out", "--objective", "none", "--ages", "60+", "--no-report")
    assert done.returncode == 0, done.stderr
    assert sizes == batches
