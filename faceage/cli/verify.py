"""`faceage verify`: one person or two, after both were brought to the same ages."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceage.ages import AGE_CLASSES
from faceage.cli.console import bars, err, open_model, out, table
from faceage.cli.options import Json, Quiet, Weights
from faceage.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from faceage.evaluation.pairs import Pair
    from faceage.evaluation.same_person import Comparison, Gain


def verify(
    a: Annotated[Path | None, typer.Argument(metavar="A", help="A photo.", show_default=False)] = None,
    b: Annotated[Path | None, typer.Argument(metavar="B", help="Another one.", show_default=False)] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Many pairs: columns a, b[, same (1 or 0)]; paths as from there."),
    ] = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether two photos show one person.

    \b
        faceage verify young.jpg old.jpg
        faceage verify --pairs pairs.csv --json

    Compares the largest faces, as they are and with both drawn at the same ages. Prints the distances (0 to 2) and the
    decision, which the direct distance makes; drawing has not helped with the weights that come along. With labelled
    pairs, also ROC figures of both ways. No proof of who anybody is.
    """
    asked = _asked(a, b, pairs)
    from faceage.model import MIN_ACCURACY, check_recognizer, open_card
    from faceage.model_search import find_model

    folder = find_model(weights)
    card = open_card(folder)
    check_recognizer(card["scores"], MIN_ACCURACY, "measure it: faceage train recognizer --people DIR")
    model = open_model(folder)
    from faceage.evaluation.same_person import compare_pairs, measure_gains, same_person_threshold

    threshold = same_person_threshold(card)
    with bars(quiet or json) as shown:
        outcomes, crowds = compare_pairs(model, asked, shown)
    compared = {pair: outcome for pair, outcome in outcomes.items() if not isinstance(outcome, str)}
    reasons = [outcome for outcome in outcomes.values() if isinstance(outcome, str)]
    gains = measure_gains(compared)
    if json:
        gain = {title: {**asdict(gain), "verdict": gain.verdict} for title, gain in gains.items()}
        rows = [_row(pair, outcomes[pair], threshold) for pair in asked]
        out.print_json(data={"threshold": threshold, "pairs": rows, "gain": gain})
    else:
        if pairs is not None:
            _print_pairs(asked, outcomes, threshold)
            _print_gains(gains, any(pair.same is not None for pair in compared))
        for comparison in compared.values() if pairs is None else ():
            _print_pair(comparison, threshold)
        for name, faces in crowds.items():
            err.print(f"faceage: {name} shows {faces} faces; the largest was taken")
    for reason in reasons:
        err.print(f"faceage: {reason}")
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


def _row(pair: "Pair", outcome: "Comparison | str", threshold: float) -> dict[str, Any]:
    labelled = {} if pair.same is None else {"labelled_same": pair.same}
    row: dict[str, Any] = {"a": pair.names[0], "b": pair.names[1], **labelled}
    if isinstance(outcome, str):
        return {**row, "reason": outcome}
    return {
        **row,
        "ages": outcome.ages,
        "direct": round(outcome.direct, 4),
        "at_age": [round(value, 4) for value in outcome.at_age],
        "aged": round(outcome.aged, 4),
        "same": outcome.same(threshold),
    }


def _print_pair(comparison: "Comparison", threshold: float) -> None:
    one, two = comparison.ages
    decision = _decision(comparison.same(threshold))
    rows = [
        ("as they are", f"{comparison.direct:.3f}", f"{threshold:.3f}", decision),
        *((f"  both at {name}", f"{value:.3f}") for name, value in zip(AGE_CLASSES, comparison.at_age, strict=True)),
        ("mean of the six ages", f"{comparison.aged:.3f}"),
    ]
    table(rows, ("", "distance", "one person below", ""))
    out.print(f"they look {one} and {two}: {decision}, by the distance as they are")


def _print_pairs(asked: "Sequence[Pair]", outcomes: "dict[Pair, Comparison | str]", threshold: float) -> None:
    rows = []
    for pair in asked:
        outcome = outcomes[pair]
        if isinstance(outcome, str):
            found = ["", "", "", outcome]
        else:
            distances = f"{outcome.direct:.3f}", f"{outcome.aged:.3f}"
            found = [", ".join(outcome.ages), *distances, _decision(outcome.same(threshold))]
        rows.append([*pair.names, *found, "" if pair.same is None else _decision(pair.same)])
    table(rows, ("a", "b", "ages", "as they are", "at the same ages", "decision", "label"))


def _print_gains(gains: "dict[str, Gain]", labelled: bool) -> None:
    head = ("", "ROC AUC", "right at the best threshold", "found at 1% false matches")
    for title, gain in gains.items():
        ways = {"as they are": gain.direct, "at the same ages": gain.aged}
        rows = [(name, f"{roc.auc:.4f}", roc.accuracy, roc.matched) for name, roc in ways.items()]
        table(rows, head, f"{title}: {gain.same} of one person, {gain.different} of two")
        out.print(gain.verdict)
    if labelled and not gains:
        out.print("no ROC figures: the labelled pairs are all of one kind")
