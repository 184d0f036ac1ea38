"""A photo as its file holds it, and a changed one written in the same way: format, quality and colour profile.

Nothing else is carried over: no EXIF, XMP, thumbnail, comment or place.
"""

import base64
import binascii
import io
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin

from faceage.errors import PhotoError
from faceage.files import written_whole
from faceage.photos.decode import LIMITS, Limits, deep_gray_to_8_bits, has_alpha, opened, upright

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate")
_QUALITY = 95
"""Of JPEG and WebP where the photo does not say its own: nearly nothing is lost."""


@dataclass(frozen=True)
class Encoding:
    """How a file holds its pixels.

    `profile` is its ICC profile in base64; `tables` a JPEG's quantisation tables, `subsampling` and `progressive` the
    other things that decide what it keeps; `lossless` a WebP's kind and `compression` a TIFF's. All of it is text and
    numbers, so that a decoding process can say it as JSON.
    """

    profile: str = ""
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = 0
    progressive: bool = False
    lossless: bool = False
    compression: str = ""


def ending_for(photo: PurePath) -> str:
    """The ending of a picture that is to be like `photo`: its own, or .png for a format that is not written.

    By the name alone, so that what is still to be written is known without opening the photo.
    """
    ending = photo.suffix.lower()
    return ending if ending in _FORMATS else ".png"


def decode_original(content: bytes, limits: Limits = LIMITS) -> tuple[np.ndarray, Encoding]:
    """The upright pixels of an image file in the colours that it holds, (h, w, c) uint8, and its encoding.

    c is 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA; palettes become RGB, CMYK becomes sRGB, and more than
    8 bits become 8. Opaque pixels are those of `decode`, but for CMYK with a profile. Raises PhotoError as that does.
    """
    with opened(content, limits=limits) as (file, _):
        image, profile = upright(file), file.info.get("icc_profile") or b""
        if image.mode == "CMYK":
            pixels, profile = _cmyk_to_srgb(image, profile)
        else:
            pixels = _in_its_colours(image)
        pixels = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])
        # A profile for other channels would change every colour.
        if profile[16:20] != (b"GRAY" if pixels.shape[2] < 3 else b"RGB "):
            profile = b""
        return pixels, _encoding(file, content, profile)


def save_like(pixels: np.ndarray, encoding: Encoding, path: Path) -> None:
    """Write (h, w, c) uint8 `pixels` to `path`, in the format of its ending and with `encoding`, whole or not at all.

    JPEG and BMP have no alpha: it is laid on white. Raises OSError where writing fails, and PhotoError where the format
    cannot hold the picture.
    """
    kind = _FORMATS[path.suffix.lower()]
    image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
    if pixels.shape[2] in (2, 4) and kind in ("JPEG", "BMP"):
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
        image = flat.convert("L" if pixels.shape[2] == 2 else "RGB")
    options = _options(kind, encoding)
    if encoding.profile and kind != "BMP":
        options["icc_profile"] = base64.b64decode(encoding.profile)
    with written_whole(path) as partial:
        try:
            image.save(partial, kind, **options)
        except (ValueError, TypeError, MemoryError, binascii.Error) as error:
            raise PhotoError(f"cannot be written as {kind}: {' '.join(str(error).split())}") from error


def _in_its_colours(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return deep_gray_to_8_bits(np.asarray(image))
    gray = image.mode in ("1", "L", "LA", "La")
    if has_alpha(image):
        # By way of RGBA, which knows what is transparent in a palette or of one shade.
        return np.asarray(image.convert("RGBA").convert("LA") if gray else image.convert("RGBA"))
    return np.asarray(image.convert("L" if gray else "RGB"))


def _cmyk_to_srgb(image: Image.Image, profile: bytes) -> tuple[np.ndarray, bytes]:
    """RGB for any screen, and the profile that says so; what `decode` makes of it where it has no profile."""
    try:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return np.asarray(ImageCms.profileToProfile(image, inks, srgb, outputMode="RGB")), srgb.tobytes()
    except (ImageCms.PyCMSError, OSError):
        return np.asarray(image.convert("RGB")), b""


def _encoding(file: Image.Image, content: bytes, profile: bytes) -> Encoding:
    tables: dict[int, list[int]] = file.quantization if isinstance(file, JpegImagePlugin.JpegImageFile) else {}
    return Encoding(
        profile=base64.b64encode(profile).decode(),
        tables=tuple(tuple(map(int, tables[key])) for key in sorted(tables)),
        # -1 is a layout without a name, or grey.
        subsampling=max(JpegImagePlugin.get_sampling(file), 0) if tables else 0,
        progressive=bool(file.info.get("progressive")),
        lossless=content[8:12] == b"WEBP" and b"VP8L" in content,
        compression=str(file.info.get("compression", "")),
    )


def _options(kind: str, encoding: Encoding) -> dict[str, Any]:
    if kind == "JPEG":
        given: dict[str, Any] = {"quality": _QUALITY, "subsampling": encoding.subsampling}
        if encoding.tables:
            given = {"qtables": [list(table) for table in encoding.tables], "subsampling": encoding.subsampling}
        return {**given, "progressive": encoding.progressive, "optimize": True}
    if kind == "WEBP":
        return {"lossless": True, "exact": True} if encoding.lossless else {"quality": _QUALITY}
    if kind == "TIFF":
        known = encoding.compression in _LOSSLESS_TIFF
        return {"compression": encoding.compression if known else "tiff_adobe_deflate"}
    return {}
