"""Options that several commands take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceage.ages import AGE_CLASSES, MAX_STRENGTH
from faceage.cli.completion import complete_ages, complete_models
from faceage.cli.panels import AGE, LOOKS, MODEL, PHOTOS, RESUMING, SCRIPTS, SPEED
from faceage.errors import UsageError

if TYPE_CHECKING:
    from faceage.batch.options import DrawOptions
    from faceage.photos.decode import Limits

EVERY_CLASS = ",".join(AGE_CLASSES)

Out = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Where the results go.", show_default=False, rich_help_panel=AGE),
]
Ages = Annotated[
    str | None,
    typer.Option(
        "--ages",
        metavar="LIST",
        help="Ages to draw: classes (60+) or years (25,70).",
        autocompletion=complete_ages,
        rich_help_panel=AGE,
    ),
]
Age = Annotated[
    str | None,
    typer.Option(
        "--age",
        metavar="AGE",
        help="How old the people are.  [default: estimated]",
        autocompletion=complete_ages,
        rich_help_panel=AGE,
    ),
]
Faces = Annotated[
    str,
    typer.Option(
        "--faces",
        metavar="all|largest|LIST",
        help="Faces of each photo, or shot; 0 is the largest: 0,2.",
        rich_help_panel=AGE,
    ),
]
MinFace = Annotated[
    int | None,
    typer.Option(
        "--min-face",
        metavar="PX",
        min=16,
        help="Narrowest face to look for, in pixels.  [default: 1/32 of the longer side, or 1/100 where such show]",
        rich_help_panel=AGE,
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        "--strength",
        metavar="X",
        min=0,
        max=MAX_STRENGTH,
        help="Strength of ageing: 1 is typical, above 1 exaggerates.",
        rich_help_panel=LOOKS,
    ),
]
Draw = Annotated[
    Literal["photo", "generator"] | None,
    typer.Option(
        "--draw",
        metavar="photo|generator",
        help="Age the photo's own face, or draw the generator's (64 px).",
        rich_help_panel=LOOKS,
    ),
]
Gender = Annotated[
    Literal["female", "male"] | None,
    typer.Option(
        "--gender",
        metavar="female|male",
        help="Everybody's gender where it is known: a child shows little.",
        rich_help_panel=AGE,
    ),
]


def _latents_in(place: Path | None) -> Path | None:
    """The latents file that is meant by `place`, which may be the folder of a batch."""
    if place is None:
        return None
    file = place / "latents.h5" if place.is_dir() else place
    if not file.is_file():
        raise UsageError(f"there is no file {file}", "name the --out of a batch, or the latents.h5 in it")
    return file


LatentsFile = Annotated[
    Path,
    typer.Argument(
        metavar="LATENTS.h5",
        callback=_latents_in,
        help="Written by 'faceage batch'; or the folder that it lies in.",
        show_default=False,
        rich_help_panel=AGE,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Photos of these names (*_0001.jpg), or paths with a slash; repeatable.",
        rich_help_panel=PHOTOS,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Do everything again.", rich_help_panel=RESUMING)]
Scale = Annotated[
    int | None,
    typer.Option(
        "--scale",
        metavar="N",
        min=1,
        max=8,
        help="Enlarge faces, 160 pixels wide, N times.",
        rich_help_panel=LOOKS,
    ),
]
Mark = Annotated[
    bool | None,
    typer.Option(
        "--mark/--no-mark",
        help="Write AI into a corner of aged pictures.",
        show_default=False,
        rich_help_panel=LOOKS,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        help="Refuse photos of more pixels.  [default: 250000000]",
        rich_help_panel=PHOTOS,
    ),
]
PhotoSeconds = Annotated[
    float | None,
    typer.Option(
        "--photo-seconds",
        metavar="S",
        min=1,
        max=86_400,
        help="Refuse photos that take longer to read.  [default: 60]",
        rich_help_panel=PHOTOS,
    ),
]
PhotoMemory = Annotated[
    float | None,
    typer.Option(
        "--photo-memory",
        metavar="GIB",
        min=1,
        max=1_024,
        help="Refuse photos that take more memory to read.  [default: 6]",
        rich_help_panel=PHOTOS,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="MODEL",
        help="Folder of a model, or its name.  [default: $FACEAGE_WEIGHTS, else those that come along]",
        autocompletion=complete_models,
        rich_help_panel=MODEL,
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        "--steps",
        metavar="N",
        min=1,
        max=10_000,
        help="Optimiser steps; 60 keep the faces that G draws alone closer.",
        rich_help_panel=SPEED,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Fixes everything random.", rich_help_panel=MODEL)]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write DIR/report.html at the end.", rich_help_panel=SCRIPTS)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one machine-readable summary, no tables.", rich_help_panel=SCRIPTS)
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No progress and no summary; answers and errors only.", rich_help_panel=SCRIPTS),
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
