"""The published recipe done plainly: what `faceage batch` is measured against.

One MTCNN call per photo at its full size, a generator that up-samples before each convolution, Inception-ResNet-v2 at
160×160 as recogniser, one face at a time. Its optimiser step is compiled, to be fair.
"""

from collections.abc import Sequence
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


class Reference:
    """Ages the faces of photos, one by one, by `steps` optimiser steps each."""

    def __init__(self, model: Model, steps: int) -> None:
        self._model = model
        self._steps = steps
        self._mtcnn = MTCNN()
        self._generator = plain_generator(model.generator)
        # Its weights do not matter to the time that it takes.
        self._recognizer = recognizer("inception-resnet-v2")
        self._latent = tf.Variable(np.zeros((1, LATENT_SIZE), np.float32))
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build([self._latent])
        self._step = tf.function(self._optimise_step)

    def run(self, photos: Sequence[Path], out: Path) -> int:
        """Write a grid for every face in `photos`; how many there were."""
        faces = 0
        for photo in photos:
            pixels = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert("RGB"))
            for found in self._mtcnn.detect_faces(pixels):
                points = found["keypoints"]
                names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
                landmarks = np.array([points[name] for name in names], np.float64)
                grid = self._aged(align(pixels, face_transform(landmarks)))
                save_png(Image.fromarray(grid), out / f"{photo.name}_{faces}.png")
                faces += 1
        return faces

    def _aged(self, face: np.ndarray) -> np.ndarray:
        batch = tf.convert_to_tensor(to_float(face[None]))
        age = self._model.age_estimator(batch, training=False)
        self._latent.assign(self._model.encoder(batch, training=False))
        target = self._recognizer(batch, training=False)
        for _ in range(self._steps):
            self._step(age, target)
        ages = [age, *(one_hot([i]) for i in range(len(AGE_CLASSES)))]
        latent = tf.convert_to_tensor(self._latent)
        drawn = [to_uint8(self._generator([latent, tf.convert_to_tensor(y)], training=False))[0] for y in ages]
        return np.concatenate([face, *drawn], axis=1)

    def _optimise_step(self, age, target):
        with tf.GradientTape() as tape:
            drawn = self._generator([tf.convert_to_tensor(self._latent), age], training=False)
            distance = tf.norm(self._recognizer(drawn, training=False) - target)
        self._optimizer.apply(tape.gradient(distance, [self._latent]), [self._latent])
