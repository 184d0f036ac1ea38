"""The six age classes of Age-cGAN (Antipov, Baccouche & Dugelay 2017) and the way to and from them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceage.errors import UsageError

AGE_CLASSES: tuple[str, ...] = ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")
LOWEST_AGES = np.array([0, 19, 30, 40, 50, 60])
"""The first year of each class."""
_MIDDLES = np.array([9, 24, 35, 45, 55, 70])
_BEYOND = 1 / 3
"""Of a class's weight, how much goes on changing beyond the middles: at full slope the generator breaks at 100."""
MAX_AGE = 100
"""Ages above this are taken as wrong labels (about half of them are, in IMDB-WIKI) and dropped."""

STRENGTH = 1.5
"""Default ageing strength: above it judges see the age in more pictures, and people see stains. 1 is the target age."""
MAX_STRENGTH = 2


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


def towards(own: np.ndarray, target: np.ndarray, strength: float | np.ndarray = STRENGTH) -> np.ndarray:
    """Age weights (n, 6) for drawing people of age weights `own` (n, 6) at the age of weights `target` (6,).

    `strength`, one or (n, 1), 0 gives `own`, 1 the target; above 1 goes beyond it.
    """
    return own + np.asarray(strength, np.float32) * (target[None] - own)


@dataclass(frozen=True, init=False)
class Age:
    """An age to draw or to assume: a class, or years, which mean those years and not their class."""

    label: str

    def __init__(self, age: str | float) -> None:
        """ "60+" is a class; "25", 25 and 40.5 are years. Raises UsageError for anything else."""
        label = str(age).strip()
        if label not in AGE_CLASSES:
            label = f"{_years(label):g}"
        object.__setattr__(self, "label", label)

    @property
    def weights(self) -> np.ndarray:
        """(6,) float32 weights of the classes."""
        if self.label in AGE_CLASSES:
            return one_hot([AGE_CLASSES.index(self.label)])[0]
        return age_weights(float(self.label))


def _years(label: str) -> float:
    try:
        years = float(label)
        age_weights(years)
    except ValueError as error:
        if "," in label:
            raise UsageError(f"{label!r} is not one age", f"ages to draw are given by --ages {label}") from error
        hint = f"{_nearest(label)}ages are 0 to {MAX_AGE} years, or one of {', '.join(AGE_CLASSES)}"
        raise UsageError(f"unknown age {label!r}", hint) from error
    return years


_WIDEST_CLASS = 20
"""Years; a wider range is no class that somebody remembers wrongly."""


def _nearest(label: str) -> str:
    """The beginning of a hint on what is no age: "did you mean 19-29? " for "20-29"."""
    years = list(map(int, re.findall(r"[0-9]{1,3}", label)))
    if not years or max(years) > MAX_AGE:
        return ""
    if len(years) == 2 and abs(years[1] - years[0]) > _WIDEST_CLASS:
        return f"for {years[0]} and {years[1]} write {years[0]},{years[1]}; "
    near = AGE_CLASSES[age_class(sum(years) // len(years))]
    return f"did you mean {f'{years[0]} or {near}' if len(years) == 1 else near}? "


EVERY_CLASS = tuple(map(Age, AGE_CLASSES))


def parse_ages(text: str) -> tuple[Age, ...]:
    """The ages of a list such as "0-18,25,60+", each once. Raises UsageError as `Age` does."""
    return tuple(dict.fromkeys(map(Age, text.split(","))))


def young_to_old(ages: Sequence[Age]) -> list[Age]:
    """`ages` in order, each once."""
    return sorted(dict.fromkeys(ages), key=lambda age: float(age.weights @ np.arange(len(AGE_CLASSES))))


def years_of(weights: np.ndarray) -> np.ndarray:
    """Years (n,), 0 to `MAX_AGE`, for age weights (n, 6): of `age_weights`, or an estimator's probabilities."""
    last = len(_MIDDLES) - 1
    place = np.asarray(weights, np.float64) @ np.arange(len(_MIDDLES))
    years = np.interp(place, np.arange(len(_MIDDLES)), _MIDDLES)
    years += np.minimum(place, 0) / _BEYOND * (_MIDDLES[1] - _MIDDLES[0])
    years += np.maximum(place - last, 0) / _BEYOND * (_MIDDLES[-1] - _MIDDLES[-2])
    return np.clip(years, 0, MAX_AGE)
