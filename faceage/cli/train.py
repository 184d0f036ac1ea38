"""`faceage train`: every stage by itself or all in their order, each resumable, into one run folder."""

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceage.cli.console import bars, err, out, start_backend
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
SetAll = Annotated[
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
    settings: SetAll = None,
    epochs: Epochs = None,
    start: Start = None,
    devices: Devices = "one",
    restart: Restart = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done and how long it would take.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """recogniser → age → GAN → encoder → identity → evaluation; what has ended is skipped.

    faceage train all --data faces/ --run runs/first

    RUN/model is then what 'faceage batch --weights' loads.
    """
    _check(data, people, start)
    start_backend()
    from faceage.training import everything
    from faceage.training.presets import JOBS

    given = [f"{stage}.epochs={epochs}" for stage in JOBS] if epochs is not None else []
    options = everything.all_options(preset, [*given, *(settings or [])])
    with ExitStack() as stack:
        training = _run(stack, run, start, people, devices, quiet)
        if dry_run:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            sample, faces = _sample(data, training, folder)
            plan = everything.make_plan(options, training, sample, faces)
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
        settings: Set = None,
        epochs: Epochs = None,
        start: Start = None,
        devices: Devices = "one",
        restart: Restart = False,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        _check(data, people, start)
        start_backend()
        from faceage.training.presets import JOBS, preset_options
        from faceage.training.run import train_stage
        from faceage.training.settings import changed

        given = [f"epochs={epochs}"] if epochs is not None else []
        options = changed(preset_options(preset, name), [*given, *(settings or [])], name)
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


def _sample(data: Path, run: "Run", folder: Path) -> tuple["Splits", int]:
    """Faces to measure steps with, and how many of the whole are trained on; `folder` may hold a few prepared ones."""
    from faceage.data.prepare import SHARES, prepare
    from faceage.data.rows import Filters
    from faceage.data.sources import read_rows
    from faceage.training.job import Splits

    known = data if data.is_file() else run.folder / "data.h5"
    if known.is_file():
        splits = Splits(known)
        return splits, len(splits.train)
    rows = read_rows(data, Filters())
    faces = round(len(rows.rows) * SHARES[0])
    # Faces of named people, where there are any: they decide how the recogniser is trained.
    rows.rows = sorted(rows.rows, key=lambda row: row.identity)[-_MEASURED_ROWS:]
    prepare(rows, folder / "sample.h5")
    return Splits(folder / "sample.h5"), faces


_MEASURED_ROWS = 128


def _print_plan(plan: "list[Planned]", described: dict[str, object], json: bool) -> None:
    if json:
        out.print_json(data=described)
        return
    from rich.table import Table

    table = Table("stage", "steps", "left", "time", "options")
    for planned in plan:
        options = ", ".join(f"{key}={value}" for key, value in vars(planned.options).items())
        table.add_row(planned.name, str(planned.steps), str(planned.left), _duration(planned.seconds), options)
    table.add_section()
    total = sum(planned.seconds for planned in plan)
    table.add_row("in all", "", str(sum(planned.left for planned in plan)), _duration(total), "")
    out.print(table)
    err.print("the time is that of the steps, ten of which were measured; scores and dlib's lessons come on top")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if seconds else "done"


def _print_scores(run: Path, names: list[str], json: bool, quiet: bool) -> None:
    from faceage.model import read_card

    if quiet and not json:
        return
    keys = {"age": "age_estimator"}
    scores = read_card(run / "model")["scores"]
    out.print_json(data={key: scores[key] for key in (keys.get(name, name) for name in names) if key in scores})
