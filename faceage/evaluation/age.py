"""Do drawn faces carry their age? An estimator's accuracy on them against its accuracy on real faces."""

from dataclasses import dataclass

import keras
import numpy as np

from faceage.ages import AGE_CLASSES, DETAILS, STRENGTH, one_hot
from faceage.data.dataset import FaceSet
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import aged, drawn
from faceage.model import Model
from faceage.networks import LATENT_SIZE
from faceage.networks.predict import draw, predict
from faceage.people.optimise import Latents


@dataclass(frozen=True)
class AgeScores:
    """Exact hits of the class: on `real` faces, on `sampled` ones (random latents), on `aged` photos, and on these as G
    alone draws them (`plain`), in all and per class; rows of a `confusion` are the true classes, columns the
    estimator's.
    """

    real: dict[str, Share]
    sampled: dict[str, Share]
    aged: dict[str, Share]
    plain: dict[str, Share]
    drop: float
    confusion: dict[str, list[list[int]]]


def judge_age(
    model: Model,
    estimator: keras.Model,
    faces: FaceSet,
    latents: Latents,
    samples: int = 10_000,
    strength: float = STRENGTH,
    details: float = DETAILS,
    seed: int = 0,
) -> AgeScores:
    """Measure with `estimator`, which should be none that `model` uses or was trained through.

    Samples have the ages of `faces`, so that both are the same question; each of `faces`, by its `latents`, is aged to
    every class, by `strength` and with `details`.
    """
    random = np.random.default_rng(seed)
    classes = random.choice(faces.classes, samples)
    random_latents = random.standard_normal((samples, LATENT_SIZE), dtype=np.float32)
    targets = np.tile(np.arange(len(AGE_CLASSES)), len(faces))
    people = drawn(model, latents, strength)
    shown = {
        "real": (faces.faces, faces.classes),
        "sampled": (draw(model.generator, random_latents, one_hot(classes)), classes),
        "aged": (_one_after_another(aged(model, faces.faces, latents, people, strength, details)), targets),
        "plain": (_one_after_another(people[:, 1:]), targets),
    }
    found, confusion = {}, {}
    for name, (pixels, truth) in shown.items():
        guess = predict(estimator, pixels).argmax(1)
        found[name] = {
            **{label: share((guess == truth)[truth == i], seed) for i, label in enumerate(AGE_CLASSES)},
            "all": share(guess == truth, seed),
        }
        confusion[name] = (
            np.histogram2d(truth, guess, bins=[np.arange(len(AGE_CLASSES) + 1)] * 2)[0].astype(int).tolist()
        )
    drop = round(found["real"]["all"].value - found["sampled"]["all"].value, 4)
    return AgeScores(**found, drop=drop, confusion=confusion)


def _one_after_another(people: np.ndarray) -> np.ndarray:
    """(n, k, 64, 64, 3) as (n · k, 64, 64, 3)."""
    return people.reshape(-1, *people.shape[2:])
