"""IMDB-WIKI as published: every label with its own photo, and every row that is not used with its own reason."""

import io
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date

import h5py
import numpy as np
import pytest
from conftest import DATA
from imdb_wiki_tree import Entry, Tree, blank_photo, datenum, utkface_photos, write_halves, write_tree
from PIL import Image
from scipy.io import loadmat, savemat

from faceage.data.dataset import load_faces
from faceage.data.imdb_wiki import age_on_1_july, imdb_wiki_rows, person
from faceage.data.prepare import prepare
from faceage.data.rows import Filters
from faceage.data.sources import read_rows
from faceage.errors import DataError
from faceage.faces.align import align, face_transform
from faceage.photos.decode import decode, read_photo
from faceage.store.dataset import load_dropped

BORN = datenum(1980, 3, 1)


def astronaut_photos(astronaut) -> list[tuple[str, bytes, int]]:
    """Chips of one face, brighter with age; the age is in the name too."""
    random = np.random.default_rng(0)
    photos = []
    for age in (0, 18, 19, 30, 45, 59, 60, 100):
        top, left = random.integers((10, 105), (30, 125))
        chip = (astronaut[top : top + 220, left : left + 220] * (0.4 + 0.006 * age)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(chip).save(buffer, "JPEG", quality=95)
        photos.append((f"{age}_astronaut.jpg", buffer.getvalue(), age))
    return photos


def check_prepared(tree: Tree, out, undetected: int = 0) -> None:
    """Every row of the tree is accounted for, and every face carries the labels of the photo that it was cut from.

    The detector may miss up to `undetected` faces of real photos.
    """
    rows = read_rows(tree.root, Filters())
    info = prepare(rows, out)
    faces, dropped = load_faces(out), load_dropped(out)
    found = dict(dropped)
    assert len(found) == len(dropped)
    missed = set(found) - set(tree.dropped)
    assert {source: found[source] for source in tree.dropped} == tree.dropped
    assert {found[source] for source in missed} <= {"no face"}
    assert len(missed) <= undetected
    assert set(faces.sources) == set(tree.ages) - missed
    assert info.dropped == dict(sorted(Counter(found.values()).items()))
    assert info.people == len({tree.people[source] for source in faces.sources})
    for i, source in enumerate(faces.sources):
        assert faces.ages[i] == tree.ages[source] == int(source.split("/")[-1].split("_")[0])
        assert (faces.genders[i], faces.identities[i]) == (tree.genders[source], tree.people[source])
        again = align(decode(read_photo(tree.root / source)), face_transform(faces.landmarks[i]))
        np.testing.assert_array_equal(faces.faces[i], again)
    splits = defaultdict(set)
    with h5py.File(out) as file:
        for identity, split in zip(file["identity"].asstr()[:], file["split"][:], strict=True):
            splits[identity].add(split)
    assert {len(found) for found in splits.values()} == {1}


def test_every_row_of_a_published_layout_is_accounted_for(tmp_path, astronaut):
    tree = write_tree(tmp_path / "data", astronaut_photos(astronaut))
    check_prepared(tree, tmp_path / "faces.h5")
    faces = load_faces(tmp_path / "faces.h5")
    # By the pixels and not by any name: the older, the brighter.
    brightness = faces.faces[np.argsort(faces.ages)].mean(axis=(1, 2, 3))
    assert (np.diff(brightness) > 0).all()


@pytest.mark.skipif(not (DATA / "utkface").is_dir(), reason=f"no data set in {DATA / 'utkface'}")
def test_labels_of_real_faces_stay_with_them(tmp_path):
    tree = write_tree(tmp_path / "data", utkface_photos(48))
    check_prepared(tree, tmp_path / "faces.h5", undetected=4)


def test_the_tree_is_of_the_published_kind(tmp_path):
    write_halves(tmp_path, [Entry("imdb", "1/a.jpg", None, BORN, 2000), Entry("imdb", "1/b.jpg", None, BORN, 2000)])
    struct = loadmat(tmp_path / "imdb_crop/imdb.mat")["imdb"]
    assert struct.shape == (1, 1)
    assert struct["dob"][0, 0].shape == struct["full_path"][0, 0].shape == (1, 2)
    assert struct["full_path"][0, 0][0, 1].tolist() == ["1/b.jpg"]


@pytest.mark.parametrize("half", ["imdb", "wiki"])
def test_either_half_will_do(tmp_path, half):
    photos = [("5_a.jpg", blank_photo(), 5), ("6_b.jpg", blank_photo(), 6)]
    tree = write_tree(tmp_path, photos, planted=False)
    (tmp_path / f"{'wiki' if half == 'imdb' else 'imdb'}_crop").rename(tmp_path / "elsewhere")
    rows = read_rows(tmp_path, Filters())
    assert [row.source for row in rows.rows] == [source for source in tree.ages if source.startswith(half)]


def rows_of(root, *entries: Entry, filters: Filters | None = None):
    write_halves(root, entries)
    return imdb_wiki_rows(root, filters or Filters())


ENTRY = Entry("wiki", "1/a.jpg", None, BORN, 2000)


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), "plain"),
        (Filters(min_face_score=0.5), "plain low"),
        (Filters(min_face_score=-np.inf), "plain low none"),
        (Filters(second_faces=True), "plain second"),
        (Filters(max_age=101 - 1, min_age=20), "plain"),
        (Filters(min_age=21), ""),
        (Filters(max_age=19), ""),
    ],
)
def test_filters_decide_what_is_kept(tmp_path, filters, kept):
    entries = {
        "plain": ENTRY,
        "low": replace(ENTRY, face_score=0.9),
        "none": replace(ENTRY, face_score=-np.inf),
        "second": replace(ENTRY, second_face_score=2.0),
    }
    rows = rows_of(tmp_path, *(replace(entry, full_path=name) for name, entry in entries.items()), filters=filters)
    assert [row.source for row in rows.rows] == [f"wiki_crop/{name}" for name in kept.split()]
    assert len(rows.rows) + len(rows.dropped) == len(entries)


@pytest.mark.parametrize("path", ["../../secret.jpg", "/etc/passwd", "a/../../b.jpg"])
def test_a_path_that_leads_outside_is_dropped(tmp_path, path):
    rows = rows_of(tmp_path, ENTRY, replace(ENTRY, full_path=path))
    assert [row.source for row in rows.rows] == ["wiki_crop/1/a.jpg"]
    assert rows.dropped == [(f"wiki_crop/{path}", "path outside the folder")]


def test_age_is_that_of_a_calendar():
    random = np.random.default_rng(0)
    for _ in range(500):
        born = date.fromordinal(int(random.integers(700_000, 735_000)))
        year = int(random.integers(born.year, born.year + 101))
        expected = year - born.year - ((born.month, born.day) > (7, 1))
        number = np.array([born.toordinal() + 366 + random.random()])
        assert age_on_1_july(number, np.array([float(year)])) == [expected]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Zoë Kravitz", "ZOE KRAVITZ"), ("Jean-Luc  Picard", "Jean Luc Picard"), ("O'Neal, Tatum", "O’Neal Tatum ")],
)
def test_a_persons_spellings_are_one_person(one, other):
    assert person(one) == person(other) != ""


def test_people_are_told_apart_and_the_nameless_are_nobody(tmp_path):
    assert person("王菲") != person("王力宏") != ""
    assert person(" - ") == ""
    rows = rows_of(tmp_path, ENTRY, replace(ENTRY, name=""))
    assert [row.identity for row in rows.rows] == ["somebody", ""]


def save(root, struct) -> None:
    (root / "wiki_crop").mkdir()
    savemat(root / "wiki_crop/wiki.mat", {"wiki": struct})


def published(count: int, **changes) -> dict:
    fields = {
        "dob": np.full((1, count), BORN, np.int32),
        "photo_taken": np.full((1, count), 2000, np.uint16),
        "full_path": np.array([[f"{i}.jpg" for i in range(count)]], object),
        "face_score": np.full((1, count), 2.0),
    }
    return {**fields, **changes}


def test_integers_are_numbers_and_optional_fields_may_be_absent(tmp_path):
    save(tmp_path, published(2))
    rows = imdb_wiki_rows(tmp_path, Filters())
    assert [(row.source, row.age, row.gender, row.identity) for row in rows.rows] == [
        ("wiki_crop/0.jpg", 20, "", ""),
        ("wiki_crop/1.jpg", 20, "", ""),
    ]


def test_a_cell_without_a_path_is_a_dropped_row(tmp_path):
    cells = np.empty((1, 3), object)
    cells[0, :] = [np.empty((0, 0)), "1.jpg", np.array([[4.0]])]
    save(tmp_path, published(3, full_path=cells))
    rows = imdb_wiki_rows(tmp_path, Filters())
    assert [row.source for row in rows.rows] == ["wiki_crop/1.jpg"]
    assert rows.dropped == [("wiki_crop/", "no path")] * 2


@pytest.mark.parametrize(
    ("struct", "message"),
    [
        (published(2, dob=np.zeros((1, 3))), "another number of: dob"),
        ({"dob": np.zeros((1, 2)), "name": "x"}, "lacks photo_taken, full_path, face_score"),
        (np.zeros(3), "holds no 1×1 struct 'wiki'"),
        (published(2, dob=np.array([["a", "b"]], object)), "fields of an unknown kind"),
    ],
)
def test_a_struct_of_another_kind_is_an_error_that_says_so(tmp_path, struct, message):
    save(tmp_path, struct)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path, Filters())


@pytest.mark.parametrize("cut", [0, 50, 200, 700])
def test_a_damaged_mat_file_is_an_error(tmp_path, cut):
    save(tmp_path, published(50))
    path = tmp_path / "wiki_crop/wiki.mat"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"wiki\.mat"):
        read_rows(tmp_path, Filters())


def test_a_file_of_matlab_7_3_says_how_to_save_it(tmp_path):
    (tmp_path / "wiki_crop").mkdir()
    with h5py.File(tmp_path / "wiki_crop/wiki.mat", "w", userblock_size=512) as file:
        file["wiki"] = 1
    path = tmp_path / "wiki_crop/wiki.mat"
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + path.read_bytes()[128:])
    with pytest.raises(DataError, match=r"version 7\.3"):
        read_rows(tmp_path, Filters())
