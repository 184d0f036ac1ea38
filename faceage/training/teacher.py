"""dlib's recogniser as the teacher of the compact one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceage.data.dataset import FaceSet
from faceage.evaluation.dlib import Dlib
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
