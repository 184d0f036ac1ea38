"""Aged pictures as people see them: age, identity, gender and realism, by networks that had no part in making them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from faceage.ages import AGE_CLASSES, class_of
from faceage.data.dataset import FaceSet
from faceage.evaluation.interval import Share, share
from faceage.evaluation.published import AgeGenderJudge, FeatureJudge
from faceage.evaluation.recognizers import Judge, calibrate, open_judge
from faceage.networks.skin import skin_mask

_DETAIL = 1 / 80
"""Standard deviation of the blur that skin detail is what is left of, as a share of the picture's side: 2 of 160 px."""
_STRONGEST = 0.8
"""Quantile of the detail in a picture above which it is brows, nostrils or hair rather than skin."""

_KID_PICTURES = 150
"""Pictures of each class in the KID, at most: its features cost the most, and more change it little."""

_EVERY = range(len(AGE_CLASSES))


@dataclass(frozen=True)
class Judges:
    """Who judges: a recogniser, an estimator of age and gender, and image features for the KID."""

    recognizer: Judge
    people: AgeGenderJudge
    images: FeatureJudge


@dataclass(frozen=True)
class PhotographScores:
    """How aged pictures of `faces` people look. `real` is what the same judges say of the photos they were made from.

    `class_hit`: share whose estimated age lies in the class, of `real` photos by class and of `aged` pictures by target
    class, and "all". `age_seen`: mean estimated age, likewise. `age_off`: mean age seen less that in real photos of the
    target, for the 30 `pairs` of own class (rows) and another target, with its `mean` and `worst` absolute value.
    `years_added` to 19-29 by 60+ and `years_taken` from 50 and more by 0-18. `accepted`: share that the recogniser
    takes for the person of the photo, by target and "all". `gender`: share with the labelled gender,
    by class of the photo, in `real` photos and at each age.
    `kid`: kernel distance × 1000 between pictures of a target class, made of people of other classes, and other real
    photos of that class; `kid_floor` that of the real photos. `skin_detail`: energy of fine detail in skin, by target
    class, divided by that in real photos of the class.
    """

    faces: int
    recognizer: str
    threshold: float
    class_hit: dict[str, dict[str, Share]]
    age_seen: dict[str, dict[str, float]]
    age_off: dict[str, Any]
    years_added: float
    years_taken: float
    accepted: dict[str, Share]
    gender: dict[str, dict[str, Share]]
    kid: dict[str, float]
    kid_floor: dict[str, float]
    skin_detail: dict[str, float]


def open_judges(recognizer: str) -> Judges:
    """The judges, with the recogniser of `open_judge`. Raises MissingExtraError without their packages."""
    return Judges(open_judge(recognizer), AgeGenderJudge(), FeatureJudge())


def judge_photographs(
    pictures: np.ndarray,
    portraits: np.ndarray,
    faces: FaceSet,
    reference: tuple[np.ndarray, np.ndarray],
    judges: Judges,
    seed: int = 0,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> PhotographScores:
    """Judge `pictures` (n, 6, s, s, 3) uint8: `faces` in each age class, made from `portraits` (n, s, s, 3) uint8.

    `reference` are other people's real photos (m, s, s, 3) and their age classes (m,): the KID compares with them.
    Every class should be there in both, and in `faces` about equally often. Progress counts steps.
    """
    own, right = np.asarray(faces.classes), np.asarray(faces.genders, dtype=object)
    steps = iter(range(1, 5))

    def each(judge: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What a judge of single faces says of the portraits, (n,), and of the pictures, (n, 6)."""
        found = judge(portraits), judge(pictures.reshape(-1, *pictures.shape[2:])).reshape(pictures.shape[:2])
        progress(next(steps), 4)
        return found

    ages, genders, details = each(judges.people.ages), each(judges.people.genders), each(skin_detail)
    real_gender, gender = genders[0] == right, genders[1] == right[:, None]
    threshold, accepted = accepted_pictures(pictures, portraits, faces, judges.recognizer)
    distance, floor = _kids(judges.images, pictures, portraits, own, reference)
    progress(next(steps), 4)
    return PhotographScores(
        faces=len(own),
        recognizer=judges.recognizer.name,
        threshold=round(threshold, 4),
        **_age_scores(*ages, own, seed),
        accepted=_by_age(accepted, seed),
        gender={
            name: {"real": share(real_gender[rows]), **_by_age(gender[rows], seed)}
            for i, name in enumerate(AGE_CLASSES)
            for rows in [(own == i) & (right != "")]
        },
        kid=distance,
        kid_floor=floor,
        skin_detail=_named([_mean(details[1][:, i]) / _mean(details[0][own == i]) for i in _EVERY], 2),
    )


def _age_scores(real: np.ndarray, aged: np.ndarray, own: np.ndarray, seed: int) -> dict[str, Any]:
    """The fields of `PhotographScores` on ages: estimated from `real` photos (n,) and from `aged` pictures (n, 6)."""
    seen = np.array([[_mean(aged[own == i, target]) for target in _EVERY] for i in _EVERY])
    real_seen = np.array([_mean(real[own == i]) for i in _EVERY])
    off = np.where(np.eye(len(AGE_CLASSES), dtype=bool), np.nan, seen - real_seen)
    hit = class_of(real) == own
    return {
        "class_hit": {
            "real": {**{name: share(hit[own == i]) for i, name in enumerate(AGE_CLASSES)}, "all": share(hit)},
            "aged": _by_age(class_of(aged) == np.arange(len(AGE_CLASSES)), seed),
        },
        "age_seen": {"real": _named(real_seen, 1), "aged": _named(aged.mean(0), 1)},
        "age_off": {
            "mean": round(float(np.nanmean(np.abs(off))), 2),
            "worst": round(float(np.nanmax(np.abs(off))), 2),
            "pairs": [[None if np.isnan(one) else round(float(one), 1) for one in row] for row in off],
        },
        "years_added": round(_mean((aged[:, -1] - real)[own == 1]), 1),
        "years_taken": round(_mean((real - aged[:, 0])[own >= 4]), 1),
    }


def accepted_pictures(
    pictures: np.ndarray, portraits: np.ndarray, faces: FaceSet, recognizer: Judge
) -> tuple[float, np.ndarray]:
    """The recogniser's threshold, and which of (n, k) pictures it takes for their person; none that it cannot find."""
    real = recognizer.embed(portraits)
    threshold, _ = calibrate(recognizer, real, faces.identities)
    distances = [np.linalg.norm(recognizer.embed(pictures[:, i]) - real, axis=1) for i in range(pictures.shape[1])]
    return threshold, np.stack(distances, axis=1) < threshold


def skin_detail(faces: np.ndarray) -> np.ndarray:
    """Energy (n,) of fine detail in the skin of (n, s, s, 3) uint8 aligned faces, in squared grey levels."""
    side = faces.shape[1]
    skin = skin_mask(side)[..., 0] > 0.5
    energy = np.empty(len(faces))
    for i, face in enumerate(faces):
        light = face.mean(-1)
        detail = np.square(light - gaussian_filter(light, side * _DETAIL))[skin]
        energy[i] = detail[detail <= np.quantile(detail, _STRONGEST)].mean()
    return energy


def kid(one: np.ndarray, other: np.ndarray) -> float:
    """Kernel distance of (n, d) and (m, d) features × 1000 (Bińkowski et al. 2018); unbiased, so about 0 for equals."""
    if min(len(one), len(other)) < 2:
        return float("nan")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.astype(np.float64) @ b.T / a.shape[1] + 1) ** 3

    def within(rows: np.ndarray) -> float:
        values = kernel(rows, rows)
        return float((values.sum() - np.trace(values)) / (len(rows) * (len(rows) - 1)))

    return 1000 * (within(one) + within(other) - 2 * float(kernel(one, other).mean()))


def _kids(
    judge: FeatureJudge,
    pictures: np.ndarray,
    portraits: np.ndarray,
    own: np.ndarray,
    reference: tuple[np.ndarray, np.ndarray],
) -> tuple[dict[str, float], dict[str, float]]:
    """`PhotographScores.kid` and its floor."""
    others, classes = reference
    drawn, floor = [], []
    for i in _EVERY:
        rows = np.flatnonzero(own != i)
        # Evenly: the faces may be sorted by class.
        rows = rows[np.linspace(0, len(rows) - 1, min(_KID_PICTURES, len(rows))).astype(int)]
        real, other = (judge.features(faces[:_KID_PICTURES]) for faces in (portraits[own == i], others[classes == i]))
        drawn.append(kid(judge.features(pictures[rows, i]), other))
        floor.append(kid(real, other))
    return _named(drawn, 2), _named(floor, 2)


def _by_age(hits: np.ndarray, seed: int) -> dict[str, Share]:
    """Of (n, 6) hits, those of each target class and of all."""
    return {**{name: share(hits[:, i]) for i, name in enumerate(AGE_CLASSES)}, "all": share(hits, seed)}


def _named(values: Any, digits: int) -> dict[str, float]:
    return {name: round(float(value), digits) for name, value in zip(AGE_CLASSES, values, strict=True)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
