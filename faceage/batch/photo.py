"""One photo on its way through a batch."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from faceage.photos.find import FoundPhoto
from faceage.store.latents import FaceRow
from faceage.store.manifest import PhotoOutcome


@dataclass(slots=True)
class Photo:
    """The `file`, its row in the manifest (`outcome`: the last run's, then this one's), and the `faces` found in it."""

    file: FoundPhoto
    outcome: PhotoOutcome
    faces: list[FaceRow] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By stage, since they were last taken (`take_seconds`)."""
    pixels: np.ndarray | None = None
    """(h, w, 3) uint8 while faces are looked for, `factor` times smaller than the photo."""
    factor: int = 1
    waiting: int = 0
    """Faces that wait for the optimiser."""
    detections: int = -1
    """Faces in the photo, chosen or not; -1 before it was searched."""

    @property
    def name(self) -> str:
        return self.outcome.path

    def forget(self) -> None:
        """Free the rows, which are on disk: there may be a million photos."""
        self.faces = []


@contextmanager
def timed(stage: str, photos: Sequence[Photo]) -> Iterator[None]:
    """Add the seconds that the block takes to the `stage` of `photos`, an equal share to each."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    for photo in photos:
        photo.seconds[stage] += seconds / len(photos)


def take_seconds(photos: Sequence[Photo]) -> dict[str, float]:
    """Enter the seconds of `photos` in their outcomes, in place of an earlier run's; the sums by stage."""
    sums: dict[str, float] = defaultdict(float)
    for photo in photos:
        for stage, seconds in photo.seconds.items():
            sums[stage] += seconds
        rounded = {stage: round(seconds, 4) for stage, seconds in photo.seconds.items()}
        photo.outcome = replace(photo.outcome, seconds={**photo.outcome.seconds, **rounded})
        photo.seconds.clear()
    return dict(sums)
