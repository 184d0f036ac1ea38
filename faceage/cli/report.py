"""`faceage report`: a run on one page."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import bars, err, start_backend
from faceage.cli.options import Quiet, Weights

REPORT = "report.html"

MOST_FACES = 1_000
"""Limits the time of drawing them: some minutes on two cores."""


def report(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of a batch.", show_default=False)],
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="Faces to show; where there are more, N of them evenly chosen.")
    ] = MOST_FACES,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Write a batch on one page, DIR/report.html.

    \b
        faceage report aged

    It has a slider from young to old for every face, the identity distance before and after, filters by status, age and
    distance, every failure with its reason, settings, versions and times. Any browser opens it, without network. If the
    pictures are too many for one file, they lie in DIR/report: move both. Written while the batch is at work, it shows
    what is finished. Its figures count all faces, even if fewer are shown.
    """
    make_report(results, find_used(weights), quiet, limit)


def find_used(weights: Path | None) -> Path | None:
    """The model folder that a report may name: there need be none unless one is asked for."""
    from faceage.errors import WeightsError
    from faceage.model import find_model

    try:
        return find_model(weights)
    except WeightsError:
        if weights is not None:
            raise
        return None


def make_report(results: Path, model: Path | None, quiet: bool, limit: int = MOST_FACES) -> None:
    """Write the report of the batch in `results`, drawn by `model` where that is the one that found its people."""
    from faceage.batch.options import DrawOptions
    from faceage.batch.plan import LATENTS
    from faceage.model import fingerprint, read_card
    from faceage.report.rows import write_report
    from faceage.store.latents import read_settings

    name, draw, latents = "", None, results / LATENTS
    card = None if model is None else read_card(model)
    if model and card and latents.is_file() and fingerprint(card) == read_settings(latents)[0]:
        start_backend()
        from faceage.model import load_model
        from faceage.people.draw import PeoplePainter

        name = card.get("name", model.name)
        options = DrawOptions.of_latents(latents)
        draw = PeoplePainter(load_model(model), options.draw, options.gender)
    with bars(quiet) as shown:
        page = write_report(results, limit, name, draw, progress=lambda done, total: shown("report", done, total))
    if not quiet:
        err.print(f"report → {page}")
