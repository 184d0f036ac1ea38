"""Stage 3, identity: E and G are refined together, on real photos, through the frozen recogniser.

The encoder has seen only generated faces so far. Here G is trained to draw from E's latent the person of a photo, at
the photo's age and at any other; the losses besides identity prevent collapse.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from faceage.ages import AGE_CLASSES
from faceage.backend import gradients
from faceage.data.dataset import FaceBatches, FaceSet, one_hot_people
from faceage.evaluation.held_out import HELD_OUT, identity_scores
from faceage.evaluation.verification import pair_distances
from faceage.genders import GENDERS
from faceage.model import MIN_ACCURACY, check_recognizer
from faceage.networks.augment import brightness_and_contrast, erase, shift_and_flip
from faceage.networks.discriminator import projected_discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.landmarks import landmark_difference
from faceage.networks.predict import predict
from faceage.networks.recognizer import feature_difference, identity_distance, with_features
from faceage.networks.whiten import MIN_FACES, whiten_latents
from faceage.people.samples import aged_grid
from faceage.sizes import FACE_SIZE
from faceage.training.adversarial import D_LOSSES, AdversarialOptions
from faceage.training.gender import gender_network
from faceage.training.head_start import HeadStart, give_head_start
from faceage.training.job import Baseline, Job
from faceage.training.people import PeopleStage, split_labels
from faceage.training.stage import cross_entropy, unit_faces


@dataclass(frozen=True)
class IdentityOptions(AdversarialOptions):
    """Options of the identity stage; the defaults take an hour and a half on two fast CPU cores.

    The discriminator is not that of the GAN, but one on frozen features of the recogniser and the age estimator. It is
    told genders besides ages; `wrong_age` is the weight of real faces with a wrong one of either.
    """

    epochs: int = 10
    learning_rate: float = 1e-4
    discriminator_rate: float = 3.0
    wrong_age: float = 0.4
    r1: float = 0.0
    head_start: int = 1500
    """Steps of the discriminator alone, before E and G are trained."""
    same_age: float = 1.5
    """Weight of the identity distance ‖FR(x) − FR(G(E(x), y))‖₂, 0..2, at the photo's age."""
    other_age: float = 2.0
    """Weight of the same distance at a random other age."""
    pixel: float = 1.0
    """Weight of the mean absolute difference to the photo, in -1..1."""
    perceptual: float = 0.7
    """Weight of the difference of the recogniser's inner features: its embedding alone can be fooled."""
    adversarial: float = 1.0
    """Weight of the discriminator's loss on aged and on sampled faces."""
    latent: float = 1.0
    """Weight of the distance of the first two moments of E's z in a batch from those of N(0, 1)."""
    aged_age: float = 0.3
    """Weight of the age estimator's cross-entropy on aged faces."""
    sampled_age: float = 0.1
    """Weight of the same on sampled faces."""
    tone: float = 1.0
    """Weight of the difference in local colours and contrast between photo and aged face. Without it, faces become pale
    or dark, which the estimator takes for age; the discriminator's features do not penalise local colour shifts."""
    landmarks: float = 1.5
    """Weight of the mean absolute difference to the photo around eyes, nose and mouth, at both ages."""
    strength: float = 1.25
    """Ageing strength (`ages.towards`) in training is random, from 1 to this: people are drawn with more than 1, and
    otherwise the generator never sees extrapolated ages in training."""
    min_accuracy: float = MIN_ACCURACY
    """Recognisers below this balanced verification accuracy are refused."""


class IdentityJob(Job):
    """Refines E and G on photos, against a discriminator of its own."""

    NAME = "identity"
    MAKES = ("encoder", "generator", "gender")
    NEEDS = ("encoder", "generator", "recognizer", "age_estimator")
    OPTIONS = IdentityOptions

    @classmethod
    def check(cls, options: IdentityOptions, networks: Collection[str], scores: Mapping[str, Any] | None) -> None:
        if scores is not None:
            check_recognizer(
                scores,
                options.min_accuracy,
                "--people DIR of train recognizer and train all measures it; train it for longer, or use it all the "
                "same: --set min_accuracy=0 (of train all: --set identity.min_accuracy=0)",
            )

    def prepare(self) -> None:
        if steps := self.options.head_start:
            encoder, generator = (self.inputs.networks[name] for name in ("encoder", "generator"))
            stage = HeadStart(self._discriminator, encoder, generator, self.options.strength, self.options)
            stage.compile()
            give_head_start(
                stage,
                lambda first_step: self._people(**{**self.sizes(0, first_step), "steps": steps}),
                steps,
                self.inputs.folder / "head_start.weights.h5",
                lambda done: self.inputs.progress("identity: discriminator", done, steps),
            )

    def _people(self, **sizes: Any) -> FaceBatches:
        train = self.inputs.data.train
        return FaceBatches(train, targets=one_hot_people(train), **sizes)

    @cached_property
    def _discriminator(self) -> keras.Model:
        networks = self.inputs.networks
        eyes = [networks["recognizer"], networks["age_estimator"]]
        return projected_discriminator(eyes, len(AGE_CLASSES) + len(GENDERS), self.options.dtype)

    def stage(self) -> "IdentityTraining":
        networks = self.inputs.networks
        for name in ("encoder", "generator"):
            networks[name].trainable = True
        stage = IdentityTraining(
            **networks,
            discriminator=self._discriminator,
            encoding=encoder(),
            drawing=generator(),
            options=self.options,
        )
        stage.compile()
        return stage

    def batches(self, epoch: int, first_step: int = 0) -> FaceBatches:
        return self._people(**self.sizes(epoch, first_step))

    def scores(self, stage: "IdentityTraining") -> dict[str, float]:
        found = self._judged(stage.encoding, stage.drawing, self.inputs.data.validation)
        return {f"held_out_{name}": value for name, value in found.items()}

    def _judged(self, encoder: keras.Model, generator: keras.Model, faces: FaceSet) -> dict[str, float]:
        networks = self.inputs.networks
        return identity_scores(encoder, generator, networks["recognizer"], networks["age_estimator"], faces)

    def pictures(self, stage: "IdentityTraining") -> dict[str, Image.Image]:
        return {"faces": aged_grid(stage.encoding, stage.drawing, self.inputs.data.validation, rows=8)}

    def baselines(self) -> dict[str, Baseline]:
        networks, held_out = self.inputs.networks, self.inputs.data.validation
        before = self._judged(networks["encoder"], networks["generator"], held_out)
        shown = held_out.faces[:HELD_OUT]
        strangers = float(np.median(pair_distances(predict(networks["recognizer"], shown))))
        of_strangers = Baseline(strangers, "median of different people")
        return {
            "same_age": of_strangers,
            "other_age": of_strangers,
            **{f"held_out_{name}": Baseline(value, "before the stage") for name, value in before.items()},
        }

    def results(self, stage: "IdentityTraining") -> dict[str, keras.Model]:
        train = self.inputs.data.train
        if len(train) >= MIN_FACES:
            whiten_latents(stage.encoding, stage.drawing, predict(stage.encoding, train.faces))
        made = {"encoder": stage.encoding, "generator": stage.drawing}
        direction = gender_network(stage.encoding, train)
        return made if direction is None else {**made, "gender": direction}

    def final_scores(self, kept: dict[str, keras.Model]) -> dict[str, Any]:
        test = self.inputs.data.test
        found = self._judged(kept["encoder"], kept["generator"], test)
        rounded = {name: round(value, 4) for name, value in found.items()}
        judged = "by the recogniser and the age estimator that E and G were trained through"
        faces = min(HELD_OUT, len(test))
        return {
            "identity": {**rounded, "faces": faces, "data": f"{self.inputs.data.name}, test split", "judge": judged}
        }


class IdentityTraining(PeopleStage):
    """Trains E and G, and D with them, on (faces uint8 (b, 64, 64, 3), `one_hot_people` (b, 8)).

    `recognizer` and `age_estimator` are frozen, and see the photo and what is drawn through the same random shift,
    mirroring and noise: networks that look through one fixed view learn to fool it. The estimator sees them lighter or
    darker besides, and each without one square, so that no single place decides. E and G run as they will be used, with
    their batch norm's kept statistics. `encoding` and `drawing` are the moving averages of E and G that are kept.
    """

    LOSSES = (
        "loss",
        "same_age",
        "other_age",
        "pixel",
        "perceptual",
        "latent",
        "aged_age",
        "tone",
        "landmarks",
        "g_loss",
        *D_LOSSES,
    )
    SHIFT = 2
    NOISE = 0.05
    LIGHT = 0.3

    def __init__(
        self,
        encoder: keras.Model,
        generator: keras.Model,
        discriminator: keras.Model,
        recognizer: keras.Model,
        age_estimator: keras.Model,
        encoding: keras.Model,
        drawing: keras.Model,
        options: IdentityOptions = IdentityOptions(),
    ) -> None:
        super().__init__(discriminator, [encoder, generator], [encoding, drawing], options)
        self.encoding = encoding
        self.drawing = drawing
        self.encoder = encoder
        self.generator = generator
        self.recognizer = recognizer
        self.features = with_features(recognizer)
        self.age_estimator = age_estimator

    def train_step(self, data: Any) -> dict[str, Any]:
        pixels, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        # Half of them mirrored: what E and G know of one side of a face holds for the other.
        faces, labels = shift_and_flip(unit_faces(pixels), self.random, shift=0), ops.cast(labels, "float32")
        other_ages = self.wrong_ages(split_labels(labels)[0])
        loss, (values, aged, sampled), found = gradients(
            lambda: self.loss_of(faces, labels, other_ages), self.trained_variables
        )
        _, (d_loss, shares), d_gradients = self.discriminating_people(faces, labels, other_ages, aged, sampled)
        self.update(found, d_gradients)
        return self.report(loss=loss, d_loss=d_loss, **values, **shares)

    def loss_of(self, faces: Any, labels: Any, other_ages: Any) -> tuple[Any, tuple[dict[str, Any], Any, Any]]:
        """The scalar to minimise, and (the values named in `LOSSES`, aged faces, sampled faces)."""
        weights: Any = self.options
        ages, _ = split_labels(labels)
        latents = self.encoder(faces, training=False)
        random = keras.random.normal(ops.shape(latents), seed=self.random)
        asked = self.random_strength(ages, other_ages, weights.strength)
        drawn = self.generator(
            [ops.concatenate([latents, latents, random]), ops.concatenate([ages, asked, ages])], training=False
        )
        same, aged, sampled = ops.split(drawn, 3)
        face_view, same_view, aged_view, sampled_view = self._views(faces, same, aged, sampled)
        *maps, found = self.features(ops.concatenate([face_view, same_view, aged_view]), training=False)
        target, *embeddings = ops.split(found, 3)
        target = ops.stop_gradient(target)
        wanted, drawn_maps = zip(*(ops.split(part, 3)[:2] for part in maps), strict=True)
        perceptual = ops.mean(feature_difference([ops.stop_gradient(part) for part in wanted], drawn_maps))
        same_age, other_age = (ops.mean(identity_distance(target, embedding)) for embedding in embeddings)
        dated = brightness_and_contrast(ops.concatenate([aged_view, sampled_view]), self.random, self.LIGHT)
        dated = erase(dated, self.random)
        aged_guess, sampled_guess = ops.split(self.age_estimator(dated, training=False), 2)
        aged_age, sampled_age = cross_entropy(other_ages, aged_guess), cross_entropy(ages, sampled_guess)
        pixel = ops.mean(ops.abs(faces - same))
        mean, variance = ops.moments(latents, axes=0)
        latent = ops.mean(ops.square(mean)) + ops.mean(ops.square(variance - 1))
        tone = tone_difference(aged, faces)
        landmarks = ops.mean(landmark_difference(faces, same) + landmark_difference(faces, aged)) / 2
        g_loss = self.fooling_people(labels, other_ages, aged, sampled)
        loss = (
            weights.same_age * same_age
            + weights.other_age * other_age
            + weights.pixel * pixel
            + weights.perceptual * perceptual
            + weights.adversarial * g_loss
            + weights.latent * latent
            + weights.aged_age * aged_age
            + weights.sampled_age * sampled_age
            + weights.tone * tone
            + weights.landmarks * landmarks
        )
        values = {"same_age": same_age, "other_age": other_age, "pixel": pixel, "perceptual": perceptual}
        values |= {"latent": latent, "tone": tone, "landmarks": landmarks, "aged_age": aged_age, "g_loss": g_loss}
        return loss, (values, aged, sampled)

    def _views(self, *faces: Any) -> list[Any]:
        """All of (b, 64, 64, 3) through one random view for each row."""
        seen = shift_and_flip(ops.concatenate(faces, axis=-1), self.random, self.SHIFT)
        noise = self.NOISE * keras.random.normal(ops.shape(faces[0]), seed=self.random)
        return [part + noise for part in ops.split(seen, len(faces), axis=-1)]


def tone_difference(one: Any, other: Any) -> Any:
    """Mean absolute difference of each colour's mean at each of 4×4 places, and of its contrast, over faces."""
    places = ops.average_pool(one - other, FACE_SIZE // 4, data_format="channels_last")
    contrast, other_contrast = (ops.sqrt(ops.var(faces, axis=(1, 2)) + 1e-6) for faces in (one, other))
    return ops.mean(ops.abs(places)) + ops.mean(ops.abs(contrast - other_contrast))
