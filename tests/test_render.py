"""`faceage render`: the same pictures from latents alone, and others."""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import get_args, get_type_hints

import h5py
import numpy as np
import pytest
from commands import faceage, in_this_process
from PIL import Image

from faceage.ages import parse_ages
from faceage.batch.draw import FILES, SHEETS, Layout
from faceage.batch.options import DrawOptions
from faceage.cli.render import render
from faceage.errors import UsageError
from faceage.photos.provenance import EDITED, GENERATED
from faceage.store.latents import LatentIndex


@pytest.fixture(scope="module")
def aged(tmp_path_factory, astronaut):
    """A batch over three photos, one of them with two faces."""
    folder = tmp_path_factory.mktemp("render") / "photos"
    (folder / "sub").mkdir(parents=True)
    portrait = Image.fromarray(astronaut).crop((60, 0, 380, 320))
    portrait.save(folder / "a.png")
    portrait.resize((280, 280)).save(folder / "sub" / "ü b.jpg")
    two = Image.new("RGB", (700, 320))
    for i in range(2):
        two.paste(portrait, (350 * i, 0))
    two.save(folder / "two.png")
    out = tmp_path_factory.mktemp("batch") / "out"
    result = faceage("batch", folder, "--out", out, "--steps", 5, "--ages", "0-18,60+", "--strength", 1.2, "--scale", 2)
    assert result.returncode == 0, result.stderr
    return out


def pictures(folder: Path, ending: str = "png") -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob(f"*.{ending}")}


def test_the_batchs_grids_come_out_bit_for_bit(aged, tmp_path):
    result = faceage("render", aged / "latents.h5", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "4 faces" in result.stderr
    found, wanted = pictures(tmp_path / "grids"), pictures(aged / "grids")
    assert found.keys() == wanted.keys()
    for name, path in wanted.items():
        assert found[name].read_bytes() == path.read_bytes()


def test_another_age_replaces_the_pictures_that_are_there(aged, tmp_path):
    for ages in ("0-18", "25"):
        assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--ages", ages, "-q").returncode == 0
    fresh = tmp_path / "fresh"
    assert faceage("render", aged / "latents.h5", "--out", fresh, "--ages", "25", "-q").returncode == 0
    for name, path in pictures(fresh / "grids").items():
        assert path.read_bytes() == (tmp_path / "grids" / name).read_bytes()


def test_webp_holds_the_same_pixels(aged, tmp_path):
    assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--file", "webp", "-q").returncode == 0
    grid = pictures(aged / "grids")["photos/a.png_0.png"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "grids" / "photos" / "a.png_0.webp")), np.asarray(Image.open(grid))
    )


def test_faces_one_by_one_at_any_age(aged, tmp_path):
    arguments = ("--as", "faces", "--ages", "25,40.5,60+", "--scale", 1)
    result = faceage("render", aged / "latents.h5", "--out", tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    found = pictures(tmp_path / "faces")
    assert len(found) == 12
    shown = {age: np.asarray(Image.open(found[f"photos/sub/ü b.jpg_0/{age}.png"])) for age in ("25", "40.5", "60+")}
    assert {face.shape for face in shown.values()} == {(160, 160, 3)}
    # The last cell of the batch's grid, by another strength and scale only.
    assert (shown["25"] != shown["60+"]).any()
    assert Image.open(found["photos/sub/ü b.jpg_0/25.png"]).info["xmp"] == EDITED


def test_marked_pictures_differ_in_their_corners_alone(aged, tmp_path):
    assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--mark", "-q").returncode == 0
    for name, path in pictures(tmp_path / "grids").items():
        marked, plain = (np.asarray(Image.open(each)) for each in (path, aged / "grids" / name))
        changed = (marked != plain).any(2)
        # Of two ages: the photo and the rebuilt face are as they were.
        right, bottom = 2 + 322 * np.arange(3, 5) - 2, len(plain) - 2
        for edge in right:
            assert changed[bottom - 1, edge - 1]
            changed[bottom - 30 : bottom, edge - 30 : edge] = False
        assert not changed.any()


def test_one_face_of_one_photo_of_a_batchs_folder(aged, tmp_path):
    photo = "photos/a.png"
    name = photo.rpartition("/")[2]
    chosen = ("--only", name, "--faces", "largest", "--as", "faces", "--ages", "60+", "--draw", "generator")
    status, _, told = in_this_process("render", aged, "--out", tmp_path / "out", *chosen)
    assert status == 0
    assert f"1 face → {tmp_path / 'out' / 'faces'}" in told
    # No folder is there for what was not asked for.
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["faces"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")] == [
        f"faces/{photo}_0/60+.png"
    ]
    status, _, told = in_this_process("render", aged, "--out", tmp_path / "out", "--only", "a.pgn")
    assert status == 2
    assert f"did you mean {name}" in told


def test_every_kind_but_sheets_shows_one_person():
    kinds = get_args(get_type_hints(render)["kind"])
    assert set(kinds) == set(FILES)
    assert [Layout(kind).kind for kind in kinds if kind != SHEETS]
    with pytest.raises(ValueError, match="not in sheets"):
        Layout(SHEETS)


def test_a_sheet_holds_everybodys_grid(aged, tmp_path):
    assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--as", "sheets", "-q").returncode == 0
    (sheet,) = pictures(tmp_path / "sheets").values()
    drawn = np.asarray(Image.open(sheet))
    with h5py.File(aged / "latents.h5") as file:
        names = [f"{s}_{n}.png" for s, n in zip(file["source"].asstr()[:], file["face"][:], strict=True)]
    grids = pictures(aged / "grids")
    height = np.asarray(Image.open(grids[names[0]])).shape[0]
    label = height - (320 + 2 * 2)
    for row, name in enumerate(names):
        people = np.asarray(Image.open(grids[name]))[label:]
        top = label + row * (320 + 2)
        np.testing.assert_array_equal(drawn[top : top + len(people)], people)


def test_animations_go_from_young_to_old(aged, tmp_path):
    # The generator draws them fastest.
    asked = ("--as", "animations", "--draw", "generator", "--only", "a.png", "-q")
    for file in ("gif", "webp"):
        result = faceage("render", aged / "latents.h5", "--out", tmp_path, *asked, "--file", file)
        assert result.returncode == 0, result.stderr
        path = tmp_path / "animations" / "photos" / f"a.png_0.{file}"
        assert GENERATED in path.read_bytes()
        with Image.open(path) as animation:
            assert animation.n_frames == 26
            assert animation.info["loop"] == 0
            assert animation.size == (320, 320)
            frames = []
            for i in range(animation.n_frames):
                animation.seek(i)
                frames.append(np.asarray(animation.convert("RGB"), float))
                assert animation.info["duration"] == 80
        steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
        whole = np.abs(frames[0] - frames[-1]).mean()
        # Each step is a small part of the way.
        assert max(steps) < 0.5 * whole


MANY_AGES = "1,2,3,4,5,6,7,8,9,10,11"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ages", "old"], "unknown age"),
        (["--ages", "101"], "0 to 100"),
        (["--ages", ""], "unknown age"),
        (["--as", "animations", "--file", "png"], "cannot hold"),
        (["--as", "grids", "--file", "gif"], "cannot hold"),
        (["--weights", "nowhere"], "no model"),
        (["--as", "sheets", "--file", "webp", "--scale", "8", "--ages", MANY_AGES], "larger than a WebP can be"),
        (["--file", "webp", "--scale", "8", "--ages", MANY_AGES], "larger than a WebP can be"),
    ],
)
def test_wrong_usage_is_exit_2(aged, tmp_path, arguments, said):
    status, _, told = in_this_process("render", aged / "latents.h5", "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert said in told
    assert not (tmp_path / "out").exists()


def test_the_batchs_own_pictures_stay(aged):
    status, _, told = in_this_process("render", aged, "--out", aged, "--ages", "70")
    assert status == 2
    assert "holds the batch's own pictures" in told


def test_a_face_that_nobody_has_is_said(aged, tmp_path):
    status, _, told = in_this_process("render", aged, "--out", tmp_path / "out", "--faces", "7")
    assert status == 2
    assert "holds no face numbered 7" in told


def test_no_latents_are_exit_2(tmp_path):
    (tmp_path / "text.h5").write_text("no latents")
    for name, said in (("text.h5", "latents file"), ("gone.h5", "no file")):
        status, _, told = in_this_process("render", tmp_path / name, "--out", tmp_path / "out")
        assert status == 2
        assert said in told


def test_latents_of_other_weights_are_exit_2(tmp_path):
    index = LatentIndex(tmp_path / "latents.h5", "other", {})
    index.begin(lambda source: True)
    status, _, told = in_this_process("render", tmp_path / "latents.h5", "--out", tmp_path / "out")
    assert status == 2
    assert "other weights" in told


@pytest.mark.parametrize("source", ["/tmp/faceage-escaped.png", "../faceage-escaped.png", "a/../../escaped.png"])
def test_a_strangers_latents_do_not_choose_where_to_write(aged, tmp_path, source):
    copied = tmp_path / "in"
    shutil.copytree(aged, copied)
    for part in (copied / "latents").glob("0-*.h5"):
        with h5py.File(part, "r+") as file:
            file["source"][0] = source
    status, _, told = in_this_process("render", copied / "latents.h5", "--out", tmp_path / "deep" / "out")
    assert status == 2
    assert "no path below" in told
    assert not list(tmp_path.rglob("*escaped*"))


def test_options_of_older_latents_are_understood(tmp_path):
    """Which classes were drawn, by which strength; sizes and details were others then."""
    old = {"targets": [5, 0, 5], "strength": 1.2, "details": 1.0, "scale": 2, "faces": "all", "age_class": None}
    index = LatentIndex(tmp_path / "latents.h5", "weights", old)
    index.begin(lambda source: True)
    options = DrawOptions.of_latents(tmp_path / "latents.h5")
    assert (options.labels, options.strength, options.scale, options.mark) == (["60+", "0-18"], 1.2, 1, False)


def test_options_are_as_in_the_batch(tmp_path):
    drawing = DrawOptions(parse_ages("70,0-18"), 0.5, "generator", 3, mark=True)
    index = LatentIndex(tmp_path / "latents.h5", "weights", {}, drawing.to_json())
    index.begin(lambda source: True)
    assert DrawOptions.of_latents(tmp_path / "latents.h5") == drawing


@pytest.mark.parametrize(
    "drawing",
    [
        {"ages": ["old"]},
        {"ages": 3},
        {"strength": "much"},
        {"draw": "well"},
        {"scale": 99},
        {"ages": []},
        {"ages": [[]]},
    ],
)
def test_strange_options_are_a_usage_error(tmp_path, drawing):
    index = LatentIndex(tmp_path / "latents.h5", "weights", {}, drawing)
    index.begin(lambda source: True)
    with pytest.raises(UsageError, match="does not say how its people were drawn"):
        DrawOptions.of_latents(tmp_path / "latents.h5")
