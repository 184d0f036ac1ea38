"""Every file ends as a row with a reason, in bounded time and memory, whatever is in it."""

import os
from pathlib import Path

import pytest
from commands import faceage, faceage_measured, rows_of
from hostile import make_corpus
from PIL import Image

from faceage.store.latents import count_rows

QUICKLY = ("--objective", "none", "--ages", "70", "--draw", "generator")
"""The networks' part of the work is the same for every file: the encoder and the generator are enough here."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, astronaut):
    return make_corpus(tmp_path_factory.mktemp("hostile") / "photos", Image.fromarray(astronaut))


@pytest.fixture(scope="module")
def hostile_run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return faceage_measured(out.with_name("peak"), "batch", corpus.folder, "--out", out, *QUICKLY), out


def test_there_are_enough_of_them(corpus):
    assert len(corpus.expected) >= 120


def test_the_run_goes_through(hostile_run):
    result, _ = hostile_run
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not Path("/tmp/faceage-was-here").exists()


def test_every_file_is_one_row_and_nothing_else_is(corpus, hostile_run):
    rows = {name.removeprefix("photos/"): row for name, row in rows_of(hostile_run[1]).items()}
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
    assert faces["photos/crowd.jpg"] > 100
    assert count_rows(out / "latents.h5") == faces
    assert len(list((out / "grids").rglob("*.png"))) == sum(faces.values())
    assert not list(out.rglob("*.partial*"))


def test_the_same_again_does_only_what_could_not_be_read_at_all(corpus, hostile_run):
    result = faceage("batch", corpus.folder, "--out", hostile_run[1], *QUICKLY, "--dry-run")
    again = result.stdout.splitlines()
    assert {"photos/fifo.jpg", "photos/nowhere.jpg"} <= set(again)
    assert "photos/good.jpg" not in again
    assert "photos/noise.jpg" not in again


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
