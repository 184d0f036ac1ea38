"""What commands share in talking to a person: results on stdout, everything else on stderr, a bar on a terminal only."""

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
        total=total, unit=unit, desc=what or None, file=sys.stderr, disable=quiet or not sys.stderr.isatty(), leave=False
    ) as shown:
        yield shown
