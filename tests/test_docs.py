"""What is written for users is true of the commands."""

import re
import shutil
import subprocess

import pytest
import typer
from conftest import REPOSITORY

from faceage.cli.app import app

README = (REPOSITORY / "README.md").read_text()


def commands() -> dict[str, typer.main.TyperCommand]:
    """Every command by its words: "batch", "train gan", …"""

    def walk(command, words):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from walk(child, [*words, name])
        else:
            yield " ".join(words), command

    return dict(walk(typer.main.get_command(app), []))


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_and_is_in_the_readme(name):
    assert commands()[name].help
    assert re.search(rf"faceage {name}\b", README), f"README does not mention 'faceage {name}'"


def test_every_option_in_the_readme_exists():
    known = {option for command in commands().values() for param in command.params for option in param.opts}
    used = set()
    names = "|".join({name.split()[0] for name in commands()})
    for line in README.splitlines():
        if (match := re.search(rf"faceage (?:{names})\b.*", line)) and line.startswith("    "):
            used |= set(re.findall(r"(?<!\S)(--[a-z0-9-]+)", match[0].split("#")[0]))
    assert used
    assert used <= known | {"--help"}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_alone_lists_the_targets():
    listed = subprocess.run(["make", "-C", REPOSITORY], capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "test-all", "lint", "bench"):
        assert re.search(rf"^{target}\s+\S", listed, re.MULTILINE)
