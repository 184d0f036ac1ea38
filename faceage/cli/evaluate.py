"""`faceage evaluate`: how good a model is, in the eyes of networks that had no part in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.cli.console import bars, out, start_backend
from faceage.cli.options import Json, Quiet, Seed, Weights

if TYPE_CHECKING:
    from faceage.data.dataset import FaceSet

app = typer.Typer(help="Measure a model on the test split of a prepared data set.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")]
Limit = Annotated[int, typer.Option(min=2, help="Faces of the test split, at most.")]
Report = Annotated[
    Path | None, typer.Option("--out", metavar="NAME", help="Write NAME.json and NAME.png as well.", show_default=False)
]


@app.command()
def identity(
    data: Data,
    judge: Annotated[
        str, typer.Option(metavar="dlib|FILE.onnx", help="The recogniser that judges: never the model's own.")
    ] = "dlib",
    false_matches: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Strangers that a judge without a threshold lets through.")
    ] = 0.01,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Who is taken for the same person: reconstructions of three kinds of latents, and faces at six ages."""
    _check(report)
    start_backend()
    from dataclasses import asdict

    from faceage.evaluation.identity import judge_identity
    from faceage.evaluation.judge import open_judge
    from faceage.weights import find_model, load_model

    judging = open_judge(judge)
    model = load_model(find_model(weights))
    with bars(quiet or json) as shown:
        scores = judge_identity(
            model,
            _faces(data, limit),
            judging,
            false_matches,
            seed,
            lambda done, total: shown("evaluating", done, total),
        )
    taught_by = model.card["networks"]["recognizer"].get("teacher", "")
    related = judge == "dlib" and taught_by.startswith("dlib")
    groups = {"accepted": scores.accepted, "aged": scores.aged}
    groups.update({f"of {name}": shares for name, shares in scores.groups.items()})
    title = (
        f"{scores.faces} faces, judge {scores.judge} at {scores.threshold} ({scores.false_matches:.1%} of strangers)"
    )
    if related:
        title += "; it taught the model's recogniser"
    _show(title, groups, {**asdict(scores), "judge_taught_the_recognizer": related}, report, json, quiet)


@app.command()
def age(
    data: Data,
    estimator: Annotated[
        Path, typer.Option(metavar="MODEL", help="Model folder whose age estimator judges: not that of the model.")
    ],
    samples: Annotated[int, typer.Option(min=6, help="Faces drawn from random latents.")] = 10_000,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whether drawn faces look their age to an estimator, against real ones."""
    _check(report)
    start_backend()
    from dataclasses import asdict

    from faceage.errors import UsageError
    from faceage.evaluation.age import judge_age
    from faceage.weights import find_model, load_model, load_network, read_card

    model = load_model(find_model(weights))
    card = read_card(estimator)
    judging = load_network(estimator, card, "age_estimator")
    if card["networks"]["age_estimator"]["sha256"] == model.card["networks"]["age_estimator"]["sha256"]:
        raise UsageError(
            "the estimator is the model's own: it would judge what it was trained through",
            "train another: faceage train age --run OTHER --set seed=1",
        )
    scores = judge_age(model, judging, _faces(data, limit), samples, seed)
    groups = {"real": scores.real, "sampled": scores.sampled, "aged": scores.aged}
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
    """A Fréchet distance on the recogniser's features of real and drawn faces, and how varied the drawn ones are."""
    start_backend()
    from dataclasses import asdict

    from faceage.data.dataset import load_faces
    from faceage.evaluation.realism import judge_realism
    from faceage.weights import find_model, load_model

    model = load_model(find_model(weights))
    scores = judge_realism(model, _faces(data, limit), load_faces(data, "validation"), seed)
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


def _check(report: Path | None) -> None:
    from faceage.errors import UsageError

    if report is not None and not report.parent.is_dir():
        raise UsageError(f"--out {report} cannot be written", "name a file in a folder that exists")


def _faces(data: Path, limit: int) -> "FaceSet":
    from faceage.data.dataset import load_faces

    return load_faces(data, "test").first(limit)


def _show(
    title: str, groups: dict[str, Any], scores: dict[str, Any], report: Path | None, json: bool, quiet: bool
) -> None:
    import json as json_module

    from rich.table import Table

    from faceage.images import write_text
    from faceage.outputs.plot import plot_shares

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
