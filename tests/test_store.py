"""`latents.h5`, as any HDF5 reader sees it."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

import faceage.store.latents
from faceage.errors import UsageError
from faceage.store.latents import PART_ROWS, FaceRow, LatentIndex, LatentWriter, count_rows, read_rows, read_settings

N = LatentWriter.MIN_ROWS

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


class Store:
    """An index and one writer, as a run on one machine has them."""

    def __init__(self, path, keep=lambda source: True, weights="0ddba11", options=None, writer="0") -> None:
        self.index = LatentIndex(path, weights, options or {})
        self.index.begin(keep)
        self.writer = LatentWriter(path, writer, weights, options or {})
        self.writer.go_on(self.index.parts)

    def write(self, rows) -> None:
        self.writer.add(list(rows))
        self.index.count(self.writer.flush())


def store(path, rows=(), **how) -> Store:
    """A store that has begun at `path` and has written `rows`."""
    result = Store(path, **how)
    result.write(rows)
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


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(faceage.store.latents, "PART_ROWS", 4)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 13])
@pytest.mark.parametrize("at_once", [1, 3, 13])
def test_every_row_comes_back_in_order(path, face_row, small_parts, count, at_once):
    rows = [face_row(f"{i}.jpg", i) for i in range(count)]
    latents = store(path)
    for start in range(0, count, at_once):
        latents.write(rows[start : start + at_once])
    for found, expected in zip(read_rows(path), rows, strict=True):
        assert_same(found, expected)


def test_parts_are_full_before_the_next_one_begins(path, face_row, small_parts):
    latents = store(path)
    for i in range(5):
        latents.write([face_row(f"{i}.jpg", face) for face in range(2)])
    assert latents.index.parts == {"0-0": 4, "0-1": 4, "0-2": 2}
    assert store(path, [face_row("x.jpg")]).index.parts == {"0-0": 4, "0-1": 4, "0-2": 3}


def test_a_part_is_a_latents_file_of_its_own(path, face_row):
    store(path, [face_row("a.jpg"), face_row("b.jpg")])
    found = read_rows(path.parent / "latents" / "0-0.h5")
    assert [row.source for row in found] == ["a.jpg", "b.jpg"]
    assert_same(found[1], face_row("b.jpg"))


def test_parts_are_read_from_any_working_folder(path, face_row, tmp_path_factory, monkeypatch):
    store(path, [face_row("a.jpg")])
    # One of the same name, where somebody happens to be.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    store(elsewhere / "latents.h5", [face_row("wrong.jpg")])
    monkeypatch.chdir(elsewhere)
    with h5py.File(path) as file:
        assert file["source"].asstr()[0] == "a.jpg"
        np.testing.assert_array_equal(file["latent"][0], face_row("a.jpg").latent)


@pytest.mark.parametrize(("count", "due"), [(0, False), (N - 1, False), (N, True), (N + 1, True)])
def test_due_when_enough_is_pending(path, face_row, count, due):
    row, writer = face_row("a.jpg"), store(path).writer
    for _ in range(count):
        writer.add([row])
    assert writer.due == due
    writer.flush()
    assert not writer.due


def test_a_flush_writes_no_more_than_a_part(path, face_row):
    # What is written at once bounds what a flush costs, however many rows there are.
    assert PART_ROWS * 24_576 < 32_000_000


def test_rows_count_when_the_index_is_told_and_not_before(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    latents.writer.add([face_row("b.jpg")])
    assert count_rows(path) == {"a.jpg": 1}
    parts = latents.writer.flush()
    assert count_rows(path) == {"a.jpg": 1}
    latents.index.count(parts)
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}
    assert latents.writer.flush() == {}


def test_writers_beside_each_other(path, face_row):
    index = LatentIndex(path, "0ddba11", {})
    index.begin(lambda source: True)
    one, other = (LatentWriter(path, name, "0ddba11", {}) for name in ("one", "other"))
    for writer, source in [(one, "a.jpg"), (other, "b.jpg"), (one, "c.jpg")]:
        writer.add([face_row(source)])
        index.count(writer.flush())
    assert index.parts == {"one-0": 2, "other-0": 1}
    assert [row.source for row in read_rows(path)] == ["a.jpg", "c.jpg", "b.jpg"]


def test_rows_that_the_index_was_not_told_of_are_dropped(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    latents.writer.add([face_row("b.jpg")])
    latents.writer.flush()
    killed = LatentWriter(path, "killed", "0ddba11", {})
    killed.add([face_row("c.jpg")])
    killed.flush()
    store(path, [face_row("d.jpg")])
    assert [row.source for row in read_rows(path)] == ["a.jpg", "d.jpg"]
    kept = {p.stem for p in (path.parent / "latents").iterdir()}
    assert kept == set(Store(path).index.parts)


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
    assert list((path.parent / "latents").iterdir()) == []


def test_begin_again_and_again(path, face_row, small_parts):
    sources = [f"{i}.jpg" for i in range(11)]
    store(path, [face_row(source) for source in sources])
    for gone in range(10):
        Store(path, keep=lambda source, gone=gone: source != f"{gone}.jpg")
        assert [row.source for row in read_rows(path)] == sources[gone + 1 :]
    assert_same(read_rows(path)[0], face_row("10.jpg"))


def test_settings_come_back(path):
    store(path, weights="abc", options={"targets": (0, 5)})
    assert read_settings(path) == ("abc", {"targets": [0, 5]})


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


def _replaced(path, name, make):
    """A file with rows, one of whose datasets is what `make(file, old)` makes of it."""
    store(path)
    with h5py.File(path, "r+") as file:
        old = file[name]
        del file[name]
        make(file, old)


def _rows_without_bytes(path):
    # Reading it would take a terabyte.
    _replaced(path, "latent", lambda f, old: f.create_dataset("latent", (2**31, 100), np.float32, chunks=(64, 100)))


def _all_rows_without_bytes(path):
    store(path)
    with h5py.File(path, "r+") as file:
        for name, old in list(file.items()):
            shape, dtype = old.shape[1:], old.dtype
            del file[name]
            file.create_dataset(name, (2**31, *shape), dtype, chunks=(64, *shape))


def _wide_rows(path):
    _replaced(path, "latent", lambda f, old: f.create_dataset("latent", (0, 2**20), np.float32))


def _other_type(path):
    _replaced(path, "latent", lambda f, old: f.create_dataset("latent", (0, 100), np.float64))


def _group(path):
    _replaced(path, "latent", lambda f, old: f.create_group("latent"))


def _link_to_another_file(path):
    _replaced(path, "latent", lambda f, old: f.__setitem__("latent", h5py.ExternalLink("/etc/passwd", "latent")))


def _bytes_of_another_file(path):
    def make(file, old):
        file.create_dataset("confidence", (4,), np.float32, external=[("/etc/passwd", 0, 16)])

    _replaced(path, "confidence", make)


def _rows_of_another_file(path):
    def make(file, old):
        layout = h5py.VirtualLayout((1,), np.float32)
        layout[:] = h5py.VirtualSource("/tmp/secret.h5", "confidence", (1,), np.float32)
        file.create_virtual_dataset("confidence", layout)

    _replaced(path, "confidence", make)


KINDS = [
    _text,
    _empty,
    _truncated,
    _folder,
    _other_format,
    _other_version,
    _lacks_a_dataset,
    _rows_without_bytes,
    _all_rows_without_bytes,
    _wide_rows,
    _other_type,
    _group,
    _link_to_another_file,
    _bytes_of_another_file,
    _rows_of_another_file,
]


@pytest.mark.parametrize("make", KINDS)
def test_a_file_of_another_kind_is_a_usage_error_and_stays(path, make):
    make(path)
    before = path.is_file() and path.read_bytes()
    for use in (read_rows, count_rows, Store):
        with pytest.raises(UsageError, match=r"latents\.h5") as error:
            use(path)
        assert error.value.hint
    assert (path.is_file() and path.read_bytes()) == before
    assert {p.name for p in path.parent.iterdir()} <= {"latents.h5", "latents"}


@pytest.mark.parametrize("make", [make for make in KINDS if make is not _folder])
def test_a_part_of_another_kind_is_a_usage_error(path, face_row, tmp_path_factory, make):
    store(path, [face_row("a.jpg")])
    other = tmp_path_factory.mktemp("other") / "latents.h5"
    make(other)
    os.replace(other, path.parent / "latents" / "0-0.h5")
    for use in (read_rows, count_rows, Store):
        with pytest.raises(UsageError, match=r"latents"):
            use(path)


@pytest.mark.parametrize("harm", [lambda part: part.unlink(), lambda part: os.truncate(part, 5000)])
def test_a_part_that_is_gone_or_damaged_is_an_error_and_no_zeros(path, face_row, harm):
    store(path, [face_row("a.jpg")])
    harm(path.parent / "latents" / "0-0.h5")
    with pytest.raises(UsageError, match="latents"):
        read_rows(path)


def test_rows_that_cannot_be_written_leave_the_last_files(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    before = {p: p.read_bytes() for p in path.parent.rglob("*.h5")}
    latents.writer.add([face_row("b.jpg"), "no row"])
    with pytest.raises(AttributeError):
        latents.writer.flush()
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import Store, row_of
path = Path(sys.argv[1])
latents = Store(path)
latents.write([row_of("a.jpg")])
# What a full disk does to a write: it fails.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    latents.write([row_of("b.jpg")])
except OSError:
    sys.exit(7)
"""


def row_of(source: str) -> FaceRow:
    zeros = {name: np.zeros(shape) for name, (shape, kind) in DATASETS.items() if kind != "O"}
    return FaceRow(**{**zeros, "source": source})


def test_a_full_disk_leaves_the_last_files(path):
    # In a process of its own: HDF5 would take this one with it if it were let to write.
    run = subprocess.run([sys.executable, "-c", FULL, path, Path(__file__).parent], capture_output=True, text=True)
    assert run.returncode == 7, run.stderr
    assert count_rows(path) == {"a.jpg": 1}
    assert sorted(p.name for p in path.parent.rglob("*")) == ["0-0.h5", "latents", "latents.h5"]


def test_what_a_kill_left_behind_does_no_harm(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    for left in (path.with_name(".7.partial.h5"), path.parent / "latents" / ".7.partial.h5"):
        left.write_bytes(b"half a file")
    latents.write([face_row("b.jpg")])
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}
    Store(path)
    assert sorted(p.name for p in path.parent.rglob("*")) == ["0-0.h5", "latents", "latents.h5"]


def test_a_reader_that_has_the_file_open_keeps_what_it_opened(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    with h5py.File(path) as file:
        latents.write([face_row("b.jpg")])
        assert file["source"].asstr()[:].tolist() == ["a.jpg"]
        np.testing.assert_array_equal(file["latent"][:], face_row("a.jpg").latent[None])
    assert count_rows(path).total() == 2
