"""Which files are photos, and in which order."""

import os
from collections import Counter
from pathlib import Path, PurePath

import pytest

from faceage.errors import UsageError
from faceage.photos.find import find_photos, printable
from faceage.photos.lists import parse_list


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def nest(folder: Path, name: str, depth: int) -> None:
    """Make `depth` folders called `name`, each inside the last: also where no path could be that long."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def names(*places: Path) -> list[str]:
    return [photo.name for photo in find_photos(places)]


def test_order_is_that_of_the_names_bytes(tmp_path):
    touch(tmp_path, "b.jpg", "a/z.jpg", "B.jpg", "é.jpg", "a.jpg", "z.jpg", "10.jpg", "9.jpg", "a/b/c.jpg", "a-b.jpg")
    expected = ["10.jpg", "9.jpg", "B.jpg", "a/b/c.jpg", "a/z.jpg", "a-b.jpg", "a.jpg", "b.jpg", "z.jpg", "é.jpg"]
    assert names(tmp_path) == expected


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".JpEg", ".png", ".webp", ".tif", ".bmp", ".gif", ".HEIC", ".avif"])
def test_photos_are_known_by_their_endings(tmp_path, ending):
    touch(tmp_path, f"a{ending}", f"a{ending}.txt", f"a{ending[1:]}", "notes.txt", "a.mp4")
    assert names(tmp_path) == [f"a{ending}"]


def test_a_file_named_outright_needs_no_ending(tmp_path):
    touch(tmp_path, "portrait", ".hidden.jpg")
    assert names(tmp_path / "portrait", tmp_path / ".hidden.jpg") == ["portrait", ".hidden.jpg"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, ".a.jpg", ".b/c.jpg", "d/.e/f.jpg", "d/g.jpg")
    assert names(tmp_path) == ["d/g.jpg"]


def test_a_hidden_folder_named_outright_is_walked(tmp_path):
    touch(tmp_path, ".b/c.jpg")
    assert names(tmp_path / ".b") == ["c.jpg"]


def test_a_folder_with_a_photos_name_is_walked(tmp_path):
    touch(tmp_path, "x.jpg/y.jpg")
    (tmp_path / "empty.png").mkdir()
    assert names(tmp_path) == ["x.jpg/y.jpg"]


@pytest.mark.parametrize("target", ["..", ".", "link", "../sub/link", "nowhere"])
def test_a_link_that_leads_back_or_nowhere_is_not_walked(tmp_path, target):
    touch(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / "link").symlink_to(target)
    assert names(tmp_path) == ["a.jpg", "sub/b.jpg"]


@pytest.mark.parametrize("target", ["self.jpg", "nowhere"])
def test_a_photo_that_links_nowhere_is_listed(tmp_path, target):
    (tmp_path / "self.jpg").symlink_to(target)
    assert names(tmp_path) == ["self.jpg"]


def test_a_folder_reached_twice_is_walked_where_it_comes_first(tmp_path):
    touch(tmp_path, "m/x.jpg", "b.jpg")
    (tmp_path / "a").symlink_to("m")
    (tmp_path / "z").symlink_to("m")
    assert names(tmp_path) == ["a/x.jpg", "b.jpg"]


def test_a_folder_reached_twice_through_two_places_is_walked_once(tmp_path):
    touch(tmp_path, "m/x.jpg")
    (tmp_path / "link").symlink_to("m")
    assert names(tmp_path / "m", tmp_path / "link") == ["m/x.jpg"]


def test_a_linked_photo_is_found(tmp_path):
    touch(tmp_path, "elsewhere/x.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "y.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")
    assert names(tmp_path / "photos") == ["y.jpg"]


def test_several_places_keep_their_order_and_share_a_base(tmp_path):
    touch(tmp_path, "b/x.jpg", "a/x.jpg", "a/sub/y.jpg", "c.jpg")
    photos = find_photos([tmp_path / "b", tmp_path / "c.jpg", tmp_path / "a"])
    assert [photo.name for photo in photos] == ["b/x.jpg", "c.jpg", "a/sub/y.jpg", "a/x.jpg"]
    assert [photo.path for photo in photos] == [tmp_path / photo.relative for photo in photos]


@pytest.mark.parametrize(
    "places",
    [
        ["a", "a/x.jpg"],
        ["a/x.jpg", "a"],
        ["a", "a"],
        ["a", "a/sub/.."],
        ["a", "a/sub/../x.jpg"],
        ["a/x.jpg", "a/./x.jpg", "a/y.jpg"],
    ],
)
def test_a_file_in_two_places_is_listed_once(tmp_path, places):
    touch(tmp_path, "a/x.jpg", "a/y.jpg", "a/sub/notes.txt")
    paths = [photo.path.resolve() for photo in find_photos([tmp_path / place for place in places])]
    assert sorted(paths) == [tmp_path / "a" / "x.jpg", tmp_path / "a" / "y.jpg"]


@pytest.mark.parametrize(
    ("place", "expected"), [(".", "sub/x.jpg"), ("sub", "x.jpg"), ("sub/../sub", "x.jpg"), ("sub/x.jpg", "x.jpg")]
)
def test_relative_names(tmp_path, monkeypatch, place, expected):
    touch(tmp_path, "sub/x.jpg")
    monkeypatch.chdir(tmp_path)
    (photo,) = find_photos([Path(place)])
    assert photo.name == expected
    assert photo.relative == PurePath(expected)
    assert photo.path.exists()


def test_names_that_are_no_utf8(tmp_path):
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(raw)).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (photo,) = find_photos([tmp_path])
    assert photo.name == r"caf\xe9.jpg"
    assert os.fsencode(photo.path) == raw
    photo.name.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "expected"), [(b"\xff/\xfe", r"\xff/\xfe"), ("ü/日本".encode(), "ü/日本"), (b"a b", "a b")]
)
def test_names_are_printed_as_valid_text(name, expected):
    assert printable(PurePath(os.fsdecode(name))) == expected


def test_a_folder_that_cannot_be_reached_is_listed_with_its_problem(tmp_path):
    """Deeper than any path may be long: what not even root can open."""
    touch(tmp_path, "a.jpg", "z.jpg")
    name = "n" * 250
    nest(tmp_path, name, 20)
    first, folder, last = find_photos([tmp_path])
    assert (first.name, last.name) == ("a.jpg", "z.jpg")
    assert not first.problem
    assert folder.name.startswith(f"{name}/{name}/")
    assert folder.problem.startswith("folder cannot be read: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_without_permission_is_listed_with_its_problem(tmp_path):
    touch(tmp_path, "a/x.jpg", "b.jpg")
    (tmp_path / "a").chmod(0)
    try:
        folder, photo = find_photos([tmp_path])
    finally:
        (tmp_path / "a").chmod(0o700)
    assert (folder.name, photo.name) == ("a", "b.jpg")
    assert folder.problem == "folder cannot be read: Permission denied"


def test_folders_may_be_nested_deeper_than_calls(tmp_path):
    touch(tmp_path, "a.jpg")
    nest(tmp_path, "d", 1200)
    deepest = tmp_path / ("d/" * 1200)
    (deepest / "x.jpg").touch()
    try:
        assert names(tmp_path) == ["a.jpg", "d/" * 1200 + "x.jpg"]
    finally:
        # pytest could not clean up: it calls itself for each folder.
        (deepest / "x.jpg").unlink()
        os.removedirs(deepest)


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/a.jpg", "a.jpg/b.jpg", "n" * 300])
def test_a_place_that_does_not_exist_is_a_usage_error(tmp_path, missing):
    touch(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match=r"no such file or folder: .*" + missing):
        find_photos([tmp_path / "a.jpg", tmp_path / missing])


def test_a_folder_without_photos_gives_none(tmp_path):
    touch(tmp_path, "notes.txt")
    assert names(tmp_path) == []


OTHERS = ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "RECYCLER", "__MACOSX", "System Volume Information"]
OTHERS += ["Lightroom Previews.lrdata", "LOST.DIR", "#snapshot"]


@pytest.mark.parametrize("folder", OTHERS)
def test_folders_of_other_programs_are_skipped_and_counted(tmp_path, folder):
    touch(tmp_path, "a.jpg", f"{folder}/b.jpg", f"{folder}/c/d.jpg", f"e/{folder}/f.jpg", f"{folder}.txt", "e/g.jpg")
    skipped: Counter[str] = Counter()
    photos = find_photos([tmp_path], skipped=skipped)
    assert [photo.name for photo in photos] == ["a.jpg", "e/g.jpg"]
    assert skipped == {folder: 2}
    assert names(tmp_path / folder) == ["b.jpg", "c/d.jpg"], "named outright"


@pytest.mark.parametrize("hidden", [".Trash-1000", ".thumbnails", ".picasaoriginals", ".@__thumb"])
def test_hidden_folders_of_other_programs_are_left_out_as_all_are(tmp_path, hidden):
    touch(tmp_path, "a.jpg", f"{hidden}/b.jpg")
    assert names(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("originals", ["originals", "Masters"])
def test_of_a_photo_library_only_the_originals_are_walked(tmp_path, originals):
    library = "Photos Library.photoslibrary"
    touch(
        tmp_path,
        f"{library}/{originals}/A/x.jpg",
        f"{library}/resources/derivatives/A/x_1.jpg",
        f"{library}/scopes/y.jpg",
    )
    assert names(tmp_path) == [f"{library}/{originals}/A/x.jpg"]
    assert names(tmp_path / library) == [f"{originals}/A/x.jpg"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*_edited.jpg"], ["a.jpg", "b/a.jpg", "b/c/d.jpg"]),
        (["b"], ["a.jpg", "a_edited.jpg"]),
        (["b/"], ["a.jpg", "a_edited.jpg"]),
        (["b/c"], ["a.jpg", "a_edited.jpg", "b/a.jpg"]),
        (["*/a.jpg"], ["a_edited.jpg", "b/c/d.jpg"]),
        (["b/a.jpg", "*/b/c/*"], ["a.jpg", "a_edited.jpg"]),
        (["photos/b/*"], ["a.jpg", "a_edited.jpg"]),
        (["./b/a.jpg", "?"], ["a.jpg", "a_edited.jpg"]),
        (["above", "above/*"], ["a.jpg", "a_edited.jpg", "b/a.jpg", "b/c/d.jpg"]),
        (["c", "a[._]*"], []),
        (["nothing"], ["a.jpg", "a_edited.jpg", "b/a.jpg", "b/c/d.jpg"]),
    ],
)
def test_patterns_leave_files_and_folders_out(tmp_path, patterns, expected):
    photos = tmp_path / "above" / "photos"
    touch(photos, "a.jpg", "a_edited.jpg", "b/a.jpg", "b/c/d.jpg")
    assert [photo.name for photo in find_photos([photos], exclude=patterns)] == expected


@pytest.mark.parametrize("pattern", ["a.jpg", "b", "b/a.jpg", "b/*", "photos/b/*", "./photos/b", "p*"])
def test_of_a_file_that_is_named_all_of_its_path_can_be_excluded(tmp_path, monkeypatch, pattern):
    touch(tmp_path, "photos/b/a.jpg", "other/e.jpg")
    monkeypatch.chdir(tmp_path)
    named = [Path("photos/b/a.jpg"), Path("other/e.jpg")]
    assert [photo.path for photo in find_photos(named, exclude=[pattern])] == named[1:]
    assert [photo.path for photo in find_photos([], named, exclude=[pattern])] == named[1:]


def test_a_listed_photo_that_is_gone_is_one_with_a_problem(tmp_path):
    touch(tmp_path, "a.jpg", "b/c.jpg")
    listed = [tmp_path / "gone.jpg", tmp_path / "a.jpg", tmp_path / "b", tmp_path / "n" / ("n" * 300)]
    photos = find_photos([tmp_path / "a.jpg"], listed)
    assert [(photo.name, photo.problem) for photo in photos[:3]] == [
        ("a.jpg", ""),
        ("gone.jpg", "no such file"),
        ("b/c.jpg", ""),
    ]
    assert photos[3].problem == "no such file"
    with pytest.raises(UsageError):
        find_photos([tmp_path / "gone.jpg"], listed)
    assert find_photos([], []) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.jpg\nb.jpg\n", [b"a.jpg", b"b.jpg"]),
        (b"a.jpg\nb.jpg", [b"a.jpg", b"b.jpg"]),
        (b"\n a b .jpg\n\n  \n", [b" a b .jpg"]),
        (b"a.jpg\r\nb.jpg\r\n", [b"a.jpg", b"b.jpg"]),
        (b"a.jpg\r\nb.jpg", [b"a.jpg", b"b.jpg"]),
        (b"a\r\nb.jpg\n", [b"a\r", b"b.jpg"]),
        (b"caf\xe9.jpg\n\xff\n", [b"caf\xe9.jpg", b"\xff"]),
        (b"a\nb.jpg\0c d.jpg\0", [b"a\nb.jpg", b"c d.jpg"]),
        (b"\0\0", []),
        (b"", []),
        (b"\xef\xbb\xbfa.jpg\n", [b"a.jpg"]),
        ("é.jpg\r\n名.jpg\r\n".encode("utf-16"), ["é.jpg".encode(), "名.jpg".encode()]),
        (b"\xfe\xff" + "é.jpg\n".encode("utf-16-be"), ["é.jpg".encode()]),
        ("photos/é.jpg\r\n".encode("utf-16-le"), ["photos/é.jpg".encode()]),
        ("photos/é.jpg\n".encode("utf-16-be"), ["photos/é.jpg".encode()]),
        ("a\u2028b\u0085c\x0b.jpg\n".encode(), ["a\u2028b\u0085c\x0b.jpg".encode()]),
    ],
)
def test_lists_of_other_programs(content, expected):
    assert [os.fsencode(path) for path in parse_list(content)] == expected
