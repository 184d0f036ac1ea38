"""What `pip install .`, pipx and uv install: a wheel that holds the weights, and works outside of the clone."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from conftest import REPOSITORY

WEIGHTS = REPOSITORY / "weights" / "utkface-64"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return folder / hatchling.build_wheel(str(folder))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that the wheel was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    done = subprocess.run([*command, "--target", folder, wheel], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("no pip in this environment")
    assert done.returncode == 0, done.stderr
    return folder


def run(installed: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The installed `faceage`, run in `folder` without the user's own weights, on this environment's packages."""
    environment = {name: value for name, value in os.environ.items() if name != "FACEAGE_WEIGHTS"}
    environment |= {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, installed / "bin" / "faceage", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_the_wheel_holds_the_package_and_the_weights_with_their_card(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info/" not in name}
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(content.read(name).decode())
        card = json.loads(content.read("faceage/weights/utkface-64/model.json"))
    modules = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "faceage").rglob("*.py")}
    shipped = {f"faceage/weights/utkface-64/{path.name}" for path in WEIGHTS.iterdir() if path.is_file()}
    assert modules | shipped <= names
    assert "faceage/py.typed" in names
    # No tests, no examples, no plots, nothing beside the package.
    assert {name.split("/")[0] for name in names} == {"faceage"}
    assert not [name for name in names if "evaluation/" in name and "faceage/weights" in name]
    assert "non-commercial" in card["licence"]
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert [line for line in required if line.startswith("tensorflow")]
    assert not [line for line in required if re.search("cuda|torch", line)]


def test_the_changelog_begins_with_this_version(wheel):
    newest, *older = re.findall(r"^## \[(\S+)\] - \d{4}-\d\d-\d\d$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    assert wheel.name.startswith(f"faceage-{newest}-")
    assert newest not in older


def test_installed_it_ages_a_photo_from_another_folder(installed, tmp_path):
    shutil.copy(REPOSITORY / "examples" / "person-1.jpg", tmp_path)
    listed = run(installed, tmp_path, "weights", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    (model,) = json.loads(listed.stdout)
    assert Path(model["folder"]) == installed / "faceage" / "weights" / "utkface-64"
    assert "non-commercial" in model["licence"]
    done = run(
        installed, tmp_path, "batch", "person-1.jpg", "--out", "aged", "--objective", "none", "--no-report", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faces"] == 1
    assert "Exception ignored" not in done.stderr
    assert list((tmp_path / "aged" / "grids").rglob("*.png"))


def test_an_editable_install_takes_the_clone_as_it_lies(tmp_path, monkeypatch):
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling, which builds the wheel, is not installed")
    monkeypatch.chdir(REPOSITORY)
    name = hatchling.build_editable(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as content:
        (path,) = (name for name in content.namelist() if ".dist-info/" not in name)
        assert content.read(path).decode().strip() == str(REPOSITORY)
