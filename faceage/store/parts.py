"""Finished parts of a prepared data set, kept on disk so that a run that was killed goes on with the others."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceage.store.dataset import Part, read, rows_hash, write
from faceage.store.table import room


class Parts:
    """Parts in `folder`, numbered, each a data set of its own; one made of other rows counts as missing."""

    def __init__(self, folder: Path, attributes: Mapping[str, Any]) -> None:
        self.folder = folder
        self._attributes = attributes

    def __contains__(self, number: int) -> bool:
        return rows_hash(self._path(number)) == self._attributes["rows_sha256"]

    def save(self, number: int, part: Part) -> None:
        """Write a part, whole or not at all. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        write(self._path(number), self._attributes, [part], room(part))

    def size(self, numbers: Sequence[int]) -> int:
        """How many bytes the parts of these numbers take."""
        return sum(self._path(number).stat().st_size for number in numbers)

    def read(self, numbers: Sequence[int], *names: str) -> Iterator[Part]:
        """The parts of these numbers in this order, one in memory at a time; of each the datasets `names`, or all."""
        return (read(self._path(number), *names) for number in numbers)

    def delete(self) -> None:
        """Delete the folder, with whatever a kill left half written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.h5"
