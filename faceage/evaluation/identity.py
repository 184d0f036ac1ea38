"""The paper's table 1: whom an independent recogniser takes reconstructions, and aged faces, for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES, DETAILS, STRENGTH
from faceage.data.dataset import FaceSet
from faceage.errors import DataError
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import OPTIMISED, aged, drawn, rebuilt
from faceage.evaluation.recognizers import Judge, strangers_distances
from faceage.model import Model
from faceage.people.optimise import Latents


@dataclass(frozen=True)
class IdentityScores:
    """Shares of faces that the judge takes for the same person.

    `accepted` of the reconstructions, by latent; `aged` of the optimised ones at each age by `strength` with `details`,
    and "all", and `plain` the same as G alone draws them; by `groups` those of `aged` for each age class and gender of
    the photo. `distance` are the judge's mean distances. A face that it cannot find counts as not accepted, and `found`
    says how many of the photos it finds.
    """

    judge: str
    strength: float
    details: float
    threshold: float
    false_matches: float
    faces: int
    found: Share
    accepted: dict[str, Share]
    distance: dict[str, float]
    aged: dict[str, Share]
    plain: dict[str, Share]
    groups: dict[str, dict[str, Share]]


def judge_identity(
    model: Model,
    faces: FaceSet,
    latents: Mapping[str, Latents],
    judge: Judge,
    false_matches: float = 0.01,
    strength: float = STRENGTH,
    details: float = DETAILS,
    seed: int = 0,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> IdentityScores:
    """Rebuild `faces` from each kind of `latents`, age the optimised ones to every class, and ask `judge`.

    Its threshold lets `false_matches` of strangers through. `judge` must have had no part in the training of `model`,
    or the figures say how well it was fooled. Raises DataError where it does not find two different people.
    """
    total, done = 1 + len(latents) + 2 * len(AGE_CLASSES), 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    real = judge.embed(faces.faces)
    tell()
    strangers = strangers_distances(real, faces.identities)
    if not len(strangers):
        raise DataError(f"the judge {judge.name} finds no two different people among {len(faces)} faces")
    threshold = float(np.quantile(strangers, false_matches)) if judge.threshold is None else judge.threshold
    found = ~np.isnan(real[:, 0])

    def accepted(shown: np.ndarray) -> tuple[np.ndarray, float]:
        distances = np.linalg.norm(judge.embed(shown) - real, axis=1)
        tell()
        return distances < threshold, float(np.nanmean(distances)) if np.isfinite(distances).any() else float("nan")

    hits, distance = {}, {}
    for name, kind in latents.items():
        hits[name], distance[name] = accepted(rebuilt(model, kind))
    best = latents[OPTIMISED]
    people = drawn(model, best, strength)
    kept, plain = (
        np.stack([accepted(shown[:, target])[0] for target in range(len(AGE_CLASSES))], axis=1)
        for shown in (aged(model, faces.faces, best, people, strength, details), people[:, 1:])
    )
    genders = np.asarray(faces.genders, dtype=object)
    rows = {name: faces.classes == i for i, name in enumerate(AGE_CLASSES)}
    rows.update({gender: genders == gender for gender in sorted(set(faces.genders) - {""})})
    return IdentityScores(
        judge=judge.name,
        strength=strength,
        details=details,
        threshold=round(threshold, 4),
        false_matches=round(float((strangers < threshold).mean()), 4),
        faces=len(faces),
        found=share(found, seed),
        accepted={name: share(hit, seed) for name, hit in hits.items()},
        distance={name: round(value, 4) for name, value in distance.items()},
        aged=_by_age(kept, seed),
        plain=_by_age(plain, seed),
        groups={
            name: {"rebuilt": share(hits[OPTIMISED][chosen], seed), "aged": share(kept[chosen], seed)}
            for name, chosen in rows.items()
        },
    )


def _by_age(kept: np.ndarray, seed: int) -> dict[str, Share]:
    """Of (n, 6) faces, those of each class and of all."""
    return {**{name: share(kept[:, i], seed) for i, name in enumerate(AGE_CLASSES)}, "all": share(kept, seed)}
