"""The published recipe done plainly: what `faceage batch` is measured against. It stays as it is, whatever batch does.

One MTCNN call per photo at its full size, a generator that up-samples before each convolution, Inception-ResNet-v2 at
160×160 as recogniser, one face at a time, 60 steps.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mtcnn import MTCNN
from PIL import Image, ImageOps
from plain_generator import plain_generator

from faceage.ages import AGE_CLASSES, one_hot
from faceage.faces.align import align, face_transform
from faceage.images import to_float, to_uint8
from faceage.model import Model
from faceage.networks.recognizer import recognizer
from faceage.pictures.save import save_png
from faceage.sizes import LATENT_SIZE

LEARNING_RATE = 0.05
STEPS = 60


class Recipe:
    """Ages the largest face of photos, one by one."""

    def __init__(self, model: Model, compiled: bool = True, shipped: bool = False) -> None:
        """`compiled` steps run as a graph; `shipped` takes the model's recogniser, whose weights are trained.

        Those of Inception-ResNet-v2 are random: they do not matter to the time that it takes.
        """
        self._model = model
        self._mtcnn = MTCNN()
        self._generator = plain_generator(model.generator)
        self._recognizer = model.recognizer if shipped else recognizer("inception-resnet-v2")
        self._latent = tf.Variable(np.zeros((1, LATENT_SIZE), np.float32))
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build([self._latent])
        self._step: Callable = tf.function(self._optimise_step) if compiled else self._optimise_step

    def __call__(self, photo: Path, out: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Write a grid to the file `out`: the face, (64, 64, 3) uint8, and (7, 64, 64, 3) at its own age and at all.

        None where there is no face.
        """
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert("RGB"))
        found = self._mtcnn.detect_faces(pixels)
        if not found:
            return None
        points = max(found, key=lambda each: each["box"][2] * each["box"][3])["keypoints"]
        names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
        face = align(pixels, face_transform(np.array([points[name] for name in names], np.float64)))
        drawn = self.aged(face)
        save_png(Image.fromarray(np.concatenate([face, *drawn], axis=1)), out)
        return face, drawn

    def aged(self, face: np.ndarray) -> np.ndarray:
        batch = tf.convert_to_tensor(to_float(face[None]))
        age = self._model.age_estimator(batch, training=False)
        self._latent.assign(self._model.encoder(batch, training=False))
        target = self._recognizer(batch, training=False)
        for variable in self._optimizer.variables:
            if variable is not self._optimizer.learning_rate:
                variable.assign(tf.zeros_like(variable.value))
        for _ in range(STEPS):
            self._step(age, target)
        ages = [age, *(one_hot([i]) for i in range(len(AGE_CLASSES)))]
        latent = tf.convert_to_tensor(self._latent)
        pictures = [self._generator([latent, tf.convert_to_tensor(y)], training=False) for y in ages]
        return np.stack([to_uint8(picture)[0] for picture in pictures])

    def _optimise_step(self, age, target):
        with tf.GradientTape() as tape:
            drawn = self._generator([tf.convert_to_tensor(self._latent), age], training=False)
            distance = tf.norm(self._recognizer(drawn, training=False) - target)
        self._optimizer.apply(tape.gradient(distance, [self._latent]), [self._latent])
