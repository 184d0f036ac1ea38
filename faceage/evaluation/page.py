"""Everything that is measured of a model, on one page: figures as JSON, and tables to read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import AGE_CLASSES, STRENGTH, class_of
from faceage.data.dataset import FaceSet
from faceage.evaluation.age import AgeScores, judge_age
from faceage.evaluation.identity import IdentityScores, judge_identity
from faceage.evaluation.interval import Share, share, without_nan
from faceage.evaluation.people import OPTIMISED, all_portraits, enlarged, rebuilt, ways_to_draw
from faceage.evaluation.photographs import Judges, PhotographScores, accepted_pictures, judge_photographs
from faceage.evaluation.plot import plot_shares, plot_trade_off
from faceage.evaluation.realism import RealismScores, judge_realism
from faceage.files import write_text
from faceage.model import Model
from faceage.people.optimise import Latents
from faceage.photos.provenance import EDITED
from faceage.pictures.grid import draw_grid
from faceage.pictures.save import save_png

STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Of ageing, between which identity and age are traded."""
VARIED = 96
"""Faces, at most, that are aged by each of them: every class alike."""
REFERENCE = 150
"""Real photos of each class, at most, that the KID compares pictures with."""
README, FIGURES = "README.md", "evaluation.json"
SHOWN = 2
"""People of each class in people.png."""


@dataclass(frozen=True)
class Evaluation:
    """All scores of a model; `photographs` by way to draw, the one that users see first.

    `trade_off` has, for each ageing strength, the share taken for the person and the share that looks the age.
    """

    model: str
    weights: str
    data: str
    strength: float
    identity: IdentityScores
    photographs: dict[str, PhotographScores]
    age: AgeScores
    realism: RealismScores
    trade_off_faces: int
    trade_off: dict[str, tuple[Share, Share]]

    def summary(self) -> dict[str, Any]:
        """The scores for a model's card: of the generator's faces, and in short of each way to draw."""
        generator = self.photographs["generator"]
        return {
            "data": self.data,
            "faces": generator.faces,
            "judge": self.identity.judge,
            "false_matches": self.identity.false_matches,
            "strength": self.strength,
            "accepted": {name: found.value for name, found in self.identity.accepted.items()},
            "accepted_aged": generator.accepted["all"].value,
            "age_estimator": self.age.estimator,
            "age_hit": {
                "real": generator.class_hit["real"]["all"].value,
                "sampled": self.age.sampled["all"].value,
                "aged": generator.class_hit["aged"]["all"].value,
            },
            "pictures": {way: _brief(scores) for way, scores in self.photographs.items()},
            "frechet": self.realism.frechet,
            "frechet_floor": self.realism.floor,
        }

    def markdown(self) -> str:
        """The page."""
        identity, age, realism = self.identity, self.age, self.realism
        parts = [
            f"# {self.model}: evaluation\n",
            f"{identity.faces} faces of {self.data}, drawn by hash, every age class alike; weights "
            f"{self.weights[:12]}. Intervals are 95%.\n",
            "## Aged pictures\n",
            f"Every face is drawn in all six age classes with strength {self.strength:g}. Age and gender are judged by "
            f"{age.estimator}, identity by {identity.judge}; neither had a part in training.\n",
            *(part for way, scores in self.photographs.items() for part in _pictures_part(way, scores)),
            "## Identity of reconstructions\n",
            f"Judge: {identity.judge}, at a distance of {identity.threshold}, which lets "
            f"{identity.false_matches:.1%} of pairs of different people through. It finds {identity.found} of the "
            "photos; a face that it does not find is not accepted.\n",
            _table(("latent", "taken for the person", "mean distance"), [
                (name, found, f"{identity.distance[name]:.3f}") for name, found in identity.accepted.items()
            ]),
            _table(("photos of", "faces", "taken for the person"), [
                (name, found.count, found) for name, found in identity.groups.items()
            ]),
            "## Age of random faces\n",
            f"From real to sampled faces the class hit loses {age.drop:.1%}.\n",
            _table(("class", "real", "sampled"), [
                (name, age.real[name], age.sampled[name]) for name in (*AGE_CLASSES, "all")
            ]),
            "## Identity against age\n",
            f"{self.trade_off_faces} of the faces, aged to every class by several strengths.\n",
            _table(("strength", "taken for the person", "class hit"), [
                (name, *shares) for name, shares in self.trade_off.items()
            ]),
            "## Realism of random faces\n",
            f"Fréchet distance on {realism.features}, {realism.faces} faces a side: {realism.frechet:.4f}; between two "
            f"sets of real faces {realism.floor:.4f}. Mean distance of two sampled faces of one class (real faces: "
            f"{realism.real_variety:.3f}):\n",
            _table(("class", "distance"), [(name, f"{value:.3f}") for name, value in realism.variety.items()]),
        ]  # fmt: skip
        return "\n".join(parts)


def _brief(scores: PhotographScores) -> dict[str, Any]:
    return {
        "accepted": {name: found.value for name, found in scores.accepted.items()},
        "class_hit": {
            kind: {name: found.value for name, found in hits.items()} for kind, hits in scores.class_hit.items()
        },
        "age_off": {name: scores.age_off[name] for name in ("mean", "worst")},
        "years_added": scores.years_added,
        "years_taken": scores.years_taken,
        "gender": {name: {at: found.value for at, found in row.items()} for name, row in scores.gender.items()},
        "kid": scores.kid,
        "kid_floor": scores.kid_floor,
        "skin_detail": scores.skin_detail,
    }


def _pictures_part(way: str, scores: PhotographScores) -> list[str]:
    real, aged = scores.class_hit["real"], scores.class_hit["aged"]
    return [
        f"### {way.capitalize()}\n",
        f"Class hit {aged['all']}, in real photos {real['all']}. Over the 30 pairs of own class and target the mean "
        f"age seen is off that in real photos of the target by {scores.age_off['mean']:.1f} years on average and "
        f"{scores.age_off['worst']:.1f} at worst; 60+ adds {scores.years_added:.0f} years to 19-29, and 0-18 takes "
        f"{scores.years_taken:.0f} off 50 and more. Taken for the person: {scores.accepted['all']}.\n",
        _table(
            ("aged to", "age seen (real)", "class hit (real)", "taken for the person", "KID × 1000 (floor)", "skin"),
            [
                (
                    name,
                    f"{scores.age_seen['aged'][name]:.0f} ({scores.age_seen['real'][name]:.0f})",
                    f"{aged[name].value:.1%} ({real[name].value:.1%})",
                    scores.accepted[name],
                    f"{scores.kid[name]:.1f} ({scores.kid_floor[name]:.1f})",
                    f"{scores.skin_detail[name]:.2f}",
                )
                for name in AGE_CLASSES
            ],
        ),
        "Gender as labelled:\n",
        _table(
            ("photos of", "real", *AGE_CLASSES),
            [(name, *(f"{row[at].value:.0%}" for at in ("real", *AGE_CLASSES))) for name, row in scores.gender.items()],
        ),
    ]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def evaluate(
    model: Model,
    faces: FaceSet,
    test: FaceSet,
    other: FaceSet,
    latents: Mapping[str, Latents],
    judges: Judges,
    samples: int = 10_000,
    strength: float = STRENGTH,
    seed: int = 0,
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
) -> Evaluation:
    """Measure `model` on `faces`, whose `latents` of every kind are given.

    `test` are faces as often of each class as in the data, for realism; `other` real faces are its floor and the KID's
    reference.
    """
    best = latents[OPTIMISED]
    photographs = judge_ways(model, faces, other, best, judges, strength, seed, progress)
    some, trade_off = faces.each_class(VARIED // len(AGE_CLASSES)), {}
    for done, varied in enumerate(STRENGTHS):
        trade_off[f"{varied:g}"] = _traded(model, faces.take(some), best.take(some), judges, varied, seed)
        progress("identity against age", done + 1, len(STRENGTHS))
    return Evaluation(
        model=model.card.get("name", model.folder.name),
        weights=model.drawing_fingerprint,
        data=f"{faces.root.name}, test split",
        strength=strength,
        identity=judge_identity(
            model, faces, latents, judges.recognizer, lambda *done: progress("judging identity", *done)
        ),
        photographs=photographs,
        age=judge_age(model, judges.people, test, samples, seed),
        realism=judge_realism(model, test, other, seed),
        trade_off_faces=len(some),
        trade_off=trade_off,
    )


def judge_ways(
    model: Model,
    faces: FaceSet,
    other: FaceSet,
    latents: Latents,
    judges: Judges,
    strength: float = STRENGTH,
    seed: int = 0,
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
) -> dict[str, PhotographScores]:
    """`judge_photographs` for each way that `model` can draw `faces`, with `other` people as the reference."""
    reference = other.of_each_class(REFERENCE)
    known, portraits = (all_portraits(reference), reference.classes), all_portraits(faces)
    return {
        way: judge_photographs(
            draw(faces, latents, strength),
            portraits,
            faces,
            known,
            judges,
            seed,
            lambda *done, way=way: progress(f"judging {way}", *done),
        )
        for way, draw in ways_to_draw(model).items()
    }


def _traded(
    model: Model, faces: FaceSet, latents: Latents, judges: Judges, strength: float, seed: int
) -> tuple[Share, Share]:
    """The shares that are taken for the person and that look the age, by the first way to draw."""
    draw = next(iter(ways_to_draw(model).values()))
    pictures = draw(faces, latents, strength)
    _, accepted = accepted_pictures(pictures, all_portraits(faces), faces, judges.recognizer)
    ages = judges.people.ages(pictures.reshape(-1, *pictures.shape[2:])).reshape(accepted.shape)
    return share(accepted, seed), share(class_of(ages) == np.arange(len(AGE_CLASSES)), seed)


def save_page(found: Evaluation, model: Model, faces: FaceSet, latents: Mapping[str, Latents], folder: Path) -> None:
    """README.md, evaluation.json, the plots, and people.png with two of `faces` of each class, whoever they are."""
    write_text(folder / README, found.markdown())
    write_text(folder / FIGURES, json.dumps(without_nan(asdict(found)), indent=1) + "\n")
    first = next(iter(found.photographs.values()))
    plot_shares({"accepted": found.identity.accepted, "aged": first.accepted}, folder / "identity.png")
    plot_shares({**first.class_hit, "sampled": found.age.sampled}, folder / "age.png")
    plot_trade_off(found.trade_off, folder / "trade-off.png")
    chosen = faces.each_class(SHOWN)
    shown, best = faces.take(chosen), latents[OPTIMISED].take(chosen)
    draw = next(iter(ways_to_draw(model).values()))
    own = np.rint(enlarged(rebuilt(model, best)[:, None])).astype(np.uint8)
    columns = [all_portraits(shown)[:, None], own, draw(shown, best, found.strength)]
    save_png(
        draw_grid(np.concatenate(columns, axis=1), ("photo", "rebuilt", *AGE_CLASSES)), folder / "people.png", EDITED
    )
