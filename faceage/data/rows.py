"""Labelled photos of any source, before a pixel is read."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from faceage.ages import MAX_AGE
from faceage.errors import UsageError


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled photo."""

    source: str
    """Path relative to the root of the data set, with forward slashes."""
    age: int
    gender: str = ""
    """"male", "female", or "" where unknown."""
    identity: str = ""
    """The same text for all photos of one person, "" where unknown."""


@dataclass(frozen=True)
class Filters:
    """Which rows of a source are used. Raises UsageError for an empty range of ages."""

    min_age: int = 0
    """Younger faces are dropped, not put into the nearest class."""
    max_age: int = MAX_AGE
    """Older faces are dropped."""
    min_face_score: float = 1.0
    """Photos with a lower score are dropped (IMDB-WIKI)."""
    second_faces: bool = False
    """Whether photos with a second face are used (IMDB-WIKI)."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_age <= self.max_age <= MAX_AGE:
            raise UsageError(
                f"ages from {self.min_age} to {self.max_age} are no range",
                f"the lowest and the highest age lie in 0 to {MAX_AGE}, the lowest first",
            )

    def age_problem(self, age: float) -> str:
        """The reason to drop a photo of this age, or ""."""
        if age < self.min_age:
            return f"age under {self.min_age}"
        return f"age over {self.max_age}" if age > self.max_age else ""


@dataclass
class Rows:
    """The usable rows of a source in a fixed order, and (source, reason) of every dropped row."""

    root: Path
    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, source: str, reason: str) -> None:
        """Add a dropped row. Bytes of `source` that are not UTF-8 are escaped, as HDF5 stores UTF-8."""
        self.dropped.append((source.encode("utf-8", "backslashreplace").decode(), reason))

    def path(self, row: Row) -> Path:
        """The path of the row's photo."""
        return self.root / row.source


def leads_outside(source: str) -> bool:
    """Whether a path in a label file leads outside the folder of the data set."""
    path = PurePosixPath(source)
    return path.is_absolute() or ".." in path.parts
