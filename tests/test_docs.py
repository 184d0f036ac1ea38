"""What is written for users is true of the commands."""

import re
import shutil
import subprocess

import pytest
from commands import commands
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
OF_THE_PROGRAM = {"--help", "--version", "--debug", "--install-completion", "--show-completion"}


def options(name: str) -> set[str]:
    return {option for param in commands()[name].params for option in (*param.opts, *param.secondary_opts)}


def test_the_readme_is_short():
    assert len(README.encode()) <= 12_000


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_is_in_the_readme(name):
    assert re.search(rf"faceage {name}\b", README)


def test_every_command_in_the_readme_exists_with_its_options():
    used = re.findall(r"\bfaceage ((?:train|data|evaluate|weights) \w+|[a-z]+)\b([^#`|\n]*)", README)
    # "faceage" is also the subject of sentences, and their next word no command.
    asked = [(name, rest) for name, rest in used if " " in name or "--" in rest]
    assert len(asked) > 15
    for name, rest in asked:
        assert name in commands(), name
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", rest)) <= options(name) | OF_THE_PROGRAM, f"{name}{rest}"


def test_every_option_in_the_readme_exists():
    known = OF_THE_PROGRAM.union(*map(options, commands()))
    mine = re.sub(r"^.*\b(?:git clone|pip install)\b.*$", "", README, flags=re.MULTILINE)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", mine)) <= known


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_alone_lists_the_targets():
    listed = subprocess.run(["make", "-C", REPOSITORY], capture_output=True, text=True, check=True).stdout
    for target in {"demo", "test", "test-all", "lint", "bench"} | set(re.findall(r"`make ([a-z-]+)", README)):
        assert re.search(rf"^{target}\s+\S", listed, re.MULTILINE)


def test_what_the_readme_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert any(link.endswith(".png") for link in links)
    for link in links:
        assert (REPOSITORY / link).exists()
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (REPOSITORY / picture).stat().st_size < 1_000_000
