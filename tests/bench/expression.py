"""Look at `faceage video` on a face whose expression changes: a clip that morphs between photos of one person.

    python tests/bench/expression.py OUT PHOTO PHOTO [PHOTO …] [--seconds 1.5] [--age 60+]

OUT is a new folder: the clip, its aged film, and frames.png with both, frame by frame. PHOTOs are of one size.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from film import RATE, write_clip
from PIL import Image
from skimage.transform import PiecewiseAffineTransform, warp

from faceage.faces.align import align, face_transform, resized
from faceage.faces.detect import Detector
from faceage.film.clip import Clip
from faceage.sizes import PORTRAIT_SIZE

_SHOWN = 10


def morphed(photos: list[np.ndarray], landmarks: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """`count` frames on the way from each photo to the next one, all points of a face on straight lines."""
    height, width = photos[0].shape[:2]
    border = np.array([[x * width, y * height] for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)])
    points = [np.vstack([of_photo, border]) for of_photo in landmarks]
    for i in range(len(photos) - 1):
        for part in np.linspace(0, 1, count, endpoint=False):
            between = (1 - part) * points[i] + part * points[i + 1]
            mixed = np.zeros(photos[0].shape)
            for photo, own, share in ((photos[i], points[i], 1 - part), (photos[i + 1], points[i + 1], part)):
                transform = PiecewiseAffineTransform.from_estimate(between, own)
                mixed += share * warp(photo, transform, mode="edge")
            yield np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=1.5, help="from one photo to the next")
    parser.add_argument("--age", default="60+")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    detector, clip = Detector(), asked.out / "clip.mp4"
    photos = [np.asarray(Image.open(photo).convert("RGB")) for photo in asked.photos]
    landmarks = [found[0].landmarks for found in detector.detect(photos)]
    write_clip(clip, morphed(photos, landmarks, round(asked.seconds * RATE)), photos[0].shape[:2])
    words = ["video", clip, "--out", asked.out / "aged", "--ages", asked.age, "--faces", "largest", "-q"]
    subprocess.run([sys.executable, "-m", "faceage", *map(str, words)], check=True)
    rows = []
    for path in (clip, next((asked.out / "aged").glob("*.mp4"))):
        frames = [frame.pixels for frame in Clip(path).frames()]
        frames = [frames[i] for i in np.linspace(0, len(frames) - 1, 2 * _SHOWN).astype(int)]
        if not rows:
            places = [resized(face_transform(found[0].landmarks), PORTRAIT_SIZE) for found in detector.detect(frames)]
        faces = [align(frame, place, PORTRAIT_SIZE) for frame, place in zip(frames, places, strict=True)]
        rows.append([np.hstack(faces[:_SHOWN]), np.hstack(faces[_SHOWN:])])
    Image.fromarray(np.vstack([row for pair in zip(*rows, strict=True) for row in pair])).save(asked.out / "frames.png")


if __name__ == "__main__":
    main()
