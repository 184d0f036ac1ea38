"""`faceage sample`: people who do not exist."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.completion import complete_ages
from faceage.cli.console import bar, check_file, start_backend
from faceage.cli.options import EVERY_CLASS, Quiet, Seed, Weights
from faceage.errors import UsageError

_MAX_WALK_PIXELS = 500_000_000
"""Of all frames, which are in memory until they are written."""


def sample(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The picture to write: PNG; of a walk GIF or WebP.")
    ],
    rows: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="People, one a row; of a walk, one after the other.")
    ] = 8,
    walk: Annotated[
        bool, typer.Option("--walk", help="An animation that goes from one person to the next, and back to the first.")
    ] = False,
    ages: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Ages, one a column: classes (60+) or years (25,70).",
            autocompletion=complete_ages,
        ),
    ] = EVERY_CLASS,
    seed: Seed = 0,
    scale: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Enlarge each face N times.")] = 1,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Draw people who do not exist.

    \b
        faceage sample --out people.png
        faceage sample --walk --out walk.gif --rows 5 --ages 25

    One person per row and one age per column; with --walk an animation from each person to the next. The generator
    draws them from random latents, 64 pixels wide.
    """
    check_file("--out", out)
    endings = (".gif", ".webp") if walk else (".png",)
    if out.suffix.lower() not in endings:
        raise UsageError(f"--out {out} is no {'animation' if walk else 'picture'}", f"end it in {' or '.join(endings)}")
    if walk and rows < 2:
        raise UsageError("one person is no walk", "--rows 2 or more")

    start_backend()
    import numpy as np

    from faceage.ages import parse_ages
    from faceage.batch.draw import MILLISECONDS
    from faceage.model import load_network, read_card
    from faceage.model_search import find_model
    from faceage.people.samples import WALK_STEPS, sample_grid, walk_frames
    from faceage.photos.provenance import GENERATED
    from faceage.pictures.grid import grid_size
    from faceage.pictures.save import check_webp, save_animation, save_png
    from faceage.sizes import FACE_SIZE

    asked = parse_ages(ages)
    if walk and rows * WALK_STEPS * len(asked) * (FACE_SIZE * scale) ** 2 > _MAX_WALK_PIXELS:
        raise UsageError("the animation would take gigabytes", "fewer --rows, fewer --ages or a smaller --scale")
    if out.suffix.lower() == ".webp":
        check_webp(grid_size(1, len(asked), FACE_SIZE * scale), "frames")
    columns, labels = np.stack([age.weights for age in asked]), [age.label for age in asked]
    folder = find_model(weights)
    generator = load_network(folder, read_card(folder), "generator")
    if not walk:
        save_png(sample_grid(generator, rows, seed, scale, columns, labels), out, GENERATED)
        return
    frames = []
    with bar(rows * WALK_STEPS, " frames", quiet=quiet) as shown:
        for frame in walk_frames(generator, rows, seed, columns, labels, scale):
            frames.append(frame)
            shown.update()
    save_animation(frames, out, MILLISECONDS, GENERATED)
