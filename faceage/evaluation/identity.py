"""The paper's table 1: whom an independent recogniser takes reconstructions for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES
from faceage.data.dataset import FaceSet
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import OPTIMISED, rebuilt
from faceage.evaluation.recognizers import Judge, calibrate
from faceage.model import Model
from faceage.people.optimise import Latents


@dataclass(frozen=True)
class IdentityScores:
    """Shares of reconstructions that the judge takes for the person of the photo.

    `accepted` by kind of latent, `groups` those of the optimised ones by age class and gender of the photo, `distance`
    the judge's mean distances. A face that it cannot find counts as not accepted; `found` is the share of photos that
    it does find.
    """

    judge: str
    threshold: float
    false_matches: float
    faces: int
    found: Share
    accepted: dict[str, Share]
    distance: dict[str, float]
    groups: dict[str, Share]


def judge_identity(
    model: Model,
    faces: FaceSet,
    latents: Mapping[str, Latents],
    judge: Judge,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> IdentityScores:
    """Rebuild `faces` from each kind of `latents` and ask `judge`, which should have had no part in the training.

    Raises DataError where it finds no two different people among `faces`.
    """
    real = judge.embed(faces.faces)
    threshold, false_matches = calibrate(judge, real, faces.identities)
    hits, distance = {}, {}
    for done, (name, kind) in enumerate(latents.items()):
        progress(done, len(latents))
        distances = np.linalg.norm(judge.embed(rebuilt(model, kind)) - real, axis=1)
        hits[name] = distances < threshold
        distance[name] = round(float(np.nanmean(distances)), 4) if np.isfinite(distances).any() else float("nan")
    progress(len(latents), len(latents))
    genders = np.asarray(faces.genders, dtype=object)
    rows = {name: faces.classes == i for i, name in enumerate(AGE_CLASSES)}
    rows.update({gender: genders == gender for gender in sorted(set(faces.genders) - {""})})
    return IdentityScores(
        judge=judge.name,
        threshold=round(threshold, 4),
        false_matches=round(false_matches, 4),
        faces=len(faces),
        found=share(~np.isnan(real[:, 0])),
        accepted={name: share(hit) for name, hit in hits.items()},
        distance=distance,
        groups={name: share(hits[OPTIMISED][chosen]) for name, chosen in rows.items()},
    )
