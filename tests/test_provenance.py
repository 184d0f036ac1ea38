"""Aged pictures say what they are: in their metadata, for other programs, and visibly where that is asked for."""

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceage.photos.provenance import EDITED, GENERATED
from faceage.photos.write_like import Encoding, as_image, save_like
from faceage.pictures.mark import mark
from faceage.pictures.save import save_animation, save_png, save_webp

SPACE = (0.45455, 0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
"""A PNG's gAMA and cHRM: chunks of their own, beside which the packet lies."""
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TERM = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def write(pixels: np.ndarray, path: Path, packet: bytes = EDITED) -> None:
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())]
    if path.stem == "moving":
        save_animation(frames, path, 80, packet)
    elif path.stem == "grid":
        (save_webp if path.suffix == ".webp" else save_png)(frames[0], path, packet)
    else:
        save_like(as_image(pixels), Encoding(dpi=(300, 300), compression="tiff_lzw", png_space=SPACE), path)


NAMES = ("grid.png", "grid.webp", "moving.gif", "moving.webp", "a.jpg", "a.png", "a.webp", "a.tif")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_how_it_was_made_and_nothing_else(tmp_path, noise, name):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(noise, tmp_path / folder / name)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / name) as picture:
        # Pillow does not look for it in a GIF; exiftool does.
        content = (tmp_path / "one" / name).read_bytes()
        assert EDITED in content if name.endswith("gif") else picture.info["xmp"] == EDITED
        assert not picture.getexif().get_ifd(0x8825)
        if name.startswith("moving"):
            assert picture.n_frames == 2
        if name.endswith(("png", "gif", "tif")) and name != "moving.gif":
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), noise)


def test_a_bmp_has_no_place_for_it(tmp_path, noise):
    write(noise, tmp_path / "a.bmp")
    assert b"adobe" not in (tmp_path / "a.bmp").read_bytes()


@pytest.mark.parametrize(
    ("packet", "term"),
    [(EDITED, "compositeWithTrainedAlgorithmicMedia"), (GENERATED, "trainedAlgorithmicMedia")],
)
def test_the_packet_is_a_property_of_the_vocabulary(packet, term):
    (description,) = ET.fromstring(packet.decode()).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert [(each.tag, each.text) for each in description] == [(TERM, TERMS + term)]


def test_another_program_reads_it(tmp_path, noise):
    if not shutil.which("exiftool"):
        pytest.skip("no exiftool on this machine: apt-get install libimage-exiftool-perl")
    for name in NAMES:
        write(noise, tmp_path / name)
    command = ["exiftool", "-s3", "-a", "-n", "-XMP:all", *NAMES]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    values = [line for line in said.splitlines() if not line.startswith("====") and "files read" not in line]
    assert values == [TERMS + "compositeWithTrainedAlgorithmicMedia"] * len(NAMES)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_mark_is_in_a_corner_and_nowhere_else(channels):
    pixels = np.full((160, 200, channels), 90, np.uint8)
    mark(pixels)
    changed = np.argwhere((pixels != 90).any(2))
    assert changed.min(0).tolist() == [160 - np.ptp(changed[:, 0]) - 1, 200 - np.ptp(changed[:, 1]) - 1]
    assert 10 <= np.ptp(changed[:, 0]) <= 20
    assert 12 <= np.ptp(changed[:, 1]) <= 24
    label = pixels[changed[:, 0].min() :, changed[:, 1].min() :]
    assert (label.min(), label[..., 0].max()) == (32, pytest.approx(255, abs=25))
    if channels in (2, 4):
        assert (label[..., -1] == 255).all()


@pytest.mark.parametrize(
    ("faces", "corner"),
    [
        ([], (-1, -1)),
        ([(100, 50, 99, 99)], (-1, 0)),
        ([(100, 50, 99, 99), (0, 60, 40, 90)], (0, -1)),
        ([(100, 0, 100, 150), (0, 60, 40, 90)], (0, 0)),
        ([(float("nan"),) * 4], (-1, -1)),
    ],
)
def test_a_mark_keeps_off_faces(faces, corner):
    pixels = np.full((150, 200, 3), 90, np.uint8)
    mark(pixels, faces)
    assert pixels[corner].tolist() == [32] * 3
    assert sum(pixels[y, x, 0] != 90 for y in (0, -1) for x in (0, -1)) == 1


def test_a_mark_grows_with_the_picture_and_fits_into_any():
    heights = []
    for side in (160, 1280, 4000):
        pixels = np.zeros((side, side, 3), np.uint8)
        mark(pixels)
        heights.append(int(pixels.any((1, 2)).sum()))
    assert heights[0] < heights[1] < heights[2] < 4000 / 12
    mark(np.zeros((3, 5, 3), np.uint8))
