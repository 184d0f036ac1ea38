"""`faceage report`: a run on one page."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import bars, err
from faceage.cli.options import Quiet, Weights


def report(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="The --out of a batch.", show_default=False)],
    faces: Annotated[
        int, typer.Option(min=1, help="Faces to show at most; of more, as many are chosen evenly.")
    ] = 10_000,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Write OUT/report.html: every face with a slider from young to old, filters, failures, settings and times.

    faceage report aged

    Open it in any browser; it asks no network. Where the pictures are many, they lie in OUT/report: move both together.
    """
    from faceage.errors import WeightsError
    from faceage.weights import find_model

    try:
        model = find_model(weights)
    except WeightsError:
        # It is only named.
        if weights is not None:
            raise
        model = None
    make_report(results, model, quiet, faces)


def make_report(results: Path, model: Path | None, quiet: bool, faces: int | None = None) -> None:
    """Write the report of the batch in `results`, done with `model` perhaps, and say where it is."""
    from faceage.batch.report import MOST_FACES, write_report
    from faceage.weights import fingerprint, read_card

    used = ("", "")
    if model is not None:
        card = read_card(model)
        used = fingerprint(card), card.get("name", model.name)
    with bars(quiet) as shown:
        path = write_report(
            results, used, faces or MOST_FACES, progress=lambda done, total: shown("report", done, total)
        )
    if not quiet:
        err.print(f"report → {path}", markup=False)
