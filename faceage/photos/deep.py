"""Images of more than 8 bits, and the TIFF files that Pillow has no mode for."""

import io
import logging
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from faceage.errors import PhotoError


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Values of more than 8 bits, integer or float, as uint8: by their format's full range, never stretched."""
    levels = np.nan_to_num(values.astype(np.float32))
    highest = levels.max(initial=0.0)
    floating = np.issubdtype(values.dtype, np.floating)
    if floating and highest <= 1.0:
        levels *= 255.0
    elif values.dtype.itemsize == 2 and not floating:
        levels /= 257.0
    elif highest > 255.0:
        levels /= 257.0 if highest <= 65535.0 else highest / 255.0
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def deep_tiff(content: bytes, check: Callable[[int, int], Any]) -> Image.Image:
    """The first page of a TIFF file as 8-bit L or RGB: float colours, 32-bit integers, BigTIFF.

    `check(width, height)` is called before any pixel is decoded. Raises PhotoError for a kind of TIFF that is not read,
    and whatever a damaged file provokes.
    """
    import tifffile

    # It would report on stderr what the caller reports.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        check(page.imagewidth, page.imagelength)
        if page.imagedepth > 1 or page.samplesperpixel > 4 or page.photometric not in (0, 1, 2):
            raise PhotoError(f"a TIFF of a kind that is not read: {page.samplesperpixel} samples of {page.dtype}")
        ends = map(operator.add, page.dataoffsets, page.databytecounts)
        if not all(page.databytecounts) or max(ends) > len(content):
            # tifffile would fill them with zeros.
            raise ValueError("parts of the pixels are missing")
        values = page.asarray()
        if page.samplesperpixel > 1:
            values = values if page.planarconfig == 1 else np.moveaxis(values, 0, -1)
            values = values[..., :3] if page.samplesperpixel > 2 else values[..., 0]
        if values.dtype.kind not in "uif":
            raise PhotoError(f"a TIFF of a kind that is not read: samples of {values.dtype}")
        levels = values if values.dtype == np.uint8 else to_8_bits(values)
        image = Image.fromarray(255 - levels if page.photometric == 0 else levels)
        if page.iccprofile:
            image.info["icc_profile"] = page.iccprofile
        if orientation := page.tags.get("Orientation"):
            image.getexif()[ExifTags.Base.Orientation] = int(orientation.value)
    return image
