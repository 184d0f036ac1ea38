"""`faceage render`: the same pictures from latents alone, and others."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import faceage, in_this_process
from PIL import Image

from faceage.batch.render import Age
from faceage.store.latents import LatentIndex


@pytest.fixture(scope="module")
def aged(tmp_path_factory, astronaut):
    """A batch over three photos, one of them with two faces."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    portrait = Image.fromarray(astronaut).crop((60, 0, 380, 320))
    portrait.save(folder / "a.png")
    portrait.resize((280, 280)).save(folder / "sub" / "ü b.jpg")
    two = Image.new("RGB", (700, 320))
    for i in range(2):
        two.paste(portrait, (350 * i, 0))
    two.save(folder / "two.png")
    out = tmp_path_factory.mktemp("batch") / "out"
    result = faceage("batch", folder, "--out", out, "--steps", 5, "--ages", "0-18,60+", "--strength", 1.2, "--scale", 3)
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


def test_details_are_the_batchs_unless_others_are_asked_for(aged, tmp_path):
    plain = tmp_path / "plain"
    assert faceage("render", aged / "latents.h5", "--out", plain, "--details", 0, "-q").returncode == 0
    latents = tmp_path / "aged" / "latents.h5"
    shutil.copytree(aged, latents.parent)
    with h5py.File(latents, "r+") as file:
        # As a batch wrote it before there were any.
        stored = json.loads(file.attrs["options"])
        assert stored.pop("details") == 1
        file.attrs["options"] = json.dumps(stored)
    assert faceage("render", latents, "--out", tmp_path / "old", "-q").returncode == 0
    for name, path in pictures(plain / "grids").items():
        assert path.read_bytes() == pictures(tmp_path / "old" / "grids")[name].read_bytes()
        with Image.open(path) as without, Image.open(aged / "grids" / name) as grid:
            cells = np.asarray(without, int)[-192:], np.asarray(grid, int)[-192:]
        # The photo and the reconstruction are the same, the two ages are not.
        differs = np.abs(cells[0] - cells[1]).max((0, 2)) > 0
        assert not differs[: 2 * 192 + 2].any()
        assert differs[2 * 192 + 4 :].mean() > 0.9


def test_webp_holds_the_same_pixels(aged, tmp_path):
    assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--file", "webp", "-q").returncode == 0
    grid = pictures(aged / "grids")["a.png_0.png"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "grids" / "a.png_0.webp")), np.asarray(Image.open(grid))
    )


def test_faces_one_by_one_at_any_age(aged, tmp_path):
    arguments = ("--as", "faces", "--ages", "25,40.5,60+", "--scale", 1)
    result = faceage("render", aged / "latents.h5", "--out", tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    found = pictures(tmp_path / "faces")
    assert len(found) == 12
    shown = {age: np.asarray(Image.open(found[f"sub/ü b.jpg_0/{age}.png"])) for age in ("25", "40.5", "60+")}
    assert {face.shape for face in shown.values()} == {(64, 64, 3)}
    # The last cell of the batch's grid, by another strength and scale only.
    assert (shown["25"] != shown["60+"]).any()


def test_a_sheet_holds_everybodys_grid(aged, tmp_path):
    assert faceage("render", aged / "latents.h5", "--out", tmp_path, "--as", "sheets", "-q").returncode == 0
    (sheet,) = pictures(tmp_path / "sheets").values()
    drawn = np.asarray(Image.open(sheet))
    with h5py.File(aged / "latents.h5") as file:
        names = [f"{s}_{n}.png" for s, n in zip(file["source"].asstr()[:], file["face"][:], strict=True)]
    grids = pictures(aged / "grids")
    height = np.asarray(Image.open(grids[names[0]])).shape[0]
    label = height - (64 * 3 + 2 * 2)
    for row, name in enumerate(names):
        people = np.asarray(Image.open(grids[name]))[label:]
        top = label + row * (64 * 3 + 2)
        np.testing.assert_array_equal(drawn[top : top + len(people)], people)


def test_animations_go_from_young_to_old(aged, tmp_path):
    for file in ("gif", "webp"):
        result = faceage("render", aged / "latents.h5", "--out", tmp_path, "--as", "animations", "--file", file)
        assert result.returncode == 0, result.stderr
        with Image.open(tmp_path / "animations" / f"a.png_0.{file}") as animation:
            assert animation.n_frames == 31
            assert animation.info["loop"] == 0
            assert animation.size == (192, 192)
            frames = []
            for i in range(animation.n_frames):
                animation.seek(i)
                frames.append(np.asarray(animation.convert("RGB"), float))
                assert animation.info["duration"] == 80
        steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
        whole = np.abs(frames[0] - frames[-1]).mean()
        # Each step is a small part of the way.
        assert max(steps) < 0.5 * whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ages", "old"], "--ages"),
        (["--ages", "101"], "0 to 100"),
        (["--ages", ""], "--ages"),
        (["--as", "animations", "--file", "png"], "cannot hold"),
        (["--as", "grids", "--file", "gif"], "cannot hold"),
        (["--weights", "nowhere"], "no model"),
    ],
)
def test_wrong_usage_is_exit_2(aged, tmp_path, arguments, said):
    status, _, told = in_this_process("render", aged / "latents.h5", "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert said in told
    assert not (tmp_path / "out").exists()


def test_no_latents_are_exit_2(tmp_path):
    (tmp_path / "text.h5").write_text("no latents")
    for name, said in (("text.h5", "latents file"), ("gone.h5", "no file")):
        status, _, told = in_this_process("render", tmp_path / name, "--out", tmp_path / "out")
        assert status == 2
        assert said in told


def test_latents_of_other_weights_are_exit_2(tmp_path):
    index = LatentIndex(tmp_path / "latents.h5", "other", {"targets": [0], "strength": 1, "scale": 1})
    index.begin(lambda source: True)
    status, _, told = in_this_process("render", tmp_path / "latents.h5", "--out", tmp_path / "out")
    assert status == 2
    assert "other weights" in told


@pytest.mark.parametrize("source", ["/tmp/faceage-escaped.png", "../faceage-escaped.png", "a/../../escaped.png"])
def test_a_strangers_latents_do_not_choose_where_to_write(aged, tmp_path, source):
    copied = tmp_path / "in"
    shutil.copytree(aged, copied)
    with h5py.File(copied / "latents" / "0-0.h5", "r+") as file:
        file["source"][0] = source
    status, _, told = in_this_process("render", copied / "latents.h5", "--out", tmp_path / "deep" / "out")
    assert status == 2
    assert "no path below" in told
    assert not list(tmp_path.rglob("*escaped*"))


def test_an_age_is_a_class_or_years():
    assert Age.of("60+").weights.tolist() == [0, 0, 0, 0, 0, 1]
    assert Age.of("40").weights.tolist() == [0, 0, 0.5, 0.5, 0, 0]
    for text in ("", "x", "-1", "101", "nan", "19-30"):
        with pytest.raises(ValueError, match=r".+"):
            Age.of(text)
