"""The scripts in examples/ do what they say, on the photos beside them."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from commands import in_this_process
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


COMMAND = """#!{python} -I
import json, socket, sys
with socket.create_connection(("localhost", {port})) as connection, connection.makefile("rw") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
    stream.flush()
    status, out, err = json.loads(stream.readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""


@pytest.fixture
def run(tmp_path):
    """Run a script, whose `faceage` is this process's, with the networks that its tests share."""

    def to_its_end(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        with socket.create_server(("localhost", 0)) as server:
            server.settimeout(0.05)
            (tmp_path / "bin").mkdir()
            command = tmp_path / "bin" / "faceage"
            command.write_text(COMMAND.format(python=sys.executable, port=server.getsockname()[1]))
            command.chmod(0o755)
            words = ["sh", EXAMPLES / script, *map(str, arguments), "--steps", "2", "--no-report"]
            environment = {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
            pipe = subprocess.PIPE
            with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
                while process.poll() is None:
                    try:
                        connection, _ = server.accept()
                    except TimeoutError:
                        continue
                    with connection, connection.makefile("rw") as stream:
                        answer = in_this_process(*json.loads(stream.readline()))
                        stream.write(json.dumps(answer) + "\n")
                return subprocess.CompletedProcess(words, process.returncode, *process.communicate())

    return to_its_end


def test_the_command_is_installed_beside_this_python():
    shown = subprocess.run([Path(sys.executable).parent / "faceage", "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("faceage ")


def test_every_script_is_tried_here_and_says_what_it_does():
    tried = Path(__file__).read_text()
    for script in EXAMPLES.glob("*.sh"):
        assert f'run("{script.name}"' in tried
        assert f"examples/{script.name} PHOTOS OUT" in script.read_text()


def test_animations(run, photos, tmp_path):
    # The generator draws 26 ages fastest.
    result = run("young_to_old.sh", photos, tmp_path / "out", "--draw", "generator")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        str(tmp_path / "out" / "animations" / "photos" / f"person-{number}.jpg_0.webp") for number in (1, 2)
    ]


def test_whole_photos_and_what_could_not_be_done(run, photos, tmp_path):
    result = run("older_photos.sh", photos, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 2
    assert all(Path(line).stat().st_size for line in result.stdout.split())
    assert "broken.jpg" in result.stderr
    assert "person-1.jpg" not in result.stderr


def test_shards(run, photos, tmp_path):
    result = run("in_shards.sh", photos, tmp_path / "out", 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "3"
    assert len(list((tmp_path / "out" / "grids").rglob("*.png"))) == 2
