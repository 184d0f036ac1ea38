"""`manifest.jsonl`, one row per photo."""

import json

import pytest

from faceage.errors import UsageError
from faceage.store.manifest import NO_FACE, OK, STATUSES, UNREADABLE, Manifest, PhotoOutcome, read_manifest

GOOD = PhotoOutcome(
    "a.jpg", OK, 2, "", {"decode": 0.01, "write": 0.5}, "ab" * 32, 12_345, 10**18 + 1, "0123", "4567", "89ab"
)
EMPTY = PhotoOutcome("ü/日本 \\xff\n.jpg", NO_FACE, 0, "no face was found", {}, "cd" * 32, 1, 2, "0123")
BAD = PhotoOutcome("b.jpg", UNREADABLE, 0, "the file is empty")

FIELDS = {
    "path",
    "status",
    "faces",
    "reason",
    "seconds",
    "input",
    "size",
    "modified",
    "found",
    "drawn",
    "place",
    "warning",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifest.jsonl"


def written(path, *outcomes, kept=()):
    manifest = Manifest(path, kept)
    for outcome in outcomes:
        manifest.append([outcome])
    manifest.close()


def test_rows_come_back(path):
    written(path, GOOD, EMPTY, BAD)
    assert list(read_manifest(path).items()) == [(row.path, row) for row in (GOOD, EMPTY, BAD)]


def test_rows_are_json_lines_as_documented(path):
    written(path, GOOD, EMPTY, BAD)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [set(row) for row in rows] == [FIELDS] * 3
    assert [row["path"] for row in rows] == [GOOD.path, EMPTY.path, BAD.path]
    assert [row["status"] for row in rows] == ["ok", "no_face", "unreadable"]
    assert rows[0] == GOOD.to_json()
    assert set(STATUSES) == {"ok", "no_face", "unreadable", "failed"}


def test_each_row_is_in_the_file_at_once(path):
    manifest = Manifest(path, ())
    for count, outcome in enumerate([GOOD, EMPTY, BAD], start=1):
        manifest.append([outcome])
        assert len(list(read_manifest(path).values())) == count
    manifest.close()


def test_a_run_begins_with_the_rows_it_keeps(path):
    written(path, GOOD, EMPTY)
    written(path, BAD, kept=[EMPTY])
    assert list(read_manifest(path).values()) == [EMPTY, BAD]
    assert [p.name for p in path.parent.iterdir()] == ["manifest.jsonl"]


def test_of_several_rows_for_a_photo_the_last_one_counts_and_stays(path):
    old = PhotoOutcome("a.jpg", BAD.status, 0, "it was damaged then")
    manifest = Manifest(path, [])
    manifest.append([old, EMPTY])
    manifest.append([GOOD])
    assert len(path.read_text().splitlines()) == 3
    assert list(read_manifest(path).values()) == [GOOD, EMPTY]
    manifest.close()
    assert list(read_manifest(path).values()) == [GOOD, EMPTY]
    assert len(path.read_text().splitlines()) == 2


def test_rows_of_older_versions_are_read(path):
    row = {"path": "a.jpg", "status": "ok", "faces": 1, "reason": "", "settings": "0123", "pasted": True}
    path.write_text(json.dumps(row) + "\n")
    assert read_manifest(path) == {"a.jpg": PhotoOutcome("a.jpg", OK, 1, "")}


def test_no_file_is_no_rows(path):
    assert list(read_manifest(path).values()) == []


@pytest.mark.parametrize("cut", [1, 20, 80])
def test_a_line_cut_off_by_a_kill_is_left_out(path, cut):
    written(path, GOOD, BAD)
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_manifest(path).values()) == [GOOD, BAD][: 2 if cut == 1 else 1]


@pytest.mark.parametrize("cut", [1, 20])
def test_a_run_goes_on_after_a_cut_off_line(path, cut):
    written(path, GOOD, BAD)
    path.write_bytes(path.read_bytes()[:-cut])
    written(path, EMPTY, kept=[GOOD])
    assert list(read_manifest(path).values()) == [GOOD, EMPTY]


@pytest.mark.parametrize(
    "line", [b"", b"no JSON", b"[1, 2]", b"3", b"null", b'{"path": "x"}', b'{"a": 1}', b"\xff\xfe", b'{"path": "\xff"}']
)
def test_a_line_that_is_no_row_is_left_out(path, line):
    written(path, GOOD)
    content = path.read_bytes()
    path.write_bytes(content + line + b"\n" + content)
    assert list(read_manifest(path).values()) == [GOOD]


def test_a_folder_by_that_name_is_a_usage_error(path):
    path.mkdir()
    with pytest.raises(UsageError, match=r"manifest\.jsonl cannot be read") as error:
        read_manifest(path)
    assert error.value.hint
