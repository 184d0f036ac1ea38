"""`faceage report`: a run on one page."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import bars, err
from faceage.cli.options import Quiet, Weights

_MOST_FACES = 10_000
"""What a browser shows with ease, and a minute's work."""


def report(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of a batch.", show_default=False)],
    faces: Annotated[
        int, typer.Option(metavar="N", min=1, help="Faces to show; where there are more, N of them evenly chosen.")
    ] = _MOST_FACES,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Write DIR/report.html: a slider from young to old for every face, filters, every failure, settings and times.

    faceage report aged

    Any browser opens it, without network. Where the pictures are too many for it, they lie in DIR/report: move both.
    It may be written while the batch is still at work, and is then about what is finished.
    """
    make_report(results, find_used(weights), quiet, faces)


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


def make_report(results: Path, model: Path | None, quiet: bool, faces: int = _MOST_FACES) -> None:
    """Write the report of the batch in `results`, which names `model` where it is the one that was used."""
    from faceage.model import fingerprint, read_card
    from faceage.report.rows import write_report

    card = None if model is None else read_card(model)
    used = (fingerprint(card), card.get("name", model.name)) if card and model else ("", "")
    with bars(quiet) as shown:
        page = write_report(results, faces, used, progress=lambda done, total: shown("report", done, total))
    if not quiet:
        err.print(f"report → {page}", markup=False)
