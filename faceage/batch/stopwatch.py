"""Where the time of a batch goes: by stage, and by photo."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from faceage.batch.photo import Photo


class Stopwatch:
    """Adds up seconds by stage; each photo takes an equal share."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str, photos: Sequence[Photo]) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - started, photos)

    def add(self, stage: str, seconds: float, photos: Sequence[Photo]) -> None:
        with self._lock:
            self._seconds[stage] += seconds
            for photo in photos:
                photo.seconds[stage] += seconds / len(photos)

    def take(self) -> dict[str, float]:
        """The seconds since the last call."""
        with self._lock:
            seconds, self._seconds = self._seconds, defaultdict(float)
        return dict(seconds)
