"""Where the work of a batch is done: in this process, or on the workers of a Ray cluster."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from faceage.batch.plan import Task
from faceage.errors import MissingExtraError, UsageError
from faceage.photos.find import FoundPhoto

if TYPE_CHECKING:
    from faceage.batch.worker import Done

_PHOTOS_A_TASK = 128
"""Photos that a worker of a cluster is given at a time: a few full batches, and what is done again if it dies."""


class Engine(Protocol):
    """Does the `todo` of a task after the latents' `parts` that there are.

    `record` is given what is on disk and has to be entered; `progress(photos, faces)` is told what is finished.
    """

    def __call__(
        self,
        task: Task,
        todo: Sequence[FoundPhoto],
        parts: Mapping[str, int],
        record: Callable[["Done"], Any],
        progress: Callable[[int, int], Any],
    ) -> None: ...


def local_engine(
    task: Task,
    todo: Sequence[FoundPhoto],
    parts: Mapping[str, int],
    record: Callable[["Done"], Any],
    progress: Callable[[int, int], Any],
) -> None:
    """Everything in this process."""
    # Keras takes seconds to import; a run that is refused, or has nothing left to do, must not wait for it.
    from faceage.batch.worker import Worker

    worker = Worker(task, "0", parts)
    try:
        for done in worker.run(todo, progress):
            record(done)
    finally:
        # Also on Ctrl-C: what is finished is recorded, what is not will be done by the next run.
        record(worker.rest())


class RayEngine:
    """Workers on a Ray cluster, which share this machine's file system and have faceage installed.

    Ray starts a worker that dies anew, and does again what it was at; only what is on disk counts.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """`address` names the cluster, or None starts one here; `workers` None is one per GPU, or per two CPUs."""
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("--engine ray needs Ray", "pip install 'faceage[ray]'") from error
        self._address = address
        self._workers = workers

    def __call__(
        self,
        task: Task,
        todo: Sequence[FoundPhoto],
        parts: Mapping[str, int],
        record: Callable[["Done"], Any],
        progress: Callable[[int, int], Any],
    ) -> None:
        import ray

        try:
            ray.init(address=self._address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise UsageError(f"no Ray cluster at {self._address}: {error}", "start one: ray start --head") from error
        found = ray.cluster_resources()
        gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 1))
        workers = self._workers or gpus or max(1, cpus // 2)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        chunks = [todo[start : start + _PHOTOS_A_TASK] for start in range(0, len(todo), _PHOTOS_A_TASK)]
        workers = min(workers, len(chunks))
        data = ray.data.from_items([{"photos": list(chunk)} for chunk in chunks], override_num_blocks=len(chunks))
        answers = data.map_batches(
            _RayWorker,
            batch_size=1,
            concurrency=workers,
            num_cpus=0 if gpus else max(1, cpus // workers),
            num_gpus=gpus / workers if gpus else None,
            fn_constructor_args=(task,),
        )
        for row in answers.iter_rows():
            for done in row["done"]:
                record(done)
                for outcome in done.outcomes:
                    progress(1, outcome.faces)


class _RayWorker:
    """A worker of a cluster: it writes parts of its own."""

    def __init__(self, task: Task) -> None:
        from faceage.batch.worker import Worker

        self._worker = Worker(task, uuid4().hex[:12], {})

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"done": [list(self._worker.run(list(photos))) for photos in batch["photos"]]}
