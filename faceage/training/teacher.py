"""dlib's recogniser as the teacher of the compact one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceage.data.dataset import FaceSet
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE, Dlib
from faceage.evaluation.verification import pair_distances
from faceage.photos.decode import decode, read_photo


def teacher_embeddings(
    faces: FaceSet, limit: int, cache: Path, progress: Callable[[int], Any] = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """dlib's embeddings of `limit` random `faces`, from the photos at full resolution.

    Answers the indices of the faces, (m,) int, and their raw embeddings, (m, 128) float32. A face takes 0.07 s of a
    core, so embeddings are kept in the .npy file `cache`, from which an interrupted run resumes. Raises PhotoError for
    a photo that cannot be read any more.
    """
    shape = (len(faces), 128)
    if cache.exists() and (kept := np.load(cache, mmap_mode="r+", allow_pickle=False)).shape == shape:
        result = kept
    else:
        result = np.lib.format.open_memmap(cache, "w+", np.float32, shape)
        result[:] = np.nan
    chosen = np.random.default_rng(0).permutation(len(faces))[:limit]
    missing = chosen[np.isnan(result[chosen, 0])]
    progress(len(chosen) - len(missing))
    teacher = Dlib()
    for i in missing:
        photo = decode(read_photo(Path(faces.root, faces.sources[i])))
        (embedding,) = teacher.embed([teacher.chip(photo, faces.landmarks[i])])
        result[i] = embedding
        progress(1)
    done = np.flatnonzero(~np.isnan(result[:, 0]))
    return done, np.array(result[done])


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
