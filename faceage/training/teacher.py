"""dlib's recogniser as the teacher of the compact one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from faceage.data.dataset import FaceSet
from faceage.errors import TrainingError
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE, Dlib
from faceage.evaluation.verification import pair_distances
from faceage.files import find_room
from faceage.photos.decode import decode, read_photo

_SIZE = 128
_ROW = 4 * _SIZE
"""Numbers and bytes of an embedding."""


def teacher_embeddings(
    faces: FaceSet, limit: int, cache: Path, progress: Callable[[int], Any] = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """dlib's embeddings of `limit` random `faces`, from the photos at full resolution.

    Answers the indices of the faces, (m,) int ascending, and their raw embeddings, (m, 128) float32. A face takes
    0.07 s of a core, so each embedding is added to the file `cache`, from which an interrupted run resumes. Raises
    PhotoError for a photo that cannot be read any more, TrainingError where the disk is full.
    """
    chosen = np.random.default_rng(0).permutation(len(faces))[:limit]
    done = _read(cache)[:limit]
    progress(len(done))
    teacher = Dlib()
    with _appending(cache, len(chosen) - len(done)) as file:
        for i in chosen[len(done) :]:
            photo = decode(read_photo(Path(faces.root, faces.sources[i])))
            (embedding,) = teacher.embed([teacher.chip(photo, faces.landmarks[i])])
            file.write(embedding.astype(np.float32).tobytes())
            # Each by itself; unlike a write without a buffer, it writes all of it or raises.
            file.flush()
            progress(1)
    order = np.argsort(chosen)
    return chosen[order], _read(cache)[:limit][order]


def _read(cache: Path) -> np.ndarray:
    """The embeddings (n, 128) float32 that are whole: a full disk or a kill leaves a part of the last one."""
    content = cache.read_bytes() if cache.exists() else b""
    return np.frombuffer(content[: len(content) // _ROW * _ROW], np.float32).reshape(-1, _SIZE)


@contextmanager
def _appending(cache: Path, rows: int) -> Iterator[IO[bytes]]:
    """The file to add `rows` embeddings to, after those that are whole.

    Written, not mapped into memory: where a disk has no room for a mapped page, the system kills the process.
    """
    try:
        with open(cache, "ab") as file:
            file.truncate(file.tell() // _ROW * _ROW)
            # Said now, and not after an hour of dlib.
            find_room(cache, rows * _ROW)
            yield file
    except OSError as error:
        raise TrainingError(
            f"{cache} cannot be written: {error.strerror or error}", "free some space, and the same command goes on"
        ) from error


def teachers_threshold(embeddings: np.ndarray, lessons: np.ndarray, genders: Sequence[str]) -> tuple[float, float]:
    """The distance at which a student is as strict as dlib at its published threshold, and how strict that is.

    From (n, 128) `embeddings` of the student and raw `lessons` of dlib for the same faces, nearly all of different
    people: dlib takes a share of the pairs of one gender for one person, and so does the student at the answer.
    """
    of = np.asarray(genders)
    groups = [of == gender for gender in sorted(set(genders) - {""})] or [np.ones(len(of), bool)]
    rate = float(np.mean(np.concatenate([pair_distances(lessons[group]) for group in groups]) < SAME_PERSON_DISTANCE))
    distances = np.concatenate([pair_distances(embeddings[group]) for group in groups])
    return float(np.quantile(distances, rate)), rate
