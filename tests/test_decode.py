"""From the bytes of any image file to upright RGB, or to one sentence."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from faceage.errors import PhotoError
from faceage.photos.decode import (
    LIMITS,
    MAX_BYTES,
    MIN_SIDE,
    NOT_REDUCED,
    Limits,
    Reduction,
    decode,
    decode_photo,
    fingerprint,
    read_photo,
)

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}, "HEIF": {"quality": 95}}


def tiles(height: int = 48, width: int = 80) -> np.ndarray:
    """Coloured squares of 16 pixels, no two alike: what an encoder keeps, and no two turns of it agree."""
    squares = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return squares.repeat(16, axis=0).repeat(16, axis=1)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **(LOSSLESS | LOSSY).get(kind, {}), **options)
    return buffer.getvalue()


def header_only_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def exif(*fields: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of little-endian fields: tag, type, count and four bytes of value."""
    rows = [struct.pack("<HHL", *field[:3]) + field[3] for field in fields]
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(rows)) + b"".join(rows) + bytes(4)


def reason_of(content: bytes) -> str:
    with pytest.raises(PhotoError) as error:
        decode(content)
    reason = str(error.value)
    assert reason.strip() == reason
    assert 10 < len(reason) < 200
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_come_back_exactly(kind):
    pixels = decode(encoded(tiles(), kind))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, tiles())


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_come_back_nearly(kind):
    pixels = decode(encoded(tiles(), kind))
    assert pixels.shape == tiles().shape
    assert np.abs(pixels.astype(int) - tiles()).mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several(kind):
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "lime")]
    pixels = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(pixels, np.full((24, 32, 3), (255, 0, 0), np.uint8))


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores what is `upright`, by the EXIF standard: which of its sides row 0 and column 0 are."""
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_turned_upright(kind, orientation):
    tag = Image.Exif()
    tag[0x0112] = orientation
    pixels = decode(encoded(np.ascontiguousarray(stored_as(tiles(), orientation)), kind, exif=tag))
    assert pixels.shape == tiles().shape
    assert np.abs(pixels.astype(int) - tiles()).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(orientation):
    tag = Image.Exif()
    tag[0x0112] = orientation
    np.testing.assert_array_equal(decode(encoded(tiles(), "PNG", exif=tag)), tiles())


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0" * 9]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_garbage_in_exif_does_no_harm(garbage):
    pixels = decode(encoded(tiles(), "JPEG", exif=garbage))
    assert np.abs(pixels.astype(int) - tiles()).mean() < 4


@pytest.mark.parametrize(
    "other",
    [
        (0x010E, 11, 1, b"\0\0\x80?"),  # a description that is a number
        (0x0112 + 8, 1, 1, b"\x07\0\0\0"),  # a resolution that is a byte
        (0x8769, 4, 1, b"\xff\xff\xff\x7f"),  # camera settings that lie nowhere
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_garbage_beside_the_orientation_does_not_hide_it(other):
    fields = sorted([(0x0112, 3, 1, b"\x06\0\0\0"), other])
    pixels = decode(encoded(np.ascontiguousarray(stored_as(tiles(), 6)), "JPEG", exif=exif(*fields)))
    assert pixels.shape == tiles().shape
    assert np.abs(pixels.astype(int) - tiles()).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("ink", "expected"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 255, 0), (0, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 55), (200, 200, 200)),
    ],
)
def test_cmyk(kind, ink, expected):
    pixels = decode(encoded(Image.new("CMYK", (32, 32), ink), kind))
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def test_palette():
    image = Image.fromarray(tiles()).quantize(256)
    np.testing.assert_array_equal(decode(encoded(image, "PNG")), tiles())


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("RGBA", (200, 100, 50, 0), (255, 255, 255)),
        ("RGBA", (0, 100, 255, 51), (204, 224, 255)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_is_laid_on_white(kind, mode, colour, expected):
    pixels = decode(encoded(Image.new(mode, (32, 24), colour), kind))
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "colour", "transparent"),
    [("P", 1, 1), ("P", 1, bytes([255, 0])), ("L", 7, 7), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 0, 0)],
)
def test_a_transparent_colour_is_white(mode, colour, transparent):
    image = Image.new(mode, (32, 24), colour)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 100, 50])
    np.testing.assert_array_equal(decode(encoded(image, "PNG", transparency=transparent)), 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(kind):
    image = Image.fromarray(tiles()).convert("1")
    expected = np.asarray(image)[..., None].repeat(3, axis=2) * np.uint8(255)
    np.testing.assert_array_equal(decode(encoded(image, kind)), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("brightest", [65535, 40000, 200])
def test_16_bits_are_scaled_to_8_and_never_stretched(kind, brightest):
    values = np.linspace(0, brightest, 32 * 24).astype(np.uint16).reshape(24, 32)
    pixels = decode(encoded(values, kind))
    np.testing.assert_array_equal(pixels, np.rint(values / 257)[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("highest", [1.0, 0.3, 255.0, 65535.0])
def test_float_tiff(highest):
    values = np.linspace(0, highest, 32 * 24).astype(np.float32).reshape(24, 32)
    full = 1.0 if highest <= 1 else highest
    pixels = decode(encoded(values, "TIFF"))
    assert np.abs(pixels[..., 0] - values / full * 255).max() <= 0.51
    assert (pixels == pixels[..., :1]).all()


def test_float_tiff_with_values_that_are_none():
    values = np.full((24, 32), 0.5, np.float32)
    values[0, :2] = np.nan, -3
    pixels = decode(encoded(values, "TIFF"))
    assert pixels[0, :3, 0].tolist() == [0, 0, 128]


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (20_000, 12_501), (60_000, 60_000)])
@pytest.mark.parametrize("pillows_limit", [Image.MAX_IMAGE_PIXELS, None])
def test_a_huge_image_is_refused_by_its_header(monkeypatch, width, height, pillows_limit):
    """There are no pixels in it: had it been decoded, it would have been called damaged."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    assert width * height > LIMITS.pixels
    assert "over the limit of 250 megapixels" in reason_of(header_only_png(width, height))


def test_a_bomb_is_refused():
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(2501 * 1000)) for _ in range(20)) + packer.flush()
    content = header_only_png(20_000, 20_000)
    start = content.index(b"IDAT") - 4
    assert "megapixels" in reason_of(content[:start] + struct.pack(">L", len(rows)) + b"IDAT" + rows)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (MIN_SIDE - 1, 500), (500, MIN_SIDE - 1)])
def test_too_small_for_a_face(width, height):
    assert reason_of(encoded(Image.new("RGB", (width, height)), "PNG")) == (
        f"{width}×{height} pixels: too small to hold a face"
    )


@pytest.mark.parametrize("side", [MIN_SIDE, MIN_SIDE + 1])
def test_just_large_enough_for_a_face(side):
    assert decode(encoded(Image.new("RGB", (side, side)), "PNG")).shape == (side, side, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF"])
def test_a_file_cut_in_half_is_damaged(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(noise, kind)
    assert reason_of(content[: len(content) // 2]).startswith(("damaged image: ", "not an image"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 5000, b"not a photo at all\n" * 50, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"],
)
def test_what_is_no_image(content):
    assert reason_of(content) == "not an image of a known format"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.filterwarnings("ignore")
def test_damage_anywhere_gives_pixels_or_one_sentence(kind):
    """60 files with 1 to 9 bytes changed; nothing but PhotoError comes out, and now and then pixels."""
    content, rng, decoded = encoded(tiles(), kind), np.random.default_rng(0), 0
    for _ in range(60):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(0, len(damaged), rng.integers(1, 10))] = rng.integers(0, 256)
        try:
            pixels = decode(damaged.tobytes())
        except PhotoError:
            continue
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        decoded += 1
    assert decoded < 60


def test_read_photo_gives_the_bytes(tmp_path):
    content = encoded(tiles(), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "link.png").symlink_to("a.png")
    assert read_photo(tmp_path / "a.png") == read_photo(tmp_path / "link.png") == content


def _empty(path):
    path.touch()


def _fifo(path):
    os.mkfifo(path)


def _folder(path):
    path.mkdir()


def _missing(path):
    pass


def _dangling(path):
    path.symlink_to("nowhere.jpg")


def _loop(path):
    path.symlink_to(path.name)


def _huge(path):
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_empty, "the file is empty"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_missing, "cannot be read: No such file or directory"),
        (_dangling, "cannot be read: No such file or directory"),
        (_loop, "cannot be read: Too many levels of symbolic links"),
        (_huge, "2.0 GB: over the limit of 2 GB"),
    ],
)
def test_what_cannot_be_read(tmp_path, make, reason):
    make(tmp_path / "a.jpg")
    with pytest.raises(PhotoError) as error:
        read_photo(tmp_path / "a.jpg")
    assert str(error.value) == reason


def test_fingerprint_is_sha256():
    assert fingerprint(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_format_that_pillow_hands_to_other_programs_is_not_opened():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(%stdout) (w) file\nshowpage\n"
    with pytest.raises(PhotoError, match="known format"):
        decode(postscript)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_jpeg_is_the_mean_of_its_pixels(factor, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = np.kron(tiles(160, 240), np.ones((2, 2, 1), np.uint8))
    content = encoded(photo, "JPEG", exif=exif)
    whole = decode(content)
    decoded = decode_photo(content, Reduction(longest=1, factor=factor))
    reduced = decoded.pixels
    assert decoded.factor == factor
    height, width = whole.shape[0] // factor, whole.shape[1] // factor
    means = whole.reshape(height, factor, width, factor, 3).mean((1, 3))
    assert reduced.shape == means.shape
    assert np.abs(reduced - means).mean() < 2


@pytest.mark.parametrize(
    ("width", "height", "reduction", "factor"),
    [
        (4000, 3000, Reduction(640), 4),
        (4000, 3000, Reduction(500), 8),
        (4000, 3000, Reduction(640, 2), 2),
        (4000, 3000, Reduction(640, 1), 1),
        (4000, 2250, Reduction(640), 2),
        (4001, 3000, Reduction(640), 1),
        (1279, 960, Reduction(640), 1),
        (4000, 80, Reduction(100), 4),
    ],
)
def test_a_photo_is_reduced_as_far_as_it_may_be_and_by_whole_pixels(width, height, reduction, factor):
    assert reduction.of(width, height) == factor


def test_formats_that_cannot_be_reduced_are_not():
    decoded = decode_photo(encoded(tiles(), "PNG"), Reduction(longest=1))
    assert decoded.factor == 1
    np.testing.assert_array_equal(decoded.pixels, tiles())


def test_the_limit_is_on_the_pixels_that_are_decoded():
    limits = Limits(pixels=tiles().size // 3 // 4)
    whole = "80×48 pixels: over the limit"
    for kind, reduction in (("JPEG", NOT_REDUCED), ("PNG", Reduction(longest=1))):
        with pytest.raises(PhotoError, match=whole):
            decode_photo(encoded(tiles(), kind), reduction, limits)
    assert decode_photo(encoded(tiles(), "JPEG"), Reduction(longest=1), limits).pixels.shape == (24, 40, 3)
    assert decode_photo(encoded(tiles(), "PNG"), limits=Limits(pixels=80 * 48)).pixels.shape == (48, 80, 3)
