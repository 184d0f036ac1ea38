"""Shares with their confidence intervals."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_RESAMPLED = 2000


@dataclass(frozen=True)
class Share:
    """A share of `count` cases, 0..1, with its 95% interval; NaN of no cases."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if not self.count:
            return "no cases"
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def share(hits: np.ndarray, seed: int = 0) -> Share:
    """The share of true values in (n,) or (n, k) `hits`.

    The interval of one value per face is Wilson's. Of k values per face the faces are resampled (bootstrap), because
    values of one face are not independent; where all are equal, which leaves nothing to resample, it is Wilson's again.
    """
    hits = np.asarray(hits, float)
    if not hits.size:
        return Share(float("nan"), float("nan"), float("nan"), 0)
    per_face = hits.reshape(len(hits), -1).mean(1)
    value = float(per_face.mean())
    if hits.ndim == 1 or value in (0, 1):
        low, high = _wilson(per_face)
    else:
        random = np.random.default_rng(seed)
        means = [per_face[random.integers(0, len(hits), len(hits))].mean() for _ in range(_RESAMPLED)]
        low, high = np.quantile(means, [0.025, 0.975])
    return Share(round(value, 4), round(float(low), 4), round(float(high), 4), hits.size)


def _wilson(hits: np.ndarray) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of independent cases."""
    # SciPy's statistics take a second to import.
    from scipy.stats import binomtest

    low, high = binomtest(round(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return low, high


def without_nan(values: Any) -> Any:
    """`values` as JSON can hold them: None in place of NaN, which is what is not known of no cases."""
    if isinstance(values, dict):
        return {name: without_nan(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_nan(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values
