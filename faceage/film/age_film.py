"""A film aged in one call, in two passes: find its people, then draw them. Each goes on where it was stopped."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceage.batch.age_photos import check_model
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.plan import check_out, writing_to
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED
from faceage.files import only_one, remove_partials
from faceage.film.make import films_of, make_films
from faceage.film.task import FilmTask, open_film
from faceage.store.film import PEOPLE, read_tables

_FIND, _DRAW = FindOptions(), DrawOptions()


@dataclass(frozen=True)
class FilmSummary:
    """What a film holds, and the `files`, or folders of frames, that show its people at each age."""

    frames: int
    shots: int
    people: int
    """Counted anew in each shot."""
    drawn: int
    """Frames that this run drew."""
    broken: str
    """What of the film could not be read, or ""."""
    left_out: str
    """What the files lack though all frames were read, or ""."""
    files: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.people and not self.broken else EXIT_SOME_FAILED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def age_film(
    film: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    find: FindOptions = _FIND,
    draw: DrawOptions = _DRAW,
    overwrite: bool = False,
    begins: Callable[[], Any] = lambda: None,
    progress: Callable[[str, int, int | None], Any] = lambda what, done, total: None,
) -> FilmSummary:
    """Write `film`, a clip or a folder of frames, with its people at each of the ages of `draw`, into the folder `out`.

    What `faceage video` does, which calls this. What an earlier run has done is not done again, unless `overwrite` says
    so; with other `draw` options the same people are drawn again, and nobody is looked for. `begins()` is called before
    Keras is imported, and `progress(what, done, total)` told of frames. Raises UsageError, WeightsError or
    MissingExtraError for what would make the whole run fail, and UsageError where writing fails.
    """
    to = Path(out)
    check_out([Path(film)], to)
    opened = open_film(Path(film))
    folder = check_model(weights, find, draw, "take other weights: --weights MODEL")
    task = FilmTask(opened, to, folder, find, draw, begins, progress)
    with writing_to(to), only_one(to, "aging a film"):
        remove_partials(to)
        if overwrite:
            shutil.rmtree(task.work, ignore_errors=True)
        task.claim()
        return _aged(task)


def _aged(task: FilmTask) -> FilmSummary:
    known = read_tables(task.people, PEOPLE, task.found)
    if known is None:
        task.begins()
        from faceage.film.find import FilmSearch

        FilmSearch(task).find()
        known = read_tables(task.people, PEOPLE, task.found)
        assert known is not None
    rows, attributes = known
    people = len(rows["people"]["face"])
    drawn, files = 0, tuple[str, ...]()
    if people:
        drawn, files = make_films(task, rows), tuple(map(str, films_of(task)))
    shots = rows["frames"]["shot"]
    return FilmSummary(
        frames=len(shots),
        shots=int(shots.max(initial=-1)) + 1,
        people=people,
        drawn=drawn,
        broken=str(attributes["broken"]),
        left_out=task.film.left_out,
        files=files,
    )
