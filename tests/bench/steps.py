"""What the optimiser's steps buy: who is still taken for the person, and who looks the age, after 0 to 60 of them.

    python tests/bench/steps.py DATA.h5 OUT.json --judge JUDGE [--faces 500] [--steps 0,5,10,20,30,60]

DATA.h5 was prepared by `faceage data prepare`; the faces are the first of its test split, whose order is that of a
hash. JUDGE is 'dlib' or a recogniser's FILE.onnx or FILE.param, and had no part in the training. Every share is
compared with that of the most steps, face by face. OUT.json has what is measured by now.
"""

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from faceage.ages import AGE_CLASSES, STRENGTH, class_of
from faceage.data.dataset import FaceSet, load_faces
from faceage.evaluation.interval import share
from faceage.evaluation.people import all_portraits, drawn, ways_to_draw
from faceage.evaluation.published import AgeGenderJudge
from faceage.evaluation.recognizers import Judge, calibrate, open_judge
from faceage.files import write_text
from faceage.model import Model, load_model
from faceage.people.optimise import LatentOptimiser, Latents
from faceage.people.options import OptimiserOptions

_RESAMPLED = 2000

CLASSES = np.arange(len(AGE_CLASSES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--faces", type=int, default=500)
    parser.add_argument("--steps", type=lambda text: sorted(map(int, text.split(","))), default=[0, 5, 10, 20, 30, 60])
    arguments = parser.parse_args()
    judging = Judging(open_judge(arguments.judge), load_faces(arguments.data, "test").first(arguments.faces))
    model = load_model()
    measured = {}
    # The most first: all others are compared with it.
    for steps in sorted(arguments.steps, key=lambda steps: (steps != arguments.steps[-1], steps)):
        latents, seconds = optimised(model, judging.faces, steps)
        measured[steps] = {"CPU seconds a face": seconds, **judging.hits(model, latents)}
        print(f"{steps} steps: {seconds:.2f} CPU seconds a face", flush=True)
        write_text(arguments.out, json.dumps(compared(measured), indent=1))
    print_table(compared(measured))


def optimised(model: Model, faces: FaceSet, steps: int) -> tuple[Latents, float]:
    """Latents of so many steps, and CPU seconds for each face, compilation left out."""
    options = OptimiserOptions(steps=steps) if steps else OptimiserOptions(objective="none")
    optimiser = LatentOptimiser(model.fast, options)
    optimiser(faces.faces[:1])
    started = time.process_time()
    latents = optimiser(faces.faces)
    # Batches are filled up: their places count.
    places = -(-len(faces) // optimiser.batch_size) * optimiser.batch_size
    return latents, round((time.process_time() - started) / places, 4)


class Judging:
    """What the judges say of people drawn from latents, beside their photos."""

    def __init__(self, recognizer: Judge, faces: FaceSet) -> None:
        self.faces = faces
        self._recognizer = recognizer
        self._ages = AgeGenderJudge()
        self._real = {side: recognizer.embed(shown) for side, shown in ((64, faces.faces), (160, all_portraits(faces)))}
        self._threshold = {side: calibrate(recognizer, rows, faces.identities)[0] for side, rows in self._real.items()}

    def hits(self, model: Model, latents: Latents) -> dict[str, np.ndarray]:
        """By what is measured, (n,) or (n, 6): yes or no for each face, and for it at each age."""
        people = drawn(model, latents)
        photographs = ways_to_draw(model)["photographs"](self.faces, latents, STRENGTH)
        return {
            "rebuilt face accepted": self._accepted(people[:, :1])[:, 0],
            "aged face accepted": self._accepted(people[:, 1:]),
            "photograph accepted": self._accepted(photographs),
            "aged face hits the class": self._looks_it(people[:, 1:]),
            "photograph hits the class": self._looks_it(photographs),
        }

    def _accepted(self, pictures: np.ndarray) -> np.ndarray:
        """Which of (n, k, s, s, 3) pictures are taken for their person."""
        count, of_each, side = pictures.shape[:3]
        rows = self._recognizer.embed(pictures.reshape(-1, *pictures.shape[2:])).reshape(count, of_each, -1)
        return np.linalg.norm(rows - self._real[side][:, None], axis=2) < self._threshold[side]

    def _looks_it(self, pictures: np.ndarray) -> np.ndarray:
        seen = self._ages.ages(pictures.reshape(-1, *pictures.shape[2:])).reshape(pictures.shape[:2])
        return class_of(seen) == CLASSES


def compared(measured: dict[int, dict]) -> dict[int, dict]:
    """Shares with their intervals in place of the hits, and the paired difference from the most steps."""
    most = measured[max(measured)]
    return {
        steps: {
            name: {**asdict(share(hits)), "difference": difference(hits, most[name])}
            if isinstance(hits, np.ndarray)
            else hits
            for name, hits in each.items()
        }
        for steps, each in sorted(measured.items())
    }


def difference(hits: np.ndarray, other: np.ndarray) -> list[float]:
    """How much larger the first share is, and its 95% interval: faces are drawn again (bootstrap), with all ages."""
    each = (hits.astype(float) - other).reshape(len(hits), -1).mean(1)
    random = np.random.default_rng(0)
    means = [each[random.integers(0, len(each), len(each))].mean() for _ in range(_RESAMPLED)]
    return [round(float(value), 4) for value in (each.mean(), *np.quantile(means, [0.025, 0.975]))]


def print_table(found: dict[int, dict]) -> None:
    most = max(found)
    for name, value in found[most].items():
        if not isinstance(value, dict):
            continue
        print(f"\n{name:<28}{'share':>8}{'interval':>18}{f'less that of {most}':>20}{'interval':>20}")
        for steps, each in found.items():
            one, (gain, low, high) = each[name], each[name]["difference"]
            within = f"{one['low']:.1%} to {one['high']:.1%}"
            print(
                f"{steps:>18} steps    {one['value']:>8.1%}{within:>18}{gain:>+20.1%}{f'{low:+.1%} to {high:+.1%}':>20}"
            )


if __name__ == "__main__":
    main()
