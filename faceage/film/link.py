"""From what was seen in each stretch of a film to its shots, the faces of each, and where each lies, without jitter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from faceage.faces.align import face_transform
from faceage.faces.masks import aligned_landmarks
from faceage.film.follow import Sighting, Stretch, View, square, turned

STEADY_SECONDS = 0.3
"""Standard deviation of the window that landmarks are averaged over, beside the motion of the pixels."""

FADE_SECONDS = 0.32
"""For so long a face that appears or disappears within a shot is aged in part."""

_UNSURE, _SURE = 0.6, 0.9
"""Confidence of MTCNN's last stage at which a face is not aged, and fully."""
_TURNED, _AWAY = 0.55, 0.85
"""How far a head is turned (`follow.turned`) up to where it is aged fully, and from where it is not."""

_MEDIAN = 5
"""Frames: a blink of the detector is none of the face."""


@dataclass
class Trail:
    """A face through a shot without a break; `frames` are ascending, `views` the best looks at it."""

    frames: np.ndarray
    landmarks: np.ndarray
    """(n, 5, 2) in pixels of the frames."""
    motion: np.ndarray
    """(n, 2, 3), as of `Sighting`."""
    confidence: np.ndarray
    views: list[View] = field(default_factory=list)


@dataclass(frozen=True)
class Placed:
    """Where a face lies in each of its `frames` (n,), all of a stretch without gaps."""

    frames: np.ndarray
    transforms: np.ndarray
    """(n, 2, 3) from the frame's pixels to the aligned face (of 64)."""
    landmarks: np.ndarray
    """(n, 5, 2) in the aligned face."""
    visible: np.ndarray
    """(n,) 0..1: how much of the change with age is drawn."""


@dataclass(frozen=True)
class Place:
    """Where a person is in a frame, as of `Placed`."""

    person: int
    transform: np.ndarray
    landmarks: np.ndarray
    visible: float


def shots_of(stretches: Sequence[Stretch], length: int) -> np.ndarray:
    """(length,) the number of the shot that each frame of the film belongs to, -1 of blank ones that show nobody."""
    starts = np.zeros(length, int)
    starts[[cut for stretch in stretches for cut in stretch.cuts]] = 1
    shots = starts.cumsum()
    seen = {sighting.frame for stretch in stretches for sighting in stretch.sightings}
    shots[[frame for stretch in stretches for frame in stretch.blanks if frame not in seen]] = -1
    return shots


def join_stretches(stretches: Sequence[Stretch]) -> list[Trail]:
    """The faces of the film, each through all stretches that follow each other.

    The last frame of a stretch is the first of the next one, in which the faces of that frame are tracks 0, 1, ….
    """
    trails: list[Trail] = []
    going: list[Trail] = []
    for stretch in stretches:
        tracks: dict[int, list[Sighting]] = {}
        for sighting in stretch.sightings:
            tracks.setdefault(sighting.track, []).append(sighting)
        parts: dict[int, Trail] = {}
        for number, track in tracks.items():
            views = [view for view in stretch.views if view.track == number]
            before = going[number] if number < len(going) else None
            # One that was hidden in the frame that both share may be another one.
            before = before if before and before.frames[-1] == track[0].frame else None
            parts[number] = _extended(before, track, views)
            if before is None:
                trails.append(parts[number])
        last = max((sighting.frame for sighting in stretch.sightings), default=-1)
        going = [parts[sighting.track] for sighting in stretch.sightings if sighting.frame == last]
    return trails


def _extended(trail: Trail | None, track: list[Sighting], views: list[View]) -> Trail:
    new = Trail(
        np.array([sighting.frame for sighting in track]),
        np.stack([sighting.face.landmarks for sighting in track]),
        np.stack([sighting.motion for sighting in track]),
        np.array([sighting.face.confidence for sighting in track]),
        views,
    )
    if trail is None:
        return new
    # Both know the motion up to the frame that they share.
    turn = square(trail.motion[-1]) @ np.linalg.inv(square(new.motion[0]))
    new.motion = turn[:2] @ square(new.motion)
    for name in ("frames", "landmarks", "motion", "confidence"):
        setattr(trail, name, np.concatenate([getattr(trail, name), getattr(new, name)[1:]]))
    trail.views = trail.views + views
    return trail


def place(trail: Trail, shots: np.ndarray, rate: float) -> Placed:
    """Where the face of a trail lies in each frame, smooth over time; `rate` in frames a second."""
    frames = np.arange(trail.frames[0], trail.frames[-1] + 1)
    seen = np.isin(frames, trail.frames)
    motion = _filled(frames, trail.frames, trail.motion)
    width = STEADY_SECONDS * rate
    weights = np.where(seen, _filled(frames, trail.frames, trail.confidence) ** 2, 0) + 1e-6
    aligned = np.stack([face_transform(points) for points in trail.landmarks])
    beside = _filled(frames, trail.frames, square(aligned) @ np.linalg.inv(square(trail.motion)))
    transforms = (_smooth(beside, weights, width) @ square(motion))[:, :2]
    inside = np.stack([aligned_landmarks(*pair) for pair in zip(transforms[seen], trail.landmarks, strict=True)])
    landmarks = _smooth(_filled(frames, trail.frames, inside), weights, width)
    confidence = np.where(seen, _filled(frames, trail.frames, trail.confidence), 0)
    visible = _rise(confidence, _UNSURE, _SURE) * _rise(-np.array([*map(turned, landmarks)]), -_AWAY, -_TURNED)
    return Placed(frames, transforms, landmarks, _faded(visible, frames, shots, round(FADE_SECONDS * rate)))


def _faded(visible: np.ndarray, frames: np.ndarray, shots: np.ndarray, fade: int) -> np.ndarray:
    """`visible` without jumps, but where a shot begins or ends, or blank frames interrupt it."""
    if fade < 2:
        return visible
    # Blank frames are left out of the time that a fade takes.
    shown = shots[frames] >= 0
    steady = ndimage.median_filter(visible[shown], min(_MEDIAN, np.count_nonzero(shown)), mode="nearest")
    shot = shots[frames[0]]
    cut_in = frames[0] == 0 or shots[frames[0] - 1] != shot
    cut_out = frames[-1] == len(shots) - 1 or shots[frames[-1] + 1] != shot
    edges = steady[0] if cut_in else 0.0, steady[-1] if cut_out else 0.0
    padded = np.concatenate([np.full(2 * fade, edges[0]), steady, np.full(2 * fade, edges[1])])
    slow = ndimage.uniform_filter1d(ndimage.minimum_filter1d(padded, fade), fade)
    faded = np.zeros(len(frames))
    faded[shown] = slow[2 * fade : -2 * fade]
    return faded


def _filled(frames: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (n, …) of the frames `known` for all of `frames`, in between on straight lines."""
    flat = values.reshape(len(values), -1)
    columns = [np.interp(frames, known, column) for column in flat.T]
    return np.stack(columns, axis=-1).reshape(len(frames), *values.shape[1:])


def _smooth(values: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """The weighted mean of `values` (n, …) in a Gaussian window over time."""
    shape = (-1, *[1] * (values.ndim - 1))
    total = ndimage.gaussian_filter1d(values * weights.reshape(shape), width, axis=0, mode="constant")
    return total / ndimage.gaussian_filter1d(weights, width, mode="constant").reshape(shape)


def _rise(values: np.ndarray, low: float, high: float) -> np.ndarray:
    part = np.clip((values - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def split_trail(
    trail: Trail, embeddings: np.ndarray, threshold: float, alike: Callable[[View, View], bool]
) -> list[tuple[Trail, np.ndarray]]:
    """The parts of a trail, with their views' `embeddings`, that are of one person each.

    Where one picture dissolves into another, a face is followed into the next one. It parts where all views before are
    unlike all views after, and the nearest two not `alike` at a closer look, at the frame between that is least sure
    to show a face.
    """
    # By the last view that each is near to.
    near = distances(embeddings, embeddings) < threshold
    reach = np.maximum.accumulate([int(np.flatnonzero(row)[-1]) for row in near])
    parts, start, at_view = [], 0, 0
    for k in [k for k in range(1, len(reach)) if reach[k - 1] < k and not alike(*trail.views[k - 1 : k + 1])]:
        first, last = np.searchsorted(trail.frames, [trail.views[k - 1].frame + 1, trail.views[k].frame])
        end = first + int(trail.confidence[first : last + 1].argmin())
        parts.append((slice(start, end), slice(at_view, k)))
        start, at_view = end, k
    parts.append((slice(start, None), slice(at_view, None)))
    return [(_part(trail, frames, views), embeddings[views]) for frames, views in parts]


def _part(trail: Trail, frames: slice, views: slice) -> Trail:
    columns = {name: getattr(trail, name)[frames] for name in ("frames", "landmarks", "motion", "confidence")}
    return Trail(**columns, views=trail.views[views])


def one_person(trails: Sequence[Trail], embeddings: Sequence[np.ndarray], threshold: float) -> list[list[int]]:
    """The numbers of those of a shot's `trails` that are one person's: never in one frame, and alike.

    `embeddings` are (n, d) of each trail's views.
    """
    people: list[list[int]] = []
    for number, trail in enumerate(trails):
        best, near = None, threshold
        for person in people:
            others = [trails[i] for i in person]
            if any(_meet(trail, other) for other in others):
                continue
            apart = min(_distance(embeddings[i], embeddings[number]) for i in person)
            if apart < near:
                best, near = person, apart
        if best is None:
            people.append([number])
        else:
            best.append(number)
    return people


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of the two most alike of two sets of embeddings."""
    return float(distances(one, other).min())


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) of (n, d) and (m, d) embeddings, which are of length 1."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * one @ other.T, 0)))


def _meet(one: Trail, other: Trail) -> bool:
    """Whether both are in one frame."""
    if one.frames[-1] < other.frames[0] or other.frames[-1] < one.frames[0]:
        return False
    return len(np.intersect1d(one.frames, other.frames)) > 0
