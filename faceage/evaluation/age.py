"""Do faces of random latents carry their age? The estimated class on them against that on real faces."""

from dataclasses import dataclass

import numpy as np

from faceage.ages import AGE_CLASSES, class_of, one_hot
from faceage.data.dataset import FaceSet
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import all_portraits
from faceage.evaluation.published import AgeGenderJudge
from faceage.model import Model
from faceage.networks.predict import draw, random_latents


@dataclass(frozen=True)
class AgeScores:
    """Share of `real` and of `sampled` faces whose estimated age lies in their class, by class and "all".

    Rows of a `confusion` are the true classes, columns the estimator's. `drop` is what is lost from real to sampled.
    """

    estimator: str
    real: dict[str, Share]
    sampled: dict[str, Share]
    drop: float
    confusion: dict[str, list[list[int]]]


def judge_age(model: Model, judge: AgeGenderJudge, faces: FaceSet, samples: int = 10_000, seed: int = 0) -> AgeScores:
    """Measure with `judge`; the samples are drawn at the ages of `faces`, so that the two can be compared."""
    classes = np.random.default_rng(seed).choice(faces.classes, samples)
    pictures = draw(model.generator, random_latents(samples, seed), one_hot(classes))
    scores, confusion = {}, {}
    for name, pixels, truth in (("real", all_portraits(faces), faces.classes), ("sampled", pictures, classes)):
        guess = class_of(judge.ages(pixels))
        scores[name] = {
            **{label: share((guess == truth)[truth == i]) for i, label in enumerate(AGE_CLASSES)},
            "all": share(guess == truth),
        }
        edges = np.arange(len(AGE_CLASSES) + 1)
        confusion[name] = np.histogram2d(truth, guess, bins=[edges, edges])[0].astype(int).tolist()
    drop = round(scores["real"]["all"].value - scores["sampled"]["all"].value, 4)
    return AgeScores(judge.name, **scores, drop=drop, confusion=confusion)
