"""MTCNN over batches of photos that are letterboxed onto one canvas size, and closer where that shows small faces."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from faceage.faces.align import align, face_transform, side_in_photo
from faceage.faces.canvas import GLANCE_PIXELS, SMALLEST_FACE_ON_CANVAS, Letterbox, resize
from faceage.faces.mtcnn import load_mtcnn
from faceage.photos.decode import Reduction

_CLOSER = 1.4
"""Scale of the closer search that follows where there are some, to the glance's: it finds faces of 1/1.7 their size."""

_SURE = 0.95
"""Confidence of small faces, of which there are many more places to find one than on the canvas."""

_SURE_AT_A_GLANCE = 0.9
"""Confidence of MTCNN's first stage, at a glance: usually it is 0.6, and a hundred places go to the next stage."""

_SMALL_ON_CANVAS = 28
"""Pixels. Where the canvas itself shows such a face there may be smaller ones: no glance is needed."""

_ONE_LEVEL = (24, 24, 3)
"""Shape of an image of which MTCNN makes one level, the one for the smallest faces."""

_CANVAS_PIXELS_PER_BATCH = 64 * 256 * 256

_LANDMARK_SIDE = 48
"""Pixels of a face that MTCNN's last stage, which places the landmarks, looks at."""

_LARGEST_SIDE = 3.0
"""An aligned face is some 1.2 times as wide as its box is long; what would be so many times is none."""


@dataclass(frozen=True)
class Detection:
    """One face, in pixels of the upright photo.

    `box` (4,) float32 x, y, width, height; `landmarks` (5, 2) float32: the eye, eye, nose, mouth corner and mouth
    corner, image left before right; `confidence` 0..1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    confidence: float


Again = Callable[[int, Reduction], tuple[np.ndarray, int] | None]
"""Decodes the photo of a number once more: its pixels, so many times smaller, or None where that fails."""


class Detector:
    """The MTCNN of the `mtcnn` package (Zhang et al. 2016), loaded once and traced once."""

    def __init__(self) -> None:
        self._mtcnn = load_mtcnn()

    def detect(
        self,
        photos: Sequence[np.ndarray],
        min_face: int | None = None,
        factors: Sequence[int] | None = None,
        again: Again | None = None,
    ) -> list[list[Detection]]:
        """Faces of each photo, the most prominent (largest) first.

        `photos` are (h, w, 3) uint8 of any sizes, each decoded so many times smaller as `factors` says; all that is
        asked and answered is in pixels of the photos themselves. `min_face` is the smallest face width to report (None:
        whatever is found at the default canvas, and on a closer look where there are small faces). `again` decodes a
        photo larger for that.
        """
        found: list[list[Detection]] = [[] for _ in photos]
        factors = factors or [1] * len(photos)
        sizes = [
            (photo.shape[0] * factor, photo.shape[1] * factor) for photo, factor in zip(photos, factors, strict=True)
        ]
        boxes = [Letterbox.for_photo(width, height, min_face) for height, width in sizes]
        for side in sorted({box.side for box in boxes}):
            members = [i for i, box in enumerate(boxes) if box.side == side]
            batch = max(1, _CANVAS_PIXELS_PER_BATCH // side**2)
            for start in range(0, len(members), batch):
                chosen = members[start : start + batch]
                rows = self._rows([boxes[i].draw(photos[i], factors[i]) for i in chosen])
                for row in rows:
                    i = chosen[int(row[0])]
                    detection = _from_row(row, boxes[i].scale, sizes[i])
                    if detection is not None and detection.box[2] >= (min_face or 0):
                        found[i].append(detection)
        if min_face is None:
            for i, photo in enumerate(photos):
                found[i] += self._small_faces(photo, factors[i], found[i], again and partial(again, i))
        for faces in found:
            faces.sort(key=lambda face: -float(face.box[2] * face.box[3]))
        each = zip(photos, found, factors, strict=True)
        return [self.refine(photo, faces, min_face, factor) for photo, faces, factor in each]

    def _small_faces(
        self,
        photo: np.ndarray,
        factor: int,
        faces: Sequence[Detection],
        again: Callable[[Reduction], tuple[np.ndarray, int] | None] | None,
    ) -> list[Detection]:
        """Faces that are too small for the canvas of a photo, beside the `faces` that were found on it."""
        height, width = photo.shape[0] * factor, photo.shape[1] * factor
        on_canvas = Letterbox.for_photo(width, height).scale
        glance = min(1.0, math.sqrt(GLANCE_PIXELS / (width * height)))
        if glance <= on_canvas:
            return []
        sure = [face for face in faces if face.confidence > _SURE]
        if all(max(face.box[2:]) * on_canvas >= _SMALL_ON_CANVAS for face in sure):
            # Scaling it exactly takes as long as the rest.
            times = math.isqrt(photo.shape[0] * photo.shape[1] // GLANCE_PIXELS)
            picture = np.asarray(Image.fromarray(photo).reduce(times)) if times > 1 else photo
            smallest = SMALLEST_FACE_ON_CANVAS * len(picture) / (height * glance)
            rows = self._rows([picture], [_ONE_LEVEL], min_face_size=smallest, threshold_pnet=_SURE_AT_A_GLANCE)
            if not (rows[:, 5] > _SURE).any():
                return []
        scale = min(1.0, _CLOSER * glance)
        if again and scale * factor > 1:
            photo, factor = again(Reduction(math.ceil(scale * max(width, height)))) or (photo, factor)
        small = []
        size = (max(12, round(photo.shape[1] * scale * factor)), max(12, round(photo.shape[0] * scale * factor)))
        for row in self._rows([resize(photo, size)]):
            face = _from_row(row, scale, (height, width))
            # A larger one would have been found on the canvas.
            if face and face.confidence > _SURE and max(face.box[2:]) * on_canvas < 2 * SMALLEST_FACE_ON_CANVAS:
                small.append(face)
        return [face for face in small if not any(_overlap(face, other) for other in faces)]

    def refine(
        self, photo: np.ndarray, faces: Sequence[Detection], min_face: int | None = None, factor: int = 1
    ) -> list[Detection]:
        """The `faces` that `detect` found in a photo, with the landmarks of those that were small on its canvas anew.

        `photo` may now have more pixels than it was searched at. On a canvas that shows 23 pixels of a face, landmarks
        are off by 2.6% of its width; placed on the photo itself, by 1.5%, as on a canvas that shows 48 of them.
        """
        height, width = photo.shape[0] * factor, photo.shape[1] * factor
        scale = Letterbox.for_photo(width, height, min_face).scale
        sides = [float(max(face.box[2:])) for face in faces]
        small = [i for i, side in enumerate(sides) if side * min(scale, 1.0) < min(_LANDMARK_SIDE, side / factor)]
        refined = list(faces)
        for i, seen in zip(small, self.look_again(photo, [faces[i] for i in small], factor), strict=True):
            if seen.confidence:
                refined[i] = replace(faces[i], landmarks=seen.landmarks)
        return refined

    def look_again(self, photo: np.ndarray, faces: Sequence[Detection], factor: int = 1) -> list[Detection]:
        """What MTCNN's last stage alone sees at the boxes of `faces`: landmarks, and the confidence that it is a face.

        For the photo that they were found in, or one much like it, as the next frame of a film is. Of what cannot be a
        face the confidence is 0, and the landmarks are anywhere.
        """
        if not faces:
            return []
        shape = photo.shape[0] * factor, photo.shape[1] * factor
        sides = [float(max(face.box[2:])) for face in faces]
        corners = [face.box[:2] + face.box[2:] / 2 - side / 2 for face, side in zip(faces, sides, strict=True)]
        patches = [_patch(photo, corner / factor, side / factor) for corner, side in zip(corners, sides, strict=True)]
        _, *answers = map(np.asarray, self._mtcnn.stages[-1]._model(_normalised(patches)))
        seen = []
        for face, corner, side, place, score in zip(faces, corners, sides, *answers, strict=True):
            landmarks = _in_sixteenths(corner + side * np.stack([place[:5], place[5:]], axis=1))
            confidence = float(score[1]) if _are_a_face(landmarks, side, shape) else 0.0
            seen.append(replace(face, landmarks=landmarks, confidence=confidence))
        return seen

    def detect_each(
        self,
        photos: Sequence[np.ndarray],
        min_face: int | None = None,
        factors: Sequence[int] | None = None,
        again: Again | None = None,
    ) -> list[list[Detection] | str]:
        """As `detect`, but a photo that it fails on is its own failure alone: why stands in place of its faces."""
        try:
            return [*self.detect(photos, min_face, factors, again)]
        except Exception as error:
            if len(photos) == 1:
                return [failure(error)]
            factors = factors or [1] * len(photos)
            alone: list[list[Detection] | str] = []
            for i, (photo, factor) in enumerate(zip(photos, factors, strict=True)):
                alone += self.detect_each([photo], min_face, [factor], again and partial(_of_one, again, i))
            return alone

    def _rows(self, canvases: list[np.ndarray], shapes: Sequence[tuple[int, ...]] = (), **options: float) -> np.ndarray:
        """(n, 16): canvas index, x1, y1, x2, y2, confidence, five x, five y.

        As many levels of the first stage as canvases of other `shapes` would have; `options` are of MTCNN's stages.
        """
        import tensorflow as tf

        images = _normalised(canvases)
        levels_of = np.array(shapes or [canvas.shape for canvas in canvases])
        rows: np.ndarray | None = None
        try:
            for stage in self._mtcnn.stages:
                rows = stage(bboxes_batch=rows, images_normalized=images, images_oshapes=levels_of, **options)
        except tf.errors.InvalidArgumentError:
            # What a stage says to no candidates from the one before it.
            rows = None
        return np.empty((0, 16)) if rows is None else rows


def _of_one(again: Again, number: int, _: int, reduction: Reduction) -> tuple[np.ndarray, int] | None:
    return again(number, reduction)


def _overlap(one: Detection, other: Detection) -> bool:
    """Whether two boxes are of one face: they share half of the smaller one."""
    corner = np.maximum(one.box[:2], other.box[:2])
    shared = np.maximum(np.minimum(one.box[:2] + one.box[2:], other.box[:2] + other.box[2:]) - corner, 0)
    return bool(shared.prod() > 0.5 * min(one.box[2:].prod(), other.box[2:].prod()))


def failure(error: Exception) -> str:
    """Why a photo that the detector fails on has no faces."""
    return f"the detector failed on it: {' '.join(str(error).split()) or type(error).__name__}"


def _normalised(pictures: Sequence[np.ndarray]) -> Any:
    """Pictures of one size as MTCNN's networks take them."""
    import tensorflow as tf

    # The package's `detect_faces` leaves them in NumPy: each of some 40 operations then copies them.
    return (tf.cast(np.stack(pictures), tf.float32) - 127.5) / 128


def _patch(photo: np.ndarray, corner: np.ndarray, side: float) -> np.ndarray:
    """The square of `side` pixels at `corner`, as large as the last stage takes it."""
    scale = _LANDMARK_SIDE / side
    return align(photo, np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]]), _LANDMARK_SIDE)


def _in_sixteenths(landmarks: np.ndarray) -> np.ndarray:
    """`landmarks` in sixteenths of a pixel, float32, far below MTCNN's precision.

    Which photos share a batch moves its last bits, and those would make other pixels of the aligned face and, after
    many steps, another latent.
    """
    return (np.rint(landmarks * 16) / 16).astype(np.float32)


def _are_a_face(landmarks: np.ndarray, side: float, shape: tuple[int, int]) -> bool:
    """Whether a face in a box of `side` pixels, in a photo of `shape`, can have these."""
    height, width = shape
    centre = landmarks.mean(0)
    if not (np.isfinite(landmarks).all() and 0 <= centre[0] < width and 0 <= centre[1] < height):
        # Off the photo, in the canvas's black border.
        return False
    if np.ptp(landmarks, axis=0).max() < 1:
        # In one point they say nothing about the face's place.
        return False
    # Swapped left and right, say: they fit a face best that is as large as a country, and would be cut out so.
    return side_in_photo(face_transform(landmarks)) <= _LARGEST_SIDE * side


def most_central(faces: Sequence[Detection], photo: np.ndarray) -> Detection:
    """The one of a photo's `faces`, at least one, that is nearest its middle: the labelled one in face data sets."""
    middle = np.array(photo.shape[1::-1]) / 2
    return min(faces, key=lambda face: float(np.hypot(*(face.landmarks.mean(0) - middle))))


def _from_row(row: np.ndarray, scale: float, shape: tuple[int, int]) -> Detection | None:
    """One MTCNN row in pixels of a photo of `shape`, or None where it is of no face."""
    height, width = shape
    x1, y1, x2, y2 = row[1:5] / scale
    landmarks = _in_sixteenths(np.stack([row[6:11], row[11:16]], axis=1) / scale)
    if not (np.isfinite(row).all() and _are_a_face(landmarks, max(x2 - x1, y2 - y1), shape)):
        return None
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if x2 <= x1 or y2 <= y1:
        return None
    box = np.array([x1, y1, x2 - x1, y2 - y1], np.float32)
    return Detection(box, landmarks, float(row[5]))
