"""Photos whose files are not quite right, and which any viewer shows: they are used, and what is wrong is said."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin
from test_decode import reason_of, tiles

from faceage.photos import repair
from faceage.photos.decode import Reduction, decode, decode_photo
from faceage.photos.decoders import Decoder
from faceage.photos.find import find_photos


@pytest.fixture(scope="module")
def photo(astronaut) -> Image.Image:
    return Image.fromarray(astronaut)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The PNG with more chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


LONG = np.random.default_rng(0).bytes(1_700_000)
TEXT = (b"x" * 1000 + b"\n") * 1700


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", b"Comment\0" + TEXT),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT)),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXT)) * 50,
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + TEXT),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(TEXT)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG[:100]),
        chunk(b"iCCP", b"printer\0\0" + zlib.compress(LONG)),
        chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"iCCP", b"none"),
        chunk(b"iCCP", b"none\0\1"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0" * 31),
        chunk(b"tEXt", b"Comment\0text", checksum=1),
        chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1), checksum=1),
        chunk(b"gAMA", struct.pack(">I", 45455), checksum=1),
        chunk(b"prVt", LONG, checksum=1),
    ],
)
def test_a_png_is_used_whatever_stands_beside_its_pixels(photo, extra):
    content = with_chunks(encoded(photo, "PNG"), extra)
    np.testing.assert_array_equal(decode(content), np.asarray(photo))


def test_xmp_that_says_the_orientation_is_kept():
    xmp = b"<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation='3'/></rdf:RDF></x:xmpmeta>".replace(b"'", b'"')
    for packed in (b"\0\0\0\0" + xmp, b"\1\0\0\0" + zlib.compress(xmp)):
        content = with_chunks(encoded(tiles(), "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0" + packed))
        np.testing.assert_array_equal(decode(content), tiles()[::-1, ::-1])


def test_a_large_profile_still_says_the_colours(photo):
    """1.7 MB of it, as those of printers have."""
    from faceage.photos.colour import rgb_profile

    small = rgb_profile((0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), 2.2)
    large = struct.pack(">I", len(small) + len(LONG)) + small[4:] + LONG
    shown = [decode(encoded(photo, "PNG", icc_profile=profile)) for profile in (small, large)]
    assert np.any(shown[0] != np.asarray(photo))
    np.testing.assert_array_equal(*shown)


def test_a_wrong_checksum_of_what_a_png_needs_is_damage(photo):
    content = bytearray(encoded(photo, "PNG"))
    content[29] ^= 1
    assert reason_of(bytes(content)).startswith(("damaged image", "not an image"))


KINDS = [("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"quality": 50, "progressive": True})]
KINDS += [("JPEG", {"subsampling": 2, "restart_marker_rows": 4}), ("PNG", {}), ("BMP", {}), ("TIFF", {})]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("missing", [1, 2, 11, 0.02, 0.06])
def test_a_photo_that_lacks_its_end_is_used(photo, kind, options, missing):
    content = encoded(photo, kind, **options)
    whole = decode(content).astype(int)
    cut = len(content) - (missing if isinstance(missing, int) else int(missing * len(content)))
    decoded = decode_photo(content[:cut])
    right = np.abs(decoded.pixels - whole).mean((1, 2)) < 8
    assert right.mean() >= 0.9
    if kind != "PNG" or missing > 11:
        assert decoded.warning.startswith(("damaged: ", "the file lacks its end"))
    if decoded.warning.startswith("damaged: "):
        said = float(decoded.warning.split()[1].rstrip("%")) / 100
        assert said == pytest.approx(1 - right.mean(), abs=0.04)


@pytest.mark.parametrize(("kind", "options"), [*KINDS[:1], *KINDS[3:]])
@pytest.mark.parametrize("missing", [0.15, 0.5])
def test_a_photo_that_lacks_more_is_not(photo, kind, options, missing):
    content = encoded(photo, kind, **options)
    assert reason_of(content[: int((1 - missing) * len(content))]).startswith("damaged image: ")


@pytest.mark.parametrize(("kind", "ending"), [("GIF", "gif"), ("WEBP", "webp")])
def test_formats_without_rows_are_whole_or_damaged(photo, kind, ending):
    content = encoded(photo, kind)
    reason_of(content[: int(0.95 * len(content))])


def test_a_whole_photo_has_no_warning(photo):
    for kind, options in KINDS:
        assert decode_photo(encoded(photo, kind, **options)).warning == ""


def test_a_reduced_photo_may_lack_its_end_too(photo):
    large = photo.resize((2048, 2048))
    content = encoded(large, "JPEG")
    decoded = decode_photo(content[: int(0.96 * len(content))], Reduction(longest=512))
    assert decoded.factor == 4
    assert decoded.warning.startswith("damaged: ")


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_more_than_one_picture_is_said(kind):
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "lime")]
    decoded = decode_photo(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert decoded.warning == "only the first of its pictures is used"
    assert decode_photo(encoded(frames[0], kind)).warning == ""


def test_the_largest_photo_of_a_phone_is_read_reduced_within_the_limits(tmp_path):
    """200 megapixels; Pillow by itself would refuse them by the header."""
    Image.new("L", (16_320, 12_240), 100).save(tmp_path / "phone.jpg")
    decoder = Decoder()
    try:
        read = decoder.read(find_photos([tmp_path])[0], Reduction(640))
    finally:
        decoder.close()
    assert read.error == ""
    assert read.factor == 8
    assert read.pixels.shape == (1530, 2040, 3)


def test_a_warning_comes_with_the_photo(tmp_path, photo):
    content = encoded(photo, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(content[: int(0.96 * len(content))])
    decoder = Decoder()
    try:
        assert decoder.read(find_photos([tmp_path])[0]).warning.startswith("damaged: ")
    finally:
        decoder.close()


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"bigtiff": True}, {"planarconfig": "separate"}])
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, np.uint32])
def test_tiff_of_floating_point_and_of_32_bits(photo, options, kind):
    values = np.asarray(photo)
    scaled = values.astype(np.uint32) * 257 if kind == np.uint32 else (values / 255).astype(kind)
    if options.get("planarconfig"):
        scaled = np.moveaxis(scaled, -1, 0)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, scaled, photometric="rgb", **options)
    assert np.abs(decode(buffer.getvalue()).astype(int) - values).max() <= 1


def test_tiff_of_floating_point_has_orientation_and_limits(photo):
    values = np.asarray(photo).astype(np.float32) / 255
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", extratags=[(274, 3, 1, 3, True)])
    assert np.abs(decode(buffer.getvalue()).astype(int) - np.asarray(photo)[::-1, ::-1]).max() <= 1
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values[:10], photometric="rgb")
    assert "too small" in reason_of(buffer.getvalue())
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((9, 64, 64, 5), np.float32), photometric="minisblack", planarconfig="contig")
    assert reason_of(buffer.getvalue()).startswith("a TIFF of a kind that is not read")


def test_a_damaged_tiff_is_one_reason_and_nothing_else(photo, caplog, capfd):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.asarray(photo).astype(np.float32), photometric="rgb")
    content, random = buffer.getvalue(), np.random.default_rng(0)
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            damaged = np.frombuffer(content[:4000], np.uint8).copy()
            damaged[random.integers(4, 400, 8)] = random.integers(0, 256, 8)
            reason_of(damaged.tobytes())
    assert not caplog.records
    assert capfd.readouterr().err == ""


def test_the_limit_on_text_holds_for_pillow_too():
    assert PngImagePlugin.MAX_TEXT_CHUNK == repair.MOST_TEXT
