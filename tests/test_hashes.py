"""Weights are hashed once: what a file's hash was is remembered for as long as the file stays as it is."""

import hashlib
import os
import time

import pytest

from faceage.store import hashes
from faceage.store.hashes import remembered_sha256


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file whose hash is remembered, and no others'."""
    monkeypatch.setattr(hashes, "_memory", lambda: tmp_path / "cache" / "hashes.json")
    monkeypatch.setattr(hashes, "_SETTLED_NS", -1)
    path = tmp_path / "weights.h5"
    path.write_bytes(b"one")
    assert remembered_sha256(path) == hashlib.sha256(b"one").hexdigest()
    return path


@pytest.fixture
def reads(monkeypatch):
    """The files that are read from now on."""
    read = []
    monkeypatch.setattr(
        hashes, "sha256", lambda path: read.append(path) or hashlib.sha256(path.read_bytes()).hexdigest()
    )
    return read


def test_a_file_that_stays_as_it_is_is_read_once(file, reads):
    assert remembered_sha256(file) == remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert not reads


def test_a_file_of_the_same_size_and_time_is_read_again(file, reads):
    before = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert remembered_sha256(file) == hashlib.sha256(b"two").hexdigest()
    assert reads == [file]


def test_a_file_in_anothers_place_is_read_again(file, reads):
    other = file.with_name("other.h5")
    other.write_bytes(b"six")
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    os.replace(other, file)
    assert remembered_sha256(file) == hashlib.sha256(b"six").hexdigest()
    assert reads == [file]


def test_a_file_that_has_just_changed_is_not_remembered(file, reads, monkeypatch):
    monkeypatch.setattr(hashes, "_SETTLED_NS", 10**12)
    file.write_bytes(b"two")
    remembered_sha256(file)
    remembered_sha256(file)
    assert reads == [file, file]


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff", b'{"a": 1', b"3"])
def test_a_damaged_memory_is_begun_anew(file, reads, content):
    hashes._memory().write_bytes(content)
    assert remembered_sha256(file) == remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert reads == [file]


def test_without_a_place_for_a_memory_files_are_read_each_time(file, reads, tmp_path, monkeypatch):
    monkeypatch.setattr(hashes, "_memory", lambda: file / "hashes.json")
    assert remembered_sha256(file) == remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert reads == [file, file]


def test_files_that_are_gone_are_forgotten(file, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"other")
    file.unlink()
    remembered_sha256(other)
    assert "weights.h5" not in hashes._memory().read_text()
