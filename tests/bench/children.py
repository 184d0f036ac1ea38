"""Judge the adults that `faceage print` draws of children: identity, how far they differ, gender and years.

    python tests/bench/children.py DATA.h5 --judge JUDGE [--limit 60] [--steps 10] [--picture FILE.png]

DATA.h5 was prepared by `faceage data prepare`. The children are the first of the test split, whose order is that of a
hash, and their ages and genders are said, as labelled. No data here shows one person as a child and as an adult: how
near a drawn adult comes to the grown-up is measured by nothing here. What is: whether a recogniser that had no part in
the training takes each adult for the child of the photo, and finds that child among others by it; whether the adults of
one child differ by more than another seed of the optimiser would make them; and gender and years as a judge sees them.
With --adults, adults are drawn as children and back, and compared with themselves.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceage.ages import Age, age_weights
from faceage.backend import compile_step
from faceage.data.dataset import FaceSet, load_faces
from faceage.evaluation.interval import share
from faceage.evaluation.people import all_portraits
from faceage.evaluation.published import AgeGenderJudge
from faceage.evaluation.recognizers import Judge, calibrate, open_judge
from faceage.faces.align import face_transform
from faceage.genders import GENDERS
from faceage.images import encode_portrait
from faceage.model import Model, load_model
from faceage.people.optimise import LatentOptimiser
from faceage.people.options import ADULT_STRENGTH, STEPS, OptimiserOptions
from faceage.people.spread import Adult, Spread
from faceage.pictures.grid import draw_grid, resize
from faceage.pictures.save import save_png
from faceage.sizes import FACE_SIZE
from faceage.store.latents import FaceRow

AGES = tuple(map(Age, (12, 18, 25, 35)))
ADULT = slice(2, None)
COUNT = 3


def rows_of(model: Model, faces: FaceSet, steps: int, seed: int, portraits: np.ndarray | None = None) -> list[FaceRow]:
    """The rows of `faces`, as a batch that is told each one's age finds them; `portraits` stand in for their own."""
    shown = all_portraits(faces) if portraits is None else portraits
    aligned = faces.faces if portraits is None else np.stack([np.asarray(resize(each, FACE_SIZE)) for each in shown])
    optimiser = LatentOptimiser(model.fast, OptimiserOptions(steps=steps, seed=seed), 4, age_weights(0))
    rows = {}
    for age in np.unique(faces.ages):
        # Only what the age is compiled into is compiled again.
        optimiser._age = age_weights(age)
        optimiser._prepare = compile_step(optimiser._prepare_step)
        chosen = np.flatnonzero(faces.ages == age)
        latents = optimiser(aligned[chosen])
        for at, i in enumerate(chosen):
            rows[i] = FaceRow(
                source=faces.sources[i],
                face=0,
                box=np.zeros(4),
                landmarks=faces.landmarks[i],
                confidence=1.0,
                aligned=aligned[i],
                age=latents.age[at],
                latent_initial=latents.initial[at],
                latent=latents.latent[at],
                offset=latents.offset[at],
                identity_distance=latents.distance[at],
                transform=face_transform(faces.landmarks[i]),
                portrait=encode_portrait(shown[i]),
            )
    return [rows[i] for i in range(len(faces))]


def there_and_back(model: Model, adults: FaceSet, steps: int, judge: Judge, threshold: float) -> dict[str, object]:
    """Adults drawn as children of 9, and these, as photos of which nothing else is known, drawn at the true age.

    The drawn children were made from the answer, and are no children: what holds of them is a bound from above.
    """
    spreads = {gender: Spread(model, gender or None) for gender in set(adults.genders)}
    away = [spreads[gender] for gender in adults.genders]
    child = Age(9)
    rows = rows_of(model, adults, steps, 0)
    young = np.stack([spread(row, [child], 1)[0].pictures[0] for spread, row in zip(away, rows, strict=True)])
    as_children = replace(adults, ages=np.full(len(adults), 9))
    again = [
        spread(row, [Age(int(years))], COUNT)
        for spread, row, years in zip(away, rows_of(model, as_children, steps, 0, young), adults.ages, strict=True)
    ]
    pictures = np.stack([[young[i], *(one.pictures[0] for one in each)] for i, each in enumerate(again)])
    real = judge.embed(all_portraits(adults))
    seen = judge.embed(pictures.reshape(-1, *pictures.shape[2:])).reshape(*pictures.shape[:2], -1)
    distances = np.linalg.norm(seen[:, :, None] - real, axis=-1)  # (n, 1 + COUNT, n)
    own = distances[np.arange(len(adults)), :, np.arange(len(adults))]
    return {
        "adults": len(adults),
        "distance, not aged": round(float(own[:, 0].mean()), 3),
        "distance, aged, each": own[:, 1:].mean(0).round(3).tolist(),
        "accepted, not aged": str(share(own[:, 0] < threshold)),
        "accepted, aged": str(share(own[:, 1:] < threshold)),
        "found first, not aged": str(share(distances[:, 0].argmin(-1) == np.arange(len(adults)))),
        "found first, aged": str(share(distances[:, 1:].argmin(-1) == np.arange(len(adults))[:, None])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--strength", type=float, default=ADULT_STRENGTH)
    parser.add_argument("--adults", type=int, default=0, help="draw so many adults as children and back, too")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    recognizer, people = open_judge(asked.judge), AgeGenderJudge()
    test = load_faces(asked.data, "test")
    children = test.take(np.flatnonzero(test.classes == 0)[: max(asked.limit, 150)])
    faces = children.first(asked.limit)
    everybody = recognizer.embed(all_portraits(children))
    mixed = test.of_each_class(50)
    thresholds = {
        "all ages": calibrate(recognizer, recognizer.embed(all_portraits(mixed)), mixed.identities)[0],
        "children": calibrate(recognizer, everybody, children.identities)[0],
    }
    model = load_model()
    spreads = {gender: Spread(model, gender) for gender in (*GENDERS, None)}

    def drawn(seed: int, count: int) -> list[list[Adult]]:
        rows = zip(rows_of(model, faces, asked.steps, seed), faces.genders, strict=True)
        return [spreads[gender or None](row, AGES, count, asked.strength) for row, gender in rows]

    adults, again = drawn(0, COUNT), drawn(1, 1)
    # (n, COUNT + 1, 4, 160, 160, 3): the last is the first with another seed.
    pictures = np.stack(
        [[*(one.pictures for one in each), other.pictures] for each, (other,) in zip(adults, again, strict=True)]
    )
    seen = recognizer.embed(pictures.reshape(-1, *pictures.shape[3:])).reshape(*pictures.shape[:3], -1)
    to_photo = np.linalg.norm(seen - everybody[: len(faces), None, None], axis=-1)
    grown = seen[:, :COUNT, ADULT]
    pairs = [np.linalg.norm(grown[:, a] - grown[:, b], axis=-1) for a, b in ((0, 1), (0, 2), (1, 2))]
    ranks = np.linalg.norm(grown[:, :, :, None] - everybody, axis=-1).argmin(-1)
    judged = pictures[:, :COUNT].reshape(-1, *pictures.shape[3:])
    genders = people.genders(judged).reshape(pictures.shape[0], COUNT, -1) == np.array(faces.genders)[:, None, None]
    years = people.ages(judged).reshape(pictures.shape[0], COUNT, -1)
    real_genders = people.genders(all_portraits(faces)) == np.array(faces.genders)
    scores = {
        "children": len(faces),
        "strength": asked.strength,
        "thresholds": {name: round(value, 4) for name, value in thresholds.items()},
        "accepted": {
            name: {
                "each": [str(share(to_photo[:, i, ADULT] < value)) for i in range(COUNT)],
                "all three at every adult age": str(share((to_photo[:, :COUNT, ADULT] < value).all((1, 2)))),
            }
            for name, value in thresholds.items()
        },
        "nearest of all children is the right one": str(share(ranks == np.arange(len(faces))[:, None, None])),
        "own recogniser's distance": [
            round(float(np.mean([each[i].distances[ADULT] for each in adults])), 3) for i in range(COUNT)
        ],
        "between the three": round(float(np.mean(pairs)), 3),
        "between two seeds": round(float(np.linalg.norm(seen[:, 0, ADULT] - seen[:, -1, ADULT], axis=-1).mean()), 3),
        "gender as labelled, photos": str(share(real_genders)),
        "gender as labelled": [str(share(genders[..., i])) for i in range(len(AGES))],
        "years seen": {age.label: round(float(years[..., i].mean()), 1) for i, age in enumerate(AGES)},
        "years seen, of children from 6 on": {
            age.label: round(float(years[faces.ages >= 6, :, i].mean()), 1) for i, age in enumerate(AGES)
        },
    }
    if asked.adults:
        others = test.take(np.flatnonzero((test.ages >= 22) & (test.ages <= 40))[: asked.adults])
        scores["there and back"] = there_and_back(model, others, asked.steps, recognizer, thresholds["all ages"])
    print(json.dumps(scores, indent=1))
    if asked.picture:
        photos = all_portraits(faces)
        cells = np.stack(
            [[photo, *each[:COUNT, 2], *each[:COUNT, 3]] for photo, each in zip(photos, pictures, strict=True)]
        )
        labels = ["photo", *(f"{letter}, {age}" for age in (25, 35) for letter in "ABC")]
        save_png(draw_grid(cells[:20], labels, 1, [str(age) for age in faces.ages[:20]]), asked.picture)


if __name__ == "__main__":
    main()
