"""`latents.h5`, as any HDF5 reader sees it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import refusing_disk
from conftest import REPOSITORY

import faceage.store.latents
from faceage.errors import UsageError
from faceage.store.latents import (
    FaceRow,
    LatentIndex,
    LatentWriter,
    _first_to_merge,
    count_rows,
    read_rows,
    read_settings,
    row_blocks,
)

# From the design, not from the code: shape of a row, type.
DATASETS = {
    "source": ((), "O"),
    "face": ((), "int32"),
    "box": ((4,), "float32"),
    "landmarks": ((5, 2), "float32"),
    "confidence": ((), "float32"),
    "aligned": ((64, 64, 3), "uint8"),
    "portrait": ((), "O"),
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

    def write(self, rows) -> None:
        self.index.count(self.writer.write(rows))


def store(path, rows=(), **how) -> Store:
    """A store that has begun at `path` and has written `rows`."""
    result = Store(path, **how)
    result.write(rows)
    return result


def parts_of(path) -> list[Path]:
    """The files with the rows of `path`, in their order."""
    with h5py.File(path) as file:
        return [path.parent / "latents" / f"{name}.h5" for name in json.loads(file.attrs["parts"])]


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
            if name not in ("source", "portrait"):
                np.testing.assert_array_equal(
                    dataset[:], np.array([getattr(row, name) for row in rows], dataset.dtype).reshape(dataset.shape)
                )
        assert file["source"].asstr()[:].tolist() == ["a/b.jpg"] * count
        assert file["portrait"].dtype.metadata["vlen"] == np.uint8
        assert [content.tobytes() for content in file["portrait"]] == [row.portrait for row in rows]


def test_attributes_are_as_designed(path):
    options = {"targets": (0, 5), "optimiser": {"steps": 60}, "age_class": None}
    store(path, weights="0ddba11", options=options)
    with h5py.File(path) as file:
        assert set(file.attrs) == {"format", "version", "weights", "options", "drawing", "age_classes", "run", "parts"}
        assert file.attrs["format"] == "faceage-latents"
        assert file.attrs["version"] == 3
        assert file.attrs["weights"] == "0ddba11"
        assert json.loads(file.attrs["options"]) == {**options, "targets": [0, 5]}
        assert list(file.attrs["age_classes"]) == ["0-18", "19-29", "30-39", "40-49", "50-59", "60+"]


@pytest.mark.parametrize("source", ["a.jpg", "ü/日本.jpg", r"caf\xe9.jpg", "x" * 4000])
def test_sources_are_any_text(path, face_row, source):
    store(path, [face_row(source)])
    assert [row.source for row in read_rows(path)] == [source]


@pytest.mark.parametrize("lengths", [(0,), (7, 7), (0, 7, 0), (15_000, 15_000, 3)])
def test_portraits_are_any_bytes(path, face_row, lengths):
    rows = [replace(face_row("a.jpg", i), portrait=bytes(range(256))[:7] * (n // 7)) for i, n in enumerate(lengths)]
    store(path, rows)
    assert [row.portrait for row in read_rows(path)] == [row.portrait for row in rows]


@pytest.fixture
def few_parts(monkeypatch):
    monkeypatch.setattr(faceage.store.latents, "_MOST_PARTS", 3)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 13])
@pytest.mark.parametrize("at_once", [1, 3, 13])
def test_every_row_comes_back_in_order(path, face_row, few_parts, count, at_once):
    rows = [face_row(f"{i}.jpg", i) for i in range(count)]
    latents = store(path)
    for start in range(0, count, at_once):
        latents.write(rows[start : start + at_once])
    for found, expected in zip(read_rows(path), rows, strict=True):
        assert_same(found, expected)
    with h5py.File(path) as file:
        assert file["face"][:].tolist() == list(range(count))
        assert [content.tobytes() for content in file["portrait"]] == [row.portrait for row in rows]


@pytest.mark.parametrize("sizes", [[1] * 40, [9, 1, 1, 1, 1, 9], [1, 2, 3, 4, 5, 6, 7], [30, 1, 30, 1, 30, 1]])
def test_there_are_never_more_parts_than_allowed(path, face_row, few_parts, sizes):
    latents = store(path)
    for number, rows in enumerate(sizes):
        latents.write([face_row(f"{number}.jpg", face) for face in range(rows)])
        assert 1 <= len(latents.index.parts) <= 3
        assert {file.stem for file in parts_of(path)} == latents.index.parts.keys()
    assert [row.face for row in read_rows(path)] == [face for rows in sizes for face in range(rows)]


@pytest.mark.parametrize("sizes", [[64] * 16_000, [1, 100] * 5000, ([4096] * 3 + [64] * 9) * 500, range(9000, 0, -1)])
def test_rows_are_copied_a_few_times_however_many_there_are(sizes):
    parts, copied = [], 0
    for rows in sizes:
        parts.append(rows)
        if len(parts) > 32:
            first = _first_to_merge(parts)
            assert first < len(parts) - 1
            copied += sum(parts[first:])
            parts[first:] = [sum(parts[first:])]
    assert copied / sum(sizes) < 8


def test_a_part_is_a_latents_file_of_its_own(path, face_row):
    store(path, [face_row("a.jpg"), face_row("b.jpg")])
    found = read_rows(*parts_of(path))
    assert [row.source for row in found] == ["a.jpg", "b.jpg"]
    assert_same(found[1], face_row("b.jpg"))


def test_a_part_may_be_gone_on_with(path, face_row):
    store(path, [face_row("a.jpg"), face_row("b.jpg")])
    (part,) = parts_of(path)
    path.unlink()
    shutil.move(part, path)
    store(path, [face_row("c.jpg")])
    assert [row.source for row in read_rows(path)] == ["a.jpg", "b.jpg", "c.jpg"]


def test_parts_are_read_from_any_working_folder(path, face_row, tmp_path_factory, monkeypatch):
    store(path, [face_row("a.jpg")])
    # One of the same name, where somebody happens to be.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    store(elsewhere / "latents.h5", [face_row("wrong.jpg")])
    monkeypatch.chdir(elsewhere)
    with h5py.File(path) as file:
        assert file["source"].asstr()[0] == "a.jpg"
        np.testing.assert_array_equal(file["latent"][0], face_row("a.jpg").latent)


def test_rows_count_when_the_index_is_told_and_not_before(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    parts = latents.writer.write([face_row("b.jpg")])
    assert count_rows(path) == {"a.jpg": 1}
    latents.index.count(parts)
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}
    assert latents.writer.write([]) == {}


def test_writers_beside_each_other(path, face_row):
    index = LatentIndex(path, "0ddba11", {})
    index.begin(lambda source: True)
    one, other = (LatentWriter(path, name, "0ddba11", {}) for name in ("one", "other"))
    for writer, source in [(one, "a.jpg"), (other, "b.jpg"), (one, "c.jpg")]:
        index.count(writer.write([face_row(source)]))
    assert [name.partition("-")[0] for name in index.parts] == ["one", "other", "one"]
    assert [row.source for row in read_rows(path)] == ["a.jpg", "b.jpg", "c.jpg"]


def test_parts_of_one_name_are_never_taken_for_another_runs(path, face_row, tmp_path_factory):
    store(path, [face_row("a.jpg")])
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "latents.h5"
    store(elsewhere, [face_row("b.jpg")])
    shutil.copy(elsewhere, path)
    with pytest.raises(UsageError):
        read_rows(path)


def test_rows_that_the_index_was_not_told_of_are_dropped(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    latents.writer.write([face_row("b.jpg")])
    killed = LatentWriter(path, "killed", "0ddba11", {})
    killed.write([face_row("c.jpg")])
    store(path, [face_row("d.jpg")])
    assert [row.source for row in read_rows(path)] == ["a.jpg", "d.jpg"]
    again = Store(path)
    kept = {p.stem for p in (path.parent / "latents").iterdir()}
    assert kept == {*again.index.parts, again.index._index.stem}


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
    store(path)
    assert [p.stem.partition("-")[0] for p in (path.parent / "latents").iterdir()] == ["index"]


def test_begin_again_and_again(path, face_row, few_parts):
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


def _part(path) -> None:
    """A latents file without rows, that is no index."""
    store(path)
    shutil.copy(next((path.parent / "latents").glob("index-*")), path)


def _lacks_a_dataset(path):
    _part(path)
    with h5py.File(path, "r+") as file:
        del file["source"]


def _replaced(path, name, make):
    """A file with rows, one of whose datasets is what `make(file, old)` makes of it."""
    _part(path)
    with h5py.File(path, "r+") as file:
        old = file[name]
        del file[name]
        make(file, old)


def _rows_without_bytes(path):
    # Reading it would take a terabyte.
    _replaced(path, "latent", lambda f, old: f.create_dataset("latent", (2**31, 100), np.float32, chunks=(64, 100)))


def _all_rows_without_bytes(path):
    _part(path)
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


def _list_of_parts(parts):
    def make(path):
        store(path)
        with h5py.File(path, "r+") as file:
            file.attrs["parts"] = parts

    return make


def _options(options):
    def make(path):
        store(path)
        with h5py.File(path, "r+") as file:
            file.attrs["options"] = options

    return make


KINDS = [
    *map(_list_of_parts, ["{", "[]", '["a"]', '{"a": -1}', '{"a": true}', '{"a": "1"}', '{"../a": 1}', '{"/a": 1}']),
    *map(_options, ["", "{", "[]", '"text"', "null", 7]),
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
    for use in (read_rows, count_rows, read_settings, Store):
        with pytest.raises(UsageError, match=r"latents\.h5|latents/a\.h5") as error:
            use(path)
        assert error.value.hint
    assert (path.is_file() and path.read_bytes()) == before
    assert {p.name for p in path.parent.iterdir()} <= {"latents.h5", "latents"}


@pytest.mark.parametrize("make", [make for make in KINDS if make is not _folder])
def test_a_part_of_another_kind_is_a_usage_error(path, face_row, tmp_path_factory, make):
    store(path, [face_row("a.jpg")])
    other = tmp_path_factory.mktemp("other") / "latents.h5"
    make(other)
    os.replace(other, *parts_of(path))
    for use in (read_rows, count_rows, Store):
        with pytest.raises(UsageError, match=r"latents"):
            use(path)


@pytest.mark.parametrize("harm", [lambda part: part.unlink(), lambda part: os.truncate(part, 5000)])
def test_a_part_that_is_gone_or_damaged_is_an_error(path, face_row, harm):
    store(path, [face_row("a.jpg")])
    harm(*parts_of(path))
    with pytest.raises(UsageError, match="latents"):
        read_rows(path)


def test_a_part_that_is_gone_gives_no_zeros_in_other_readers(path, face_row):
    store(path, [face_row("a.jpg")])
    parts_of(path)[0].unlink()
    with h5py.File(path) as file:
        assert np.isnan(file["latent"][:]).all()
        assert file["face"][:].tolist() == [-1]


def test_the_index_alone_is_an_error_in_every_reader_and_says_what_is_missing(path, face_row, tmp_path_factory):
    store(path, [face_row("a.jpg")])
    alone = tmp_path_factory.mktemp("alone") / "latents.h5"
    shutil.copy(path, alone)
    for use in (read_rows, count_rows, Store):
        with pytest.raises(UsageError, match="only the index") as error:
            use(alone)
        assert "copy the folder latents" in error.value.hint
    with h5py.File(alone) as file:
        for name in DATASETS:
            with pytest.raises(KeyError):
                file[name]


def test_merging_under_an_open_reader_gives_rows_or_an_error(path, face_row, few_parts):
    latents = store(path)
    for face in range(3):
        latents.write([face_row("a.jpg", face)])
    with h5py.File(path) as file:
        faces, columns = file["face"], [file[name] for name in DATASETS if name != "face"]
        assert faces[:].tolist() == [0, 1, 2]
        for face in range(3, 9):
            latents.write([face_row("a.jpg", face)])
        assert faces[:].tolist() == [0, 1, 2]
        for column in columns:
            with pytest.raises(OSError, match="no appropriate function for conversion path"):
                column[:]


def test_reading_on_while_a_batch_adds_and_merges(path, face_row, few_parts):
    latents = store(path)
    for face in range(6):
        latents.write([face_row("a.jpg", face)])
    found = []
    for face, (row,) in enumerate(row_blocks(path, 1)):
        found.append(row)
        latents.write([face_row("b.jpg", 2 * face), face_row("b.jpg", 2 * face + 1)])
    assert len(found) == 6
    for face, row in enumerate(found):
        assert_same(row, face_row("a.jpg", face))


def test_reading_on_after_rows_were_removed_is_an_error(path, face_row, monkeypatch):
    store(path, [face_row("a.jpg"), face_row("b.jpg")])
    monkeypatch.setattr("faceage.store.latent_parts._CHUNK", 1)
    store(path, [face_row("c.jpg")])
    rows = row_blocks(path, 1)
    assert [row.source for row in next(rows)] == ["a.jpg"]
    Store(path, keep=lambda source: source != "c.jpg")
    with pytest.raises(UsageError):
        list(rows)


@pytest.mark.parametrize("size", [1, 2, 3, 64, 100])
def test_blocks_have_the_size_that_was_asked_for(path, face_row, size):
    latents = store(path)
    for start in range(0, 130, 13):
        latents.write([face_row(f"{i}.jpg") for i in range(start, start + 13)])
    sizes = [len(block) for block in row_blocks(path, size, lambda source: source != "0.jpg")]
    assert sizes == [size] * (129 // size) + [129 % size] * (129 % size > 0)


FEW_DESCRIPTORS = """
import resource, sys
from pathlib import Path
import h5py
from faceage.store.latents import LatentIndex, count_rows, read_rows, read_settings
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
path, count = Path(sys.argv[1]), int(sys.argv[2])
assert count_rows(path) == {"a.jpg": count}
rows = read_rows(path)
assert len(rows) == count
assert all(row.face == 7 and (row.latent == 7).all() for row in rows)
if "others" in sys.argv:
    with h5py.File(path) as file:
        assert (file["latent"][:] == 7).all() and len(file["latent"]) == count
    index = LatentIndex(path, *read_settings(path))
    index.begin(lambda source: True)
    assert sum(index.parts.values()) == count_rows(path).total() == count
"""


def assert_read_with_few_descriptors(path, count, *others) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", FEW_DESCRIPTORS, path, str(count), *others]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_more_parts_than_open_files_from_many_writers(path):
    latents = store(path, [replace(row_of("a.jpg"), face=7, latent=np.full(100, 7))])
    (part,) = parts_of(path)
    parts = {f"writer{i}-0": 1 for i in range(300)}
    for name in parts:
        shutil.copy(part, part.with_stem(name))
    latents.index.count(parts)
    assert_read_with_few_descriptors(path, 301, "others")


def write_version_2(path, count: int) -> None:
    """An index of version 2 over so many parts of one row, as that version wrote it."""
    attributes = {"format": "faceage-latents", "version": 2, "weights": "0ddba11", "options": '{"targets": [0]}'}
    kinds = {n: (s, h5py.string_dtype() if k == "O" else k) for n, (s, k) in DATASETS.items() if n != "portrait"}
    (path.parent / "latents").mkdir()
    names = [f"latents/0-{number}.h5" for number in range(count)]
    with h5py.File(path.parent / names[0], "w") as file:
        file.attrs.update(attributes)
        for name, (shape, kind) in kinds.items():
            column = file.create_dataset(name, (0, *shape), kind, maxshape=(None, *shape), chunks=(64, *shape))
            column.resize(1, axis=0)
            column[0] = "a.jpg" if name == "source" else 7
    for name in names[1:]:
        os.link(path.parent / names[0], path.parent / name)
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file.attrs.update(attributes)
        for name, (shape, kind) in kinds.items():
            layout = h5py.VirtualLayout((count, *shape), kind)
            for i, part in enumerate(names):
                layout[i : i + 1] = h5py.VirtualSource(part, name, (1, *shape), kind)
            file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("count", [1, 3])
def test_files_of_version_2_are_read(path, count):
    write_version_2(path, count)
    assert count_rows(path) == {"a.jpg": count}
    assert read_settings(path) == ("0ddba11", {"targets": [0]})
    rows = read_rows(path)
    assert len(rows) == count
    for row in rows:
        assert (row.source, row.face, row.portrait) == ("a.jpg", 7, b"")
        assert (row.latent == 7).all()
        assert row.latent.shape == (100,)


def test_files_of_version_2_are_not_written_to(path):
    write_version_2(path, 1)
    before = {p: p.read_bytes() for p in path.parent.rglob("*.h5")}
    with pytest.raises(UsageError, match="earlier version"):
        store(path)
    assert {p: p.read_bytes() for p in path.parent.rglob("*.h5")} == before


def test_two_thousand_parts_of_version_2_with_256_open_files(path):
    write_version_2(path, 2000)
    assert_read_with_few_descriptors(path, 2000)


ROUND_TRIP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import count_rows, row_of, store
path = Path(sys.argv[1])
for name in ("a.jpg", "b.jpg"):
    latents = store(path, [row_of(name)])
    latents.write([row_of(name)])
assert count_rows(path) == {"a.jpg": 2, "b.jpg": 2}
"""


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_disk_without_locks_allocation_fsync_and_links(tmp_path, path, number):
    refused = refusing_disk.environment(tmp_path, allocate=number, flock=number, fsync=number, link=number)
    command = [sys.executable, "-c", ROUND_TRIP, path, Path(__file__).parent]
    run = subprocess.run(command, env={**refused, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stderr.splitlines()) == 1, run.stderr


def test_rows_that_cannot_be_written_leave_the_last_files(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    before = {p: p.read_bytes() for p in path.parent.rglob("*.h5")}
    with pytest.raises(AttributeError):
        latents.writer.write([face_row("b.jpg"), "no row"])
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
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    latents.write([row_of("b.jpg")])
except OSError:
    sys.exit(7)
"""


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import h5py
import faceage.store.latents
from test_store import Store, count_rows, row_of
faceage.store.latents._MOST_PARTS = 3
path, report, calls = Path(sys.argv[1]), Path(sys.argv[1]).with_name("counted"), 0

def counted(call):
    def counting(*arguments, **keywords):
        moment()
        outcome = call(*arguments, **keywords)
        moment()
        return outcome
    return counting

def moment():
    global calls
    calls += 1
    if calls == last:
        os.kill(os.getpid(), signal.SIGKILL)

def run():
    for name in ("replace", "fsync", "unlink", "posix_fallocate"):
        setattr(os, name, counted(getattr(os, name)))
    latents = Store(path, keep=lambda source: source != "0.jpg")
    for i in range(8):
        latents.write([row_of(f"{i}.jpg")])
        report.write_text(str(i + 1))

last, step = 1, int(sys.argv[3])
while True:
    for file in path.parent.rglob("*"):
        file.is_file() and file.unlink()
    # What is there before: two rows, one of which will be removed.
    before = Store(path)
    before.write([row_of("0.jpg"), row_of("before.jpg")])
    report.write_text("0")
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done = int(report.read_text())
    ours = sorted(count_rows(path).elements())
    with h5py.File(path) as file:
        assert sorted(file["source"].asstr()[:].tolist()) == ours, last
        assert all(portrait.tobytes() == bytes(100) for portrait in file["portrait"]), last
    new = [f"{i}.jpg" for i in range(8)]
    after = [sorted([*new[:n], "before.jpg"]) for n in (done, min(done + 1, 8))]
    assert ours in after or (done == 0 and ours == ["0.jpg", "before.jpg"]), (last, done, ours)
    begun = Store(path)
    begun.write([row_of("again.jpg")])
    assert count_rows(path).total() == len(ours) + 1, last
    assert not list(path.parent.rglob(".*")), last
    if not status:
        break
    last += step
print(last)
"""


def test_killed_at_any_moment_no_row_is_lost_or_doubled(path):
    command = [sys.executable, "-c", KILLED, path, Path(__file__).parent, "7"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 200


def row_of(source: str) -> FaceRow:
    zeros = {name: np.zeros(shape) for name, (shape, kind) in DATASETS.items() if kind != "O"}
    return FaceRow(**{**zeros, "source": source, "portrait": bytes(100)})


def test_a_full_disk_leaves_the_last_files(path):
    # In a process of its own: HDF5 would take this one with it if it were let to write.
    run = subprocess.run([sys.executable, "-c", FULL, path, Path(__file__).parent], capture_output=True, text=True)
    assert run.returncode == 7, run.stderr
    assert count_rows(path) == {"a.jpg": 1}
    assert not list(path.parent.rglob(".*"))


def test_what_a_kill_left_behind_does_no_harm(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    for left in (path.with_name(".7.partial.h5"), path.parent / "latents" / ".7.partial.h5"):
        left.write_bytes(b"half a file")
    latents.write([face_row("b.jpg")])
    assert count_rows(path) == {"a.jpg": 1, "b.jpg": 1}
    Store(path)
    assert not list(path.parent.rglob(".*"))


def test_a_reader_that_has_the_file_open_keeps_what_it_opened(path, face_row):
    latents = store(path, [face_row("a.jpg")])
    with h5py.File(path) as file:
        latents.write([face_row("b.jpg")])
        assert file["source"].asstr()[:].tolist() == ["a.jpg"]
        np.testing.assert_array_equal(file["latent"][:], face_row("a.jpg").latent[None])
    assert count_rows(path).total() == 2
