"""uint8 ↔ -1..1, and pictures that are written whole or not at all."""

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from faceage.files import partial_name, remove_partials_of
from faceage.images import to_float, to_uint8
from faceage.pictures.save import save_png

EVERY_VALUE = np.arange(256, dtype=np.uint8)


def test_every_value_comes_back():
    np.testing.assert_array_equal(to_uint8(to_float(EVERY_VALUE)), EVERY_VALUE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_value_comes_back_through_other_floats(dtype):
    np.testing.assert_array_equal(to_uint8(to_float(EVERY_VALUE).astype(dtype)), EVERY_VALUE)


def test_to_float_spans_the_networks_range():
    values = to_float(np.stack([EVERY_VALUE, EVERY_VALUE]))
    assert values.dtype == np.float32
    assert values.shape == (2, 256)
    assert (values.min(), values.max()) == (-1, 1)
    np.testing.assert_allclose(np.diff(values), 2 / 255, rtol=1e-4)


@pytest.mark.parametrize(
    ("value", "expected"), [(-1, 0), (1, 255), (-1.01, 0), (1.01, 255), (9, 255), (-0.9999, 0), (0.9999, 255)]
)
def test_to_uint8_rounds_and_clips(value, expected):
    result = to_uint8(np.array([value]))
    assert result.dtype == np.uint8
    assert result == [expected]


def test_png_holds_the_pixels(tmp_path, astronaut):
    save_png(Image.fromarray(astronaut), tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), astronaut)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_any_mode_looks_the_same(tmp_path, astronaut, mode):
    image = Image.fromarray(astronaut[:64, :64]).convert(mode)
    save_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_png_has_no_metadata(tmp_path, astronaut, kind):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x8825] = "a name", 6, {1: "N"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", "a name")
    Image.fromarray(astronaut).save(tmp_path / "in", kind, **options)
    with Image.open(tmp_path / "in") as image:
        assert image.getexif()
        assert {"exif", "icc_profile"} <= image.info.keys()
        save_png(image, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as saved:
        saved.load()
        assert saved.info == {}
        assert not saved.getexif()
    content = (tmp_path / "out.png").read_bytes()
    assert not [name for name in (b"iCCP", b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"pHYs", b"a name") if name in content]


def _folder_is_missing(path):
    return path / "nowhere" / "a.png"


def _name_is_a_folder(path):
    (path / "a.png").mkdir()
    return path / "a.png"


@pytest.mark.parametrize("place", [_folder_is_missing, _name_is_a_folder])
def test_nothing_is_left_where_a_png_cannot_be_written(tmp_path, astronaut, place):
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"No such file|directory"):
        save_png(Image.fromarray(astronaut), path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_png_that_cannot_be_encoded_leaves_the_old_one(tmp_path, astronaut):
    path = tmp_path / "a.png"
    save_png(Image.fromarray(astronaut), path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="CMYK"):
        save_png(Image.new("CMYK", (8, 8)), path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["a.png", "ä" * 125 + ".png", "x" * 251 + ".png", "last.weights.h5"])
def test_partial_name_fits_beside_its_file(tmp_path, name):
    partial = partial_name(tmp_path / name)
    partial.touch()
    assert partial.parent == tmp_path
    assert partial.name.startswith(".")
    assert partial.name.endswith(".weights.h5" if "weights" in name else ".png")
    remove_partials_of(tmp_path / name)
    assert not partial.exists()
