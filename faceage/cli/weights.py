"""`faceage weights`: which models there are, whether they are whole, and how to get one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from faceage.cli.console import bars, err, out, table
from faceage.cli.options import Json, Quiet, Weights
from faceage.errors import WeightsError

app = typer.Typer(
    help="""List, verify and fetch models.

    A model is a folder of plain HDF5 numbers and a model.json with their hashes: no pickle, no code.""",
    no_args_is_help=True,
)


@app.command("list")
def list_models(weights: Weights = None, json: Json = False) -> None:
    """List the models there are: size, training, licence, scores.

    \b
        faceage weights list

    The first is the default. Models are looked for in --weights, else in $FACEAGE_WEIGHTS, else among those that come
    along and in your cache, where 'faceage weights pull' puts them.
    """
    from faceage.model_search import models_in, search_path

    places = search_path(weights)
    found = [_row(folder, said) for place, said in places for folder in models_in(place)]
    if json:
        out.print_json(data=found)
        return
    if not found:
        looked = ", ".join(f"{place} ({said})" for place, said in places)
        raise WeightsError(f"no model found: looked in {looked}", "fetch one: faceage weights pull")
    for row in found:
        lines = [("folder", f"{row['folder']} ({row['from']})")]
        if "problem" in row:
            lines.append(("problem", row["problem"]))
        else:
            lines += [
                ("size", f"{row['bytes'] / 1e6:.0f} MB"),
                *((f"trained, {stage}", said) for stage, said in row["trained"].items()),
                *((score, f"{value:.1%}") for score, value in row["scores"].items()),
                ("licence", row["licence"] or "none given"),
                ("fingerprint", row["fingerprint"][:8] or "none: a network is missing"),
            ]
        table(lines, title=row["name"])


@app.command("verify")
def verify_model(weights: Weights = None, json: Json = False, quiet: Quiet = False) -> None:
    """Compare every file of a model with its model.json.

    \b
        faceage weights verify --weights runs/first/model

    Prints the SHA-256 of model.json, too: 'faceage weights pull' asks for it. Exit status 2 where a file differs.
    """
    import hashlib

    from faceage.model import KNOWN_NETWORKS, NETWORKS, check_files, read_card
    from faceage.model_search import CARD, find_model

    folder = find_model(weights)
    card = read_card(folder)
    verdicts: dict[str, str] = {}
    for name in dict.fromkeys([*NETWORKS, *(KNOWN_NETWORKS & card["networks"].keys())]):
        try:
            check_files(folder, card, [name])
            verdicts[name] = ""
        except WeightsError as error:
            verdicts[name] = str(error)
    damaged = [name for name, problem in verdicts.items() if problem]
    sha256 = hashlib.sha256((folder / CARD).read_bytes()).hexdigest()
    if json:
        out.print_json(data={"folder": str(folder), "sha256": sha256, "whole": not damaged, "problems": verdicts})
    elif not quiet:
        for name, problem in verdicts.items():
            out.print(f"{name}: {problem or 'whole'}")
        out.print(f"{CARD}: SHA-256 {sha256}")
    if damaged:
        raise WeightsError(
            f"the model in {folder} is damaged: {', '.join(damaged)}",
            "fetch it again (faceage weights pull fetches only what is damaged), or train what is missing",
        )
    if not (json or quiet):
        err.print(f"the model in {folder} is whole")


@app.command()
def pull(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="Address of a model's folder or of its model.json.", show_default=False),
    ],
    sha256: Annotated[
        str,
        typer.Option(
            "--sha256",
            metavar="HEX",
            help="SHA-256 of its model.json, from whoever published it.",
            show_default=False,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a model into your cache, where --weights NAME finds it.

    \b
        faceage weights pull https://HOST/models/utkface-64 --sha256 HEX

    After an interruption, the same command goes on. The model appears once all of it is there and right:
    model.json by its SHA-256, which 'faceage weights verify' prints where the model is, and each network by model.json.
    To publish a model, copy its folder onto any web server.
    """
    from faceage.model import read_card
    from faceage.model_search import cache_folder
    from faceage.pull import Source
    from faceage.pull import pull as fetch

    with bars(quiet or json) as shown:
        folder = fetch(
            Source(url, sha256.lower()),
            cache_folder(),
            lambda what, done, total: shown(f"{what}, MB", done // 10**6, max(total, done) // 10**6),
        )
    card = read_card(folder)
    if json:
        out.print_json(data={"folder": str(folder), "name": folder.name, "fingerprint": _fingerprint(folder, card)})
    elif not quiet:
        err.print(f"licence: {card.get('licence', 'none given')}")
        err.print(f"use it with --weights {folder.name}")
        out.print(str(folder))


def in_short() -> str:
    """The default model, in a few words: its name and the first digits of its fingerprint, or what is wrong."""
    from faceage.model_search import find_model

    try:
        row = _row(find_model(), "")
    except WeightsError as error:
        return f"no weights: {error}"
    return f"weights {row['name']}, {row.get('problem') or row['fingerprint'][:8] or 'incomplete'}"


_SCORES = {
    "recogniser, same or different": ("recognizer", "same_different", "balanced_accuracy"),
    "age estimator, class hit": ("age_estimator", "exact"),
    "taken for the person, rebuilt": ("evaluation", "accepted", "identity-preserving"),
    "taken for the person, aged": ("evaluation", "accepted_aged"),
    "looks the age asked for": ("evaluation", "age_hit", "aged"),
}
"""What to call the scores that a card may have, and where in it they are."""


def _row(folder: Path, said: str) -> dict[str, Any]:
    """What the card of a model says, in short; or what is wrong with it."""
    from faceage.model import read_card

    row: dict[str, Any] = {"name": folder.name, "folder": str(folder), "from": said}
    try:
        card = read_card(folder)
    except WeightsError as error:
        return {**row, "problem": str(error)}
    entries = {name: entry for name, entry in card["networks"].items() if isinstance(entry, dict)}
    trained = {}
    for entry in entries.values():
        if "stage" in entry:
            steps, faces, data = (entry.get(key, "?") for key in ("steps", "faces", "data"))
            trained[entry["stage"]] = f"{steps} steps on {faces} faces of {data}"
    return {
        **row,
        "bytes": sum(entry.get("bytes", 0) for entry in entries.values()),
        "trained": trained,
        "licence": str(card.get("licence", "")),
        "fingerprint": _fingerprint(folder, card),
        "scores": _found(card["scores"]),
    }


def _fingerprint(folder: Path, card: dict[str, Any]) -> str:
    """One SHA-256 for what a model draws, or "" where it lacks a network."""
    from faceage.model import check_entry, drawing_fingerprint, inference_networks

    try:
        for name in inference_networks(card):
            check_entry(card, name, folder)
    except WeightsError:
        return ""
    return drawing_fingerprint(card)


def _found(scores: dict[str, Any]) -> dict[str, float]:
    """Those of `_SCORES` that a card has, and that are numbers."""
    found = {}
    for name, path in _SCORES.items():
        value: Any = scores
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found[name] = float(value)
    return found
