"""`faceage data`: from labelled photos to the file that training reads."""

from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import bar, out, start_backend
from faceage.cli.options import Json, Quiet

app = typer.Typer(help="Prepare training data.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    pass


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of UTKFace images: [age]_[gender]_[race]_[date&time].jpg.")],
    to: Annotated[Path, typer.Option("--out", metavar="FILE.h5", help="The file to write.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Detect and align every labelled face and store it with its age, split 90/5/5 by a hash of the file's name."""
    from faceage.errors import UsageError

    if not source.is_dir():
        raise UsageError(f"no such folder: {source}", "name the folder that holds the labelled photos")
    if to.is_dir() or not to.parent.is_dir():
        raise UsageError(f"--out {to} cannot be written", "name a file in a folder that exists")

    start_backend()
    from dataclasses import asdict

    from rich.table import Table

    from faceage.data.prepare import prepare
    from faceage.data.utkface import utkface_rows

    rows = utkface_rows(source)
    with bar(len(rows.rows), " photos", quiet=quiet) as shown:
        report = prepare(rows, to, shown.update)
    if json:
        out.print_json(data=asdict(report))
    elif not quiet:
        table = Table("", "faces", title=f"{to}: {report.faces} faces")
        for group in (report.per_split, report.per_class):
            for name, count in group.items():
                table.add_row(name, str(count))
            table.add_section()
        for reason, count in report.dropped.items():
            table.add_row(f"dropped: {reason}", str(count))
        out.print(table)
