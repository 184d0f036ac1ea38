"""What `faceage batch` tells a person: how far it is, what it would do, and what it did."""

from pathlib import Path
from typing import TYPE_CHECKING

from faceage.cli.console import counted, err, out, start_backend, table

if TYPE_CHECKING:
    from tqdm import tqdm

    from faceage.batch.pipeline import RunSummary
    from faceage.batch.plan import Plan


class Progress:
    """Tells on stderr how far a run is."""

    def __init__(self, shown: "tqdm", ages: int, quiet: bool) -> None:
        self._shown = shown
        self._ages = ages
        self._quiet = quiet
        self._stages: dict[str, str] = {}
        self.photos = self.faces = 0

    def begins(self, plan: "Plan") -> None:
        total = len(plan.to_find) + len(plan.to_draw)
        if not self._quiet:
            _print_changes(plan)
            if total:
                again = f" and {len(plan.to_draw)} to draw again" if plan.to_draw else ""
                jobs = f"{counted(len(plan.to_find), 'photo')} to find people in{again}"
                err.print(f"faceage: {jobs}, at {counted(self._ages, 'age')}; loading the networks")
        self._shown.total = total
        self._shown.set_description("loading the networks", refresh=False)
        self._shown.update(0)
        if total:
            start_backend()

    def tell(self, stage: str, done: int, total: int) -> None:
        self._stages[stage] = f"{stage} {done}/{total}"
        self._show(0)

    def progress(self, photos: int, faces: int) -> None:
        self.photos += photos
        self.faces += faces
        self._show(photos)

    def _show(self, photos: int) -> None:
        self._shown.set_description_str("", refresh=False)
        elapsed = self._shown.format_dict["elapsed"]
        rate = [f"{self.faces / elapsed:.1f} faces/s"] if self.faces and elapsed else []
        self._shown.set_postfix_str(", ".join([*self._stages.values(), *rate]), refresh=False)
        self._shown.update(photos)


def _print_changes(plan: "Plan") -> None:
    if folders := plan.skipped_folders:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(folders.items()))
        err.print(f"faceage: left out {counted(sum(folders.values()), 'folder')} of copies or results: {names}")
    for count, what in (
        (plan.outdated, f"to do again, with {plan.found_anew}"),
        (plan.redrawn, f"to draw again, with {plan.drawn_anew}: earlier pictures are removed"),
        (plan.replaced, "changed: earlier people and pictures are removed"),
    ):
        if count:
            err.print(f"faceage: {counted(count, 'photo')} {what}")


def print_plan(plan: "Plan", folder: Path, json: bool) -> None:
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
    _print_changes(plan)
    err.print(
        f"{counted(len(plan.to_find), 'photo')} to do ({unreadable} that cannot be read), {len(plan.to_draw)} to draw "
        f"only, {len(plan.done)} done before; into {plan.out}, with {folder}"
    )


def print_summary(summary: "RunSummary", to: Path) -> None:
    optional = (("used with a warning", summary.warnings), ("in place of others", summary.replaced))
    kinds = (("ok", "with faces"), ("no_face", "no face"), ("unreadable", "unreadable"), ("failed", "failed"))
    rows: list[tuple[object, ...]] = [
        ("photos", sum(summary.photos.values())),
        ("  done by an earlier run", summary.skipped),
        *((f"  {label}", summary.photos[status]) for status, label in kinds),
        *((f"  {label}", count) for label, count in optional if count),
        ("faces", summary.faces),
        ("  found by this run", summary.optimised),
        ("  found by an earlier run", max(0, summary.faces - summary.optimised)),
    ]
    if summary.distances:
        rows.append(("rebuilt faces, distance to the photo", "{:.2f} → {:.2f}".format(*summary.median_distance)))
        if summary.same_person_below:
            rows.append(("  one person is below", f"{summary.same_person_below:.2f}"))
    rows += [(), *((f"{stage}, seconds", f"{seconds:.1f}") for stage, seconds in summary.seconds.items())]
    table(rows, title=f"faceage batch → {to}", to=err)
    _print_problems(summary, to)


def _print_problems(summary: "RunSummary", to: Path) -> None:
    for row in summary.problems:
        err.print(f"faceage: {row.path}: {row.reason}")
    if rest := summary.without_face - len(summary.problems):
        err.print(f"faceage: {counted(rest, 'more photo')} without a result: see {to / 'manifest.jsonl'}")


def print_in_short(summary: "RunSummary", to: Path) -> None:
    """One line where photos have no result, which even --quiet wants to know."""
    if summary.problems:
        first, photos = summary.problems[0], counted(summary.without_face, "photo")
        err.print(f"faceage: {photos} without a result ({first.path}: {first.reason}): see {to / 'manifest.jsonl'}")
