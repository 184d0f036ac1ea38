"""`faceage train`: every stage by itself or all in their order, each resumable, into one run folder."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceage.cli.console import bars, out, start_backend
from faceage.cli.options import Json, Quiet

if TYPE_CHECKING:
    from faceage.training.everything import Planned
    from faceage.training.job import Splits
    from faceage.training.run import Run

app = typer.Typer(
    help="Train the networks: all stages, or one. An interrupted training goes on with the same command.",
    no_args_is_help=True,
)

Data = Annotated[
    Path,
    typer.Option(
        metavar="SOURCE",
        help="IMDB-WIKI's folder, UTKFace's, one with a labels.csv, or a file written by 'faceage data prepare'.",
    ),
]
RunFolder = Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of the training run.")]
Preset = Annotated[str, typer.Option(help="'best' is what works best here, 'paper' what the paper did.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change an option of the stage; repeat for more."),
]
SetOfStage = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change an option of a stage; repeat for more."),
]
Start = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="Begin with the networks of this model folder, where it has them.")
]
People = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Photos with a subfolder per person: same/different accuracy is measured on them."
    ),
]
Epochs = Annotated[int | None, typer.Option(min=0, help="Epochs in all [default: the preset's].")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")]
Devices = Annotated[
    Literal["one", "all"], typer.Option(help="'one', or 'all' GPUs of this machine, and of others by TF_CONFIG.")
]


@app.command("all")
def train_everything(
    data: Data,
    run: RunFolder,
    people: People = None,
    preset: Preset = "best",
    overrides: SetOfStage = None,
    epochs: Epochs = None,
    start: Start = None,
    devices: Devices = "one",
    restart: Restart = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the steps that are left of each stage, and its options.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train all stages that have not ended: recogniser, age, GAN, encoder, identity, photo (extra [photo]).

    faceage train all --data faces/ --run runs/first

    Then 'faceage batch --weights RUN/model' draws with the result.
    """
    _check(data, people, start)
    start_backend()
    from faceage.training import everything
    from faceage.training.presets import JOBS

    given = [f"{stage}.epochs={epochs}" for stage in JOBS] if epochs is not None else []
    options = everything.all_options(preset, [*given, *(overrides or [])])
    with ExitStack() as stack:
        training = _run(stack, run, start, people, devices, quiet)
        if dry_run:
            plan = everything.make_plan(options, training, *_known(data, training))
            _print_plan(plan, everything.describe(plan, data), json)
            return
        everything.train_all(options, training, _prepared(data, training), restart)
    _print_scores(run, [*JOBS, "batch"], json, quiet)


def _stage(name: str) -> Any:
    """The command of one stage."""

    def command(
        data: Data,
        run: RunFolder,
        people: People = None,
        preset: Preset = "best",
        overrides: Set = None,
        epochs: Epochs = None,
        start: Start = None,
        devices: Devices = "one",
        restart: Restart = False,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        _check(data, people, start)
        start_backend()
        from faceage.training.overrides import overridden
        from faceage.training.presets import JOBS, preset_options
        from faceage.training.run import train_stage

        given = [f"epochs={epochs}"] if epochs is not None else []
        options = overridden(preset_options(preset, name), [*given, *(overrides or [])], name)
        with ExitStack() as stack:
            training = _run(stack, run, start, people, devices, quiet)
            train_stage(JOBS[name], options, training, _prepared(data, training), restart)
        _print_scores(run, [name], json, quiet)

    return command


for _name, _help in {
    "recognizer": "Train the recogniser, from identity labels or from dlib's (extra [judge]).",
    "age": "Train the age estimator.",
    "gan": "Train the conditional GAN: generator and discriminator.",
    "encoder": "Train the encoder on faces that the generator draws.",
    "identity": "Refine encoder and generator through the recogniser, on photos.",
    "photo": "Train the re-ager, which draws photographs (extra [photo]).",
}.items():
    _example = f"faceage train {_name} --data faces.h5 --run runs/first"
    app.command(_name, help=f"{_help}\n\n{_example}")(_stage(_name))


def _check(data: Path, people: Path | None, start: Path | None) -> None:
    from faceage.errors import DataError, UsageError
    from faceage.model import read_card

    if not data.exists():
        raise DataError(f"--data {data} does not exist", "name a folder of labelled photos or a prepared .h5 file")
    if people is not None and not people.is_dir():
        raise UsageError(f"--people {people} is no folder", "name a folder with one subfolder of photos per person")
    if start is not None:
        read_card(start)


def _run(stack: ExitStack, folder: Path, start: Path | None, people: Path | None, devices: str, quiet: bool) -> Any:
    from faceage.training.run import Run

    progress = stack.enter_context(bars(quiet))
    return Run(
        folder,
        start=start,
        people=people,
        devices=devices,
        progress=progress,
        say=lambda line: None if quiet else progress.say(line),
    )


def _prepared(data: Path, run: "Run") -> "Splits":
    from faceage.data.rows import Filters
    from faceage.data.sources import prepared
    from faceage.errors import UsageError
    from faceage.training.job import Splits

    if run.devices == "all" and "TF_CONFIG" in os.environ and not data.is_file():
        raise UsageError("several workers cannot prepare one data set", "prepare it first: faceage data prepare")
    path = prepared(data, run.folder, Filters(), lambda done, total: run.progress("preparing", done, total))
    return Splits(path)


def _known(data: Path, run: "Run") -> tuple["Splits | None", int]:
    """The prepared data, or None where there are none yet, and the number of training faces, estimated then."""
    from faceage.data.info import read_info
    from faceage.data.prepare import SHARES
    from faceage.data.rows import Filters
    from faceage.data.sources import read_rows
    from faceage.training.job import Splits

    prepared = data if data.is_file() else run.folder / "data.h5"
    if prepared.is_file():
        return Splits(prepared), read_info(prepared).per_split["train"]
    return None, round(len(read_rows(data, Filters()).rows) * SHARES[0])


def _print_plan(plan: "list[Planned]", described: dict[str, object], json: bool) -> None:
    if json:
        out.print_json(data=described)
        return
    from rich.table import Table

    table = Table("stage", "steps", "left", "options")
    for planned in plan:
        options = ", ".join(f"{key}={value}" for key, value in vars(planned.options).items())
        table.add_row(planned.name, str(planned.steps), str(planned.left), options)
    out.print(table)


def _print_scores(run: Path, names: list[str], json: bool, quiet: bool) -> None:
    from faceage.model import read_card

    if quiet and not json:
        return
    keys = {"age": "age_estimator"}
    scores = read_card(run / "model")["scores"]
    out.print_json(data={key: scores[key] for key in (keys.get(name, name) for name in names) if key in scores})
