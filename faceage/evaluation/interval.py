"""How sure a share is."""

from dataclasses import dataclass

import numpy as np

_RESAMPLED = 2000


@dataclass(frozen=True)
class Share:
    """A share of `count` cases, 0..1, with its 95% interval by bootstrap; NaN of no cases."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def share(hits: np.ndarray, seed: int = 0) -> Share:
    """The share of true values in (n,) or (n, k) `hits`; of k values of one face, the face is what is drawn again."""
    hits = np.asarray(hits, float)
    if not len(hits):
        return Share(float("nan"), float("nan"), float("nan"), 0)
    per_face = hits.reshape(len(hits), -1).mean(1)
    random = np.random.default_rng(seed)
    means = [per_face[random.integers(0, len(hits), len(hits))].mean() for _ in range(_RESAMPLED)]
    low, high = np.quantile(means, [0.025, 0.975])
    value, low, high = (round(float(one), 4) for one in (per_face.mean(), low, high))
    return Share(value, low, high, hits.size)
