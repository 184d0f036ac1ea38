"""From labelled photos to batches: labels stay with their faces, and every face that is dropped is counted."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from shared import detector

from faceage.ages import age_class, age_weights, one_hot
from faceage.data.dataset import (
    FaceBatches,
    FaceSet,
    PortraitBatches,
    data_fingerprint,
    dated_people,
    load_faces,
    one_hot_people,
    sampling_weights,
)
from faceage.data.prepare import hash_order, prepare, split_of
from faceage.data.rows import Filters, Row, Rows
from faceage.data.sources import read_rows
from faceage.data.utkface import utkface_rows
from faceage.errors import DataError
from faceage.faces.align import TEMPLATE, align, face_transform
from faceage.photos.decode import decode, read_photo
from faceage.store.dataset import SPLITS, load_dropped


def face_set(classes, **columns) -> FaceSet:
    """Faces whose every pixel is their own number."""
    count = len(classes)
    faces = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 64, 64, 3))
    classes = np.array(classes, int)
    names = tuple(f"{i}.jpg" for i in range(count))
    blank, landmarks = ("",) * count, np.zeros((count, 5, 2), np.float32)
    whole = FaceSet(faces, classes * 10, classes, names, blank, blank, landmarks, Path("."))
    return replace(whole, **columns)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("name", "age", "gender"),
    [
        ("26_1_0_20170116171048641.jpg", 26, "female"),
        ("0_0_3_20170116171048641.jpg.chip.jpg", 0, "male"),
        ("100_1_0_20170112213001988.JPG", 100, "female"),
        ("61_1_20170109142408075.png", 61, "female"),
        ("39_20170116174525125.jpeg", 39, ""),
    ],
)
def test_age_and_gender_are_read_from_the_name(tmp_path, name, age, gender):
    touch(tmp_path, f"part 1/{name}")
    rows = utkface_rows(tmp_path, Filters())
    assert rows.rows == [Row(f"part 1/{name}", age, gender)]
    assert rows.path(rows.rows[0]) == tmp_path / "part 1" / name
    assert rows.dropped == []


def test_rows_are_sorted_and_what_is_dropped_is_listed(tmp_path):
    touch(tmp_path, "b/5_0_0_1.jpg", "a/9_1_0_1.jpg", "70_1_0_1.jpg", "7_1_0_1.jpg")
    touch(
        tmp_path, "101_0_0_1.jpg", "116_1_0_1.jpg", "face.jpg", "-1_0_0_1.jpg", "a/_0_0_1.png", "readme.txt", "5_0_0_1"
    )
    rows = utkface_rows(tmp_path, Filters())
    assert [row.source for row in rows.rows] == ["70_1_0_1.jpg", "7_1_0_1.jpg", "a/9_1_0_1.jpg", "b/5_0_0_1.jpg"]
    assert rows.dropped == [
        ("-1_0_0_1.jpg", "no age in the name"),
        ("101_0_0_1.jpg", "age over 100"),
        ("116_1_0_1.jpg", "age over 100"),
        ("face.jpg", "no age in the name"),
        ("a/_0_0_1.png", "no age in the name"),
    ]


def test_split_is_that_of_the_file_name_alone():
    # Written down: the same photo must fall the same way in every version.
    pinned = {"26_1_0_20170116171048641.jpg": 0, "é.jpg": 0, "face-12.jpg": 1, "face-9.jpg": 2}
    for name, split in pinned.items():
        assert split_of(name) == split_of(f"part 3/{name}") == split


def test_split_of_a_known_person_is_that_of_the_identity():
    pinned = {"jennifer lopez": 0, "person 7": 1, "person 21": 2}
    for identity, split in pinned.items():
        assert {split_of(f"{i}.jpg", identity) for i in range(20)} == {split}


def test_splits_share_90_5_5():
    count = 20_000
    found = Counter(split_of(f"{i % 100}_0_0_{i}.jpg") for i in range(count))
    for split, share in enumerate((0.90, 0.05, 0.05)):
        assert found[split] / count == pytest.approx(share, abs=0.01)


AGES = (0, 18, 19, 35, 60, 100)


@pytest.fixture(scope="module")
def utkface(tmp_path_factory, astronaut) -> Path:
    """Six chips of one face, brighter with age, among files that cannot be used."""
    root = tmp_path_factory.mktemp("utkface")
    chip = astronaut[10:250, 105:345]
    random = np.random.default_rng(0)
    for i, age in enumerate(AGES):
        dy, dx = random.integers(0, 20, 2)
        tinted = (chip[dy : 220 + dy, dx : 220 + dx] * (0.4 + 0.12 * i)).astype(np.uint8)
        Image.fromarray(tinted).save(root / f"{age}_{i % 2}_0_{i}.jpg", quality=95)
    Image.fromarray(chip).save(root / "101_0_0_7.jpg")
    Image.fromarray(chip).save(root / "nobody.jpg")
    Image.new("RGB", (200, 200), "gray").save(root / "20_0_0_blank.jpg")
    (root / "15_0_0_cut.jpg").write_bytes((root / "18_1_0_1.jpg").read_bytes()[:2000])
    (root / "30_0_0_text.jpg").write_text("no image")
    return root


@pytest.fixture(scope="module")
def prepared(utkface, tmp_path_factory):
    out, told = tmp_path_factory.mktemp("prepared") / "faces.h5", []
    report = prepare(read_rows(utkface, Filters()), out, told.append)
    return out, report, told


def test_prepare_reports_every_row(prepared):
    out, report, told = prepared
    assert report.faces == len(AGES) == sum(report.per_split.values())
    assert list(report.per_class.values()) == [2, 1, 1, 0, 0, 2]
    assert report.people == 0
    assert report.dropped == {"age over 100": 1, "no age in the name": 1, "no face": 1, "unreadable": 2}
    assert sum(told) == len(AGES) + 3
    with h5py.File(out) as file:
        assert json.loads(file.attrs["dropped"]) == report.dropped
    dropped = load_dropped(out)
    assert dropped[:2] == [("101_0_0_7.jpg", "age over 100"), ("nobody.jpg", "no age in the name")]
    assert sorted(dropped[2:]) == [
        ("15_0_0_cut.jpg", "unreadable"),
        ("20_0_0_blank.jpg", "no face"),
        ("30_0_0_text.jpg", "unreadable"),
    ]
    assert [path.name for path in out.parent.iterdir()] == ["faces.h5"]


def test_prepared_labels_stay_with_their_faces(prepared, utkface):
    faces = load_faces(prepared[0])
    assert sorted(faces.ages) == list(AGES)
    assert faces.root == utkface.resolve()
    for i, source in enumerate(faces.sources):
        age, gender = source.split("_")[:2]
        assert (faces.ages[i], faces.genders[i]) == (int(age), ("male", "female")[int(gender)])
        assert faces.classes[i] == age_class(int(age))
        # Cut again from the photo that the row names.
        again = align(decode(read_photo(faces.root / source)), face_transform(faces.landmarks[i]))
        np.testing.assert_array_equal(faces.faces[i], again)
    brightness = faces.faces[np.argsort(faces.ages)].mean(axis=(1, 2, 3))
    assert (np.diff(brightness) > 5).all()


def test_rows_are_in_the_order_of_a_hash_and_not_of_names(prepared, utkface):
    whole = load_faces(prepared[0])
    order = [row.source for row in hash_order(read_rows(utkface, Filters()).rows) if row.source in whole.sources]
    assert list(whole.sources) == order != sorted(order)


def test_a_photo_and_its_copies_are_in_one_split(prepared):
    whole = load_faces(prepared[0])
    first = min(split_of(source) for source in whole.sources)
    assert load_faces(prepared[0], SPLITS[first]).sources == whole.sources
    for split in set(SPLITS) - {SPLITS[first]}:
        with pytest.raises(DataError, match="holds no faces"):
            load_faces(prepared[0], split)


def test_the_label_goes_to_the_face_nearest_the_middle(tmp_path, astronaut):
    chip = astronaut[10:250, 105:345]
    large = np.asarray(Image.fromarray(chip).resize((360, 360)))
    photo = np.full((720, 720, 3), 128, np.uint8)
    photo[:360, :360] = large
    photo[250:490, 300:540] = chip
    largest, middle = detector().detect([photo])[0]
    assert largest.box[:2].max() < 360
    Image.fromarray(photo).save(tmp_path / "40_0_0_1.png")
    prepare(read_rows(tmp_path, Filters()), tmp_path / "faces.h5")
    (landmarks,) = load_faces(tmp_path / "faces.h5").landmarks
    np.testing.assert_array_equal(landmarks, middle.landmarks)


@pytest.mark.parametrize("blank", [True, False], ids=["no face", "no row"])
def test_nothing_is_written_where_no_face_is_found(tmp_path, blank):
    rows = Rows(tmp_path)
    if blank:
        Image.new("RGB", (64, 64)).save(tmp_path / "1_0_0_1.png")
        rows.rows.append(Row("1_0_0_1.png", 1))
    out = tmp_path / "faces.h5"
    out.write_text("from before")
    with pytest.raises(DataError, match="no face was found in the"):
        prepare(rows, out)
    assert out.read_text() == "from before"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".h5"] == ["faces.h5"]


def damage(name: str, path: Path) -> None:
    if name == "missing":
        path.unlink()
    elif name == "text":
        path.write_text("age,path")
    elif name == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        with h5py.File(path, "r+") as file:
            if name == "foreign":
                file.attrs["format"] = "faceage-latents"
            elif name == "version":
                file.attrs["version"] = 99
            elif name == "no attributes":
                file.attrs.clear()
            else:
                del file["age"]


@pytest.mark.parametrize(
    "what", ["missing", "text", "truncated", "foreign", "version", "no attributes", "no ages"], ids=str
)
def test_a_foreign_file_is_a_data_error(tmp_path, write_faces, what):
    path = write_faces(tmp_path / "faces.h5", [face_set([0, 1, 2])])
    assert len(load_faces(path, "train")) == 3
    damage(what, path)
    with pytest.raises(DataError, match=r"faces\.h5"):
        load_faces(path, "train")


@pytest.mark.parametrize("slice_size", [1, 3, 4, 5, 100])
def test_only_the_rows_of_a_split_are_read(tmp_path, write_faces, monkeypatch, slice_size):
    monkeypatch.setattr("faceage.data.dataset._ROWS_AT_ONCE", slice_size)
    whole = face_set([0, 1, 2, 3, 4, 5, 0, 1, 2])
    path = write_faces(tmp_path / "faces.h5", [whole])
    split = np.array([0, 2, 0, 1, 1, 0, 2, 0, 2], np.int8)
    with h5py.File(path, "r+") as file:
        file["split"][:] = split
    np.testing.assert_array_equal(load_faces(path).faces, whole.faces)
    for index, name in enumerate(SPLITS):
        part = load_faces(path, name)
        np.testing.assert_array_equal(part.faces[:, 0, 0, 0], np.flatnonzero(split == index))
        np.testing.assert_array_equal(part.classes, whole.classes[split == index])


def test_data_with_other_labels_splits_or_order_are_other_data(tmp_path, write_faces):
    faces = face_set([0, 1, 2])

    def fingerprint(*sets: FaceSet) -> str:
        return data_fingerprint(write_faces(tmp_path / "faces.h5", sets))

    def changed(column: str) -> FaceSet:
        first, *rest = getattr(faces, column)
        return replace(faces, **{column: (f"{first}x", *rest)})

    changes = [changed(column) for column in ("sources", "genders", "identities")]
    changes += [replace(faces, ages=faces.ages + 1), faces.take(np.array([1, 0, 2]))]
    found = {fingerprint(one) for one in (faces, *changes)} | {fingerprint(faces.first(2), faces.take(np.array([2])))}
    assert len(found) == 7
    assert fingerprint(faces) in found
    assert fingerprint(replace(faces, faces=255 - faces.faces)) in found


def test_an_empty_split_cannot_be_trained_on(tmp_path, write_faces):
    path = write_faces(tmp_path / "faces.h5", [face_set([0, 1, 2])])
    with pytest.raises(DataError, match=r"validation split .* holds no faces"):
        load_faces(path, "validation")


def test_take_keeps_rows_together():
    ages = np.array([3, 30, 70])
    faces = face_set([0, 2, 5], ages=ages, genders=("male", "female", ""), identities=("a", "b", "c"))
    part = faces.take(np.array([2, 0]))
    assert part.identities == ("c", "a")
    assert (part.sources, part.genders) == (("2.jpg", "0.jpg"), ("", "male"))
    np.testing.assert_array_equal(part.faces[:, 0, 0, 0], [2, 0])
    np.testing.assert_array_equal(part.ages, [70, 3])
    np.testing.assert_array_equal(part.classes, [5, 0])


def test_people_are_labelled_by_age_class_and_by_gender_where_it_is_known():
    labels = one_hot_people(face_set(np.array([0, 5, 2]), genders=("male", "", "female")))
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(
        labels, [[1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1, 0]]
    )
    assert one_hot_people(face_set(np.array([], int))).shape == (0, 8)


def test_people_are_labelled_by_their_years_where_an_age_is_more_than_a_class():
    faces = face_set(np.array([0, 5, 2]), ages=np.array([4, 80, 33]), genders=("male", "", "female"))
    labels = dated_people(faces)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[:, :6], [age_weights(years) for years in (4, 80, 33)])
    np.testing.assert_array_equal(labels[:, 6:], one_hot_people(faces)[:, 6:])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_of_each_class_are_taken_in_their_order(count):
    faces = face_set([5, 0, 1, 5, 0, 5, 3])
    found = faces.of_each_class(count)
    expected = [i for index in range(6) for i in np.flatnonzero(faces.classes == index)[:count]]
    assert [int(face[0, 0, 0]) for face in found.faces] == expected
    assert faces.first(3).sources == faces.sources[:3]
    assert len(faces.first(100)) == 7


def test_batches_of_portraits_show_the_same_people_as_their_faces(tmp_path, write_faces):
    # Colours far apart, which a JPEG cannot mix up.
    whole = face_set(np.arange(12) % 6)
    whole = replace(whole, faces=whole.faces * 20, landmarks=np.repeat(np.float32(TEMPLATE)[None], 12, 0))
    faces = load_faces(write_faces(tmp_path / "faces.h5", [face_set([0]), whole]), "validation")
    batches = PortraitBatches(faces, 8, 3, seed=1, targets=dated_people(faces))
    for i in range(3):
        (small, portraits, masks), target = batches[i]
        assert (small.shape, portraits.shape) == ((8, 64, 64, 3), (8, 160, 160, 3))
        assert small.dtype == portraits.dtype == np.uint8
        assert (masks.shape, masks.dtype, masks[:, 80, 80].min()) == ((8, 160, 160, 1), np.float32, 1)
        np.testing.assert_allclose(portraits[:, 80, 80], small[:, 32, 32].astype(int), atol=3)
        np.testing.assert_array_equal(target, dated_people(faces)[small[:, 0, 0, 0] // 20])
        np.testing.assert_array_equal(small, FaceBatches(faces, 8, 3, seed=1)[i][0])


def test_weights_go_with_one_over_the_root_of_a_classes_size():
    classes = np.repeat([0, 1, 5], [100, 25, 4])
    weights = sampling_weights(face_set(classes))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights[[0, 100, 125]] / weights[0], [1, 2, 5])
    # Each class's share goes with √size: 10 : 5 : 2.
    np.testing.assert_allclose([weights[classes == c].sum() for c in (0, 1, 5)], np.array([10, 5, 2]) / 17)


@pytest.mark.parametrize("balanced", [True, False])
def test_women_and_men_of_an_age_are_drawn_equally_often(balanced):
    genders = np.array(["male"] * 60 + ["female"] * 40 + ["male"] * 30 + ["female"] * 20 + [""] * 10 + ["male"] * 5)
    classes = np.repeat([0, 3, 4], [100, 60, 5])
    weights = sampling_weights(face_set(classes, genders=tuple(genders)), balanced)
    for found in (0, 3):
        men, women = (weights[(classes == found) & (genders == gender)].sum() for gender in ("male", "female"))
        assert men == pytest.approx(women)
    # Nothing is known of some: they are drawn as they come, and so is a class without any women.
    assert weights[classes == 3][-10:].sum() == pytest.approx(weights[classes == 3].sum() / 6)
    sizes = np.array([100, 60, 5])
    shares = np.sqrt(sizes) if balanced else sizes
    np.testing.assert_allclose([weights[classes == c].sum() for c in (0, 3, 4)], shares / shares.sum())


def test_one_face_of_a_gender_is_not_drawn_all_the_time():
    weights = sampling_weights(face_set(np.zeros(101, int), genders=("female",) + ("male",) * 100), balanced=False)
    assert weights[0] == pytest.approx(4 / (4 + 50.5))


@pytest.mark.parametrize("balanced", [True, False])
def test_faces_are_drawn_by_their_weights(balanced):
    classes = np.repeat([0, 1, 5], [100, 25, 4])
    batches = FaceBatches(face_set(classes), 64, 400, balanced=balanced)
    drawn = np.concatenate([batches[i][0][:, 0, 0, 0] for i in range(400)])
    share = np.bincount(classes[drawn], minlength=6)[[0, 1, 5]] / len(drawn)
    expected = np.array([10, 5, 2]) / 17 if balanced else np.array([100, 25, 4]) / 129
    np.testing.assert_allclose(share, expected, atol=0.01)
    assert set(drawn) == set(range(129))


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_batches_are_full_and_targets_go_with_their_faces(count):
    faces = face_set(np.arange(count) % 6)
    targets = np.arange(count, dtype=np.float32)[:, None] + 0.5
    for batches, expected in (
        (FaceBatches(faces, 8, 3), one_hot(faces.classes)),
        (FaceBatches(faces, 8, 3, targets=targets), targets),
    ):
        assert len(batches) == 3
        for i in range(3):
            pixels, target = batches[i]
            assert pixels.shape == (8, 64, 64, 3)
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(target, expected[pixels[:, 0, 0, 0]])


def numbers(batches: FaceBatches, index: int) -> list[int]:
    return batches[index][0][:, 0, 0, 0].tolist()


def test_a_batch_is_decided_by_seed_epoch_and_index():
    faces = face_set([0] * 200)
    seen = set()
    for seed in range(2):
        for epoch in range(3):
            whole = FaceBatches(faces, 8, 3, seed=seed, epoch=epoch)
            resumed = FaceBatches(faces, 8, 3, seed=seed, epoch=epoch, first_step=1)
            assert (len(whole), len(resumed)) == (3, 2)
            for index in (2, 0, 1):
                assert numbers(whole, index) == numbers(whole, index)
                seen.add(tuple(numbers(whole, index)))
            for index in (1, 0):
                assert numbers(resumed, index) == numbers(whole, index + 1)
    assert len(seen) == 2 * 3 * 3
