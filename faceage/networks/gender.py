"""How the latent of a person whose gender is known differs from one of whom nothing is known."""

import keras
from keras import layers

from faceage.genders import GENDERS
from faceage.sizes import LATENT_SIZE


def gender(dtype: str = "float32") -> keras.Model:
    """One-hot genders (b, 2) → what to add to latents (b, 100): a direction in latent space (Shen et al. 2020).

    Nothing where the gender is unknown. `training.gender` finds it; no gradient does.
    """
    known = keras.Input((len(GENDERS),), name="gender")
    return keras.Model(known, layers.Dense(LATENT_SIZE, use_bias=False, dtype=dtype)(known), name="gender")
