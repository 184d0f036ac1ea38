"""`faceage sample`: people who do not exist."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import start_backend
from faceage.cli.options import Seed, Weights


def sample(
    out: Annotated[Path, typer.Option("--out", metavar="GRID.png", help="The picture to write.")],
    rows: Annotated[int, typer.Option(min=1, max=1000, help="People, one a row.")] = 8,
    seed: Seed = 0,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Enlarge each face so many times.")] = 1,
    weights: Weights = None,
) -> None:
    """Draw faces from random latents: one person per row, one age per column."""
    from faceage.errors import UsageError

    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out} cannot be written", "name a file in a folder that exists")

    start_backend()
    from faceage.images import save_png
    from faceage.outputs.samples import sample_grid
    from faceage.weights import find_model, load_network, read_card

    folder = find_model(weights)
    generator = load_network(folder, read_card(folder), "generator")
    save_png(sample_grid(generator, rows, seed, scale), out)
