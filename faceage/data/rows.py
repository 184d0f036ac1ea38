"""What every source of training faces is brought to before a pixel is read."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One labelled photo. `source` is its path relative to the data set's root; `gender` as "male", "female" or ""."""

    path: Path
    source: str
    age: int
    gender: str = ""


@dataclass
class Rows:
    """The usable rows of a source, and how many were dropped for which reason."""

    root: Path
    rows: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
