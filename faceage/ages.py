"""The six age classes of Age-cGAN (Antipov, Baccouche & Dugelay 2017) and the way to and from them."""

from collections.abc import Sequence

import numpy as np

AGE_CLASSES: tuple[str, ...] = ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")
LOWEST_AGES = np.array([0, 19, 30, 40, 50, 60])
"""The first year of each class."""
_MIDDLES = np.array([9, 24, 35, 45, 55, 70])
_BEYOND = 1 / 3
"""Of a class's weight, how much goes on changing beyond the middles: at full slope the generator breaks at 100."""
MAX_AGE = 100
"""Ages above this are taken as wrong labels (about half of them are, in IMDB-WIKI) and dropped."""


STRENGTH = 1.4
"""How far towards a class a person is aged, unless told otherwise: where identity and age meet, measured."""
_EMPHASIS = np.array([0.9, 0.85, 1.0, 1.1, 1.1, 1.0], np.float32)
"""Of the strength, what each class takes: the first two are seen in a face sooner than those between 40 and 60."""
DETAILS = 1.0
"""How much of what G leaves out of a photo is put back at other ages (`people.details`), unless told otherwise."""


def age_class(age: int) -> int:
    """Index 0-5 of the class that holds `age` in years. Raises ValueError outside 0 to `MAX_AGE`."""
    if not 0 <= age <= MAX_AGE:
        raise ValueError(f"an age is 0 to {MAX_AGE} years, not {age}")
    return int(class_of(np.array(age)))


def class_of(years: np.ndarray) -> np.ndarray:
    """Class indices (n,) of estimated ages (n,) in years, whatever they are."""
    return np.searchsorted(LOWEST_AGES, years, side="right") - 1


def one_hot(classes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Class indices of shape (n,) as one-hot rows, (n, 6) float32."""
    return np.eye(len(AGE_CLASSES), dtype=np.float32)[np.asarray(classes, int)]


def age_weights(years: float | np.ndarray) -> np.ndarray:
    """(…, 6) float32 weights of the classes for ages (…): one class in its middle, two neighbours in between.

    Before the first middle and after the last, the outermost class weighs more than 1 and its neighbour less than 0;
    the sum is always 1. Raises ValueError outside 0 to `MAX_AGE`.
    """
    years = np.asarray(years, np.float64)
    if not ((years >= 0) & (years <= MAX_AGE)).all():
        raise ValueError(f"an age is 0 to {MAX_AGE} years, not {years}")
    place = np.interp(years, _MIDDLES, np.arange(len(_MIDDLES)))
    below, above = (_MIDDLES[0] - years) / (_MIDDLES[1] - _MIDDLES[0]), (years - _MIDDLES[-1]) / np.diff(_MIDDLES)[-1]
    place += _BEYOND * (np.maximum(above, 0) - np.maximum(below, 0))
    lower = np.clip(np.floor(place), 0, len(_MIDDLES) - 2)
    share = (place - lower)[..., None]
    eye = np.eye(len(AGE_CLASSES))[lower.astype(int)]
    return ((1 - share) * eye + share * np.roll(eye, 1, -1)).astype(np.float32)


def emphasis(asked: np.ndarray) -> float:
    """How many times the strength is taken for an age of weights `asked` (6,)."""
    return float(asked @ _EMPHASIS)


def towards(own: np.ndarray, asked: np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """Age weights (n, 6) for drawing people whose own are `own` at the age of weights `asked` (6,).

    `strength` 1 is that age itself, 0 their own; what is between is younger or older by less, and more than 1 is more
    than the age has.
    """
    return own + np.float32(strength) * (asked[None] - own)
