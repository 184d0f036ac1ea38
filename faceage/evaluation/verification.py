"""Does a recogniser tell same from different people? Distances over all pairs, a threshold, and the score at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from scipy.spatial.distance import pdist

from faceage.errors import DataError, PhotoError
from faceage.faces.align import align, face_transform
from faceage.faces.detect import Detector, most_central
from faceage.networks.predict import predict
from faceage.photos.decode import decode, read_photo
from faceage.photos.find import find_photos


@dataclass(frozen=True)
class Verification:
    """Scores of one threshold over all pairs: `same` and `different` are the shares judged rightly of each kind."""

    threshold: float
    balanced_accuracy: float
    same: float
    different: float
    same_pairs: int
    different_pairs: int


def embed(recognizer: keras.Model, faces: np.ndarray) -> np.ndarray:
    """Unit embeddings (n, d) of (n, 64, 64, 3) uint8 faces, each the mean of the face's and its mirror image's.

    The usual way to measure a recogniser on LFW: whatever one side of a face happens to show counts half.
    """
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    return unit_rows(predict(recognizer, faces) + predict(recognizer, mirrored))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(n, d) rows scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pair_distances(embeddings: np.ndarray) -> np.ndarray:
    """Euclidean distances of all pairs of (n, d) rows, in the order of `numpy.triu_indices(n, 1)`."""
    return pdist(embeddings)


def same_pairs(people: Sequence[str] | np.ndarray) -> np.ndarray:
    """For all pairs, in the same order, whether both are one person."""
    names = np.asarray(people)
    rows, columns = np.triu_indices(len(names), 1)
    return names[rows] == names[columns]


def verify(distances: np.ndarray, same: np.ndarray, threshold: float) -> Verification:
    """Judge pairs nearer than `threshold` as one person, against the truth `same`."""
    hit = distances < threshold
    found, rejected = float(hit[same].mean()), float((~hit[~same]).mean())
    return Verification(
        threshold=round(threshold, 4),
        balanced_accuracy=round((found + rejected) / 2, 4),
        same=round(found, 4),
        different=round(rejected, 4),
        same_pairs=int(same.sum()),
        different_pairs=int((~same).sum()),
    )


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The threshold at which `verify` of these pairs has its highest balanced accuracy."""
    order = np.argsort(distances, kind="stable")
    ordered, truth = distances[order].astype(float), same[order]
    # Accepting the nearest k pairs, for every k from none to all; a threshold cannot part pairs at one distance.
    found = np.concatenate([[0], np.cumsum(truth)]) / truth.sum()
    wrong = np.concatenate([[0], np.cumsum(~truth)]) / (~truth).sum()
    apart = np.concatenate([[True], np.diff(ordered) > 0, [True]])
    accepted = int(np.argmax(np.where(apart, found - wrong, -1)))
    edges = np.concatenate([[ordered[0] - 1e-3], ordered, [ordered[-1] + 1e-3]])
    return float(edges[accepted : accepted + 2].mean())


def load_people(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Aligned faces (n, 64, 64, 3) uint8 and names of a folder with one subfolder of photos per person, as LFW's.

    Of several faces the most central one is the person, by the set's layout. Raises DataError unless there are two
    people, and one of them twice.
    """
    photos, names = [], []
    for found in find_photos([folder]):
        try:
            photos.append(decode(read_photo(found.path)))
        except PhotoError:
            continue
        names.append(found.relative.parts[0])
    faces, people = [], []
    for photo, name, detections in zip(photos, names, Detector().detect(photos), strict=True):
        if detections:
            faces.append(align(photo, face_transform(most_central(detections, photo).landmarks)))
            people.append(name)
    if not 1 < len(set(people)) < len(people):
        raise DataError(f"{folder} does not hold photos of several people", "one subfolder per person, as in LFW")
    return np.stack(faces), people
