"""`faceage data`: fetch published photos, prepare labelled ones for training, and count what is in a prepared file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from faceage.cli.console import bar, bars, check_file, counted, err, out, start_backend, table
from faceage.cli.options import Json, Quiet
from faceage.errors import UsageError

if TYPE_CHECKING:
    from faceage.data.info import DataInfo

app = typer.Typer(help="Fetch and prepare training data, and look at it.", no_args_is_help=True)


@app.command()
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of IMDB-WIKI as published, of UTKFace images ([age]_[gender]_[race]_[date&time].jpg), or with "
            "a labels.csv (path, age[, identity][, gender: male or female])."
        ),
    ],
    to: Annotated[Path, typer.Option("--out", metavar="FILE.h5", help="The file to write.")],
    min_age: Annotated[int, typer.Option(min=0, max=100, metavar="YEARS", help="Drop younger faces.")] = 0,
    max_age: Annotated[int, typer.Option(min=0, max=100, metavar="YEARS", help="Drop older faces.")] = 100,
    min_face_score: Annotated[float, typer.Option(metavar="X", help="Drop faces of a lower score (IMDB-WIKI).")] = 1.0,
    second_faces: Annotated[
        bool, typer.Option("--second-faces", help="Keep photos with a second face (IMDB-WIKI).")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Detect, align and store every labelled face with its age.

    \b
        faceage data prepare faces/ --out faces.h5

    Faces are split 90/5/5 into training, validation and test, which share no person and no photo. Ages out of range are
    dropped, never moved into a class. After an interruption, the same command goes on.
    """
    if not source.is_dir():
        from faceage.data.fetch import how_to_get

        hint = how_to_get(source) or "name the folder that holds the labelled photos"
        raise UsageError(f"no such folder: {source}", hint)
    check_file("--out", to)
    start_backend()
    from faceage.data.prepare import prepare
    from faceage.data.rows import Filters
    from faceage.data.sources import read_rows

    rows = read_rows(source, Filters(min_age, max_age, min_face_score, second_faces))
    with bar(len(rows.rows), " photos", quiet=quiet) as shown:
        info = prepare(rows, to, shown.update)
    if json:
        out.print_json(data=asdict(info))
    elif not quiet:
        _print(to, info)


@app.command()
def fetch(
    name: Annotated[Literal["imdb_wiki", "utkface"], typer.Argument(help="Which one.", show_default=False)],
    to: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for it [default: its name].")] = None,
    place: Annotated[
        str, typer.Option("--from", metavar="PLACE", help="Folder or address that holds the same archives.")
    ] = "",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a published data set, check it and unpack it.

    \b
        faceage data fetch imdb_wiki
        faceage data fetch utkface --from Downloads

    Size and licence are said before anything is fetched. An interrupted download goes on with the same command. UTKFace
    is published for browsers only: fetch its archive with one, and name the folder with --from.
    """
    from faceage.data.fetch import PUBLISHED
    from faceage.data.fetch import fetch as fetch_data

    published = PUBLISHED[name]
    folder = to or Path(name)
    if not quiet:
        err.print(f"{published.title}: {published.size / 1e9:.1f} GB, see {published.page}")
        err.print(f"licence: {published.licence}")
    with bars(quiet or json) as shown:
        fetch_data(name, folder, place, lambda what, done, total: shown(f"{what}, MB", done // 10**6, total // 10**6))
    if json:
        out.print_json(data={"name": name, "folder": str(folder), "licence": published.licence})
    elif not quiet:
        err.print(f"train on it: faceage train all --data {folder} --run DIR")
        out.print(str(folder))


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="A data set written by 'faceage data prepare'.")],
    sheet: Annotated[
        Path | None, typer.Option(metavar="SHEET.png", help="Draw some faces of every age class there.")
    ] = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Print every row that was dropped and why, tab-separated.")
    ] = False,
    json: Json = False,
) -> None:
    """Count the faces of a data set by age and split.

    \b
        faceage data info faces.h5 --sheet faces.png

    It also counts the rows that were dropped, by reason. A class with few faces ages badly: look before you train.
    """
    from faceage.data.info import contact_sheet, few_faces, read_info
    from faceage.pictures.save import save_png
    from faceage.store.dataset import load_dropped

    if dropped and json:
        raise UsageError("--dropped and --json both write to stdout", "ask for one at a time")
    if sheet is not None:
        check_file("--sheet", sheet)
    found = read_info(file)
    if sheet is not None:
        save_png(contact_sheet(file), sheet)
    if dropped:
        for source, reason in load_dropped(file):
            typer.echo(f"{source}\t{reason}")
    elif json:
        out.print_json(data=asdict(found))
    else:
        _print(file, found)
    for sentence in few_faces(found.per_class):
        err.print(f"warning: {sentence}")


def _print(path: Path, info: "DataInfo") -> None:
    known = [
        (f"{info.people} people known by name", info.people),
        *((f"{n} {of}", n) for of, n in info.genders.items()),
    ]
    people = "".join(f", {what}" for what, count in known if count)
    rows: list[tuple[object, ...]] = [
        *((name, *splits.values(), info.per_class[name]) for name, splits in info.per_class_and_split.items()),
        (),
        ("all", *info.per_split.values(), info.faces),
        (),
        *((f"dropped: {reason}", *[""] * len(info.per_split), count) for reason, count in info.dropped.items()),
    ]
    table(rows, ("", *info.per_split, "all"), f"{path}: {counted(info.faces, 'face')}{people}")
