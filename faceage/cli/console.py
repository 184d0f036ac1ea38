"""How commands talk to a person: results on stdout, everything else on stderr, a bar on a terminal only."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from json import dumps
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tqdm import tqdm

from faceage.errors import UsageError
from faceage.files import partial_name

if TYPE_CHECKING:
    from pathlib import Path

    from faceage.model import Model


def counted(number: int, noun: str) -> str:
    """ "1 photo", "1,200 photos": of a noun that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class _Output(Console):
    def print_json(self, json: str | None = None, *, data: Any = None, **options: Any) -> None:
        """Write `data` for another program to read: without colours, whatever the environment says of terminals."""
        self.file.write(dumps(data, indent=2) + "\n")


# Names of photos are printed as they are, though they may look like markup (":smile:", "[red]").
out = _Output(soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = (), title: str = "", to: Console = out) -> None:
    """Print `rows` of cells, texts as they are; an empty row is a line across. Without a `head`, two columns."""
    from rich.table import Table

    shown = Table(show_header=bool(head), title=title or None)
    for name in head or ("", ""):
        # Names that are cut off cannot be told apart.
        shown.add_column(name, overflow="fold")
    for row in rows:
        if row:
            shown.add_row(*map(str, row))
        else:
            shown.add_section()
    to.print(shown)


SECONDS_A_LINE = 60.0
"""Between two lines of progress, where stderr is no terminal."""
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_LINE = "faceage: {desc}{n_fmt}/{total_fmt}{unit}, {elapsed} gone, {remaining} left{postfix}"


_SAME_BLOCK = 0.05
"""Of the time until a block's first result: what follows that within this belongs to the block."""


class _Lines:
    """Stderr that is no terminal: each state of a bar becomes a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


class _Bar(tqdm):
    """A bar whose time left counts from the end of the first block of results: before it are loading and compiling.

    Results come in blocks, as people are drawn together. Until two are complete nobody knows the time left; between two
    it runs down.
    """

    def __init__(self, **options: Any) -> None:
        self._began = -math.inf
        """When the last block began."""
        self._blocks: list[tuple[float, float]] = []
        """When each block ended, and how much was done then: few, as blocks last longer and longer."""
        super().__init__(**options)

    def update(self, n: float | None = 1) -> bool | None:
        if n and not self.disable:
            now = self._time()
            if self._is_complete(now):
                self._began = now
            else:
                self._blocks.pop()
            self._blocks.append((now, self.n + n))
        return super().update(n)

    @property
    def format_dict(self) -> Any:
        shown = super().format_dict | {"remaining": "?"}
        if self._blocks and self.total:
            now = self._time()
            complete = self._blocks if self._is_complete(now) else self._blocks[:-1] or self._blocks
            (began, before), (then, done) = complete[0], complete[-1]
            if done > before:
                rate = (done - before) / (then - began)
                left = max(0, (self.total - done) / rate - (now - then))
                shown |= {"rate": rate, "remaining": self.format_interval(left)}
        return shown

    def _is_complete(self, now: float) -> bool:
        return now - self._began > _SAME_BLOCK * (self._began - self.start_t)


@contextmanager
def bar(total: int | None, unit: str, what: str = "", quiet: bool = False, done: int = 0) -> Iterator[tqdm]:
    """A progress bar on stderr with rate and time left; where that is no terminal, a line a minute. None if `quiet`.

    What an earlier run has `done` is not this one's speed.
    """
    as_lines = {"file": _Lines(), "bar_format": _LINE, "mininterval": SECONDS_A_LINE, "delay": SECONDS_A_LINE}
    on_terminal = {"file": sys.stderr, "bar_format": _BAR}
    how: dict[str, Any] = on_terminal if sys.stderr.isatty() else as_lines
    # Without `miniters`, an update of 0, which only tells of a stage, would show nothing.
    how |= {"disable": quiet, "leave": False, "miniters": 0, "smoothing": 0}
    with _Bar(total=total, unit=unit, desc=what or None, initial=done, **how) as shown:
        yield shown


class Bars:
    """A bar for each thing that is told of, one after the other."""

    def __init__(self, stack: ExitStack, quiet: bool) -> None:
        self._stack = stack
        self._quiet = quiet
        self._shown: tuple[str, tqdm] | None = None

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._shown is None or self._shown[0] != what:
            self._stack.close()
            self._shown = what, self._stack.enter_context(bar(total, "", what, self._quiet, done))
        shown = self._shown[1]
        shown.total = total
        shown.update(done - shown.n)

    def say(self, line: str) -> None:
        """A line above the bar."""
        tqdm.write(line, file=sys.stderr)


@contextmanager
def bars(quiet: bool = False) -> Iterator[Bars]:
    """Progress bars for a job of several parts, on stderr."""
    with ExitStack() as stack:
        yield Bars(stack, quiet)


def open_model(weights: "Path | None") -> "Model":
    """Start the backend and load the model that `--weights` names, or the default."""
    start_backend()
    from faceage.model import load_model
    from faceage.model_search import find_model

    return load_model(find_model(weights))


def check_file(option: str, path: "Path") -> None:
    """Raise UsageError where the file that `option` names cannot be written: before the work whose outcome it is."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{option} {path} cannot be written", "name a file in a folder that exists")
    probe = partial_name(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}", "choose another folder") from error


def start_backend() -> None:
    """Import Keras and its backend, which takes seconds. Raises UsageError where there is no such backend."""
    try:
        _import_quietly()
    except Exception as error:
        # Its settings are code to it: whatever is wrong with them escapes.
        if isinstance(error, ImportError) or "backend" in str(error):
            raise UsageError(
                f"Keras cannot start the backend {os.environ.get('KERAS_BACKEND') or 'of its settings'}: {error}",
                "faceage trains and optimises on 'tensorflow' or 'torch': set KERAS_BACKEND to one that is installed",
            ) from error
        settings = os.path.join(os.environ.get("KERAS_HOME") or os.path.join("~", ".keras"), "keras.json")
        raise UsageError(
            f"Keras cannot read its settings: {error}", f"mend or remove {settings}, and look at $KERAS_…"
        ) from error


def _import_quietly() -> None:
    """Import Keras without TensorFlow's notes on the machine.

    TensorFlow writes some of them to the file descriptor itself before any log level counts, so that is where they are
    stopped; an exception is raised after it is back.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != QUIET_TENSORFLOW:
        import keras

        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


QUIET_TENSORFLOW = "3"
"""Value of TF_CPP_MIN_LOG_LEVEL, unless the user or --debug says otherwise."""
