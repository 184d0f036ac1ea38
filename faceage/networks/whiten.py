"""Making what E gives for photos look like what G draws random faces from."""

import keras
import numpy as np

from faceage.networks import LATENT_SIZE

MIN_FACES = 10 * LATENT_SIZE
"""Fewer say too little of the covariance of 100 dimensions."""

_SMALLEST = 1e-3
"""Of the variance along a direction: less is no more than rounding."""


def whiten_latents(encoder: keras.Model, generator: keras.Model, latents: np.ndarray) -> None:
    """Change both so that E's `latents` (n, 100) of photos are, all in all, uncorrelated, of mean 0 and variance 1.

    E then answers C^(-1/2) (z - m), with their mean m and covariance C, and G undoes it first: whatever is drawn from
    E's latents stays as it was. Random latents, which are N(0, I), come to lie where those of photos lie; G knows how
    to draw from there. The change is linear and goes into the weights of E's last and G's first layer.
    """
    mean, covariance = latents.mean(0, dtype=np.float64), np.cov(latents.astype(np.float64), rowvar=False)
    variances, directions = np.linalg.eigh(covariance)
    deviations = np.sqrt(variances.clip(_SMALLEST))
    colour, white = ((directions * scale) @ directions.T for scale in (deviations, 1 / deviations))

    last, first = (
        next(part for part in order if isinstance(part, keras.layers.Dense))
        for order in (encoder.layers[::-1], generator.layers)
    )
    kernel, bias = last.get_weights()
    last.set_weights([kernel @ white, (bias - mean) @ white])
    kernel, bias = first.get_weights()
    of_latent, of_age = kernel[:LATENT_SIZE], kernel[LATENT_SIZE:]
    first.set_weights([np.concatenate([colour @ of_latent, of_age]), bias + mean @ of_latent])
