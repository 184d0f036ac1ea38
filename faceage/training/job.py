"""A stage of training as `run.train_stage` sees it: the networks it takes and makes, its batches and its scores."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import keras
from PIL import Image

from faceage.data.dataset import FaceBatches, FaceSet, data_fingerprint, load_faces
from faceage.training.stage import Stage, StageOptions

Progress = Callable[[str, int, int], Any]
"""Called with (name of the work, amount done, amount in all)."""


class Splits:
    """The splits of a prepared data set, each read on first access."""

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
    """The inputs of a job besides its options."""

    data: Splits
    folder: Path
    """The stage's own folder, for checkpoints and pictures."""
    networks: dict[str, keras.Model] = field(default_factory=dict)
    """Frozen networks of earlier stages, by name."""
    people: Path | None = None
    """A folder of photos with a subfolder per person."""
    progress: Progress = lambda what, done, total: None
    say: Callable[[str], Any] = lambda line: None
    """Called with each line for the log."""


@dataclass(frozen=True)
class Baseline:
    """The value of a loss or score without learning."""

    value: float
    meaning: str
    """Whose value it is, for example "always zero"."""


class Job:
    """One stage of a training, which `run.train_stage` calls."""

    NAME: ClassVar[str]
    MAKES: ClassVar[tuple[str, ...]]
    """Names of the networks that it makes, where the data has labels for them."""
    NEEDS: ClassVar[tuple[str, ...]] = ()
    """Names of the networks of earlier stages that it cannot do without."""
    USES: ClassVar[tuple[str, ...]] = ()
    """Names of networks that it takes where there are any; one of `MAKES` replaces random initial weights."""
    OPTIONS: ClassVar[type[StageOptions]]

    def __init__(self, options: Any, inputs: Inputs) -> None:
        self.options = options.resolved(len(inputs.data.train))
        self.inputs = inputs

    @classmethod
    def check(cls, options: Any, networks: Collection[str], scores: Mapping[str, Any] | None) -> None:
        """Raise UsageError where the stage cannot be trained with the `networks` of these names.

        Called before any work, also before that of earlier stages. `scores` are those of the networks, None where they
        are yet to be measured.
        """

    @classmethod
    def measure(cls, folder: Path, people: Path) -> dict[str, Any]:
        """Scores on `people`, for model.json, of an ended stage's model `folder`; none where it has them already."""
        return {}

    def best(self) -> tuple[str, bool] | None:
        """The score by which the best epoch is kept, and whether higher is better; None keeps the last epoch."""
        return None

    def begun_with(self, name: str) -> keras.Model | None:
        """Network `name` of the inputs, made trainable, or None where there is none."""
        if (network := self.inputs.networks.get(name)) is not None:
            network.trainable = True
        return network

    def prepare(self) -> None:
        """Long work before the first step."""

    def stage(self) -> Stage:
        """The compiled stage at its first step."""
        raise NotImplementedError

    def batches(self, epoch: int, first_step: int = 0) -> keras.utils.PyDataset:
        """The batches of one epoch, from `first_step` on."""
        return FaceBatches(self.inputs.data.train, **self.sizes(epoch, first_step))

    def sizes(self, epoch: int, first_step: int) -> dict[str, Any]:
        """Arguments of `EpochBatches` besides the faces."""
        options = self.options
        place = {"seed": options.seed, "epoch": epoch, "first_step": first_step}
        return {"batch_size": options.batch_size, "steps": options.steps_per_epoch, **place}

    def scores(self, stage: Any) -> dict[str, float]:
        """Scores on held-out faces, computed after every epoch."""
        return {}

    def pictures(self, stage: Any) -> dict[str, Image.Image]:
        """Pictures by name, drawn after every epoch."""
        return {}

    def baselines(self) -> dict[str, Baseline]:
        """Baselines of losses and scores, by their names."""
        return {}

    def results(self, stage: Any) -> dict[str, keras.Model]:
        """The networks named in `MAKES`, less those that the data has no labels for."""
        raise NotImplementedError

    def provenance(self, stage: Any) -> dict[str, Any]:
        """Entries of model.json for the networks, besides data, options and steps."""
        return {}

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        """Scores of the saved networks, for model.json."""
        return {}
