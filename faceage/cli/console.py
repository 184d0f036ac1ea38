"""How commands talk to a person: results on stdout, everything else on stderr, a bar on a terminal only."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from tqdm import tqdm

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def bar(total: int | None, unit: str, what: str = "", quiet: bool = False) -> Iterator[tqdm]:
    """A progress bar on stderr with rate and time left; silent where stderr is no terminal or `quiet`."""
    with tqdm(
        total=total,
        unit=unit,
        desc=what or None,
        file=sys.stderr,
        disable=quiet or not sys.stderr.isatty(),
        leave=False,
    ) as shown:
        yield shown


def start_backend() -> None:
    """Import Keras and its backend, which takes seconds, without TensorFlow's notes on the machine.

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
