"""`faceage evaluate`: how good a model is, in the eyes of networks that had no part in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.ages import DETAILS, STRENGTH
from faceage.cli.console import bars, out, start_backend
from faceage.cli.options import Json, Quiet, Seed, Weights

if TYPE_CHECKING:
    from faceage.cli.console import Bars
    from faceage.data.dataset import FaceSet
    from faceage.model import Model
    from faceage.people.optimise import Latents

app = typer.Typer(help="Measure a model on the test split of a prepared data set.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")]
Limit = Annotated[int, typer.Option(min=2, help="Faces of the test split, at most.")]
Report = Annotated[
    Path | None, typer.Option("--out", metavar="NAME", help="Write NAME.json and NAME.png as well.", show_default=False)
]


JudgeOption = Annotated[
    str,
    typer.Option("--judge", metavar="dlib|FILE.onnx|FILE.param", help="The recogniser that judges: never the model's."),
]
FalseMatches = Annotated[
    float, typer.Option(min=1e-6, max=0.5, help="Strangers that a judge without a threshold lets through.")
]
Estimator = Annotated[
    Path, typer.Option("--estimator", metavar="MODEL", help="Model folder whose age estimator judges: not the model's.")
]
Samples = Annotated[int, typer.Option(min=6, help="Faces drawn from random latents.")]
Strength = Annotated[float, typer.Option(min=0, max=2, help="How far towards each age, as 'faceage batch' takes it.")]
Details = Annotated[
    float, typer.Option(min=0, max=1, help="How much of what G leaves out is put back, as 'faceage batch' takes it.")
]


@app.command()
def identity(
    data: Data,
    judge: JudgeOption = "dlib",
    false_matches: FalseMatches = 0.01,
    strength: Strength = STRENGTH,
    details: Details = DETAILS,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Who is taken for the same person: reconstructions of three kinds of latents, and faces at six ages.

    faceage evaluate identity --data faces.h5 --judge arcface.onnx --out identity
    """
    _check(report)
    start_backend()
    from dataclasses import asdict

    from faceage.evaluation.identity import judge_identity
    from faceage.evaluation.recognizers import open_judge
    from faceage.model import find_model, load_model

    judging = open_judge(judge)
    model = load_model(find_model(weights))
    faces = _faces(data, limit, seed)
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown)
        asked = strength, details, seed
        scores = judge_identity(
            model, faces, latents, judging, false_matches, *asked, lambda *done: shown("judging", *done)
        )
    groups = {"accepted": scores.accepted, "aged": scores.aged, "aged, G alone": scores.plain}
    groups.update({f"of {name}": shares for name, shares in scores.groups.items()})
    title = (
        f"{scores.faces} faces, judge {scores.judge} at {scores.threshold} ({scores.false_matches:.1%} of strangers)"
    )
    related = _taught(model, judge)
    if related:
        title += "; it taught the model's recogniser"
    _show(title, groups, {**asdict(scores), "judge_taught_the_recognizer": related}, report, json, quiet)


@app.command()
def age(
    data: Data,
    estimator: Estimator,
    samples: Samples = 10_000,
    strength: Strength = STRENGTH,
    details: Details = DETAILS,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whether drawn faces look their age to an estimator, against real ones.

    faceage evaluate age --data faces.h5 --estimator other/model --out age
    """
    _check(report)
    start_backend()
    from dataclasses import asdict

    from faceage.evaluation.age import judge_age
    from faceage.evaluation.people import OPTIMISED
    from faceage.model import find_model, load_model

    model = load_model(find_model(weights))
    judging, _ = _estimator(estimator, model)
    faces = _faces(data, limit, seed)
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown, [OPTIMISED])[OPTIMISED]
    scores = judge_age(model, judging, faces, latents, samples, strength, details, seed)
    groups = {"real": scores.real, "sampled": scores.sampled, "aged": scores.aged, "aged, G alone": scores.plain}
    _show(
        f"class hit exactly; drop from real to sampled {scores.drop:.1%}", groups, asdict(scores), report, json, quiet
    )


@app.command()
def realism(
    data: Data,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """A Fréchet distance on the recogniser's features of real and drawn faces, and how varied the drawn ones are.

    faceage evaluate realism --data faces.h5
    """
    start_backend()
    from dataclasses import asdict

    from faceage.data.dataset import load_faces
    from faceage.evaluation.realism import judge_realism
    from faceage.model import find_model, load_model

    model = load_model(find_model(weights))
    scores = judge_realism(model, _faces(data, limit, seed), load_faces(data, "validation"), seed)
    if json:
        out.print_json(data=asdict(scores))
        return
    from rich.table import Table

    table = Table("", "", show_header=False, title=f"{scores.faces} faces; {scores.features}")
    table.add_row("Fréchet distance, real to drawn", f"{scores.frechet:.4f}")
    table.add_row("  real to other real ones", f"{scores.floor:.4f}")
    for name, distance in scores.variety.items():
        table.add_row(f"mean distance of drawn faces, {name}", f"{distance:.3f}")
    table.add_row("  of real ones", f"{scores.real_variety:.3f}")
    out.print(table)


@app.command("all")
def everything(
    data: Data,
    estimator: Estimator,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page, its figures and pictures go.")],
    judge: JudgeOption = "dlib",
    false_matches: FalseMatches = 0.01,
    samples: Samples = 10_000,
    strength: Strength = STRENGTH,
    details: Details = DETAILS,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    card: Annotated[bool, typer.Option("--card", help="Enter the summary in the model's model.json.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """All of them, and how identity and age pull against each other, on one page: DIR/README.md.

    faceage evaluate all --data faces.h5 --judge arcface.onnx --estimator other/model --out page

    Beside it evaluation.json, identity.png, age.png, trade-off.png, and people.png with the first 12 people.
    """
    from faceage.errors import UsageError
    from faceage.pictures.plot import check_plots

    if to.exists() and not to.is_dir():
        raise UsageError(f"--out {to} is no folder", "name a folder")
    check_plots()
    start_backend()
    from faceage.data.dataset import load_faces
    from faceage.evaluation.page import evaluate, save_page
    from faceage.evaluation.recognizers import open_judge
    from faceage.model import find_model, load_model, update_card

    judging = open_judge(judge)
    folder = find_model(weights)
    model = load_model(folder)
    looking, said = _estimator(estimator, model)
    faces = _faces(data, limit, seed)
    other = load_faces(data, "validation")
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown)
        asked = false_matches, samples, strength, details, seed
        found = evaluate(model, faces, other, latents, judging, looking, said, *asked, shown)
    to.mkdir(parents=True, exist_ok=True)
    save_page(found, model, faces, latents, to)
    if card:
        update_card(folder, lambda entries: entries["scores"].update(evaluation=found.summary()))
    if json:
        out.print_json(data=found.to_json())
    elif not quiet:
        out.print(found.markdown(), markup=False)


def _taught(model: "Model", judge: str) -> bool:
    """Whether the judge is the teacher of the model's recogniser."""
    return judge == "dlib" and model.card["networks"]["recognizer"].get("teacher", "").startswith("dlib")


def _estimator(folder: Path, model: "Model") -> tuple[Any, str]:
    """The age estimator of a model folder, and what a page says of it."""
    from faceage.errors import UsageError
    from faceage.model import load_network, read_card

    card = read_card(folder)
    network = load_network(folder, card, "age_estimator")
    entry = card["networks"]["age_estimator"]
    if entry["sha256"] == model.card["networks"]["age_estimator"]["sha256"]:
        raise UsageError(
            "the estimator is the model's own: it would judge what it was trained through",
            "train another: faceage train age --run OTHER --set seed=1",
        )
    options = entry.get("options", {})
    return network, f"{entry.get('steps', '?')} steps, seed {options.get('seed', '?')}, on {entry.get('data', '?')}"


def _latents(
    model: "Model", faces: "FaceSet", seed: int, shown: "Bars", kinds: Sequence[str] = ()
) -> "dict[str, Latents]":
    """Latents of `faces` of each of `kinds`, or of every kind."""
    from faceage.evaluation.people import LATENTS, find_latents

    found = {}
    for kind in kinds or LATENTS:
        done = 0

        def tell(count: int, kind: str = kind) -> None:
            nonlocal done
            done += count
            shown(f"{kind} latents", done, len(faces))

        found[kind] = find_latents(model, faces.faces, kind, seed, tell)
    return found


def _check(report: Path | None) -> None:
    from faceage.errors import UsageError
    from faceage.pictures.plot import check_plots

    if report is not None:
        check_plots()
        if not report.parent.is_dir():
            raise UsageError(f"--out {report} cannot be written", "name a file in a folder that exists")


def _faces(data: Path, limit: int, seed: int) -> "FaceSet":
    from faceage.data.dataset import load_faces

    # Not the first ones: files are named by age in UTKFace.
    return load_faces(data, "test").sample(limit, seed)


def _show(
    title: str, groups: dict[str, Any], scores: dict[str, Any], report: Path | None, json: bool, quiet: bool
) -> None:
    import json as json_module

    from rich.table import Table

    from faceage.files import write_text
    from faceage.pictures.plot import plot_shares

    if json:
        out.print_json(data=scores)
    elif not quiet:
        table = Table("", "", "share (95% interval)", "cases", title=title)
        for group, shares in groups.items():
            for name, share in shares.items():
                table.add_row(group, name, str(share), str(share.count))
            table.add_section()
        out.print(table)
    if report is not None:
        write_text(report.with_name(report.name + ".json"), json_module.dumps(scores, indent=2) + "\n")
        shown = {group: shares for group, shares in groups.items() if not group.startswith("of ")}
        plot_shares(shown, report.with_name(report.name + ".png"))
