"""`faceage report`: a run on one page."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.cli.console import bars, err, start_backend
from faceage.cli.options import Quiet, Weights

if TYPE_CHECKING:
    from faceage.people.draw import PeoplePainter
    from faceage.report.rows import Painter

REPORT = "report.html"

MOST_FACES = 10_000
"""As many as a browser opens within seconds."""


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

    It has a slider from young to old for every face, a larger view with the aged face over the photo, the identity
    distance before and after, filters by status, age and distance, every failure with its reason, settings, versions
    and times. Any browser opens it, without network. If the pictures are too many for one file (some 600 faces), they
    lie in DIR/report: move both. It shows what the batch drew, and draws only what is missing. Written while the batch
    is at work, it shows what is finished. Its figures count all faces, even if fewer are shown.
    """
    make_report(results, find_used(weights), quiet, limit)


def find_used(weights: Path | None) -> Path | None:
    """The model folder that a report may name: there need be none unless one is asked for."""
    from faceage.errors import WeightsError
    from faceage.model_search import find_model

    try:
        return find_model(weights)
    except WeightsError:
        if weights is not None:
            raise
        return None


def make_report(results: Path, model: Path | None, quiet: bool, limit: int = MOST_FACES) -> None:
    """Write the report of the batch in `results`.

    What the batch did not keep for it is drawn by `model`, where that is the one that found its people.
    """
    from faceage.batch.plan import LATENTS
    from faceage.model import fingerprint, read_card
    from faceage.report.rows import write_report
    from faceage.store.latents import read_settings

    name, painter, latents = "", None, results / LATENTS
    card = None if model is None else read_card(model)
    if model and card and latents.is_file() and fingerprint(card) == read_settings(latents)[0]:
        name, painter = card.get("name", model.name), _painter(model, card, latents)
    with bars(quiet) as shown:
        page = write_report(results, limit, name, painter, progress=lambda done, total: shown("report", done, total))
    if not quiet:
        err.print(f"report → {page}")


def _painter(model: Path, card: dict[str, Any], latents: Path) -> "Painter":
    """Draws with the networks in the folder `model`, which are loaded when somebody is to be drawn."""
    from faceage.batch.age_photos import draw_digest
    from faceage.batch.options import DrawOptions
    from faceage.report.rows import Painter

    options = DrawOptions.of_latents(latents)

    @functools.cache
    def people_painter() -> "PeoplePainter":
        start_backend()
        from faceage.model import load_model
        from faceage.people.draw import PeoplePainter

        return PeoplePainter(load_model(model), options.draw, options.gender)

    return Painter(lambda *asked: people_painter()(*asked), draw_digest(options, card))
