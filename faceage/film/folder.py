"""A film that is a folder of frames: photos, in the order of the numbers in their names."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from faceage.errors import UsageError
from faceage.files import write_text
from faceage.film.stamp import film_stamp
from faceage.photos.decoders import Decoder
from faceage.photos.find import EXTENSIONS, find_photos
from faceage.photos.write_like import Encoding, as_image, ending_for, save_like


@dataclass(frozen=True)
class FolderFrame:
    """One frame: `pts` its number, `name` its file's."""

    pts: int
    name: str
    original: np.ndarray
    """(h, w, c) uint8 in the file's own colours."""
    encoding: Encoding

    @cached_property
    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 sRGB, upright."""
        return self.encoding.in_srgb(self.original)


class FrameFolder:
    """The frames of a folder, with what a `clip.Clip` has."""

    rate, time_base = Fraction(25), Fraction(1, 25)
    """Frames a second, and seconds: nothing says, and only smoothing over time depends on it."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError where there is no frame in it."""
        self.path = path
        self._files = sorted(find_photos([path]), key=lambda file: _natural(file.name))
        if not self._files:
            kinds = " ".join(sorted(EXTENSIONS))
            raise UsageError(f"there is no frame in {path}", f"frames are files that end in {kinds}")
        self.length = len(self._files)
        self.broken = self.left_out = ""

    @cached_property
    def stamp(self) -> list[Any]:
        """Changes where the frames do."""
        return film_stamp({file.name: file.path for file in self._files})

    @property
    def names(self) -> list[str]:
        """Of all frames, be they readable or not."""
        return [file.name for file in self._files]

    def frames(self) -> Iterator[FolderFrame]:
        """All frames that can be read, in order; `broken` says what could not."""
        self.broken = ""
        with closing(Decoder()) as decoder:
            for number, file in enumerate(self._files):
                read = decoder.read(file, original=True)
                if read.pixels is None or read.encoding is None:
                    self.broken = self.broken or f"frame {file.name} cannot be used ({read.error})"
                else:
                    yield FolderFrame(number, file.name, read.pixels, read.encoding)


class FolderWriter:
    """Writes frames like others, into the folder `path`; a segment says which, once all of them are there."""

    ending = ".done"

    def __init__(self, folder: FrameFolder, path: Path) -> None:
        self.path = path
        self.files = [path / _written_as(name) for name in folder.names]
        """All that it may write: frames that cannot be read are not there in the end."""

    @contextmanager
    def new_segment(self, segment: Path) -> Iterator[Callable[[FolderFrame, np.ndarray], None]]:
        """Write frames, and `segment` when the block ends well."""
        names: list[str] = []

        def write(frame: FolderFrame, pixels: np.ndarray) -> None:
            names.append(self._write(frame, pixels))

        yield write
        write_text(segment, json.dumps(names))

    def join(self, segments: Sequence[Path], times: Sequence[int], comment: str) -> list[Path]:
        """The frames of `segments`, which are in place."""
        return [self.path / name for segment in segments for name in json.loads(segment.read_text())]

    def _write(self, frame: FolderFrame, pixels: np.ndarray) -> str:
        """The name of the frame's file, below the folder."""
        name = _written_as(frame.name)
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = frame.original.copy()
        frame.encoding.repaint(picture, frame.pixels, pixels)
        save_like(as_image(picture), frame.encoding, path)
        return name


def _written_as(name: str) -> str:
    """The name of the file that a frame of this name is written to."""
    ending = ending_for(PurePath(name))
    return name if name.lower().endswith(ending) else name + ending


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers by their value: frame 10 comes after frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
