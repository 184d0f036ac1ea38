"""The compact recogniser, distilled from dlib's: from photos at full resolution to faces of 64×64."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from faceage.data.dataset import FaceBatches, load_faces
from faceage.evaluation.verification import embed, load_people, pair_distances, same_pairs, unit_rows, verify
from faceage.networks.augment import view
from faceage.networks.predict import predict
from faceage.networks.recognizer import recognizer
from faceage.training.run import StageRun, data_provenance
from faceage.training.stage import SupervisedStage, unit_faces
from faceage.training.teacher import SAME_PERSON_DISTANCE, teacher_embeddings
from faceage.weights import load_network, read_card, save_network, update_card


@dataclass(frozen=True)
class RecognizerOptions:
    """`faceage train recognizer`: 16,000 faces take dlib 20 minutes, 32 epochs of 200 steps as long on two cores."""

    epochs: int = 32
    steps_per_epoch: int = 200
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    faces: int = 16_000
    dtype: str = "mixed_bfloat16"
    seed: int = 0


def train_recognizer(
    data: Path,
    run: Path,
    options: RecognizerOptions,
    people: Path | None = None,
    teaching: Callable[[int], Any] = lambda faces: None,
    progress: Callable[[int], Any] = lambda steps: None,
) -> None:
    """Distil from the train split of `data`; the recogniser and its scores join RUN/model.

    `teaching` is told of each face that dlib has embedded. `people` is a folder of photos with a subfolder per person,
    on which same/different accuracy is measured at a threshold fixed on the validation split.
    """
    stage = StageRun(run, "recognizer", {"data": data.name, **asdict(options)})
    faces, held_out = load_faces(data, "train"), load_faces(data, "validation")
    taught, lessons = teacher_embeddings(faces, options.faces, stage.folder / "teacher-train.npy", teaching)
    checked, held_out_lessons = teacher_embeddings(held_out, len(held_out), stage.folder / "teacher-validation.npy")
    # What dlib's embeddings have in common makes strangers' cosine 0.85: a student that learnt it would look good and
    # tell nobody apart. It is taught what is left without it.
    common = unit_rows(lessons).mean(0)
    targets, answers = unit_rows(unit_rows(lessons) - common), unit_rows(unit_rows(held_out_lessons) - common)
    keras.utils.set_random_seed(options.seed)
    network = recognizer("compact", options.dtype)
    training = Distillation(network, options.seed)
    training.compile(options.learning_rate, options.epochs * options.steps_per_epoch, options.weight_decay)
    done = stage.resume(training)
    batches = FaceBatches(
        faces.take(taught),
        options.batch_size,
        options.steps_per_epoch,
        seed=options.seed,
        balanced=False,
        targets=targets,
        first_epoch=done,
    )

    def cosine(epoch: int) -> dict[str, float]:
        return {"held_out_cosine": float((predict(network, held_out.faces[checked]) * answers).sum(-1).mean())}

    stage.fit(training, batches, options.epochs, done, progress, cosine)
    provenance = {
        **data_provenance(data, faces.take(taught)),
        "kind": "compact",
        "stage": "recognizer",
        "teacher": "dlib_face_recognition_resnet_model_v1",
        "steps": options.epochs * options.steps_per_epoch,
        "options": asdict(options),
    }
    save_network(stage.model_folder, "recognizer", network, provenance)
    kept = load_network(stage.model_folder, read_card(stage.model_folder), "recognizer")
    checked_faces = held_out.take(checked)
    embeddings = embed(kept, checked_faces.faces)
    threshold, rate = teachers_threshold(embeddings, held_out_lessons, checked_faces.genders)
    scores: dict[str, Any] = {
        "teacher_cosine": round(float((embeddings * answers).sum(-1).mean()), 4),
        "embedding": "mean of the face's and its mirror image's",
        "threshold": round(threshold, 4),
        "threshold_from": f"takes {rate:.1%} of the pairs of one gender in the validation split of {data.stem} for one "
        f"person, as dlib does at its published {SAME_PERSON_DISTANCE}",
    }
    if people is not None:
        faces_of, names = load_people(people)
        distances = pair_distances(embed(kept, faces_of))
        scores[people.name] = asdict(verify(distances, same_pairs(names), scores["threshold"]))
    update_card(stage.model_folder, lambda card: card["scores"].update(recognizer=scores))


def teachers_threshold(embeddings: np.ndarray, lessons: np.ndarray, genders: Sequence[str]) -> tuple[float, float]:
    """The distance at which a student is as strict as dlib at its published threshold, and how strict that is.

    From (n, 128) `embeddings` of the student and raw `lessons` of dlib for the same faces, nearly all of different
    people: dlib takes a share of the pairs of one gender for one person, and so does the student at the answer.
    """
    of = np.asarray(genders)
    groups = [of == gender for gender in sorted(set(genders) - {""})]
    rate = float(np.mean(np.concatenate([pair_distances(lessons[group]) for group in groups]) < SAME_PERSON_DISTANCE))
    distances = np.concatenate([pair_distances(embeddings[group]) for group in groups])
    return float(np.quantile(distances, rate)), rate


class Distillation(SupervisedStage):
    """(faces uint8 (b, 64, 64, 3), teacher's unit embeddings (b, 128)): match each, and how they lie to each other."""

    LOSSES = ("loss", "cosine")
    SIMILARITY = 10.0

    def loss_of(self, data: Any) -> tuple[Any, dict[str, Any]]:
        pixels, target, _ = keras.utils.unpack_x_y_sample_weight(data)
        embedding = self.network(view(unit_faces(pixels), self.random, shift=2), training=True)
        cosine = ops.mean(ops.sum(embedding * target, axis=-1))
        apart = ops.matmul(embedding, ops.transpose(embedding)) - ops.matmul(target, ops.transpose(target))
        loss = 1 - cosine + self.SIMILARITY * ops.mean(ops.square(apart))
        return loss, {"loss": loss, "cosine": cosine}
