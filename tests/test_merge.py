"""`--shard` and `faceage merge`: as if one run had done it all."""

import shutil
from pathlib import Path

import pytest
from commands import faceage, rows_of
from PIL import Image

from faceage.batch.merge import merge
from faceage.batch.plan import (
    LATENTS,
    MANIFEST,
    BatchOptions,
    choose_photos,
    grid_path,
    left_of,
    open_out,
    pasted_paths,
    shard_folder,
)
from faceage.errors import UsageError
from faceage.photos.decode import fingerprint, read_photo
from faceage.photos.decoders import stamp
from faceage.pictures.save import save_png
from faceage.store.latents import LatentIndex, LatentWriter, count_rows, read_rows
from faceage.store.manifest import Manifest, PhotoOutcome

WEIGHTS, OF = "0ddba11", 3
DEFAULT = BatchOptions()


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for i in range(12):
        Image.new("L", (32, 32), i).save(folder / ("sub" if i % 2 else "") / f"{i}.png")
    return folder


@pytest.fixture
def finish(photos, face_row):
    """Write what a run over a shard leaves behind, one face a photo."""

    def write(out: Path, number: int, of: int = OF, options: BatchOptions = DEFAULT, shade: int = 0) -> Path:
        folder = shard_folder(out, (number, of))
        plan = left_of(choose_photos([photos], folder, (number, of)), folder, options, WEIGHTS)
        open_out(folder)
        done = {row.path for row in plan.done}
        index = LatentIndex(folder / LATENTS, WEIGHTS, {})
        index.begin(done.__contains__)
        latents = LatentWriter(folder / LATENTS, "0", WEIGHTS, {})
        latents.go_on(index.parts)
        manifest = Manifest(folder / MANIFEST, done)
        for photo in plan.todo:
            grid = grid_path(folder, photo.relative, 0)
            grid.parent.mkdir(parents=True, exist_ok=True)
            save_png(Image.new("L", (8, 8), shade), grid)
            latents.add([face_row(photo.name)])
            index.count(latents.flush())
            known = fingerprint(read_photo(photo.path)), *stamp(photo.path)
            manifest.append([PhotoOutcome(photo.name, "ok", 1, "", {}, *known, plan.settings)])
        manifest.close()
        return folder

    return write


def assert_merged(out: Path, photos: Path) -> None:
    names = {photo.name for photo in choose_photos([photos], out)}
    assert rows_of(out).keys() == names
    assert count_rows(out / LATENTS) == dict.fromkeys(names, 1)
    assert {path.relative_to(out / "grids").as_posix() for path in (out / "grids").rglob("*.png")} == {
        f"{name}_0.png" for name in names
    }
    assert sorted(path.name for path in out.iterdir()) == [".lock", "grids", "latents", "latents.h5", "manifest.jsonl"]
    plan = left_of(choose_photos([photos], out), out, DEFAULT, WEIGHTS)
    assert plan.todo == ()


def test_shards_become_one_result(photos, finish, tmp_path):
    for number in range(1, OF + 1):
        finish(tmp_path / "out", number)
    assert len(merge(tmp_path / "out")) == 12
    assert_merged(tmp_path / "out", photos)


def test_rows_are_those_of_the_shards(photos, finish, face_row, tmp_path):
    for number in range(1, OF + 1):
        finish(tmp_path / "out", number)
    merge(tmp_path / "out")
    for row in read_rows(tmp_path / "out" / LATENTS):
        assert (row.latent == face_row(row.source).latent).all()


def test_shards_may_come_one_after_the_other(photos, finish, tmp_path):
    out = tmp_path / "out"
    for number in range(1, OF + 1):
        finish(out, number)
        merge(out)
    assert_merged(out, photos)


def test_a_shard_takes_the_place_of_what_was_done_before(photos, finish, tmp_path):
    out = tmp_path / "out"
    finish(out, 1, of=1)
    for number in range(1, OF + 1):
        finish(out, number, shade=200)
    merge(out)
    assert_merged(out, photos)
    assert {Image.open(path).getpixel((0, 0)) for path in (out / "grids").rglob("*.png")} == {200}


@pytest.mark.parametrize("stop", range(1, 60, 4))
def test_stopped_at_any_moment_and_done_again(photos, finish, tmp_path, monkeypatch, stop):
    import os

    out = tmp_path / "out"
    for number in range(1, OF + 1):
        finish(out, number)
    calls, replace, remove = [], os.replace, shutil.rmtree

    class Stopped(BaseException):
        pass

    def stopping(call):
        def counted(*arguments, **keywords):
            calls.append(arguments)
            if len(calls) == stop:
                raise Stopped
            return call(*arguments, **keywords)

        return counted

    monkeypatch.setattr(os, "replace", stopping(replace))
    monkeypatch.setattr(shutil, "rmtree", stopping(remove))
    try:
        merge(out)
    except Stopped:
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(shutil, "rmtree", remove)
        merge(out)
    assert_merged(out, photos)


def test_rows_that_a_killed_shard_did_not_enter_are_not_taken(photos, finish, tmp_path):
    out = tmp_path / "out"
    for number in range(1, OF + 1):
        folder = finish(out, number)
    manifest = folder / MANIFEST
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-1]))
    assert len(merge(out)) == 11
    assert len(rows_of(out)) == count_rows(out / LATENTS).total() == 11


def test_shards_of_different_settings_are_told_apart(finish, tmp_path):
    finish(tmp_path / "out", 1)
    finish(tmp_path / "out", 2, options=BatchOptions(scale=3))
    with pytest.raises(UsageError, match="different options") as error:
        merge(tmp_path / "out")
    assert error.value.hint
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 2


def test_no_shards_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no shards in") as error:
        merge(tmp_path)
    assert error.value.hint


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "-1/3", "1/3/5", "", "1/0"])
def test_shares_that_are_none(tmp_path, shard):
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    result = faceage("batch", tmp_path, "--out", tmp_path.with_name("out"), "--shard", shard)
    assert result.returncode == 2
    assert "no share" in result.stderr


def test_the_commands(tmp_path, astronaut):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(astronaut[: 400 + i, :400]).save(folder / f"{i}.png")
    for number in (1, 2):
        result = faceage("batch", folder, "--out", out, "--shard", f"{number}/2", "--objective", "none", "-q")
        assert result.returncode == 0, result.stderr
        assert result.stderr == result.stdout == ""
    assert not list(out.rglob("report.html"))
    result = faceage("merge", out)
    assert result.returncode == 0, result.stderr
    assert "4 photos, 4 faces" in result.stderr
    report = (out / "report.html").read_text()
    assert all(f"{i}.png" in report for i in range(4))
    assert len(rows_of(out)) == count_rows(out / LATENTS).total() == 4
    again = faceage("batch", folder, "--out", out, "--objective", "none", "--dry-run")
    assert again.stdout == ""


def test_photos_with_aged_faces_come_along(photos, finish, tmp_path):
    out = tmp_path / "out"
    for number in range(1, OF + 1):
        folder = finish(out, number)
        for photo in choose_photos([photos], folder, (number, OF)):
            (path,) = pasted_paths(folder, photo.relative, ["60+"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(photo.name)
    merge(out)
    for photo in choose_photos([photos], out):
        assert pasted_paths(out, photo.relative, ["60+"])[0].read_text() == photo.name
