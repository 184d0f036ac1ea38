"""Recognisers that had no part in the training: who they take for one person is what the identity figures say."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from faceage.errors import MissingExtraError, UsageError
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE, Dlib
from faceage.faces.align import TEMPLATE, similarity
from faceage.faces.detect import Detector
from faceage.images import FACE_SIZE

_MARGIN, _ENLARGED = 16, 2
"""A face cut as tightly as ours is found by few detectors: it is given a border, and enlarged."""
_FACES_AT_ONCE = 256


class Judge(Protocol):
    """`embed` gives (n, d) float32 rows for (n, 64, 64, 3) uint8 faces, NaN for a face that the judge cannot find.

    Two faces are one person where their rows are nearer than `threshold` (Euclidean); None: it has to be calibrated.
    """

    name: str
    threshold: float | None

    def embed(self, faces: np.ndarray) -> np.ndarray: ...


def open_judge(choice: str) -> Judge:
    """ "dlib", or the path of an `ArcFaceJudge`'s network. Raises UsageError; MissingExtraError without its package."""
    if choice == "dlib":
        return DlibJudge()
    if choice.endswith((".onnx", ".param")):
        return ArcFaceJudge(Path(choice))
    raise UsageError(f"there is no judge {choice!r}", "a judge is 'dlib' or the path of a FILE.onnx or FILE.param")


def with_border(faces: np.ndarray) -> list[np.ndarray]:
    """(n, 64, 64, 3) faces as photos that a detector can find them in: edges repeated, then enlarged."""
    side = (FACE_SIZE + 2 * _MARGIN) * _ENLARGED
    padded = np.pad(faces, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
    return [np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC)) for face in padded]


class DlibJudge:
    """dlib's recogniser (King 2017) behind its own detector, at its published threshold.

    The compact recogniser is its student: to a model that was refined through that one, this judge is a relative.
    """

    name = "dlib"
    threshold: float | None = SAME_PERSON_DISTANCE

    def __init__(self) -> None:
        self._dlib = Dlib()

    def embed(self, faces: np.ndarray) -> np.ndarray:
        found = np.full((len(faces), 128), np.nan, np.float32)
        for i, photo in enumerate(with_border(faces)):
            if (chip := self._dlib.find(photo)) is not None:
                found[i] = self._dlib.embed([chip])[0]
        return found


ARCFACE_SIDE = 112
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace's aligned faces (Deng et al. 2019) have eyes, nose and corners of the mouth, in pixels of 112×112."""
_FROM_ARCFACE = np.linalg.inv(np.vstack([similarity(TEMPLATE, ARCFACE_TEMPLATE), [0, 0, 1]]))[:2].ravel().tolist()


class ArcFaceJudge:
    """Any recogniser of ArcFace's kind: (3, 112, 112) float32 in -1..1, RGB → (d,). MTCNN has to find the face."""

    threshold: float | None = None

    def __init__(self, path: Path) -> None:
        """A network in ONNX, or ncnn's FILE.param with FILE.bin beside it. Raises UsageError for any other file."""
        self.name = path.name
        self._run = _ncnn(path) if path.suffix == ".param" else _onnx(path)
        self._detector = Detector()

    def embed(self, faces: np.ndarray) -> np.ndarray:
        rows: list[np.ndarray | None] = []
        for start in range(0, len(faces), _FACES_AT_ONCE):
            batch = faces[start : start + _FACES_AT_ONCE]
            for face, found in zip(batch, self._detector.detect(with_border(batch)), strict=True):
                rows.append(self._embed(face) if found else None)
        size = next((len(row) for row in rows if row is not None), 1)
        return np.stack([np.full(size, np.nan, np.float32) if row is None else row for row in rows])

    def _embed(self, face: np.ndarray) -> np.ndarray:
        # An aligned face's landmarks are known, and more exactly than they could be found in 64 pixels.
        size = (ARCFACE_SIDE, ARCFACE_SIDE)
        chip = Image.fromarray(face).transform(size, Image.Transform.AFFINE, _FROM_ARCFACE, Image.Resampling.BICUBIC)
        row = self._run(np.asarray(chip))
        return (row / np.linalg.norm(row)).astype(np.float32)


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("a judge in ONNX needs onnxruntime", "pip install 'faceage[judge]'") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
    except Exception as error:
        # onnxruntime reports a missing, damaged or foreign file by exceptions of its own.
        raise UsageError(f"{path} cannot be read as an ONNX recogniser: {error}") from error
    if list(taken.shape[1:]) != [3, ARCFACE_SIDE, ARCFACE_SIDE]:
        raise UsageError(f"{path} takes {taken.shape}, not faces (b, 3, {ARCFACE_SIDE}, {ARCFACE_SIDE})")

    def run(chip: np.ndarray) -> np.ndarray:
        face = (np.asarray(chip, np.float32) / 127.5 - 1).transpose(2, 0, 1)
        return session.run(None, {taken.name: face[None]})[0][0]

    return run


def _ncnn(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    try:
        import ncnn
    except ImportError as error:
        raise MissingExtraError("a judge of ncnn's needs ncnn", "pip install 'faceage[judge]'") from error
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        # ncnn itself prints to stderr and answers -1.
        if not file.is_file():
            raise UsageError(f"{file} cannot be read as a part of an ncnn recogniser: there is no such file")
    network = ncnn.Net()
    if network.load_param(str(path)) or network.load_model(str(weights)):
        raise UsageError(f"{path} and {weights.name} cannot be read as an ncnn recogniser")
    (taken,), (given,) = network.input_names(), network.output_names()

    def run(chip: np.ndarray) -> np.ndarray:
        side = ARCFACE_SIDE
        face = ncnn.Mat.from_pixels(np.ascontiguousarray(chip), ncnn.Mat.PixelType.PIXEL_RGB, side, side)
        face.substract_mean_normalize([127.5] * 3, [1 / 127.5] * 3)
        extractor = network.create_extractor()
        extractor.input(taken, face)
        return np.array(extractor.extract(given)[1], np.float32)

    return run


def strangers_distances(embeddings: np.ndarray, identities: Sequence[str]) -> np.ndarray:
    """Distances of all pairs of different people that the judge finds; an unknown identity is nobody else's."""
    known = ~np.isnan(embeddings[:, 0])
    rows, names = embeddings[known], np.asarray(identities, dtype=object)[known]
    first, second = np.triu_indices(len(rows), 1)
    different = (names[first] != names[second]) | (names[first] == "")
    gram = rows @ rows.T
    squares = np.diag(gram)
    squared = squares[first] + squares[second] - 2 * gram[first, second]
    return np.sqrt(squared[different].clip(0))
