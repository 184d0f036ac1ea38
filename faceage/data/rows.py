"""What every source of training faces is brought to before a pixel is read."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from faceage.ages import MAX_AGE
from faceage.errors import UsageError


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled photo.

    `source` is its path relative to the data set's root, with forward slashes; `gender` is "male", "female" or "";
    `identity` is the same text for all photos of one person, "" where the person is not known.
    """

    source: str
    age: int
    gender: str = ""
    identity: str = ""


@dataclass(frozen=True)
class Filters:
    """Which rows of a source are used. Raises UsageError for a range of ages that holds none.

    Ages are in years, both ends included; what lies outside is dropped, never put into the nearest class.
    `min_face_score` and `second_faces` (whether photos with a second face are used) are for sources that know them.
    """

    min_age: int = 0
    max_age: int = MAX_AGE
    min_face_score: float = 1.0
    second_faces: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_age <= self.max_age <= MAX_AGE:
            raise UsageError(
                f"ages from {self.min_age} to {self.max_age} cannot be asked for",
                f"the lowest and the highest age lie in 0 to {MAX_AGE}, the lowest first",
            )

    def age_problem(self, age: float) -> str:
        """Why a photo of this age is dropped, or ""."""
        if age < self.min_age:
            return f"age under {self.min_age}"
        return f"age over {self.max_age}" if age > self.max_age else ""


@dataclass
class Rows:
    """The usable rows of a source in a fixed order, and (source, reason) of every row that is not used."""

    root: Path
    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, source: str, reason: str) -> None:
        """Record that a row is not used. Bytes of `source` that are no UTF-8 become escapes, as HDF5 holds UTF-8."""
        self.dropped.append((source.encode("utf-8", "backslashreplace").decode(), reason))

    def path(self, row: Row) -> Path:
        """Where the row's photo lies."""
        return self.root / row.source


def leads_outside(source: str) -> bool:
    """Whether a path that a label file gives is no path to something inside the data set's folder."""
    path = PurePosixPath(source)
    return path.is_absolute() or ".." in path.parts
