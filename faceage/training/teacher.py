"""dlib's recogniser as the teacher that the compact one is distilled from."""

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
    """dlib's embeddings of `limit` of `faces` at random, each from its photo at the photo's own resolution.

    Answers which faces they are, (m,) int, and their raw embeddings, (m, 128) float32. One takes a core about 0.07 s,
    so they are kept in the .npy file `cache`, where an interrupted run goes on. Raises PhotoError where a photo
    has gone since the faces were prepared.
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
