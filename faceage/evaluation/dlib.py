"""dlib's recogniser (King 2017; 99.4% on LFW): a judge, and the teacher of the compact one; needs `[judge]`."""

import numpy as np

from faceage.errors import import_extra
from faceage.evaluation.published import package_folder

SAME_PERSON_DISTANCE = 0.6
"""Published Euclidean distance under which two of the raw (unnormalised) embeddings are one person."""

_CHIP_SIDE, _CHIP_PADDING = 150, 0.25


class Dlib:
    """The 128-d ResNet of dlib with its own five-point alignment; runs on one CPU core."""

    def __init__(self) -> None:
        # Imported, the package asks setuptools for a module that later versions lack.
        models = package_folder("face_recognition_models", "pip install 'faceage[judge]'") / "models"
        self._dlib = dlib = import_extra("dlib", "judge", "dlib's recogniser needs dlib")
        self._detector = dlib.get_frontal_face_detector()
        self._shape = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def chip(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """dlib's aligned face (150, 150, 3) uint8 of the face with MTCNN's (5, 2) `landmarks` in `photo`."""
        centre = landmarks.mean(0)
        # dlib's own detector would frame this face in a square of about 2.2 eye distances.
        half = 1.1 * max(float(np.hypot(*(landmarks[1] - landmarks[0]))), float(landmarks[3:, 1].mean() - centre[1]))
        left, top, right, bottom = (round(float(v)) for v in (*(centre - half), *(centre + half)))
        shape = self._shape(photo, self._dlib.rectangle(left, top, right, bottom))
        return self._dlib.get_face_chip(photo, shape, size=_CHIP_SIDE, padding=_CHIP_PADDING)

    def find(self, photo: np.ndarray) -> np.ndarray | None:
        """dlib's aligned face of the largest face that its own detector finds in (h, w, 3) uint8 `photo`, if any."""
        found = self._detector(photo, 0)
        if not found:
            return None
        largest = max(found, key=lambda box: box.area())
        return self._dlib.get_face_chip(photo, self._shape(photo, largest), size=_CHIP_SIDE, padding=_CHIP_PADDING)

    def embed(self, chips: list[np.ndarray]) -> np.ndarray:
        """Raw embeddings (n, 128) float32 of dlib's aligned faces; compare by Euclidean distance."""
        return np.array(self._network.compute_face_descriptor(chips), np.float32).reshape(-1, 128)
