"""A photo as its file holds it, and a changed one written in the same way: format, quality, colour space and dpi.

Nothing else is carried over: no XMP, thumbnail, comment or place, and of the EXIF only the name of the colour space.
What is written says that it was edited (`provenance`).
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from faceage.errors import PhotoError
from faceage.files import written_whole
from faceage.photos import colour
from faceage.photos.colour import GRAY, png_space, profile_of, says_adobe_rgb
from faceage.photos.decode import LIMITS, Limits, has_alpha, opened, upright
from faceage.photos.deep import to_8_bits
from faceage.photos.provenance import EDITED, with_xmp

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
    """How a file holds its pixels: text and numbers, so that a decoding process can hand it on as JSON."""

    profile: str = ""
    """The ICC profile, in base64."""
    png_space: tuple[float, ...] = ()
    """A PNG's gAMA and cHRM, as of `colour.png_space`."""
    adobe_rgb: bool = False
    """Whether the EXIF says AdobeRGB and there is no profile."""
    to_srgb: str = ""
    from_srgb: str = ""
    """Tables of `colour`."""
    dpi: tuple[float, ...] = ()
    """Across and down; empty where the file does not say."""
    tables: tuple[tuple[int, ...], ...] = ()
    """A JPEG's quantisation tables."""
    subsampling: int = 0
    """Of a JPEG's colours, as Pillow numbers it."""
    progressive: bool = False
    lossless: bool = False
    """For WebP."""
    compression: str = ""
    """A TIFF's, as Pillow calls it."""

    def in_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 sRGB of the photo's own (h, w, c) `pixels`, or of a part of them."""
        return colour.in_srgb(pixels, self.to_srgb)

    def repaint(self, pixels: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
        """Change the photo's own `pixels`, or a part of them, in place as sRGB changed: `colour.repaint`."""
        colour.repaint(pixels, before, after, self.from_srgb)


def ending_for(photo: PurePath) -> str:
    """The ending of a picture that is to be like `photo`: its own, or .png for a format that is not written.

    By the name alone, so that what is still to be written is known without opening the photo.
    """
    ending = photo.suffix.lower()
    return ending if ending in _FORMATS else ".png"


def decode_original(content: bytes, limits: Limits = LIMITS) -> tuple[np.ndarray, Encoding]:
    """The upright pixels of an image file in its own colours, (h, w, c) uint8, and its encoding.

    c is 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA; palettes become RGB, CMYK and Lab become sRGB, and
    more than 8 bits become 8. Raises PhotoError as `decode` does.
    """
    with opened(content, limits=limits) as source:
        file = source.image
        image, profile = upright(file), profile_of(file)
        if image.mode in ("CMYK", "LAB"):
            pixels, profile, says = np.asarray(colour.to_srgb(image, profile)), b"", False
        else:
            pixels, says = _in_its_colours(image), True
        pixels = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])
        gray = pixels.shape[2] < 3
        to_srgb, from_srgb = colour.tables(profile, gray)
        # A profile for other channels would change every colour.
        fits = profile[16:20] == (b"GRAY" if gray else b"RGB ")
        embedded = bool(file.info.get("icc_profile"))
        dpi = _dpi(file.info.get("dpi"))
        return pixels, Encoding(
            profile=base64.b64encode(profile).decode() if embedded and fits else "",
            png_space=png_space(file) if says and not embedded else (),
            adobe_rgb=says and not embedded and says_adobe_rgb(file),
            to_srgb=to_srgb,
            from_srgb=from_srgb,
            dpi=dpi if image.size == file.size else dpi[::-1],
            **_compression(file, content),
        )


def as_image(pixels: np.ndarray) -> Image.Image:
    """(h, w, c) uint8 `pixels` of a photo, or of a part of it, as an image; c as of `decode_original`."""
    return Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])


def save_like(image: Image.Image, encoding: Encoding, path: Path) -> None:
    """Write an `as_image` to `path`, in the format of its ending and with `encoding`, whole or not at all.

    JPEG and BMP have no alpha: it is laid on white. BMP has no colour space either: it gets sRGB, and it alone does not
    say how it was made. Raises OSError where writing fails, and PhotoError where the format cannot hold the picture.
    """
    kind = _FORMATS[path.suffix.lower()]
    gray = image.mode in GRAY
    if kind == "BMP" and encoding.to_srgb and image.mode != "LA":
        pixels = np.atleast_3d(np.asarray(image))
        image = as_image(np.concatenate([encoding.in_srgb(pixels), pixels[..., 3:]], axis=2))
    if image.mode in ("LA", "RGBA") and kind in ("JPEG", "BMP"):
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
        image = flat.convert("L" if gray else "RGB")
    options = {**_options(kind, encoding), **_colours(kind, encoding, gray)}
    if encoding.dpi:
        options["dpi"] = encoding.dpi
    with written_whole(path) as partial:
        try:
            image.save(partial, kind, **with_xmp(kind, EDITED, options))
        except (ValueError, TypeError, MemoryError, binascii.Error) as error:
            raise PhotoError(f"cannot be written as {kind}: {' '.join(str(error).split())}") from error


def _in_its_colours(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return to_8_bits(np.asarray(image))
    gray = image.mode in GRAY
    if has_alpha(image):
        # By way of RGBA, which knows what is transparent in a palette or of one shade.
        return np.asarray(image.convert("RGBA").convert("LA") if gray else image.convert("RGBA"))
    mode = "L" if gray else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _compression(file: Image.Image, content: bytes) -> dict[str, Any]:
    tables: dict[int, list[int]] = file.quantization if isinstance(file, JpegImagePlugin.JpegImageFile) else {}
    return {
        "tables": tuple(tuple(map(int, tables[key])) for key in sorted(tables)),
        # -1 is a layout without a name, or grey.
        "subsampling": max(JpegImagePlugin.get_sampling(file), 0) if tables else 0,
        "progressive": bool(file.info.get("progressive")),
        "lossless": content[8:12] == b"WEBP" and b"VP8L" in content,
        "compression": str(file.info.get("compression", "")),
    }


def _dpi(stated: Any) -> tuple[float, ...]:
    """A file's resolution, or nothing where it is none that a file can hold."""
    try:
        dpi = tuple(map(float, stated))
    except (TypeError, ValueError, ZeroDivisionError):
        return ()
    return dpi if len(dpi) == 2 and all(1 <= value < 2**16 for value in dpi) else ()


def _colours(kind: str, encoding: Encoding, gray: bool) -> dict[str, Any]:
    """What says in the written file what its colours are, by the means that the photo had, or else by a profile."""
    if kind == "BMP":
        return {}
    if encoding.profile:
        return {"icc_profile": base64.b64decode(encoding.profile)}
    if encoding.adobe_rgb and kind == "TIFF":
        # Pillow cannot write a TIFF's EXIF with a compression.
        return {"icc_profile": colour.adobe_rgb_profile()}
    if encoding.adobe_rgb:
        exif = Image.Exif()
        fields = exif.get_ifd(ExifTags.IFD.Exif)
        fields[ExifTags.Base.ColorSpace] = 65535
        fields[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: "R03"}
        return {"exif": exif.tobytes()}
    if not encoding.png_space:
        return {}
    if kind != "PNG":
        return {"icc_profile": colour.png_profile(encoding.png_space, gray)}
    gamma, *xy = encoding.png_space
    said = PngImagePlugin.PngInfo()
    said.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    said.add(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in xy)))
    return {"pnginfo": said}


def _options(kind: str, encoding: Encoding) -> dict[str, Any]:
    if kind == "JPEG":
        given: dict[str, Any] = {"quality": _QUALITY, "subsampling": encoding.subsampling}
        if encoding.tables:
            given = {"qtables": [list(table) for table in encoding.tables], "subsampling": encoding.subsampling}
        # Huffman tables of its own make a file 5% smaller and take three times as long.
        return {**given, "progressive": encoding.progressive}
    if kind == "WEBP":
        return {"lossless": True, "exact": True} if encoding.lossless else {"quality": _QUALITY}
    if kind == "TIFF":
        known = encoding.compression in _LOSSLESS_TIFF
        return {"compression": encoding.compression if known else "tiff_adobe_deflate"}
    return {}
