"""What is written for users is true of the commands."""

import re
import shutil
import subprocess

import pytest
from command_reference import BEGIN, commands, written
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_and_is_in_the_readme(name):
    assert re.search(rf"faceage {name}\b", commands()[name].help), "there is no example in its help"
    written_by_hand, _, _ = README.partition(BEGIN)
    assert re.search(rf"faceage {name}\b", written_by_hand), f"README does not mention 'faceage {name}'"


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


def test_the_command_reference_is_what_the_commands_say():
    assert written() == README, "make reference"


def test_the_pictures_in_the_readme_are_there():
    for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (REPOSITORY / name).stat().st_size < 1_000_000
