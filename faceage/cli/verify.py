"""`faceage verify`: one person or two, after both were brought to the same ages."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.cli.console import bars, err, out, start_backend
from faceage.cli.options import Json, Quiet, Weights
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from faceage.evaluation.pairs import Pair
    from faceage.evaluation.same_person import Comparison, Gain, Person


def verify(
    a: Annotated[Path | None, typer.Argument(metavar="A", help="A photo.", show_default=False)] = None,
    b: Annotated[Path | None, typer.Argument(metavar="B", help="Another one.", show_default=False)] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="Many pairs: columns a, b and, if it is known, same (1 or 0). Paths as from there."
        ),
    ] = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whether the largest faces of two photos are one person's: as they are, and with both brought to the same ages.

    faceage verify young.jpg old.jpg

    Prints the distances (0 to 2) and the decision, which the direct distance makes. With labelled pairs, also ROC
    figures of both ways and whether the detour over the ages helped. No proof of who anybody is.
    """
    asked = _asked(a, b, pairs)
    from faceage.model import MIN_ACCURACY, check_files, check_recognizer, find_model, load_model, read_card

    folder = find_model(weights)
    told = read_card(folder)
    check_files(folder, told)
    check_recognizer(told["scores"], MIN_ACCURACY, "measure it: faceage train recognizer --people DIR")
    start_backend()
    from faceage.evaluation.same_person import compare, find_people, measure_gain, same_person_threshold

    threshold = same_person_threshold(told)
    with bars(quiet or json) as shown:
        people = find_people(load_model(folder), [photo for pair in asked for photo in pair.photos], shown)
    compared, reasons = {}, {}
    for pair in asked:
        one, two = (people[photo] for photo in pair.photos)
        if isinstance(one, str) or isinstance(two, str):
            problems = zip(pair.names, (one, two), strict=True)
            reasons[pair] = "; ".join(f"{name}: {problem}" for name, problem in problems if isinstance(problem, str))
        else:
            compared[pair] = compare(one, two)
    labelled = [pair for pair in asked if pair in compared and pair.same is not None]
    groups = {"all pairs": labelled, "far apart in age": [pair for pair in labelled if compared[pair].far_apart]}
    measured = {title: measure_gain(rows, [compared[pair] for pair in rows]) for title, rows in groups.items()}
    gains = {title: gain for title, gain in measured.items() if gain is not None}
    if json:
        out.print_json(
            data={
                "threshold": threshold,
                "pairs": [_row(pair, compared.get(pair), reasons.get(pair, ""), threshold) for pair in asked],
                "gain": {title: {**asdict(gain), "verdict": gain.verdict} for title, gain in gains.items()},
            }
        )
    elif quiet:
        pass
    elif pairs is None:
        _print_pair(asked[0], compared.get(asked[0]), threshold)
    else:
        _print_pairs(asked, compared, reasons, threshold)
        _print_gains(gains, bool(labelled))
    if not (json or quiet):
        for name, faces in _crowds(asked, people).items():
            err.print(f"faceage: {name} shows {faces} faces; the largest was taken", markup=False)
    for reason in reasons.values():
        err.print(f"faceage: {reason}", markup=False)
    raise typer.Exit(EXIT_SOME_FAILED if reasons else EXIT_OK)


def _asked(a: Path | None, b: Path | None, pairs: Path | None) -> "list[Pair]":
    from faceage.evaluation.pairs import Pair, read_pairs

    if pairs is not None:
        if a is not None:
            raise UsageError("--pairs names the photos already", "leave A and B out")
        return read_pairs(pairs)
    if a is None or b is None:
        raise UsageError("two photos have to be named", "faceage verify A B, or faceage verify --pairs FILE.csv")
    for photo in (a, b):
        if not photo.is_file():
            raise UsageError(f"no such photo: {photo}", "check the spelling, or quote a name with spaces")
    return [Pair((str(a), str(b)), (a, b))]


def _decision(same: bool) -> str:
    return "one person" if same else "two people"


def _row(pair: "Pair", comparison: "Comparison | None", reason: str, threshold: float) -> dict[str, Any]:
    row: dict[str, Any] = {"a": pair.names[0], "b": pair.names[1]}
    if pair.same is not None:
        row["labelled_same"] = pair.same
    if comparison is None:
        return {**row, "reason": reason}
    from faceage.evaluation.same_person import class_names

    return {
        **row,
        "ages": class_names(comparison),
        "direct": round(comparison.direct, 4),
        "at_age": [round(value, 4) for value in comparison.at_age],
        "aged": round(comparison.aged, 4),
        "same": comparison.same(threshold),
    }


def _print_pair(pair: "Pair", comparison: "Comparison | None", threshold: float) -> None:
    if comparison is None:
        return
    from rich.table import Table

    from faceage.ages import AGE_CLASSES
    from faceage.evaluation.same_person import class_names

    ages = class_names(comparison)
    table = Table("", "distance", "one person below", "")
    decision = _decision(comparison.same(threshold))
    table.add_row("as they are", f"{comparison.direct:.3f}", f"{threshold:.3f}", decision)
    for name, distance in zip(AGE_CLASSES, comparison.at_age, strict=True):
        table.add_row(f"  both at {name}", f"{distance:.3f}", "", "")
    table.add_row("mean of the six ages", f"{comparison.aged:.3f}", "", "")
    out.print(table)
    out.print(f"they look {ages[0]} and {ages[1]}: {decision}, by the distance as they are", markup=False)


def _print_pairs(
    asked: "Sequence[Pair]", compared: "dict[Pair, Comparison]", reasons: "dict[Pair, str]", threshold: float
) -> None:
    from rich.table import Table
    from rich.text import Text

    from faceage.evaluation.same_person import class_names

    table = Table("a", "b", "ages", "as they are", "at the same ages", "decision", "label")
    for pair in asked:
        names = [Text(name) for name in pair.names]
        label = "" if pair.same is None else _decision(pair.same)
        if (comparison := compared.get(pair)) is None:
            table.add_row(*names, "", "", "", Text(reasons[pair]), label)
            continue
        table.add_row(
            *names,
            ", ".join(class_names(comparison)),
            f"{comparison.direct:.3f}",
            f"{comparison.aged:.3f}",
            _decision(comparison.same(threshold)),
            label,
        )
    out.print(table)


def _print_gains(gains: "dict[str, Gain]", labelled: bool) -> None:
    from rich.table import Table

    for title, gain in gains.items():
        table = Table(
            "",
            "ROC AUC",
            "right at the best threshold",
            "found at 1% false matches",
            title=f"{title}: {gain.same} of one person, {gain.different} of two",
        )
        for name, roc in (("as they are", gain.direct), ("at the same ages", gain.aged)):
            table.add_row(name, f"{roc.auc:.4f}", str(roc.accuracy), str(roc.matched))
        out.print(table)
        out.print(gain.verdict, markup=False)
    if labelled and not gains:
        out.print("no ROC figures: the labelled pairs are all of one kind", markup=False)


def _crowds(asked: "Sequence[Pair]", people: "dict[Path, Person | str]") -> dict[str, int]:
    """Photos that show several faces, by name, and how many."""
    found = {}
    for pair in asked:
        for name, photo in zip(pair.names, pair.photos, strict=True):
            person = people[photo]
            if not isinstance(person, str) and person.faces > 1:
                found[name] = person.faces
    return found
