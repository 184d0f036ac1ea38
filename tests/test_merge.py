"""`--shard` and `faceage merge`: as if one run had done it all."""

import shutil
from pathlib import Path

import pytest
from commands import faceage, rows_of
from PIL import Image
from planned import DRAW, finish_plan, make_plan

from faceage.ages import parse_ages
from faceage.batch.merge import merge
from faceage.batch.names import pasted_paths
from faceage.batch.options import DrawOptions
from faceage.batch.plan import LATENTS, MANIFEST, choose_photos
from faceage.errors import UsageError
from faceage.files import only_one
from faceage.store.latents import count_rows, read_rows
from faceage.store.manifest import read_manifest

OF = 3


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

    def write(
        out: Path, number: int, of: int = OF, draw: DrawOptions = DRAW, shade: int = 0, place: Path = photos
    ) -> Path:
        plan = make_plan([place], out, shard=(number, of), draw=draw)
        finish_plan(plan, face_row, draw, shade=shade)
        return plan.out

    return write


def assert_merged(out: Path, photos: Path) -> None:
    names = {photo.name for photo in choose_photos([photos], out)}
    assert rows_of(out).keys() == names
    assert count_rows(out / LATENTS) == dict.fromkeys(names, 1)
    assert {path.relative_to(out / "grids").as_posix() for path in (out / "grids").rglob("*.png")} == {
        f"{name}_0.png" for name in names
    }
    assert sorted(path.name for path in out.iterdir()) == [".lock", "grids", "latents", "latents.h5", "manifest.jsonl"]
    plan = make_plan([photos], out)
    assert plan.to_find == plan.to_draw == ()


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
    manifest = finish(tmp_path / "out", 2) / MANIFEST
    rows = list(read_manifest(manifest).values())
    manifest.write_text(manifest.read_text().replace(rows[0].found, "another"))
    with pytest.raises(UsageError, match="different options") as error:
        merge(tmp_path / "out")
    assert error.value.hint
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 2


def test_a_shard_that_is_still_at_work_is_left_alone(finish, tmp_path):
    finish(tmp_path / "out", 1)
    folder = finish(tmp_path / "out", 2)
    with only_one(folder, "testing"), pytest.raises(UsageError, match="another process"):
        merge(tmp_path / "out")
    assert not read_manifest(tmp_path / "out" / MANIFEST)
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 2


def test_no_manifest_is_read_before_its_shards_lock_is_held(photos, finish, tmp_path, monkeypatch):
    """What a shard enters until then comes along."""
    import faceage.batch.merge as module

    out, held, read = tmp_path / "out", [], module.read_manifest
    for number in range(1, OF + 1):
        finish(out, number)

    def reading(path):
        if path.parent != out:
            with pytest.raises(UsageError), only_one(path.parent, "testing"):
                pass
            held.append(path.parent)
        return read(path)

    monkeypatch.setattr(module, "read_manifest", reading)
    merge(out)
    assert len(held) == OF
    assert_merged(out, photos)


def test_photos_of_one_name_from_two_places_are_both_there(photos, finish, tmp_path):
    """Done as shards of two commands, or in a run before."""
    other, out = tmp_path / "other" / "photos", tmp_path / "out"
    (other / "sub").mkdir(parents=True)
    for i in range(12):
        Image.new("L", (32, 32), 100 + i).save(other / ("sub" if i % 2 else "") / f"{i}.png")
    for number in range(1, 3):
        finish(out, number, of=2)
    for number in range(1, OF + 1):
        finish(out, number, place=other)
    merge(out)
    rows = read_manifest(out / MANIFEST)
    assert len({row.input for row in rows.values()}) == len(rows) == 24
    assert count_rows(out / LATENTS) == dict.fromkeys(rows, 1)
    grids = {path.relative_to(out / "grids").as_posix() for path in (out / "grids").rglob("*.png")}
    assert grids == {f"{name}_0.png" for name in rows}
    for place in (photos, other):
        plan = make_plan([place], out)
        assert plan.to_find == plan.to_draw == ()


def test_a_shard_of_the_same_number_may_be_merged_again(photos, finish, tmp_path):
    out = tmp_path / "out"
    for number in range(1, OF + 1):
        finish(out, number)
    merge(out)
    for i in range(12, 20):
        Image.new("L", (32, 32), i).save(photos / f"{i}.png")
    for number in range(1, OF + 1):
        folder = finish(out, number)
        # The photos that are merged already were not asked for this time.
        assert folder.exists()
    merge(out)
    assert_merged(out, photos)


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
    assert all(f"photos/{i}.png" in report for i in range(4))
    assert len(rows_of(out)) == count_rows(out / LATENTS).total() == 4
    again = faceage("batch", folder, "--out", out, "--objective", "none", "--dry-run")
    assert again.stdout == ""


def test_photos_with_aged_faces_come_along_and_those_of_before_go(photos, finish, tmp_path):
    out, draw = tmp_path / "out", DrawOptions(parse_ages("60+"), paste=True)
    finish(out, 1, of=1, draw=DrawOptions(parse_ages("25"), paste=True))
    for number in range(1, OF + 1):
        finish(out, number, draw=draw, shade=200)
    merge(out)
    there = set((out / "pasted").rglob("*.png"))
    assert there == {pasted_paths(out, photo.name, draw.ages)[0] for photo in choose_photos([photos], out)}
    assert {Image.open(path).getpixel((0, 0)) for path in there} == {200}
