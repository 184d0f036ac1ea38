"""Everything that is measured of a model, on one page: figures as JSON, and tables to read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faceage.ages import AGE_CLASSES, DETAILS, STRENGTH
from faceage.data.dataset import FaceSet
from faceage.evaluation.age import AgeScores, judge_age
from faceage.evaluation.identity import IdentityScores, judge_identity
from faceage.evaluation.interval import Share, share
from faceage.evaluation.people import OPTIMISED, aged, drawn
from faceage.evaluation.realism import RealismScores, judge_realism
from faceage.evaluation.recognizers import Judge
from faceage.files import write_text
from faceage.model import Model
from faceage.networks.predict import predict
from faceage.people.optimise import Latents
from faceage.pictures.grid import draw_grid
from faceage.pictures.plot import plot_shares, plot_trade_off
from faceage.pictures.save import save_png

STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Of ageing, between which identity and age are traded."""
VARIED = 100
"""Faces, at most, that are aged by each of them."""
SHOWN = 12


@dataclass(frozen=True)
class Evaluation:
    """What was found; `trade_off` says for each strength of ageing (who is taken for the person, who looks the age)."""

    model: str
    weights: str
    data: str
    estimator: str
    identity: IdentityScores
    age: AgeScores
    realism: RealismScores
    trade_off_faces: int
    trade_off: dict[str, tuple[Share, Share]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self) -> dict[str, Any]:
        """What a model's card says of it."""
        identity, age = self.identity, self.age
        real, aged = age.real["all"].value, age.aged["all"].value
        worst = {
            kind: min(identity.groups.items(), key=lambda group: group[1][kind].value if group[1][kind].count else 2)
            for kind in ("rebuilt", "aged")
        }
        return {
            "data": self.data,
            "faces": identity.faces,
            "judge": identity.judge,
            "false_matches": identity.false_matches,
            "strength": identity.strength,
            "details": identity.details,
            "accepted": {name: found.value for name, found in identity.accepted.items()},
            "accepted_aged": identity.aged["all"].value,
            "accepted_aged_plain": identity.plain["all"].value,
            "worst_group": {kind: [name, shares[kind].value] for kind, (name, shares) in worst.items()},
            "age_estimator": self.estimator,
            "age_hit": {
                "real": real,
                "sampled": age.sampled["all"].value,
                "aged": aged,
                "aged_plain": age.plain["all"].value,
            },
            "age_hit_mean_of_classes": {"real": round(_mean(age.real), 4), "aged": round(_mean(age.aged), 4)},
            "frechet": self.realism.frechet,
            "frechet_floor": self.realism.floor,
        }

    def markdown(self) -> str:
        """The page."""
        identity, age, realism = self.identity, self.age, self.realism
        real, aged = age.real["all"].value, age.aged["all"].value
        parts = [
            f"# {self.model}: evaluation\n",
            f"{identity.faces} faces of {self.data}; weights {self.weights[:12]}. Intervals are 95%, by bootstrap.\n",
            "## Identity\n",
            f"Judge: {identity.judge}, at a distance of {identity.threshold}, which lets "
            f"{identity.false_matches:.1%} of different people through. It finds {identity.found} of the photos; a "
            f"face it does not find is not accepted. Aged by strength {identity.strength:g}, with "
            f"{identity.details:.0%} of what G leaves out of the photo put back; 'G alone' has none of it.\n",
            _table(("latent", "taken for the person", "mean distance"), [
                (name, found, f"{identity.distance[name]:.3f}") for name, found in identity.accepted.items()
            ]),
            _table(("aged to", "taken for the person", "G alone"), [
                (name, found, identity.plain[name]) for name, found in identity.aged.items()
            ]),
            "By what the photos show:\n",
            _table(("photos of", "faces", "rebuilt", "aged, mean of six"), [
                (name, shares["rebuilt"].count, shares["rebuilt"], shares["aged"])
                for name, shares in identity.groups.items()
            ]),
            "## Age\n",
            f"Estimator: {self.estimator}. From real to sampled faces it loses {age.drop:.1%}; on aged photos it hits "
            f"the class in {aged / real:.0%} as many cases as on real faces. Aged photos ask for all six classes "
            "equally often, which real faces do not have equally often: the mean of the six classes is "
            f"{_mean(age.real):.1%} on real faces and {_mean(age.aged):.1%} on aged ones.\n",
            _table(("class", "real", "sampled", "aged", "aged, G alone"), [
                (name, age.real[name], age.sampled[name], age.aged[name], age.plain[name])
                for name in (*AGE_CLASSES, "all")
            ]),
            "Confusion on aged photos (rows: the age asked for):\n",
            _table(("", *AGE_CLASSES), [
                (name, *row) for name, row in zip(AGE_CLASSES, age.confusion["aged"], strict=True)
            ]),
            "## Identity against age\n",
            f"The first {self.trade_off_faces} of the faces, aged to every class by several strengths.\n",
            _table(("strength", "taken for the person", "class hit"), [
                (name, *shares) for name, shares in self.trade_off.items()
            ]),
            "## Realism\n",
            f"Fréchet distance on {realism.features}, {realism.faces} faces a side: {realism.frechet:.4f}; between two "
            f"sets of real faces {realism.floor:.4f}. Mean distance of two sampled faces of one class (real faces: "
            f"{realism.real_variety:.3f}):\n",
            _table(("class", "distance"), [(name, f"{value:.3f}") for name, value in realism.variety.items()]),
        ]  # fmt: skip
        return "\n".join(parts)


def _mean(shares: Mapping[str, Share]) -> float:
    """Of the six classes, each counting the same."""
    return float(np.nanmean([shares[name].value for name in AGE_CLASSES]))


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def evaluate(
    model: Model,
    faces: FaceSet,
    other: FaceSet,
    latents: Mapping[str, Latents],
    judge: Judge,
    estimator: keras.Model,
    estimator_name: str,
    false_matches: float = 0.01,
    samples: int = 10_000,
    strength: float = STRENGTH,
    details: float = DETAILS,
    seed: int = 0,
    progress: Callable[[str, int, int], Any] = lambda what, done, total: None,
) -> Evaluation:
    """Measure `model` on `faces`, whose `latents` of every kind are given; `other` real faces are realism's floor."""
    asked = strength, details, seed
    identity = judge_identity(
        model, faces, latents, judge, false_matches, *asked, lambda *done: progress("judging identity", *done)
    )
    age = judge_age(model, estimator, faces, latents[OPTIMISED], samples, *asked)
    some = faces.first(VARIED)
    best = latents[OPTIMISED].take(slice(len(some)))
    real = judge.embed(some.faces)
    trade_off = {}
    for i, varied in enumerate(STRENGTHS):
        people = aged(model, some.faces, best, drawn(model, best, varied), varied, details)
        kept, hit = (np.empty((len(some), len(AGE_CLASSES)), bool) for _ in range(2))
        for target in range(len(AGE_CLASSES)):
            kept[:, target] = np.linalg.norm(judge.embed(people[:, target]) - real, axis=1) < identity.threshold
            hit[:, target] = predict(estimator, people[:, target]).argmax(1) == target
        trade_off[f"{varied:g}"] = share(kept, seed), share(hit, seed)
        progress("identity against age", i + 1, len(STRENGTHS))
    return Evaluation(
        model=model.card.get("name", model.folder.name),
        weights=model.fingerprint,
        data=f"{faces.root.name}, test split",
        estimator=estimator_name,
        identity=identity,
        age=age,
        realism=judge_realism(model, faces, other, seed),
        trade_off_faces=len(some),
        trade_off=trade_off,
    )


def save_page(found: Evaluation, model: Model, faces: FaceSet, latents: Mapping[str, Latents], folder: Path) -> None:
    """README.md, evaluation.json, the plots, and people.png: the first 12 of `faces` by name, whoever they are."""
    write_text(folder / "README.md", found.markdown())
    write_text(folder / "evaluation.json", json.dumps(found.to_json(), indent=1) + "\n")
    identity, age = found.identity, found.age
    plot_shares({"accepted": identity.accepted, "aged": identity.aged}, folder / "identity.png")
    plot_shares({"real": age.real, "sampled": age.sampled, "aged": age.aged}, folder / "age.png")
    plot_trade_off(found.trade_off, folder / "trade-off.png")
    shown = np.argsort(np.asarray(faces.sources), kind="stable")[:SHOWN]
    best = latents[OPTIMISED].take(shown)
    photos, people = faces.faces[shown], drawn(model, best, identity.strength)
    older = aged(model, photos, best, people, identity.strength, identity.details)
    columns = [photos[:, None], people[:, :1], older]
    grid = draw_grid(np.concatenate(columns, axis=1), ("photo", "rebuilt", *AGE_CLASSES), scale=2)
    save_png(grid, folder / "people.png")
