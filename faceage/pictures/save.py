"""Pictures written whole or not at all, without the metadata of what they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from faceage.files import written_whole


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
