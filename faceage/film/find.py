"""The first pass over a film: who is in it, and where, into one file."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from faceage.faces.detect import Detector
from faceage.film.follow import Follower, Stretch
from faceage.film.people import find_people
from faceage.film.records import people_rows, stretch_of, stretch_rows
from faceage.film.task import Film, FilmTask, in_stretches
from faceage.store.film import PEOPLE, STRETCH, read_tables, write_tables


class FilmSearch:
    """Finds the people of a film, stretch by stretch; those that an earlier run has been through are kept."""

    def __init__(self, task: FilmTask) -> None:
        self._task = task
        self._folder = task.work / f"found-{task.found}"
        self._folder.mkdir(exist_ok=True)

    @cached_property
    def _follower(self) -> Follower:
        return Follower(Detector(), self._task.find.min_face)

    def find(self) -> None:
        """Write `task.people`."""
        task = self._task
        parts, last = list[Path](), None
        for number, first, before, frames in in_stretches(task.frames(), 1):
            part = self._folder / f"{number:05}.h5"
            if (known := read_tables(part, STRETCH, task.found)) is None:
                last = self._follow(part, first, before, frames, last)
            else:
                last = stretch_of(known[0])
            parts.append(part)
        rows = [known[0] for part in parts if (known := read_tables(part, STRETCH, task.found))]
        times = [int(pts) for one in rows for pts in one["frames"]["pts"]]
        stretches = [stretch_of(one) for one in rows]
        people = find_people(task.model, task.find, stretches, len(times), _rate(times, task.film), task.name)
        options = json.dumps(task.find.to_json(), sort_keys=True)
        write_tables(
            task.people, PEOPLE, people_rows(people, times), task.found, broken=task.film.broken, options=options
        )
        shutil.rmtree(self._folder)

    def _follow(
        self, part: Path, first: int, before: Sequence[Any], frames: Iterable[Any], last: Stretch | None
    ) -> Stretch:
        """Write what is seen in a stretch, after the `last` one, if any, whose last frame is in `before`."""
        times: list[int] = []

        def new() -> Iterator[tuple[int, np.ndarray]]:
            for number, frame in enumerate(frames, first):
                times.append(frame.pts)
                yield number, frame.pixels
                self._task.progress("finding people", number + 1, self._task.film.length or None)

        stretch = self._follower(chain(((first - 1, frame.pixels) for frame in before), new()), last)
        write_tables(part, STRETCH, stretch_rows(stretch, times), self._task.found)
        return stretch


def _rate(times: Sequence[int], film: Film) -> float:
    """Frames a second: what a film says of it may be no more than how its times are counted."""
    gaps = np.diff(times)
    return 1 / float(np.median(gaps) * film.time_base) if len(gaps) else float(film.rate)
