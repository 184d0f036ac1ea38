"""`faceage render`: people drawn again from their latents."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from faceage.cli import panels
from faceage.cli.console import bar, counted, err, open_model, start_backend
from faceage.cli.options import (
    Ages,
    Draw,
    Faces,
    Gender,
    LatentsFile,
    Mark,
    MaxPixels,
    Only,
    Out,
    PhotoMemory,
    PhotoSeconds,
    Quiet,
    Scale,
    Strength,
    Weights,
    draw_options,
    photo_limits,
)
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

_YOUNG_TO_OLD = ",".join(map(str, range(5, 81, 3)))
"""Of an animation, where no ages are given."""


def render(
    latents: LatentsFile,
    to: Out,
    ages: Ages = None,
    kind: Annotated[
        Literal["grids", "sheets", "faces", "animations"],
        typer.Option(
            "--as",
            metavar="KIND",
            help="grids (one a person), sheets (of 16 people), faces (one picture an age), or animations (young to "
            "old).",
            rich_help_panel=panels.LOOKS,
        ),
    ] = "grids",
    strength: Strength = None,
    draw: Draw = None,
    gender: Gender = None,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste",
            help="Write the whole photos too, at each age; it takes --photos.",
            rich_help_panel=panels.LOOKS,
        ),
    ] = False,
    scale: Scale = None,
    mark: Mark = None,
    file: Annotated[
        Literal["png", "webp", "gif"] | None,
        typer.Option(
            "--file",
            metavar="png|webp|gif",
            help="Type of file.  [default: png; for animations gif]",
            rich_help_panel=panels.LOOKS,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos", metavar="PATH", help="Where the photos are now; repeatable.", rich_help_panel=panels.PHOTOS
        ),
    ] = None,
    only: Only = None,
    faces: Faces = "all",
    max_pixels: MaxPixels = None,
    photo_seconds: PhotoSeconds = None,
    photo_memory: PhotoMemory = None,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Draw the people of a batch again, at any age.

    \b
        faceage render aged/latents.h5 --out again --ages 25,40,70
        faceage render aged --out again --as faces --ages 10,30,70 --only anna.jpg
        faceage render aged/latents.h5 --out moving --as animations
        faceage render aged/latents.h5 --out again --ages 70 --paste --photos photos

    Writes DIR/grids, DIR/sheets, DIR/faces or DIR/animations, and DIR/pasted. It needs no photo but for --paste, and a
    tenth of the batch's time. What is not given is as in the batch; with all of it, the pictures come out bit for bit.
    """
    from faceage.batch.names import PASTED, album_photos
    from faceage.batch.plan import open_out, writing_to

    _check_places(kind, paste, photos or [], to, latents)
    files = album_photos(photos or [])

    start_backend()
    from faceage.batch.chosen import Chosen
    from faceage.batch.draw import FILES, SHEETS, Layout, Sheets, check_fits
    from faceage.batch.options import DrawOptions
    from faceage.batch.render import render as draw_again

    ending = file or FILES[kind][0]
    if ending not in FILES[kind]:
        raise UsageError(f"--file {ending} cannot hold {kind}", f"take {' or '.join(FILES[kind])}")
    layout: Layout | Sheets = Sheets(ending) if kind == SHEETS else Layout(kind, ending)
    ages = _YOUNG_TO_OLD if ages is None and kind == "animations" else ages
    options = draw_options(
        DrawOptions.of_latents(latents),
        ages,
        strength=strength,
        draw=draw,
        gender=gender,
        scale=scale,
        mark=mark,
        paste=paste,
    )
    limits = photo_limits(max_pixels, photo_seconds, photo_memory)
    chosen = Chosen(tuple(only or ()), faces)
    total = chosen.count(latents)
    check_fits(kind, ending, options, total)
    if not quiet:
        at = counted(len(options.ages), "age")
        err.print(f"faceage: {counted(total, 'face')} to draw at {at}; loading the networks")
    model = open_model(weights)
    open_out(to, kind)
    drawn = 0
    with bar(total, " faces", quiet=quiet) as shown, writing_to(to):

        def told(faces: int) -> None:
            nonlocal drawn
            drawn += faces
            shown.update(faces)

        said = draw_again(latents, model, to, options, layout, files, told, limits, chosen)
    if faces != "all" and not drawn:
        raise UsageError(f"{latents} holds no face numbered {faces}", "0 is the largest face of each photo")
    failed = {name: problem for name, problem in said.items() if problem}
    for name, problem in failed.items():
        err.print(f"faceage: {name}: {problem}")
    if not quiet:
        err.print(f"{counted(drawn, 'face')} → {to / kind}")
        if paste:
            err.print(f"{counted(len(said) - len(failed), 'photo')} → {to / PASTED}")
    raise typer.Exit(EXIT_SOME_FAILED if failed else EXIT_OK)


def _check_places(kind: str, paste: bool, photos: list[Path], to: Path, latents: Path) -> None:
    from faceage.batch.names import GRIDS
    from faceage.batch.plan import check_out

    if bool(photos) != paste:
        raise UsageError("--paste and --photos PATH need each other", "name the photos as they were for the batch")
    if paste and kind == "sheets":
        raise UsageError("--paste is not for sheets", "choose another --as")
    if (kind == GRIDS or paste) and os.path.realpath(to) == os.path.realpath(latents.parent):
        raise UsageError(
            f"--out {to} holds the batch's own pictures", "choose another folder, or let 'faceage batch' draw these"
        )
    check_out(photos, to)
