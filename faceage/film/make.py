"""The second pass over a film: its people drawn at other ages, a film for each."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import Age
from faceage.batch.names import picture_path
from faceage.files import write_text
from faceage.film.clip import Clip
from faceage.film.encode import ClipWriter, ending_for
from faceage.film.folder import FolderWriter
from faceage.film.records import places_of
from faceage.film.task import STRETCH_FRAMES, Film, FilmTask, in_stretches
from faceage.store.film import face_rows


class _Aged:
    """The film at one age, and the `segments` that an earlier run has drawn of it."""

    def __init__(self, task: FilmTask, age: Age) -> None:
        self.age = age
        self.writer = _writer(task.film, task.out, task.name, age)
        self.segments = task.work / f"{age.label}-{task.drawn(age)}"
        self._out = task.out
        self._mark = task.work / f"{age.label}.made"

    @property
    def done(self) -> bool:
        drawn, files = self._made
        return drawn == self.segments.name and all(path.exists() for path in files)

    @property
    def _made(self) -> tuple[str, list[Path]]:
        """What was drawn last, and the files that it is in."""
        try:
            drawn, names = json.loads(self._mark.read_text())
        except (OSError, ValueError):
            return "", []
        return drawn, [self._out / name for name in names]

    def _make(self, drawn: str, files: Sequence[Path]) -> None:
        write_text(self._mark, json.dumps([drawn, [str(path.relative_to(self._out)) for path in files]]))

    def begin(self) -> None:
        """Its files are not whole from now on: a folder's frames, and new ones, are drawn into their places."""
        new = [path for path in self.writer.files if not path.exists()]
        self._make("", [*self._made[1], *new])

    def segment(self, number: int) -> Path:
        return self.segments / f"{number:05}{self.writer.ending}"

    def finish(self, count: int, times: Sequence[int]) -> None:
        """Join its `count` segments, of frames at these `times`, and remove what an earlier film had besides."""
        said = f"Faces aged to {self.age.label} by faceage {version('faceage')}: this film is made, not shot."
        files = self.writer.join([self.segment(number) for number in range(count)], times, said)
        for path in set(self._made[1]) - set(files):
            path.unlink(missing_ok=True)
        self._make(self.segments.name, files)
        shutil.rmtree(self.segments)


def films_of(task: FilmTask) -> list[Path]:
    """The film at each age: a file, or a folder of frames."""
    return [_writer(task.film, task.out, task.name, age).path for age in task.draw.ages]


def make_films(task: FilmTask, known: Mapping[str, Mapping[str, np.ndarray]]) -> int:
    """Write those of `films_of` that are missing, of the tables `known` in `task.people`; how many frames it drew."""
    asked = [aged for age in task.draw.ages if not (aged := _Aged(task, age)).done]
    if not asked:
        return 0
    _clear(task.work, {aged.segments for aged in asked})
    for aged in asked:
        aged.begin()
    task.begins()
    from faceage.film.draw import HISTORY, FilmPainter

    people = list(face_rows(known["people"]))
    painter = FilmPainter(task.model, people, [aged.age for aged in asked], task.draw)
    times = [int(pts) for pts in known["frames"]["pts"]]
    drawn = segments = 0
    for number, first, before, frames in in_stretches(task.frames(), HISTORY):
        segments += 1
        paths = [aged.segment(number) for aged in asked]
        if all(path.exists() for path in paths):
            continue
        places = places_of(known["places"], first - len(before), first + STRETCH_FRAMES)
        with ExitStack() as stack:
            writes: list[Any] = [
                stack.enter_context(aged.writer.new_segment(p)) for aged, p in zip(asked, paths, strict=True)
            ]
            for place, (frame, pictures) in enumerate(painter.draw(before, frames, first, places), first + 1):
                for write, picture in zip(writes, pictures, strict=True):
                    write(frame, picture)
                drawn += 1
                task.progress("drawing them", place, len(times))
    for aged in asked:
        aged.finish(segments, times)
    return drawn


def _clear(work: Path, segments: set[Path]) -> None:
    """Make the folders `segments`, and remove others: of other settings, or of a film that has changed."""
    for path in work.iterdir():
        if path.is_dir() and path not in segments:
            shutil.rmtree(path)
    for path in segments:
        path.mkdir(exist_ok=True)


def _writer(film: Film, out: Path, name: str, age: Age) -> ClipWriter | FolderWriter:
    if isinstance(film, Clip):
        return ClipWriter(film, picture_path(out, name, age.label, ending_for(film)))
    return FolderWriter(film, picture_path(out, name, age.label, ""))
