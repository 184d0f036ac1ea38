"""`--json` is for programs: whatever the environment says of terminals and text, it is JSON and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import commands, faceage
from conftest import REPOSITORY
from PIL import Image

COLOURED = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm-256color"}


@pytest.fixture
def photo(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 64), "grey").save(folder / "ü :smile: [red].png")
    return folder


def told(*arguments: object, status: int = 0) -> dict:
    command = [sys.executable, "-m", "faceage", *map(str, arguments), "--json"]
    environment = {**os.environ, **COLOURED, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=540, env=environment)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout)


def test_a_batch(photo, tmp_path):
    out = tmp_path / "out"
    assert told("batch", photo, "--out", out, "--dry-run")["to_find"] == ["photos/ü :smile: [red].png"]
    assert faceage("batch", photo, "--out", out, "--no-report").returncode == 1
    assert told("batch", photo, "--out", out, "--no-report", status=1)["photos"]["no_face"] == 1


def test_the_weights():
    assert told("weights", "list")
    assert told("weights", "verify")["whole"] is True


def test_every_command_writes_it_in_the_same_way():
    """The others take minutes: that they write to the same console is enough."""
    from faceage.cli import console

    writers = set()
    for path in (REPOSITORY / "faceage" / "cli").glob("*.py"):
        if path.name != "console.py" and "print_json" in path.read_text():
            assert vars(sys.modules[f"faceage.cli.{path.stem}"])["out"] is console.out
            writers.add(path.stem.removesuffix("_messages"))
    offering = {name.split()[0] for name, command in commands().items() if "--json" in str(option_names(command))}
    assert offering == writers


def option_names(command) -> list[str]:
    return [name for param in command.params for name in param.opts]


def test_names_are_printed_as_they_are(photo, tmp_path):
    command = [sys.executable, "-m", "faceage", "batch", photo, "--out", tmp_path / "out", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, **COLOURED})
    assert done.stdout == "photos/ü :smile: [red].png\n"
