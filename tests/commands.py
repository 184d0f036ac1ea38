"""Running `faceage` as a user does: the command, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def faceage(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceage", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=540, **kwargs)


def rows_of(out: Path) -> dict[str, dict]:
    """The manifest's rows by path, each there once."""
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["path"] for row in rows})
    return {row["path"]: row for row in rows}


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for all of them to end well; where one does not, none goes on."""
    try:
        for process in processes:
            _, said = process.communicate(timeout=400)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in processes:
            process.kill()
