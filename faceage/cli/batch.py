"""`faceage batch`: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceage.cli.console import bar, err, out, start_backend, table
from faceage.cli.options import (
    Ages,
    Draw,
    Gender,
    Json,
    MaxPixels,
    PhotoMemory,
    PhotoSeconds,
    Quiet,
    Report,
    Scale,
    Seed,
    Strength,
    Weights,
    draw_options,
    photo_limits,
)
from faceage.cli.report import REPORT, make_report
from faceage.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from tqdm import tqdm

    from faceage.batch.pipeline import RunSummary
    from faceage.batch.plan import Plan


def batch(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Folders of photos, or photos.", show_default=False)
    ] = None,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.", show_default=False)] = ...,  # type: ignore[assignment]
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from", metavar="FILE|-", help="A list of more photos, one a line or as of 'find -print0'."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out files and folders by name, or by path with a slash (* ? [ ]); may be given repeatedly.",
        ),
    ] = None,
    faces: Annotated[
        str, typer.Option(metavar="all|largest|LIST", help="Which faces of a photo; in a list, 0 is its largest: 0,2.")
    ] = "all",
    min_face: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=16,
            help="Narrowest face, in photo pixels [default: 1/32 of the longer side, or about 1/100 where such show].",
        ),
    ] = None,
    age: Annotated[
        str | None, typer.Option(metavar="AGE", help="The people's age in the photos [default: estimated].")
    ] = None,
    ages: Ages = None,
    strength: Strength = None,
    draw: Draw = None,
    gender: Gender = None,
    objective: Annotated[
        Literal["identity", "paper", "pixel", "none"],
        typer.Option(
            help="What is optimised: the person, the person as in the paper, or the pixels; 'none' only encodes."
        ),
    ] = "identity",
    steps: Annotated[
        int, typer.Option(min=1, max=10_000, help="Optimiser steps per face; 20 are nearly as good, and faster.")
    ] = 60,
    any_recognizer: Annotated[
        bool,
        typer.Option("--any-recognizer", help="Also use a recogniser that is not known to tell people apart."),
    ] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="Write the whole photo too, the faces in it aged: one for each age.")
    ] = False,
    scale: Scale = None,
    seed: Seed = 0,
    weights: Weights = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do photos again that could not be read, though they are unchanged.")
    ] = False,
    max_pixels: MaxPixels = None,
    photo_seconds: PhotoSeconds = None,
    photo_memory: PhotoMemory = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Only this share of the photos, into DIR/shards/K-of-N; then 'faceage merge'."
        ),
    ] = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where the work is done.")] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster [default: one on this machine].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers on it [default: one per GPU, or per two CPUs].")
    ] = None,
    report: Report = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find every face in PHOTOS and draw the same person at other ages.

    Writes DIR/grids/<photo>_<face>.png, DIR/latents.h5 with its parts in DIR/latents, DIR/manifest.jsonl, and
    DIR/report.html, which shows it all. The same command again does only what is left, however this one ended; with
    other --ages, --strength, --draw, --scale or --paste it draws the people again and looks for nobody.

    faceage batch photos --out aged --ages 60+ --paste

    With --paste, also DIR/pasted/<photo>_<age>: as large as the photo, in its format, and without its metadata.
    """
    from faceage.ages import Age
    from faceage.batch.age_photos import age_photos, plan_photos
    from faceage.batch.engines import RayEngine, local_engine
    from faceage.batch.options import DrawOptions, FindOptions
    from faceage.batch.plan import Again, shard_folder
    from faceage.model import find_model
    from faceage.people.options import OptimiserOptions

    optimiser = OptimiserOptions(objective, steps, seed=seed)
    find = FindOptions(faces, min_face, None if age is None else Age.of(age), optimiser)
    drawn = draw_options(DrawOptions(paste=paste), ages, strength=strength, draw=draw, gender=gender, scale=scale)
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
    if dry_run:
        _print_plan(plan_photos(photos or [], to, **asked), find_model(weights), json)
        return

    with bar(None, " photos", quiet=quiet or json) as shown:
        told = _Progress(shown, quiet)
        runs_on = RayEngine(address, workers) if engine == "ray" else local_engine
        summary = age_photos(photos or [], to, **asked, engine=runs_on, begins=told.begins, progress=told.progress)
    to = shard_folder(to, share)
    if json:
        out.print_json(data=summary.to_json())
    elif not quiet:
        _print_summary(summary, to)
    stands = not told.photos and (to / REPORT).is_file()
    if report and share == (1, 1) and not stands:
        # A shard's results are on their way into others'.
        make_report(to, find_model(weights), quiet=quiet or json)
    raise typer.Exit(summary.exit_code)


class _Progress:
    """Tells on stderr how far a run is."""

    def __init__(self, shown: "tqdm", quiet: bool) -> None:
        self._shown = shown
        self._quiet = quiet
        self.photos = self.faces = 0

    def begins(self, plan: "Plan") -> None:
        if plan.to_find or plan.to_draw:
            start_backend()
        self._shown.reset(len(plan.to_find) + len(plan.to_draw))
        if self._quiet:
            return
        _print_skipped(plan)
        for count, what in (
            (plan.outdated, "photos were done with other options or weights, and are done again"),
            (plan.replaced, "photos have changed: the people and pictures of the old ones are removed"),
        ):
            if count:
                err.print(f"faceage: {count} {what}")

    def progress(self, photos: int, faces: int) -> None:
        self.photos += photos
        self.faces += faces
        elapsed = self._shown.format_dict["elapsed"]
        self._shown.set_postfix_str(f"{self.faces / elapsed:.1f} faces/s" if elapsed else "", refresh=False)
        self._shown.update(photos)


def _print_skipped(plan: "Plan") -> None:
    if folders := plan.skipped_folders:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(folders.items()))
        err.print(f"faceage: {sum(folders.values())} folders of other programs are left out: {names}")


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


def _print_plan(plan: "Plan", folder: Path, json: bool) -> None:
    unreadable = sum(bool(photo.file.problem) for photo in plan.to_find)
    if json:
        out.print_json(
            data={
                "to_find": [photo.name for photo in plan.to_find],
                "to_draw": [photo.name for photo in plan.to_draw],
                "done": len(plan.done),
                "replaced": plan.replaced,
                "skipped_folders": dict(plan.skipped_folders),
                "out": str(plan.out),
                "weights": str(folder),
            }
        )
        return
    for photo in (*plan.to_find, *plan.to_draw):
        out.print(photo.name)
    _print_skipped(plan)
    err.print(
        f"{len(plan.to_find)} photos to do ({unreadable} that cannot be read), {len(plan.to_draw)} to draw only, "
        f"{len(plan.done)} done before; into {plan.out}, with {folder}"
    )


def _print_summary(summary: "RunSummary", to: Path) -> None:
    optional = (("used with a warning", summary.warnings), ("in place of others", summary.replaced))
    kinds = (("ok", "with faces"), ("no_face", "no face"), ("unreadable", "unreadable"), ("failed", "failed"))
    rows: list[tuple[object, ...]] = [
        ("photos", sum(summary.photos.values())),
        ("  done by an earlier run", summary.skipped),
        *((f"  {label}", summary.photos[status]) for status, label in kinds),
        *((f"  {label}", count) for label, count in optional if count),
        ("faces", summary.faces),
        ("  found by this run", summary.optimised),
    ]
    if summary.distances:
        rows.append(("identity distance, median", "{:.3f} → {:.3f}".format(*summary.median_distance)))
    rows += [(), *((f"{stage}, seconds", f"{seconds:.1f}") for stage, seconds in summary.seconds.items())]
    table(rows, title=f"faceage batch → {to}", to=err)
    if summary.exit_code != EXIT_OK:
        err.print(f"the reasons are in {to / 'manifest.jsonl'}")
