"""The scripts in examples/ do what they say, on the photos beside them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two people and a file that is no photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("person-1.jpg", "person-2.jpg"):
        shutil.copy(EXAMPLES / name, folder)
    (folder / "broken.jpg").write_text("no photo")
    return folder


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    # As installed beside this Python, whether its environment is active or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["sh", EXAMPLES / script, *map(str, arguments), "--steps", "2", "--no-report"]
    return subprocess.run(command, capture_output=True, text=True, timeout=540, env={**os.environ, "PATH": path})


def test_every_script_is_tried_here_and_says_what_it_does():
    tried = Path(__file__).read_text()
    for script in EXAMPLES.glob("*.sh"):
        assert f'run("{script.name}"' in tried
        assert f"examples/{script.name} PHOTOS OUT" in script.read_text()


def test_animations(photos, tmp_path):
    result = run("young_to_old.sh", photos, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        str(tmp_path / "out" / "animations" / "photos" / f"person-{number}.jpg_0.webp") for number in (1, 2)
    ]


def test_whole_photos_and_what_could_not_be_done(photos, tmp_path):
    result = run("older_photos.sh", photos, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 2
    assert all(Path(line).stat().st_size for line in result.stdout.split())
    assert "broken.jpg" in result.stderr
    assert "person-1.jpg" not in result.stderr


def test_shards(photos, tmp_path):
    result = run("in_shards.sh", photos, tmp_path / "out", 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "3"
    assert len(list((tmp_path / "out" / "grids").rglob("*.png"))) == 2
