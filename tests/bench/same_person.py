"""What several photos of one person are worth to `faceage print --same-person`, beside one photo and a joint optimiser.

    python tests/bench/same_person.py FOLDER --judge JUDGE [--of 4] [--sets 2] [--steps 10]

FOLDER has a folder of photos for each person, as LFW has. Of a set of `--of` photos, one person is drawn: from the
latents of one photo, from the mean of all the photos' latents, as --same-person does, and from one latent that is
optimised for all of them together. A judge that had no part in the training compares each with the person's other
photos, which nothing has seen.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from keras import ops
from PIL import Image

from faceage.ages import parse_ages
from faceage.evaluation.recognizers import open_judge
from faceage.faces.align import align, face_transform, resized
from faceage.faces.detect import Detector
from faceage.images import decode_portrait, encode_portrait
from faceage.model import load_model
from faceage.people.draw import PeoplePainter
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import ADULT_STRENGTH, STEPS, OptimiserOptions
from faceage.people.spread import Spread, one_of
from faceage.pictures.grid import resize
from faceage.sizes import PORTRAIT_SIZE
from faceage.store.latents import FaceRow

AGES = parse_ages("8,25,70")
EVERYBODY = 2.0
"""An identity distance that nobody exceeds: that all photos show one person is known here."""


class JointOptimiser(LatentOptimiser):
    """Finds one latent and one offset for all the faces of a batch."""

    def _restart(self, initial):
        super()._restart(_shared(initial))

    def _drawn(self, age):
        # All rows are the same and get the same gradient, so they stay so.
        own = [ops.convert_to_tensor(variable) for variable in (self._latent, self._offset)]
        latent, offset = map(_shared, own)
        moved = latent - ops.convert_to_tensor(self._initial)
        prior = ops.mean(ops.square(moved), axis=-1) + ops.mean(ops.square(offset), axis=-1)
        return self._generator([latent, age, offset], training=False), self.options.prior * prior


def _shared(rows):
    return ops.broadcast_to(ops.mean(rows, axis=0, keepdims=True), ops.shape(rows))


def look(detector: Detector, photos: list[Path], optimiser: LatentOptimiser) -> list[FaceRow]:
    """The rows of the largest faces of `photos`."""
    pictures = [np.asarray(Image.open(photo).convert("RGB")) for photo in photos]
    faces = [found[0] for found in detector.detect(pictures)]
    transforms = [face_transform(face.landmarks) for face in faces]
    aligned = np.stack([align(*each) for each in zip(pictures, transforms, strict=True)])
    latents = optimiser(aligned)
    return [
        FaceRow(
            source=photo.name,
            face=0,
            box=face.box,
            landmarks=face.landmarks,
            confidence=face.confidence,
            aligned=aligned[i],
            transform=transform,
            portrait=encode_portrait(align(picture, resized(transform, PORTRAIT_SIZE), PORTRAIT_SIZE)),
            **latents.columns(i),
        )
        for i, (photo, picture, face, transform) in enumerate(zip(photos, pictures, faces, transforms, strict=True))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--of", type=int, default=4)
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    model, detector, judge = load_model(), Detector(), open_judge(asked.judge)
    options = OptimiserOptions(steps=asked.steps)
    ways = {kind: kind(model.fast, options, asked.of) for kind in (LatentOptimiser, JointOptimiser)}
    nothing = LatentOptimiser(model.fast, OptimiserOptions("none"), asked.of)
    spread, painter = Spread(model), PeoplePainter(model, draw="generator")
    distances: dict[str, list[np.ndarray]] = {}
    for person in sorted(path for path in asked.folder.iterdir() if path.is_dir()):
        photos = sorted(person.iterdir())
        for start in range(0, asked.sets * asked.of, asked.of):
            chosen = photos[start : start + asked.of]
            unseen = look(detector, [photo for photo in photos if photo not in chosen], nothing)
            real = judge.embed(np.stack([decode_portrait(row.portrait) for row in unseen]))
            alone, joint = (look(detector, chosen, way) for way in ways.values())
            mean, joint_mean = (one_of(rows, model, EVERYBODY)[0] for rows in (alone, joint))
            # All are drawn over one photo.
            middle = next(row for row in alone if row.source == mean.source)
            for name, row in (("one photo", middle), ("mean, --same-person", mean), ("joint optimiser", joint_mean)):
                (rebuilt,) = painter([row], AGES, ADULT_STRENGTH)
                pictures = [*spread(row, AGES, 1)[0].pictures, *map(enlarged, [rebuilt.rebuilt, *rebuilt.aged])]
                seen = judge.embed(np.stack(pictures))
                distances.setdefault(name, []).append(np.linalg.norm(seen[:, None] - real, axis=-1).mean(1))
    columns = [*(f"print at {age.label}" for age in AGES), "G, own age", *(f"G at {age.label}" for age in AGES)]
    found = {
        name: dict(zip(columns, np.mean(values, axis=0).round(3).tolist(), strict=True))
        for name, values in distances.items()
    }
    print(
        json.dumps(
            {"sets": len(distances["one photo"]), "of": asked.of, "mean distance to other photos": found}, indent=1
        )
    )


def enlarged(face: np.ndarray) -> np.ndarray:
    return np.asarray(resize(face, PORTRAIT_SIZE))


if __name__ == "__main__":
    main()
