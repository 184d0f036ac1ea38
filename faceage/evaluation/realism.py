"""How near drawn faces are to real ones: a Fréchet distance on recogniser features (Heusel et al. 2017, with FR)."""

from dataclasses import dataclass

import keras
import numpy as np

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.dataset import FaceSet
from faceage.errors import DataError
from faceage.evaluation.verification import pair_distances
from faceage.model import Model
from faceage.networks.predict import draw, predict, random_latents


@dataclass(frozen=True)
class RealismScores:
    """Fréchet distances on `features`: of `faces` real and as many drawn ones, and, as its `floor`, of two real sets.

    `variety` is the mean distance between drawn faces of a class, which a collapsed generator loses; `real_variety`
    that between real ones.
    """

    features: str
    faces: int
    frechet: float
    floor: float
    variety: dict[str, float]
    real_variety: float


FACES = 1024
"""Faces on each side, at most: the distance depends on how many there are."""

_VARIED = 256


def judge_realism(model: Model, real: FaceSet, other: FaceSet, seed: int = 0) -> RealismScores:
    """Measure G against `real` faces; `other` real ones give the floor. Both sides have as many faces as the smaller.

    The features are those of the model's own recogniser, which the identity stage trains G through.
    """
    count = min(FACES, len(real), len(other))
    real = real.first(count)
    variety = {}
    for i, name in enumerate(AGE_CLASSES):
        drawn = draw(model.generator, random_latents(_VARIED, seed), one_hot([i] * _VARIED))
        variety[name] = round(float(pair_distances(predict(model.recognizer, drawn)).mean()), 4)
    return RealismScores(
        features="embeddings of the model's own recogniser",
        faces=count,
        frechet=round(realism(model.generator, model.recognizer, real, seed), 5),
        floor=round(realism_floor(model.recognizer, real, other), 5),
        variety=variety,
        real_variety=round(float(pair_distances(predict(model.recognizer, real.faces[:_VARIED])).mean()), 4),
    )


def realism(generator: keras.Model, recognizer: keras.Model, real: FaceSet, seed: int = 0) -> float:
    """Fréchet distance of the embeddings of `real` faces and of faces drawn at the same ages."""
    real = real.first(FACES)
    drawn = draw(generator, random_latents(len(real), seed), one_hot(real.classes))
    return frechet(predict(recognizer, real.faces), predict(recognizer, drawn))


def realism_floor(recognizer: keras.Model, one: FaceSet, other: FaceSet) -> float:
    """The distance of two sets of real faces, as many as `realism` compares: what even perfect faces would have."""
    count = min(FACES, len(one), len(other))
    return frechet(*(predict(recognizer, faces.faces[:count]) for faces in (one, other)))


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet distance of two Gaussians with the moments of (n, d) and (m, d) rows: 0 for equal ones.

    Raises DataError where there are fewer than two rows of either.
    """
    if min(len(one), len(other)) < 2:
        raise DataError("the Fréchet distance is of two faces or more", "prepare a larger data set")
    (mean_a, cov_a), (mean_b, cov_b) = ((rows.mean(0), np.cov(rows, rowvar=False)) for rows in (one, other))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    between = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * between)
