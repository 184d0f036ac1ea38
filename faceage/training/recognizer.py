"""The recogniser: trained on identity labels, or distilled from dlib's, which sees photos at full resolution."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faceage.data.dataset import FaceBatches, FaceSet, PeopleBatches
from faceage.errors import DataError, UsageError
from faceage.evaluation.dlib import SAME_PERSON_DISTANCE
from faceage.evaluation.verification import (
    best_threshold,
    embed,
    load_people,
    pair_distances,
    same_pairs,
    unit_rows,
    verify,
)
from faceage.model import load_network, read_card
from faceage.networks.predict import predict
from faceage.networks.recognizer import IMAGENET, RECOGNIZERS, kind_of, recognizer
from faceage.training.embedding import ArcFace, Distillation, EmbeddingStage, Triplets
from faceage.training.job import Baseline, Inputs, Job
from faceage.training.stage import StageOptions
from faceage.training.teacher import teacher_embeddings, teachers_threshold

METHODS = ("auto", "arcface", "triplet", "distil")
COMPARED = 2000
"""Faces of a split, at most, of which all pairs are compared."""


@dataclass(frozen=True)
class RecognizerOptions(StageOptions):
    """Options of the recogniser; the defaults take 40 minutes on two fast CPU cores, half of them for dlib."""

    epochs: int = 32
    steps_per_epoch: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    """Of AdamW."""
    method: str = "auto"
    """One of `METHODS`: "arcface" and "triplet" need identity labels, "distil" needs dlib; "auto" is "arcface" where
    the data name people, else "distil"."""
    kind: str = "compact"
    """One of `RECOGNIZERS`."""
    backbone: str = IMAGENET
    """Initial weights of inception-resnet-v2: a file, or "imagenet" for those of Keras Applications."""
    faces: int = 16_000
    """Training faces that dlib embeds for distillation."""
    margin: float = 0.3
    """Of ArcFace, in radians, and of triplets."""
    scale: float = 32.0
    """Of ArcFace."""


class RecognizerJob(Job):
    """Trains the recogniser and measures whether it tells same from different people."""

    NAME = "recognizer"
    MAKES = ("recognizer",)
    USES = ("recognizer",)
    OPTIONS = RecognizerOptions

    def __init__(self, options: RecognizerOptions, inputs: Inputs) -> None:
        super().__init__(options, inputs)
        if options.method not in METHODS:
            raise UsageError(f"the recogniser's method is {options.method!r}", f"methods are {', '.join(METHODS)}")
        if options.kind not in RECOGNIZERS:
            raise UsageError(f"the recogniser's kind is {options.kind!r}", f"kinds are {', '.join(RECOGNIZERS)}")

    def best(self) -> tuple[str, bool]:
        return ("held_out_cosine" if self.method == "distil" else "held_out_accuracy"), True

    @cached_property
    def method(self) -> str:
        """The method, "auto" resolved."""
        if self.options.method != "auto":
            return self.options.method
        return "arcface" if len(self._known) > 1 else "distil"

    def prepare(self) -> None:
        if self.method == "distil":
            _ = self._lessons
        elif len(self._known) < 2:
            raise DataError(
                f"{self.inputs.data.path} does not hold two people with two photos each to train on",
                "give identities, or distil a teacher: --set method=distil",
            )

    def stage(self) -> EmbeddingStage:
        options, network = self.options, self._network()
        if self.method == "distil":
            stage: EmbeddingStage = Distillation(network, options.seed)
        elif self.method == "arcface":
            stage = ArcFace(network, len(self._known), options.margin, options.scale, options.seed)
        else:
            stage = Triplets(network, options.margin, options.seed)
        stage.compile(options.learning_rate, options.epochs * options.steps_per_epoch, options.weight_decay)
        return stage

    def _network(self) -> keras.Model:
        options = self.options
        if (begun := self.begun_with("recognizer")) is not None:
            if kind_of(begun) != options.kind:
                raise UsageError(f"the recogniser to begin with is {kind_of(begun)}, not {options.kind}")
            return begun
        if options.kind != "inception-resnet-v2" or not options.backbone:
            return recognizer(options.kind, options.dtype)
        try:
            return recognizer(options.kind, options.dtype, options.backbone)
        except Exception as error:
            if options.backbone != IMAGENET:
                raise UsageError(f"{options.backbone} does not hold Inception-ResNet-v2's weights: {error}") from error
            # Keras reports a download that fails in many ways.
            told = "ImageNet weights cannot be fetched: Inception-ResNet-v2 begins from random ones"
            warnings.warn(told, stacklevel=2)
            self.inputs.say(f"WARNING: {told} ({error})")
            return recognizer(options.kind, options.dtype)

    def batches(self, epoch: int, first_step: int = 0) -> keras.utils.PyDataset:
        sizes = self.sizes(epoch, first_step)
        if self.method == "distil":
            return FaceBatches(self._taught, balanced=False, targets=self._lessons[1], **sizes)
        return PeopleBatches(self.inputs.data.train, self._known, **sizes)

    @cached_property
    def _known(self) -> list[np.ndarray]:
        return people_of(self.inputs.data.train)

    @cached_property
    def _taught(self) -> FaceSet:
        return self.inputs.data.train.take(self._lessons[0])

    @cached_property
    def _lessons(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Which train faces dlib has taught, their targets; which validation faces, and dlib's raw answers for them."""
        data, folder = self.inputs.data, self.inputs.folder

        def teach(faces: FaceSet, limit: int, name: str) -> tuple[np.ndarray, np.ndarray]:
            total, done = min(limit, len(faces)), 0

            def count(more: int) -> None:
                nonlocal done
                done += more
                self.inputs.progress(f"dlib, {name}", done, total)

            # Row by row, the cache belongs to these faces in this order.
            cache = folder / f"teacher-{name}-{data.fingerprint[:16]}.f32"
            return teacher_embeddings(faces, limit, cache, count)

        taught, lessons = teach(data.train, self.options.faces, "train")
        checked, answers = teach(data.validation, len(data.validation), "validation")
        # What dlib's embeddings have in common makes strangers' cosine 0.85: a student that learnt it would look good
        # and tell nobody apart. It is taught what is left without it.
        self._common = unit_rows(lessons).mean(0)
        return taught, unit_rows(unit_rows(lessons) - self._common), checked, answers

    def scores(self, stage: EmbeddingStage) -> dict[str, float]:
        found = {}
        if self.method == "distil":
            _, _, checked, answers = self._lessons
            embeddings = predict(stage.network, self.inputs.data.validation.faces[checked])
            found["held_out_cosine"] = self._cosine(embeddings, answers)
        held_out = self._held_out(self.inputs.data.validation)
        if held_out is not None:
            found["held_out_accuracy"] = best_accuracy(stage.network, *held_out)
        if self._people is not None:
            faces, names = self._people
            distances = pair_distances(embed(stage.network, faces))
            found["people_accuracy"] = verify(
                distances, same_pairs(names), self._threshold(stage.network)[0]
            ).balanced_accuracy
        return found

    def _cosine(self, embeddings: np.ndarray, answers: np.ndarray) -> float:
        return float((embeddings * unit_rows(unit_rows(answers) - self._common)).sum(-1).mean())

    def baselines(self) -> dict[str, Baseline]:
        chance = Baseline(0.5, "by chance")
        return {
            "held_out_accuracy": chance,
            "people_accuracy": chance,
            "held_out_cosine": Baseline(0.0, "unrelated embeddings"),
        }

    def results(self, stage: EmbeddingStage) -> dict[str, keras.Model]:
        return {"recognizer": stage.network}

    def provenance(self, stage: EmbeddingStage) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": self.options.kind, "method": self.method}
        if self.method == "distil":
            taught = self._lessons[0]
            found.update(teacher="dlib_face_recognition_resnet_model_v1", faces=len(taught))
        return found

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        network = kept["recognizer"]
        threshold, origin = self._threshold(network)
        scores: dict[str, Any] = {
            "embedding": "mean of the face's and its mirror image's",
            "threshold": round(threshold, 4),
            "threshold_from": origin,
        }
        if self.method == "distil":
            _, _, checked, answers = self._lessons
            embeddings = embed(network, self.inputs.data.validation.faces[checked])
            scores["teacher_cosine"] = round(self._cosine(embeddings, answers), 4)
        measured_on = self._held_out(self.inputs.data.test), f"{self.inputs.data.name}, people of the test split"
        if self._people is not None and self.inputs.people is not None:
            measured_on = self._people, self.inputs.people.name
        people, said = measured_on
        if people is not None:
            faces, names = people
            scores["same_different"] = same_different(network, faces, names, scores["threshold"], said)
        return {"recognizer": scores}

    @classmethod
    def measure(cls, folder: Path, people: Path) -> dict[str, Any]:
        card = read_card(folder)
        scores = card["scores"]["recognizer"]
        if is_measured(scores, people):
            return {}
        network = load_network(folder, card, "recognizer")
        measured = same_different(network, *load_people(people), scores["threshold"], people.name)
        return {"recognizer": {**scores, "same_different": measured}}

    def _threshold(self, network: keras.Model) -> tuple[float, str]:
        """The distance under which two faces are one person, and where it comes from: never from what is tested."""
        data = self.inputs.data
        if self.method == "distil":
            _, _, checked, answers = self._lessons
            faces = data.validation.take(checked)
            threshold, rate = teachers_threshold(embed(network, faces.faces), answers, faces.genders)
            return threshold, (
                f"takes {rate:.1%} of the pairs of one gender in the validation split of {data.name} for one person, "
                f"as dlib does at its published {SAME_PERSON_DISTANCE}"
            )
        for split, name in ((data.validation, "validation"), (data.train, "train")):
            if (held_out := self._held_out(split)) is not None:
                shown, names = held_out
                threshold = best_threshold(pair_distances(embed(network, shown)), same_pairs(names))
                return threshold, f"the best on people of the {name} split of {data.name}"
        raise DataError(f"{data.path} holds no two photos of one person to find a threshold on")

    def _held_out(self, split: FaceSet) -> tuple[np.ndarray, list[str]] | None:
        """Faces and people of a split, where it knows pairs of both kinds."""
        known = np.flatnonzero([bool(identity) for identity in split.identities])
        if len(known) > COMPARED:
            known = np.sort(np.random.default_rng(0).permutation(known)[:COMPARED])
        names = [split.identities[i] for i in known]
        return (split.faces[known], names) if has_pairs(names) else None

    @cached_property
    def _people(self) -> tuple[np.ndarray, list[str]] | None:
        return None if self.inputs.people is None else load_people(Path(self.inputs.people))


def people_of(faces: FaceSet) -> list[np.ndarray]:
    """The indices of each person's faces, for people with two or more, in the order of their names."""
    names, numbers = np.unique(np.array(faces.identities, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(numbers, minlength=len(names)))[:-1])
    return [group for name, group in zip(names, groups, strict=True) if name and len(group) > 1]


def has_pairs(names: Sequence[str]) -> bool:
    """Whether faces of these people make pairs of both kinds, same and different."""
    return 1 < len(set(names)) < len(names)


def is_measured(scores: Mapping[str, Any], people: Path) -> bool:
    """Whether the `scores` of a recogniser hold those on the folder `people`."""
    return scores.get("same_different", {}).get("data") == people.name


def same_different(
    network: keras.Model, faces: np.ndarray, names: Sequence[str], threshold: float, data: str
) -> dict[str, Any]:
    """Same/different scores over all pairs of the faces, and the name of the `data` that they are of."""
    return {"data": data, **asdict(verify(pair_distances(embed(network, faces)), same_pairs(names), threshold))}


def best_accuracy(network: keras.Model, faces: np.ndarray, names: Sequence[str]) -> float:
    """Balanced same/different accuracy over all pairs, at the threshold that suits them best."""
    distances, same = pair_distances(embed(network, faces)), same_pairs(names)
    return verify(distances, same, best_threshold(distances, same)).balanced_accuracy
