"""Running `faceage` as a user does: the command line, in this process or in one of its own."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from shared import shared_networks

from faceage.cli.app import app, main


def faceage(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, with the networks that its tests share (`shared`)."""
    status, out, err = in_this_process(*arguments)
    return subprocess.CompletedProcess(_command(arguments), status, out, err)


def faceage_alone(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: for what depends on that, as its environment and its limits do."""
    return subprocess.run(_command(arguments), capture_output=True, text=True, timeout=540, **kwargs)


def _command(arguments: Sequence[object]) -> list[str]:
    return [sys.executable, "-m", "faceage", *map(str, arguments)]


_MEASURED = """
import pathlib, resource, subprocess, sys
done = subprocess.run(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(done.returncode)
"""


def faceage_measured(peak: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`faceage_alone`, whose own peak memory in KiB is written to `peak`: this process has had other children too."""
    command = [sys.executable, "-c", _MEASURED, str(peak), *_command(arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=540)


def in_this_process(*arguments: object) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            shared_networks(),
            pytest.raises(SystemExit) as end,
        ):
            main([str(argument) for argument in arguments])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


def commands() -> dict[str, Any]:
    """Every command by its words: "batch", "train gan", …"""

    def walk(command: Any, words: list[str]) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*words, name])
        else:
            yield " ".join(words), command

    return dict(walk(typer.main.get_command(app), []))


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
