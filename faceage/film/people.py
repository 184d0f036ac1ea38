"""The people of a film: one latent and one age for each person of a shot, found in the frame that shows them best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import ceil

import numpy as np

from faceage.batch.options import FindOptions
from faceage.faces.align import face_transform
from faceage.film.compare import equally_clear
from faceage.film.follow import Stretch, View
from faceage.film.link import Placed, Trail, distances, join_stretches, one_person, place, shots_of, split_trail
from faceage.model import Model, same_person_below
from faceage.networks.predict import predict
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.store.latents import FaceRow

_SHORTEST_SECONDS = 0.12
"""What is taken for a face for less time is none, or cannot be looked at."""
_HALF = 0.5
"""Who is never aged by more than this, since they come and go or look away, is not aged."""
_FACES_AT_ONCE = 32
_USUAL_THRESHOLD = 0.97
"""Distance of two embeddings below which they are one person's, where the model does not know its own."""


@dataclass(frozen=True)
class People:
    """Who is where: `shots` (n,) the shot of each frame; each person's row, of their best view, and places."""

    shots: np.ndarray
    rows: list[FaceRow]
    places: list[list[Placed]]


def find_people(
    model: Model, find: FindOptions, stretches: Sequence[Stretch], length: int, rate: float, name: str
) -> People:
    """The people in a film of `length` frames at `rate` a second, which is called `name`."""
    shots = shots_of(stretches, length)
    shortest = min(ceil(_SHORTEST_SECONDS * rate), length)
    threshold = same_person_below(model.card) or _USUAL_THRESHOLD

    def alike(one: View, other: View) -> bool:
        """Whether two views may be of one person, but for the focus and the light."""
        found = predict(model.recognizer, np.stack(equally_clear(one.aligned, other.aligned)))
        return bool(distances(found[:1], found[1:]) < threshold)

    parts = [
        part
        for trail in join_stretches(stretches)
        # One that was hidden at every look has no view.
        if trail.views and len(trail.frames) >= shortest
        for part in split_trail(trail, _embeddings(model, trail), threshold, alike)
    ]
    trails, embeddings = [trail for trail, _ in parts], [found for _, found in parts]
    views, places = [], []
    for shot in np.unique(shots[[trail.frames[0] for trail in trails]]) if trails else []:
        inside = [number for number, trail in enumerate(trails) if shots[trail.frames[0]] == shot]
        groups = one_person([trails[i] for i in inside], [embeddings[i] for i in inside], threshold)
        people = [[trails[inside[i]] for i in group] for group in groups]
        people.sort(key=_presence, reverse=True)
        for number in takewhile(len(people).__gt__, find.face_numbers):
            placed = [place(trail, shots, rate) for trail in people[number]]
            if any(one.visible.max() > _HALF for one in placed):
                seen = (view for trail in people[number] for view in trail.views)
                views.append(max(seen, key=lambda view: view.score))
                places.append(placed)
    return People(shots, _optimised(model, find, views, name), places)


def _embeddings(model: Model, trail: Trail) -> np.ndarray:
    """(n, d) of a trail's views."""
    return predict(model.recognizer, np.stack([view.aligned for view in trail.views]))


def _presence(trails: Sequence[Trail]) -> float:
    """How much of a shot is a person's face."""
    return sum(float(np.ptp(trail.landmarks, axis=1).prod(-1).sum()) for trail in trails)


def _optimised(model: Model, find: FindOptions, views: Sequence[View], name: str) -> list[FaceRow]:
    """The row of latents of each person, from a view of them."""
    if not views:
        return []
    age = None if find.age is None else find.age.weights
    optimiser = LatentOptimiser(model.fast, find.optimiser, batch_size=min(_FACES_AT_ONCE, len(views)), age=age)
    latents = optimiser(np.stack([view.aligned for view in views]))
    return [_row(view, i, latents.take(slice(i, i + 1)), name) for i, view in enumerate(views)]


def _row(view: View, person: int, latents: Latents, name: str) -> FaceRow:
    return FaceRow(
        source=f"{name}#{view.frame}",
        face=person,
        box=view.face.box,
        landmarks=view.face.landmarks,
        confidence=view.face.confidence,
        aligned=view.aligned,
        portrait=view.portrait,
        **latents.columns(0),
        transform=face_transform(view.face.landmarks).astype(np.float32),
    )
