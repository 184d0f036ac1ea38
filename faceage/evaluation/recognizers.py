"""Recognisers that had no part in the training, and judge identity."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from faceage.errors import DataError, MissingExtraError, UsageError, import_extra
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE, Dlib
from faceage.evaluation.published import open_session
from faceage.evaluation.verification import pair_distances, same_pairs
from faceage.faces.align import TEMPLATE, similarity
from faceage.sizes import FACE_SIZE

FALSE_MATCHES = 0.01
"""Share of pairs of different people that a judge without a threshold of its own lets through."""

_BORDER = 4
"""Detectors find few faces that are cut as tightly as ours: each gets a border of a fourth of its side."""
_DETECTION_SIDE = 128
"""Smaller faces are enlarged to this many pixels before detection."""


class Judge(Protocol):
    """`embed` gives (n, d) float32 rows for (n, s, s, 3) uint8 aligned faces, NaN for a face that it cannot find.

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
    """(n, s, s, 3) faces as photos that a detector can find them in: edges repeated, small ones enlarged."""
    margin = faces.shape[1] // _BORDER
    padded = np.pad(faces, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    side = padded.shape[1] * max(1, _DETECTION_SIDE // faces.shape[1])
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
_FROM_ARCFACE = np.linalg.inv(np.vstack([similarity(TEMPLATE, ARCFACE_TEMPLATE), [0, 0, 1]]))[:2]


class ArcFaceJudge:
    """Any recogniser of ArcFace's kind: (3, 112, 112) float32 in -1..1, RGB → (d,).

    It needs no detector: an aligned face's landmarks are known. So it finds every face.
    """

    threshold: float | None = None

    def __init__(self, path: Path) -> None:
        """A network in ONNX, or ncnn's FILE.param with FILE.bin beside it. Raises UsageError for any other file."""
        self.name = path.name
        self._run = _ncnn(path) if path.suffix == ".param" else _onnx(path)

    def embed(self, faces: np.ndarray) -> np.ndarray:
        rows = np.stack([self._run(_arcface_chip(face)) for face in faces])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _arcface_chip(face: np.ndarray) -> np.ndarray:
    """(s, s, 3) aligned face → (112, 112, 3), aligned as ArcFace has it."""
    size, inverse = (ARCFACE_SIDE, ARCFACE_SIDE), (_FROM_ARCFACE * len(face) / FACE_SIZE).ravel().tolist()
    return np.asarray(Image.fromarray(face).transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC))


def _onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    if not path.is_file():
        raise UsageError(f"{path} cannot be read as an ONNX recogniser: there is no such file")
    try:
        session = open_session(str(path))
        (taken,) = session.get_inputs()
    except MissingExtraError:
        raise
    except Exception as error:
        # onnxruntime reports a damaged or foreign file by exceptions of its own.
        raise UsageError(f"{path} cannot be read as an ONNX recogniser: {error}") from error
    if list(taken.shape[1:]) != [3, ARCFACE_SIDE, ARCFACE_SIDE]:
        raise UsageError(f"{path} takes {taken.shape}, not faces (b, 3, {ARCFACE_SIDE}, {ARCFACE_SIDE})")

    def run(chip: np.ndarray) -> np.ndarray:
        face = (np.asarray(chip, np.float32) / 127.5 - 1).transpose(2, 0, 1)
        return session.run(None, {taken.name: face[None]})[0][0]

    return run


def _ncnn(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    ncnn = import_extra("ncnn", "judge", "a judge of ncnn's needs ncnn")
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        # ncnn itself prints to stderr and answers -1.
        if not file.is_file():
            raise UsageError(f"{file} cannot be read as a part of an ncnn recogniser: there is no such file")
    network = ncnn.Net()
    # Its threads spin while they wait: on a busy machine several are a hundred times slower than one.
    network.opt.num_threads = 1
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
    # A name of their own for those without one: a tab is in no other.
    names = np.array([name or f"\t{i}" for i, name in enumerate(identities)])
    return pair_distances(embeddings[known])[~same_pairs(names[known])]


def calibrate(judge: Judge, embeddings: np.ndarray, identities: Sequence[str]) -> tuple[float, float]:
    """`judge`'s threshold for people of these `embeddings`, and the share of pairs of two people that it lets through.

    It is the judge's own, or else the one of `FALSE_MATCHES`. Raises DataError without two different people.
    """
    strangers = strangers_distances(embeddings, identities)
    if not len(strangers):
        raise DataError(f"the judge {judge.name} finds no two different people among {len(identities)} faces")
    threshold = float(np.quantile(strangers, FALSE_MATCHES)) if judge.threshold is None else judge.threshold
    return threshold, float((strangers < threshold).mean())
