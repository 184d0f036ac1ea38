"""Which layout a folder has, labels.csv, and when a source is prepared anew."""

import os

import h5py
import numpy as np
import pytest
from imdb_wiki_tree import write_tree
from PIL import Image

from faceage.data.prepare import fingerprint
from faceage.data.rows import Filters, Row
from faceage.data.sources import prepared, read_rows
from faceage.errors import DataError, UsageError


def folder(root, labels: str | bytes | None = None, photos=("a.jpg", "sub/b.jpg")):
    for name in photos:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a photo")
    if labels is not None:
        (root / "labels.csv").write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    return root


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("path,age\na.jpg,30\nsub/b.jpg,0\n", [Row("a.jpg", 30), Row("sub/b.jpg", 0)]),
        ("\ufeffpath,age\r\na.jpg,30\r\n\r\n", [Row("a.jpg", 30)]),
        ("Age, Path ,note\n 30 ,a.jpg,hello", [Row("a.jpg", 30)]),
        ("path,age,identity\na.jpg,34.9, Zoë \nsub/b.jpg,1,", [Row("a.jpg", 34, "", "Zoë"), Row("sub/b.jpg", 1)]),
        ("gender,path,age\nFemale,a.jpg,5\nm,sub/b.jpg,6", [Row("a.jpg", 5, "female"), Row("sub/b.jpg", 6, "male")]),
        ("gender,path,age\nwoman,a.jpg,5\nBoy,sub/b.jpg,6", [Row("a.jpg", 5, "female"), Row("sub/b.jpg", 6, "male")]),
        ("path,age\n a.jpg ,30\n", [Row("a.jpg", 30)]),
        ("path,age\nsub\\b.jpg,30\n", [Row("sub/b.jpg", 30)]),
        ("PATH,AGE,IDENTITY\na.jpg,30,Ann\n", [Row("a.jpg", 30, "", "Ann")]),
        ("path;age\na.jpg;30\n", [Row("a.jpg", 30)]),
        ("path\tage\r\na.jpg\t30\r\n", [Row("a.jpg", 30)]),
        ("path,age\na.jpg,30\n".encode("utf-16"), [Row("a.jpg", 30)]),
        ("path,age\r\na.jpg,30\r\n".encode("utf-16-le"), [Row("a.jpg", 30)]),
        ('path,age,note\na.jpg,30,"two\nlines"\n', [Row("a.jpg", 30)]),
        ("path,age,gender\na.jpg,5,unknown\nsub/b.jpg,6", [Row("a.jpg", 5), Row("sub/b.jpg", 6)]),
    ],
)
def test_labels_are_read(tmp_path, labels, expected):
    rows = read_rows(folder(tmp_path, labels), Filters())
    assert (rows.rows, rows.dropped) == (expected, [])


def test_a_name_with_spaces_or_backslashes_is_that_files(tmp_path):
    names = [" a.jpg", "sub\\b.jpg"]
    rows = read_rows(
        folder(tmp_path, "path,age\n a.jpg,30\nsub\\b.jpg,31\n", [*names, "a.jpg", "sub/b.jpg"]), Filters()
    )
    assert [row.source for row in rows.rows] == names


def test_a_photo_that_is_listed_twice_is_one_row_and_with_two_ages_none(tmp_path):
    lines = "path,age\na.jpg,30\n./a.jpg,30.5\nsub/b.jpg,20\nsub\\b.jpg,21\n"
    with pytest.raises(DataError, match="listed with different ages"):
        read_rows(folder(tmp_path, lines.replace("30.5", "31")), Filters())
    rows = read_rows(folder(tmp_path, lines), Filters())
    assert rows.rows == [Row("a.jpg", 30)]
    reasons = ["listed twice", "listed with different ages", "listed with different ages"]
    assert [reason for _, reason in rows.dropped] == reasons


def test_every_row_of_the_labels_that_is_not_used_has_its_reason(tmp_path):
    bad = {
        "-1": "age under 0",
        "-0.5": "age under 0",
        "101": "age over 100",
        "": "no age",
        " ": "no age",
        "old": "age is no number",
        "nan": "age is no number",
        "inf": "age is no number",
        "20,30": "more cells than columns",
    }
    lines = [f"{i}.jpg,{text}" for i, text in enumerate(bad)]
    lines += ["gone.jpg,20", "sub,20", "../a.jpg,20", "/a.jpg,20", ",20", "a.jpg,20", "only.jpg"]
    photos = ["a.jpg", "sub/b.jpg", *(f"{i}.jpg" for i in range(len(bad)))]
    rows = read_rows(folder(tmp_path, "\n".join(["path,age", *lines]), photos), Filters())
    assert rows.rows == [Row("a.jpg", 20)]
    assert sorted(rows.dropped) == sorted(
        [(f"{i}.jpg", reason) for i, reason in enumerate(bad.values())]
        + [("gone.jpg", "missing file"), ("sub", "missing file"), ("", "no path"), ("only.jpg", "no age")]
        + [("../a.jpg", "path outside the folder"), ("/a.jpg", "path outside the folder")]
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("file,age\na.jpg,3", "has no column path"),
        ("a.jpg,3", "has no column path and no column age"),
        ("", "has no column path and no column age"),
        ("path,years\na.jpg,3", "has no column age"),
        (b"path,age\n\xff\xfe.jpg,3", "cannot be read"),
        ('path,age\n"a.jpg,3', "cannot be read"),
    ],
)
def test_labels_that_cannot_be_read_say_why(tmp_path, labels, message):
    with pytest.raises(DataError, match=message) as error:
        read_rows(folder(tmp_path, labels), Filters())
    assert error.value.hint


def test_another_folder_is_an_error_that_names_the_three_layouts(tmp_path):
    for root in (folder(tmp_path / "photos"), tmp_path / "none"):
        with pytest.raises(DataError) as error:
            read_rows(root, Filters())
        for layout in ("imdb_crop/imdb.mat", "labels.csv", "26_1_0_20170116171048641.jpg"):
            assert layout in error.value.hint


def test_a_source_of_which_nothing_is_left_says_what_became_of_it(tmp_path):
    root = folder(tmp_path, photos=("101_0_0_1.jpg", "110_0_0_1.jpg", "face.jpg"))
    with pytest.raises(DataError, match=r"not one photo .* 2 age over 100, 1 no age in the name"):
        read_rows(root, Filters())


def test_a_name_that_is_not_utf_8_is_dropped(tmp_path):
    folder(tmp_path, photos=("5_0_0_1.jpg",))
    try:
        (tmp_path / os.fsdecode(b"6_0_0_\xff.jpg")).write_text("a photo")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    rows = read_rows(tmp_path, Filters())
    assert [row.source for row in rows.rows] == ["5_0_0_1.jpg"]
    assert rows.dropped == [("6_0_0_\\udcff.jpg", "name is not UTF-8")]


@pytest.mark.parametrize("ages", [(-1, 50), (0, 101), (30, 20)])
def test_a_range_without_ages_is_a_wrong_usage(ages):
    with pytest.raises(UsageError, match=f"ages from {ages[0]} to {ages[1]}"):
        Filters(*ages)


def test_the_fingerprint_is_that_of_the_rows(tmp_path):
    plain = "path,age,identity\na.jpg,30,x\nsub/b.jpg,40,y\n"

    def of(labels: str = plain, filters: Filters | None = None) -> str:
        return fingerprint(read_rows(folder(tmp_path, labels), filters or Filters()))

    assert of() == of()
    found = {of(), of(filters=Filters(min_age=35))}
    found |= {of(plain.replace(*change)) for change in (("30", "31"), ("x", "z"), ("sub/b.jpg", "sub/c.jpg"))}
    rows = read_rows(folder(tmp_path, plain), Filters())
    (tmp_path / "a.jpg").write_text("another photo")
    assert len(found | {fingerprint(rows)}) == 6


@pytest.fixture
def faces(tmp_path, astronaut):
    """A source of three photos."""
    root = tmp_path / "source"
    root.mkdir()
    for i, age in enumerate((5, 30, 70)):
        Image.fromarray(astronaut[i : 220 + i, 105:325]).save(root / f"{age}_0_0_{i}.png")
    return root


def test_a_source_is_prepared_once_for_a_run_and_anew_when_it_changes(tmp_path, faces):
    run, told = tmp_path / "runs" / "first", []

    def made() -> tuple[int, list[int]]:
        told.clear()
        path = prepared(faces, run, Filters(), lambda done, total: told.append((done, total)))
        assert path == run / "data.h5"
        assert [child.name for child in run.iterdir()] == ["data.h5"]
        with h5py.File(path) as file:
            return path.stat().st_mtime_ns, file["age"][:].tolist()

    first, ages = made()
    assert (ages, told[-1]) == ([30, 5, 70], (3, 3))
    assert made() == (first, ages)
    assert told == [(3, 3)]
    (faces / "70_0_0_2.png").rename(faces / "60_0_0_2.png")
    again, ages = made()
    assert again > first
    assert sorted(ages) == [5, 30, 60]


def test_a_preparation_that_stages_were_trained_on_is_not_replaced(tmp_path, faces):
    made = prepared(faces, tmp_path / "run", Filters())
    before = made.read_bytes()
    assert prepared(faces, tmp_path / "run", Filters(), in_use=True) == made
    (faces / "70_0_0_2.png").unlink()
    with pytest.raises(UsageError, match=r"data\.h5 was prepared from other photos") as error:
        prepared(faces, tmp_path / "run", Filters(), in_use=True)
    assert "another --run folder" in error.value.hint
    assert made.read_bytes() == before
    # One that cannot be read is lost already.
    made.write_bytes(before[:1000])
    prepared(faces, tmp_path / "run", Filters(), in_use=True)
    with h5py.File(made) as file:
        assert len(file["age"]) == 2


def test_a_run_folder_that_cannot_be_made_is_told(tmp_path, faces):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made: Not a directory"):
        prepared(faces, tmp_path / "file" / "run", Filters())


def test_a_prepared_file_is_a_source_itself(tmp_path, faces):
    path = prepared(faces, tmp_path / "run", Filters())
    assert prepared(path, tmp_path / "other", Filters()) == path
    assert not (tmp_path / "other").exists()
    (tmp_path / "labels.csv").write_text("path,age")
    with pytest.raises(DataError, match=r"labels\.csv"):
        prepared(tmp_path / "labels.csv", tmp_path / "other", Filters())


def test_imdb_wiki_comes_before_the_labels(tmp_path):
    photo = np.zeros((20, 20, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "5_0_0_1.png")
    tree = write_tree(tmp_path, [("5_a.jpg", (tmp_path / "5_0_0_1.png").read_bytes(), 5)], planted=False)
    folder(tmp_path, "path,age\na.jpg,30")
    assert [row.source for row in read_rows(tmp_path, Filters()).rows] == list(tree.ages)
