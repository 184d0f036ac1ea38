"""A prepared HDF5 file as batches for `fit()`."""

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


def sampling_weights(classes: np.ndarray) -> np.ndarray:
    """Probability of each face (n,), in proportion to 1/√(size of its class).

    Halfway between the data as it is, where the old are rare, and equal classes, where their few faces are learnt by
    heart.
    """
    counts = np.bincount(classes, minlength=len(AGE_CLASSES))
    weights = 1 / np.sqrt(counts[classes])
    return weights / weights.sum()


class FaceBatches(keras.utils.PyDataset):
    """Random batches (faces uint8 (b, 64, 64, 3), targets) for `fit()`.

    Batch i of epoch e depends on `seed`, e and i alone, so that a resumed run sees what the unbroken one would have.
    `targets` (n, …) default to one-hot ages; `balanced` draws by `sampling_weights`.
    """

    def __init__(
        self,
        faces: FaceSet,
        batch_size: int,
        steps: int,
        *,
        seed: int = 0,
        balanced: bool = True,
        targets: np.ndarray | None = None,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._faces = faces.faces
        self._targets = one_hot(faces.classes) if targets is None else targets
        self._cumulative = np.cumsum(
            sampling_weights(faces.classes) if balanced else np.full(len(faces), 1 / len(faces))
        )
        self._batch_size = batch_size
        self._steps = steps
        self._seed = seed
        self._epoch = first_epoch

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng((self._seed, self._epoch, index))
        draw = random.random(self._batch_size) * self._cumulative[-1]
        chosen = np.searchsorted(self._cumulative, draw, side="right").clip(max=len(self._faces) - 1)
        return self._faces[chosen], self._targets[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
