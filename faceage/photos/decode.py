"""From the bytes of an image file to upright 8-bit sRGB pixels, or to one sentence that says why not."""

import contextlib
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from faceage.errors import PhotoError
from faceage.photos import repair
from faceage.photos.colour import GRAY, profile_of, to_srgb
from faceage.photos.deep import deep_tiff, to_8_bits

MAX_BYTES = 2_000_000_000
"""Larger files are not read at all: it is 8 bytes a pixel at the default limit."""

MIN_SIDE = 16
"""Pixels. A face of fewer cannot be found, let alone aligned."""

ENOUGH = 0.9
"""Share of its rows with which a damaged photo is used."""

_FIRST_ONLY = "only the first of its pictures is used"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what turns the pixels upright."""

# Every photo's size is checked here against MAX_PIXELS; Pillow's warning at half of it would only clutter stderr.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

# Larger ones are taken out beforehand; Pillow's own limit refuses photos with a printer's profile.
PngImagePlugin.MAX_TEXT_CHUNK = repair.MOST_TEXT

with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

# No other of Pillow's formats: its EPS plugin, for one, would hand a stranger's file to Ghostscript.
Image.init()
_FORMATS = [name for name in ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF") if name in Image.OPEN]


def read_photo(path: Path) -> bytes:
    """The file's bytes. Raises PhotoError for what is no readable, non-empty regular file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            # Opening a device may have effects of its own.
            raise PhotoError("not a regular file")
        # Without waiting, should a FIFO have taken its place.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PhotoError("not a regular file")
            if status.st_size == 0:
                raise PhotoError("the file is empty")
            if status.st_size > MAX_BYTES:
                raise PhotoError(f"{status.st_size / 1e9:.1f} GB: over the limit of {MAX_BYTES / 1e9:.0f} GB")
            content = file.read(status.st_size + 1)
            after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns) or len(content) != after.st_size:
            raise PhotoError("it changed while it was read")
        return content
    except OSError as error:
        raise PhotoError(f"cannot be read: {error.strerror or error}") from error


def stamp(path: Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in ns, which tell whether it has changed; zeros where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def fingerprint(content: bytes) -> str:
    """SHA-256 of a photo's bytes, as hex."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Limits:
    """What reading one photo may cost. `LIMITS` are the defaults."""

    pixels: int = 250_000_000
    """Decoded pixels; more are refused by the header. The largest phone cameras have 200 million."""
    seconds: float = 60.0
    """For reading and decoding."""
    memory: int = 6 * 2**30
    """Bytes of address space of a decoding process, about twice what the largest allowed photo needs."""


LIMITS = Limits()


@dataclass(frozen=True)
class Reduction:
    """How much smaller a photo may be decoded: at most `factor` times, its longer side no less than `longest` pixels.

    Nor has it fewer than `area` pixels in all.
    JPEG can be decoded 2, 4 or 8 times smaller in a fraction of the time, each pixel the mean of as many.
    """

    longest: int
    factor: int = 8
    area: int = 0

    def of(self, width: int, height: int) -> int:
        """The factor, 1, 2, 4 or 8, for a photo of this size: one that divides both sides, so that no edge is moved."""
        for factor in (8, 4, 2):
            if (
                factor <= self.factor
                and max(width, height) >= factor * self.longest
                and width * height >= factor**2 * self.area
                and min(width, height) >= factor * MIN_SIDE
                and width % factor == height % factor == 0
            ):
                return factor
        return 1


NOT_REDUCED = Reduction(longest=1, factor=1)


@dataclass(frozen=True)
class Decoded:
    """`pixels` (h, w, 3) uint8, `factor` times smaller than the photo; `warning` says what is not quite right."""

    pixels: np.ndarray
    factor: int = 1
    warning: str = ""


@dataclass(frozen=True)
class Opened:
    """A loaded image, the factor by which it is smaller than the file says, and what is not quite right with it."""

    image: Image.Image
    factor: int
    warning: str


def decode(content: bytes) -> np.ndarray:
    """Decode JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIF into (h, w, 3) uint8 sRGB, upright by EXIF orientation.

    The first frame of an animation is taken, transparency is laid on white, more than 8 bits are scaled to 8. Raises
    PhotoError for anything else.
    """
    return decode_photo(content).pixels


def decode_photo(content: bytes, reduction: Reduction = NOT_REDUCED, limits: Limits = LIMITS) -> Decoded:
    """As `decode`, by a factor that `reduction` allows and the format can be decoded smaller by."""
    with opened(content, reduction, limits) as file:
        image = to_srgb(_flat(upright(file.image)), profile_of(file.image))
        pixels = np.asarray(image.convert("RGB") if image.mode == "L" else image)
        return Decoded(pixels, file.factor, file.warning)


@contextlib.contextmanager
def opened(content: bytes, reduction: Reduction = NOT_REDUCED, limits: Limits = LIMITS) -> Iterator[Opened]:
    """Open and load the first frame of an image file, used too where it lacks a tenth of its rows at most.

    Raises PhotoError where the file holds no usable image, or the block fails.
    """
    if content.startswith(repair.PNG):
        content = repair.without_extras(content)
    try:
        image, factor = _started(content, reduction, limits)
        notes = [_FIRST_ONLY] if _has_more(image) else []
        try:
            image.load()
        except (PhotoError, MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            image, share = repair.rescue(content, lambda other: _started(other, reduction, limits)[0])
            if share < ENOUGH:
                raise
            notes.append(f"damaged: {1 - share:.1%} of its rows are missing" if share < 1 else "the file lacks its end")
        yield Opened(image, factor, "; ".join(notes))
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(_too_large("the image", limits)) from error
    except UnidentifiedImageError as error:
        raise PhotoError("not an image of a known format") from error
    except MemoryError as error:
        raise PhotoError("not enough memory to decode it") from error
    except Exception as error:
        # Pillow's plugins let whatever a damaged file provokes escape: OSError, SyntaxError, struct.error, IndexError…
        raise PhotoError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from error


def _started(content: bytes, reduction: Reduction, limits: Limits) -> tuple[Image.Image, int]:
    """An image of which no pixel is decoded yet, and the factor by which it will be smaller than the file says."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=tuple(_FORMATS))
    except UnidentifiedImageError:
        if content[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise
        try:
            return deep_tiff(content, lambda width, height: _check_size(width, height, width * height, limits)), 1
        except (PhotoError, MemoryError):
            raise
        except Exception as error:
            raise UnidentifiedImageError from error
    width, height = image.size
    if (factor := reduction.of(width, height)) > 1:
        # Only JPEG takes notice.
        image.draft(None, (width // factor, height // factor))
    _check_size(width, height, image.width * image.height, limits)
    return image, width // image.width


def _has_more(image: Image.Image) -> bool:
    # A phone's MPO and HEIF hold depth and gain maps, which are no pictures.
    try:
        return image.format in ("TIFF", "GIF", "PNG", "WEBP") and getattr(image, "is_animated", False)
    except Exception:
        return False


def _check_size(width: int, height: int, pixels: int, limits: Limits) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(f"{width}×{height} pixels: too small to hold a face")
    if pixels > limits.pixels:
        raise PhotoError(_too_large(f"{width}×{height} pixels", limits))


def _too_large(what: str, limits: Limits) -> str:
    return f"{what}: over the limit of {limits.pixels / 1e6:.0f} megapixels"


def upright(image: Image.Image) -> Image.Image:
    """The image turned by its EXIF orientation, where it has one."""
    # `ImageOps.exif_transpose` also writes the EXIF anew, and fails where any other field of it is garbage.
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Garbage in EXIF says nothing about the pixels: use them as they lie.
        return image
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """The image with 8 bits and without alpha, which is laid on white."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_8_bits(np.asarray(image)))
    if not has_alpha(image):
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert(
        "L" if image.mode in GRAY else "RGB"
    )


def has_alpha(image: Image.Image) -> bool:
    """Whether any of the image may be transparent."""
    return "A" in image.mode or "a" in image.mode or "transparency" in image.info
