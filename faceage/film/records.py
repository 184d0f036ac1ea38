"""What was found in a film as rows of `store.film`, and back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from faceage.faces.detect import Detection
from faceage.film.cuts import Cuts
from faceage.film.follow import Sighting, Stretch, View
from faceage.film.link import Place
from faceage.store.film import each_row
from faceage.store.latents import COLUMNS

if TYPE_CHECKING:
    from faceage.film.people import People

Columns = Mapping[str, np.ndarray]

_FACE = ("box", "landmarks", "confidence")


def stretch_rows(stretch: Stretch, times: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The rows of a stretch whose frames have these `times` (pts)."""
    seen, views = stretch.sightings, stretch.views
    return {
        "frames": {"pts": times},
        "cuts": {"frame": stretch.cuts},
        "blanks": {"frame": stretch.blanks},
        "after": _columns([] if stretch.after.picture is None else [stretch.after], ("picture", "usual")),
        "sightings": {
            **_columns(seen, ("frame", "track", "motion")),
            **_columns([sighting.face for sighting in seen], _FACE),
        },
        "views": {
            **_columns(views, ("score", "frame", "track", "aligned", "portrait")),
            **_columns([view.face for view in views], _FACE),
        },
    }


def stretch_of(rows: Mapping[str, Columns]) -> Stretch:
    """The stretch that these rows are of."""
    views = [
        View(
            score=float(row["score"]),
            frame=int(row["frame"]),
            track=int(row["track"]),
            face=_face(row),
            aligned=row["aligned"],
            portrait=bytes(row["portrait"]),
        )
        for row in each_row(rows["views"])
    ]
    sightings = [
        Sighting(int(row["frame"]), int(row["track"]), _face(row), row["motion"]) for row in each_row(rows["sightings"])
    ]
    cuts, blanks = ([int(frame) for frame in rows[table]["frame"]] for table in ("cuts", "blanks"))
    after = [Cuts(row["picture"], float(row["usual"])) for row in each_row(rows["after"])]
    return Stretch(sightings, views, cuts, blanks, *after)


def people_rows(people: "People", times: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The rows of the people of a film whose frames have these `times` (pts)."""
    placed = [(number, one) for number, places in enumerate(people.places) for one in places]
    columns = {
        "frame": [one.frames for _, one in placed],
        "person": [np.full(len(one.frames), number) for number, one in placed],
        "transform": [one.transforms for _, one in placed],
        "landmarks": [one.landmarks for _, one in placed],
        "visible": [one.visible for _, one in placed],
    }
    places: dict[str, Any] = {name: np.concatenate(parts) if parts else [] for name, parts in columns.items()}
    order = np.argsort(places["frame"], kind="stable")
    return {
        "frames": {"pts": times, "shot": people.shots},
        "places": {name: np.asarray(values)[order] for name, values in places.items()},
        "people": _columns(people.rows, COLUMNS),
    }


def places_of(places: Columns, first: int, end: int) -> dict[int, list[Place]]:
    """Who is in the frames from `first` to before `end`, by their numbers."""
    start, stop = np.searchsorted(places["frame"], (first, end))
    found: dict[int, list[Place]] = {}
    for row in each_row({name: column[start:stop] for name, column in places.items()}):
        if row["visible"] > 0:
            place = Place(int(row["person"]), row["transform"], row["landmarks"], float(row["visible"]))
            found.setdefault(int(row["frame"]), []).append(place)
    return found


def _face(row: Mapping[str, Any]) -> Detection:
    return Detection(row["box"], row["landmarks"], float(row["confidence"]))


def _columns(items: Sequence[Any], names: Any) -> dict[str, list[Any]]:
    return {name: [getattr(item, name) for item in items] for name in names}
