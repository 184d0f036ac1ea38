"""Files that are not quite right, and show a good photo all the same: odd extras in a PNG, and a missing end."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"

MOST_TEXT = 2**24
"""Bytes, unpacked, of a profile or of XMP in a PNG; what is larger is left out, as it may be a bomb."""

_NEEDED = {b"tRNS": 1, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"iCCP": 3, b"eXIf": 4, b"pHYs": 9}
_NEEDED |= {b"iTXt": 22, b"acTL": 8, b"fcTL": 26, b"fdAT": 4}
"""Ancillary chunks that say something about the pixels, or how many pictures there are, and their fewest bytes."""

_XMP = b"XML:com.adobe.xmp\0"

_END_OF_JPEG = b"\xff\xd9"

_RESCUED = ("JPEG", "MPO", "PNG", "TIFF", "BMP")
"""Formats whose rows are decoded one after the other onto an image that is there before."""

_TOLERANCE = 8.0
"""Mean levels of a row: what is missing of a progressive JPEG's last scans changes a row by less, noise by far more."""


def without_extras(content: bytes) -> bytes:
    """A PNG without its texts, and with right checksums for what else Pillow would refuse it for."""
    parts, at = [PNG], len(PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if at + 12 + length > len(content):
            break
        if not kind[:1].islower():
            parts.append(content[at : at + 12 + length])
        elif _is_needed(kind, data):
            parts.append(struct.pack(">I", length) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
        at += 12 + length
    return b"".join([*parts, content[at:]])


def _is_needed(kind: bytes, data: bytes) -> bool:
    if kind == b"iTXt" and not data.startswith(_XMP):
        return False
    if len(data) < _NEEDED.get(kind, len(data) + 1):
        return False
    packed = b""
    if kind == b"iCCP":
        _, _, rest = data.partition(b"\0")
        if rest[:1] != b"\0":
            return False
        packed = rest[1:]
    elif kind == b"iTXt" and data[len(_XMP)]:
        # After the flag and the method, two texts that end with a zero each.
        packed = data[len(_XMP) + 2 :].split(b"\0", 2)[-1]
    elif len(data) > MOST_TEXT:
        return kind == b"fdAT"
    try:
        return not packed or len(zlib.decompressobj().decompress(packed, MOST_TEXT + 1)) <= MOST_TEXT
    except zlib.error:
        return False


def rescue(content: bytes, start: Callable[[bytes], Image.Image]) -> tuple[Image.Image, float]:
    """The image of a file whose decoding fails, and the share of its rows that are there.

    `start` opens an image and decodes no pixel yet. It is decoded twice, with other values in place of what is missing:
    rows that are equal in both are there.
    """
    image = start(content)
    if image.format not in _RESCUED:
        return image, 0.0
    jpeg = content.startswith(b"\xff\xd8")
    if jpeg:
        # libjpeg makes grey of what a file ends before, and noise of what is none of its data.
        noise = np.random.default_rng(0).integers(0, 255, len(content), np.uint8).tobytes()
        # A byte 255 would make a marker of the next one.
        images = [start(content.rstrip(b"\xff") + more + _END_OF_JPEG) for more in (b"", noise)]
        for image in images:
            image.load()
    else:
        images = [_loaded_onto(start(content), level) for level in (0, 255)]
    first, second = map(np.asarray, images)
    rows = np.array([np.abs(a.astype(float) - b).mean() < _TOLERANCE for a, b in zip(first, second, strict=True)])
    # The noise, too, ends somewhere.
    there = rows.argmin() if jpeg and not rows.all() else rows.sum()
    return images[0], float(there / len(rows))


def _loaded_onto(image: Image.Image, level: int) -> Image.Image:
    """The image with what can be decoded of it, on a ground of this level."""
    image.im = Image.new(
        image.mode, image.size, level if len(image.getbands()) == 1 else (level,) * len(image.getbands())
    ).im
    try:
        image.load()
    except Exception:
        # What was decoded before is there; nothing is decoded again.
        image.tile = []  # type: ignore[attr-defined]
    return image
