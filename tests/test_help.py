"""What a person at a terminal is told: help to scan, completion, and what to write instead of a wrong command line."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import commands, in_this_process

from faceage.cli.mistakes import GONE
from faceage.cli.panels import PanelCommand
from faceage.photos.decode import LIMITS

GROUPS = sorted({name.split()[0] for name in commands() if " " in name})


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def told(*arguments: object) -> str:
    status, out, err = in_this_process(*arguments)
    assert (status, err) == (0, "")
    return out


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_shows_itself_used_and_fits_80_columns(name):
    help = told(*name.split(), "--help")
    assert re.search(rf"^ +(.* \| )?faceage {name}\b", help, re.MULTILINE)
    longest = max(help.splitlines(), key=len)
    # Examples keep their lines, however long.
    assert len(longest) <= (80 if "    faceage" not in longest else 90), longest


@pytest.mark.parametrize("words", [[], *([group] for group in GROUPS)])
def test_no_summary_is_cut_off(words):
    _, listed = told(*words, "--help").split("Commands:")
    assert "..." not in listed
    assert len(listed.split("\n\n")[0].strip().splitlines()) == sum(
        name.split()[: len(words)] == words and len(name.split()) == len(words) + 1 for name in commands()
    ) + (0 if words else len(GROUPS))


def test_examples_keep_their_lines():
    shown = told("render", "--help")
    examples = [line for line in commands()["render"].help.splitlines() if line.startswith("    faceage ")]
    assert len(examples) == 4
    assert all(line in shown.replace("      ", "    ") for line in examples)


def test_the_options_of_batch_are_in_panels():
    lines = told("batch", "--help").splitlines()
    titles = [line.removesuffix(":") for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert titles == [
        "What to age",
        "How it looks",
        "Which photos",
        "Speed",
        "Model",
        "Resuming",
        "Many machines",
        "Scripts",
    ]
    first = lines[lines.index("What to age:") : lines.index("Which photos:")]
    assert 4 < sum(bool(re.match(r"  \S", line)) for line in first) <= 12


def test_a_command_with_many_options_has_panels():
    many = {name for name, command in commands().items() if len(command.params) > 14}
    assert many >= {"batch", "render"}
    assert all(isinstance(commands()[name], PanelCommand) for name in many)


def test_the_limits_in_the_help_are_those_of_reading():
    shown = " ".join(told("batch", "--help").split())
    for limit in (LIMITS.pixels, LIMITS.seconds, LIMITS.memory / 2**30):
        assert f"[default: {limit:.0f}]" in shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bathc photos", "no such command 'bathc'. Did you mean 'batch'?"),
        ("evaluate realsm", "Did you mean 'realism'?"),
        ("batch photos --ouput x", "did you mean --out?"),
        ("batch photos --out {tmp} --ages 20-29", "unknown age '20-29'\n  did you mean 19-29?"),
        ("batch photos --out {tmp} --age 60-", "unknown age '60-'\n  did you mean 60 or 60+?"),
        ("batch {tmp}/a.jpg --out {tmp}/out --weights utkface64 --dry-run", "did you mean utkface-64?"),
        ("train gan --data {tmp} --run {tmp}/run --set learning_rat=1", "did you mean learning_rate?"),
        ("batch photos --out x --draw foto", "'foto' is not one of 'photo', 'generator'\n  see faceage batch --help"),
        ("batch photos --out x --age 25,60", "'25,60' is not one age\n  ages to draw are given by --ages 25,60"),
        ("batch photos --out x --ages 25-60", "unknown age '25-60'\n  for 25 and 60 write 25,60; "),
        ("{tmp}/a.jpg", "/a.jpg' is no command\n  did you mean: faceage batch /"),
        ("batch {tmp}/b.jpg --out x", "no such file or folder: "),
        ("batch {tmp}/b.jpg --out x", "\n  did you mean a.jpg? check the spelling"),
        ("render {tmp} --out x", "/latents.h5\n  name the --out of a batch, or the latents.h5 in it"),
        ("batch photos", "missing option '--out'\n  see faceage batch --help"),
    ],
)
def test_what_is_nearly_right_is_named(line, said, tmp_path):
    (tmp_path / "a.jpg").touch()
    status, out, err = in_this_process(*line.format(tmp=tmp_path).split())
    assert (status, out) == (2, "")
    assert err.startswith("faceage: ")
    assert said in err


@pytest.mark.parametrize("words", [[], *([group] for group in GROUPS)])
def test_without_a_command_its_help_is_shown(words):
    status, out, err = in_this_process(*words)
    assert (status, out) == (2, "")
    assert err.startswith(" ".join(["Usage: faceage", *words]))
    assert "Commands:" in err


@pytest.mark.parametrize("gone", GONE)
def test_an_option_that_is_gone_says_what_took_its_place(gone):
    word, option = gone.split()
    known = [name for name in commands() if name.split()[0] == word]
    lacking = [name for name in known if all(option not in param.opts for param in commands()[name].params)]
    assert lacking
    for name in lacking:
        status, out, err = in_this_process(*name.split(), option, "1")
        assert (status, out) == (2, "")
        assert err == f"faceage: {option} is gone from faceage {name}\n  {GONE[gone]}\n"
    named = set(re.findall(r"--[a-z][a-z0-9-]*", GONE[gone]))
    assert named - {"--no-deps"} <= {
        option for command in commands().values() for param in command.params for option in param.opts
    }


BASH = """
eval "$(faceage --show-completion)"
complete -p faceage
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _faceage_completion faceage; echo "${COMPREPLY[*]}"; }
ask faceage ba
ask faceage batch --ag
ask faceage batch --ages 25,6
ask faceage batch --weights utk
ask faceage train all --dev
"""

ZSH = """
autoload -Uz compinit && compinit -u -D && eval "$(faceage --show-completion)" && echo $_comps[faceage]
_TYPER_COMPLETE_ARGS="faceage ba" _FACEAGE_COMPLETE=complete_zsh faceage
"""


@pytest.fixture
def shell(tmp_path):
    """Run a script in a shell of that name, in an empty home and beside the installed `faceage`."""

    def run(name: str, script: str) -> str:
        place = shutil.which(name)
        if place is None:
            pytest.skip(f"no {name} on this machine")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
        command = [place, "--norc" if name == "bash" else "-f", "-c", f"{script}\n:"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_bash_completes_commands_options_ages_and_models(shell):
    script, *answers = shell("bash", BASH).splitlines()
    assert script == "complete -o default -F _faceage_completion faceage"
    assert answers == ["batch", "--ages --age", "25,60+", "utkface-64", "--devices"]


def test_zsh_completes_commands(shell):
    function, answer = shell("zsh", ZSH).splitlines()
    assert function == "_faceage_completion"
    assert '"batch":"Draw the people in your photos at other ages."' in answer


def test_completion_installs_itself(shell, tmp_path):
    assert "bash completion installed" in shell("bash", "faceage --install-completion")
    assert "_faceage_completion" in (tmp_path / ".bash_completions" / "faceage.sh").read_text()
