"""The file system, with disks that refuse some of its calls."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import refusing_disk
from conftest import REPOSITORY

from faceage.batch.age_photos import make_task
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.pipeline import run_batch
from faceage.batch.plan import choose_photos, writing_to
from faceage.batch.worker import Done
from faceage.errors import UsageError
from faceage.files import find_room, link_or_copy, only_one, sync, written_whole
from faceage.model_search import find_model
from faceage.store.manifest import UNREADABLE, PhotoOutcome

REFUSALS = {
    "SMB": dict.fromkeys(("allocate", "fsync", "flock", "link"), errno.EOPNOTSUPP),
    "FUSE": dict.fromkeys(("allocate", "fsync", "flock", "link"), errno.ENOSYS),
    "NFS": {"allocate": errno.EOPNOTSUPP, "flock": errno.ENOLCK},
    "exFAT": {"allocate": errno.EOPNOTSUPP, "link": errno.EPERM, "fsync": errno.EINVAL},
    "glibc's own allocation": {"allocate": errno.EBADF},
    "Lustre": {"flock": errno.ENOSYS, "allocate": errno.EINVAL},
}

EVERYTHING = """
import sys
from pathlib import Path
from faceage.files import find_room, link_or_copy, only_one, written_whole
folder = Path(sys.argv[1])
for _ in range(2):
    with only_one(folder, "testing"):
        for name in ("a", "b"):
            with written_whole(folder / name, durable=True) as partial:
                find_room(partial, 3_000_000)
                partial.write_text(name)
        link_or_copy(folder / "a", folder / "c")
assert [(folder / name).read_text() for name in "abc"] == ["a", "b", "a"]
"""


def run(code: str, *arguments, env=None) -> subprocess.CompletedProcess[str]:
    env = {**(env or os.environ), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("disk", REFUSALS)
def test_a_disk_that_refuses_calls_is_used_with_one_warning_for_each_weaker_promise(tmp_path, disk):
    refused = REFUSALS[disk]
    result = run(EVERYTHING, tmp_path / "out", env=refusing_disk.environment(tmp_path, **refused))
    assert result.returncode == 0, result.stderr
    expected = ["has no locks"] * ("flock" in refused) + ["a power cut"] * ("fsync" in refused)
    lines = result.stderr.splitlines()
    assert len(lines) == len(expected), result.stderr
    assert all(words in line for words, line in zip(expected, lines, strict=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "a", "b", "c"]


def test_a_disk_that_refuses_nothing_gives_no_warning(tmp_path):
    result = run(EVERYTHING, tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "out" / "a").stat().st_ino == (tmp_path / "out" / "c").stat().st_ino


@pytest.mark.parametrize("call", ["allocate", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_or_failing_disk_is_no_refusal(tmp_path, call, number):
    result = run(EVERYTHING, tmp_path / "out", env=refusing_disk.environment(tmp_path, **{call: number}))
    assert result.returncode == 1
    assert f"OSError: [Errno {number}]" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.parametrize("refused", [{}, {"allocate": errno.EOPNOTSUPP}], ids=["allocates", "does not"])
def test_a_disk_without_the_room_is_an_error_and_the_file_stays_as_it_was(tmp_path, refused):
    code = """
import resource, sys
from pathlib import Path
from faceage.files import find_room
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
find_room(Path(sys.argv[1]), 1_900_000)
print("fits")
find_room(Path(sys.argv[1]), 2_100_000)
"""
    path = tmp_path / "file"
    path.write_text("before")
    env = refusing_disk.environment(tmp_path, **refused) if refused else None
    result = run(code, path, env=env)
    assert result.stdout == "fits\n"
    assert "OSError: [Errno 27]" in result.stderr
    assert path.read_text() == "before"


def test_a_full_disk(small_disk):
    find_room(small_disk / "file", 900_000)
    with pytest.raises(OSError, match="No space") as error:
        find_room(small_disk / "file", 1_200_000)
    assert error.value.errno == errno.ENOSPC
    assert (small_disk / "file").stat().st_size == 0


def test_a_disk_that_is_full_in_the_middle_of_a_batch_is_one_sentence(small_disk, tmp_path):
    """Also when the manifest is closed, which takes room too."""
    (tmp_path / "a.jpg").touch()

    def engine(task, to_find, to_draw, record, tell) -> None:
        record(Done(finished=[PhotoOutcome(photo.name, UNREADABLE, 0, "empty") for photo in to_find]))
        with writing_to(task.out), open(task.out / "rest", "wb", buffering=0) as file:
            while True:
                file.write(bytes(1000))

    task = make_task(small_disk / "out", find_model(), FindOptions(), DrawOptions())
    with pytest.raises(UsageError, match=r"cannot write to --out .*: No space left on device"):
        run_batch(task, choose_photos([tmp_path / "a.jpg"], task.out), engine=engine)


def test_room_is_found_where_python_cannot_allocate(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    find_room(tmp_path / "file", 5_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            find_room(tmp_path / "file", 5_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "file").stat().st_size == 0


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail() -> None:
        with written_whole(path) as partial:
            partial.write_text("after")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "before")]


def test_what_is_synced_is_in_the_file(tmp_path):
    with open(tmp_path / "file", "w") as file:
        file.write("text")
        sync(file)
        assert (tmp_path / "file").read_text() == "text"


def test_a_copy_replaces_what_was_there(tmp_path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    code = """
import sys, time
from pathlib import Path
from faceage.files import only_one
with only_one(Path(sys.argv[1]), "testing"):
    print("holds", flush=True)
    time.sleep(600)
"""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], env=env, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "holds\n"
    with pytest.raises(UsageError, match="another process is testing") as error, only_one(tmp_path, "testing"):
        pass
    assert error.value.hint
    holder.kill()
    holder.wait()
    with only_one(tmp_path, "testing"):
        pass
