"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", metavar="DIR", help="Model folder [default: $FACEAGE_WEIGHTS, then the weights that come along]."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes everything random.")]
Json = Annotated[bool, typer.Option("--json", help="One machine-readable summary on stdout instead of tables.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no tables; errors only.")]
Data = Annotated[Path, typer.Option("--data", metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write DIR/report.html at the end ('faceage report' does it too).")
]
Run = Annotated[
    Path, typer.Option("--run", metavar="DIR", help="Folder of the training run; an interrupted one goes on there.")
]
