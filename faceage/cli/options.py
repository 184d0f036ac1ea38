"""Options that several commands take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from faceage.batch.options import DrawOptions

Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", metavar="DIR", help="Model folder [default: $FACEAGE_WEIGHTS, then the weights that come along]."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes everything random.")]
Ages = Annotated[
    str | None,
    typer.Option("--ages", metavar="LIST", help="Ages to draw: classes (0-18,60+), or years (25,70), which are years."),
]
Strength = Annotated[
    float | None,
    typer.Option("--strength", min=0, max=2, help="Ageing strength: 1 is typical of the age, above 1 exaggerates."),
]
Draw = Annotated[
    Literal["photo", "generator"] | None,
    typer.Option("--draw", help="Re-age the photo's own face, or show the 64-pixel faces of the generator."),
]
Scale = Annotated[
    int | None, typer.Option("--scale", min=1, max=8, help="Enlarge each face, 160 pixels wide, so many times.")
]
Json = Annotated[bool, typer.Option("--json", help="One machine-readable summary on stdout instead of tables.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no tables; errors only.")]
Data = Annotated[Path, typer.Option("--data", metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write DIR/report.html at the end ('faceage report' does it too).")
]
Run = Annotated[
    Path, typer.Option("--run", metavar="DIR", help="Folder of the training run; an interrupted one goes on there.")
]


def draw_options(base: "DrawOptions", ages: str | None, **given: Any) -> "DrawOptions":
    """`base` with those options that were given, others being None."""
    from dataclasses import replace

    from faceage.ages import parse_ages

    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(base, **chosen if ages is None else {**chosen, "ages": parse_ages(ages)})
