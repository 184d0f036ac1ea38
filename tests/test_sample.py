"""`faceage sample`: grids and walks of people who do not exist."""

from itertools import pairwise

import numpy as np
import pytest
from commands import in_this_process
from PIL import Image

from faceage.batch.draw import MILLISECONDS
from faceage.networks.predict import random_latents
from faceage.people.samples import WALK_STEPS, walk_latents
from faceage.photos.provenance import GENERATED


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


@pytest.mark.parametrize("people", [2, 3, 5])
def test_a_walk_goes_by_the_people_of_the_grid_and_back(people):
    latents, stops = walk_latents(people, seed=3), random_latents(people, seed=3)
    assert latents.shape == (people * WALK_STEPS, 100)
    np.testing.assert_allclose(latents[::WALK_STEPS], stops, atol=1e-5)
    steps = [angle(a, b) for a, b in pairwise([*latents, latents[0]])]
    # Every step is a small part of the way, the last one back to the first too.
    assert max(steps) < 0.12
    # Slowly by each person: no corner.
    assert max(steps[i * WALK_STEPS - 1] + steps[i * WALK_STEPS] for i in range(people)) < 0.02


def test_a_walk_stays_where_latents_lie():
    lengths = np.linalg.norm(walk_latents(6, seed=0), axis=1)
    stops = np.linalg.norm(random_latents(6, seed=0), axis=1)
    assert lengths.min() > 0.95 * stops.min()
    assert lengths.max() < 1.05 * stops.max()


def test_the_way_is_the_arc_between_two_people():
    a, b = random_latents(2, seed=1)
    middle = walk_latents(2, seed=1)[WALK_STEPS // 2]
    assert angle(a, middle) + angle(middle, b) == pytest.approx(angle(a, b), abs=1e-3)


def frames_of(path) -> list[np.ndarray]:
    """The pictures of an animation, each as often as it is shown for a frame's time."""
    frames = []
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0
        for i in range(animation.n_frames):
            animation.seek(i)
            frame = np.asarray(animation.convert("RGB"), float)
            # Where nothing moves, one frame stands for two.
            frames += [frame] * round(animation.info["duration"] / MILLISECONDS)
    return frames


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_a_walk_is_an_endless_animation_that_moves_smoothly(tmp_path, ending):
    out = tmp_path / f"walk.{ending}"
    status, _, err = in_this_process("sample", "--walk", "--out", out, "--rows", 2, "--ages", "25,60+", "--seed", 5)
    assert status == 0, err
    frames = frames_of(out)
    assert len(frames) == 2 * WALK_STEPS
    height, width, _ = frames[0].shape
    assert width > 2 * 64
    assert 64 < height < 100
    steps = [np.abs(a - b).mean() for a, b in pairwise([*frames, frames[0]])]
    whole = np.abs(frames[0] - frames[WALK_STEPS]).mean()
    assert max(steps) < 0.4 * whole
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_walk_begins_with_the_first_person_of_the_grid(tmp_path):
    for name, options in (("grid.png", ()), ("walk.webp", ("--walk",))):
        arguments = ("--rows", 2, "--seed", 5, "--ages", "45", "--scale", 2)
        assert in_this_process("sample", "--out", tmp_path / name, *arguments, *options)[0] == 0
    grid, first = (
        np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"), float),
        frames_of(tmp_path / "walk.webp")[0],
    )
    # But for what WebP leaves out.
    assert np.abs(grid[: first.shape[0]] - first).mean() < 6
    assert Image.open(tmp_path / "grid.png").info["xmp"] == GENERATED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "walk.png", "--walk"], "end it in .gif or .webp"),
        (["--out", "grid.gif"], "end it in .png"),
        (["--out", "nowhere/grid.png"], "cannot be written"),
        (["--out", "walk.gif", "--walk", "--rows", "1"], "no walk"),
        (["--out", "walk.gif", "--walk", "--rows", "1000", "--scale", "8"], "gigabytes"),
        (["--out", "w.webp", "--walk", "--rows", "2", "--scale", "8", "--ages", ",".join(map(str, range(32)))], "WebP"),
        (["--out", "grid.png", "--ages", "old"], "unknown age 'old'"),
        (["--out", "grid.png", "--ages", "101"], "0 to 100"),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, _, err = in_this_process("sample", *arguments)
    assert status == 2
    assert said in err
    assert not list(tmp_path.iterdir())
