"""A stage of training as `run.train_stage` sees it: what it takes, what it makes, and how one says how it goes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, one_hot
from faceage.data.dataset import FaceBatches, FaceSet, data_fingerprint, load_faces
from faceage.images import FACE_SIZE
from faceage.training.stage import Stage, StageOptions

Progress = Callable[[str, int, int], Any]
"""Told (what is being done, how much of it is done, how much there is)."""


class Splits:
    """The splits of a prepared data set, each read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that `faceage data prepare` did not write."""
        self.path = path
        self.name = path.stem
        self.fingerprint = data_fingerprint(path)

    @cached_property
    def train(self) -> FaceSet:
        return load_faces(self.path, "train")

    @cached_property
    def validation(self) -> FaceSet:
        return load_faces(self.path, "validation")

    @cached_property
    def test(self) -> FaceSet:
        return load_faces(self.path, "test")


@dataclass
class Inputs:
    """What a job is given besides its options.

    `networks` are those it needs, frozen, and `scores` what their model folders say of them; `folder` is the stage's
    own, for what it keeps; `people` a folder of photos with a subfolder per person; `say` takes a line for the log.
    """

    data: Splits
    folder: Path
    networks: dict[str, keras.Model] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    people: Path | None = None
    progress: Progress = lambda what, done, total: None
    say: Callable[[str], Any] = lambda line: None


@dataclass(frozen=True)
class Baseline:
    """What a loss or score is without any learning: `meaning` says of what it is the value."""

    value: float
    meaning: str


class Job:
    """One stage of a training. Subclasses say what is between the lines of `run.train_stage`.

    `NEEDS` are the networks of earlier stages that it cannot do without, `USES` those that it takes where they are:
    both come frozen. A network that is among `MAKES` too is what the stage begins with instead of random weights.
    """

    NAME: ClassVar[str]
    MAKES: ClassVar[tuple[str, ...]]
    NEEDS: ClassVar[tuple[str, ...]] = ()
    USES: ClassVar[tuple[str, ...]] = ()
    OPTIONS: ClassVar[type[StageOptions]]

    def __init__(self, options: Any, inputs: Inputs) -> None:
        self.options = options
        self.inputs = inputs

    @property
    def steps_per_epoch(self) -> int:
        return self.options.steps(len(self.inputs.data.train))

    def best(self) -> tuple[str, bool] | None:
        """The score that tells which epoch is kept, and whether more of it is better; without one, the last is."""
        return None

    def begun_with(self, name: str) -> keras.Model | None:
        """Network `name` to train on from, where there is one."""
        if (network := self.inputs.networks.get(name)) is not None:
            network.trainable = True
        return network

    def prepare(self) -> None:
        """Whatever takes long and comes before the first step."""

    def preparation(self) -> tuple[Stage, int] | None:
        """What `prepare` trains, compiled, on batches as `example`, and its steps that are still to be done."""
        return None

    def stage(self) -> Stage:
        """The compiled stage, as it begins."""
        raise NotImplementedError

    def batches(self, epoch: int, first_step: int = 0) -> keras.utils.PyDataset:
        """The batches of one epoch, from `first_step` on."""
        return FaceBatches(self.inputs.data.train, **self.sizes(epoch, first_step))

    def sizes(self, epoch: int, first_step: int) -> dict[str, Any]:
        """What `EpochBatches` of that place are told besides the faces."""
        options = self.options
        place = {"seed": options.seed, "epoch": epoch, "first_step": first_step}
        return {"batch_size": options.batch_size, "steps": self.steps_per_epoch, **place}

    def example(self) -> tuple[np.ndarray, np.ndarray]:
        """A batch of noise in the shapes and dtypes of `batches`, to measure a step with."""
        random, size = np.random.default_rng(0), self.options.batch_size
        faces = random.integers(0, 256, (size, FACE_SIZE, FACE_SIZE, 3), np.uint8)
        return faces, one_hot(random.integers(0, len(AGE_CLASSES), size))

    def scores(self, stage: Any) -> dict[str, float]:
        """Measured after every epoch on faces that are not trained on."""
        return {}

    def pictures(self, stage: Any) -> dict[str, Image.Image]:
        """What it looks like after every epoch, by name."""
        return {}

    def baselines(self) -> dict[str, Baseline]:
        """What to compare the losses and scores of those names with."""
        return {}

    def results(self, stage: Any) -> dict[str, keras.Model]:
        """The networks named in `MAKES`."""
        raise NotImplementedError

    def provenance(self, stage: Any) -> dict[str, Any]:
        """What model.json is to say of them besides data, options and steps."""
        return {}

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        """Scores of the networks as they were written, for model.json."""
        return {}
