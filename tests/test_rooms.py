"""Imports point down only: the rooms of the package from the top floor to the ground."""

import ast
from pathlib import Path

import faceage

ROOMS = (
    *(
        "cli",
        "report",
        "batch",
        "training",
        "evaluation",
        "people",
        "pull",
        "model",
        "networks",
        "data",
        "store",
        "pictures",
    ),
    *("faces", "photos", "backend", "ahead", "download", "files", "ages", "images", "sizes", "errors"),
)
PACKAGE = Path(faceage.__file__).parent


def imported_rooms(path: Path) -> set[str]:
    """The rooms of faceage that a module imports anywhere, in functions and for type checking too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {parts[1] for name in names if (parts := name.split("."))[0] == "faceage" and len(parts) > 1}


def test_imports_point_down_only():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        below = ROOMS[ROOMS.index(room) :]
        wrong += [
            f"{path.relative_to(PACKAGE)} imports {other}" for other in imported_rooms(path) if other not in below
        ]
    assert not wrong


def test_every_room_is_named():
    there = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name[0] != "_" and path.name != "py.typed"
    }
    assert there == set(ROOMS)
