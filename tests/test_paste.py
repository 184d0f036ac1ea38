"""Aged faces back in whole photos: what is kept of the photo, beside a plain paste of the face that G draws."""

import io
import json
import os
import shutil
import signal
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from commands import faceage, in_this_process, rows_of
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from scipy import ndimage
from shared import load_model, painter, shared_networks
from test_colour import SPACES, difference, values_in

from faceage.ages import STRENGTH, parse_ages
from faceage.batch.names import album_photos, pasted_paths
from faceage.batch.paste import Paster
from faceage.batch.photo import Photo
from faceage.batch.plan import check_out
from faceage.errors import PhotoError, UsageError
from faceage.faces.paste import face_mask, lies_in, paste_face
from faceage.people.drawn import Drawn
from faceage.photos.colour import rgb_profile
from faceage.photos.decode import Limits, decode
from faceage.photos.provenance import EDITED
from faceage.photos.write_like import Encoding, as_image, decode_original, ending_for, save_like
from faceage.store.latents import FaceRow, read_rows
from faceage.store.manifest import PhotoOutcome

AGES = ("0-18", "60+")
OPTIONS = ("--ages", ",".join(AGES), "--steps", 10)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif() -> Image.Exif:
    """Lying on its side, with a place, a camera's number and a thumbnail's offset."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    tags[ExifTags.Base.Make] = "camera"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "serial-0815"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 14.0)
    return tags


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    folder = tmp_path_factory.mktemp("paste") / "photos"
    folder.mkdir()
    portrait = Image.fromarray(astronaut)
    portrait.save(folder / "plain.png")
    turned = portrait.transpose(Image.Transpose.ROTATE_90)
    said = {"exif": exif(), "icc_profile": PROFILE, "xmp": b"<xmp>serial-0815</xmp>", "comment": b"serial-0815"}
    turned.save(folder / "camera.jpg", quality=83, subsampling=1, **said)
    (folder / "sub").mkdir()
    two = Image.new("RGBA", (700, 320))
    for i in range(2):
        two.paste(portrait.crop((60, 0, 380, 320)).resize((320 - 40 * i, 320 - 40 * i)), (350 * i, 0))
    two.save(folder / "sub" / "two.png")
    return folder


@pytest.fixture(scope="module")
def aged(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("batch") / "out"
    result = faceage("batch", photos, "--out", out, "--paste", *OPTIONS)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return out


def again(photos: Path, out: Path, *more: object) -> tuple[int, str]:
    """(exit status, stdout) of the same command."""
    return in_this_process("batch", photos, "--out", out, *OPTIONS, *more)[:2]


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("pasted/**/*") if path.is_file()}


def row_of(out: Path, name: str, face: int = 0) -> FaceRow:
    (row,) = (row for row in read_rows(out / "latents.h5", keep=f"photos/{name}".__eq__) if row.face == face)
    return row


@pytest.fixture(scope="module")
def person(aged) -> Drawn:
    """The one in plain.png, as drawn for the batch."""
    with shared_networks():
        (drawn,) = painter(load_model())([row_of(aged, "plain.png")], parse_ages(",".join(AGES)), STRENGTH)
    return drawn


def mask_in(shape: tuple[int, int], row: FaceRow) -> np.ndarray:
    """The face mask, in a whole photo of that shape."""
    (a, b, c), (d, e, f) = row.transform.astype(float) * 160 / 64
    mask, size = Image.fromarray(face_mask(160)), shape[::-1]
    return np.asarray(mask.transform(size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR))


def plain_paste(photo: np.ndarray, row: FaceRow, face: np.ndarray) -> np.ndarray:
    """What everybody does first: the face in its place."""
    face = np.asarray(Image.fromarray(face).resize((64, 64)))
    (a, b, c), (d, e, f) = row.transform.astype(float)
    size = photo.shape[1::-1]
    at = (a, b, c, d, e, f)
    laid = Image.fromarray(face).transform(size, Image.Transform.AFFINE, at, Image.Resampling.BICUBIC)
    inside = Image.new("L", (64, 64), 255).transform(size, Image.Transform.AFFINE, at)
    return np.where(np.asarray(inside)[..., None] > 0, np.asarray(laid), photo)


def gray(picture: np.ndarray) -> np.ndarray:
    return picture.astype(float).mean(2)


def sharpness(picture: np.ndarray, where: np.ndarray) -> float:
    return float(ndimage.laplace(gray(picture))[where].var())


def seam(picture: np.ndarray, photo: np.ndarray, inside: np.ndarray) -> float:
    """By how much the steps between neighbouring pixels at the edge of `inside` are larger than in the photo."""
    edge = ndimage.binary_dilation(inside, iterations=2) & ~ndimage.binary_erosion(inside, iterations=2)
    change = gray(picture) - gray(photo)
    return float(np.hypot(*np.gradient(change))[edge].mean())


@pytest.mark.parametrize(("age", "column"), [("0-18", 0), ("60+", 1)])
def test_sharp_seamless_and_only_the_face_unlike_a_plain_paste(aged, astronaut, person, age, column):
    row = row_of(aged, "plain.png")
    pasted = np.asarray(Image.open(aged / "pasted" / "photos" / f"plain.png_{age}.png"))
    plain = plain_paste(astronaut, row, person.aged[column])
    mask = mask_in(astronaut.shape[:2], row)
    face, outside = mask > 0.9, ndimage.maximum_filter(mask, 5) == 0
    assert 3000 < face.sum() < 40_000

    # The re-ager draws the skin anew, at 160 pixels.
    assert sharpness(pasted, face) > 0.75 * sharpness(astronaut, face)
    assert sharpness(plain, face) < 0.6 * sharpness(astronaut, face)

    square = np.any(plain != astronaut, axis=2)
    assert seam(pasted, astronaut, ~outside) < 0.3
    assert seam(plain, astronaut, square) > 10 * seam(pasted, astronaut, ~outside)

    np.testing.assert_array_equal(pasted[outside], astronaut[outside])
    change = pasted[face].astype(float) - astronaut[face]
    assert np.abs(change).mean() > 2


def test_a_photo_keeps_its_format_and_loses_what_tells_of_its_owner(aged, photos, astronaut):
    source = photos / "camera.jpg"
    for age in AGES:
        path = aged / "pasted" / "photos" / f"camera.jpg_{age}.jpg"
        content = path.read_bytes()
        assert b"serial-0815" in source.read_bytes()
        assert b"serial-0815" not in content
        assert b"Exif" not in content
        with Image.open(path) as picture, Image.open(source) as original:
            assert picture.format == "JPEG"
            assert picture.quantization == original.quantization
            assert picture.layer == original.layer
            assert picture.info["icc_profile"] == PROFILE
            assert not picture.getexif()
            assert not {"exif", "comment"} & set(picture.info)
            assert picture.info["xmp"] == EDITED
            # Stored lying, it comes back upright and stays so.
            assert picture.size == original.size[::-1] == astronaut.shape[1::-1]
            pixels = np.asarray(picture)
        outside = mask_in(pixels.shape[:2], row_of(aged, "camera.jpg")) == 0
        # JPEG blocks at the mask's edge change as a whole, and all of them a little where they are cut anew.
        far = ~ndimage.binary_dilation(~outside, iterations=17)
        difference = np.abs(pixels[far].astype(int) - decode(source.read_bytes())[far])
        assert difference.mean() < 2.5


def test_every_face_of_a_photo_at_the_same_age_in_one_picture(aged, photos):
    original = np.asarray(Image.open(photos / "sub" / "two.png"))
    for age in AGES:
        picture = Image.open(aged / "pasted" / "photos" / "sub" / f"two.png_{age}.png")
        assert picture.mode == "RGBA"
        pasted = np.asarray(picture)
        np.testing.assert_array_equal(pasted[..., 3], original[..., 3])
        masks = [mask_in(original.shape[:2], row_of(aged, "sub/two.png", face)) for face in range(2)]
        for mask in masks:
            assert np.abs(pasted[mask > 0.5].astype(float) - original[mask > 0.5]).mean() > 1
        outside = ndimage.maximum_filter(masks[0] + masks[1], 5) == 0
        np.testing.assert_array_equal(pasted[outside], original[outside])


def test_a_second_run_does_nothing(photos, aged):
    assert again(photos, aged, "--paste", "--dry-run") == (0, "")


def test_what_is_missing_is_pasted_from_its_latents_without_aging_again(photos, aged, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(aged, out)
    whole = files(out)
    assert len(whole) == 6
    latents = {path: path.read_bytes() for path in (out / "latents").glob("*-0.h5")}
    # One is lost, and a half-written one lies about.
    (out / "pasted" / "photos" / "sub" / "two.png_60+.png").unlink()
    (out / "pasted" / "photos" / "sub" / ".1.partial.png").touch()
    assert again(photos, out, "--dry-run") == (0, "")
    assert again(photos, out, "--paste", "--dry-run") == (0, "photos/sub/two.png\n")

    result = faceage("batch", photos, "--out", out, "--paste", *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["photos"]["ok"], told["detected"], told["optimised"]) == (3, 0, 0)
    assert files(out) == whole
    assert {path: path.read_bytes() for path in (out / "latents").glob("*-0.h5")} == latents


def test_render_pastes_what_the_photos_show(photos, aged, tmp_path):
    # The album has moved, one is gone, and another one has taken a name.
    others, out = tmp_path / "others", tmp_path / "out"
    shutil.copytree(photos, others)
    (others / "camera.jpg").unlink()
    Image.open(photos / "plain.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(others / "plain.png")
    result = faceage("render", aged / "latents.h5", "--paste", "--photos", others, "--out", out)
    assert result.returncode == 1
    assert "camera.jpg: there is no photo" in result.stderr
    assert "plain.png: the photo is not the one" in result.stderr
    assert files(out) == {name: content for name, content in files(aged).items() if "two.png" in name}
    assert len(list((out / "grids").rglob("*.png"))) == 4


def test_render_reads_no_photo_beyond_the_limits(photos, aged, tmp_path):
    render = ("render", aged / "latents.h5", "--paste", "--photos", photos, "--out", tmp_path / "out")
    result = faceage(*render, "--max-pixels", 1000)
    assert result.returncode == 1
    assert "plain.png" in result.stderr
    assert "over the limit" in result.stderr
    assert not list((tmp_path / "out").glob("pasted/**/*.png"))


def test_a_photo_without_the_face_that_is_asked_for(photos, tmp_path):
    out = tmp_path / "out"
    options = ("--faces", "1", "--objective", "none", "--ages", "60+", "--paste")
    result = faceage("batch", photos, "--out", out, *options)
    assert result.returncode == 1, result.stderr
    rows = rows_of(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "photos/plain.png": "no_face",
        "photos/camera.jpg": "no_face",
        "photos/sub/two.png": "ok",
    }
    assert "no face 1" in rows["photos/plain.png"]["reason"]
    assert [path.name for path in (out / "grids").rglob("*.png")] == ["two.png_1.png"]
    pasted = np.asarray(Image.open(out / "pasted" / "photos" / "sub" / "two.png_60+.png"))
    original = np.asarray(Image.open(photos / "sub" / "two.png"))
    changed = np.any(pasted != original, axis=2)
    (row,) = read_rows(out / "latents.h5")
    left = row.landmarks[:, 0].mean() < 350
    assert changed[:, :300].any() == left
    assert changed[:, 400:].any() != left
    assert in_this_process("batch", photos, "--out", out, *options, "--dry-run")[:2] == (0, "")
    # In any order, and each once.
    told = in_this_process("batch", photos, "--out", out, *options, "--faces", "1,1", "--dry-run")
    assert told[:2] == (0, "")


@pytest.mark.parametrize("faces", ["x", "0,", "-1", "biggest"])
def test_faces_that_are_none_are_exit_2(photos, tmp_path, faces):
    status, _, told = in_this_process("batch", photos, "--out", tmp_path / "out", "--faces", faces)
    assert status == 2
    assert "is no choice" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--paste"], "need each other"),
        (["--photos", "{photos}"], "need each other"),
        (["--paste", "--photos", "{photos}/gone"], "no such file"),
        (["--paste", "--photos", "{photos}", "--as", "sheets"], "not for sheets"),
        (["--paste", "--photos", "{photos}", "--out", "{photos}/out"], "inside the input"),
    ],
)
def test_pasting_wrongly_is_exit_2(photos, aged, tmp_path, arguments, said):
    given = [text.format(photos=photos) for text in arguments]
    status, _, told = in_this_process("render", aged / "latents.h5", "--out", tmp_path / "out", *given)
    assert status == 2
    assert said in told
    assert not (photos / "out").exists()


def test_results_are_not_taken_for_photos(aged):
    with pytest.raises(UsageError, match="inside the results"):
        check_out([aged / "pasted"], aged)


# One face, without a batch.


@pytest.fixture
def face(aged, astronaut, person):
    """A photo, and what pastes its face, at a larger or smaller size, moved by some pixels."""
    row = row_of(aged, "plain.png")

    def make(scale: float = 1.0, left: int = 0):
        size = (round(512 * scale), round(512 * scale))
        photo = np.asarray(Image.fromarray(astronaut).resize(size, Image.Resampling.BICUBIC))[:, left:]
        transform = row.transform.astype(float)
        transform[:, 2] += transform[:, 0] * left / scale
        transform[:, :2] /= scale
        return photo.copy(), transform, person.unaged, person.aged[1]

    return make


@pytest.mark.parametrize("scale", [0.12, 0.3, 2.0, 8.0])
def test_faces_of_any_size(face, scale):
    photo, *numbers = face(scale)
    before = photo.copy()
    paste_face(photo, *numbers)
    changed = np.any(photo != before, axis=2)
    rows, columns = np.where(changed)
    # As large a part of the photo as the aligned square is, whatever its size.
    side = 64 / float(np.hypot(*numbers[0][:, 0])) / photo.shape[1]
    assert 0.8 * side < np.ptp(columns) / photo.shape[1] < 1.4 * side
    assert 0.8 * side < np.ptp(rows) / photo.shape[0] < 1.4 * side
    assert 1 < np.abs(photo[changed].astype(float) - before[changed]).mean() < 40


def test_a_small_face_gets_the_mean_of_the_change_and_not_a_sample(face):
    large, small = face(4.0), face(0.25)
    changes = []
    for photo, *numbers in (large, small):
        before = photo.astype(float)
        paste_face(photo, *numbers)
        changes.append(photo - before)
    averaged = changes[0].reshape(128, 16, 128, 16, 3).mean((1, 3))
    where = np.abs(averaged).max(2) > 3
    assert where.sum() > 50
    assert np.corrcoef(averaged[where].ravel(), changes[1][where].ravel())[0, 1] > 0.85


def test_a_face_that_the_photos_edge_cuts(face):
    whole, *numbers = face()
    paste_face(whole, *numbers)
    left = 200
    photo, *numbers = face(left=left)
    paste_face(photo, *numbers)
    assert np.any(photo[:, 0] != face()[0][:, left])
    assert np.abs(photo.astype(int) - whole[:, left:]).max() <= 1


def test_nothing_changes_where_the_drawn_faces_are_the_same(face):
    photo, transform, unaged, _ = face()
    before = photo.copy()
    paste_face(photo, transform, unaged, unaged)
    np.testing.assert_array_equal(photo, before)


def test_grey_photos_stay_grey_and_alpha_as_it_is(face):
    photo, *numbers = face()
    colour = photo.copy()
    paste_face(colour, *numbers)
    for channels in (1, 2, 4):
        base = photo if channels == 4 else photo[..., 1:2]
        alpha = np.full((*photo.shape[:2], 1), 7, np.uint8)
        picture = np.ascontiguousarray(np.dstack([base, alpha]) if channels in (2, 4) else base)
        before = picture.copy()
        paste_face(picture, *numbers)
        if channels in (2, 4):
            np.testing.assert_array_equal(picture[..., -1], 7)
        assert np.abs(picture[..., 0].astype(int) - before[..., 0]).max() > 10
        if channels == 4:
            np.testing.assert_array_equal(picture[..., :3], colour)


@pytest.mark.parametrize(
    "broken",
    [np.full((2, 3), np.nan), np.zeros((2, 3)), np.eye(2, 3) * 1e-9, np.eye(2, 3) * 1e9, np.eye(2, 3)[:, [2, 2, 0]]],
)
def test_a_strangers_numbers_do_no_harm(face, broken):
    photo, _, *faces = face()
    before = photo.copy()
    assert not lies_in(broken, photo.shape[:2])
    with pytest.raises(ValueError, match="outside the photo"):
        paste_face(photo, broken, *faces)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("side", [64, 160])
def test_a_mask_is_whole_inside_and_nothing_at_the_border(side):
    mask = face_mask(side)
    assert mask.shape == (side, side)
    assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() == 0
    assert mask[side // 4 : -side // 4, side // 4 : -side // 4].min() == 1


# Files: what is read again and written alike.


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.png", "RGBA", {}),
        ("a.png", "L", {}),
        ("a.png", "LA", {}),
        ("a.tif", "RGB", {"compression": "tiff_lzw"}),
        ("a.tiff", "RGBA", {}),
        ("a.webp", "RGB", {"lossless": True}),
        ("a.webp", "RGBA", {"lossless": True, "exact": True}),
        ("a.bmp", "RGB", {}),
    ],
)
def test_lossless_formats_come_back_bit_for_bit(tmp_path, astronaut, name, mode, options):
    image = Image.fromarray(astronaut).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(astronaut[..., 0]))
    profile = PROFILE if mode.startswith("RGB") and not name.endswith("bmp") else None
    image.save(tmp_path / name, icc_profile=profile, **options)
    pixels, encoding = decode_original((tmp_path / name).read_bytes())
    np.testing.assert_array_equal(pixels.squeeze(), np.asarray(image))
    path = tmp_path / f"again{ending_for(Path(name))}"
    save_like(as_image(pixels), encoding, path)
    with Image.open(path) as written, Image.open(tmp_path / name) as source:
        assert (written.format, written.mode, written.size) == (source.format, source.mode, source.size)
        assert written.info.get("icc_profile") == source.info.get("icc_profile")
        assert written.info.get("compression") == source.info.get("compression")
        np.testing.assert_array_equal(np.asarray(written), np.asarray(image))


@pytest.mark.parametrize("options", [{"quality": 40}, {"quality": 97, "subsampling": 0, "progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_keeps_its_quality(tmp_path, astronaut, options, mode):
    Image.fromarray(astronaut).convert(mode).save(tmp_path / "a.jpg", **options)
    pixels, encoding = decode_original((tmp_path / "a.jpg").read_bytes())
    save_like(as_image(pixels), encoding, tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as source, Image.open(tmp_path / "b.jpg") as written:
        assert written.mode == ("L" if mode == "L" else "RGB")
        assert written.quantization.items() <= source.quantization.items()
        assert written.info.get("progressive") == source.info.get("progressive")
        again = np.asarray(written.convert("RGB")).astype(int)
    assert np.abs(again - decode((tmp_path / "a.jpg").read_bytes())).mean() < (4 if mode == "CMYK" else 1.5)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_keeps_its_resolution(tmp_path, astronaut, name, orientation):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    options = {} if name in ("a.bmp", "a.tif") else {"exif": tags}
    Image.fromarray(astronaut[:, :400]).save(tmp_path / name, dpi=(300, 150), **options)
    pixels, encoding = decode_original((tmp_path / name).read_bytes())
    save_like(as_image(pixels), encoding, tmp_path / f"again-{name}")
    with Image.open(tmp_path / f"again-{name}") as written:
        turned = orientation == 6 and bool(options)
        assert written.info["dpi"] == pytest.approx((150, 300) if turned else (300, 150), abs=0.5)


@pytest.mark.parametrize("dpi", [(0, 0), (1e9, 1e9), (float("nan"), 72)])
def test_a_resolution_that_is_none_is_not_kept(astronaut, dpi):
    buffer = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add(b"pHYs", struct.pack(">IIB", *(int(min(np.nan_to_num(value) / 0.0254, 2**31)) for value in dpi), 1))
    Image.fromarray(astronaut).save(buffer, "PNG", pnginfo=info)
    assert decode_original(buffer.getvalue())[1].dpi == ()


def test_a_webp_with_losses_stays_one(tmp_path, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "a.webp", quality=80)
    pixels, encoding = decode_original((tmp_path / "a.webp").read_bytes())
    assert not encoding.lossless
    save_like(as_image(pixels), encoding, tmp_path / "b.webp")
    assert (tmp_path / "b.webp").stat().st_size < 3 * (tmp_path / "a.webp").stat().st_size


@pytest.mark.parametrize("name", ["a.gif", "a.heic", "a.avif", "a", "a.jpg.bak"])
def test_what_is_not_written_becomes_png(name):
    assert ending_for(Path(name)) == ".png"


@pytest.mark.parametrize("mode", ["1", "P", "I;16", "LAB"])
def test_unusual_pixels_are_those_that_the_face_was_found_in(tmp_path, astronaut, mode):
    image = Image.fromarray(astronaut)
    if mode == "I;16":
        image = Image.fromarray(astronaut[..., 0].astype(np.uint16) * 257)
    elif mode == "LAB":
        image = image.convert("YCbCr")
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    pixels, _ = decode_original(buffer.getvalue())
    np.testing.assert_array_equal(np.broadcast_to(pixels, (512, 512, 3)), decode(buffer.getvalue()))


def test_a_profile_for_other_channels_is_not_kept(astronaut):
    buffer = io.BytesIO()
    Image.fromarray(astronaut).convert("L").save(buffer, "PNG", icc_profile=PROFILE)
    assert decode_original(buffer.getvalue())[1] == Encoding()


def test_inks_become_colours_of_the_screen(tmp_path, astronaut):
    # LittleCMS makes no profile of inks; without one they are what `decode` takes them for.
    Image.fromarray(astronaut).convert("CMYK").save(tmp_path / "a.tif", icc_profile=b"no profile at all" * 20)
    content = (tmp_path / "a.tif").read_bytes()
    pixels, encoding = decode_original(content)
    assert not encoding.profile
    np.testing.assert_array_equal(pixels, decode(content))


def test_what_cannot_be_pasted_is_one_sentence(tmp_path, astronaut, aged, person):
    paster, row = Paster(), row_of(aged, "plain.png")
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no photo")
    first, second = album_photos([tmp_path])
    paths = pasted_paths(tmp_path / "out", first.name, parse_ages("0-18"))

    def photo(file, input: str = "") -> Photo:
        return Photo(file, PhotoOutcome(file.name, "ok", 1, "", input=input), [row])

    try:
        with pytest.raises(PhotoError, match="not an image"):
            paster.paste(photo(second), [person], paths)
        with pytest.raises(PhotoError, match="not the one"):
            paster.paste(photo(first, "0" * 64), [person], paths)
        with closing(Paster(Limits(pixels=1000))) as strict, pytest.raises(PhotoError, match="over the limit"):
            strict.paste(photo(first), [person], paths)
        assert not (tmp_path / "out").exists()
        paster.paste(photo(first), [person], paths)
        assert paths[0].exists()
        paths[0].unlink()
        # The process that reads photos is killed at rest, for want of memory, say.
        os.kill(paster._decoder._process.pid, signal.SIGKILL)
        paster.paste(photo(first), [person], paths)
        assert paths[0].exists()
    finally:
        paster.close()


def test_a_mark_is_beside_the_face(tmp_path, astronaut, aged, person):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    (file,) = album_photos([tmp_path])
    row = row_of(aged, "plain.png")
    (path,) = pasted_paths(tmp_path / "out", file.name, parse_ages("0-18"))
    with closing(Paster()) as paster:
        paster.paste(Photo(file, PhotoOutcome(file.name, "ok", 1, ""), [row]), [person], [path], marked=True)
    marked, plain = (np.asarray(Image.open(each)) for each in (path, aged / "pasted" / "photos" / "plain.png_0-18.png"))
    y, x = np.nonzero((marked != plain).any(2))
    assert (y.max(), x.max()) == (511, 511)
    assert min(y.min(), x.min()) > 480
    left, top, width, height = row.box
    assert not ((x >= left) & (x < left + width) & (y >= top) & (y < top + height)).any()


@pytest.mark.parametrize("space", ["Display P3", "ProPhoto"])
def test_a_photo_in_other_colours_ages_as_in_srgb_and_stays_in_them(tmp_path, astronaut, aged, person, space):
    own, profile = values_in(space, astronaut), rgb_profile(*SPACES[space])
    (tmp_path / "photos").mkdir()
    Image.fromarray(own).save(tmp_path / "photos" / "a.png", icc_profile=profile)
    (file,) = album_photos([tmp_path / "photos"])
    row = row_of(aged, "plain.png")
    paths = pasted_paths(tmp_path / "out", file.name, parse_ages(",".join(AGES)))
    with closing(Paster()) as paster:
        # Nothing is known of its bytes: that it shows the face is seen in sRGB too.
        paster.paste(Photo(file, PhotoOutcome(file.name, "ok", 1, ""), [row]), [person], paths)
    outside = ndimage.maximum_filter(mask_in(astronaut.shape[:2], row), 5) == 0
    for path, age in zip(paths, AGES, strict=True):
        with Image.open(path) as written:
            assert written.info["icc_profile"] == profile
            np.testing.assert_array_equal(np.asarray(written)[outside], own[outside])
        shown = decode(path.read_bytes())
        intended = np.asarray(Image.open(aged / "pasted" / "photos" / f"plain.png_{age}.png"))
        face = slice(*np.flatnonzero(~outside.all(1))[[0, -1]]), slice(*np.flatnonzero(~outside.all(0))[[0, -1]])
        print(age, difference(astronaut[face], intended[face]), difference(shown[face], intended[face]))
        assert difference(shown[face], intended[face]) < 1


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_photo_stays_grey_and_only_its_face_changes(tmp_path, astronaut, aged, person, mode):
    image = Image.fromarray(astronaut).convert("L").convert(mode)
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos" / "a.png")
    (file,) = album_photos([tmp_path / "photos"])
    row = row_of(aged, "plain.png")
    (path,) = pasted_paths(tmp_path / "out", file.name, parse_ages("60+"))
    with closing(Paster()) as paster:
        paster.paste(Photo(file, PhotoOutcome(file.name, "ok", 1, ""), [row]), [person], [path])
    mask = mask_in(astronaut.shape[:2], row)
    with Image.open(path) as written:
        assert written.mode == mode
        changed, before = (np.asarray(picture.getchannel("L")) for picture in (written, image))
    outside = ndimage.maximum_filter(mask, 5) == 0
    np.testing.assert_array_equal(changed[outside], before[outside])
    assert np.abs(changed[mask > 0.9].astype(int) - before[mask > 0.9]).mean() > 1
