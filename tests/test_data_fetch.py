"""`faceage data fetch`: archives from a server that breaks off, forgets and lies, unpacked within their folder."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from commands import in_this_process
from served import endless, flipped, page, send, serving

from faceage import download
from faceage.data import fetch
from faceage.data.fetch import PUBLISHED, Archive, Published
from faceage.errors import DataError, DownloadError, UsageError

SIZE = 300_000


def tar_of(*members: tuple[str, bytes], link: tuple[str, str] | None = None, mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        if link:
            pointer = tarfile.TarInfo(link[0])
            pointer.type, pointer.linkname = tarfile.SYMTYPE, link[1]
            archive.addfile(pointer)
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


PHOTOS = {half: np.random.default_rng(len(half)).bytes(SIZE) for half in ("imdb", "wiki")}
TARS = {f"{half}_crop.tar": tar_of((f"{half}_crop/00/1.jpg", photo)) for half, photo in PHOTOS.items()}


def publish(monkeypatch, folder: Path, address: str, tars: dict[str, bytes], name: str = "imdb_wiki") -> None:
    """Have these archives in `folder`, and published at `address`, instead of the real ones."""
    archives = []
    for tar, content in tars.items():
        (folder / tar).write_bytes(content)
        digest = hashlib.md5(content).hexdigest()
        archives.append(Archive(tar, tar.split(".")[0], len(content), digest))
    monkeypatch.setitem(PUBLISHED, name, Published("Tests", "https://host.invalid/", address, "none", tuple(archives)))


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", "static") as server:
        publish(monkeypatch, tmp_path / "served", server.url, TARS)
        yield server


def assert_unpacked(folder: Path) -> None:
    """Both halves are there, and nothing else is."""
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"imdb_crop", "wiki_crop"}
    for half, photo in PHOTOS.items():
        assert (folder / f"{half}_crop" / "00" / "1.jpg").read_bytes() == photo


def test_size_and_licence_are_said_before_the_first_byte(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served.answer = lambda handler, name, content: page(handler, 404)
    status, out, err = in_this_process("data", "fetch", "imdb_wiki")
    assert (status, out) == (2, "")
    assert err.index("0.0 GB, see https://host.invalid/") < err.index("licence: none") < err.index("404 Not Found")
    served.answer = None
    status, out, err = in_this_process("data", "fetch", "imdb_wiki")
    assert (status, out) == (0, "imdb_wiki\n"), err
    assert "faceage train all --data imdb_wiki" in err
    assert_unpacked(tmp_path / "imdb_wiki")
    served.asked.clear()
    status, out, err = in_this_process("data", "fetch", "imdb_wiki", "--json", "--quiet")
    assert (json.loads(out)["folder"], err, served.asked) == ("imdb_wiki", "", [])


def test_what_breaks_off_goes_on_where_it_was_also_in_another_run(served, tmp_path):
    breaking = True

    def break_off(handler, name, content):
        if breaking:
            send(handler, content, only=10_000)
        return breaking

    served.answer = break_off
    with pytest.raises(DownloadError, match=r"imdb_crop\.tar cannot be fetched: it broke off after 50000 bytes"):
        fetch.fetch("imdb_wiki", tmp_path / "out")
    breaking = False
    fetch.fetch("imdb_wiki", tmp_path / "out")
    assert_unpacked(tmp_path / "out")
    assert served.ranges("imdb_crop.tar") == ["", *(f"bytes={n}0000-" for n in (1, 2, 3, 4, 5))]
    assert served.ranges("wiki_crop.tar") == [""]


def test_a_download_killed_before_it_had_its_name_is_not_fetched_again(served, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "imdb_crop.tar.part").write_bytes(TARS["imdb_crop.tar"])
    (tmp_path / "out" / "wiki_crop.tar").write_bytes(TARS["wiki_crop.tar"])
    (tmp_path / "out" / ".wiki_crop.partial").mkdir()
    (tmp_path / "out" / ".wiki_crop.partial" / "half").touch()
    fetch.fetch("imdb_wiki", tmp_path / "out")
    assert_unpacked(tmp_path / "out")
    assert served.asked == [("/static/imdb_crop.tar", f"bytes={len(TARS['imdb_crop.tar'])}-")]


def test_a_server_without_ranges_and_a_part_of_another_file(served, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "wiki_crop.tar.part").write_bytes(b"x" * 1000)

    def forgetful(handler, name, content):
        if not name.startswith("imdb"):
            return False
        del handler.headers["Range"]
        send(handler, content, only=1000 if len(served.ranges(name)) == 1 else None)
        return True

    served.answer = forgetful
    fetch.fetch("imdb_wiki", tmp_path / "out")
    assert_unpacked(tmp_path / "out")
    assert served.ranges("imdb_crop.tar") == ["", "bytes=1000-"]
    assert served.ranges("wiki_crop.tar") == ["bytes=1000-", ""]


def too_long(handler) -> bool:
    """A server that says a file to be longer than it is."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(SIZE + 20_000))
    handler.end_headers()
    handler.wfile.write(b"x" * 1000)
    return True


LIES = {
    "wrong bytes": (lambda h, name, content: send(h, flipped(content)) is None, r"\(its MD5 differs\)"),
    "shorter": (lambda h, name, content: send(h, content[:-1]) is None, r"\(its MD5 differs\)"),
    "endless": (lambda h, name, content: endless(h), r"has more than \d+ bytes"),
    "said longer": (lambda h, name, content: too_long(h), "cannot be fetched: "),
    "a page": (lambda h, name, content: page(h, 200), r"\(its MD5 differs\)"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_found_out_and_nothing_is_unpacked(served, tmp_path, lie):
    answer, said = LIES[lie]
    served.answer = answer
    with pytest.raises(DownloadError, match=said) as error:
        fetch.fetch("imdb_wiki", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out").glob("*crop"))


HOSTILE = {
    "above": tar_of(("imdb_crop/../../evil", b"x")),
    "a link out": tar_of(("imdb_crop/door/evil", b"x"), link=("imdb_crop/door", "../../..")),
    "an absolute link": tar_of(link=("imdb_crop", "/etc")),
    "no tar": b"<html>" * 1000,
    "cut off": TARS["imdb_crop.tar"][:100_000],
    "no folder": tar_of(("readme", b"x")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_is_unpacked_outside_of_the_folder(tmp_path, monkeypatch, what):
    (tmp_path / "archives").mkdir()
    publish(monkeypatch, tmp_path / "archives", "", {"imdb_crop.tar": HOSTILE[what]})
    with pytest.raises(DataError, match=r"imdb_crop\.tar (cannot be unpacked|holds no folder)") as error:
        fetch.fetch("imdb_wiki", tmp_path / "in" / "out", str(tmp_path / "archives"))
    assert error.value.hint
    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "in" / "out" / "imdb_crop").exists()
    # What the user fetched stays.
    assert (tmp_path / "archives" / "imdb_crop.tar").exists()


def test_a_full_disk_is_told_before_the_first_byte(served, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=3 * SIZE))
    with pytest.raises(UsageError, match=r"need 0\.0 GB more in .*, where 0\.0 GB are free") as error:
        fetch.fetch("imdb_wiki", tmp_path / "out")
    assert "--out" in error.value.hint
    assert served.asked == []


def test_utkface_says_where_it_is_and_takes_what_a_browser_fetched(tmp_path, monkeypatch):
    status, _, err = in_this_process("data", "fetch", "utkface", "--out", tmp_path / "out")
    assert status == 2
    assert "https://susanqq.github.io/UTKFace/" in err
    assert "faceage data fetch utkface --from FOLDER" in err
    assert not (tmp_path / "out").exists()
    (tmp_path / "downloads").mkdir()
    photo = tar_of(("UTKFace/26_1_0_20170116171048641.jpg", b"photo"), mode="w:gz")
    publish(monkeypatch, tmp_path / "downloads", "", {"UTKFace.tar.gz": photo}, "utkface")
    arguments = ("data", "fetch", "utkface", "--out", tmp_path / "out", "--from")
    for place in (tmp_path / "downloads", tmp_path / "downloads" / "UTKFace.tar.gz"):
        assert in_this_process(*arguments, place)[0] == 0
        assert (tmp_path / "out" / "UTKFace" / "26_1_0_20170116171048641.jpg").read_bytes() == b"photo"
        shutil.rmtree(tmp_path / "out")
    (tmp_path / "downloads" / "UTKFace.tar.gz").write_bytes(b"<html>")
    status, _, err = in_this_process(*arguments, tmp_path / "downloads")
    assert (status, "its MD5 differs" in err) == (2, True)
    for place, said in (("nowhere", "there is no nowhere"), (tmp_path, "there is no"), ("ftp://a/b", "no address")):
        status, _, err = in_this_process(*arguments, place)
        assert (status, said in err) == (2, True)


@pytest.mark.parametrize("command", [("train", "all", "--run", "run", "--data"), ("data", "prepare", "--out", "a.h5")])
def test_a_missing_folder_by_the_name_of_a_data_set_names_this_command(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for folder, said in (("imdb_wiki", "imdb_wiki\n"), ("sets/UTKFace", "utkface --out sets/UTKFace\n")):
        status, _, err = in_this_process(*command, folder)
        assert (status, err.endswith(f"  faceage data fetch {said}")) == (2, True), err
    assert "data fetch" not in in_this_process(*command, "photos")[2]


def test_it_needs_neither_keras_nor_scipy():
    code = "import sys, faceage.data.fetch; sys.exit(str({'keras', 'scipy', 'h5py', 'requests'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "set()\n"
