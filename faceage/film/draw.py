"""The people of a film drawn at other ages, frame by frame, without flicker."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from PIL import Image

from faceage.ages import Age
from faceage.batch.options import DrawOptions
from faceage.faces.align import align, resized
from faceage.faces.masks import head_mask
from faceage.faces.paste import lies_in, paste_face
from faceage.film.link import Place
from faceage.model import Model
from faceage.people.draw import draw_changes, gender_direction
from faceage.people.drawn import Tones, tones_of
from faceage.people.re_age import ReAger
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.latents import FaceRow

HISTORY = 2
"""Frames before one whose changes are averaged with its own, where they show the same."""

_MORE = 1.2
"""Factor on the strength: the mean over frames shows less of an age than one of them."""

_PORTRAITS_AT_ONCE = 32
_PIXELS_AT_ONCE = 60_000_000
"""Of frames whose faces are drawn together: more of them fill the re-ager's batches, and the memory."""

_LEVELS = 6.0
"""Grey levels by which two frames may differ and show the same: an expression or a shadow makes a larger difference."""
_COARSE = 4
"""Pixels of a portrait that are compared as one."""


class Frame(Protocol):
    """A frame of a film."""

    @property
    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 sRGB, upright."""


@dataclass(frozen=True)
class _Look:
    """A face in a frame, and how it changes: `change` (k, s, s, 3) at k ages, on the scale of uint8."""

    number: int
    place: Place
    change: np.ndarray
    coarse: np.ndarray
    """(s / 4, s / 4) float32: its brightness, the mean being 0."""


class FilmPainter:
    """Draws `people`, by the row of latents of each, at `ages`, as `options` say otherwise."""

    def __init__(self, model: Model, people: Sequence[FaceRow], ages: Sequence[Age], options: DrawOptions) -> None:
        """Raises WeightsError where a gender is said and the model knows none."""
        self._model = model
        self._people = people
        self._ages = ages
        self._strength = options.strength
        self._direction = gender_direction(model, options.gender)
        re_ager = model.fast.re_ager if options.draw == "photo" else None
        self._re_ager = None if re_ager is None else ReAger(re_ager)
        self._proposed: dict[int, np.ndarray] = {}

    def draw(
        self, before: Sequence[Frame], frames: Iterable[Frame], first: int, places: Mapping[int, Sequence[Place]]
    ) -> Iterator[tuple[Frame, list[np.ndarray]]]:
        """`frames`, the first of which has the number `first`, each with its pixels at each age.

        `before` are the frames before them, as many as there are up to `HISTORY`; `places` are by number of frame.
        """
        here = sorted({place.person for of_frame in places.values() for place in of_frame})
        self._proposed = {person: self._propose(person) for person in here}
        histories: dict[int, deque[_Look]] = {person: deque(maxlen=HISTORY) for person in here}
        for group in _groups(chain(before, frames), first - len(before), places, len(self._ages)):
            looks = self._look(group, places)
            for number, frame in group:
                changes = [(look.place, _steadied(look, histories[look.place.person])) for look in looks[number]]
                if number >= first:
                    yield frame, [_aged(frame.pixels, changes, age) for age in range(len(self._ages))]

    def _propose(self, person: int) -> np.ndarray:
        """(k, 64, 64, 3): what G changes in a person."""
        known = self._proposed.get(person)
        if known is None:
            row = self._people[person]
            (known,) = draw_changes(self._model, [row], self._ages, _MORE * self._strength, self._direction)
            if self._re_ager is None:
                aged = np.clip(row.aligned + known, 0, 255).astype(np.uint8)
                known = _change(tones_of(row.aligned), row.aligned, aged)
        return known

    def _look(
        self, group: Sequence[tuple[int, Frame]], places: Mapping[int, Sequence[Place]]
    ) -> dict[int, list[_Look]]:
        """The faces of a group of frames, by the frames' numbers."""
        looks: dict[int, list[_Look]] = {number: [] for number, _ in group}
        shown = [
            (number, place, align(frame.pixels, resized(place.transform, PORTRAIT_SIZE), PORTRAIT_SIZE))
            for number, frame in group
            for place in places.get(number, ())
            if place.visible and lies_in(place.transform, frame.pixels.shape[:2])
        ]
        if not shown:
            return looks
        changes = np.stack([self._proposed[place.person] for _, place, _ in shown])
        if self._re_ager is not None:
            portraits = np.stack([portrait for _, _, portrait in shown])
            masks = np.stack([head_mask(place.landmarks, PORTRAIT_SIZE) for _, place, _ in shown])
            aged = self._re_ager(portraits, changes, [age.weights for age in self._ages], masks)
            tones = [tones_of(self._people[place.person].aligned) for _, place, _ in shown]
            changes = np.stack([_change(*each) for each in zip(tones, portraits, aged, strict=True)])
        for (number, place, portrait), change in zip(shown, changes, strict=True):
            coarse = np.asarray(Image.fromarray(portrait).convert("L").reduce(_COARSE), np.float32)
            looks[number].append(_Look(number, place, change, coarse - coarse.mean()))
        return looks


def _change(tones: Tones | None, unaged: np.ndarray, aged: np.ndarray) -> np.ndarray:
    """(k, s, s, 3) int16: how k `aged` faces differ from one; in the tones of a film that is not in colours."""
    if tones:
        unaged, aged = tones.of(unaged), tones.of(aged)
    return aged.astype(np.int16) - unaged


def _groups(
    frames: Iterable[Frame], first: int, places: Mapping[int, Sequence[Place]], ages: int
) -> Iterator[list[tuple[int, Frame]]]:
    """Frames, numbered from `first` on, in groups whose faces fill a batch of the re-ager."""
    group: list[tuple[int, Frame]] = []
    portraits = pixels = 0
    for number, frame in enumerate(frames, first):
        group.append((number, frame))
        portraits += ages * len(places.get(number, ()))
        pixels += frame.pixels.size // 3
        if portraits >= _PORTRAITS_AT_ONCE or pixels >= _PIXELS_AT_ONCE:
            yield group
            group, portraits, pixels = [], 0, 0
    if group:
        yield group


def _steadied(look: _Look, history: deque[_Look]) -> np.ndarray:
    """How a face changes, (k, s, s, 3) float32, averaged with earlier frames that show the same there."""
    total = look.change.astype(np.float32)
    weights = np.ones((*total.shape[1:3], 1), np.float32)
    for other in history:
        if look.number - other.number <= HISTORY:
            alike = np.exp(-(((look.coarse - other.coarse) / _LEVELS) ** 2))
            weight = np.asarray(Image.fromarray(alike).resize(total.shape[1:3], Image.Resampling.BILINEAR))[..., None]
            total += weight * other.change
            weights += weight
    history.append(look)
    return total / weights


def _aged(pixels: np.ndarray, changes: Sequence[tuple[Place, np.ndarray]], age: int) -> np.ndarray:
    """A copy of a frame with its faces changed to the age of this number."""
    picture = pixels.copy()
    for place, change in changes:
        shown = change[age] * place.visible
        paste_face(picture, place.transform, np.zeros_like(shown), shown)
    return picture
