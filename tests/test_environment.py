"""What the environment says that is none of a command's business: the same results, or one sentence that says why."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from commands import faceage_alone
from PIL import Image

from faceage.photos.find import find_photos

NAME = "名前 [bold]:smile:.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, astronaut):
    folder = tmp_path_factory.mktemp("environment")
    (folder / "photos").mkdir()
    Image.fromarray(astronaut).save(folder / "photos" / NAME)
    return folder


def shell(command: str, cwd=None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the shell in which `faceage` runs the program."""
    start = f'faceage() {{ "{sys.executable}" -m faceage "$@"; }}; {command}'
    whole = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", start], cwd=cwd, env=whole, capture_output=True, text=True, timeout=540)


def settings(folder, **changes) -> str:
    """A home whose keras.json says something unusual."""
    home = folder / "home"
    (home / ".keras").mkdir(parents=True, exist_ok=True)
    usual = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow", "image_data_format": "channels_last"}
    (home / ".keras" / "keras.json").write_text(json.dumps({**usual, **changes}))
    return str(home)


def latents(out) -> np.ndarray:
    with h5py.File(out / "latents.h5") as file:
        return file["latent"][()]


def test_no_setting_changes_a_result(folder):
    # What is in the current folder, under the name of the detector's weights, is no weights and no code.
    for name in ("pnet.lz4", "rnet.lz4", "onet.lz4"):
        (folder / name).write_bytes(b"no weights")
    arguments = "--objective pixel --steps 2 --ages 60+ --no-report"
    plain = shell(f"faceage batch photos --out plain {arguments}", folder)
    assert plain.returncode == 0, plain.stderr
    odd = shell(
        f"faceage batch photos --out odd {arguments} <&- 2>&-",
        folder,
        HOME=settings(folder, image_data_format="channels_first", floatx="float16", epsilon=0.5),
        TF_USE_LEGACY_KERAS="1",
        KERAS_MAX_STEPS_PER_EPOCH="1",
        PYTHONWARNINGS="error",
        TMPDIR="/nowhere",
        XDG_CACHE_HOME=str(folder / "pnet.lz4"),
        PYTHONSAFEPATH="1",
        COLUMNS="1",
        TERM="dumb",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert (odd.returncode, odd.stdout) == (0, "")
    np.testing.assert_array_equal(latents(folder / "plain"), latents(folder / "odd"))
    names = [sorted(path.name for path in (folder / out / "grids").rglob("*.png")) for out in ("plain", "odd")]
    assert names[0] == names[1] == [f"{NAME}_0.png"]
    pictures = [next((folder / out / "grids").rglob("*.png")).read_bytes() for out in ("plain", "odd")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    "content", ["[1]", '{"floatx": "bfloat16"}', '{"epsilon": 1}', '{"image_data_format": 3}', None]
)
def test_settings_of_keras_that_are_none_are_one_sentence(folder, tmp_path, content):
    home = tmp_path / "keras"
    (home / "keras.json").mkdir(parents=True)
    if content is not None:
        (home / "keras.json").rmdir()
        (home / "keras.json").write_text(content)
    environment = {**os.environ, "KERAS_HOME": str(home)}
    done = faceage_alone("batch", folder / "photos", "--out", tmp_path / "out", env=environment)
    assert done.returncode == 2
    *_, said, hint = done.stderr.splitlines()
    assert "Keras cannot read its settings" in said
    assert str(home / "keras.json") in hint


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", "2> /dev/full"])
def test_streams_that_are_closed_or_full_change_no_result(folder, closed):
    done = shell(f"faceage batch photos --out dry --dry-run {closed}", folder)
    assert (done.returncode, done.stdout) == (0, f"photos/{NAME}\n"), done.stderr


def test_nothing_else_becomes_a_closed_stream(folder):
    """What a library prints must not go into the file that is opened next."""
    code = (
        "import os, sys\n"
        "from faceage import __main__ as program\n"
        "program._open_streams()\n"
        "assert os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) > 2\n"
        "os.write(2, b'noise')\n"
        "print('more noise', file=sys.stderr)\n"
    )
    done = shell(f"'{sys.executable}' -c \"$CODE\" data <&- >&- 2>&-", folder, CODE=code)
    assert done.returncode == 0
    assert (folder / "data").read_bytes() == b""


def test_results_that_cannot_be_printed_are_one_sentence(folder):
    done = shell("faceage batch photos --out dry --dry-run > /dev/full", folder)
    assert (done.returncode, done.stderr) == (2, "faceage: cannot write to stdout: No space left on device\n")


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "POSIX"}]
)
def test_names_are_printed_and_used_in_any_locale(folder, locale):
    done = shell("faceage batch photos --out dry --dry-run", folder, **locale)
    assert (done.returncode, done.stdout) == (0, f"photos/{NAME}\n"), done.stderr


def test_names_that_stdout_cannot_hold_are_escaped(folder):
    done = shell("faceage batch photos --out dry --dry-run", folder, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "photos/\\u540d\\u524d [bold]:smile:.jpg\n"), done.stderr


def test_warnings_are_no_errors(folder):
    assert shell("faceage batch photos --out dry --dry-run", folder, PYTHONWARNINGS="error").returncode == 0


@pytest.mark.parametrize("arguments", ["batch photos --out out", "batch {photos} --out {out}", "report out"])
def test_a_current_folder_that_is_gone_is_said(folder, tmp_path, arguments):
    arguments = arguments.format(photos=folder / "photos", out=tmp_path / "out")
    (tmp_path / "gone").mkdir()
    done = shell(f"rmdir ../gone; faceage {arguments}", tmp_path / "gone")
    assert done.returncode == 2
    assert "the current folder does not exist any more" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_like_markup_is_printed_as_it_is_whatever_the_terminal(folder):
    done = shell("faceage batch photos --out dry --dry-run", folder, FORCE_COLOR="1")
    assert done.stdout == f"photos/{NAME}\n"
    (photo,) = find_photos([folder / "photos"])
    assert photo.name == NAME


def test_a_system_that_it_does_not_run_on_is_said():
    code = "import sys; sys.platform = 'win32'; from faceage.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["faceage: it runs on Linux and macOS", "  on Windows, use it in WSL"]
