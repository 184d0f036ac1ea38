"""Preparing: fair order, near-duplicates in one split, and a run that goes on from any moment to the same bits."""

import io
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

from faceage.ages import age_class
from faceage.data.dataset import load_faces
from faceage.data.near_duplicates import descriptors, groups_of
from faceage.data.prepare import hash_order, joined_splits, prepare, split_of
from faceage.data.rows import Filters, Row, Rows
from faceage.data.sources import read_rows
from faceage.errors import DataError
from faceage.faces.align import align, face_transform, resized
from faceage.photos.decode import decode, read_photo
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.dataset import COLUMNS, DROPPED_COLUMNS, read
from faceage.store.parts import Parts
from faceage.store.table import BYTES

PHOTOS, PART_ROWS = 40, 8
SCRIPT = """
import sys
from pathlib import Path
import faceage.data.prepare as module
from faceage.data.rows import Filters
from faceage.data.sources import read_rows
from faceage.errors import DataError
module.PART_ROWS = {part_rows}
{before}
try:
    module.prepare(read_rows(Path(sys.argv[1]), Filters()), Path(sys.argv[2]))
except DataError as error:
    sys.exit(f"DataError: {{error}}")
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory, astronaut):
    """Chips of one face among photos that cannot be used, in a folder with labels."""
    root = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    lines = ["path,age,identity", "gone.jpg,5,nobody"]
    for i in range(PHOTOS):
        top, left = random.integers((0, 100), (30, 130))
        side = int(random.integers(90, 200))
        chip = Image.fromarray(astronaut[top : top + 220, left : left + 220]).resize((side, side))
        chip.save(root / f"{i}.jpg", quality=95)
        lines.append(f"{i}.jpg,{2 * i},person {i // 4}")
    (root / "3.jpg").write_bytes((root / "3.jpg").read_bytes()[:900])
    Image.new("RGB", (100, 100)).save(root / "20.jpg")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("faceage.data.prepare.PART_ROWS", PART_ROWS)


def start(source, out, before: str = "") -> subprocess.Popen:
    script = SCRIPT.format(part_rows=PART_ROWS, before=before)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, source, out]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def content(path) -> dict[str, object]:
    """Every attribute and dataset."""
    with h5py.File(path) as file:
        found: dict[str, object] = {f"@{name}": str(value) for name, value in file.attrs.items()}
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
    found["portrait"] = [portrait.tobytes() for portrait in found["portrait"]]
    return found


def part_of(faces: int) -> dict[str, np.ndarray]:
    """A part with so many faces, all the same."""
    part = {}
    for name, (shape, dtype) in {**COLUMNS, **DROPPED_COLUMNS}.items():
        part[name] = np.ones((faces, *shape), object if dtype in (str, BYTES) else dtype)
        if dtype is BYTES:
            for i in range(faces):
                part[name][i] = np.arange(30, dtype=np.uint8)
        elif dtype is str:
            part[name][:] = "text"
    return part


def assert_same(one, other) -> None:
    one, other = content(one), content(other)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.fixture(scope="module")
def unbroken(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "faces.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceage.data.prepare.PART_ROWS", PART_ROWS)
        prepare(read_rows(source, Filters()), out)
    return out


SLOWLY = """
import time
from faceage.store.parts import Parts
save = Parts.save
Parts.save = lambda *part: (save(*part), time.sleep(0.5))
"""
"""A pause after each part, so that a kill comes between the first and the last however fast the machine is."""

KILLED_WHILE_JOINING = """
import os, signal
from itertools import count
from faceage.store import table
append, calls = table.append, count()
table.append = lambda *values: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == 90 else append(*values)
"""


def test_a_killed_run_goes_on_and_ends_in_the_same_file(source, unbroken, tmp_path, small_parts, monkeypatch):
    out, parts = tmp_path / "faces.h5", tmp_path / "faces.h5.parts"
    for wanted in (1, 3):
        process = start(source, out, SLOWLY)
        while len(list(parts.glob("[0-9]*.h5"))) < wanted and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not out.exists()
    finished = len(list(parts.glob("[0-9]*.h5")))
    assert 3 <= finished < PHOTOS // PART_ROWS
    # What a kill amid writing leaves.
    (parts / ".4711.partial.h5").write_bytes(b"half a part")

    made, save = [], Parts.save
    monkeypatch.setattr(Parts, "save", lambda self, number, part: (made.append(number), save(self, number, part)))
    info = prepare(read_rows(source, Filters()), out)
    assert len(made) == PHOTOS // PART_ROWS - finished
    assert info.faces == PHOTOS - 2
    assert info.dropped == {"missing file": 1, "no face": 1, "unreadable": 1}
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


def test_after_a_kill_amid_joining_no_face_is_looked_for_again(source, unbroken, tmp_path, small_parts, monkeypatch):
    out = tmp_path / "faces.h5"
    assert start(source, out, KILLED_WHILE_JOINING).wait(300) == -signal.SIGKILL
    assert not out.exists()
    assert list((tmp_path / "faces.h5.parts").glob(".*.partial.h5"))
    monkeypatch.setattr("faceage.data.prepare.Detector", None)
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


def test_parts_of_other_rows_are_not_used(source, unbroken, tmp_path, small_parts):
    out = tmp_path / "faces.h5"
    parts = Parts(tmp_path / "faces.h5.parts", {"rows_sha256": "of other rows"})
    for number in range(0, 10 * PHOTOS, PART_ROWS):
        parts.save(number, part_of(1))
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]


@pytest.mark.parametrize("faces", [0, 1, 3])
def test_a_part_comes_back_where_all_portraits_have_one_length(tmp_path, faces):
    parts = Parts(tmp_path, {"rows_sha256": "rows"})
    parts.save(0, part_of(faces))
    (found,) = parts.read([0])
    for name, values in part_of(faces).items():
        assert len(found[name]) == faces
        for one, other in zip(found[name], values, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_part_that_was_cut_short_counts_as_missing(tmp_path):
    parts = Parts(tmp_path, {"rows_sha256": "rows"})
    parts.save(0, part_of(100))
    assert 0 in parts
    assert 8 not in parts
    assert 0 not in Parts(tmp_path, {"rows_sha256": "other rows"})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert 0 not in parts


def test_large_photos_make_small_groups_and_the_same_faces(source, unbroken, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr("faceage.data.prepare._GROUP_BYTES", 1)
    told = []
    prepare(read_rows(source, Filters()), tmp_path / "faces.h5", told.append)
    assert sum(told) == PHOTOS
    one, other = content(tmp_path / "faces.h5"), content(unbroken)
    for name in ("source", "age", "split", "identity", "dropped/source", "dropped/reason"):
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("limit", [20_000, 400_000], ids=["a part", "the file"])
def test_a_full_disk_is_one_clear_error_and_the_next_run_goes_on(source, unbroken, tmp_path, small_parts, limit):
    out = tmp_path / "faces.h5"
    out.write_text("from before")
    # A limit on the size of a file fails as a full disk does, in the middle of a write.
    process = start(source, out, f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "DataError" in told.splitlines()[-1]
    assert f"{out} cannot be written" in told
    assert out.read_text() == "from before"
    prepare(read_rows(source, Filters()), out)
    assert_same(out, unbroken)


def test_a_source_that_goes_away_is_an_error_and_no_dropped_rows(source, tmp_path):
    rows = read_rows(source, Filters())
    rows.root = tmp_path / "unmounted"
    with pytest.raises(DataError, match=r"unmounted.* cannot be read"):
        prepare(rows, tmp_path / "faces.h5")
    assert not (tmp_path / "faces.h5").exists()


@pytest.mark.parametrize("name", ["{age}_0_0_{i}.jpg", "{age}/{i}.jpg", "{age}/{i}/photo.jpg", "{i}/{age}.jpg"])
def test_the_first_rows_of_every_split_are_a_fair_sample(name):
    ages = np.repeat(np.arange(100), 40)
    rows = [Row(name.format(age=f"{age:03}", i=i), int(age), identity=str(i)) for i, age in enumerate(ages)]
    order = hash_order(rows)
    assert sorted(order, key=rows.index) == rows
    assert hash_order(rows[::-1]) == order
    splits = np.array([split_of(row.source, row.identity) for row in order])
    # The first of all are of all splits, too.
    assert np.bincount(splits[:1000]) / 1000 == pytest.approx([0.9, 0.05, 0.05], abs=0.03)
    classes = np.array([age_class(row.age) for row in order])
    expected = np.bincount(classes) / len(classes)
    for split, count in ((0, 500), (1, 100), (2, 100)):
        shares = np.bincount(classes[splits == split][:count], minlength=6) / count
        assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / count)


def variants(photo: Image.Image) -> dict[str, Image.Image]:
    """The same photo again: as it is, cut, enlarged, brighter, darker, mirrored."""
    whole = photo.size[0]
    return {
        "again": photo,
        "cut": photo.crop((9, 4, whole - 3, whole - 8)),
        "larger": photo.resize((whole + 90, whole + 90), Image.Resampling.BICUBIC),
        "brighter": photo.point(lambda v: min(255, int(v * 1.25 + 8))),
        "darker": photo.point(lambda v: int(v * 0.6)),
        "mirrored": photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "gray": photo.convert("L").convert("RGB"),
    }


@pytest.fixture(scope="module")
def copies(tmp_path_factory, astronaut):
    """Copies of two photos, the second of them a face of another, prepared from names that hash to all splits."""
    root = tmp_path_factory.mktemp("copies")
    other = Image.open(REPOSITORY / "examples" / "person-1.jpg").convert("RGB")
    names = {split: iter([f"{i}.jpg" for i in range(2000) if split_of(f"{i}.jpg") == split]) for split in range(3)}
    lines = ["path,age"]
    for age, photo in ((30, Image.fromarray(astronaut[10:250, 105:345])), (50, other)):
        for number, picture in enumerate(variants(photo).values()):
            # The second photo's copies are all of the test split, and stay there.
            name = next(names[2 if age == 50 else 2 - number % 2])
            picture.save(root / name, quality=70)
            lines.append(f"{name},{age}")
    (root / "labels.csv").write_text("\n".join(lines))
    out = tmp_path_factory.mktemp("prepared") / "faces.h5"
    prepare(read_rows(root, Filters()), out)
    return root, out


def test_near_duplicates_of_unknown_people_are_in_one_split(copies):
    part = read(copies[1], "source", "split", "age", "faces", "identity")
    assert {age: set(part["split"][part["age"] == age].tolist()) for age in (30, 50)} == {30: {1}, 50: {2}}
    hashed = {split_of(source) for source, age in zip(part["source"], part["age"], strict=True) if age == 30}
    assert hashed == {1, 2}, "the names would have fallen into two splits"
    groups = groups_of(descriptors(part["faces"]), list(part["identity"]))
    assert len(set(groups)) == 2


def test_strangers_are_no_duplicates(lfw10):
    chips = [np.asarray(Image.open(path).convert("RGB").resize((64, 64))) for path in sorted(lfw10.rglob("*.jpg"))]
    described = descriptors(np.stack(chips))
    assert len(set(groups_of(described, [""] * len(chips)))) == len(chips)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 4, 5, 100])
def test_groups_do_not_depend_on_how_faces_are_compared(block, monkeypatch):
    monkeypatch.setattr("faceage.data.near_duplicates._BLOCK", block)
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (4, 64, 64, 3), np.uint8)
    seen = np.stack([faces[0], faces[1], faces[0], faces[2], faces[1][:, ::-1], faces[3], np.zeros_like(faces[0])])
    groups = groups_of(descriptors(seen), ["", "", "", "a", "", "a", ""])
    assert groups[0] == groups[2]
    assert groups[1] == groups[4]
    # One known person, whatever the photos.
    assert groups[3] == groups[5]
    assert len(set(groups)) == 4


def test_nobody_is_in_no_group():
    assert len(groups_of(descriptors(np.zeros((0, 64, 64, 3), np.uint8)), [])) == 0
    assert len(joined_splits(np.empty(0, np.int8), np.empty(0, int))) == 0


def test_a_group_goes_to_the_first_of_its_splits():
    splits = np.array([2, 1, 0, 2, 2, 1], np.int8)
    assert joined_splits(splits, np.array([0, 0, 1, 1, 2, 3])).tolist() == [1, 1, 0, 0, 2, 1]


def test_portraits_are_the_aligned_faces_larger_and_read_when_asked_for(copies):
    root, out = copies
    faces = load_faces(out)
    chosen = np.array([5, 0, 5, 3])
    portraits = faces.portraits[chosen]
    assert portraits.shape == (4, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)
    assert portraits.dtype == np.uint8
    for i, portrait in zip(chosen, portraits, strict=True):
        transform = resized(face_transform(faces.landmarks[i]), PORTRAIT_SIZE)
        expected = align(decode(read_photo(root / faces.sources[i])), transform, PORTRAIT_SIZE)
        assert np.abs(portrait.astype(int) - expected).mean() < 2, "no more than what JPEG loses"
        small = np.asarray(Image.fromarray(portrait).resize((64, 64), Image.Resampling.BOX)).astype(int)
        assert np.abs(small - faces.faces[i]).mean() < 6
    np.testing.assert_array_equal(faces.take(chosen).portraits[np.arange(4)], portraits)
    with h5py.File(out) as file:
        for content in file["portrait"][:]:
            with Image.open(io.BytesIO(content.tobytes())) as image:
                assert (image.format, image.size) == ("JPEG", (PORTRAIT_SIZE, PORTRAIT_SIZE))


def test_portraits_whose_file_has_gone_are_a_data_error(copies, tmp_path):
    moved = tmp_path / "faces.h5"
    moved.write_bytes(copies[1].read_bytes())
    faces = load_faces(moved)
    with h5py.File(moved, "r+") as file:
        file["portrait"][0] = np.zeros(10, np.uint8)
    for damage in (lambda: None, moved.unlink):
        damage()
        with pytest.raises(DataError, match=r"faces\.h5"):
            faces.portraits[np.array([0])]
    assert faces.portraits.take(np.array([1])).rows.tolist() == [1]


def test_a_source_without_any_usable_photo_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no face was found in the 0 photos"):
        prepare(Rows(tmp_path), tmp_path / "faces.h5")
