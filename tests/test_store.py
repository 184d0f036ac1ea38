"""`latents.h5`, as any HDF5 reader sees it."""

import json
from dataclasses import fields

import h5py
import numpy as np
import pytest

from faceage.errors import UsageError
from faceage.latents.store import FaceRow, LatentStore, count_rows, read_rows

N = LatentStore.MIN_ROWS

# From the design, not from the code: shape of a row, type.
DATASETS = {
    "source": ((), "O"),
    "face": ((), "int32"),
    "box": ((4,), "float32"),
    "landmarks": ((5, 2), "float32"),
    "confidence": ((), "float32"),
    "aligned": ((64, 64, 3), "uint8"),
    "age": ((6,), "float32"),
    "latent_initial": ((100,), "float32"),
    "latent": ((100,), "float32"),
    "offset": ((2048,), "float16"),
    "identity_distance": ((2,), "float32"),
    "transform": ((2, 3), "float32"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "latents.h5"


def store(path, rows=(), keep=lambda source: True, weights="0ddba11", options=None) -> LatentStore:
    """A store that has begun at `path` and holds `rows`."""
    result = LatentStore(path, weights, options or {})
    result.begin(keep)
    result.add(list(rows))
    result.flush()
    return result


def assert_same(found: FaceRow, expected: FaceRow) -> None:
    for field in fields(FaceRow):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_datasets_are_as_designed(path, face_row, count):
    rows = [face_row("a/b.jpg", i) for i in range(count)]
    store(path, rows)
    with h5py.File(path) as file:
        assert {name: (d.shape[1:], d.dtype.name.replace("object", "O")) for name, d in file.items()} == DATASETS
        assert {len(dataset) for dataset in file.values()} == {count}
        assert h5py.check_string_dtype(file["source"].dtype).encoding == "utf-8"
        for name, dataset in file.items():
            if name != "source":
                np.testing.assert_array_equal(
                    dataset[:], np.array([getattr(row, name) for row in rows], dataset.dtype).reshape(dataset.shape)
                )
        assert file["source"].asstr()[:].tolist() == ["a/b.jpg"] * count


def test_attributes_are_as_designed(path):
    options = {"targets": (0, 5), "optimiser": {"steps": 60}, "age_class": None}
    store(path, weights="0ddba11", options=options)
    with h5py.File(path) as file:
        assert set(file.attrs) == {"format", "version", "weights", "options", "age_classes"}
        assert file.attrs["format"] == "faceage-latents"
        assert file.attrs["version"] == 2
        assert file.attrs["weights"] == "0ddba11"
        assert json.loads(file.attrs["options"]) == {**options, "targets": [0, 5]}
        assert list(file.attrs["age_classes"]) == ["0-18", "19-29", "30-39", "40-49", "50-59", "60+"]


@pytest.mark.parametrize("source", ["a.jpg", "ü/日本.jpg", r"caf\xe9.jpg", "x" * 4000])
def test_sources_are_any_text(path, face_row, source):
    store(path, [face_row(source)])
    assert [row.source for row in read_rows(path)] == [source]


@pytest.mark.parametrize("count", [0, 1, N - 1, N, N + 1, 2 * N + 1])
def test_every_row_comes_back_in_order(path, face_row, count):
    rows = [face_row(f"{i}.jpg", i) for i in range(count)]
    store(path, rows)
    for found, expected in zip(read_rows(path), rows, strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize(("count", "due"), [(0, False), (N - 1, False), (N, True), (N + 1, True)])
def test_due_when_enough_is_pending(path, face_row, count, due):
    row, latents = face_row("a.jpg"), store(path)
    for _ in range(count):
        latents.add([row])
    assert latents.due == due
    latents.flush()
    assert not latents.due


@pytest.mark.parametrize("begun_again", [False, True])
def test_a_large_file_is_copied_more_seldom(path, face_row, begun_again):
    row, share = face_row("a.jpg"), N + 1
    latents = store(path, [row] * 8 * share)
    if begun_again:
        latents = store(path)
    latents.add([row] * (share - 1))
    assert not latents.due
    latents.add([row])
    assert latents.due


def test_rows_are_on_disk_after_flush_and_not_before(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    latents.add([face_row("b.jpg")])
    assert count_rows(path) == {"a.jpg": 1}
    latents.flush()
    latents.flush()
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}


def test_begin_keeps_the_rows_asked_for_and_no_others(path, face_row):
    rows = [face_row(name, face) for name, face in [("a.jpg", 0), ("b.jpg", 0), ("a.jpg", 1), ("c.jpg", 0)]]
    store(path, rows)
    store(path, [face_row("d.jpg")], keep={"a.jpg", "c.jpg"}.__contains__, weights="other")
    for found, expected in zip(read_rows(path), [rows[0], rows[2], rows[3], face_row("d.jpg")], strict=True):
        assert_same(found, expected)
    with h5py.File(path) as file:
        assert file.attrs["weights"] == "other"


def test_begin_may_keep_nothing(path, face_row):
    store(path, [face_row("a.jpg")])
    store(path, keep=lambda source: False)
    assert read_rows(path) == []


def test_read_rows_chooses_by_source(path, face_row):
    store(path, [face_row(name) for name in ("a.jpg", "b.jpg", "c.jpg")])
    (row,) = read_rows(path, lambda source: source == "b.jpg")
    assert_same(row, face_row("b.jpg"))


def test_count_rows(path, face_row):
    assert count_rows(path) == {}
    store(path, [face_row("a.jpg", 0), face_row("b.jpg", 0), face_row("a.jpg", 1)])
    assert count_rows(path) == {"a.jpg": 2, "b.jpg": 1}


def _text(path):
    path.write_text("no HDF5")


def _empty(path):
    path.touch()


def _truncated(path):
    store(path)
    path.write_bytes(path.read_bytes()[:1000])


def _folder(path):
    path.mkdir()


def _other_format(path):
    with h5py.File(path, "w") as file:
        file["faces"] = np.zeros(3)


def _other_version(path):
    store(path)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1


def _lacks_a_dataset(path):
    store(path)
    with h5py.File(path, "r+") as file:
        del file["source"]


@pytest.mark.parametrize("make", [_text, _empty, _truncated, _folder, _other_format, _other_version, _lacks_a_dataset])
def test_a_file_of_another_kind_is_a_usage_error_and_stays(path, make):
    make(path)
    before = path.is_file() and path.read_bytes()
    for use in (read_rows, count_rows, store):
        with pytest.raises(UsageError, match=r"latents\.h5") as error:
            use(path)
        assert error.value.hint
    assert (path.is_file() and path.read_bytes()) == before
    assert [p.name for p in path.parent.iterdir()] == ["latents.h5"]


def test_rows_that_cannot_be_written_leave_the_last_file(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    before = path.read_bytes()
    latents.add([face_row("b.jpg"), "no row"])
    with pytest.raises(AttributeError):
        latents.flush()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["latents.h5"]


def test_what_a_kill_left_behind_does_no_harm(path, face_row):
    path.with_name(".latents.h5.partial").write_bytes(b"half a file")
    latents = store(path, [face_row("a.jpg")])
    path.with_name(".latents.h5.partial").write_bytes(b"half a file")
    latents.add([face_row("b.jpg")])
    latents.flush()
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}
    assert [p.name for p in path.parent.iterdir()] == ["latents.h5"]


def test_a_reader_that_has_the_file_open_keeps_what_it_opened(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    with h5py.File(path) as file:
        latents.add([face_row("b.jpg")])
        latents.flush()
        assert file["source"].asstr()[:].tolist() == ["a.jpg"]
    assert count_rows(path).total() == 2
