"""What `faceage data` says of a prepared data set."""

import json

import h5py
import numpy as np
import pytest
from commands import faceage
from imdb_wiki_tree import blank_photo, write_tree
from PIL import Image
from test_data import face_set

from faceage.ages import AGE_CLASSES
from faceage.data.info import contact_sheet, few_faces, read_info

CLASSES = [0, 0, 0, 1, 2, 2, 5]
SPLIT = [0, 0, 2, 1, 0, 0, 2]


@pytest.fixture
def file(tmp_path, write_faces):
    faces = face_set(
        CLASSES, identities=("a", "b", "a", "", "", "c", "c"), genders=("male", *["female"] * 3, *[""] * 3)
    )
    path = write_faces(tmp_path / "faces.h5", [faces])
    with h5py.File(path, "r+") as content:
        content["split"][:] = SPLIT
    return path


def test_faces_are_counted_by_class_and_split(file):
    info = read_info(file)
    assert (info.faces, info.people) == (7, 3)
    assert info.genders == {"female": 3, "male": 1}
    assert info.per_split == {"train": 4, "validation": 1, "test": 2}
    assert list(info.per_class.values()) == [3, 1, 2, 0, 0, 1]
    assert info.per_class_and_split["0-18"] == {"train": 2, "validation": 0, "test": 1}
    assert info.per_class_and_split["50-59"] == {"train": 0, "validation": 0, "test": 0}
    assert info.dropped == {"missing file": 1}
    assert [sentence.split()[3] for sentence in few_faces(info.per_class)] == [f"{name};" for name in AGE_CLASSES]


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_the_sheet_shows_each_class_in_its_own_row(file, columns):
    sheet = np.asarray(contact_sheet(file, columns))
    left = sheet.shape[1] - columns * 66 - 2
    seen = []
    for row in range(len(AGE_CLASSES)):
        cells = [sheet[2 + row * 66 :, left + 2 + column * 66 :][:64, :64] for column in range(columns)]
        assert all((cell == cell[0, 0]).all() for cell in cells)
        seen.append([int(cell[0, 0, 0]) for cell in cells])
        assert (sheet[2 + row * 66 :, :left][:64] < 128).any(), "no label"
    # The faces of `face_set` are of the colour of their own number; a place without a face is white.
    for index, row in enumerate(seen):
        members = [i for i, found in enumerate(CLASSES) if found == index]
        shown = [colour for colour in row if colour != 255]
        assert len(set(shown)) == len(shown) == min(columns, len(members))
        assert set(shown) <= set(members)
        assert row[len(shown) :] == [255] * (columns - len(shown))


def test_info_on_the_command_line(file, tmp_path):
    shown = faceage("data", "info", file, "--sheet", tmp_path / "sheet.png")
    assert shown.returncode == 0
    assert "7 faces, 3 people known by name, 3 female, 1 male" in " ".join(shown.stdout.split())
    assert "dropped: missing file" in shown.stdout
    assert "3 faces of 0-18" in shown.stderr
    assert Image.open(tmp_path / "sheet.png").height == 6 * 66 + 2
    summary = json.loads(faceage("data", "info", file, "--json").stdout)
    assert summary["per_class_and_split"]["60+"] == {"train": 0, "validation": 0, "test": 1}
    assert faceage("data", "info", file, "--dropped").stdout == "gone.jpg\tmissing file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.h5"], "there is no data set none.h5"),
        (["faces.h5", "--dropped", "--json"], "both write to stdout"),
        (["faces.h5", "--sheet", "none/sheet.png"], "--sheet none/sheet.png cannot be written"),
    ],
)
def test_wrong_usage_of_info_is_one_sentence(file, monkeypatch, arguments, message):
    monkeypatch.chdir(file.parent)
    shown = faceage("data", "info", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr


def test_prepare_on_the_command_line(tmp_path, astronaut):
    Image.fromarray(astronaut[10:250, 105:345]).save(tmp_path / "face.jpg")
    face = (tmp_path / "face.jpg").read_bytes()
    photos = [("5_a.jpg", face, 5), ("40_b.jpg", face, 40), ("7_c.jpg", blank_photo(), 7)]
    tree = write_tree(tmp_path / "data", photos)
    wanted = ["--out", tmp_path / "faces.h5", "--second-faces", "--min-face-score", "0.5", "--min-age", "20"]
    shown = faceage("data", "prepare", tree.root, *wanted, "--json")
    assert shown.returncode == 0, shown.stderr
    summary = json.loads(shown.stdout)
    # The photo of 40 years, and those planted with a low score and with a second face, both of 40.
    assert summary["per_class"] == {**dict.fromkeys(AGE_CLASSES, 0), "40-49": 3}
    dropped = dict(
        line.split("\t") for line in faceage("data", "info", tmp_path / "faces.h5", "--dropped").stdout.splitlines()
    )
    expected = {**tree.dropped, "imdb_crop/00/5_a.jpg": "age under 20", "imdb_crop/02/7_c.jpg": "age under 20"}
    expected = {source: reason.replace("under 0", "under 20") for source, reason in expected.items()}
    for source in ("imdb_crop/bad/low.jpg", "imdb_crop/bad/two.jpg"):
        del expected[source]
    assert dropped == expected


def test_prepare_wants_a_source_that_it_knows(tmp_path):
    shown = faceage("data", "prepare", tmp_path, "--out", tmp_path / "faces.h5")
    assert shown.returncode == 2
    assert "labels.csv" in shown.stderr
    shown = faceage("data", "prepare", tmp_path, "--out", tmp_path / "f.h5", "--min-age", "50", "--max-age", "20")
    assert shown.returncode == 2
    assert "ages from 50 to 20" in shown.stderr
