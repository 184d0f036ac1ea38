"""`faceage render`: people drawn again from their latents."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from faceage.cli.console import bar, err, start_backend
from faceage.cli.options import Quiet, Weights
from faceage.errors import UsageError

_YOUNG_TO_OLD = [str(years) for years in range(9, 70, 2)]
"""Before and after it nothing moves: these are the middles of the first class and the last."""


def render(
    latents: Annotated[
        Path, typer.Argument(metavar="LATENTS.h5", help="Written by 'faceage batch'.", show_default=False)
    ],
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pictures go.", show_default=False)],
    kind: Annotated[
        Literal["grids", "faces", "animations"],
        typer.Option("--as", help="One grid a person, one picture an age, or one animation from young to old."),
    ] = "grids",
    ages: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Classes (0-18,60+) or years (25,70), between whose classes' middles the age moves smoothly "
            "[default: as in the batch; for animations 9,11,…,69].",
        ),
    ] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=2, help="How far towards each age [default: as in the batch].")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(min=1, max=8, help="Enlarge each face so many times [default: as in the batch].")
    ] = None,
    file: Annotated[
        Literal["png", "webp", "gif"] | None,
        typer.Option("--file", help="Type of file [default: png; for animations gif]."),
    ] = None,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Draw the people of a batch again, at other ages too: no photo is needed, and little time.

    faceage render aged/latents.h5 --out again --ages 25,40,70

    Writes DIR/grids, DIR/faces or DIR/animations. With the batch's own options, its grids come out bit for bit.
    """
    from faceage.ages import AGE_CLASSES
    from faceage.latents.store import count_rows, read_settings

    if not latents.is_file():
        raise UsageError(f"there is no file {latents}", "name the latents.h5 in the --out of a batch")
    total = count_rows(latents).total()
    _, stored = read_settings(latents)

    start_backend()
    from faceage.batch.plan import open_out
    from faceage.batch.render import KINDS, Age, RenderOptions
    from faceage.batch.render import render as draw_again
    from faceage.weights import find_model, load_model

    chosen = file or KINDS[kind][0]
    if chosen not in KINDS[kind]:
        raise UsageError(f"--file {chosen} cannot hold {kind}", f"take {' or '.join(KINDS[kind])}")
    if ages is not None:
        texts = [text.strip() for text in ages.split(",")]
    elif kind == "animations":
        texts = _YOUNG_TO_OLD
    else:
        texts = [AGE_CLASSES[target] for target in stored["targets"]]
    try:
        asked = [Age.of(text) for text in texts]
    except ValueError as error:
        raise UsageError(f"--ages: {error}", f"ages are years, or {', '.join(AGE_CLASSES)}") from error
    options = RenderOptions(
        kind=kind,
        ages=asked,
        strength=stored["strength"] if strength is None else strength,
        scale=stored["scale"] if scale is None else scale,
        file=chosen,
    )
    model = load_model(find_model(weights))
    open_out(to)
    with bar(total, " faces", quiet=quiet) as shown:
        try:
            count = draw_again(latents, model, to, options, shown.update)
        except OSError as error:
            raise UsageError(f"cannot write to {to}: {error.strerror or error}") from error
    if not quiet:
        err.print(f"{count} faces → {to / kind}", markup=False)
