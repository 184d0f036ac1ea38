"""`faceage video` on a long clip of 720p: speed, memory, and whether a run killed twice ends with the same file.

    python tests/bench/long_film.py OUT PHOTO [PHOTO …] [--minutes 10] [--rate 10] [--age 60+]

OUT is a new folder: a clip with a shot for each photo, in motion as in film.py, at uneven times and with sound; the
film of a run that was left alone; and that of one that was killed in each of its two passes.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count, cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from film import moved
from PIL import Image

from faceage.film.clip import Clip

SIZE = 720, 1280
SOUND_RATE = 48_000
TIME_BASE = Fraction(1, 90_000)
UNEVEN = (1.0, 1.0, 0.5, 1.5, 0.9, 1.1)
"""Between frames, of the mean."""
MOTIONS = "pan", "zoom", "turn", "light", "shake"


def write_clip(path: Path, photos: list[Path], frames: int, rate: float) -> None:
    each = -(-frames // len(photos))

    def pictures() -> Iterator[np.ndarray]:
        for photo, kind in zip(photos, cycle(MOTIONS), strict=False):
            with Image.open(photo) as opened:
                scale = SIZE[0] / opened.height
                still = np.asarray(opened.convert("RGB").resize((round(opened.width * scale), SIZE[0])))
            yield from (picture for picture, _ in moved(still, kind, each, SIZE))

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(rate), options={"crf": "20", "preset": "veryfast"})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        sound = container.add_stream("aac", rate=SOUND_RATE)
        pts, heard = 0, 0
        for pixels, gap in zip(pictures(), cycle(UNEVEN), strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = pts, TIME_BASE
            container.mux(stream.encode(frame))
            pts += round(gap / rate / TIME_BASE)
            while heard < pts * TIME_BASE * SOUND_RATE:
                at = np.arange(heard, heard + 1024) / SOUND_RATE
                # A tone that rises, so that what is heard says when.
                tone = (6000 * np.sin(2 * np.pi * (200 + at) * at)).astype(np.int16)
                part = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
                part.sample_rate, part.pts = SOUND_RATE, heard
                container.mux(sound.encode(part))
                heard += 1024
        container.mux([*stream.encode(None), *sound.encode(None)])


def run(clip: Path, out: Path, age: str, killed: Callable[[], bool] = lambda: False) -> tuple[float, list[float]]:
    """Age `clip` until `killed()`; the seconds it took, and the MB in memory, each second."""
    command = ["-m", "faceage", "video", clip, "--out", out, "--ages", age, "-q"]
    started, memory = time.monotonic(), []
    process = subprocess.Popen([sys.executable, *map(str, command)])
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        memory += [int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")]
        if killed():
            process.kill()
            process.wait()
            return time.monotonic() - started, memory
        time.sleep(1)
    if process.returncode:
        raise SystemExit(f"faceage video ended with {process.returncode}")
    return time.monotonic() - started, memory


def streams(path: Path) -> tuple[list[Fraction], list[tuple[Fraction, bytes]]]:
    """The seconds of a clip's frames, and its sound's packets with theirs."""
    clip = Clip(path)
    times = [frame.pts * clip.time_base for frame in clip.frames()]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.dts is not None]
        return times, [(packet.pts * packet.time_base, bytes(packet)) for packet in packets]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--age", default="60+")
    asked = parser.parse_args()
    clip, alone, killed = (asked.out / name for name in ("clip.mp4", "alone", "killed"))
    asked.out.mkdir(parents=True)
    frames = round(asked.minutes * 60 * asked.rate)
    write_clip(clip, asked.photos, frames, asked.rate)

    seconds, memory = run(clip, alone, asked.age)
    scores: dict[str, Any] = {
        "frames": frames,
        "seconds": round(seconds),
        "frames a second": round(frames / seconds, 2),
        "CPU seconds": round(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])),
        "peak MB in each tenth of the run": [round(part.max()) for part in np.array_split(memory, 10)],
    }
    print(json.dumps(scores, indent=1), flush=True)

    def after(pattern: str) -> Callable[[], bool]:
        """Some polls after the middle one of the files `pattern` is there."""
        polls = count()
        middle = pattern.format(f"{frames // 500:05}")
        return lambda: bool(list((killed / "film").glob(middle))) and next(polls) > 2

    for pattern in ("*/found-*/{}.h5", "*/*-*/{}.nut"):
        seconds, _ = run(clip, killed, asked.age, after(pattern))
        scores.setdefault("killed after seconds", []).append(round(seconds))
    scores["went on for seconds"] = round(run(clip, killed, asked.age)[0])
    films = [next(folder.glob("*.mp4")) for folder in (alone, killed)]
    scores["same bytes"] = films[0].read_bytes() == films[1].read_bytes()
    (times, sound), (times_of_film, sound_of_film) = streams(clip), streams(films[1])
    scores["frames of the film"] = len(times_of_film)
    scores["largest difference of a frame's time"] = float(
        max(abs(a - b) for a, b in zip(times, times_of_film, strict=True))
    )
    scores["same packets of sound"] = [data for _, data in sound] == [data for _, data in sound_of_film]
    scores["largest difference of a packet's time"] = float(
        max(abs(a - b) for (a, _), (b, _) in zip(sound, sound_of_film, strict=True))
    )
    scores["bytes of the clip and of its film"] = {path.name: path.stat().st_size for path in (clip, films[1])}
    print(json.dumps(scores, indent=1))
    (asked.out / "scores.json").write_text(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
