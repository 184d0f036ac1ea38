"""A prepared HDF5 file as batches for `fit()`."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.prepare import FORMAT, SPLITS, VERSION
from faceage.errors import DataError


@dataclass(frozen=True)
class FaceSet:
    """One split in memory: faces (n, 64, 64, 3) uint8, ages in years and classes (n,) int, and where they came from."""

    faces: np.ndarray
    ages: np.ndarray
    classes: np.ndarray
    sources: tuple[str, ...]
    genders: tuple[str, ...]
    landmarks: np.ndarray
    root: Path
    identities: tuple[str, ...] = ()

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
            self.landmarks[chosen],
            self.root,
        )


def load_faces(path: Path, split: str | None = None) -> FaceSet:
    """Read one of `SPLITS`, or everything.

    Raises DataError for an empty split, and for a file that `faceage data prepare` did not write.
    """
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise DataError(f"{path} is no prepared data set of this version", "write one: faceage data prepare")
            chosen = np.arange(len(file["split"]))
            if split is not None:
                chosen = chosen[file["split"][:] == SPLITS.index(split)]
                if len(chosen) == 0:
                    raise DataError(f"the {split} split of {path} holds no faces", "prepare a larger data set")
            return FaceSet(
                faces=file["faces"][:][chosen],
                ages=file["age"][:][chosen].astype(int),
                classes=file["age_class"][:][chosen].astype(int),
                sources=tuple(file["source"].asstr()[:][chosen]),
                genders=tuple(file["gender"].asstr()[:][chosen]),
                landmarks=file["landmarks"][:][chosen],
                root=Path(file.attrs["root"]),
            )
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a prepared data set: {error}") from error


def data_fingerprint(path: Path) -> str:
    """One SHA-256 for which photos a prepared file holds, and their ages. Raises DataError for another file."""
    digest = hashlib.sha256()
    try:
        with h5py.File(path) as file:
            for source, age in zip(file["source"].asstr()[:], file["age"][:], strict=True):
                digest.update(f"{source}\n{age}\n".encode())
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a prepared data set: {error}") from error
    return digest.hexdigest()


def sampling_weights(classes: np.ndarray) -> np.ndarray:
    """Probability of each face (n,), in proportion to 1/√(size of its class).

    Halfway between the data as it is, where the old are rare, and equal classes, where their few faces are learnt by
    heart.
    """
    counts = np.bincount(classes, minlength=len(AGE_CLASSES))
    weights = 1 / np.sqrt(counts[classes])
    return weights / weights.sum()


class FaceBatches(keras.utils.PyDataset):
    """Random batches (faces uint8 (b, 64, 64, 3), targets) of one epoch for `fit()`, from `first_step` on.

    A batch depends on `seed`, `epoch` and its number alone, so that a resumed run sees what the unbroken one would
    have. `targets` (n, …) default to one-hot ages; `balanced` draws by `sampling_weights`.
    """

    def __init__(
        self,
        faces: FaceSet,
        batch_size: int,
        steps: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        first_step: int = 0,
        balanced: bool = True,
        targets: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self._faces = faces.faces
        self._targets = one_hot(faces.classes) if targets is None else targets
        self._cumulative = np.cumsum(
            sampling_weights(faces.classes) if balanced else np.full(len(faces), 1 / len(faces))
        )
        self._batch_size = batch_size
        self._steps = range(first_step, steps)
        self._place = (seed, epoch)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng((*self._place, self._steps[index]))
        draw = random.random(self._batch_size) * self._cumulative[-1]
        chosen = np.searchsorted(self._cumulative, draw, side="right").clip(max=len(self._faces) - 1)
        return self._faces[chosen], self._targets[chosen]


class PeopleBatches(keras.utils.PyDataset):
    """Random batches (faces uint8 (b, 64, 64, 3), people's numbers (b,) int32) of one epoch, `PER_PERSON` of each.

    `people` holds the indices of each person's faces. A batch depends on `seed`, `epoch` and its number alone.
    """

    PER_PERSON = 4

    def __init__(
        self,
        faces: FaceSet,
        people: list[np.ndarray],
        batch_size: int,
        steps: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        first_step: int = 0,
    ) -> None:
        super().__init__()
        self._faces = faces.faces
        self._people = people
        self._batch_size = batch_size
        self._steps = range(first_step, steps)
        self._place = (seed, epoch)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng((*self._place, self._steps[index]))
        count = math.ceil(self._batch_size / self.PER_PERSON)
        # Nobody twice while there are others: the same person under one number is no stranger.
        drawn = random.choice(len(self._people), count, replace=count > len(self._people))
        people = np.repeat(drawn, self.PER_PERSON)[: self._batch_size].astype(np.int32)
        chosen = np.concatenate([_some_of(self._people[person], self.PER_PERSON, random) for person in drawn])
        return self._faces[chosen[: self._batch_size]], people


def _some_of(indices: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    return random.choice(indices, count, replace=count > len(indices))
