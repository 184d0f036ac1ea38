"""Imports point down only, in the order of rooms that the package's docstring gives."""

import ast
from importlib.util import resolve_name
from pathlib import Path

import faceage

PACKAGE = Path(faceage.__file__).parent
ROOMS = faceage.__doc__.rpartition("from those after it:")[2].split()


def imported_rooms(path: Path, package: Path = PACKAGE) -> set[str]:
    """The rooms of faceage that a module imports anywhere, in functions and for type checking too."""
    within = ".".join(["faceage", *path.parent.relative_to(package).parts])
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), within)
            names += [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {parts[1] for name in names if (parts := name.split("."))[0] == "faceage" and len(parts) > 1}


def imports_upward(package: Path = PACKAGE) -> list[str]:
    wrong = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            below = ROOMS[ROOMS.index(room) :]
            upward = sorted(imported_rooms(path, package) - set(below))
            wrong += [f"{path.relative_to(package)} imports {other}" for other in upward]
    return wrong


def test_imports_point_down_only():
    assert not imports_upward()


def test_every_room_is_named_once():
    there = [path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name[0] != "_"]
    assert sorted(ROOMS) == sorted(name for name in there if name != "py.typed")


def test_an_import_upward_is_seen_however_it_is_written(tmp_path):
    ways = {
        "faces/absolute.py": "from faceage.batch import plan",
        "faces/whole.py": "import faceage.batch.plan",
        "faces/relative.py": "from ..batch import plan",
        "faces/parent.py": "from .. import batch",
        "faces/deep/deeper.py": "def late():\n    from ...batch.plan import Task",
        "ages.py": "from .batch import plan",
        "faces/beside.py": "from . import align\nfrom .align import similarity\nfrom ..sizes import FACE_SIZE",
    }
    for name, source in ways.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert imports_upward(tmp_path) == [f"{name} imports batch" for name in sorted(ways) if name != "faces/beside.py"]
