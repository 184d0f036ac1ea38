"""Where the work of a batch is done: in this process, or on the workers of a Ray cluster."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from faceage.batch.photo import Photo
from faceage.batch.plan import Task
from faceage.errors import UsageError, import_extra

if TYPE_CHECKING:
    from faceage.batch.worker import Done

_PHOTOS_A_TASK = 128
"""Photos that a worker of a cluster is given at a time: a few full batches, and what is done again if it dies."""


class Engine(Protocol):
    """Does both jobs of a task; `record` is given what is on disk and has to be entered.

    `to_draw` is an iterator that reads: it is used once.
    """

    def __call__(
        self,
        task: Task,
        to_find: Sequence[Photo],
        to_draw: Iterable[Photo],
        record: Callable[["Done"], Any],
    ) -> None: ...


def local_engine(
    task: Task,
    to_find: Sequence[Photo],
    to_draw: Iterable[Photo],
    record: Callable[["Done"], Any],
) -> None:
    """Everything in this process."""
    # Keras takes seconds to import; a run that is refused, or has nothing left to do, must not wait for it.
    from faceage.batch.worker import Worker

    worker = Worker(task, "0")
    try:
        for done in worker.draw(to_draw):
            record(done)
        if to_find:
            for done in worker.find(to_find):
                record(done)
    finally:
        # Also on Ctrl-C: what is finished is recorded, what is not will be done by the next run.
        for done in worker.rest():
            record(done)
        worker.close()


class RayEngine:
    """Workers on a Ray cluster, which share this machine's file system and have faceage installed.

    Ray starts a worker that dies anew, and does again what it was at; only what is on disk counts.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """`address` names the cluster, or None starts one here; `workers` None is one per GPU, or per two CPUs."""
        import_extra("ray", "ray", "--engine ray needs Ray")
        self._address = address
        self._workers = workers

    def __call__(
        self,
        task: Task,
        to_find: Sequence[Photo],
        to_draw: Iterable[Photo],
        record: Callable[["Done"], Any],
    ) -> None:
        # Drawing again takes this machine little time, and its rows are read here.
        local_engine(task, [], to_draw, record)
        if to_find:
            with tempfile.TemporaryDirectory() as nowhere:
                self._start(nowhere)
                # Workers do not stand where this process does.
                task = replace(task, out=task.out.absolute(), weights=task.weights.absolute())
                files = [replace(photo.file, path=photo.file.path.absolute()) for photo in to_find]
                photos = [replace(photo, file=file) for photo, file in zip(to_find, files, strict=True)]
                self._find(task, photos, record)

    def _start(self, nowhere: str) -> None:
        """Connect to the cluster. Workers stand in a copy of the empty folder `nowhere`."""
        import ray

        try:
            ray.init(
                address=self._address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level="error",
                # Otherwise Ray puts the current folder on the workers' path, and what lies in it is code.
                runtime_env={"working_dir": nowhere},
            )
        except ConnectionError as error:
            raise UsageError(f"no Ray cluster at {self._address}: {error}", "start one: ray start --head") from error

    def _find(self, task: Task, to_find: Sequence[Photo], record: Callable[["Done"], Any]) -> None:
        import ray

        found = ray.cluster_resources()
        gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 1))
        workers = self._workers or gpus or max(1, cpus // 2)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        chunks = [to_find[start : start + _PHOTOS_A_TASK] for start in range(0, len(to_find), _PHOTOS_A_TASK)]
        workers = min(workers, len(chunks))
        # What no node has by itself would be waited for without end.
        largest = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
        data = ray.data.from_items([{"photos": list(chunk)} for chunk in chunks], override_num_blocks=len(chunks))
        answers = data.map_batches(
            _RayWorker,
            batch_size=1,
            concurrency=workers,
            num_cpus=0 if gpus else max(1, min(largest, cpus // workers)),
            num_gpus=min(1, gpus / workers) if gpus else None,
            fn_constructor_args=(task,),
        )
        for row in answers.iter_rows():
            for done in row["done"]:
                record(done)


class _RayWorker:
    """A worker of a cluster: it writes parts of its own."""

    def __init__(self, task: Task) -> None:
        from faceage.batch.worker import Worker

        self._worker = Worker(task, uuid4().hex[:12])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"done": [list(self._worker.find(list(photos))) for photos in batch["photos"]]}
