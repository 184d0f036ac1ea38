"""`faceage merge`: one result from those of shards."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from faceage.cli.console import counted, err, out
from faceage.cli.options import Json, Quiet, Report
from faceage.cli.report import find_used, make_report


def merge(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of the shards.", show_default=False)],
    report: Report = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the results of shards together.

    \b
        faceage batch photos --out aged --shard 1/2
        faceage batch photos --out aged --shard 2/2
        faceage merge aged

    Shards may run on any machine that sees the same paths, at the same time or one after the other. Start one that died
    again. A merge, too, may be stopped and started again. Afterwards 'faceage batch photos --out aged' does what no
    shard has done.
    """
    from faceage.batch.merge import merge as put_together
    from faceage.errors import EXIT_OK, EXIT_SOME_FAILED
    from faceage.store.manifest import OK, STATUSES

    rows = put_together(results)
    photos, faces = Counter(row.status for row in rows), sum(row.faces for row in rows)
    if json:
        out.print_json(data={"photos": {status: photos[status] for status in STATUSES}, "faces": faces})
    elif not quiet:
        err.print(f"{counted(len(rows), 'photo')}, {counted(faces, 'face')} → {results}")
    if report:
        make_report(results, find_used(None), quiet=quiet or json)
    raise typer.Exit(EXIT_OK if set(photos) <= {OK} else EXIT_SOME_FAILED)
