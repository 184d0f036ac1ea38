"""What is asked of a film, and what both passes over it share."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeVar

from faceage.ages import Age
from faceage.batch.age_photos import draw_digest
from faceage.batch.names import place_of, possible_names
from faceage.batch.options import DrawOptions, FindOptions, settings_digest
from faceage.errors import UsageError
from faceage.files import write_text
from faceage.film.clip import Clip
from faceage.film.encode import check_encoder
from faceage.film.folder import FrameFolder
from faceage.model import Model, fingerprint, load_model, read_card
from faceage.photos.find import printable

STRETCH_FRAMES = 250
"""Frames that are put on disk together: what a kill costs."""

FILM = "film"
"""The folder in --out of what is known of each film."""

_MARKS = "film.txt"
"""The file that says which film a folder is of."""

_METHOD = 3
"""Version of how faces are followed and drawn, and films written."""

Film = Clip | FrameFolder
T = TypeVar("T")


def open_film(place: Path) -> Film:
    """The film at a path. Raises UsageError where there is none, and MissingExtraError where PyAV is needed."""
    if place.is_dir():
        return FrameFolder(place)
    if not place.is_file():
        raise UsageError(f"no such file or folder: {place}", "name a clip, or a folder of frames")
    check_encoder()
    return Clip(place)


@dataclass(frozen=True)
class FilmTask:
    """A film, where its results go, and how its people are found and drawn."""

    film: Film
    out: Path
    weights: Path
    find: FindOptions
    draw: DrawOptions
    begins: Callable[[], Any]
    """Called before Keras is imported."""
    progress: Callable[[str, int, int | None], Any]
    """Told what is done, of how many frames, and of how many in all, if that is known."""

    @cached_property
    def model(self) -> Model:
        return load_model(self.weights)

    def frames(self) -> Iterator[Any]:
        """All frames of the film: `ClipFrame` or `FolderFrame`."""
        return self.film.frames()

    @cached_property
    def name(self) -> str:
        """What the film is called in its results: as its file is, with a hash where another film has that name."""
        own, known = self._marks, self.out / FILM
        names = possible_names(printable(Path(self.film.path.resolve().name)), lambda: "", own[0])
        return next(name for name in names if not (held := _marks_in(known / name)) or set(own) & set(held))

    def claim(self) -> None:
        """Keep the name, and make the folder `work`."""
        self.work.mkdir(parents=True, exist_ok=True)
        write_text(self.work / _MARKS, "\n".join(self._marks))

    @property
    def _marks(self) -> tuple[str, str]:
        """What the film is known again by: the hash of its place, and of its stamp where it has moved."""
        return place_of(self.film.path), settings_digest(self.film.stamp)

    @property
    def work(self) -> Path:
        """The folder of what is known of the film."""
        return self.out / FILM / self.name

    @property
    def people(self) -> Path:
        """The file of who is where (`store.film`)."""
        return self.work / "people.h5"

    @cached_property
    def found(self) -> str:
        """Hash of all that decides who is found where."""
        own = self.find.digest(fingerprint(read_card(self.weights)))
        return settings_digest((_METHOD, STRETCH_FRAMES, own, self.film.stamp))

    def drawn(self, age: Age) -> str:
        """Hash of all that decides the film at an age."""
        return settings_digest((self.found, draw_digest(replace(self.draw, ages=(age,)), read_card(self.weights))))


def _marks_in(work: Path) -> list[str]:
    path = work / _MARKS
    return path.read_text().split() if path.exists() else []


def in_stretches(frames: Iterable[T], overlap: int) -> Iterator[tuple[int, int, list[T], Iterator[T]]]:
    """`frames` in stretches: its number, the number of its first frame, so many frames before it, and its frames.

    Frames of a stretch that were not taken are passed over.
    """
    coming, before = iter(frames), deque[T](maxlen=overlap)

    def stretch(first: T) -> Iterator[T]:
        for frame in chain([first], islice(coming, STRETCH_FRAMES - 1)):
            before.append(frame)
            yield frame

    for number in count():
        if (first := next(coming, None)) is None:
            return
        held, taken = list(before), stretch(first)
        yield number, number * STRETCH_FRAMES, held, taken
        deque(taken, maxlen=0)
