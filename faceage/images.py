"""Pixels: the one conversion between uint8 and the networks' range, and aligned faces as image files."""

import io

import numpy as np
from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""

_PORTRAIT_QUALITY = 95


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 0..255 of any shape → float32 -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1.0


def to_uint8(values: np.ndarray) -> np.ndarray:
    """float -1..1 of any shape → uint8 0..255, rounded and clipped."""
    return np.clip(np.rint((np.asarray(values, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def encode_portrait(pixels: np.ndarray) -> bytes:
    """(h, w, 3) uint8 as a JPEG with colours at full resolution, some 15 KB for 160 pixels, without metadata."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_PORTRAIT_QUALITY, subsampling=0)
    return file.getvalue()


def decode_portrait(content: bytes) -> np.ndarray:
    """(h, w, 3) uint8 of what `encode_portrait` wrote. Raises OSError for anything else."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return np.asarray(image.convert("RGB"))
