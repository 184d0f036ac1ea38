"""`faceage render`: people drawn again from their latents."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from faceage.cli.console import bar, err, start_backend
from faceage.cli.options import Quiet, Weights
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

_YOUNG_TO_OLD = [str(years) for years in range(9, 70, 2)]
"""Before and after it nothing moves: these are the middles of the first class and the last."""


def render(
    latents: Annotated[
        Path, typer.Argument(metavar="LATENTS.h5", help="Written by 'faceage batch'.", show_default=False)
    ],
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pictures go.", show_default=False)],
    kind: Annotated[
        Literal["grids", "sheets", "faces", "animations", "photos"],
        typer.Option(
            "--as",
            help="One grid a person, sheets of 16 people, one picture an age, one animation from young to old, or the "
            "whole photo at each age, which takes --photos.",
        ),
    ] = "grids",
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photos", metavar="PATH", help="The photos, named as for the batch; may be given repeatedly."),
    ] = None,
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
    details: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How much of what G leaves out is put back [default: as in the batch]."),
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
    """Draw the people of a batch again, at other ages too: no photo is needed but for --as photos, and little time.

    faceage render aged/latents.h5 --out again --ages 25,40,70
    faceage render aged/latents.h5 --out again --ages 70 --as photos --photos ./photos

    Writes DIR/grids, DIR/sheets, DIR/faces, DIR/animations or DIR/pasted. With the batch's own options, its grids come
    out bit for bit, and its photos with aged faces.
    """
    from faceage.ages import AGE_CLASSES
    from faceage.batch.plan import PASTED, check_out, open_out
    from faceage.photos.find import find_photos
    from faceage.store.latents import count_rows, read_settings

    if not latents.is_file():
        raise UsageError(f"there is no file {latents}", "name the latents.h5 in the --out of a batch")
    total = count_rows(latents).total()
    _, stored = read_settings(latents)

    if bool(photos) != (kind == "photos"):
        raise UsageError("--as photos and --photos PATH need each other", "name the photos as they were for the batch")
    if kind == "photos" and (file or scale):
        raise UsageError("--file and --scale are not for photos", "they keep their type of file and their size")
    places = photos or []
    check_out(places, to)
    found = find_photos(places) if places else []

    start_backend()
    from faceage.batch.render import KINDS, Age, RenderOptions, render_photos
    from faceage.batch.render import render as draw_again
    from faceage.model import find_model, load_model

    chosen = file or KINDS.get(kind, ("",))[0]
    if kind in KINDS and chosen not in KINDS[kind]:
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
        # Latents from before there was such a thing were drawn without.
        details=stored.get("details", 0.0) if details is None else details,
        scale=stored["scale"] if scale is None else scale,
        file=chosen,
    )
    model = load_model(find_model(weights))
    open_out(to)
    with bar(total, " faces", quiet=quiet) as shown:
        try:
            if kind == "photos":
                said = render_photos(latents, model, found, to, asked, options.strength, shown.update)
            else:
                count = draw_again(latents, model, to, options, shown.update)
        except OSError as error:
            raise UsageError(f"cannot write to {to}: {error.strerror or error}") from error
    if kind != "photos":
        if not quiet:
            err.print(f"{count} faces → {to / kind}", markup=False)
        return
    failed = {name: problem for name, problem in said.items() if problem}
    for name, problem in failed.items():
        err.print(f"faceage: {name}: {problem}", markup=False)
    if not quiet:
        err.print(f"{len(said) - len(failed)} photos → {to / PASTED}", markup=False)
    raise typer.Exit(EXIT_SOME_FAILED if failed else EXIT_OK)
