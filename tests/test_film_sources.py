"""`faceage video` on films as cameras, recorders and programs write them."""

import json
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import faceage
from conftest import REPOSITORY
from PIL import Image

av = pytest.importorskip("av", reason="the extra [video] is not installed")

from faceage.film.clip import Clip  # noqa: E402
from faceage.film.sound import Sound  # noqa: E402

OPTIONS = ("--ages", "60+", "--steps", 2)
SECONDS = 0.4


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Ten pictures, (200, 240, 3), of a face that moves over many colours."""
    with Image.open(REPOSITORY / "examples" / "person-4.jpg") as photo:
        face = np.asarray(photo.convert("RGB").resize((200, 200)))
    y, x = np.mgrid[:200, :240]
    wall = np.stack([x, y, (x + y) // 2], -1).astype(np.uint8)
    pictures = [wall.copy() for _ in range(10)]
    for i, picture in enumerate(pictures):
        picture[:, i : i + 200] = face
    return pictures


def write(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str = "aac",
    rate: int = 48_000,
    tracks: int = 1,
    start: int = 0,
    first: str = "video",
    timecode: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip of 25 frames a second that begins at `start` seconds; its `first` stream is "video" or "sound"."""
    with av.open(str(path), "w") as container:
        if timecode:
            container.metadata["timecode"] = timecode
        packets: list[Any] = []

        def add_video() -> None:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pixels
            for number, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number + 25 * start, Fraction(1, 25)
                packets.extend(stream.encode(frame))
            packets.extend(stream.encode(None))

        def add_sound() -> None:
            for _ in range(tracks if sound else 0):
                stream = container.add_stream(sound, rate=rate, layout="mono")
                wave = av.AudioFrame.from_ndarray(tone(rate)[None], "s16", "mono")
                wave.sample_rate, wave.pts = rate, start * rate
                packets.extend([*stream.encode(wave), *stream.encode(None)])

        for add in (add_video, add_sound) if first == "video" else (add_sound, add_video):
            add()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def tone(rate: int) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(int(rate * SECONDS)) / rate)).astype(np.int16)


def heard(path: Path, track: int = 0) -> tuple[str, float, np.ndarray]:
    """(codec, seconds at which it begins, samples) of a track."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        frames = list(container.decode(stream))
        resampler = av.AudioResampler("s16", "mono", stream.rate)
        samples = np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])
        return stream.codec.canonical_name, float(frames[0].pts * frames[0].time_base), samples


def sound_times(path: Path) -> list[float]:
    """Seconds of a film's packets of sound."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.dts is not None]
        return [float(packet.dts * packet.time_base) for packet in packets]


def tracks_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return len(container.streams.audio)


def aged(clip: Path, out: Path, said: str = "") -> Path:
    """Its film, which has all frames of the clip at their times, from when the clip begins on, in their colours."""
    result = faceage("video", clip, "--out", out, *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    assert said in result.stderr
    assert said or not result.stderr
    film = Path(json.loads(result.stdout)["files"][0])
    before, after = Clip(clip), Clip(film)
    pairs = list(zip(before.frames(), after.frames(), strict=True))
    times = [(one.pts * before.time_base - before.start, other.pts * after.time_base) for one, other in pairs]
    assert max(abs(a - b) for a, b in times) <= Fraction(1, 1000)
    # Right of the face.
    apart = [one.pixels[:, 215:].astype(int) - other.pixels[:, 215:] for one, other in pairs]
    assert np.abs(apart).mean() < 3
    return film


def with_an_unknown_track(clip: Path) -> None:
    """Name the codec of the second of two tracks as newer phones do that of their spatial sound."""
    before, _, second = clip.read_bytes().rpartition(b"stsd")
    clip.write_bytes(before + b"stsd" + second.replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))


def test_streams_that_are_neither_pictures_nor_sound_do_no_harm(frames, tmp_path):
    clip = write(tmp_path / "camera.mov", frames, timecode="01:00:00:00")
    with av.open(str(clip)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "data"]
    assert heard(aged(clip, tmp_path / "out"))[0] == "aac"


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_no_frame_is_lost_where_the_sound_comes_first(ending, frames, tmp_path):
    clip = write(tmp_path / f"sound_first.{ending}", frames, first="sound")
    film = aged(clip, tmp_path / "out")
    assert len(list(Clip(film).frames())) == len(frames)


@pytest.mark.parametrize(("ending", "codec", "rate"), [("mov", "pcm_mulaw", 8_000), ("avi", "adpcm_ms", 22_050)])
def test_sound_that_no_container_of_films_holds_becomes_flac(ending, codec, rate, frames, tmp_path):
    clip = write(tmp_path / f"old.{ending}", frames, sound=codec, rate=rate)
    film = aged(clip, tmp_path / "out")
    (was, start, before), (now, starts, after) = heard(clip), heard(film)
    assert (was, now) == (codec, "flac")
    assert starts == pytest.approx(start, abs=1e-3)
    assert (after == before).all()


def test_sound_that_mp4_refuses_in_its_header_stays_as_it_is_in_another_container(frames, tmp_path):
    clip = write(tmp_path / "slow.avi", frames, sound="libmp3lame", rate=11_025)
    film = aged(clip, tmp_path / "out")
    assert film.suffix == ".mkv"
    assert heard(film)[0] == "mp3"


def again(clip: Path, target: Path, change: Callable[[int, Any], bytes]) -> Path:
    """`clip` in another file, with what `change` makes of the n-th packet of sound."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        number = 0
        for packet in source.demux():
            if packet.dts is None:
                continue
            written = packet
            if packet.stream.type == "audio":
                written = av.Packet(change(number, packet))
                written.pts, written.dts, written.time_base = packet.pts, packet.dts, packet.time_base
                number += 1
            written.stream = streams[packet.stream.index]
            container.mux(written)
    return target


def test_a_broken_packet_of_sound_costs_itself_alone(frames, tmp_path):
    whole = write(tmp_path / "whole.avi", frames, sound="adpcm_ms", rate=22_050)
    clip = again(whole, tmp_path / "broken.avi", lambda n, packet: b"no" if n == 1 else bytes(packet))
    before, after = (len(heard(path)[2]) for path in (whole, aged(clip, tmp_path / "out")))
    assert 0.6 * before < after < before


def test_packets_shorter_than_a_tick_are_not_stretched(frames, tmp_path):
    """As TrueHD's in Matroska, which counts milliseconds: several have one time."""
    clip = tmp_path / "short.mkv"
    with av.open(str(clip), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("pcm_s16le", rate=48_000)
        video.height, video.width = frames[0].shape[:2]
        packets = [packet for one in frames for packet in video.encode(av.VideoFrame.from_ndarray(one, "rgb24"))]
        packets += video.encode(None)
        sound.layout = "mono"
        for start in range(0, 19_200, 40):
            wave = av.AudioFrame.from_ndarray(tone(48_000)[None, start : start + 40], "s16", "mono")
            wave.sample_rate, wave.pts = 48_000, start
            packets += sound.encode(wave)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)

    assert sound_times(clip) == pytest.approx(sound_times(aged(clip, tmp_path / "out")), abs=1e-6)


class Slipped:
    """An opened clip whose tenth packet of sound comes `early`, in seconds before the one before it."""

    def __init__(self, container: Any, early: Fraction) -> None:
        self.streams = container.streams
        self._container = container
        self._early = early

    def demux(self, streams: Any) -> Iterator[Any]:
        last = None
        for number, packet in enumerate(self._container.demux(streams)):
            if number == 10 and last is not None:
                packet.dts = last - round(self._early / packet.time_base)
            last = packet.dts
            yield packet


@pytest.mark.parametrize("early", [Fraction(0), Fraction(1, 1000), Fraction(1, 10)])
def test_a_packet_of_sound_that_slips_moves_no_other(early, frames, tmp_path):
    clip = Clip(write(tmp_path / "clip.mp4", frames))
    with clip.opened() as source, av.open(BytesIO(), "w", format="mp4") as target:
        sound = Sound(clip, Slipped(source, early), target)
        target.start_encoding()
        times = []
        for packet in sound.packets():
            times.append(float(packet.dts * packet.time_base))
            target.mux_one(packet)
    expected = sound_times(clip.path)
    expected[10] = expected[9]
    assert times == pytest.approx(expected, abs=1e-3)


def test_a_sound_track_that_nothing_reads_is_left_out_and_said(frames, tmp_path):
    clip = write(tmp_path / "phone.mov", frames, tracks=2)
    with_an_unknown_track(clip)
    assert tracks_of(aged(clip, tmp_path / "out", said="1 of its sound tracks cannot be read and left out")) == 1


def test_pictures_that_nothing_reads_are_said(frames, tmp_path):
    clip = write(tmp_path / "strange.mp4", frames)
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"xyzw"))
    result = faceage("video", clip, "--out", tmp_path / "out", *OPTIONS)
    assert result.returncode == 2
    assert "its pictures are of an unknown kind" in result.stderr


def test_parts_of_a_recording_put_together_play_one_after_the_other(frames, tmp_path):
    parts = [write(tmp_path / f"{number}.ts", frames[::step]) for number, step in enumerate((1, -1))]
    clip = tmp_path / "both.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    film = aged(clip, tmp_path / "out")
    assert len(list(Clip(film).frames())) == 2 * len(frames)
    assert len(heard(film)[2]) == sum(len(heard(part)[2]) for part in parts)
    assert np.diff(sound_times(film)) == pytest.approx(1024 / 48_000, abs=1e-3)


@pytest.mark.parametrize("name", ["broadcast.ts", "part_of_a_stream.mkv"])
def test_what_begins_late_begins_at_once(name, frames, tmp_path):
    film = aged(write(tmp_path / name, frames, start=36_000), tmp_path / "out")
    with av.open(str(film)) as container:
        assert container.duration / av.time_base < 2 * SECONDS


@pytest.mark.parametrize("codec", ["png", "libx264rgb"])
def test_a_screen_recording_in_rgb_becomes_a_film_of_standard_colours(codec, frames, tmp_path):
    film = aged(write(tmp_path / "screen.mov", frames, codec, "rgb24", sound=""), tmp_path / "out")
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).colorspace == 1


def test_a_camcorders_two_fields_become_one_picture(frames, tmp_path):
    # Lines in turn from two moments, in which everything moves on by 4 pixels.
    moments = [np.roll(frames[0], 4 * i, 1) for i in range(10)]
    first = (np.arange(200) % 2 == 0)[:, None, None]
    woven = [np.where(first, *pair) for pair in zip(moments[::2], moments[1::2], strict=True)]
    clip = write(tmp_path / "camcorder.mp4", woven, sound="", options={"flags": "+ildct", "x264-params": "tff=1"})
    with av.open(str(clip)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    film = aged(clip, tmp_path / "out")

    def combs(pictures: list[np.ndarray]) -> list[float]:
        """How much each differs from line to line, left of the face."""
        parts = [one[:, :40].astype(float) for one in pictures]
        return [np.abs(2 * part[1:-1] - part[:-2] - part[2:]).mean() for part in parts]

    assert min(combs(woven)) > 20
    assert max(combs([frame.pixels for frame in Clip(film).frames()])) < 2


def test_an_address_in_a_folder_name_is_a_folder(frames, tmp_path, monkeypatch):
    clip = write(tmp_path / "clip.mp4", frames[:3])
    monkeypatch.chdir(tmp_path)
    assert aged(clip, Path("http:out")).exists()


def test_a_folder_with_fewer_frames_has_a_film_of_fewer(frames, tmp_path):
    folder, out = tmp_path / "shot", tmp_path / "out"
    folder.mkdir()
    for number, picture in enumerate(frames[:5]):
        Image.fromarray(picture).save(folder / f"{number}.png")

    def drawn() -> tuple[int, list[str]]:
        result = faceage("video", folder, "--out", out, *OPTIONS, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["drawn"], sorted(path.name for path in (out / "shot_60+").iterdir())

    assert drawn() == (5, [f"{number}.png" for number in range(5)])
    # What the user keeps there is no frame of ours.
    (out / "shot_60+" / "notes.png").write_bytes(b"")
    for number in (3, 4):
        (folder / f"{number}.png").unlink()
    assert drawn() == (3, ["0.png", "1.png", "2.png", "notes.png"])
    assert drawn()[0] == 0
    (out / "shot_60+" / "1.png").unlink()
    assert drawn() == (3, ["0.png", "1.png", "2.png", "notes.png"])


def test_a_film_that_ends_otherwise_now_takes_the_place_of_the_one_before(frames, tmp_path):
    out = tmp_path / "out"
    for sound, ending in (("aac", "mp4"), ("pcm_s16le", "mkv")):
        aged(write(tmp_path / "clip.mov", frames[:3], sound=sound), out)
        assert [path.suffix for path in out.glob("clip.mov_*")] == [f".{ending}"]


def test_frames_half_drawn_at_other_settings_are_drawn_again(frames, tmp_path, monkeypatch):
    folder, out = tmp_path / "shot", tmp_path / "out"
    folder.mkdir()
    for number, picture in enumerate(frames[:3]):
        Image.fromarray(picture).save(folder / f"{number}.png")

    def run(strength: float, status: int = 0) -> None:
        result = faceage("video", folder, "--out", out, *OPTIONS, "--strength", strength)
        assert result.returncode == status, result.stderr

    def content() -> list[bytes]:
        return [path.read_bytes() for path in sorted((out / "shot_60+").iterdir())]

    run(1)
    at_one = content()
    with monkeypatch.context() as broken:
        broken.setattr("faceage.film.make._Aged.finish", stopped)
        run(0.3, status=130)
    assert content() != at_one
    run(1)
    assert content() == at_one


def test_frames_that_a_killed_run_has_drawn_go_where_theirs_have_gone(frames, tmp_path, monkeypatch):
    folder, out = tmp_path / "shot", tmp_path / "out"
    aged_folder = out / "shot_60+"
    folder.mkdir()
    aged_folder.mkdir(parents=True)
    for number, picture in enumerate(frames[:3]):
        Image.fromarray(picture).save(folder / f"{number}.png")
    # Instead of a frame that cannot be read, the user has put one there.
    (folder / "3.png").write_text("no picture")
    (aged_folder / "3.png").write_text("mine")
    with monkeypatch.context() as broken:
        broken.setattr("faceage.film.make._Aged.finish", stopped)
        assert faceage("video", folder, "--out", out, *OPTIONS).returncode == 130
    (folder / "2.png").unlink()
    faceage("video", folder, "--out", out, *OPTIONS)
    assert sorted(path.name for path in aged_folder.iterdir()) == ["0.png", "1.png", "3.png"]
    assert (aged_folder / "3.png").read_text() == "mine"


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_hidden_files_of_the_user_stay(frames, tmp_path):
    clip = write(tmp_path / "clip.mp4", frames[:3], sound="")
    (tmp_path / "docs").mkdir()
    theirs = tmp_path / "docs" / ".thesis.3f1c.partial"
    theirs.write_text("mine")
    ours = tmp_path / ".4711-4712.partial.mp4"
    ours.touch()
    aged(clip, tmp_path)
    assert theirs.read_text() == "mine"
    assert not ours.exists()


def test_two_films_of_one_name_size_and_time_are_two(frames, tmp_path):
    films = []
    for album, pictures in (("one", frames[:3]), ("other", [frame[:, ::-1].copy() for frame in frames[:3]])):
        (tmp_path / album).mkdir()
        clip = write(tmp_path / album / "clip.avi", pictures, "rawvideo", sound="")
        os.utime(clip, (1, 1))
        result = faceage("video", clip, "--out", tmp_path / "out", *OPTIONS, "--json")
        films.append((clip.stat().st_size, *json.loads(result.stdout)["files"]))
    assert films[0][0] == films[1][0]
    assert films[0][1] != films[1][1]


def test_a_frame_that_is_a_dangling_link_is_named(frames, tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    for number, picture in enumerate(frames[:3]):
        Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / "3.png").symlink_to(tmp_path / "gone.png")
    result = faceage("video", folder, "--out", tmp_path / "out", *OPTIONS)
    assert result.returncode == 1
    assert "3.png" in result.stderr
    assert len(list((tmp_path / "out" / "shot_60+").iterdir())) == 3
