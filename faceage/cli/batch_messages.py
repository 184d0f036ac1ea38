"""What `faceage batch` tells a person: how far it is, what it would do, and what it did."""

from pathlib import Path
from typing import TYPE_CHECKING

from faceage.cli.console import err, out, start_backend, table
from faceage.errors import EXIT_OK

if TYPE_CHECKING:
    from tqdm import tqdm

    from faceage.batch.pipeline import RunSummary
    from faceage.batch.plan import Plan


class Progress:
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
    _print_skipped(plan)
    err.print(
        f"{len(plan.to_find)} photos to do ({unreadable} that cannot be read), {len(plan.to_draw)} to draw only, "
        f"{len(plan.done)} done before; into {plan.out}, with {folder}"
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
    ]
    if summary.distances:
        rows.append(("identity distance, median", "{:.3f} → {:.3f}".format(*summary.median_distance)))
    rows += [(), *((f"{stage}, seconds", f"{seconds:.1f}") for stage, seconds in summary.seconds.items())]
    table(rows, title=f"faceage batch → {to}", to=err)
    if summary.exit_code != EXIT_OK:
        err.print(f"the reasons are in {to / 'manifest.jsonl'}")
