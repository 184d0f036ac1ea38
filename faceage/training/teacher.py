"""dlib's recogniser (King 2017; 99.4% on LFW), which the compact one is distilled from. Needs the extra `[judge]`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceage.data.dataset import FaceSet
from faceage.errors import MissingExtraError
from faceage.photos.decode import decode, read_photo

SAME_PERSON_DISTANCE = 0.6
"""Published Euclidean distance under which two of the raw (unnormalised) embeddings are one person."""

_CHIP_SIDE, _CHIP_PADDING = 150, 0.25


class Dlib:
    """The 128-d ResNet of dlib with its own five-point alignment; runs on one CPU core."""

    def __init__(self) -> None:
        try:
            import dlib
            import face_recognition_models as models
        except ImportError as error:
            raise MissingExtraError(
                f"distilling from dlib needs a package that is missing ({error.name})", "pip install 'faceage[judge]'"
            ) from error
        self._dlib = dlib
        self._shape = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._network = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def chip(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """dlib's aligned face (150, 150, 3) uint8 of the face with MTCNN's (5, 2) `landmarks` in `photo`."""
        centre = landmarks.mean(0)
        # dlib's own detector would frame this face in a square of about 2.2 eye distances.
        half = 1.1 * max(float(np.hypot(*(landmarks[1] - landmarks[0]))), float(landmarks[3:, 1].mean() - centre[1]))
        left, top, right, bottom = (round(float(v)) for v in (*(centre - half), *(centre + half)))
        shape = self._shape(photo, self._dlib.rectangle(left, top, right, bottom))
        return self._dlib.get_face_chip(photo, shape, size=_CHIP_SIDE, padding=_CHIP_PADDING)

    def embed(self, chips: list[np.ndarray]) -> np.ndarray:
        """Raw embeddings (n, 128) float32 of dlib's aligned faces; compare by Euclidean distance."""
        return np.array(self._network.compute_face_descriptor(chips), np.float32).reshape(-1, 128)


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
