"""Whitening: give E's latents of photos the distribution N(0, I) of random ones, and let G undo it."""

import keras
import numpy as np

from faceage.sizes import LATENT_SIZE

MIN_FACES = 10 * LATENT_SIZE
"""Fewer faces do not determine the covariance of 100 dimensions."""

_SMALLEST = 1e-3
"""Least variance along a direction: less is rounding error."""


def whiten_latents(encoder: keras.Model, generator: keras.Model, latents: np.ndarray) -> None:
    """Change both networks so that E's `latents` (n, 100) of photos get mean 0 and covariance I.

    With their mean m and covariance C, E then answers C^(-1/2) (z - m), and G undoes it first: faces drawn from E's
    latents stay the same. Random latents then lie where those of photos do, where G has learnt to draw. The change is
    linear, and is merged into the weights of E's last and G's first layer.
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
