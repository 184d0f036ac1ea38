"""Pictures written whole or not at all, without the metadata of what they were made from.

Aged ones say what they are: `xmp` is one of the packets of `provenance`, or b"" for none.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from faceage.errors import UsageError
from faceage.files import written_whole
from faceage.photos.provenance import gif_with_xmp, with_xmp

_LARGEST_WEBP = 16_383
"""Pixels of a side."""


def check_webp(size: tuple[int, int], what: str) -> None:
    """Raise UsageError where `what`, pictures of this width and height, are larger than a WebP can be."""
    if max(size) > _LARGEST_WEBP:
        width, height = size
        hint = "take another type of file, a smaller --scale or fewer --ages"
        raise UsageError(f"{what} of {width}×{height} pixels are larger than a WebP can be", hint)


def save_png(image: Image.Image, path: Path, xmp: bytes = b"", dpi: int | None = None) -> None:
    """Write `image` as a PNG without other metadata, under a temporary name first: a file that exists is complete.

    `dpi` says how many pixels an inch of a page has.
    """
    resolution = {} if dpi is None else {"dpi": (dpi, dpi)}
    with written_whole(path) as partial:
        # The usual level takes five times as long for files smaller by a tenth.
        _clean(image).save(partial, **_options("PNG", xmp, compress_level=2, **resolution))


def save_webp(image: Image.Image, path: Path, xmp: bytes = b"") -> None:
    """Write `image` as a WebP of the same pixels, as `save_png` does."""
    with written_whole(path) as partial:
        _clean(image).save(partial, **_options("WEBP", xmp, lossless=True))


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int, xmp: bytes = b"") -> None:
    """Write `frames` as an endless GIF or WebP, by the ending of `path`, each shown for so long."""
    first, *others = map(_clean, frames)
    kind = path.suffix[1:].upper()
    options = _options(kind, xmp, save_all=True, append_images=others, duration=milliseconds, loop=0)
    if kind == "WEBP":
        options["quality"] = 92
    file = io.BytesIO()
    first.save(file, **options)
    content = file.getvalue()
    with written_whole(path) as partial:
        partial.write_bytes(gif_with_xmp(content, xmp) if kind == "GIF" and xmp else content)


def _options(kind: str, xmp: bytes, **options: Any) -> dict[str, Any]:
    return {"format": kind, **(with_xmp(kind, xmp, options) if xmp else options)}


def _clean(image: Image.Image) -> Image.Image:
    clean = image.copy()
    # From where Pillow would carry the ICC profile or EXIF over.
    clean.info = {}
    return clean
