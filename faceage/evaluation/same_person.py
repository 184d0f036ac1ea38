"""One person or two? Faces of two photos, compared as they are and after both were brought to the same ages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.evaluation.interval import Share, share
from faceage.evaluation.pairs import Pair
from faceage.evaluation.people import drawn
from faceage.evaluation.verification import best_threshold, embed
from faceage.faces.largest import largest_faces
from faceage.model import Model
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import FACES_AT_ONCE, OptimiserOptions

FALSE_MATCHES = 0.01
"""Share of pairs of different people that are let through where true matches are counted."""

FAR_APART = 2
"""Age classes between the photos of a pair that is called far apart in age."""

_RESAMPLED = 2000


@dataclass(frozen=True)
class Person:
    """A face to compare: its unit embedding `direct` (d,), those of the person at the six ages, `aged` (6, d).

    `age` (6,) are the estimated class probabilities, `faces` how many faces the photo shows.
    """

    direct: np.ndarray
    aged: np.ndarray
    age: np.ndarray
    faces: int

    @property
    def age_class(self) -> int:
        return int(self.age.argmax())


def same_person_threshold(card: dict[str, Any]) -> float:
    """The distance below which two faces are one person's, from a model's card.

    Its recogniser must have been measured (`model.check_recognizer`).
    """
    return float(card["scores"]["recognizer"]["same_different"]["threshold"])


@dataclass(frozen=True)
class Comparison:
    """How far apart two faces are, 0..2.

    `direct` as they are; `at_age` (6,) with both at each age; `aged` the mean of those. `classes` are the estimated age
    classes of the two. The direct distance decides: no use of the others has been measured to decide better.
    """

    direct: float
    at_age: tuple[float, ...]
    aged: float
    classes: tuple[int, int]

    @property
    def ages(self) -> tuple[str, str]:
        """The estimated age classes of the two, as they are called."""
        return AGE_CLASSES[self.classes[0]], AGE_CLASSES[self.classes[1]]

    @property
    def far_apart(self) -> bool:
        return abs(self.classes[0] - self.classes[1]) >= FAR_APART

    def same(self, threshold: float) -> bool:
        """Whether the two are taken for one person."""
        return self.direct < threshold


@dataclass(frozen=True)
class Roc:
    """How well distances tell labelled pairs apart.

    `auc` the area under the ROC curve; `accuracy` the share of pairs rightly judged at their own best `threshold`;
    `matched` the share of one person's pairs that are found where `FALSE_MATCHES` of the others are.
    """

    auc: float
    threshold: float
    accuracy: Share
    matched: Share


@dataclass(frozen=True)
class Gain:
    """What bringing both faces to the same ages does to labelled pairs: the ROC figures without and with it.

    `auc_gain` is the difference of the areas with its 95% interval, for which photos are drawn again, not pairs: pairs
    that share a photo are not independent.
    """

    same: int
    different: int
    direct: Roc
    aged: Roc
    auc_gain: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        value, low, high = self.auc_gain
        said = f"ROC AUC {value:+.4f} ({low:+.4f} to {high:+.4f})"
        if low > 0:
            return f"bringing both to one age helped: {said}"
        if high < 0:
            return f"bringing both to one age made it worse: {said}"
        return f"bringing both to one age made no difference that these pairs could show: {said}"


def find_people(
    model: Model,
    photos: Sequence[Path],
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
) -> dict[Path, Person | str]:
    """The person in each photo, or why there is none. Every photo is worked on once, however often it is named.

    `progress(what, done, total)` is told how far it is.
    """
    found: dict[Path, Person | str] = {}
    faces: dict[Path, tuple[np.ndarray, int]] = {}
    named = list(dict.fromkeys(photos))
    for path, face in zip(named, largest_faces(named), strict=True):
        if face.aligned is None:
            found[path] = face.reason
        else:
            faces[path] = face.aligned, face.faces
        progress("finding faces", len(found) + len(faces), len(named))
    if not faces:
        return found
    # The compiled batch is as small as the work: most are asked about two photos.
    optimiser = LatentOptimiser(model.fast, OptimiserOptions(), batch_size=min(FACES_AT_ONCE, len(faces)))
    paths, done = list(faces), 0
    for start in range(0, len(paths), FACES_AT_ONCE):
        chosen = paths[start : start + FACES_AT_ONCE]
        aligned = np.stack([faces[path][0] for path in chosen])
        latents = optimiser(aligned)
        direct = embed(model.recognizer, aligned)
        # As G draws them: details of the photos would make two of one person as unlike as their photos are.
        people = drawn(model, latents)[:, 1:]  # (n, 6, 64, 64, 3)
        at_age = embed(model.recognizer, people.reshape(-1, *aligned.shape[1:])).reshape(*people.shape[:2], -1)
        for i, path in enumerate(chosen):
            found[path] = Person(direct[i], at_age[i], latents.age[i], faces[path][1])
        done += len(chosen)
        progress("bringing them to all ages", done, len(paths))
    return found


def compare(a: Person, b: Person) -> Comparison:
    """How far apart two people are."""
    direct = float(np.linalg.norm(a.direct - b.direct))
    at_age = np.linalg.norm(a.aged - b.aged, axis=1)
    return Comparison(direct, tuple(map(float, at_age)), float(at_age.mean()), (a.age_class, b.age_class))


def compare_pairs(
    model: Model,
    pairs: Sequence[Pair],
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
) -> tuple[dict[Pair, Comparison | str], dict[str, int]]:
    """How far apart the people of each pair are, or why that is not known; and how many faces crowded photos show."""
    people = find_people(model, [photo for pair in pairs for photo in pair.photos], progress)
    outcomes: dict[Pair, Comparison | str] = {}
    crowds = {}
    for pair in pairs:
        named = {name: people[photo] for name, photo in zip(pair.names, pair.photos, strict=True)}
        crowds.update({name: one.faces for name, one in named.items() if not isinstance(one, str) and one.faces > 1})
        one, two = (people[photo] for photo in pair.photos)
        if isinstance(one, str) or isinstance(two, str):
            outcomes[pair] = "; ".join(f"{name}: {one}" for name, one in named.items() if isinstance(one, str))
        else:
            outcomes[pair] = compare(one, two)
    return outcomes, crowds


def measure_gains(compared: Mapping[Pair, Comparison]) -> dict[str, Gain]:
    """`measure_gain` of all labelled pairs, and of those far apart in age, where there are pairs of both kinds."""
    labelled = {pair: comparison for pair, comparison in compared.items() if pair.same is not None}
    apart = {pair: comparison for pair, comparison in labelled.items() if comparison.far_apart}
    groups = {"all pairs": labelled, "far apart in age": apart}
    measured = {title: measure_gain([*group], [*group.values()]) for title, group in groups.items()}
    return {title: gain for title, gain in measured.items() if gain is not None}


def measure_gain(pairs: Sequence[Pair], comparisons: Sequence[Comparison], seed: int = 0) -> Gain | None:
    """What bringing faces to one age does to labelled `pairs`; None unless there are pairs of both kinds."""
    same = np.array([bool(pair.same) for pair in pairs])
    if same.all() or not same.any():
        return None
    direct, aged = (np.array([getattr(one, kind) for one in comparisons]) for kind in ("direct", "aged"))
    return Gain(
        same=int(same.sum()),
        different=int((~same).sum()),
        direct=roc(direct, same, seed),
        aged=roc(aged, same, seed),
        auc_gain=_auc_gain(pairs, direct, aged, same, seed),
    )


def roc(distances: np.ndarray, same: np.ndarray, seed: int = 0) -> Roc:
    """ROC figures of (n,) `distances` of pairs that are one person's where `same`; both kinds must be there."""
    threshold = best_threshold(distances, same)
    hits = (distances < threshold) == same
    matched = distances[same] < match_threshold(distances[~same], FALSE_MATCHES)
    area = round(area_under_curve(distances, same), 4)
    return Roc(area, round(threshold, 4), share(hits, seed), share(matched, seed))


def match_threshold(strangers: np.ndarray, false_matches: float) -> float:
    """The distance below which at most the share `false_matches` of the distances of `strangers` lies."""
    return float(np.sort(strangers)[int(false_matches * len(strangers))])


def area_under_curve(distances: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Chance that a pair of one person is nearer than one of two people, ties half; `weights` (n,) count pairs."""
    weights = np.ones(len(distances)) if weights is None else weights
    _, place = np.unique(distances, return_inverse=True)
    one, two = np.bincount(place, weights * same), np.bincount(place, weights * ~same)
    farther = two.sum() - two.cumsum()
    return float((one * (farther + two / 2)).sum() / (one.sum() * two.sum()))


def _auc_gain(
    pairs: Sequence[Pair], direct: np.ndarray, aged: np.ndarray, same: np.ndarray, seed: int
) -> tuple[float, float, float]:
    gain = area_under_curve(aged, same) - area_under_curve(direct, same)
    photos, ends = np.unique([[str(photo) for photo in pair.photos] for pair in pairs], return_inverse=True)
    ends = ends.reshape(len(pairs), 2)
    random = np.random.default_rng(seed)
    gains = []
    for _ in range(_RESAMPLED):
        drawn = np.bincount(random.integers(0, len(photos), len(photos)), minlength=len(photos))
        weights = drawn[ends].prod(1)
        # A draw may leave one kind out where there are few.
        if weights[same].sum() and weights[~same].sum():
            gains.append(area_under_curve(aged, same, weights) - area_under_curve(direct, same, weights))
    low, high = np.quantile(gains, [0.025, 0.975]) if gains else (np.nan, np.nan)
    return round(gain, 6), round(float(low), 6), round(float(high), 6)
