"""What photos are called in --out: all of them there, each once, whatever a call names and in whatever order."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from planned import finish_plan, make_plan

from faceage.batch.names import album_photos, marked, same_name
from faceage.batch.plan import LATENTS, MANIFEST, Plan
from faceage.store.latents import count_rows
from faceage.store.manifest import read_manifest

shades = iter(range(256))


def add(folder: Path, *names: str) -> None:
    """Photos that all differ."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shade = next(shades)
        Image.new("RGB", (32, 32), (shade, 255 - shade, 7)).save(folder / name, "PNG")


@pytest.fixture
def batch(tmp_path, face_row):
    """A batch over places of `tmp_path` without its networks, which answers its plan; everybody has one face."""

    def run(*places: str, out: str = "out") -> Plan:
        plan = make_plan([tmp_path / place for place in places], tmp_path / out)
        finish_plan(plan, face_row)
        assert not make_plan([tmp_path / place for place in places], tmp_path / out).to_find
        return plan

    return run


def names(out: Path) -> set[str]:
    """The photos in the manifest, each with its row of latents and its grid, and nobody else."""
    rows = read_manifest(out / MANIFEST)
    assert count_rows(out / LATENTS) == dict.fromkeys(rows, 1)
    grids = {path.relative_to(out / "grids").as_posix() for path in (out / "grids").rglob("*.png")}
    assert grids == {f"{path}_0.png" for path in rows}
    assert len({row.input for row in rows.values()}) == len(rows)
    return set(rows)


def inputs(out: Path) -> set[str]:
    return {row.input for row in read_manifest(out / MANIFEST).values()}


def found(plan: Plan) -> list[str]:
    return [photo.name for photo in plan.to_find]


def test_two_albums_one_after_the_other(tmp_path, batch):
    add(tmp_path, "2019/IMG_0001.jpg", "2020/IMG_0001.jpg")
    batch("2019")
    batch("2020")
    assert names(tmp_path / "out") == {"2019/IMG_0001.jpg", "2020/IMG_0001.jpg"}


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_files_of_two_albums_some_at_a_time(tmp_path, batch, at_once):
    files = [f"{year}/IMG_000{number}.jpg" for year in (2019, 2020) for number in (1, 2)]
    add(tmp_path, *files)
    for start in range(0, len(files), at_once):
        batch(*files[start : start + at_once])
    assert names(tmp_path / "out") == set(files)
    assert found(batch("2019", "2020")) == []


def test_one_album_and_then_both(tmp_path, batch):
    add(tmp_path, "2019/IMG_0001.jpg", "2020/IMG_0001.jpg")
    batch("2019")
    assert found(batch("2019", "2020")) == ["2020/IMG_0001.jpg"]
    assert names(tmp_path / "out") == {"2019/IMG_0001.jpg", "2020/IMG_0001.jpg"}


@pytest.mark.parametrize("calls", [["x/2019", "y/2019"], ["x/2019 y/2019"], ["y/2019", "x/2019", "x"], ["x y"]])
def test_albums_of_one_name(tmp_path, batch, calls):
    add(tmp_path, "x/2019/1.jpg", "y/2019/1.jpg", "x/2019/2.jpg", "y/2019/3.jpg")
    for call in calls:
        batch(*call.split())
    there = names(tmp_path / "out")
    assert len(there) == 4
    # Whatever they are called now, they stay so.
    for call in ("x/2019", "y/2019", "x", "y", "y/2019/1.jpg"):
        assert found(batch(call)) == []
    assert names(tmp_path / "out") == there


def test_a_name_that_is_taken_gets_a_hash_of_the_bytes(tmp_path, batch):
    add(tmp_path, "x/2019/1.jpg", "y/2019/1.jpg")
    batch("x/2019")
    (name,) = found(batch("y/2019"))
    row = read_manifest(tmp_path / "out" / MANIFEST)[name]
    assert name == marked("2019/1.jpg", row.input[:8]) == f"2019/1~{row.input[:8]}.jpg"
    # It is known again where its album has moved.
    shutil.move(tmp_path / "y", tmp_path / "z")
    assert found(batch("z/2019")) == []
    assert len(names(tmp_path / "out")) == 2


def test_names_that_a_disk_may_take_for_one(tmp_path, batch):
    files = ["a/X.jpg", "a/x.jpg", "a/caf\u00e9.jpg", "a/cafe\u0301.jpg"]
    add(tmp_path, *files)
    if len(list((tmp_path / "a").iterdir())) < 4:
        pytest.skip("this disk takes them for one")
    batch("a")
    there = names(tmp_path / "out")
    assert len({same_name(name) for name in there}) == len(there) == 4


def test_a_name_that_is_no_text_and_one_that_spells_it(tmp_path, batch):
    add(tmp_path, r"a/caf\xe9.jpg")
    try:
        add(tmp_path, os.fsdecode(b"a/caf\xe9.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    batch("a")
    assert len(names(tmp_path / "out")) == 2


def test_an_album_that_moved_is_known_again(tmp_path, batch):
    add(tmp_path, "disk/2019/1.jpg", "disk/2019/sub/2.jpg")
    batch("disk/2019")
    there = names(tmp_path / "out")
    shutil.move(tmp_path / "disk", tmp_path / "mnt")
    assert found(batch("mnt/2019")) == []
    # Once seen there, without a look at its bytes.
    os.utime(tmp_path / "mnt" / "2019" / "1.jpg", (1, 1))
    assert found(batch("mnt/2019")) == []
    assert names(tmp_path / "out") == there


def test_a_photo_reached_by_two_ways_is_one(tmp_path, batch):
    add(tmp_path, "a/1.jpg", "a/sub/2.jpg")
    (tmp_path / "a" / "link.jpg").symlink_to("sub/2.jpg")
    (tmp_path / "b").symlink_to("a")
    batch("a", "a/sub", "b", "a/sub/2.jpg")
    assert len(names(tmp_path / "out")) == 2
    assert found(batch("b/sub/2.jpg")) == []


def test_a_copy_in_a_folder_of_the_same_name_is_that_photo(tmp_path, batch):
    add(tmp_path, "x/2019/1.jpg")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    batch("x/2019", "y/2019")
    assert names(tmp_path / "out") == {"2019/1.jpg"}
    for call in ("y/2019", "x/2019", "y/2019"):
        assert found(batch(call)) == []


def test_a_replaced_photo_loses_the_old_ones_people_and_pictures_and_that_is_counted(tmp_path, batch):
    add(tmp_path, "a/1.jpg", "a/2.jpg")
    batch("a")
    before = inputs(tmp_path / "out")
    add(tmp_path, "a/1.jpg")
    plan = batch("a")
    assert (found(plan), plan.replaced, plan.outdated) == (["a/1.jpg"], 1, 0)
    assert names(tmp_path / "out") == {"a/1.jpg", "a/2.jpg"}
    assert len(inputs(tmp_path / "out") & before) == 1


def test_a_photo_that_took_anothers_place_while_that_moved(tmp_path, batch):
    add(tmp_path, "x/2019/1.jpg")
    batch("x/2019")
    shutil.move(tmp_path / "x", tmp_path / "y")
    add(tmp_path, "x/2019/1.jpg")
    batch("x/2019", "y/2019")
    assert len(names(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (".", ["home/a/1.jpg", "home/a/sub/2.jpg"]),
        ("a", ["a/1.jpg", "a/sub/2.jpg"]),
        ("a/sub", ["sub/2.jpg"]),
        ("a/../a", ["a/1.jpg", "a/sub/2.jpg"]),
        ("a/1.jpg", ["a/1.jpg"]),
        ("a/sub/2.jpg", ["sub/2.jpg"]),
    ],
)
def test_a_photo_is_called_by_its_folder_and_the_path_below_it(tmp_path, monkeypatch, place, expected):
    folder = tmp_path / "home"
    add(folder, "a/1.jpg", "a/sub/2.jpg")
    monkeypatch.chdir(folder)
    assert [photo.name for photo in album_photos([Path(place)])] == expected
    assert [photo.name for photo in album_photos([folder / place])] == expected


def test_a_home_folders_name_is_left_out(tmp_path, monkeypatch):
    home = tmp_path / "alice"
    add(home, "1.jpg", "a/2.jpg")
    monkeypatch.setenv("HOME", str(home))
    assert [photo.name for photo in album_photos([home])] == ["1.jpg", "a/2.jpg"]
    assert [photo.name for photo in album_photos([home / "1.jpg"])] == ["1.jpg"]


def test_nothing_tells_where_the_photos_lie(tmp_path, batch):
    add(tmp_path, "secret/a/1.jpg")
    batch("secret/a")
    for path in (tmp_path / "out").rglob("*"):
        assert "secret" not in path.relative_to(tmp_path).as_posix()
        if path.is_file():
            assert b"secret" not in path.read_bytes()
