"""`faceage print`: sheets of paper that say what a child may look like later."""

from typing import Annotated, Literal

import typer

from faceage.cli import panels
from faceage.cli.console import bars, counted, err, open_model, start_backend
from faceage.cli.options import Faces, Gender, LatentsFile, Only, Out, Quiet, Strength, Weights
from faceage.errors import EXIT_OK
from faceage.people.options import ADULT_STRENGTH


def print_sheets(
    latents: LatentsFile,
    to: Out,
    ages: Annotated[
        str, typer.Option(metavar="AGES", help="Ages to draw, at most six.", rich_help_panel=panels.AGE)
    ] = "12,18,25,35",
    gender: Gender = None,
    same_person: Annotated[
        bool,
        typer.Option(
            "--same-person", help="All photos show one child: one sheet, from them all.", rich_help_panel=panels.AGE
        ),
    ] = False,
    spread: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=5, help="How many adults a child may become.", rich_help_panel=panels.LOOKS
        ),
    ] = 3,
    strength: Strength = ADULT_STRENGTH,
    paper: Annotated[
        Literal["a4", "letter"],
        typer.Option(metavar="a4|letter", help="Size of the paper.", rich_help_panel=panels.LOOKS),
    ] = "a4",
    file: Annotated[
        Literal["pdf", "png"],
        typer.Option(
            metavar="pdf|png", help="Type of file; a PNG has 300 pixels an inch.", rich_help_panel=panels.LOOKS
        ),
    ] = "pdf",
    only: Only = None,
    faces: Faces = "all",
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Print what a child may look like later.

    \b
        faceage batch anna.jpg --out anna --age 6
        faceage print anna/latents.h5 --out anna --gender female

    Writes DIR/prints/<photo>_<face>.pdf, say for the search for a missing child. Say the child's age to the batch:
    children's is estimated roughly. Whoever is 18 or older in the photo is named and left out; so are, with
    --same-person, faces that the recogniser takes for somebody else.

    No photo says which adult a child becomes. So several are drawn: they differ in features and build, by as much as
    the recogniser lets pass for the child of the photo. They are guesses, and of children below 4 poor ones. Measured
    on 60 children: a recogniser that had no part in drawing takes 91% to 95% of the adults at 25 and 35 for the child
    (at 1% false matches among people of all ages; 68% to 73% at 1% among children), and 95% to 97% are seen as the
    gender that was said. Not validated: whether the grown-up looks like them, as no data here shows one
    person as a child and as an adult.
    """
    from faceage.ages import parse_ages
    from faceage.batch.chosen import Chosen
    from faceage.batch.names import PRINTS
    from faceage.batch.options import PrintOptions
    from faceage.batch.plan import open_out, writing_to

    assert strength is not None
    options = PrintOptions(parse_ages(ages), strength, spread, paper, file, gender, same_person)
    chosen = Chosen(tuple(only or ()), faces)
    if not quiet:
        err.print(f"faceage: {counted(chosen.count(latents), 'face')} to look at; loading the networks")
    open_out(to, PRINTS)

    start_backend()
    from faceage.batch.prints import make_prints

    model = open_model(weights)
    with bars(quiet) as shown, writing_to(to):
        total, warnings = make_prints(
            latents, model, to, options, chosen, lambda done, total: shown("sheets", done, total)
        )
    for warning in warnings:
        err.print(f"faceage: {warning}")
    if not quiet:
        err.print(f"{counted(total, 'sheet')} → {to / PRINTS}")
    raise typer.Exit(EXIT_OK)
