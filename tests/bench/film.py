"""Judge `faceage video` on clips made from stills by known motion: flicker, years and identity, beside the stills.

    python tests/bench/film.py OUT PHOTO [PHOTO …] [--judge JUDGE] [--motions pan,zoom,turn,light,shake] [--of-each 2]

OUT is a new folder: a clip with a shot for each photo and each of its motions (--of-each of them, in turn), its aged
film, a picture of some frames of each shot, and scores.json.
Flicker is how much a face, cut out where it is known to be, changes from frame to frame: in the mean over pixels, of
the aged film and of the clip. Years are what the aged film adds to the clip, and what a clip of the aged stills, as
`faceage batch --paste` writes them, by the same motion, adds to it. Accepted are the aged frames that JUDGE, a
recogniser as of `faceage evaluate`, takes for the still's person: of a shot, and of the worst and the best second of
it.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from faceage.evaluation.published import AgeGenderJudge
from faceage.evaluation.recognizers import Judge, open_judge
from faceage.faces.align import align, face_transform, resized
from faceage.faces.detect import Detector
from faceage.film.clip import Clip
from faceage.sizes import PORTRAIT_SIZE

RATE = 25
ACCEPTED = 0.33
"""Cosine at which MobileFaceNet tells the people of lfw10 apart best."""
MARGIN = 48
"""Pixels around the still, so that motion shows no border."""


def motion(kind: str, part: float, middle: np.ndarray) -> tuple[np.ndarray, float]:
    """(2, 3) from the still to the frame at `part`, 0..1, of the clip, and the factor of its light."""
    swing = math.sin(2 * math.pi * part)
    scale, angle, shift, light = 1.0, 0.0, np.zeros(2), 1.0
    if kind == "pan":
        shift = np.array([30 * swing, 8 * math.sin(5 * part)])
    elif kind == "zoom":
        scale = 1 + 0.2 * (1 - math.cos(2 * math.pi * part)) / 2
    elif kind == "turn":
        angle = math.radians(12) * swing
    elif kind == "shake":
        shift = 4 * np.array([math.sin(43 * part), math.cos(61 * part)])
    elif kind == "light":
        light = 1 - 0.25 * (1 - math.cos(2 * math.pi * part)) / 2
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.hstack([turn, (middle + shift - turn @ middle)[:, None]]), light


def moved(still: np.ndarray, kind: str, count: int, size: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`count` frames, (height, width) of `size`, of `still` in motion, each with the (2, 3) from still to frame."""
    height, width = size
    padded = Image.fromarray(np.pad(still, [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)], "reflect"))
    noise = np.random.default_rng(0)
    centre = np.array([width - still.shape[1], height - still.shape[0]]) / 2
    for number in range(count):
        forth, light = motion(kind, number / count, np.array(still.shape[1::-1]) / 2)
        forth[:, 2] += centre
        back = np.linalg.inv(np.vstack([forth, [0, 0, 1]]))[:2]
        back[:, 2] += MARGIN
        picture = padded.transform((width, height), Image.Transform.AFFINE, back.ravel(), Image.Resampling.BICUBIC)
        # What a camera adds.
        shot = np.asarray(picture, np.float32) * light + noise.normal(0, 2, (height, width, 1))
        yield np.clip(np.rint(shot), 0, 255).astype(np.uint8), forth


def write_clip(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "16"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def face_in(frame: np.ndarray, forth: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(s, s, 3): the face of a frame where `own`, its place in the still, has moved to."""
    place = own @ np.linalg.inv(np.vstack([forth, [0, 0, 1]]))
    return align(frame, resized(place, PORTRAIT_SIZE), PORTRAIT_SIZE)


def flicker(faces: np.ndarray) -> float:
    """Mean absolute change from frame to frame, in grey levels."""
    return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(faces[1:], faces, strict=False)]))


def run(*words: object) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "faceage", *map(str, words), "-q"], check=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--judge")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--age", default="60+")
    parser.add_argument("--motions", default="pan,zoom,turn,light")
    parser.add_argument("--of-each", type=int, help="motions of each photo  [default: all]")
    asked = parser.parse_args()
    stills, clip = asked.out / "stills", asked.out / "clip.mp4"
    stills.mkdir(parents=True)
    for photo in asked.photos:
        Image.open(photo).convert("RGB").save(stills / f"{photo.stem}.png")
    run("batch", stills, "--out", asked.out / "batch", "--ages", asked.age, "--paste", "--no-report")

    photos = {photo.stem: np.asarray(Image.open(stills / f"{photo.stem}.png")) for photo in asked.photos}
    size = tuple(2 * -(-max(photo.shape[axis] for photo in photos.values()) // 2) for axis in (0, 1))
    kinds = asked.motions.split(",")
    of_each = asked.of_each or len(kinds)
    shots = [(name, kinds[(i + j) % len(kinds)]) for i, name in enumerate(photos) for j in range(of_each)]
    each, forths = round(asked.seconds * RATE), list[np.ndarray]()

    def frames(of: dict[str, np.ndarray], known: list[np.ndarray]) -> Iterator[np.ndarray]:
        for name, kind in shots:
            for pixels, forth in moved(of[name], kind, each, size):
                known.append(forth)
                yield pixels

    pasted = {name: np.asarray(Image.open(next(asked.out.rglob(f"pasted/**/{name}.png_*")))) for name in photos}
    aged_stills = asked.out / "aged_stills.mp4"
    write_clip(aged_stills, frames(pasted, []), size)
    write_clip(clip, frames(photos, forths), size)
    seconds = run("video", clip, "--out", asked.out / "aged", "--ages", asked.age, "--faces", "largest")
    print(f"{len(forths) / seconds:.2f} frames a second, starting and optimising included")
    detector = Detector()
    own = {name: face_transform(detector.detect([photo])[0][0].landmarks) for name, photo in photos.items()}
    films = [
        np.stack([
            face_in(frame.pixels, forth, own[shots[number // each][0]])
            for number, (frame, forth) in enumerate(zip(Clip(path).frames(), forths, strict=True))
        ])
        for path in (clip, next((asked.out / "aged").glob("*.mp4")), aged_stills)
    ]  # fmt: skip
    judges = AgeGenderJudge(), open_judge(asked.judge) if asked.judge else None
    scores = {}
    for number, (name, kind) in enumerate(shots):
        before, after, of_still = (film[number * each : (number + 1) * each] for film in films)
        still = face_in(photos[name], np.eye(2, 3), own[name])
        scores[f"{name} {kind}"] = score(before, after, of_still, still, *judges)
        print(name, kind, json.dumps(scores[f"{name} {kind}"]), flush=True)
        chosen = np.linspace(0, each - 1, 6).astype(int)
        sheet = np.vstack([np.hstack(faces[chosen]) for faces in (before, after, of_still)])
        Image.fromarray(sheet).save(asked.out / f"{name}-{kind}.png")
    (asked.out / "scores.json").write_text(json.dumps(scores, indent=1))


def score(
    before: np.ndarray,
    after: np.ndarray,
    of_still: np.ndarray,
    still: np.ndarray,
    ages: AgeGenderJudge,
    recognizer: Judge | None,
) -> dict[str, Any]:
    """Figures of a shot's faces, each (n, s, s, 3): as they were, aged, and of the aged still; `still` (s, s, 3)."""
    years = [ages.ages(faces) for faces in (before, after, of_still)]
    found = {
        "flicker": [round(flicker(faces), 3) for faces in (before, after)],
        "flicker_ratio": round(flicker(after) / flicker(before), 3),
        "years_added": round(float((years[1] - years[0]).mean()), 1),
        "years_added_still": round(float((years[2] - years[0]).mean()), 1),
        "years_std": round(float(years[1].std()), 2),
    }
    if recognizer is not None:
        distance = np.linalg.norm(recognizer.embed(after) - recognizer.embed(still[None]), axis=1)
        cosine = 1 - distance**2 / 2
        found["cosine"] = [round(float(value), 3) for value in (cosine.min(), cosine.mean(), cosine.max())]
        found["accepted"] = round(float((cosine > ACCEPTED).mean()), 3)
        of_seconds = [float((part > ACCEPTED).mean()) for part in np.array_split(cosine, -(-len(cosine) // RATE))]
        found["accepted, of a second"] = [round(value, 3) for value in (min(of_seconds), max(of_seconds))]
    return found


if __name__ == "__main__":
    main()
