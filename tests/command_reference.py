"""`make reference`: the README's command reference, from what the commands say of themselves.

command_reference.py     writes it into README.md, between its two marks
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from faceage.cli.app import app

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- reference -->", "<!-- end of reference -->"


def commands() -> dict[str, Any]:
    """Every command by its words: "batch", "train gan", …"""

    def walk(command: Any, words: list[str]) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*words, name])
        else:
            yield " ".join(words), command

    return dict(walk(typer.main.get_command(app), []))


def reference() -> str:
    """All commands in Markdown, each folded up: its usage, what it does, and a table of its options."""
    return "\n".join(f"{_section(name, command)}" for name, command in sorted(commands().items()))


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=f"faceage {name}")
    usage = re.sub(r"[{}]", "", " ".join([f"faceage {name}", *command.collect_usage_pieces(context)]))
    lines = ["<details>", f"<summary><code>faceage {name}</code>: {_first_line(command.help)}</summary>", ""]
    lines += ["```", usage, "", command.help.strip(), "```", "", "| | |", "|---|---|"]
    for param in command.params:
        shown = param.get_help_record(context)
        if shown:
            option, text = (" ".join(part.split()).replace("|", "\\|") for part in shown)
            lines.append(f"| `{option}` | {text} |")
        elif param.param_type_name == "argument":
            lines.append(f"| `{param.make_metavar(context)}` | {getattr(param, 'help', '') or ''} |")
    return "\n".join([*lines, "", "</details>", ""])


def _first_line(text: str) -> str:
    return " ".join(re.split(r"\n\s*\n", text.strip())[0].split())


def written() -> str:
    """The README as it is to be."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written())
