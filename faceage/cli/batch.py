"""`faceage batch`: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceage.ages import DETAILS, STRENGTH
from faceage.cli.console import bar, err, out, start_backend
from faceage.cli.options import Json, Quiet, Report, Seed, Weights
from faceage.cli.report import make_report
from faceage.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from faceage.batch.pipeline import RunSummary
    from faceage.batch.plan import Plan


def batch(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Folders of photos, or photos.", show_default=False)
    ] = None,
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.", show_default=False)] = ...,  # type: ignore[assignment]
    files_from: Annotated[
        str | None, typer.Option("--files-from", metavar="FILE|-", help="Read more photos' names, one a line.")
    ] = None,
    faces: Annotated[Literal["all", "largest"], typer.Option(help="Which faces of a photo.")] = "all",
    face: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these faces of each photo: 0 is its largest, 1 the next.")
    ] = None,
    min_face: Annotated[
        int | None,
        typer.Option(metavar="PX", min=16, help="Narrowest face, in photo pixels [default: 1/32 of the longer side]."),
    ] = None,
    age: Annotated[
        int | None, typer.Option(metavar="YEARS", help="The people's age, if all have one [default: estimated].")
    ] = None,
    ages: Annotated[
        str, typer.Option(metavar="LIST", help="Ages to draw: classes (0-18,60+) or years (25,70).")
    ] = "0-18,19-29,30-39,40-49,50-59,60+",
    strength: Annotated[
        float,
        typer.Option(
            min=0, max=2, help="How far towards each age: 0.5 is half way, more than 1 more than its class has."
        ),
    ] = STRENGTH,
    details: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How much of what G leaves out of the photo is put back into grids, at every age."
        ),
    ] = DETAILS,
    objective: Annotated[
        Literal["identity", "paper", "pixel", "none"],
        typer.Option(
            help="What is optimised: the person ('paper': by z and one distance alone), or pixels; 'none' keeps z."
        ),
    ] = "identity",
    quality: Annotated[
        Literal["fast", "best"],
        typer.Option(
            help="'fast' takes a third of the steps; an independent recogniser takes 99% of aged faces for the person "
            "either way, and 58% look the age (96 faces)."
        ),
    ] = "best",
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Optimiser steps per face [default: 60, with --quality fast 20]."),
    ] = None,
    any_recognizer: Annotated[
        bool,
        typer.Option("--any-recognizer", help="Look through a recogniser that is not known to tell people apart, too."),
    ] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="Write the whole photo too, the faces in it aged: one for each age.")
    ] = False,
    scale: Annotated[int, typer.Option(min=1, max=8, help="Enlarge the faces of a grid so many times.")] = 2,
    seed: Seed = 0,
    weights: Weights = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do photos again that could not be read, though they are unchanged.")
    ] = False,
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
    DIR/report.html, which shows it all. The same command again does only what is left, however this one ended.

    faceage batch photos --out aged --ages 60+ --paste

    With --paste, also DIR/pasted/<photo>_<age>: as large as the photo, in its format, and without its metadata.
    """
    from faceage.batch.age_photos import age_photos, plan_photos
    from faceage.batch.engines import RayEngine, local_engine
    from faceage.batch.plan import Again, BatchOptions, shard_folder
    from faceage.model import find_model
    from faceage.people.options import STEPS, OptimiserOptions

    places = [*(photos or []), *_listed(files_from)]
    options = BatchOptions(
        faces=_numbers(face, faces),
        min_face=min_face,
        age_class=None if age is None else _class_of(str(age), "--age"),
        targets=tuple(_class_of(text.strip(), "--ages") for text in ages.split(",")),
        strength=strength,
        details=details,
        scale=scale,
        optimiser=OptimiserOptions(objective, steps or STEPS[quality], seed=seed),
        paste=paste,
    )
    share = _share(shard)
    again = Again(overwrite, retry_failed)
    asked: dict[str, Any] = {
        "weights": weights,
        "options": options,
        "again": again,
        "shard": share,
        "any_recognizer": any_recognizer,
    }
    if dry_run:
        _print_plan(plan_photos(places, to, **asked), find_model(weights), json)
        return

    with bar(None, " photos", quiet=quiet or json) as shown:
        done = {"faces": 0}

        def begins(plan: "Plan") -> None:
            if plan.todo or plan.unpasted:
                start_backend()
            shown.reset(len(plan.todo) + len(plan.unpasted))
            if plan.outdated and not quiet:
                said = "photos were done with other options or weights, and are done again"
                err.print(f"faceage: {plan.outdated} {said}", markup=False)

        def progress(finished: int, faces: int) -> None:
            done["faces"] += faces
            elapsed = shown.format_dict["elapsed"]
            shown.set_postfix_str(f"{done['faces'] / elapsed:.1f} faces/s" if elapsed else "", refresh=False)
            shown.update(finished)

        runs_on = RayEngine(address, workers) if engine == "ray" else local_engine
        summary = age_photos(places, to, **asked, engine=runs_on, begins=begins, progress=progress)
    to = shard_folder(to, share)
    if json:
        out.print_json(data=summary.to_json())
    elif not quiet:
        _print_summary(summary, to)
    if report and share == (1, 1):
        # A shard's results are on their way into others'.
        make_report(to, find_model(weights), quiet=quiet or json)
    raise typer.Exit(summary.exit_code)


def _share(text: str | None) -> tuple[int, int]:
    """ "3/16" as (3, 16)."""
    if text is None:
        return 1, 1
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return int(number), int(of)
    raise UsageError(f"--shard {text!r} is no share", "shares are 1/16, 2/16, … 16/16")


def _numbers(face: str | None, faces: str) -> str:
    """ "2, 0" as "0,2", or which `faces` where none is named by its number."""
    if face is None:
        return faces
    if faces != "all":
        raise UsageError(f"--face {face} and --faces {faces} exclude each other", "--face 0 is the largest face")
    texts = [text.strip() for text in face.split(",")]
    if not all(text.isdecimal() and len(text) < 6 for text in texts):
        raise UsageError(f"--face {face!r} is no list of faces", "--face 0,2 is the largest and the third")
    return ",".join(map(str, sorted(set(map(int, texts)))))


def _listed(files_from: str | None) -> list[Path]:
    if files_from is None:
        return []
    from faceage.photos.lists import parse_list

    try:
        content = sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as error:
        raise UsageError(f"--files-from {files_from} cannot be read: {error.strerror}") from error
    return parse_list(content)


def _class_of(text: str, option: str) -> int:
    from faceage.ages import AGE_CLASSES, MAX_AGE, age_class

    if text in AGE_CLASSES:
        return AGE_CLASSES.index(text)
    try:
        return age_class(int(text))
    except ValueError as error:
        raise UsageError(
            f"{option}: unknown age {text!r}", f"ages are 0 to {MAX_AGE} years, or one of {', '.join(AGE_CLASSES)}"
        ) from error


def _print_plan(plan: "Plan", folder: Path, json: bool) -> None:
    unreadable = sum(bool(photo.problem) for photo in plan.todo)
    if json:
        out.print_json(
            data={
                "todo": [photo.name for photo in plan.todo],
                "to_paste": [photo.name for photo, _ in plan.unpasted],
                "done": len(plan.done),
                "out": str(plan.out),
                "weights": str(folder),
            }
        )
        return
    for photo in (*plan.todo, *(photo for photo, _ in plan.unpasted)):
        out.print(photo.name, markup=False)
    pasted = f"{len(plan.unpasted)} to paste only, " if plan.unpasted else ""
    err.print(
        f"{len(plan.todo)} photos to do ({unreadable} that cannot be read), {pasted}{len(plan.done)} done before; "
        f"into {plan.out}, with {folder}",
        markup=False,
    )


def _print_summary(summary: "RunSummary", to: Path) -> None:
    from rich.table import Table

    table = Table("", "", show_header=False, title=f"faceage batch → {to}")
    table.add_row("photos", str(sum(summary.photos.values())))
    table.add_row("  done by an earlier run", str(summary.skipped))
    for status, label in (
        ("ok", "  with faces"),
        ("no_face", "  no face"),
        ("unreadable", "  unreadable"),
        ("failed", "  failed"),
    ):
        table.add_row(label, str(summary.photos[status]))
    table.add_row("faces", str(summary.faces))
    if summary.distances:
        before, after = summary.median_distance
        table.add_row("identity distance, median", f"{before:.3f} → {after:.3f}")
    table.add_section()
    for stage, seconds in summary.seconds.items():
        table.add_row(f"{stage}, seconds", f"{seconds:.1f}")
    err.print(table)
    if summary.exit_code != EXIT_OK:
        err.print(f"the reasons are in {to / 'manifest.jsonl'}", markup=False)
