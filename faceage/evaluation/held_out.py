"""How well E and G do on faces that they are not trained on, by the networks that they are trained through."""

import keras
import numpy as np

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.dataset import FaceSet
from faceage.networks.predict import draw, predict
from faceage.sizes import LATENT_SIZE

HELD_OUT = 512
"""Faces, at most, that a stage is scored on."""


def z_error(encoder: keras.Model, generator: keras.Model, seed: int) -> float:
    """Mean squared error of E per dimension on `HELD_OUT` generated faces; z = 0 scores 1.0."""
    random = np.random.default_rng(seed)
    latents = random.standard_normal((HELD_OUT, LATENT_SIZE), dtype=np.float32)
    ages = one_hot(random.integers(0, len(AGE_CLASSES), HELD_OUT))
    drawn = draw(generator, latents, ages)
    return float(np.mean(np.square(predict(encoder, drawn) - latents)))


def identity_scores(
    encoder: keras.Model,
    generator: keras.Model,
    recognizer: keras.Model,
    age_estimator: keras.Model,
    faces: FaceSet,
) -> dict[str, float]:
    """What E and G make of up to `HELD_OUT` of `faces`, in the eyes of FR and of the age estimator.

    `same_age` and `other_age` are the mean distances to the photo of the face drawn at its own and at a random other
    age; `aged_hits` and `aged_cross_entropy` say whether the latter looks that age.
    """
    faces = faces.first(HELD_OUT)
    steps = np.random.default_rng(0).integers(1, len(AGE_CLASSES), len(faces))
    others = (faces.classes + steps) % len(AGE_CLASSES)
    latents, embeddings = predict(encoder, faces.faces), predict(recognizer, faces.faces)
    found, aged = [], faces.faces
    for classes in (faces.classes, others):
        aged = draw(generator, latents, one_hot(classes))
        found.append(float(np.linalg.norm(predict(recognizer, aged) - embeddings, axis=1).mean()))
    guess = predict(age_estimator, aged)
    return {
        "same_age": found[0],
        "other_age": found[1],
        "aged_hits": float((guess.argmax(1) == others).mean()),
        "aged_cross_entropy": float(-np.log(guess[np.arange(len(guess)), others] + 1e-7).mean()),
    }
