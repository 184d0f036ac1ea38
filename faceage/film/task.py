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
from faceage.batch.options import DrawOptions, FindOptions, settings_digest
from faceage.errors import UsageError
from faceage.film.clip import Clip
from faceage.film.encode import check_encoder
from faceage.film.folder import FrameFolder
from faceage.model import Model, fingerprint, load_model, read_card
from faceage.photos.find import printable

STRETCH_FRAMES = 250
"""Frames that are put on disk together: what a kill costs."""

FILM = "film"
"""The folder in --out of what is known of each film."""

_METHOD = 1
"""Version of how faces are followed and drawn."""

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

    @property
    def name(self) -> str:
        return printable(Path(self.film.path.resolve().name))

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
