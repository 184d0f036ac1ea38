"""Pixels: the one conversion between uint8 and the networks' range, and writing a picture whole or not at all."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FACE_SIZE = 64
"""Side of an aligned face in pixels: what every network takes or gives."""


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 0..255 of any shape → float32 -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1.0


def to_uint8(values: np.ndarray) -> np.ndarray:
    """float -1..1 of any shape → uint8 0..255, rounded and clipped."""
    return np.clip(np.rint((np.asarray(values, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def partial_name(path: Path) -> Path:
    """Where `path` is written before it is renamed: the same folder, so that the rename is atomic.

    The name is short, since `path` may already have the longest name the file system takes, and no other thread's.
    """
    return path.with_name(f".{os.getpid()}-{threading.get_native_id()}{_partial_ending(path)}")


def _partial_ending(path: Path) -> str:
    # Keras writes weights under no other ending than theirs.
    return ".partial" + (".weights.h5" if path.name.endswith(".weights.h5") else path.suffix)


def remove_partials(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder` and below, where nobody else may be writing."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and ".partial" in name:
                Path(place, name).unlink()


def remove_partials_of(path: Path) -> None:
    """Remove what a killed process left half-written of `path`, where nobody else writes files with its ending."""
    for partial in path.parent.glob(f".*{_partial_ending(path)}"):
        partial.unlink()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give the name to write to; the file takes the name `path` only if the block ends well, and when it is on disk."""
    partial = partial_name(path)
    try:
        yield partial
        # Renamed before, it would be there and empty after a power cut.
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def save_png(image: Image.Image, path: Path) -> None:
    """Write `image` as a PNG without any metadata, under a temporary name first: a file that exists is complete."""
    with written_whole(path) as partial:
        # The usual level takes five times as long for files smaller by a tenth.
        _clean(image).save(partial, format="PNG", compress_level=2)


def save_webp(image: Image.Image, path: Path) -> None:
    """Write `image` as a WebP of the same pixels, as `save_png` does."""
    with written_whole(path) as partial:
        _clean(image).save(partial, format="WEBP", lossless=True)


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int) -> None:
    """Write `frames` as an endless GIF or WebP, by the ending of `path`, each shown for so long."""
    first, *others = map(_clean, frames)
    kind = path.suffix[1:].upper()
    options: dict[str, Any] = {"quality": 92} if kind == "WEBP" else {}
    with written_whole(path) as partial:
        first.save(partial, kind, save_all=True, append_images=others, duration=milliseconds, loop=0, **options)


def _clean(image: Image.Image) -> Image.Image:
    clean = image.copy()
    # From where Pillow would carry the ICC profile or EXIF over.
    clean.info = {}
    return clean
