"""Options that several commands take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from faceage.batch.options import DrawOptions
    from faceage.photos.decode import Limits

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
Gender = Annotated[
    Literal["female", "male"] | None,
    typer.Option("--gender", help="Everybody's gender, where you know it: children do not show it."),
]
Scale = Annotated[
    int | None, typer.Option("--scale", min=1, max=8, help="Enlarge each face, 160 pixels wide, so many times.")
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        help="Largest photo, in pixels [default: 250000000]; --retry-failed does those again that were larger.",
    ),
]
PhotoSeconds = Annotated[
    float | None, typer.Option("--photo-seconds", metavar="S", min=1, help="Time to read one photo [default: 60].")
]
PhotoMemory = Annotated[
    float | None, typer.Option("--photo-memory", metavar="GIB", min=1, help="Memory to read one photo [default: 6].")
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


def photo_limits(pixels: int | None, seconds: float | None, memory: float | None) -> "Limits":
    """The limits that were given, others being None; `memory` is in GiB."""
    from dataclasses import replace

    from faceage.photos.decode import LIMITS

    given: dict[str, Any] = {
        "pixels": pixels,
        "seconds": seconds,
        "memory": None if memory is None else int(memory * 2**30),
    }
    return replace(LIMITS, **{name: value for name, value in given.items() if value is not None})
