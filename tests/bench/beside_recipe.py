"""`faceage batch` beside the published recipe, on the same faces: seconds a face, and whom a judge takes them for.

    python tests/bench/beside_recipe.py DATA.h5 --judge JUDGE [--faces 100] [--eager 100]

DATA.h5 was prepared by `faceage data prepare`, and its photos still lie where they were: the first of its test split,
whose order is that of a hash. JUDGE is 'dlib' or a recogniser's FILE.onnx or FILE.param, and had no part in the
training. Start-up and compilation are left out. The recipe is done with Inception-ResNet-v2 for its time, and with the
recogniser of the model for its faces. --eager is how many faces it is timed on without compiling its steps.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from recipe import Recipe

from faceage.ages import EVERY_CLASS, STRENGTH
from faceage.batch.age_photos import make_task
from faceage.batch.options import DRAW, DrawOptions, FindOptions
from faceage.batch.photo import Photo
from faceage.batch.plan import LATENTS, choose_photos, left_of
from faceage.batch.worker import Worker
from faceage.data.dataset import FaceSet, load_faces
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import all_portraits, drawn
from faceage.evaluation.recognizers import Judge, calibrate, open_judge
from faceage.model import Model, load_model
from faceage.people.draw import PeoplePainter, latents_of
from faceage.store.latents import LatentIndex, read_rows

_WARM = 40
"""Photos that compile everything: the optimiser's batch is full once, and filled up once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--faces", type=int, default=100)
    parser.add_argument("--eager", type=int)
    arguments = parser.parse_args()
    model, faces = load_model(), load_faces(arguments.data, "test")
    chosen, others = faces.first(arguments.faces), faces.take(np.arange(arguments.faces, len(faces))).first(_WARM)
    photos = [faces.root / source for source in chosen.sources]
    judging = Judging(open_judge(arguments.judge), faces.first(1000))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        eager = timed_recipe(Recipe(model, compiled=False), photos[: arguments.eager], out)
        compiled = timed_recipe(Recipe(model), photos, out)
        of_recipe = judged_recipe(Recipe(model, shipped=True), photos, out, judging)
        warm = [faces.root / source for source in others.sources]
        ours = {draw: timed_batch(model, warm, photos, out / draw, judging, draw) for draw in DRAW}
    print(f"{'':<26}{'s/face':>8}{'CPU s':>8}{'ratio':>8}   accepted: rebuilt, aged, photographs")
    rows = (("published, eager", eager, of_recipe), ("published, compiled", compiled, of_recipe))
    found = ((f"faceage batch, {draw}", *measured) for draw, measured in ours.items())
    for name, (wall, cpu), shares in (*rows, *found):
        print(f"{name:<26}{wall:>8.3f}{cpu:>8.3f}{compiled[0] / wall:>8.1f}   {'; '.join(map(str, shares))}")
    print("(the ratio is to the compiled recipe; 'generator' draws the six faces of G that the recipe gives)")


class Judging:
    """A judge, with the thresholds at which it tells people of `faces` apart."""

    def __init__(self, judge: Judge, faces: FaceSet) -> None:
        self._judge = judge
        shown = {64: faces.faces, 160: all_portraits(faces)}
        self._threshold = {
            side: calibrate(judge, judge.embed(each), faces.identities)[0] for side, each in shown.items()
        }

    def accepted(self, photos: np.ndarray, pictures: np.ndarray) -> Share:
        """Which of (n, k, s, s, 3) pictures are taken for the person of (n, s, s, 3) photos."""
        real = self._judge.embed(photos)
        each = [np.linalg.norm(self._judge.embed(pictures[:, i]) - real, axis=1) for i in range(pictures.shape[1])]
        return share(np.stack(each, axis=1) < self._threshold[photos.shape[1]])


Seconds = tuple[float, float]
"""Of the clock and of the CPUs, for a face."""


def timed(work: Callable[[], int]) -> Seconds:
    """For each of the faces that `work` did."""
    wall, cpu = time.perf_counter(), _cpu()
    faces = work()
    return (time.perf_counter() - wall) / faces, (_cpu() - cpu) / faces


def _cpu() -> float:
    """Of this process and of those that it has ended."""
    return sum(os.times()[:4])


def timed_recipe(recipe: Recipe, photos: list[Path], out: Path) -> Seconds:
    # The first photo compiles the step, and builds MTCNN for this size.
    recipe(photos[0], out / "warm.png")
    return timed(lambda: sum(recipe(photo, out / f"{i}.png") is not None for i, photo in enumerate(photos)))


def judged_recipe(recipe: Recipe, photos: list[Path], out: Path, judging: Judging) -> list[Share]:
    found = [pair for photo in photos if (pair := recipe(photo, out / "judged.png"))]
    faces, people = (np.stack(part) for part in zip(*found, strict=True))
    return [judging.accepted(faces, people[:, :1]), judging.accepted(faces, people[:, 1:])]


def timed_batch(
    model: Model, warm: list[Path], photos: list[Path], out: Path, judging: Judging, draw: str
) -> tuple[Seconds, list[Share]]:
    """As `faceage batch --draw` does them, but the largest face alone, as the recipe does."""
    find, options = FindOptions("largest"), DrawOptions(draw=draw)
    task = make_task(out, model.folder, find, options)
    (out / "grids").mkdir(parents=True)
    index = LatentIndex(out / LATENTS, model.fingerprint, find.to_json(), options.to_json())
    index.begin(keep=lambda name: False)
    worker = Worker(task, "0")

    def age(paths: list[Path]) -> int:
        to_find: list[Photo] = list(left_of(task, choose_photos(paths, out)).to_find)
        faces = 0
        for done in worker.find(to_find):
            index.count(done.parts)
            faces += len(done.distances) // 2
        for _ in worker.rest():
            pass
        return faces

    names = {Path(photo).name for photo in photos}
    try:
        age(warm)
        seconds = timed(lambda: age(photos))
    finally:
        worker.close()
    rows = [row for row in read_rows(out / LATENTS) if Path(row.source).name in names]
    people = drawn(model, latents_of(rows))
    aligned = np.stack([row.aligned for row in rows])
    pictures = PeoplePainter(model)(rows, EVERY_CLASS, STRENGTH)
    return seconds, [
        judging.accepted(aligned, people[:, :1]),
        judging.accepted(aligned, people[:, 1:]),
        judging.accepted(np.stack([each.photo for each in pictures]), np.stack([each.aged for each in pictures])),
    ]


if __name__ == "__main__":
    main()
