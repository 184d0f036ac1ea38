"""`faceage video`: the main job for films."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceage.ages import STRENGTH
from faceage.cli import panels
from faceage.cli.console import bars, err, out, start_backend, table
from faceage.cli.options import (
    EVERY_CLASS,
    Age,
    Ages,
    Draw,
    Faces,
    Gender,
    Json,
    MinFace,
    Out,
    Overwrite,
    Quiet,
    Seed,
    Steps,
    Strength,
    Weights,
    draw_options,
)
from faceage.people.options import STEPS, OptimiserOptions

if TYPE_CHECKING:
    from faceage.film.age_film import FilmSummary


def video(
    clip: Annotated[
        Path,
        typer.Argument(
            metavar="CLIP", help="A clip, or a folder of frames.", show_default=False, rich_help_panel=panels.AGE
        ),
    ],
    to: Out,
    ages: Ages = EVERY_CLASS,
    age: Age = None,
    gender: Gender = None,
    faces: Faces = "all",
    min_face: MinFace = None,
    strength: Strength = STRENGTH,
    draw: Draw = "photo",
    steps: Steps = STEPS,
    weights: Weights = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the people of a film at other ages.

    faceage video clip.mp4 --out aged --ages 60+

    Writes DIR/clip.mp4_60+.mp4 (.mkv where MP4 cannot hold the sound) in H.264 that looks like the original; frames in
    two fields become whole ones. The sound is the clip's, or FLAC made of it where neither can hold that. Of a folder
    of frames it writes the folder DIR/frames_60+.

    Each person of a shot has one age and one change, so nothing flickers. Who was found is kept in DIR/film. The same
    command again does only what is left, however this one ended.

    Clips need the extra [video]: pip install 'faceage[video]'. Folders of frames do not.
    """
    from faceage.ages import Age as AgeOf
    from faceage.batch.options import DrawOptions, FindOptions
    from faceage.film.age_film import age_film

    optimiser = OptimiserOptions(steps=steps, seed=seed)
    find = FindOptions(faces, min_face, None if age is None else AgeOf(age), optimiser)
    drawn = draw_options(DrawOptions(), ages, strength=strength, draw=draw, gender=gender)
    with bars(quiet or json) as told:
        summary = age_film(
            clip,
            to,
            weights=weights,
            find=find,
            draw=drawn,
            overwrite=overwrite,
            begins=start_backend,
            progress=told,
        )
    if json:
        out.print_json(data=summary.to_json())
    elif not quiet:
        _print_summary(summary, to)
    if not summary.people:
        err.print(f"faceage: {clip}: no face was found")
    if summary.broken:
        err.print(f"faceage: {clip}: {summary.broken}; the {summary.frames} frames that can be read are kept")
    if summary.left_out:
        err.print(f"faceage: {clip}: {summary.left_out} and left out")
    raise typer.Exit(summary.exit_code)


def _print_summary(summary: "FilmSummary", to: Path) -> None:
    rows = [(name, getattr(summary, name)) for name in ("frames", "shots", "people")]
    table([*rows, ("frames drawn by this run", summary.drawn)], title=f"faceage video → {to}", to=err)
    for file in summary.files:
        err.print(file)
