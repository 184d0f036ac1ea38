"""Who is who in a film: people who cross, pictures that dissolve into others, slides, and rates that nobody states."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commands import faceage
from conftest import REPOSITORY
from PIL import Image, ImageDraw, ImageFilter
from shared import detector

from faceage.film import task as film_task
from faceage.film.cuts import Cuts
from faceage.film.follow import Follower
from faceage.film.link import Trail, split_trail
from faceage.film.records import stretch_of, stretch_rows
from faceage.store.film import STRETCH, read_tables, write_tables

OPTIONS = ("--ages", "60+", "--steps", 2)


@pytest.fixture(scope="module")
def heads(astronaut) -> list[Image.Image]:
    """Two heads of 140 pixels, cut out."""
    with Image.open(REPOSITORY / "examples" / "person-4.jpg") as photo:
        other = photo.convert("RGB").resize((140, 140))
    heads = [Image.fromarray(astronaut[20:240, 120:340]).resize((140, 140)), other]
    outline = Image.new("L", (140, 140))
    ImageDraw.Draw(outline).ellipse((14, 2, 126, 138), fill=255)
    for head in heads:
        head.putalpha(outline)
    return heads


def scene(heads: list[Image.Image], places: list[tuple[int, int]]) -> np.ndarray:
    """Heads before a wall, the last one in front."""
    wall = Image.fromarray(np.tile(np.linspace(60, 160, 400, dtype=np.uint8)[None, :, None], (200, 1, 3)))
    for head, place in zip(heads, places, strict=True):
        wall.paste(head, place, head)
    return np.asarray(wall)


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03}.png")
    return folder


def summary_of(film: Path, out: Path) -> dict:
    result = faceage("video", film, "--out", out, *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("stretch", [9, 250])
def test_two_people_who_cross_are_two_and_nobody_is_drawn_twice(stretch, heads, tmp_path, monkeypatch):
    monkeypatch.setattr(film_task, "STRETCH_FRAMES", stretch)
    monkeypatch.setattr("faceage.film.make.STRETCH_FRAMES", stretch)
    frames = [scene(heads, [(10 + 12 * i, 30), (250 - 12 * i, 25)]) for i in range(21)]
    film = write_frames(tmp_path / "crossing", frames)
    assert summary_of(film, tmp_path / "out")["people"] == 2
    # The one in front is drawn as where nobody passes behind.
    alone = write_frames(tmp_path / "alone", [scene(heads[1:], [(250 - 12 * i, 25)]) for i in range(21)])
    assert summary_of(alone, tmp_path / "out")["people"] == 1
    left = 250 - 12 * 19
    both, one = (
        np.asarray(Image.open(tmp_path / "out" / f"{name}_60+" / "019.png"), int)[45:150, left + 25 : left + 115]
        for name in ("crossing", "alone")
    )
    before = frames[19].astype(int)[45:150, left + 25 : left + 115]
    assert np.abs(one - before).mean() > 2
    assert np.abs(both - before).mean() < 1.3 * np.abs(one - before).mean()


def test_a_track_that_goes_over_to_another_ones_face_ends(heads):
    frames = [(i, scene(heads, [(10 + 12 * i, 30), (250 - 12 * i, 25)])) for i in range(21)]
    stretch = Follower(detector())(frames)
    for number in range(21):
        middles = [one.face.landmarks.mean(0) for one in stretch.sightings if one.frame == number]
        assert all(np.hypot(*(a - b)) > 20 for i, a in enumerate(middles) for b in middles[:i]), number


def test_a_face_that_dissolves_into_anothers_parts_there(heads, tmp_path):
    stills = [scene([head], [(130, 30)]).astype(float) for head in heads]
    mixed = [stills[0] + (stills[1] - stills[0]) * i / 10 for i in range(1, 10)]
    frames = [stills[0]] * 50 + mixed + [stills[1]] * 50
    film = write_frames(tmp_path / "dissolve", [frame.astype(np.uint8) for frame in frames])
    summary = summary_of(film, tmp_path / "out")
    assert (summary["shots"], summary["people"]) == (1, 2)


def test_a_trail_parts_only_where_all_views_before_are_unlike_all_after():
    class View:
        def __init__(self, frame: int) -> None:
            self.frame = frame

    count = 40
    confidence = np.ones(count)
    confidence[[17, 26]] = 0.7
    views = [View(frame) for frame in (5, 15, 22, 35)]
    trail = Trail(np.arange(count), np.zeros((count, 5, 2)), np.zeros((count, 2, 3)), confidence, views)  # type: ignore[arg-type]
    anna, ben = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    parts = split_trail(trail, np.stack([anna, anna, ben, ben]), 0.9, lambda one, other: False)
    assert [(part.frames[0], part.frames[-1], len(part.views)) for part, _ in parts] == [(0, 16, 2), (17, 39, 2)]
    # As of a head that turns away and back.
    assert len(split_trail(trail, np.stack([anna, ben, anna, anna]), 0.9, lambda one, other: False)) == 1
    # As of a picture that goes out of focus.
    asked: list[tuple[int, int]] = []

    def alike(one: View, other: View) -> bool:
        asked.append((one.frame, other.frame))
        return True

    assert len(split_trail(trail, np.stack([anna, anna, ben, ben]), 0.9, alike)) == 1  # type: ignore[arg-type]
    assert asked == [(15, 22)]


def test_who_goes_out_of_focus_in_other_light_is_still_one(heads, tmp_path):
    still = Image.fromarray(scene(heads[:1], [(130, 30)]))
    # Within the first stretch of frames that a view is taken of, and up to the end.
    changes = [min(max(i - 40, 0) / 8, 1) for i in range(62)]
    frames = [
        np.asarray(still.filter(ImageFilter.GaussianBlur(2.2 * part))) * (1 - part * np.array([0.6, 0.5, 0.2]))
        for part in changes
    ]
    film = write_frames(tmp_path / "focus", [frame.astype(np.uint8) for frame in frames])
    summary = summary_of(film, tmp_path / "out")
    assert (summary["shots"], summary["people"]) == (1, 1)


@pytest.mark.parametrize(("light", "count"), [(255, 1), (0, 2)])
def test_a_flash_is_no_cut(light, count, heads):
    still = scene(heads[:1], [(130, 30)])
    frames = [still] * 3 + [np.full_like(still, light)] * count + [still] * 3
    cuts = Cuts()
    assert [cuts.before(frame) for frame in frames] == [False] * len(frames)
    assert cuts.before(still[:, ::-1] // 3)
    # Nor is what a film begins with.
    assert not any(map(Cuts().before, frames[3:]))


def test_a_flash_where_stretches_meet_is_no_cut(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(film_task, "STRETCH_FRAMES", 8)
    monkeypatch.setattr("faceage.film.make.STRETCH_FRAMES", 8)
    still = scene(heads[:1], [(130, 30)])
    film = write_frames(tmp_path / "flash", [still] * 6 + [np.full_like(still, 255)] * 2 + [still] * 4)
    summary = summary_of(film, tmp_path / "out")
    assert (summary["shots"], summary["people"]) == (1, 1)


@pytest.mark.parametrize("flash", [0, 2])
def test_a_stretch_that_is_read_again_tells_where_the_next_one_cuts(flash, heads, tmp_path):
    still = scene(heads[:1], [(130, 30)])
    shots = [still] * 6 + [np.full_like(still, 255)] * flash + [still[:, ::-1] // 3] * 3
    frames = list(enumerate(shots))
    follower = Follower(detector())
    first = follower(frames[: 6 + flash])
    write_tables(tmp_path / "part.h5", STRETCH, stretch_rows(first, range(6 + flash)), "digest")
    known = read_tables(tmp_path / "part.h5", STRETCH, "digest")
    assert known is not None
    second = follower(frames[5 + flash :], stretch_of(known[0]))
    assert (first.cuts, first.blanks, second.cuts) == ([], list(range(6, 6 + flash)), [6 + flash])


def test_slides_of_a_frame_each_are_looked_at(heads, tmp_path):
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    with av.open(str(tmp_path / "slides.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 2))
        stream.height, stream.width = 200, 400
        stream.pix_fmt = "yuv420p"
        for number in range(4):
            picture = scene([heads[number % 2]], [(30 + 200 * (number % 2), 30)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    assert summary_of(tmp_path / "slides.mp4", tmp_path / "out")["people"] >= 2


def test_who_comes_in_is_aged_where_a_film_does_not_state_its_rate(heads, tmp_path):
    """As browsers record: uneven times in milliseconds, and no word of the rate."""
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    clip = tmp_path / "browser.webm"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libvpx", rate=30, options={"crf": "10", "b": "4M", "deadline": "realtime"})
        stream.height, stream.width = 200, 400
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(scene(heads[:1], [(max(150, 450 - 14 * number), 30)]), "rgb24")
            frame.pts, frame.time_base = 33 * number + number * 7 % 13, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = bytearray(clip.read_bytes())
    # DefaultDuration becomes a void of the same length.
    at = content.index(b"\x23\xe3\x83")
    length = content[at + 3] & 0x7F
    content[at : at + 4 + length] = bytes([0xEC, 0x80 | (2 + length), *bytes(2 + length)])
    clip.write_bytes(content)
    assert summary_of(clip, tmp_path / "out")["people"] == 1
