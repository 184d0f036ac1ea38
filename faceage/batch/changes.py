"""Which options differ from an earlier run's, in the words of the command line."""

from collections.abc import Mapping
from typing import Any

_OPTIONS = "faces", "min_face", "age", "ages", "strength", "draw", "scale", "mark", "gender"
_OF_THE_OPTIMISER = "objective", "steps", "seed"
"""Of the command line, by their names in latents.h5."""


def changed_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """ "--steps 60 in place of --steps 20", of options as latents.h5 stores them.

    Where none differs, whoever asks has seen that something does: "other weights".
    """
    old, new = _of_the_command_line(before), _of_the_command_line(now)
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    if not names:
        return "other weights"
    now_said, before_said = (" ".join(_said(name, options.get(name)) for name in names) for options in (new, old))
    return f"{now_said} in place of {before_said}"


def _of_the_command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    optimiser = options.get("optimiser", {})
    found = {name: options[name] for name in _OPTIONS if name in options}
    return found | {name: optimiser[name] for name in _OF_THE_OPTIMISER if name in optimiser}


def _said(name: str, value: Any) -> str:
    option = name.replace("_", "-")
    if value is None or value is False:
        return f"no --{option}"
    if value is True:
        return f"--{option}"
    return f"--{option} {','.join(value) if isinstance(value, list) else value}"
