"""Finished parts of a long job, kept on disk so that a run that was killed goes on with the others."""

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceage.images import written_whole

Part = dict[str, np.ndarray]

_FINGERPRINT = "fingerprint"


class Parts:
    """Parts in `folder`, numbered; one made for another `fingerprint` counts as missing and is written over."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self._fingerprint = fingerprint

    def __contains__(self, number: int) -> bool:
        try:
            with np.load(self._path(number), allow_pickle=False) as content:
                return str(content[_FINGERPRINT]) == self._fingerprint
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # Not there, or cut short by a power failure.
            return False

    def save(self, number: int, part: Part) -> None:
        """Write a part, whole or not at all. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        with written_whole(self._path(number)) as partial:
            np.savez(partial, **part, **{_FINGERPRINT: np.array(self._fingerprint)})  # type: ignore[arg-type]

    def read(self, numbers: Sequence[int]) -> Iterator[Part]:
        """The parts of these numbers in this order, one in memory at a time. Raises OSError."""
        for number in numbers:
            with np.load(self._path(number), allow_pickle=False) as content:
                yield dict(content)

    def delete(self) -> None:
        """Delete the folder, with whatever a kill left half written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.npz"
