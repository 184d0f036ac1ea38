"""What a batch run has left to do."""

import os
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from faceage.batch.plan import (
    LATENTS,
    MANIFEST,
    Again,
    BatchOptions,
    Plan,
    check_out,
    choose_photos,
    grid_path,
    left_of,
    open_out,
    shard_folder,
)
from faceage.errors import UsageError
from faceage.people.options import OptimiserOptions
from faceage.photos.decode import fingerprint, read_photo
from faceage.photos.decoders import stamp
from faceage.pictures.save import save_png
from faceage.store.latents import LatentIndex, LatentWriter
from faceage.store.manifest import FAILED, NO_FACE, OK, UNREADABLE, Manifest, PhotoOutcome

WEIGHTS = "0ddba11"
DEFAULT = BatchOptions()
GONE = "gone"
"""In place of a status: nothing could be read of the photo at all."""
FACES = {"a.jpg": 1, "b.jpg": 2, "sub/c.jpg": 0}


def make_plan(places: list[Path], out: Path, *rest) -> Plan:
    """What a run begins with: which photos there are, and what is left of them."""
    return left_of(choose_photos(places, out), out, *rest)


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for shade, name in enumerate(FACES):
        Image.new("L", (32, 32), shade).save(folder / name)
    return folder


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def finish(face_row):
    """Write what a run leaves behind that does all of a plan, the photos' outcomes being `statuses` or as `FACES`."""

    def write(plan: Plan, **statuses: str) -> None:
        open_out(plan.out)
        done = {row.path for row in plan.done}
        index = LatentIndex(plan.out / LATENTS, WEIGHTS, {})
        index.begin(keep=done.__contains__)
        latents = LatentWriter(plan.out / LATENTS, "0", WEIGHTS, {})
        latents.go_on(index.parts)
        manifest = Manifest(plan.out / MANIFEST, done)
        for photo in plan.todo:
            status = statuses.get(photo.path.stem, OK if FACES[photo.name] else NO_FACE)
            faces = FACES[photo.name] if status == OK else 0
            for face in range(faces):
                grid = grid_path(plan.out, photo.relative, face)
                grid.parent.mkdir(parents=True, exist_ok=True)
                save_png(Image.new("RGB", (8, 8)), grid)
                latents.add([face_row(photo.name, face)])
            index.count(latents.flush())
            known = (fingerprint(read_photo(photo.path)), *stamp(photo.path)) if status != GONE else ("", 0, 0)
            status = UNREADABLE if status == GONE else status
            manifest.append([PhotoOutcome(photo.name, status, faces, "", {}, *known, plan.settings)])
        manifest.close()

    return write


def left(photos: Path, out: Path, options: BatchOptions = DEFAULT, weights: str = WEIGHTS) -> list[str]:
    plan = make_plan([photos], out, options, weights)
    assert {photo.name for photo in plan.todo} | {row.path for row in plan.done} == set(FACES)
    assert len(plan.todo) + len(plan.done) == len(FACES)
    return [photo.name for photo in plan.todo]


def test_a_first_run_does_everything_and_planning_writes_nothing(photos, out):
    assert left(photos, out) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert not out.exists()


def test_a_finished_run_leaves_nothing(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    plan = make_plan([photos], out, DEFAULT, WEIGHTS)
    assert plan.todo == plan.others == ()
    assert [(row.path, row.status, row.faces) for row in plan.done] == [
        ("a.jpg", OK, 1),
        ("b.jpg", OK, 2),
        ("sub/c.jpg", NO_FACE, 0),
    ]


@pytest.mark.parametrize("status", [GONE, FAILED])
def test_a_photo_that_may_go_well_another_time_is_tried_again(photos, out, finish, status):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS), b=status)
    assert left(photos, out) == ["b.jpg"]
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    assert left(photos, out) == []


def test_a_damaged_photo_is_tried_again_when_it_changes_or_when_asked(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS), b=UNREADABLE)
    assert left(photos, out) == []
    plan = make_plan([photos], out, DEFAULT, WEIGHTS, Again(unreadable=True))
    assert [photo.name for photo in plan.todo] == ["b.jpg"]
    Image.new("L", (32, 32), 99).save(photos / "b.jpg")
    assert left(photos, out) == ["b.jpg"]


def test_everything_again(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    plan = make_plan([photos], out, DEFAULT, WEIGHTS, Again(everything=True))
    assert [photo.name for photo in plan.todo] == list(FACES)
    assert plan.done == ()


def test_photos_done_with_other_settings_are_counted(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    assert make_plan([photos], out, DEFAULT, WEIGHTS).outdated == 0
    assert make_plan([photos], out, DEFAULT, "other").outdated == len(FACES)


@pytest.mark.parametrize("of", [1, 2, 3, 16])
def test_shards_share_the_photos(photos, out, of):
    for i in range(40):
        Image.new("L", (32, 32), i).save(photos / f"{i}.png")
    shards = [choose_photos([photos], out, (number, of)) for number in range(1, of + 1)]
    names = sorted(photo.name for shard in shards for photo in shard)
    assert names == sorted(photo.name for photo in choose_photos([photos], out))
    assert of > 3 or min(len(shard) for shard in shards) > 5


def test_a_photo_stays_in_its_shard(photos, out):
    before = {photo.name for photo in choose_photos([photos], out, (1, 2))}
    for i in range(10):
        Image.new("L", (32, 32), i).save(photos / f"{i}.png")
    assert before == {photo.name for photo in choose_photos([photos], out, (1, 2))} & set(FACES)


def test_a_shards_results_have_a_folder_of_their_own(out):
    assert shard_folder(out, (1, 1)) == out
    assert shard_folder(out, (3, 16)) == out / "shards" / "3-of-16"


def test_a_changed_photo_is_done_again(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    Image.new("L", (32, 32), 99).save(photos / "a.jpg")
    assert left(photos, out) == ["a.jpg"]


def test_a_photo_that_was_only_touched_stands(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    os.utime(photos / "a.jpg", (1, 1))
    assert left(photos, out) == []


def test_a_photo_that_has_become_unreadable_is_done_again(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    (photos / "a.jpg").write_bytes(b"")
    assert left(photos, out) == ["a.jpg"]


def test_photos_not_asked_for_this_time_are_kept_apart(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    plan = make_plan([photos / "a.jpg"], out, DEFAULT, WEIGHTS)
    assert [row.path for row in plan.done] == ["a.jpg"]
    assert [row.path for row in plan.others] == ["b.jpg", "sub/c.jpg"]
    assert plan.todo == ()


def test_other_settings_would_lose_photos_not_asked_for_this_time(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    with pytest.raises(UsageError, match="done with other options or weights") as error:
        make_plan([photos / "a.jpg"], out, BatchOptions(scale=3), WEIGHTS)
    assert error.value.hint


@pytest.mark.parametrize(("grid", "photo"), [("a.jpg_0.png", "a.jpg"), ("b.jpg_1.png", "b.jpg")])
def test_a_missing_grid_is_done_again(photos, out, finish, grid, photo):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    (out / "grids" / grid).unlink()
    assert left(photos, out) == [photo]


def test_missing_latents_are_done_again(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    (out / LATENTS).unlink()
    assert left(photos, out) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("lost", ["a.jpg", "b.jpg"])
def test_latents_that_lack_a_photo_are_done_again(photos, out, finish, lost):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    LatentIndex(out / LATENTS, WEIGHTS, {}).begin(keep=lambda source: source != lost)
    assert left(photos, out) == [lost]


def test_a_manifest_that_was_cut_off_leaves_the_rest(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    manifest = out / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-30])
    assert left(photos, out) == ["sub/c.jpg"]


CHANGES = [
    {"faces": "largest"},
    {"min_face": 40},
    {"age_class": 0},
    {"targets": (0, 5)},
    {"scale": 3},
    {"optimiser": OptimiserOptions(steps=61)},
    {"optimiser": OptimiserOptions(prior=0.2)},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_other_settings_do_everything_again(photos, out, finish, change):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    assert left(photos, out, BatchOptions(**change)) == list(FACES)


def test_other_weights_do_everything_again(photos, out, finish):
    finish(make_plan([photos], out, DEFAULT, WEIGHTS))
    assert left(photos, out, weights="other") == list(FACES)


def test_settings_fingerprints_tell_every_change_apart():
    options = [BatchOptions(), *(BatchOptions(**change) for change in CHANGES)]
    prints = {option.fingerprint(weights) for option in options for weights in ("one", "two")}
    assert len(prints) == 2 * len(options)


def test_no_photo_is_a_usage_error_that_says_what_photos_are(tmp_path, out):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no photo in .*empty") as error:
        make_plan([tmp_path / "empty"], out, DEFAULT, WEIGHTS)
    assert ".jpg" in error.value.hint


def test_latents_of_another_kind_are_a_usage_error(photos, out):
    out.mkdir()
    (out / LATENTS).write_text("not ours")
    with pytest.raises(UsageError, match=r"latents\.h5"):
        make_plan([photos], out, DEFAULT, WEIGHTS)
    assert (out / LATENTS).read_text() == "not ours"


@pytest.mark.parametrize(
    ("place", "out", "said"),
    [
        ("photos", "photos", "inside the input"),
        ("photos", "photos/out", "inside the input"),
        ("photos", "photos/sub/../out", "inside the input"),
        ("photos", "link", "inside the input"),
        ("photos", "link/out", "inside the input"),
        ("link", "photos/out", "inside the input"),
        (".", "out", "inside the input"),
        ("photos", "photos/a.jpg", "is a file"),
        ("out/grids", "out", "inside the results"),
        ("out/grids/sub", "out", "inside the results"),
        ("photos", "same", "inside the results"),
        ("photos", "under", "inside the input"),
    ],
)
def test_out_that_would_harm_the_input(tmp_path, photos, place, out, said):
    (tmp_path / "out" / "grids" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    for name, grids in [("same", photos), ("under", photos / "grids")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "grids").symlink_to(grids)
    with pytest.raises(UsageError, match=said) as error:
        check_out([photos / "a.jpg", tmp_path / place], tmp_path / out)
    assert error.value.hint


@pytest.mark.parametrize(
    ("place", "out"),
    [
        ("photos", "out"),
        ("photos", "photos-out"),
        ("photos/sub", "photos/out"),
        ("photos/a.jpg", "photos"),
        ("photos/a.jpg", "photos/out"),
        ("out/faces", "out"),
    ],
)
def test_out_that_does_no_harm(tmp_path, photos, place, out):
    (tmp_path / "out" / "faces").mkdir(parents=True)
    check_out([tmp_path / place], tmp_path / out)


@pytest.mark.parametrize("name", ["n" * 300, "photos/a.jpg/out"])
def test_out_that_cannot_be_made_is_a_usage_error(tmp_path, photos, name):
    with pytest.raises(UsageError, match=r"cannot be read|cannot write") as error:
        open_out(make_plan([photos / "sub"], tmp_path / name, DEFAULT, WEIGHTS).out)
    assert error.value.hint


def test_open_out_makes_the_folder_and_leaves_nothing_in_it(out):
    open_out(out / "deep" / "down")
    open_out(out / "deep" / "down")
    assert [path.name for path in (out / "deep" / "down").rglob("*")] == ["grids"]


@pytest.mark.parametrize("blocked", ["out", "out/grids"])
def test_open_out_where_a_file_is_in_the_way(tmp_path, out, blocked):
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).touch()
    with pytest.raises(UsageError, match="cannot write to --out"):
        open_out(out)


@pytest.mark.parametrize(
    ("relative", "face", "expected"),
    [
        ("x.jpg", 0, "grids/x.jpg_0.png"),
        ("a/b/x.png", 12, "grids/a/b/x.png_12.png"),
        ("no-ending", 1, "grids/no-ending_1.png"),
        ("a b/ü.jpg", 0, "grids/a b/ü.jpg_0.png"),
    ],
)
def test_grid_path(out, relative, face, expected):
    assert grid_path(out, PurePath(relative), face) == out / expected


def test_grids_never_collide(out):
    long = "n" * 240
    names = ["x.jpg", "x.png", "x", "a/x.jpg", "b/x.jpg", "x.jpg_0", "x.jpg_0.png", "x_1.jpg", "X.jpg"]
    names += [f"{long}{end}" for end in ("aaaaaaaaaa.jpg", "aaaaaaaaab.jpg", "aaaaaaaaa.jpeg", ".jpg", "1.jpg")]
    names += [os.fsdecode(b"caf\xe9.jpg"), "café.jpg", r"caf\xe9.jpg"]
    paths = {grid_path(out, PurePath(name), face) for name in names for face in (0, 1, 10, 100)}
    assert len(paths) == 4 * len(names)


@pytest.mark.parametrize("face", [0, 9, 10, 123])
@pytest.mark.parametrize("length", range(245, 256))
@pytest.mark.parametrize("letter", ["n", "é", os.fsdecode(b"\xff")])
def test_grids_of_the_longest_names_can_be_written(out, letter, length, face):
    size = len(os.fsencode(letter))
    name = letter * ((length - 4) // size) + "n" * ((length - 4) % size) + ".jpg"
    assert len(os.fsencode(name)) == length
    path = grid_path(out, PurePath("sub", name), face)
    assert len(os.fsencode(path.name)) <= 255
    assert path.name.endswith(f"_{face}.png")
    path.parent.mkdir(parents=True)
    save_png(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("face", [0, 123])
def test_a_short_name_is_kept_whole_and_a_long_one_to_a_point(out, face):
    ending = f"_{face}.png"
    most = 255 - len(ending)
    assert grid_path(out, PurePath("n" * most), face).name == "n" * most + ending
    cut = grid_path(out, PurePath("n" * (most + 1)), face).name
    assert cut.startswith("n" * 200)
    assert len(cut) == 255
