"""`faceage video` on small films that are made here."""

import json
import re
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from commands import faceage
from conftest import REPOSITORY
from PIL import Image
from shared import shared_networks

from faceage.ages import parse_ages
from faceage.batch.options import DrawOptions, FindOptions
from faceage.film import task as film_task
from faceage.film.age_film import FilmSummary, age_film
from faceage.people.options import OptimiserOptions

av = pytest.importorskip("av", reason="the extra [video] is not installed")


from faceage.film.clip import Clip  # noqa: E402

SIDE = 240
OPTIONS = ("--ages", "60+", "--steps", 2)
TIME_BASE = Fraction(1, 90_000)
GAPS = [3600, 3600, 1800, 5400, 3000, 4200]
"""Between the frames of a film whose rate varies."""


@pytest.fixture(scope="module")
def portrait(astronaut) -> np.ndarray:
    """A head and shoulders of (240, 240, 3)."""
    return np.asarray(Image.fromarray(astronaut[:340, 60:400]).resize((SIDE, SIDE)))


@pytest.fixture(scope="module")
def stranger() -> np.ndarray:
    """Another one."""
    with Image.open(REPOSITORY / "examples" / "person-4.jpg") as photo:
        return np.asarray(photo.convert("RGB").resize((SIDE, SIDE)))


def panned(portrait: np.ndarray, count: int) -> list[np.ndarray]:
    """`count` frames of a portrait that moves to the right, a pixel a frame."""
    wide = np.pad(portrait, [(0, 0), (count, count), (0, 0)], "edge")
    return [np.ascontiguousarray(wide[:, count - i : count - i + SIDE]) for i in range(count)]


def write_clip(path: Path, frames: list[np.ndarray], sound: str = "", rotation: int = 0) -> list[Fraction]:
    """Write a clip of frames at uneven times, with a place in its metadata; the seconds at which they are shown."""
    times = [sum(GAPS[j % len(GAPS)] for j in range(i)) for i in range(len(frames))]
    with av.open(str(path), "w") as container:
        container.metadata["location"] = "+48.137+11.575/"
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        if rotation:
            stream.set_display_rotation(rotation)
        track = container.add_stream(sound, rate=48_000) if sound else None
        for pts, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = pts, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            tone = (8000 * np.sin(np.arange(int(48_000 * times[-1] * TIME_BASE)) / 20)).astype(np.int16)
            for start in range(0, len(tone), 1024):
                part = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "s16", "mono")
                part.sample_rate, part.pts = 48_000, start
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return [pts * TIME_BASE for pts in times]


def frames_of(path: Path) -> tuple[list[Fraction], np.ndarray]:
    """The seconds and the pixels of a clip's frames."""
    clip = Clip(path)
    frames = list(clip.frames())
    return [frame.pts * clip.time_base for frame in frames], np.stack([frame.pixels for frame in frames])


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.dts is not None]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


@pytest.fixture(scope="module")
def aged(tmp_path_factory, portrait) -> tuple[Path, Path, dict]:
    """(clip, its aged film, summary): a person who moves, at uneven times, with sound."""
    folder = tmp_path_factory.mktemp("video")
    clip = folder / "clip.mkv"
    write_clip(clip, panned(portrait, 12), sound="aac")
    result = faceage("video", clip, "--out", folder / "out", *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    return clip, folder / "out" / "clip.mkv_60+.mp4", json.loads(result.stdout)


def test_one_person_is_aged_in_all_frames_without_flicker(aged, portrait):
    clip, film, summary = aged
    assert summary == {
        "frames": 12,
        "shots": 1,
        "people": 1,
        "drawn": 12,
        "broken": "",
        "left_out": "",
        "files": [str(film)],
    }
    (_, before), (_, after) = frames_of(clip), frames_of(film)
    # Where the face is in the first frame, moved back in the others.
    faces = [[frame[40:160, 60 + i : 180 + i].astype(int) for i, frame in enumerate(film)] for film in (before, after)]
    assert all(np.abs(a - b).mean() > 4 for a, b in zip(*faces, strict=True))
    change = [np.mean([np.abs(a - b).mean() for a, b in zip(each[1:], each, strict=False)]) for each in faces]
    assert change[1] < 1.5 * change[0] + 0.5
    # The corner that the face is farthest from.
    assert np.abs(after[:, -30:, :30].astype(int) - before[:, -30:, :30]).mean() < 2


def test_times_and_sound_are_kept_and_the_place_is_not(aged):
    clip, film, _ = aged
    expected, times = frames_of(clip)[0], frames_of(film)[0]
    assert [float(time) for time in times] == pytest.approx([float(time) for time in expected], abs=1e-3)
    assert len({round(float(b - a), 3) for a, b in pairwise(times)}) > 2
    (before, sound), (after, copied) = (zip(*sound_of(path), strict=True) for path in (clip, film))
    assert sound == copied
    assert after == pytest.approx(before, abs=1e-3)
    with av.open(str(film)) as container:
        assert "48.137" not in str(container.metadata)
        assert "Faces aged to 60+" in container.metadata["comment"]


def test_a_second_run_does_nothing_and_another_age_looks_for_nobody(aged, monkeypatch):
    clip, film, _ = aged
    stamp = film.stat().st_mtime_ns

    def summary(*options: object) -> dict:
        result = faceage("video", clip, "--out", film.parent, "--steps", 2, *options, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    assert summary("--ages", "60+")["drawn"] == 0
    assert film.stat().st_mtime_ns == stamp
    monkeypatch.setattr("faceage.film.find.FilmSearch.find", lambda self: pytest.fail("it looks for people"))
    both = summary("--ages", "60+,8", "--draw", "photo")
    assert both["drawn"] == 12
    assert film.stat().st_mtime_ns == stamp
    assert [Path(file).name for file in both["files"]] == ["clip.mkv_60+.mp4", "clip.mkv_8.mp4"]


def test_films_of_one_name_have_results_of_their_own(portrait, stranger, tmp_path):
    def films(clip: Path) -> list[str]:
        result = faceage("video", clip, "--out", tmp_path / "out", *OPTIONS, "--json")
        assert result.returncode == 0, result.stderr
        return [Path(file).name for file in json.loads(result.stdout)["files"]]

    for album, still in (("first", portrait), ("second", stranger)):
        (tmp_path / album).mkdir()
        write_clip(tmp_path / album / "clip.mp4", [still] * 3)
    (name,) = films(tmp_path / "first" / "clip.mp4")
    content = (tmp_path / "out" / name).read_bytes()
    (other,) = films(tmp_path / "second" / "clip.mp4")
    assert name == "clip.mp4_60+.mp4"
    assert re.fullmatch(r"clip~[0-9a-f]{8}\.mp4_60\+\.mp4", other)
    assert (tmp_path / "out" / name).read_bytes() == content
    # Each is known again, where it is and where it has moved to.
    assert films(tmp_path / "second" / "clip.mp4") == [other]
    (tmp_path / "first").rename(tmp_path / "moved")
    assert films(tmp_path / "moved" / "clip.mp4") == [name]


def test_a_film_on_its_side_is_turned_upright(portrait, tmp_path):
    turned = [np.ascontiguousarray(np.rot90(frame[:, :200])) for frame in panned(portrait, 4)]
    write_clip(tmp_path / "phone.mp4", turned, rotation=-90)
    result = faceage("video", tmp_path / "phone.mp4", "--out", tmp_path / "out", *OPTIONS)
    assert result.returncode == 0, result.stderr
    _, frames = frames_of(tmp_path / "out" / "phone.mp4_60+.mp4")
    assert frames.shape == (4, SIDE, 200, 3)
    assert np.abs(frames[0, -40:, :40].astype(int) - portrait[-40:, :40]).mean() < 8
    with av.open(str(tmp_path / "out" / "phone.mp4_60+.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_a_cut_begins_a_new_shot_and_two_people_are_two(portrait, stranger, tmp_path):
    both = [np.hstack([frame, stranger]) for frame in panned(portrait, 6)]
    alone = [np.pad(frame[:, ::-1] // 2, [(0, 0), (SIDE // 2, SIDE // 2), (0, 0)]) for frame in panned(stranger, 6)]
    write_clip(tmp_path / "cut.mp4", both + alone, sound="flac")
    result = faceage("video", tmp_path / "cut.mp4", "--out", tmp_path / "out", *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["shots"], summary["people"]) == (2, 3)
    (_, before), (_, after) = frames_of(tmp_path / "cut.mp4"), frames_of(Path(summary["files"][0]))
    change = np.abs(after.astype(int) - before)
    halves = (slice(None, SIDE), slice(SIDE, None))
    assert all(change[:6, 60:150, columns].mean((1, 2, 3)).min() > 1.5 for columns in halves)
    # Up to the cut and from it on, in full.
    assert change[6:, 60:150, SIDE // 2 : -SIDE // 2].mean((1, 2, 3)).min() > 1.5


def test_a_film_without_faces_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    write_clip(tmp_path / "noise.mp4", [noise] * 3)
    result = faceage("video", tmp_path / "noise.mp4", "--out", tmp_path / "out", *OPTIONS, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["files"] == []
    assert "no face was found" in result.stderr
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_a_folder_of_grey_frames_gives_a_folder_of_grey_frames(portrait, tmp_path):
    frames = [np.asarray(Image.fromarray(frame).convert("L")) for frame in panned(portrait, 4)]
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames, 8):
        Image.fromarray(frame).save(tmp_path / "frames" / f"f{number}.png")
    (tmp_path / "frames" / "f12.png").write_text("no picture")
    result = faceage("video", tmp_path / "frames", "--out", tmp_path / "out", *OPTIONS)
    assert result.returncode == 1
    assert "f12.png cannot be used" in result.stderr
    written = sorted((tmp_path / "out" / "frames_60+").iterdir())
    assert [path.name for path in written] == ["f10.png", "f11.png", "f8.png", "f9.png"]
    for number, frame in enumerate(frames, 8):
        after = np.asarray(Image.open(tmp_path / "out" / "frames_60+" / f"f{number}.png"))
        assert after.shape == frame.shape
        assert (after[-30:, :30] == frame[-30:, :30]).all()
        assert np.abs(after[40:160, 60:180].astype(int) - frame[40:160, 60:180]).mean() > 1


class Stopped(BaseException):
    """What ends a run at any moment."""


def test_a_run_that_is_stopped_goes_on_and_ends_with_the_same_film(aged, tmp_path, monkeypatch):
    clip = aged[0]
    monkeypatch.setattr(film_task, "STRETCH_FRAMES", 5)
    monkeypatch.setattr("faceage.film.make.STRETCH_FRAMES", 5)
    find = FindOptions(optimiser=OptimiserOptions(steps=2))
    told: list[tuple[str, int]] = []

    def run(out: Path, stop: tuple[str, int] = ("", 0)) -> FilmSummary:
        def progress(what: str, done: int, total: int | None) -> None:
            told.append((what, done))
            if (what, done) == stop:
                raise Stopped

        with shared_networks():
            return age_film(clip, out, find=find, draw=DrawOptions(parse_ages("60+")), progress=progress)

    whole = run(tmp_path / "whole")
    for stop in (("finding people", 8), ("drawing them", 7)):
        with pytest.raises(Stopped):
            run(tmp_path / "stopped", stop)
    told.clear()
    rest = run(tmp_path / "stopped")
    assert told[0] == ("drawing them", 6)
    assert (whole.drawn, rest.drawn) == (12, 7)
    assert Path(rest.files[0]).read_bytes() == Path(whole.files[0]).read_bytes()
    left = [path.name for path in (tmp_path / "stopped" / "film" / clip.name).iterdir()]
    assert sorted(left) == ["60+.made", "film.txt", "people.h5"]


def test_of_a_clip_that_is_cut_off_there_is_what_can_be_read(portrait, tmp_path):
    still = np.asarray(Image.fromarray(portrait).resize((120, 120)))
    write_clip(tmp_path / "whole.mkv", [still] * 60)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut_off.mkv").write_bytes(content[: int(0.8 * len(content))])
    result = faceage("video", tmp_path / "cut_off.mkv", "--out", tmp_path / "out", *OPTIONS, "--json")
    assert result.returncode == 1
    summary = json.loads(result.stdout)
    assert 0 < summary["frames"] < 45
    assert f"it ends after frame {summary['frames'] - 1}" in result.stderr
    assert len(frames_of(Path(summary["files"][0]))[0]) == summary["frames"]


@pytest.mark.parametrize("kind", ["text", "sound", "missing", "photo"])
def test_what_is_no_film_is_said_in_one_sentence(kind, tmp_path):
    path = tmp_path / f"{kind}.mp4"
    said = {
        "text": "cannot be read as a clip",
        "sound": "has no video stream",
        "missing": "no such file",
        "photo": "is a photo",
    }[kind]
    if kind == "text":
        path.write_text("no film at all")
    elif kind == "photo":
        Image.new("RGB", (64, 64)).save(path, "JPEG")
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            track = container.add_stream("aac", rate=48_000)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            silence.sample_rate = 48_000
            container.mux([*track.encode(silence), *track.encode(None)])
    result = faceage("video", path, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_is_said_in_one_sentence(aged):
    resource = pytest.importorskip("resource")
    clip, film, _ = aged
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        result = faceage("video", clip, "--out", film.parent, "--ages", "30", "--steps", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.returncode == 2
    assert "cannot write to --out" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(film.parent.glob("*_30*"))


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"")
    result = faceage("video", tmp_path / "clip.mp4", "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "faceage[video]" in result.stderr
