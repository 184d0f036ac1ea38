"""Decoding processes: what kills one costs at most its photo, and nothing but faceage's own code runs in them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hostile import encoded
from PIL import Image

from faceage.photos import decoders
from faceage.photos.decode import Limits
from faceage.photos.decoders import Decoder, ReadPhoto, read_ahead
from faceage.photos.find import FoundPhoto, find_photos


def photo(path: Path) -> FoundPhoto:
    return FoundPhoto(path, path.relative_to(path.parent), path.name)


@pytest.fixture(scope="module")
def slow_photo(tmp_path_factory):
    """A photo that takes seconds to decode, as every scan of it is a pass over all pixels."""
    content = encoded(Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    scan = content.index(b"\xff\xda")
    path = tmp_path_factory.mktemp("slow") / "slow.jpg"
    path.write_bytes(content[:-2] + content[scan:-2] * 12 + content[-2:])
    return path


@pytest.fixture
def next_photo(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "next.png")
    return photo(tmp_path / "next.png")


@pytest.fixture
def decoder():
    decoder = Decoder()
    yield decoder
    decoder.close()


def pid(decoder: Decoder) -> int:
    return decoder._process.pid


def kill_at_work(decoder: Decoder, times: int) -> threading.Thread:
    """Kill a decoder's process, and those that follow it, soon after each has begun to read."""

    def work() -> None:
        killed = set()
        while len(killed) < times:
            time.sleep(0.01)
            if (process := decoder._process) and process.pid not in killed and busy(process.pid):
                os.kill(process.pid, signal.SIGKILL)
                killed.add(process.pid)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def busy(pid: int) -> bool:
    """Whether a process has used half a second: more than it takes to start."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) > 0.5 * os.sysconf("SC_CLK_TCK")


def test_a_photo_over_its_time_is_given_up_and_the_next_one_is_read(slow_photo, next_photo):
    decoder = Decoder(Limits(seconds=1.0))
    try:
        read = decoder.read(photo(slow_photo))
        assert read.pixels is None
        assert "within 1 seconds" in read.error
        assert (read.size, read.modified) == (slow_photo.stat().st_size, slow_photo.stat().st_mtime_ns)
        decoder._limits = Limits()
        assert decoder.read(next_photo).pixels.shape == (64, 64, 3)
    finally:
        decoder.close()


def test_a_photo_over_its_memory_is_given_up_and_the_next_one_is_read(tmp_path, next_photo):
    Image.new("L", (10_000, 10_000)).save(tmp_path / "large.png")
    decoder = Decoder(Limits(memory=2**29))
    try:
        assert "memory" in decoder.read(photo(tmp_path / "large.png")).error
        assert not decoder.read(next_photo).error
    finally:
        decoder.close()


def test_a_decoder_killed_at_rest_is_replaced(decoder, next_photo):
    assert not decoder.read(next_photo).error
    first = pid(decoder)
    os.kill(first, signal.SIGKILL)
    assert not decoder.read(next_photo).error
    assert pid(decoder) != first


def test_a_decoder_killed_at_rest_does_not_end_a_program_with_default_sigpipe(next_photo):
    code = (
        "import os, pathlib, signal, sys, time\n"
        "from faceage.photos.decoders import Decoder\n"
        "from faceage.photos.find import find_photos\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "decoder = Decoder()\n"
        "for _ in range(3):\n"
        "    print(decoder.read(find_photos([pathlib.Path(sys.argv[1])])[0]).pixels.shape)\n"
        "    os.kill(decoder._process.pid, signal.SIGKILL)\n"
        "    time.sleep(0.2)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(next_photo.path)], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "(64, 64, 3)\n" * 3), run.stderr


def test_a_photo_whose_decoder_is_killed_is_read_again(decoder, slow_photo, next_photo):
    killer = kill_at_work(decoder, 1)
    read = decoder.read(photo(slow_photo))
    killer.join()
    assert not read.error
    assert read.pixels.shape[:2] == (6000, 6000)
    assert not decoder.read(next_photo).error


def test_a_photo_that_kills_every_decoder_is_one_with_a_reason(decoder, slow_photo, next_photo):
    """Here as pasting reads it."""
    killer = kill_at_work(decoder, 2)
    assert decoder.read(photo(slow_photo), original=True).error == "the decoder died of it (SIGKILL)"
    killer.join()
    assert not decoder.read(next_photo).error


def test_a_decoder_that_cannot_be_started_is_a_reason(decoder, next_photo, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "could not be started" in decoder.read(next_photo).error
    monkeypatch.undo()
    assert not decoder.read(next_photo).error


MODULES = ["PIL.py", "numpy/__init__.py", "os.py", "json.py", "socket.py", "faceage.py", "sitecustomize.py"]
MODULES += ["usercustomize.py", "pillow_heif.py", "encodings/__init__.py"]


@pytest.mark.parametrize("path", [None, "", ".", ":", "{album}"])
def test_nothing_in_the_current_folder_is_code(tmp_path, monkeypatch, path):
    """Neither by being there nor by PYTHONPATH, whose empty entries mean the current folder."""
    album = tmp_path / "album"
    for name in MODULES:
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        (album / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise SystemExit(3)\n")
    Image.new("RGB", (64, 64), "red").save(album / "photo.png")
    monkeypatch.chdir(album)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path.format(album=album))
    (read,) = read_ahead(find_photos([Path(".")]))
    assert not read.error
    assert read.pixels.shape == (64, 64, 3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", [None, ":{package}"])
def test_nothing_in_the_current_folder_is_the_programs_code(tmp_path, path):
    package = Path(decoders.__file__).parents[2]
    for name in ("typer", "rich", "PIL", "tqdm", "numpy", "faceage_batch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran')")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.png")
    environment = {**os.environ, "PYTHONPATH": path.format(package=package) if path else str(package)}
    command = [sys.executable, "-m", "faceage", "batch", ".", "--out", tmp_path.with_name("out"), "--dry-run"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, f"{tmp_path.name}/photo.png\n"), run.stderr


def test_a_removed_current_folder_does_not_matter(tmp_path, next_photo, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (read,) = read_ahead([next_photo])
    assert not read.error


def test_photos_come_in_order_and_no_more_than_fit_are_read_ahead(tmp_path, monkeypatch):
    for i in range(12):
        Image.new("RGB", (100 if i % 3 else 900, 100), (i, i, i)).save(tmp_path / f"{i:02d}.png")
    monkeypatch.setattr(decoders, "PIXELS_AHEAD", 100_000)
    shades = []
    for read in read_ahead(find_photos([tmp_path]), workers=3):
        time.sleep(0.02)
        shades.append(read.pixels[0, 0, 0])
    assert shades == list(range(12))


def test_reading_ahead_may_be_given_up(slow_photo, tmp_path, monkeypatch):
    answers, read = [], Decoder.read

    def answered(*arguments) -> ReadPhoto:
        answers.append(read(*arguments))
        return answers[-1]

    monkeypatch.setattr(Decoder, "read", answered)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "first.png")
    reads = read_ahead([photo(tmp_path / "first.png"), photo(slow_photo)], workers=1)
    assert not next(reads).error
    time.sleep(0.5)
    # It is in the middle of a photo, whose end is not waited for.
    reads.close()
    first, slow = answers
    assert first.pixels is not None
    assert slow.pixels is None


def test_no_photos_are_no_work():
    assert list(read_ahead([])) == []
