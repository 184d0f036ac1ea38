"""One photo on its way through a batch."""

from collections import defaultdict
from dataclasses import dataclass, field

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
    """By stage, of this run."""
    pixels: np.ndarray | None = None
    """(h, w, 3) uint8 while faces are looked for, `factor` times smaller than the photo."""
    factor: int = 1
    waiting: int = 0
    """Faces that wait for the optimiser."""
    detections: int = -1
    """Faces in the photo, those not chosen too; -1 before it was searched."""

    @property
    def name(self) -> str:
        return self.outcome.path

    def forget(self) -> None:
        """Let go of what is on disk: there may be a million of them."""
        self.faces, self.seconds = [], {}
