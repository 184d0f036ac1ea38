"""The genders that labels of photos give, and that people may be drawn as."""

from collections.abc import Sequence

import numpy as np

from faceage.errors import UsageError

GENDERS = ("female", "male")
"""In the order of one-hot genders."""


def one_hot_genders(genders: Sequence[str]) -> np.ndarray:
    """(n, 2) float32: one-hot rows of `GENDERS`, zeros where the gender is "", unknown."""
    return (np.asarray(genders, object)[:, None] == np.asarray(GENDERS, object)).astype(np.float32)


def check_gender(gender: str | None) -> None:
    """Raise UsageError for what is none of `GENDERS`; None says that it is unknown."""
    if gender not in (None, *GENDERS):
        raise UsageError(f"gender {gender!r} is none of {', '.join(GENDERS)}")
