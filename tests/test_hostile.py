"""Every file ends as a row with a reason, in bounded time and memory, whatever is in it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import faceage, faceage_measured, rows_of
from hostile import make_corpus
from PIL import Image

from faceage.photos.decoders import MEMORY, Decoder, read_ahead
from faceage.photos.find import FoundPhoto, find_photos
from faceage.store.latents import count_rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, astronaut):
    return make_corpus(tmp_path_factory.mktemp("hostile") / "photos", Image.fromarray(astronaut))


@pytest.fixture(scope="module")
def hostile_run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    # The networks' part of the work is the same for every file: the encoder alone is enough here.
    result = faceage_measured(
        out.with_name("peak"), "batch", corpus.folder, "--out", out, "--objective", "none", "--ages", "70"
    )
    return result, out


def test_there_are_enough_of_them(corpus):
    assert len(corpus.expected) >= 120


def test_the_run_goes_through(hostile_run):
    result, _ = hostile_run
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not Path("/tmp/faceage-was-here").exists()


def test_every_file_is_one_row_and_nothing_else_is(corpus, hostile_run):
    rows = rows_of(hostile_run[1])
    assert rows.keys() == corpus.expected.keys()
    wrong = {name: row["status"] for name, row in rows.items() if row["status"] not in corpus.expected[name]}
    assert wrong == {}


def test_what_went_wrong_has_a_reason_in_one_line(hostile_run):
    for row in rows_of(hostile_run[1]).values():
        assert bool(row["reason"]) == (row["status"] != "ok")
        assert "\n" not in row["reason"]
        assert len(row["reason"]) < 300


def test_the_outputs_add_up(hostile_run):
    rows, out = rows_of(hostile_run[1]), hostile_run[1]
    faces = {name: row["faces"] for name, row in rows.items() if row["faces"]}
    assert faces["crowd.jpg"] > 100
    assert count_rows(out / "latents.h5") == faces
    assert len(list((out / "grids").rglob("*.png"))) == sum(faces.values())
    assert not list(out.rglob("*.partial*"))


def test_the_same_again_does_only_what_could_not_be_read_at_all(corpus, hostile_run):
    result = faceage(
        "batch", corpus.folder, "--out", hostile_run[1], "--objective", "none", "--ages", "70", "--dry-run"
    )
    again = result.stdout.splitlines()
    assert {"fifo.jpg", "nowhere.jpg"} <= set(again)
    assert "good.jpg" not in again
    assert "noise.jpg" not in again


def photo(path: Path) -> FoundPhoto:
    return FoundPhoto(path, path.relative_to(path.parent), path.name)


@pytest.fixture(scope="module")
def slow_photo(tmp_path_factory):
    """A photo that takes seconds to decode, as every scan of it is a pass over all pixels."""
    from hostile import encoded

    content = encoded(Image.new("L", (12_000, 12_000)), "JPEG", progressive=True)
    scan = content.index(b"\xff\xda")
    path = tmp_path_factory.mktemp("slow") / "slow.jpg"
    path.write_bytes(content[:-2] + content[scan:-2] * 100 + content[-2:])
    return path


def test_a_photo_that_takes_too_long_is_given_up_and_the_next_one_is_read(slow_photo, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "next.png")
    decoder = Decoder(seconds=1.0)
    try:
        started = time.monotonic()
        read = decoder.read(photo(slow_photo))
        assert time.monotonic() - started < 30
        assert read.pixels is None
        assert "within 1 seconds" in read.error
        assert (read.size, read.modified) == (slow_photo.stat().st_size, slow_photo.stat().st_mtime_ns)
        decoder._seconds = 60.0
        assert decoder.read(photo(tmp_path / "next.png")).pixels.shape == (64, 64, 3)
    finally:
        decoder.close()


def test_a_decoder_that_dies_costs_one_photo(slow_photo, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "next.png")
    decoder = Decoder()
    try:
        killer = threading.Timer(1.0, decoder.kill)
        killer.start()
        assert "SIGKILL" in decoder.read(photo(slow_photo)).error
        assert not decoder.read(photo(tmp_path / "next.png")).error
    finally:
        decoder.close()


def test_a_decoder_may_not_take_all_memory(tmp_path):
    code = (
        "import resource\n"
        "from faceage.photos import decoders\n"
        "decoders._serve()\n"
        "print(resource.getrlimit(resource.RLIMIT_AS))"
    )
    run = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True)
    assert run.stdout == b""
    assert str(MEMORY).encode() in run.stderr


def test_photos_come_in_order_and_no_more_than_fit_are_read_ahead(tmp_path, monkeypatch):
    from faceage.photos import decoders

    for i in range(12):
        Image.new("RGB", (100 if i % 3 else 900, 100), (i, i, i)).save(tmp_path / f"{i:02d}.png")
    monkeypatch.setattr(decoders, "PIXELS_AHEAD", 100_000)
    shades = []
    for read in read_ahead(find_photos([tmp_path]), workers=3):
        time.sleep(0.02)
        shades.append(read.pixels[0, 0, 0])
    assert shades == list(range(12))


def test_reading_ahead_may_be_given_up(slow_photo, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "first.png")
    reads = read_ahead([photo(tmp_path / "first.png"), photo(slow_photo)], workers=1)
    assert not next(reads).error
    time.sleep(0.5)
    # It is in the middle of a photo of half a minute, for which nobody has to wait.
    started = time.monotonic()
    reads.close()
    assert time.monotonic() - started < 10


def test_no_photos_are_no_work():
    assert list(read_ahead([])) == []


def test_a_photo_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    from faceage.errors import PhotoError
    from faceage.photos.decode import read_photo

    path = tmp_path / "growing.bin"
    path.write_bytes(bytes(1000))
    fstat = os.fstat
    looks = []

    def grows(descriptor):
        looks.append(descriptor)
        if len(looks) == 2:
            path.write_bytes(bytes(2000))
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", grows)
    with pytest.raises(PhotoError, match="changed while"):
        read_photo(path)


def test_peak_memory_of_the_corpus_is_bounded(hostile_run):
    peak = int(hostile_run[1].with_name("peak").read_text())
    assert 2**19 < peak < 6 * 2**20, "KiB, with TensorFlow in them"
