"""Colour spaces: what a file says its values mean, and the way to sRGB and back.

Everything that looks at a photo gets sRGB; a photo that is written again keeps its own colours. Profiles come from
strangers, so only decoding processes open them: they hand on a table for each way, uint8 in base64. It holds
17×17×17 colours, red fastest, or 256 greys, and is empty where the values are sRGB.
"""

import base64
import io
import struct
from functools import cache

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFilter

_NODES = 17
"""Nodes a side of a table for colours: with linear interpolation the error stays below 1 of 255 for RGB spaces."""

_NEARLY = 2
"""Levels by which a profile may differ from sRGB and count as sRGB: the makers of sRGB profiles differ by as much."""

GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "F")
"""Pillow's modes of grey images."""

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""CIE XYZ to the cone responses that ICC profiles adapt the white in."""

_SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""White, red, green and blue, x and y each, in the order of PNG's cHRM."""


def profile_of(image: Image.Image) -> bytes:
    """An ICC profile for what an opened file says about its colours, or nothing where it says nothing: sRGB."""
    if profile := image.info.get("icc_profile"):
        return bytes(profile)
    if space := png_space(image):
        return png_profile(space, gray=image.mode in GRAY)
    return adobe_rgb_profile() if says_adobe_rgb(image) else b""


def png_space(image: Image.Image) -> tuple[float, ...]:
    """What a PNG's gAMA and cHRM say: gamma, and x and y of white, red, green and blue; empty where it is sRGB."""
    if not image.info.get("gamma") or "srgb" in image.info:
        return ()
    gamma = float(image.info["gamma"])
    xy = tuple(map(float, image.info.get("chromaticity", _SRGB_XY)))
    # Writers that do not know the sRGB chunk say this of sRGB.
    if abs(gamma - 1 / 2.2) < 0.001 and np.allclose(xy, _SRGB_XY, atol=0.002):
        return ()
    try:
        rgb_profile(xy, 1 / gamma)
    except (ValueError, ZeroDivisionError, struct.error):
        return ()
    return gamma, *xy


def png_profile(space: tuple[float, ...], gray: bool) -> bytes:
    """An ICC profile that says what `png_space` does."""
    gamma, *xy = space
    return gray_profile(1 / gamma) if gray else rgb_profile(tuple(xy), 1 / gamma)


def adobe_rgb_profile() -> bytes:
    """An ICC profile of AdobeRGB (1998)."""
    return rgb_profile((0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256)


def says_adobe_rgb(image: Image.Image) -> bool:
    """Whether the EXIF names AdobeRGB, as cameras do that embed no profile (DCF 2.0: uncalibrated, and R03)."""
    try:
        exif = image.getexif()
        interoperability = str(exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex, ""))
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
    except Exception:
        # Garbage in EXIF says nothing about the colours.
        return False
    return space == 2 or (space != 1 and interoperability.startswith("R03"))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image without alpha as L where it is grey, else as RGB, in sRGB. A profile for other channels is ignored."""
    gray = image.mode in ("1", "L")
    mode = "L" if gray else "CMYK" if image.mode == "CMYK" else "RGB"
    plain = image if image.mode == mode else image.convert(mode)
    kind = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}[mode]
    if profile[16:20] == kind and (transform := _transform(profile, mode)):
        converted = _applied(plain, transform)
        # The three channels differ by rounding at most.
        return converted.getchannel("G") if gray else converted
    return plain.convert("RGB") if mode == "CMYK" else plain


def tables(profile: bytes, gray: bool) -> tuple[str, str]:
    """The tables to sRGB and back for a profile's colours; empty too where the profile cannot be used."""
    mode = "L" if gray else "RGB"
    if profile[16:20] != (b"GRAY" if gray else b"RGB ") or not (there := _transform(profile, mode)):
        return "", ""
    if gray:
        levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        shades = np.asarray(_applied(levels, there).getchannel("G"))[0]
        rising = np.maximum.accumulate(shades.astype(float))
        back = np.rint(np.interp(np.arange(256), rising, np.arange(256))).astype(np.uint8)
        return _text(shades), _text(back)
    try:
        back_again = ImageCms.buildTransform(_srgb(), _opened(profile), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return "", ""
    to_srgb, from_srgb = (_text(np.asarray(_applied(_cube(), way))) for way in (there, back_again))
    return to_srgb, from_srgb


def in_srgb(pixels: np.ndarray, to_srgb: str) -> np.ndarray:
    """(h, w, 3) uint8 sRGB of (h, w, c) uint8 `pixels` in a photo's own colours, c as of `decode_original`."""
    colours = pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., :1]
    return np.broadcast_to(_through(colours, to_srgb), (*pixels.shape[:2], 3)).copy()


def repaint(pixels: np.ndarray, before: np.ndarray, after: np.ndarray, from_srgb: str) -> None:
    """Change (h, w, c) uint8 `pixels`, in a photo's own colours, in place as sRGB changed from `before` to `after`.

    Both are (h, w, 3) uint8. Pixels that are equal in both stay as they are, bit for bit, and so does alpha; colours
    that sRGB cannot hold keep what they have beyond it, as the difference is added. Grey pixels take the luma.
    """
    if pixels.shape[2] > 2 and not from_srgb:
        pixels[..., :3] = after
        return
    channels = 3 if pixels.shape[2] > 2 else 1
    old, new = before, after
    if channels == 1:
        old, new = (np.asarray(Image.fromarray(shown).convert("L"))[..., None] for shown in (before, after))
    difference = _through(new, from_srgb).astype(np.int16) - _through(old, from_srgb)
    pixels[..., :channels] = np.clip(pixels[..., :channels] + difference, 0, 255)


def rgb_profile(xy: tuple[float, ...], gamma: float) -> bytes:
    """An ICC profile of an RGB space: white, red, green and blue (x, y each), and one exponent for all channels.

    Raises ValueError for numbers that are no colour space.
    """
    points = np.array(xy, float).reshape(4, 2)
    if not (np.isfinite(points).all() and (points[:, 1] > 0).all()):
        raise ValueError("no colour space")
    white, *primaries = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points)
    columns = np.stack(primaries, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("no colour space")
    columns = columns * np.linalg.solve(columns, white)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adapted = np.linalg.solve(_BRADFORD, cones @ _BRADFORD @ columns)
    colorants = {name: _xyz(adapted[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", colorants | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def gray_profile(gamma: float) -> bytes:
    """An ICC profile of greys with that exponent. Raises ValueError for one that is out of all bounds."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def _profile(space: bytes, values: dict[bytes, bytes]) -> bytes:
    values = {**values, b"wtpt": _xyz(_D50)}
    start = 132 + 12 * len(values)
    directory, data = struct.pack(">I", len(values)), b""
    for name, value in values.items():
        directory += name + struct.pack(">II", start + len(data), len(value))
        data += value
    parts = (start + len(data), 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    return struct.pack(">I4xI4s4s4s12x4s28x", *parts) + _xyz(_D50)[8:] + bytes(48) + directory + data


def _curve(gamma: float) -> bytes:
    if not 0.2 < gamma < 6:
        raise ValueError("no colour space")
    return b"curv" + struct.pack(">4xIHxx", 1, round(gamma * 256))


def _xyz(values: np.ndarray) -> bytes:
    """In ICC's s15Fixed16 numbers."""
    return b"XYZ " + struct.pack(">4x3i", *(round(float(value) * 65536) for value in values))


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None, "only a transform in place gives none"
    return converted


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile's `mode` to RGB in sRGB; None where it is sRGB itself, or unusable."""
    try:
        transform = ImageCms.buildTransform(_opened(profile), _srgb(), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if mode == "RGB":
        cube = _cube()
        difference = np.asarray(_applied(cube, transform)).astype(int) - np.asarray(cube)
        if np.abs(difference).max() <= _NEARLY:
            return None
    return transform


@cache
def _cube() -> Image.Image:
    """The nodes of a table as an image: red fastest, then green, then blue."""
    levels = np.rint(np.linspace(0, 255, _NODES)).astype(np.uint8)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    return Image.fromarray(np.stack([red, green, blue], axis=-1).reshape(_NODES**2, _NODES, 3))


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode()


def _through(pixels: np.ndarray, table: str) -> np.ndarray:
    """(h, w, 1 or 3) uint8 through a table, or as they are where it is empty."""
    if not table or not pixels.size:
        return pixels
    values = np.frombuffer(base64.b64decode(table), np.uint8)
    if pixels.shape[2] == 1:
        return values[pixels]
    lookup = ImageFilter.Color3DLUT(_NODES, (values / 255.0).tolist())
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).filter(lookup))
