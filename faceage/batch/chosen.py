"""Which people of a latents file are meant: all, or some of its photos and some of their faces."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path, PurePosixPath

from faceage.batch.options import FindOptions
from faceage.errors import UsageError, did_you_mean
from faceage.store.latents import FaceRow, count_rows, row_blocks


@dataclass(frozen=True)
class Chosen:
    """Some people of a latents file. Raises UsageError where `faces` are no choice."""

    only: tuple[str, ...] = ()
    """Patterns (* ? [ ]) of photos' file names or, with a slash, of their names in the results; none are all photos."""
    faces: str = "all"
    """As of `FindOptions`."""

    def __post_init__(self) -> None:
        FindOptions(self.faces)

    def photo(self, name: str) -> bool:
        """Whether the photo of that name in the results is meant."""
        texts = ((name if "/" in pattern else PurePosixPath(name).name, pattern) for pattern in self.only)
        return not self.only or any(fnmatchcase(text, pattern) for text, pattern in texts)

    def rows(self, latents: Path) -> Iterator[FaceRow]:
        """Their rows, in the order of the file. Raises UsageError where the file is none."""
        numbers = None if self.faces == "all" else set(FindOptions(self.faces).face_numbers)
        rows = chain.from_iterable(row_blocks(latents, keep=self.photo))
        return (row for row in rows if numbers is None or int(row.face) in numbers)

    def count(self, latents: Path) -> int:
        """How many they are, or at most are. Raises UsageError where no photo is meant, or the file is none."""
        everybody = count_rows(latents)
        faces = {name: count for name, count in everybody.items() if self.photo(name)}
        if self.only and not faces:
            names = [PurePosixPath(name).name for name in everybody]
            hint = "".join(did_you_mean(pattern, names) for pattern in self.only)
            raise UsageError(
                f"no photo in {latents} is called {' or '.join(self.only)}",
                f"{hint}names may have * and ?: --only '*_0001.jpg'",
            )
        most = None if self.faces == "all" else len(list(FindOptions(self.faces).face_numbers))
        return sum(count if most is None else min(count, most) for count in faces.values())


EVERYBODY = Chosen()
