"""A prepared HDF5 file as batches for `fit()`."""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from faceage.ages import AGE_CLASSES, age_weights, one_hot
from faceage.errors import DataError
from faceage.faces.masks import head_masks
from faceage.genders import one_hot_genders
from faceage.images import decode_portrait
from faceage.store.dataset import SPLITS, opened, read

_ROWS_AT_ONCE = 4096

MAX_OVERSAMPLED = 4.0
"""Largest sampling weight of a face whose gender is rare at its age, relative to sampling by chance."""


@dataclass(frozen=True)
class Portraits:
    """The aligned faces of some rows of a prepared file at `PORTRAIT_SIZE`, read and decoded on access."""

    path: Path = Path()
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    def take(self, chosen: np.ndarray) -> "Portraits":
        """The portraits at the indices `chosen`."""
        return Portraits(self.path, self.rows[chosen] if len(self.rows) else self.rows)

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        """(n, 160, 160, 3) uint8, those at n indices in any order. Raises DataError where they cannot be read."""
        # h5py takes rows in ascending order, each once.
        rows, places = np.unique(self.rows[chosen], return_inverse=True)
        with opened(self.path) as file:
            return np.stack([decode_portrait(content.tobytes()) for content in file["portrait"][rows]])[places]


@dataclass(frozen=True)
class FaceSet:
    """The faces of one split, in the order of a hash, so that the first n are a fair sample."""

    faces: np.ndarray
    """(n, 64, 64, 3) uint8."""
    ages: np.ndarray
    """Years, (n,) int."""
    classes: np.ndarray
    """Age classes, (n,) int."""
    sources: tuple[str, ...]
    """Paths of the photos, relative to `root`."""
    genders: tuple[str, ...]
    """One of `GENDERS`, or "" where unknown."""
    identities: tuple[str, ...]
    """The same text for all faces of one person, "" where unknown."""
    landmarks: np.ndarray
    """Pixels of the photo, (n, 5, 2) float32."""
    root: Path
    portraits: Portraits = Portraits()
    """The same faces at `PORTRAIT_SIZE`, read on access."""

    def __len__(self) -> int:
        return len(self.faces)

    def take(self, chosen: np.ndarray) -> "FaceSet":
        """The faces at the indices `chosen`."""
        return FaceSet(
            self.faces[chosen],
            self.ages[chosen],
            self.classes[chosen],
            tuple(self.sources[i] for i in chosen),
            tuple(self.genders[i] for i in chosen),
            tuple(self.identities[i] for i in chosen),
            self.landmarks[chosen],
            self.root,
            self.portraits.take(chosen),
        )

    def first(self, count: int) -> "FaceSet":
        """The first `count` faces, or all where there are fewer."""
        return self.take(np.arange(min(count, len(self))))

    def each_class(self, count: int) -> np.ndarray:
        """Indices (n,) of the first `count` faces of each age class, or all where there are fewer, class by class."""
        return np.concatenate([np.flatnonzero(self.classes == index)[:count] for index in range(len(AGE_CLASSES))])

    def of_each_class(self, count: int) -> "FaceSet":
        """The faces of `each_class`."""
        return self.take(self.each_class(count))

    def sample(self, count: int, seed: int) -> "FaceSet":
        """`count` faces drawn by `seed`, in their order, or all where there are fewer."""
        drawn = np.random.default_rng(seed).permutation(len(self))[:count]
        return self.take(np.sort(drawn))


def load_faces(path: Path, split: str | None = None) -> FaceSet:
    """Read one of `SPLITS`, or everything.

    Raises DataError for an empty split, and for a file that `faceage data prepare` did not write.
    """
    with opened(path) as file:
        chosen = np.arange(len(file["split"]))
        if split is not None:
            chosen = np.flatnonzero(file["split"][:] == SPLITS.index(split))
            if len(chosen) == 0:
                raise DataError(f"the {split} split of {path} holds no faces", "prepare a larger data set")

        def texts(name: str) -> tuple[str, ...]:
            return tuple(file[name].asstr()[:][chosen])

        return FaceSet(
            faces=_rows(file["faces"], chosen),
            ages=file["age"][:][chosen].astype(int),
            classes=file["age_class"][:][chosen].astype(int),
            sources=texts("source"),
            genders=texts("gender"),
            identities=texts("identity"),
            landmarks=_rows(file["landmarks"], chosen),
            root=Path(file.attrs["root"]),
            portraits=Portraits(path, chosen),
        )


def _rows(dataset: h5py.Dataset, chosen: np.ndarray) -> np.ndarray:
    """The rows `chosen`, ascending (n,) int, read slice by slice to need little more memory than they take."""
    rows = np.empty((len(chosen), *dataset.shape[1:]), dataset.dtype)
    for start in range(0, len(dataset), _ROWS_AT_ONCE):
        first, last = np.searchsorted(chosen, (start, start + _ROWS_AT_ONCE))
        if first < last:
            rows[first:last] = dataset[start : start + _ROWS_AT_ONCE][chosen[first:last] - start]
    return rows


def data_fingerprint(path: Path) -> str:
    """SHA-256 of the sources, labels and splits in a prepared file. Raises DataError for another file."""
    digest = hashlib.sha256()
    columns = read(path, "source", "age", "gender", "identity", "split").values()
    for row in zip(*(column.tolist() for column in columns), strict=True):
        # HDF5's texts hold no NUL.
        digest.update("\0".join([*map(str, row), ""]).encode())
    return digest.hexdigest()


def one_hot_people(faces: FaceSet) -> np.ndarray:
    """(n, 8) float32: one-hot age class, then one-hot gender, zeros where unknown."""
    return np.concatenate([one_hot(faces.classes), one_hot_genders(faces.genders)], axis=1)


def dated_people(faces: FaceSet) -> np.ndarray:
    """(n, 8) float32: the weights of the age in years (`age_weights`), then one-hot gender, zeros where unknown."""
    return np.concatenate([age_weights(faces.ages), one_hot_genders(faces.genders)], axis=1)


def sampling_weights(faces: FaceSet, balanced: bool = True) -> np.ndarray:
    """Sampling probability (n,) of each face: within a class, women as often as men, where genders are known.

    Most public photos of people of 40 to 59 show men, and a network trained on them takes a man's face for a sign of
    age. `balanced` also weighs each face by 1/√(size of its class): halfway between the data as they are, where the old
    are rare, and equal classes, where their few faces are memorised.
    """
    genders = np.asarray(faces.genders, dtype=object)
    weights = np.ones(len(faces))
    for index in np.unique(faces.classes):
        members = faces.classes == index
        known = [members & (genders == gender) for gender in sorted(set(genders[members]) - {""})]
        for group in known:
            weights[group] = min(np.sum(known) / len(known) / group.sum(), MAX_OVERSAMPLED)
        weights[members] *= (np.sqrt(members.sum()) if balanced else members.sum()) / weights[members].sum()
    return weights / weights.sum()


class EpochBatches(keras.utils.PyDataset):
    """Random batches of one epoch for `fit()`, from `first_step` on.

    A batch depends on `seed`, `epoch` and its number only, so that a resumed run sees the batches of an unbroken one.
    """

    def __init__(
        self, faces: FaceSet, batch_size: int, steps: int, seed: int = 0, epoch: int = 0, first_step: int = 0
    ) -> None:
        super().__init__()
        self._faces = faces
        self._batch_size = batch_size
        self._steps = range(first_step, steps)
        self._place = (seed, epoch)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        return self._batch(np.random.default_rng((*self._place, self._steps[index])))

    def _batch(self, random: np.random.Generator) -> tuple[Any, np.ndarray]:
        """A random batch."""
        raise NotImplementedError


class FaceBatches(EpochBatches):
    """Batches (faces uint8 (b, 64, 64, 3), targets), sampled by `sampling_weights`.

    `targets` (n, …) are those of all faces, one-hot ages by default.
    """

    def __init__(
        self,
        faces: FaceSet,
        batch_size: int,
        steps: int,
        *,
        balanced: bool = True,
        targets: np.ndarray | None = None,
        **place: int,
    ) -> None:
        super().__init__(faces, batch_size, steps, **place)
        self._targets = one_hot(faces.classes) if targets is None else targets
        self._cumulative = np.cumsum(sampling_weights(faces, balanced))

    def _batch(self, random: np.random.Generator) -> tuple[Any, np.ndarray]:
        draw = random.random(self._batch_size) * self._cumulative[-1]
        rows = np.searchsorted(self._cumulative, draw, side="right").clip(max=len(self._faces) - 1)
        return self._inputs(rows), self._targets[rows]

    def _inputs(self, rows: np.ndarray) -> Any:
        return self._faces.faces[rows]


class PortraitBatches(FaceBatches):
    """Batches ((faces uint8 (b, 64, 64, 3), portraits of them uint8 (b, 160, 160, 3), `head_masks`), targets)."""

    def _inputs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._faces.faces[rows], self._faces.portraits[rows], head_masks(self._faces.landmarks[rows])


class PeopleBatches(EpochBatches):
    """Batches (faces uint8 (b, 64, 64, 3), people's numbers (b,) int32), `PER_PERSON` of each.

    `people` holds the indices of each person's faces.
    """

    PER_PERSON = 4

    def __init__(self, faces: FaceSet, people: list[np.ndarray], batch_size: int, steps: int, **place: int) -> None:
        super().__init__(faces, batch_size, steps, **place)
        self._people = people

    def _batch(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        count = math.ceil(self._batch_size / self.PER_PERSON)
        # Nobody twice before everybody once: a batch needs strangers.
        rounds = math.ceil(count / len(self._people))
        sample = np.concatenate([random.permutation(len(self._people)) for _ in range(rounds)])[:count]
        people = np.repeat(sample, self.PER_PERSON)[: self._batch_size].astype(np.int32)
        rows = np.concatenate([_some_of(self._people[person], self.PER_PERSON, random) for person in sample])
        return self._faces.faces[rows[: self._batch_size]], people


def _some_of(indices: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    return random.choice(indices, count, replace=count > len(indices))
