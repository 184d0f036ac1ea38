"""What a batch run has left to do."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planned import DRAW, GONE, finish_plan, make_plan, make_task

from faceage.ages import Age, parse_ages
from faceage.batch.names import grid_path, pasted_paths, remove_pictures
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.plan import (
    LATENTS,
    MANIFEST,
    Again,
    Plan,
    check_out,
    choose_photos,
    left_of,
    open_out,
    shard_folder,
)
from faceage.errors import UsageError
from faceage.people.options import OptimiserOptions
from faceage.photos.find import RESULTS, find_photos
from faceage.pictures.save import save_png
from faceage.store.latents import LatentIndex
from faceage.store.manifest import FAILED, NO_FACE, OK, UNREADABLE

FACES = {"photos/a.jpg": 1, "photos/b.jpg": 2, "photos/sub/c.jpg": 0}


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for shade, name in enumerate(FACES):
        Image.new("L", (32, 32), shade).save(tmp_path / name)
    return folder


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def finish(face_row):
    """Write what a run leaves behind that does all of a plan, the photos' outcomes being `statuses` or as `FACES`."""

    def write(plan: Plan, draw: DrawOptions = DRAW, **statuses: str) -> None:
        finish_plan(plan, face_row, draw, statuses, FACES)

    return write


def left(photos: Path, out: Path, **options) -> list[str]:
    """The photos whose people are to be found."""
    plan = make_plan([photos], out, **options)
    assert {photo.name for photo in plan.to_find} | {row.path for row in plan.done} == set(FACES)
    assert len(plan.to_find) + len(plan.done) == len(FACES)
    return [photo.name for photo in plan.to_find]


def to_draw(photos: Path, out: Path, **options) -> list[str]:
    """The photos whose people are only to be drawn."""
    plan = make_plan([photos], out, **options)
    assert not plan.to_find
    assert len(plan.to_draw) + len(plan.done) == len(FACES)
    return [photo.name for photo in plan.to_draw]


def test_a_first_run_does_everything_and_planning_writes_nothing(photos, out):
    assert left(photos, out) == list(FACES)
    assert not out.exists()


def test_a_finished_run_leaves_nothing(photos, out, finish):
    finish(make_plan([photos], out))
    plan = make_plan([photos], out)
    assert plan.to_find == plan.to_draw == plan.others == ()
    assert [(row.path, row.status, row.faces) for row in plan.done] == [
        ("photos/a.jpg", OK, 1),
        ("photos/b.jpg", OK, 2),
        ("photos/sub/c.jpg", NO_FACE, 0),
    ]


@pytest.mark.parametrize("status", [GONE, FAILED])
def test_a_photo_that_may_go_well_another_time_is_tried_again(photos, out, finish, status):
    finish(make_plan([photos], out), b=status)
    assert left(photos, out) == ["photos/b.jpg"]
    finish(make_plan([photos], out))
    assert left(photos, out) == []


def test_a_damaged_photo_is_tried_again_when_it_changes_or_when_asked(photos, out, finish):
    finish(make_plan([photos], out), b=UNREADABLE)
    assert left(photos, out) == []
    plan = make_plan([photos], out, Again(unreadable=True))
    assert [photo.name for photo in plan.to_find] == ["photos/b.jpg"]
    Image.new("L", (32, 32), 99).save(photos / "b.jpg")
    assert left(photos, out) == ["photos/b.jpg"]


def test_everything_again(photos, out, finish):
    finish(make_plan([photos], out))
    plan = make_plan([photos], out, Again(everything=True))
    assert [photo.name for photo in plan.to_find] == list(FACES)
    assert plan.done == ()


def test_photos_done_with_other_settings_are_counted(photos, out, finish):
    finish(make_plan([photos], out))
    assert make_plan([photos], out).outdated == 0
    assert make_plan([photos], out, weights="other").outdated == len(FACES)


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
    finish(make_plan([photos], out))
    Image.new("L", (32, 32), 99).save(photos / "a.jpg")
    assert left(photos, out) == ["photos/a.jpg"]


def test_a_photo_that_was_only_touched_stands(photos, out, finish):
    finish(make_plan([photos], out))
    os.utime(photos / "a.jpg", (1, 1))
    assert left(photos, out) == []


def test_a_photo_that_has_become_unreadable_is_done_again(photos, out, finish):
    finish(make_plan([photos], out))
    (photos / "a.jpg").write_bytes(b"")
    assert left(photos, out) == ["photos/a.jpg"]


def test_photos_not_asked_for_this_time_are_kept_apart(photos, out, finish):
    finish(make_plan([photos], out))
    plan = make_plan([photos / "a.jpg"], out)
    assert [row.path for row in plan.done] == ["photos/a.jpg"]
    assert [row.path for row in plan.others] == ["photos/b.jpg", "photos/sub/c.jpg"]
    assert plan.to_find == ()


def test_other_settings_would_lose_photos_not_asked_for_this_time(photos, out, finish):
    finish(make_plan([photos], out))
    with pytest.raises(UsageError, match="found with other options or weights") as error:
        make_plan([photos / "a.jpg"], out, weights="other")
    assert error.value.hint


@pytest.mark.parametrize(("photo", "face"), [("photos/a.jpg", 0), ("photos/b.jpg", 1)])
def test_a_missing_grid_is_drawn_again(photos, out, finish, photo, face):
    finish(make_plan([photos], out))
    grid_path(out, photo, face).unlink()
    assert to_draw(photos, out) == [photo]


def test_missing_latents_are_done_again(photos, out, finish):
    finish(make_plan([photos], out))
    (out / LATENTS).unlink()
    assert left(photos, out) == ["photos/a.jpg", "photos/b.jpg"]


@pytest.mark.parametrize("lost", ["photos/a.jpg", "photos/b.jpg"])
def test_latents_that_lack_a_photo_are_done_again(photos, out, finish, lost):
    finish(make_plan([photos], out))
    LatentIndex(out / LATENTS, "0ddba11", {}).begin(keep=lambda source: source != lost)
    assert left(photos, out) == [lost]


def test_a_manifest_that_was_cut_off_leaves_the_rest(photos, out, finish):
    finish(make_plan([photos], out))
    manifest = out / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-30])
    assert left(photos, out) == ["photos/sub/c.jpg"]


FOUND_OTHERWISE = [
    {"faces": "largest"},
    {"min_face": 40},
    {"age": Age("0-18")},
    {"age": Age(9)},
    {"optimiser": OptimiserOptions(steps=61)},
    {"optimiser": OptimiserOptions(prior=0.2)},
]
DRAWN_OTHERWISE = [
    {"ages": parse_ages("0-18,60+")},
    {"ages": parse_ages("60+,0-18")},
    {"ages": parse_ages("0-18,70")},
    {"strength": 1.0},
    {"draw": "generator"},
    {"scale": 3},
    {"mark": True},
    {"gender": "female"},
]


@pytest.mark.parametrize("change", FOUND_OTHERWISE, ids=str)
def test_other_find_options_find_everybody_again(photos, out, finish, change):
    finish(make_plan([photos], out))
    assert left(photos, out, find=FindOptions(**change)) == list(FACES)


@pytest.mark.parametrize("change", DRAWN_OTHERWISE, ids=str)
def test_other_draw_options_find_nobody_again(photos, out, finish, change):
    finish(make_plan([photos], out))
    plan = make_plan([photos], out, draw=DrawOptions(**change))
    assert [photo.name for photo in plan.to_draw] == ["photos/a.jpg", "photos/b.jpg"]
    assert {photo.outcome.drawn for photo in plan.to_draw} == {""}
    finish(plan, DrawOptions(**change))
    assert to_draw(photos, out, draw=DrawOptions(**change)) == []
    assert to_draw(photos, out) == ["photos/a.jpg", "photos/b.jpg"]


def test_pasting_draws_what_is_missing_and_leaves_the_grids(photos, out, finish):
    finish(make_plan([photos], out))
    plan = make_plan([photos], out, draw=DrawOptions(paste=True))
    assert [photo.name for photo in plan.to_draw] == ["photos/a.jpg", "photos/b.jpg"]
    assert {photo.outcome.drawn for photo in plan.to_draw} == {make_task(out).drawn}
    finish(plan, DrawOptions(paste=True))
    assert to_draw(photos, out, draw=DrawOptions(paste=True)) == to_draw(photos, out) == []


def test_a_photo_that_only_could_not_be_drawn_is_drawn_again(photos, out, finish):
    finish(make_plan([photos], out))
    row = '"path": "photos/a.jpg", "status": '
    rows = (out / MANIFEST).read_text().replace(f'{row}"ok"', f'{row}"failed"')
    (out / MANIFEST).write_text(rows)
    assert to_draw(photos, out) == ["photos/a.jpg"]


def test_other_weights_do_everything_again(photos, out, finish):
    finish(make_plan([photos], out))
    assert left(photos, out, weights="other") == list(FACES)


def test_digests_tell_every_change_apart():
    found = [FindOptions(), *(FindOptions(**change) for change in FOUND_OTHERWISE)]
    drawn = [DrawOptions(), *(DrawOptions(**change) for change in DRAWN_OTHERWISE)]
    digests = {options.digest(weights) for options in (*found, *drawn) for weights in ("one", "two")}
    assert len(digests) == 2 * (len(found) + len(drawn))
    for same in ({"paste": True}, {"strips": True}):
        assert DrawOptions(**same).digest("one") == DrawOptions().digest("one")
        assert DrawOptions(**same).to_json() == DrawOptions().to_json()


@pytest.mark.parametrize(
    ("given", "faces", "numbers"),
    [("2,0", "0,2", [0, 2]), ("0,0", "largest", [0]), (" 1 , 10 ", "1,10", [1, 10]), ("0", "largest", [0])],
)
def test_chosen_faces_are_in_one_order_and_each_once(given, faces, numbers):
    options = FindOptions(faces=given)
    assert options.faces == faces
    assert list(options.face_numbers) == numbers
    assert options.digest("w") == FindOptions(faces=faces).digest("w")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DrawOptions(strength=-3),
        lambda: DrawOptions(strength=float("nan")),
        lambda: DrawOptions(scale=1.5),  # type: ignore[arg-type]
        lambda: DrawOptions(scale=2.0),  # type: ignore[arg-type]
        lambda: DrawOptions(ages=("25",)),  # type: ignore[arg-type]
        lambda: FindOptions(age=30),  # type: ignore[arg-type]
        lambda: FindOptions(min_face=0),
    ],
)
def test_options_that_mean_nothing_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_what_an_earlier_version_wrote_is_refused_before_anything_is_touched(photos, out):
    out.mkdir()
    row = {"path": "a.jpg", "status": "ok", "faces": 1, "reason": "", "settings": "0123", "pasted": False}
    (out / MANIFEST).write_text(json.dumps(row) + "\n")
    before = (out / MANIFEST).read_bytes()
    with pytest.raises(UsageError, match="earlier version") as error:
        make_plan([photos], out)
    assert "another --out" in error.value.hint
    assert (out / MANIFEST).read_bytes() == before


def test_no_photo_is_a_usage_error_that_says_what_photos_are(tmp_path, out):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no photo in .*empty") as error:
        make_plan([tmp_path / "empty"], out)
    assert ".jpg" in error.value.hint


def test_latents_of_another_kind_are_a_usage_error(photos, out):
    out.mkdir()
    (out / LATENTS).write_text("not ours")
    with pytest.raises(UsageError, match=r"latents\.h5"):
        make_plan([photos], out)
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
        open_out(make_plan([photos / "sub"], tmp_path / name).out)
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
    ("name", "face", "expected"),
    [
        ("x.jpg", 0, "grids/x.jpg_0.png"),
        ("a/b/x.png", 12, "grids/a/b/x.png_12.png"),
        ("no-ending", 1, "grids/no-ending_1.png"),
        ("a b/ü.jpg", 0, "grids/a b/ü.jpg_0.png"),
    ],
)
def test_grid_path(out, name, face, expected):
    assert grid_path(out, name, face) == out / expected


def test_grids_never_collide(out):
    long = "n" * 240
    names = ["x.jpg", "x.png", "x", "a/x.jpg", "b/x.jpg", "x.jpg_0", "x.jpg_0.png", "x_1.jpg", "X.jpg"]
    names += [f"{long}{end}" for end in ("aaaaaaaaaa.jpg", "aaaaaaaaab.jpg", "aaaaaaaaa.jpeg", ".jpg", "1.jpg")]
    paths = {grid_path(out, name, face) for name in names for face in (0, 1, 10, 100)}
    assert len(paths) == 4 * len(names)


@pytest.mark.parametrize("face", [0, 123])
@pytest.mark.parametrize("length", [219, 220, 221, 255])
@pytest.mark.parametrize("letter", ["n", "é", "日"])
def test_grids_of_the_longest_names_can_be_written(out, letter, length, face):
    size = len(letter.encode())
    name = letter * ((length - 4) // size) + "n" * ((length - 4) % size) + ".jpg"
    # An escaped name of a folder may be longer than a file system takes, too.
    path = grid_path(out, "\\xff" * 200 + "/" + name, face)
    assert path.name.endswith(f"_{face}.png")
    path.parent.mkdir(parents=True)
    save_png(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.name == f"{name}_{face}.png" if length <= 220 else path.name.startswith(letter * 60)


def test_pictures_of_a_photo_go_and_no_others(out):
    kept, gone = ["x.jpg_0", "a/x.jpg", "x.png", "x"], ["x.jpg", "b/" + "n" * 250]
    paths = {
        name: [grid_path(out, name, 0), grid_path(out, name, 11), *pasted_paths(out, name, parse_ages("25,40.5,60+"))]
        for name in (*kept, *gone)
    }
    for path in (path for several in paths.values() for path in several):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (out / "grids" / ".7.partial.png").touch()
    remove_pictures(out, gone)
    there = {path for path in out.rglob("*") if path.is_file()}
    assert there == {path for name in kept for path in paths[name]}


@pytest.mark.parametrize("listed", ["grids/b/X.JPG_0.png", "grids/B/cafe\u0301.jpg_0.png"])
def test_pictures_go_where_a_disk_lists_their_names_otherwise(out, listed):
    """In capitals, or with accents as letters of their own, as HFS+ does."""
    (out / listed).parent.mkdir(parents=True)
    (out / listed).touch()
    remove_pictures(out, ["b/x.jpg", "b/caf\u00e9.jpg"])
    assert not (out / listed).exists()


def left_of_list(listed: list[Path], out: Path, exclude: tuple[str, ...] = ()) -> Plan:
    return left_of(make_task(out), choose_photos([], out, listed=listed, exclude=exclude))


def test_a_listed_photo_that_is_gone_is_a_row_and_the_rest_goes_on(photos, out):
    plan = left_of_list([photos / "gone.jpg", photos / "a.jpg"], out)
    assert [(photo.name, photo.file.problem) for photo in plan.to_find] == [
        ("photos/gone.jpg", "no such file"),
        ("photos/a.jpg", ""),
    ]
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone\.jpg"):
        choose_photos([photos / "gone.jpg"], out)


def test_people_of_a_listed_photo_stay_when_it_is_gone(photos, out, finish):
    listed = [photos / "a.jpg", photos / "b.jpg", photos / "sub" / "c.jpg"]
    finish(left_of_list(listed, out), c=NO_FACE)
    (photos / "b.jpg").unlink()
    (photos / "sub" / "c.jpg").unlink()
    plan = left_of_list(listed, out)
    assert {row.path for row in plan.done} == {"photos/a.jpg", "photos/b.jpg"}
    # Nobody was found in this one, so that nothing is lost.
    assert [photo.name for photo in plan.to_find] == ["sub/c.jpg"]
    assert plan.replaced == 0


def test_what_is_excluded_is_left_out_and_folders_of_others_are_counted(photos, out):
    for name in ("@eaDir/a.jpg", "sub/@eaDir/c.jpg", "#recycle/b.jpg"):
        (photos / name).parent.mkdir()
        Image.new("L", (32, 32)).save(photos / name)
    skipped: Counter[str] = Counter()
    found = choose_photos([photos], out, exclude=["b.*", "sub/*"], skipped=skipped)
    assert [photo.name for photo in found] == ["photos/a.jpg"]
    assert skipped == {"@eaDir": 1, "#recycle": 1}
    assert [photo.name for photo in left_of_list([photos], out, ("sub",)).to_find] == ["photos/a.jpg", "photos/b.jpg"]


def test_results_are_no_photos_though_a_list_or_a_folder_above_has_them(photos, out):
    """As `find . -name '*.jpg'` lists them, the second time."""
    for grey, folder in enumerate((*RESULTS, "mine")):
        (out / folder / "sub").mkdir(parents=True)
        Image.new("L", (32, 32), 30 * grey).save(out / folder / "sub" / "a.jpg")
    listed = [photos / "a.jpg", *out.rglob("*.jpg")]
    assert len(left_of_list(listed, out).to_find) == len(listed)
    (out / MANIFEST).touch()
    skipped: Counter[str] = Counter()
    mine = out / "mine" / "sub" / "a.jpg"
    assert [photo.path for photo in choose_photos([], out, (1, 1), listed, (), skipped)] == [photos / "a.jpg", mine]
    assert skipped == dict.fromkeys(RESULTS, 1)
    assert [photo.path for photo in find_photos([out])] == [mine]
    with pytest.raises(UsageError, match="inside the results"):
        choose_photos([out / "pasted" / "sub" / "a.jpg"], out)


def test_files_that_are_named_can_be_excluded(photos, out):
    named = [photos / "a.jpg", photos / "b.jpg"]
    assert [photo.name for photo in choose_photos(named, out, exclude=["a*"])] == ["photos/b.jpg"]
    assert [photo.name for photo in left_of_list(named, out, ("b.jpg",)).to_find] == ["photos/a.jpg"]


def test_people_found_before_colours_were_converted_are_found_again():
    """Their aligned faces look otherwise: version 1 had nothing of colours in its hash."""
    before = {**FindOptions().to_json(), "weights": "w", "face_size": 64}
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
    assert FindOptions().digest("w") != digest
