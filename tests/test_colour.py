"""Colours: whatever a file says its values mean, faces are seen in sRGB, and photos written in their own colours."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from skimage.color import deltaE_ciede2000, rgb2lab

from faceage.photos.colour import gray_profile, rgb_profile
from faceage.photos.decode import Reduction, decode, decode_photo
from faceage.photos.write_like import as_image, decode_original, save_like

D65, D50 = (0.3127, 0.329), (0.3457, 0.3585)
SPACES = {
    "Display P3": ((*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), 2.2),
    "AdobeRGB": ((*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256),
    "ProPhoto": ((*D50, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), 1.8),
}
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
SRGB_TO_XYZ_D50 = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


@pytest.fixture(scope="module")
def photo(astronaut) -> np.ndarray:
    """Skin, an orange suit and a dark ground, as it ought to look, in sRGB."""
    return np.ascontiguousarray(astronaut[40:240, 120:320])


def linear(srgb: np.ndarray) -> np.ndarray:
    values = srgb / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def values_in(space: str, srgb: np.ndarray, levels: int = 255) -> np.ndarray:
    """The values that show `srgb` in another space: by its primaries, in floating point and without any profile."""
    xy, gamma = SPACES[space]
    white, *primaries = ([x / y, 1, (1 - x - y) / y] for x, y in np.array(xy).reshape(4, 2))
    columns = np.array(primaries).T
    columns = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    cones = (bradford @ [0.9642, 1, 0.8249]) / (bradford @ white)
    to_d50 = np.linalg.inv(bradford) @ np.diag(cones) @ bradford
    light = linear(srgb) @ (np.linalg.inv(to_d50 @ columns) @ SRGB_TO_XYZ_D50).T
    return np.rint(np.clip(light, 0, 1) ** (1 / gamma) * levels).astype(np.uint8 if levels == 255 else np.uint16)


def encoded(pixels: np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **LOSSLESS.get(kind, {}), **options)
    return buffer.getvalue()


def difference(shown: np.ndarray, intended: np.ndarray) -> float:
    return float(deltaE_ciede2000(rgb2lab(shown), rgb2lab(intended)).mean())


def adobe_exif() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 65535
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03"}
    return exif.tobytes()


def png_space(space: str, gamma: float | None = None) -> PngImagePlugin.PngInfo:
    xy, exponent = SPACES[space]
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", round(100_000 * (gamma or 1 / exponent))))
    info.add(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in xy)))
    return info


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_profiles_become_srgb(photo, space, kind):
    values = values_in(space, photo)
    assert difference(values, photo) > 1.5
    assert difference(decode(encoded(values, kind, icc_profile=rgb_profile(*SPACES[space]))), photo) < 1


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_profiles_of_newer_formats(photo, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    options = {"quality": 100, "icc_profile": rgb_profile(*SPACES["Display P3"])}
    options |= {"subsampling": "4:4:4"} if kind == "AVIF" else {"chroma": 444}
    assert difference(decode(encoded(values_in("Display P3", photo), kind, **options)), photo) < 1.3


def test_a_reduced_photo_has_the_same_colours(photo):
    large = np.kron(values_in("Display P3", photo), np.ones((4, 4, 1), np.uint8))
    content = encoded(large, "JPEG", icc_profile=rgb_profile(*SPACES["Display P3"]))
    assert difference(decode_photo(content, Reduction(longest=200)).pixels, photo) < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_adobe_rgb_that_only_the_exif_names(photo, kind):
    assert difference(decode(encoded(values_in("AdobeRGB", photo), kind, exif=adobe_exif())), photo) < 1


@pytest.mark.parametrize("space", SPACES)
def test_a_png_that_says_its_primaries_and_gamma(photo, space):
    assert difference(decode(encoded(values_in(space, photo), "PNG", pnginfo=png_space(space))), photo) < 1


@pytest.mark.parametrize("said", [b"\0" * 4, b"\xff" * 4, struct.pack(">I", 45455)])
def test_a_png_whose_gamma_is_none_or_that_of_srgb_stays_as_it_is(photo, said):
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", said)
    np.testing.assert_array_equal(decode(encoded(photo, "PNG", pnginfo=info)), photo)


def test_srgb_profiles_change_nothing(photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(photo, "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode(content), photo)
    assert decode_original(content)[1].to_srgb == ""


@pytest.mark.parametrize("profile", [b"no profile" * 50, rgb_profile(*SPACES["ProPhoto"])[:300], gray_profile(1.8)])
def test_profiles_that_are_none_or_for_other_channels_are_ignored(photo, profile):
    np.testing.assert_array_equal(decode(encoded(photo, "PNG", icc_profile=profile)), photo)


def test_transparency_is_laid_on_white_of_any_space(photo):
    values = np.dstack([values_in("ProPhoto", photo), np.full(photo.shape[:2], 255, np.uint8)])
    values[:50, :, 3] = 0
    shown = decode(encoded(values, "PNG", icc_profile=rgb_profile(*SPACES["ProPhoto"])))
    assert np.abs(shown[:50].astype(int) - 255).max() <= 1
    assert difference(shown[50:], photo[50:]) < 1


def test_16_bits(photo):
    values, profile = values_in("ProPhoto", photo, 65535), rgb_profile(*SPACES["ProPhoto"])
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", iccprofile=profile)
    assert difference(decode(buffer.getvalue()), photo) < 1

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">LLBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        (b"iCCP", b"a\0\0" + zlib.compress(profile)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert difference(decode(content), photo) < 1


def test_lab(photo):
    """CIELAB to the D50 white of the profile connection space."""
    light = linear(photo) @ SRGB_TO_XYZ_D50.T / [0.9642, 1, 0.8249]
    f = np.where(light > 216 / 24389, np.cbrt(light), (24389 / 27 * light + 16) / 116)
    lab = np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
    values = np.stack([lab[..., 0] * 2.55, lab[..., 1], lab[..., 2]], axis=-1)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.rint(values).astype(np.int16).astype(np.uint8), photometric="cielab")
    assert difference(decode(buffer.getvalue()), photo) < 1
    pixels, encoding = decode_original(buffer.getvalue())
    assert difference(pixels, photo) < 1
    assert encoding.profile == encoding.to_srgb == ""


def ink_profile() -> bytes:
    """An ICC profile of four inks: a table of two nodes a side. Inks are weak in it, and black ink is brown."""
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(16, 4)
    lightness = 95 - inks @ [25, 30, 10, 40]
    a, b = inks @ [-30, 60, 0, 10], inks @ [-40, 0, 50, 20]
    nodes = np.stack([np.clip(lightness, 0, 100) * 2.55, a + 128, b + 128], axis=-1)
    table = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    table += bytes(range(256)) * 4 + np.rint(np.clip(nodes, 0, 255)).astype(np.uint8).tobytes() + bytes(range(256)) * 3
    start = 128 + 4 + 12
    header = struct.pack(">I4xI4s4s4s12x4s28x", start + len(table), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + struct.pack(">I4sII", 1, b"A2B0", start, len(table)) + table


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_with_a_profile(kind):
    """Each ink by itself, as the profile's table has it, and not as strong as inks without a profile are taken for."""
    image = Image.new("CMYK", (160, 32))
    for i in range(4):
        image.paste(tuple(255 * (i == j) for j in range(4)), (32 * i + 32, 0, 32 * i + 64, 32))
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=ink_profile(), **LOSSLESS[kind])
    middle = decode(buffer.getvalue())[16:17, 16::32]
    assert (middle[:, 0] == 255).all(), "paper"
    labs = [[70, -30, -40], [65, 60, 0], [85, 0, 50], [55, 10, 20]]
    lab = np.array([labs])
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * [0.9642, 1, 0.8249]
    light = np.clip(xyz @ np.linalg.inv(SRGB_TO_XYZ_D50).T, 0, 1)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert difference(middle[:, 1:], np.rint(srgb * 255).astype(np.uint8)) < 1.5
    np.testing.assert_array_equal(decode_original(buffer.getvalue())[0][16:17, 16::32], middle)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_with_a_profile_are_neutral_and_right(photo, mode):
    intended = photo[..., 1]
    levels, kind = (65535, np.uint16) if mode == "I;16" else (255, np.uint8)
    image = Image.fromarray(np.rint(linear(intended) ** (1 / 1.4) * levels).astype(kind))
    if mode == "LA":
        image.putalpha(255)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=gray_profile(1.4))
    shown = decode(buffer.getvalue())
    assert (shown == shown[..., :1]).all()
    assert np.abs(shown[..., 0].astype(int) - intended).mean() < 1
    own, encoding = decode_original(buffer.getvalue())
    assert own.shape[2] == len(mode) if mode != "I;16" else 1
    assert np.abs(encoding.in_srgb(own)[..., 0].astype(int) - intended).mean() < 1


def test_a_grey_png_that_says_its_gamma(photo):
    values = np.rint(linear(photo[..., 1]) ** (1 / 1.4) * 255).astype(np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", round(100_000 / 1.4)))
    shown = decode(encoded(values, "PNG", pnginfo=info))
    assert (shown == shown[..., :1]).all()
    assert np.abs(shown[..., 0].astype(int) - photo[..., 1]).mean() < 1


SAID = {
    "Display P3 by ICC": ("Display P3", lambda: {"icc_profile": rgb_profile(*SPACES["Display P3"])}),
    "ProPhoto by ICC": ("ProPhoto", lambda: {"icc_profile": rgb_profile(*SPACES["ProPhoto"])}),
    "AdobeRGB by EXIF": ("AdobeRGB", lambda: {"exif": adobe_exif()}),
    "AdobeRGB by PNG": ("AdobeRGB", lambda: {"pnginfo": png_space("AdobeRGB")}),
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg", ".bmp"])
def test_a_changed_photo_keeps_its_colours_and_what_says_them(tmp_path, photo, said, ending):
    """A square of the face is made lighter in sRGB; nothing else changes, and what is written shows both."""
    space, options = SAID[said]
    values = values_in(space, photo)
    own, encoding = decode_original(encoded(values, "PNG", **options()))
    np.testing.assert_array_equal(own, values)
    before = encoding.in_srgb(own)
    assert difference(before, photo) < 1
    after, changed = before.copy(), own.copy()
    face = slice(50, 150), slice(50, 150)
    after[face] = np.clip(after[face] + np.array([20, 12, 5]), 0, 255)
    encoding.repaint(changed, before, after)
    outside = np.ones(photo.shape[:2], bool)
    outside[face] = False
    np.testing.assert_array_equal(changed[outside], own[outside])
    save_like(as_image(changed), encoding, tmp_path / f"a{ending}")
    content = (tmp_path / f"a{ending}").read_bytes()
    shown = decode(content)
    lossy = ending in (".jpg", ".webp")
    assert difference(shown[face], after[face]) < (2 if lossy else 1)
    assert difference(shown[outside][None], photo[outside][None]) < (2 if lossy else 1)
    if ending in (".png", ".tif"):
        again, said_again = decode_original(content)
        np.testing.assert_array_equal(again, changed)
        assert said_again.to_srgb == encoding.to_srgb
    with Image.open(tmp_path / f"a{ending}") as written:
        if "ICC" in said and ending != ".bmp":
            assert written.info["icc_profile"] == options()["icc_profile"]
        if "EXIF" in said and ending not in (".bmp", ".tif"):
            assert written.getexif().get_ifd(ExifTags.IFD.Interop)[1] == "R03"
            assert "icc_profile" not in written.info
        if "by PNG" in said and ending == ".png":
            assert "icc_profile" not in written.info
            assert written.info["gamma"] == pytest.approx(256 / 563, abs=1e-4)
            assert written.info["chromaticity"][4:6] == pytest.approx((0.21, 0.71))


def test_colours_beyond_srgb_keep_what_they_have_beyond_it():
    own = np.full((8, 8, 3), (255, 20, 20), np.uint8)
    _, encoding = decode_original(
        encoded(np.kron(own, np.ones((4, 4, 1), np.uint8)), "PNG", **SAID["Display P3 by ICC"][1]())
    )
    before = encoding.in_srgb(own)
    after = before.copy()
    after[:4] -= 10 * (after[:4] > 10).astype(np.uint8)
    changed = own.copy()
    encoding.repaint(changed, before, after)
    np.testing.assert_array_equal(changed[4:], own[4:])
    assert 240 <= changed[0, 0, 0] <= 248
    assert changed[0, 0, 1] < 40


def test_a_changed_grey_photo_stays_grey_and_keeps_its_profile(tmp_path, photo):
    values = np.rint(linear(photo[..., 1]) ** (1 / 1.4) * 255).astype(np.uint8)
    own, encoding = decode_original(encoded(values, "PNG", icc_profile=gray_profile(1.4)))
    before = encoding.in_srgb(own)
    after, changed = before.copy(), own.copy()
    after[50:150, 50:150] = np.clip(after[50:150, 50:150] + np.array([30, 20, 0]), 0, 255)
    encoding.repaint(changed, before, after)
    save_like(as_image(changed), encoding, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert (written.mode, written.info["icc_profile"]) == ("L", gray_profile(1.4))
    shown = decode((tmp_path / "a.png").read_bytes())
    assert (shown == shown[..., :1]).all()
    luma = np.asarray(Image.fromarray(after).convert("L")).astype(int)
    assert np.abs(shown[..., 0].astype(int) - luma)[50:150, 50:150].mean() < 1.5


def test_repainting_srgb_is_what_was_painted(photo):
    own, encoding = decode_original(encoded(photo, "PNG"))
    after = own.copy()
    after[10:20] = 200
    changed = own.copy()
    encoding.repaint(changed, encoding.in_srgb(own), after)
    np.testing.assert_array_equal(changed, after)
