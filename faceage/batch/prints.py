"""Sheets to print: a child's photo, the adults that the child may become, and what such pictures are worth."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from faceage.ages import years_of
from faceage.batch.chosen import EVERYBODY, Chosen
from faceage.batch.names import PRINTS, lies_below, picture_path
from faceage.batch.options import PrintOptions
from faceage.batch.render import check_weights
from faceage.errors import UsageError
from faceage.model import Model, same_person_below
from faceage.people.spread import Adult, Spread, one_of
from faceage.photos.provenance import EDITED
from faceage.pictures.paper import PAPERS, Page, Picture, Text, lines, printable, save_pdf, save_picture
from faceage.store.latents import FaceRow

_GROWN_UP = 18
"""Years; what a child may look like later, of these is no question."""
_YOUNGEST = 4
"""Years; of younger children, the adults were seen to be children with lines and stains."""

_SAY_THE_AGE = "if that is wrong, say the child's age: faceage batch … --age 8"

_MARGIN = 15.0
_PHOTO = 45.0
_LETTERS = "ABCDE"
_GUESS = "This is a guess, not a photograph and not a prediction: a computer drew it from this photo."
_SPREAD = (
    "A photo of a child does not say what adult the child becomes. {letters} are {count} people of many who would have "
    "looked alike as children: they differ in features and in build, as far as a face recogniser cannot tell them "
    "apart in the photo. {first} is the likeliest, by little. The grown-up may look like none of "
    "them: how hair, weight, health and life will be, no photo says."
)
_MEASURED = (
    "The number below a picture is its identity distance to the photo: 0 is the same picture, and below "
    "{threshold:.2f} the recogniser takes two faces for one person. Measured on 60 children: another "
    "recogniser, which had no part in drawing and takes 1% of strangers for one person, takes 91% to 95% of "
    "the pictures at 25 and 35 for the child of the photo. Not validated: "
    "that the grown-up looks like them, as no data here shows one person as a child and as an adult."
)


def make_prints(
    latents: Path,
    model: Model,
    out: Path,
    options: PrintOptions,
    chosen: Chosen = EVERYBODY,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> tuple[int, list[str]]:
    """Write a sheet for each of the `chosen` children of the file `latents` into `out`/prints.

    `progress` is told how many of how many there are. Answers their number, and sentences on what is not as one may
    think. Raises UsageError where the file is none, holds no child, or was made with other weights than `model`'s.
    """
    found = check_weights(latents, model)
    everybody = list(chosen.rows(latents))
    if not everybody:
        which = "" if chosen.faces == "all" else f" numbered {chosen.faces}"
        raise UsageError(f"{latents} holds no face{which}", "age some photos first: faceage batch")
    years = [(row, _years(row.age)) for row in everybody]
    rows = [row for row, old in years if old < _GROWN_UP]
    grown_up = [f"{row.source}, face {row.face} ({old:.0f})" for row, old in years if old >= _GROWN_UP]
    if not rows:
        raise UsageError(f"nobody here is below {_GROWN_UP} years: {', '.join(grown_up[:5])}", _SAY_THE_AGE)
    threshold = same_person_below(model.card) or 1.0
    warnings, of = [f"{person} is no child, and is left out; {_SAY_THE_AGE}" for person in grown_up], 1
    if options.same_person:
        row, others = one_of(rows, model, threshold)
        of = len(rows) - len(others)
        warnings += [
            f"{other.source}, face {other.face}, seems to show another person, and is left out" for other in others
        ]
        rows = [row]
    progress(0, len(rows))
    spread = Spread(model, options.gender)
    done = 0
    for number, row in enumerate(rows, 1):
        old = _years(row.age)
        ages = tuple(age for age in options.ages if _years(age.weights) > old)
        if past := [age.label for age in options.ages if age not in ages]:
            warnings.append(f"{row.source}, face {row.face}, is {old:.0f}: past are {', '.join(past)}")
        if not ages:
            continue
        done += 1
        asked = replace(options, ages=ages)
        if not lies_below(row.source):
            raise UsageError(f"the source {row.source!r} is no path below a folder")
        if printable(row.source) != row.source:
            warnings.append(f"no font here has all letters of {row.source}: the others are printed as ?")
        if old < _YOUNGEST:
            warnings.append(f"{row.source}: adults drawn of a child below {_YOUNGEST} look wrong; take a later photo")
        adults = spread(row, ages, options.spread, options.strength)
        page = _page(row, adults, asked, bool(found.get("age")), of, threshold)
        path = picture_path(out / PRINTS, row.source, str(row.face), f".{options.file}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if options.file == "pdf":
            save_pdf(page, options.paper, "What a child may look like later: a guess", path, EDITED)
        else:
            save_picture(page, options.paper, path, EDITED)
        progress(number, len(rows))
    if not done:
        raise UsageError(f"nobody here is younger than the ages to draw: {'; '.join(warnings[-5:])}", "see --ages")
    return done, warnings


def _years(weights: np.ndarray) -> float:
    """The years of age `weights` (6,): of an age to draw, or how old somebody is in the photo, as said or estimated."""
    return float(years_of(weights[None])[0])


def _page(
    row: FaceRow, adults: Sequence[Adult], options: PrintOptions, said: bool, photos: int, threshold: float
) -> Page:
    width, height = PAPERS[options.paper]
    inner = width - 2 * _MARGIN
    years = f"{_years(row.age):.0f}"
    page: list[Text | Picture] = [
        Text(_MARGIN, _MARGIN + 5, 16, "What this child may look like later: a guess"),
        Picture(_MARGIN, _MARGIN + 10, _PHOTO, row.photo),
    ]
    facts = [
        f"Photo: {row.source}" + (f", and {photos - 1} more of the same child" if photos > 1 else ""),
        f"Age in the photo: {years}" + (", as said" if said else ", as estimated: say it with --age"),
        f"Gender: {options.gender}, as said" if options.gender else "Gender: not said; a child's photo hardly shows it",
        f"Drawn at: {', '.join(age.label for age in options.ages)}",
        f"Date: {datetime.date.today().isoformat()}",
        _GUESS,
    ]
    end = _write(page, facts, _MARGIN + _PHOTO + 6, _MARGIN + 14, 10, inner - _PHOTO - 6)
    letters = _LETTERS[: len(adults)]
    notes = [
        _MEASURED.format(threshold=threshold),
        f"Made by faceage from face proportions and a generative network, by strength {options.strength:g}.",
    ]
    if len(adults) > 1:
        named = ", ".join(letters[:-1]) + f" and {letters[-1]}"
        notes.insert(0, _SPREAD.format(letters=named, count=len(adults), first=letters[0]))
    rows = sum(len(lines(note, 9, inner)) for note in notes)
    foot = height - _MARGIN - rows * 4.2 - (len(notes) - 1) * 2
    # Long names take more lines than there are beside the photo.
    top = max(_MARGIN + 10 + _PHOTO, end) + 12
    _draw_adults(page, adults, options, top, foot - 8)
    _write(page, notes, _MARGIN, foot, 9, inner)
    return page


def _draw_adults(
    page: list[Text | Picture], adults: Sequence[Adult], options: PrintOptions, top: float, bottom: float
) -> None:
    """A row for each of `adults`, a column for each age, between `top` and `bottom`."""
    left = _MARGIN + 8
    column = (PAPERS[options.paper][0] - _MARGIN - left) / len(options.ages)
    side = min(column - 3, (bottom - top) / len(adults) - 7)
    for i, age in enumerate(options.ages):
        middle = left + (i + 0.5) * column
        page.append(Text(middle, top - 3, 11, f"at {age.label}", centred=True))
        for number, adult in enumerate(adults):
            y = top + number * (side + 7)
            page.append(Picture(middle - side / 2, y, side, adult.pictures[i]))
            page.append(Text(middle, y + side + 4, 8, f"{adult.distances[i]:.2f}", centred=True))
    for number, letter in enumerate(_LETTERS[: len(adults)]):
        page.append(Text(_MARGIN, top + number * (side + 7) + side / 2, 12, letter))


def _write(
    page: list[Text | Picture], paragraphs: Sequence[str], x: float, y: float, size: float, width: float
) -> float:
    """Where the next paragraph would begin."""
    for paragraph in paragraphs:
        for line in lines(paragraph, size, width):
            page.append(Text(x, y, size, line))
            y += size * 0.466
        y += 2
    return y
