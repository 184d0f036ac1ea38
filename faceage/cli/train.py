"""`faceage train`: every stage by itself or all in their order, each resumable, into one run folder."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from faceage.ages import AGE_CLASSES, age_class
from faceage.cli.console import bars, err, out, start_backend, table
from faceage.cli.options import Json, Quiet
from faceage.errors import DataError, UsageError

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
Preset = Annotated[
    str, typer.Option(metavar="NAME", help="'best' is what works best here, 'paper' what the paper did.")
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
Epochs = Annotated[int | None, typer.Option(metavar="N", min=0, help="Epochs in all.  [default: the preset's]")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the steps that are left of each stage, and its options.")
]
Devices = Annotated[
    Literal["one", "all"],
    typer.Option(metavar="one|all", help="One device, or all GPUs of this machine and of those in TF_CONFIG."),
]


_STAGES = {
    "recognizer": "Train the recogniser, from identities or dlib (extra: judge).",
    "age": "Train the age estimator.",
    "gan": "Train the conditional GAN: generator and discriminator.",
    "encoder": "Train the encoder on faces that the generator draws.",
    "identity": "Refine encoder and generator through the recogniser.",
    "photo": "Train the re-ager, which draws photographs.",
}
_ALL = """Train all stages that have not ended, in their order.

\b
    faceage train all --data faces/ --run runs/first --dry-run
    faceage train all --data faces/ --run runs/first
    faceage batch photos --out aged --weights runs/first/model

Finds and aligns the faces, then trains recogniser, age estimator, GAN, encoder, identity and photo, and
tries the model on faces it has not seen. Stop it whenever you like: the same command goes on. RUN/log.txt says
what happened, RUN/<stage>/samples-*.png show the same people after every epoch, RUN/<stage>/stats.jsonl holds the
figures, and RUN/model is the model so far; 'tensorboard --logdir RUN' shows it all (extra [tensorboard]).

Is it going well? The recogniser's held_out_accuracy leaves 0.5; the GAN's d_real and d_fake stay between 0.5 and 0.9,
and its samples are faces after some 1,500 steps; the encoder's z_error falls below 1.0; in the identity stage same_age
falls well below the distance of different people."""


def _command(names: Sequence[str]) -> Callable[..., None]:
    """The command that trains these stages. Options of one are set by their names, of several after the stage's."""
    several = len(names) > 1

    def command(
        data: Data,
        run: RunFolder,
        people: People = None,
        preset: Preset = "best",
        overrides: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="STAGE.KEY=VALUE" if several else "KEY=VALUE",
                help=f"Change an option of {'a' if several else 'the'} stage; repeat for more.",
            ),
        ] = None,
        epochs: Epochs = None,
        start: Start = None,
        devices: Devices = "one",
        restart: Restart = False,
        dry_run: DryRun = False,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        _check(data, people, start)
        start_backend()
        from faceage.data.info import few_faces
        from faceage.training import everything
        from faceage.training.jobs import JOBS
        from faceage.training.run import Run, train_stage

        given = [f"{name}.epochs={epochs}" for name in names if epochs is not None]
        given += [change if several else f"{names[0]}.{change}" for change in overrides or ()]
        options = everything.all_options(preset, given, names)
        with bars(quiet) as shown:
            say = (lambda line: None) if quiet else shown.say
            training = Run(run, start=start, people=people, devices=devices, progress=shown, say=say)
            # Stages that begin again have no use for the data that they were trained on before.
            in_use = bool(everything.begun_stages(training) - {*(names if restart else ())})
            if dry_run:
                known = _known(data, training, in_use)
                plan = everything.make_plan(options, training, known.splits, known.faces)
                _print_plan(plan, data, json)
                for sentence in () if quiet else few_faces(known.per_class):
                    err.print(f"warning: {sentence}")
                # Whether stages have ended is unknown without their data.
                everything.check_plan(plan, training, known.identities, restart or known.splits is None)
                return
            prepared = _prepared(data, training, in_use)
            if several:
                everything.train_all(options, training, prepared, restart)
            else:
                train_stage(JOBS[names[0]], options[names[0]], training, prepared, restart)
        if json or not quiet:
            _print_scores(run, [*names, "batch"] if several else names)

    return command


app.command("all", help=_ALL)(_command([*_STAGES]))
for _name, _help in _STAGES.items():
    app.command(_name, help=f"{_help}\n\n\b\n    faceage train {_name} --data faces.h5 --run runs/first")(
        _command([_name])
    )


def _check(data: Path, people: Path | None, start: Path | None) -> None:
    from faceage.data.fetch import how_to_get
    from faceage.model import read_card

    if not data.exists():
        hint = how_to_get(data) or "name a folder of labelled photos or a prepared .h5 file"
        raise DataError(f"--data {data} does not exist", hint)
    if people is not None and not people.is_dir():
        raise UsageError(f"--people {people} is no folder", "name a folder with one subfolder of photos per person")
    if start is not None:
        read_card(start)


def _prepared(data: Path, run: "Run", in_use: bool) -> "Splits":
    from faceage.data.rows import Filters
    from faceage.data.sources import prepared
    from faceage.training.job import Splits

    if run.devices == "all" and "TF_CONFIG" in os.environ and not data.is_file():
        raise UsageError("several workers cannot prepare one data set", "prepare it first: faceage data prepare")
    progress = partial(run.progress, "preparing")
    return Splits(prepared(data, run.folder, Filters(), progress, in_use))


@dataclass(frozen=True)
class _Known:
    """What a dry run knows of the data; estimates where nothing is prepared yet."""

    splits: "Splits | None"
    faces: int
    """Of the train split."""
    per_class: Mapping[str, int]
    """Faces of all splits."""
    identities: Sequence[str]
    """Of the test split."""


def _known(data: Path, run: "Run", in_use: bool) -> _Known:
    from faceage.data.info import read_info
    from faceage.data.prepare import SHARES, split_of
    from faceage.data.rows import Filters
    from faceage.data.sources import PREPARED, read_rows, reusable
    from faceage.store.dataset import SPLITS
    from faceage.training.job import Splits

    def of_file(path: Path) -> _Known:
        info, splits = read_info(path), Splits(path)
        return _Known(splits, info.per_split["train"], info.per_class, splits.test.identities)

    if data.is_file():
        return of_file(data)
    rows = read_rows(data, Filters())
    if reusable(rows, run.folder / PREPARED, in_use):
        return of_file(run.folder / PREPARED)
    counts = Counter(AGE_CLASSES[age_class(row.age)] for row in rows.rows)
    test = [row.identity for row in rows.rows if split_of(row.source, row.identity) == SPLITS.index("test")]
    return _Known(None, round(len(rows.rows) * SHARES[0]), {name: counts[name] for name in AGE_CLASSES}, test)


def _print_plan(plan: "list[Planned]", data: Path, json: bool) -> None:
    if json:
        stages = [{"stage": p.name, "steps": p.steps, "left": p.left, "options": vars(p.options)} for p in plan]
        out.print_json(data={"data": str(data), "stages": stages})
        return
    rows = [(p.name, p.steps, p.left, ", ".join(f"{k}={v}" for k, v in vars(p.options).items())) for p in plan]
    table(rows, ("stage", "steps", "left", "options"))


def _print_scores(run: Path, names: Sequence[str]) -> None:
    from faceage.model import read_card

    scores = read_card(run / "model")["scores"]
    keys = ["age_estimator" if name == "age" else name for name in names]
    out.print_json(data={key: scores[key] for key in keys if key in scores})
