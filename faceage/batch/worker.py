"""Photos in; rows of latents, pictures and outcomes out."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

from faceage.batch.draw import Drawer
from faceage.batch.find_people import PeopleFinder
from faceage.batch.photo import Photo, Tell, take_seconds, tell_nobody, timed
from faceage.batch.plan import LATENTS, Task, writing_to
from faceage.model import load_model
from faceage.store.latents import LatentWriter
from faceage.store.manifest import OK, PhotoOutcome

_SECONDS_UNRECORDED = 10.0
"""What has been drawn is recorded at least so often, so that a kill costs no more."""


_SECONDS_TO_STOP = 5.0
"""Time that drawing gets, where a run is interrupted, to end and be recorded; the rest is drawn again."""


@dataclass
class Done:
    """What is on disk and only has to be entered in the index and the manifest."""

    found: list[PhotoOutcome] = field(default_factory=list)
    """Photos whose rows of latents are on disk, and whose pictures are not yet."""
    finished: list[PhotoOutcome] = field(default_factory=list)
    """Photos that are done, or that cannot be done."""
    parts: dict[str, int] = field(default_factory=dict)
    """Parts of the latents, as of `LatentWriter.write`."""
    distances: list[float] = field(default_factory=list)
    """Identity distances of faces found, before and after by turns."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By stage."""
    detected: int = 0
    """Photos that faces were looked for in."""


class Worker:
    """The networks of a task, which both jobs of a batch are done with."""

    def __init__(self, task: Task, writer: str, tell: Tell = tell_nobody) -> None:
        """Write latents under the name `writer`."""
        self._tell = tell
        self._task = task
        self._model = load_model(task.weights)
        self._latents = LatentWriter(task.out / LATENTS, writer, self._model.fingerprint, task.find.to_json())
        self._drawer = Drawer(self._model, task.out, task.draw, keep=True, limits=task.limits, drawn=task.drawn)
        self._drawn: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._stopping = threading.Event()

    @cached_property
    def _finder(self) -> PeopleFinder:
        return PeopleFinder(self._model, self._task.find, self._task.limits, self._task.faces_at_once, self._tell)

    def find(self, photos: Sequence[Photo]) -> Iterator[Done]:
        """Find the people of `photos` and draw them, a block of photos being drawn beside the search in the next."""
        drawing: Future[None] | None = None
        beside = ThreadPoolExecutor(1)
        try:
            with closing(self._finder.find(photos)) as blocks:
                for block in blocks:
                    yield from self._wait_for(drawing)
                    yield self._enter(block)
                    if drawable := [photo for photo in block if photo.faces]:
                        drawing = beside.submit(self._draw_beside, drawable)
            yield from self._wait_for(drawing)
        finally:
            self._stopping.set()
            wait([drawing] if drawing else [], timeout=_SECONDS_TO_STOP)
            beside.shutdown(wait=False)
        self._stopping.clear()

    def draw(self, photos: Iterable[Photo]) -> Iterator[Done]:
        """Draw people that were found before."""
        done = Done()
        recorded = time.monotonic()
        with closing(self._drawer.draw(photos)) as drawn:
            for photo in drawn:
                for stage, seconds in take_seconds([photo]).items():
                    done.seconds[stage] += seconds
                outcome = photo.outcome
                done.finished.append(replace(outcome, drawn=self._task.drawn) if outcome.status == OK else outcome)
                photo.forget()
                if self._stopping.is_set():
                    break
                if time.monotonic() - recorded > _SECONDS_UNRECORDED:
                    yield done
                    done, recorded = Done(), time.monotonic()
        yield done

    def close(self) -> None:
        """End the processes that read photos."""
        self._drawer.close()

    def rest(self) -> Iterator[Done]:
        """What was drawn beside the search and was in no answer before."""
        while not self._drawn.empty():
            yield self._drawn.get()

    def _draw_beside(self, photos: list[Photo]) -> None:
        for done in self.draw(photos):
            self._drawn.put(done)

    def _wait_for(self, drawing: "Future[None] | None") -> Iterator[Done]:
        """What is drawn, as it comes: what is told late is drawn again after a kill."""
        while drawing is not None and not drawing.done():
            try:
                yield self._drawn.get(timeout=0.2)
            except queue.Empty:
                continue
        if drawing is not None:
            drawing.result()
        yield from self.rest()

    def _enter(self, block: list[Photo]) -> Done:
        """Put the rows of a block on disk."""
        rows = [row for photo in block for row in photo.faces]
        with timed("store", [photo for photo in block if photo.faces]), writing_to(self._task.out):
            parts = self._latents.write(rows)
        seconds = take_seconds(block)
        for photo in block:
            photo.outcome = replace(photo.outcome, found=self._task.found)
        return Done(
            found=[photo.outcome for photo in block if photo.faces],
            finished=[photo.outcome for photo in block if not photo.faces],
            parts=parts,
            distances=[float(distance) for row in rows for distance in row.identity_distance],
            seconds=seconds,
            detected=sum(photo.detections >= 0 for photo in block),
        )
