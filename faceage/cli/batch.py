"""`faceage batch`: the main job."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from faceage.ages import STRENGTH
from faceage.cli import panels
from faceage.cli.batch_messages import Progress, print_in_short, print_plan, print_summary
from faceage.cli.console import bar, out
from faceage.cli.options import (
    EVERY_CLASS,
    Age,
    Ages,
    Draw,
    Faces,
    Gender,
    Json,
    Mark,
    MaxPixels,
    MinFace,
    Out,
    Overwrite,
    PhotoMemory,
    PhotoSeconds,
    Quiet,
    Report,
    Scale,
    Seed,
    Steps,
    Strength,
    Weights,
    draw_options,
    photo_limits,
)
from faceage.cli.report import REPORT, make_report
from faceage.errors import UsageError
from faceage.people.options import STEPS, OptimiserOptions


def batch(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PHOTOS",
            help="Folders of photos, to any depth, or photos.",
            show_default=False,
            rich_help_panel=panels.AGE,
        ),
    ] = None,
    to: Out = ...,  # type: ignore[assignment]
    ages: Ages = EVERY_CLASS,
    age: Age = None,
    gender: Gender = None,
    faces: Faces = "all",
    min_face: MinFace = None,
    strength: Strength = STRENGTH,
    draw: Draw = "photo",
    paste: Annotated[
        bool,
        typer.Option(
            "--paste", help="Write the whole photo too, at each age: DIR/pasted.", rich_help_panel=panels.LOOKS
        ),
    ] = False,
    scale: Scale = 1,
    mark: Mark = False,
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="FILE|-",
            help="A list of photos: one a line, or of 'find -print0'.",
            rich_help_panel=panels.PHOTOS,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out files and folders by name (*_small.jpg) or path (2019/*); repeatable.",
            rich_help_panel=panels.PHOTOS,
        ),
    ] = None,
    max_pixels: MaxPixels = None,
    photo_seconds: PhotoSeconds = None,
    photo_memory: PhotoMemory = None,
    steps: Steps = STEPS,
    objective: Annotated[
        Literal["identity", "paper", "pixel", "none"],
        typer.Option(
            metavar="NAME",
            help="What to optimise: identity, paper (as published), pixel, or none (encode only: fastest).",
            rich_help_panel=panels.SPEED,
        ),
    ] = "identity",
    weights: Weights = None,
    any_recognizer: Annotated[
        bool,
        typer.Option(
            "--any-recognizer",
            help="Also use a recogniser not known to tell people apart.",
            rich_help_panel=panels.MODEL,
        ),
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Try unreadable photos again, and those over a limit.",
            rich_help_panel=panels.RESUMING,
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Do this share of the photos; then 'faceage merge'.",
            rich_help_panel=panels.MACHINES,
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            metavar="local|ray",
            help="On this machine, or on a Ray cluster (extra: ray).",
            rich_help_panel=panels.MACHINES,
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The Ray cluster.  [default: one on this machine]",
            rich_help_panel=panels.MACHINES,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Ray workers.  [default: one per GPU, or per two CPUs]",
            rich_help_panel=panels.MACHINES,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=panels.SCRIPTS),
    ] = False,
    report: Report = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the people in your photos at other ages.

    \b
        faceage batch photos --out aged
        faceage batch photos --out aged --ages 25,60+ --faces largest
        faceage batch photos --out aged --ages 60+ --paste
        find . -name '*.jpg' | faceage batch --files-from - --out aged --json

    Writes DIR/report.html, which shows it all; DIR/grids/<photo>_<face>.png; DIR/latents.h5, a row per face; and
    DIR/manifest.jsonl, a row per photo. The same command again does only what is left, however this one ended; with
    other --ages, --strength, --draw, --scale, --mark or --paste it draws again and looks for nobody. The pictures at
    earlier ages go then: 'faceage render' draws into another folder.
    """
    from faceage.ages import Age as AgeOf
    from faceage.batch.age_photos import age_photos, plan_photos
    from faceage.batch.engines import RayEngine, local_engine
    from faceage.batch.options import DrawOptions, FindOptions
    from faceage.batch.plan import Again, Plan, shard_folder
    from faceage.model_search import find_model

    optimiser = OptimiserOptions(objective, steps, seed=seed)
    find = FindOptions(faces, min_face, None if age is None else AgeOf(age), optimiser)
    base = DrawOptions(paste=paste, strips=report)
    drawn = draw_options(base, ages, strength=strength, draw=draw, gender=gender, scale=scale, mark=mark)
    if engine == "local" and (address or workers):
        raise UsageError("--address and --workers are of a Ray cluster", "add --engine ray")
    share = _share(shard)
    again = Again(overwrite, retry_failed)
    asked: dict[str, Any] = {
        "listed": _listed(files_from),
        "exclude": exclude or [],
        "weights": weights,
        "find": find,
        "draw": drawn,
        "limits": photo_limits(max_pixels, photo_seconds, photo_memory),
        "again": again,
        "shard": share,
        "any_recognizer": any_recognizer,
    }
    page = shard_folder(to, share) / REPORT
    if dry_run:
        print_plan(plan_photos(photos or [], to, **asked), find_model(weights), json)
        return

    works = False
    with bar(None, " photos", quiet=quiet or json) as shown:
        told = Progress(shown, len(drawn.ages), quiet)
        runs_on = RayEngine(address, workers) if engine == "ray" else local_engine

        def begins(plan: Plan) -> None:
            nonlocal works
            works = bool(plan.to_find or plan.to_draw)
            if works and page.is_file():
                # It would show what was before, also where this run does not get as far as the report.
                page.unlink()
            told.begins(plan)

        asked |= {"begins": begins, "progress": told.progress, "tell": told.tell}
        summary = age_photos(photos or [], to, **asked, engine=runs_on)
    to = shard_folder(to, share)
    if json:
        out.print_json(data=summary.to_json())
    elif quiet:
        print_in_short(summary, to)
    else:
        print_summary(summary, to)
    if report and share == (1, 1) and (works or not page.is_file()):
        # A shard's results are on their way into others'.
        make_report(to, find_model(weights), quiet=quiet or json)
    raise typer.Exit(summary.exit_code)


EPILOG = """Photos are JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and, with the extra [heif], HEIC; EXIF turns them upright.
One that is damaged or shows no face does not stop the rest: the manifest gives the reason.

Results are named after a photo's folder and file, whatever else the command names. So many albums can share one DIR,
and an album may move. If a name is taken, the second photo gets a short hash of its bytes in its own.

Any HDF5 reader opens latents.h5, at any moment. Its numbers lie in DIR/latents: move both.

--paste writes DIR/pasted/<photo>_<age>, with the photo's size, format, ICC profile, alpha and JPEG quality, 8 bits a
channel. A face changes within its aligned square, hair included, and keeps its own finer detail; other pixels stay as
they are. EXIF with place and serial numbers, thumbnails, XMP and comments go. HEIC, AVIF and GIF become PNG, CMYK
becomes sRGB, and an animation its first frame. Neck and the shape of the head do not age.

Many machines must see photos, weights and DIR under the same paths. Shards know nothing of each other: start a shard
that died again, and put all together with 'faceage merge DIR'. A Ray worker that dies is replaced. A million faces take
17 GB of latents and 210 GB of grids; fewer --ages take less, and 'faceage render' draws any of them again.

After Ctrl-C, kill -9, a power cut or a full disk, the same command goes on. What has a row in the manifest is kept;
what is begun is done again: a batch of up to 32 faces and the photos searched after it. That is half a minute on two
idle cores, and more on busy ones. Before its first row, a run loads and compiles the networks, each time. Photos that
changed are done again, and so are all where an option changed; you are told.

The identity distance that the end and the report show is of the face that the generator rebuilds from its latents,
before and after they were optimised, and not of aged faces. 'rm -r DIR' deletes all that is personal.

Exit status: 0 all done, 1 some photos failed or showed no face, 2 wrong usage or weights, 130 interrupted.
"""


def _share(text: str | None) -> tuple[int, int]:
    """ "3/16" as (3, 16)."""
    if text is None:
        return 1, 1
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return int(number), int(of)
    raise UsageError(f"--shard {text!r} is no share", "shares are 1/16, 2/16, … 16/16")


def _listed(files_from: str | None) -> list[Path]:
    if files_from is None:
        return []
    from faceage.photos.lists import parse_list

    try:
        content = sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as error:
        raise UsageError(f"--files-from {files_from} cannot be read: {error.strerror}") from error
    return parse_list(content)
