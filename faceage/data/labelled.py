"""A folder with a `labels.csv`: path, age[, identity][, gender]."""

import csv
import math
from collections import defaultdict
from pathlib import Path
from posixpath import normpath

from faceage.data.rows import Filters, Row, Rows, leads_outside
from faceage.errors import DataError
from faceage.photos.lists import name_in, parse_table

LABELS = "labels.csv"

_GENDER = {
    **dict.fromkeys(("male", "m", "man", "boy"), "male"),
    **dict.fromkeys(("female", "f", "woman", "girl"), "female"),
}


def labelled_rows(root: Path, filters: Filters) -> Rows:
    """Rows of `root`/labels.csv, in its order: a header, paths relative to `root` (as of `name_in`), ages in years.

    Decimal ages are rounded down, other columns ignored, and genders by other words than `_GENDER` unknown. A photo
    that is listed twice is one row, and with different ages it is none. Raises DataError where the file cannot be read
    or lacks a column.
    """
    result = Rows(root)
    path = root / LABELS
    try:
        lines = parse_table(path.read_bytes())
        _, header = next(lines, (0, []))
        if missing := [name for name in ("path", "age") if name not in header]:
            raise DataError(
                f"{path} has no column {' and no column '.join(missing)}: its first line is {','.join(header)!r}",
                "the first line names the columns: path,age and, where known, identity and gender",
            )
        for _, cells in lines:
            _add(result, header, cells, filters)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", "it must be a CSV file in UTF-8 or UTF-16") from error
    _drop_repeated(result)
    return result


def _drop_repeated(result: Rows) -> None:
    """Drop rows that say again what another says of their photo, and all of a photo that two ages are said of."""
    ages = defaultdict(set)
    for row in result.rows:
        ages[normpath(row.source)].add(row.age)
    rows, known = [], set()
    for row in result.rows:
        photo = normpath(row.source)
        if len(ages[photo]) > 1:
            result.drop(row.source, "listed with different ages")
        elif photo in known:
            result.drop(row.source, "listed twice")
        else:
            rows.append(row)
            known.add(photo)
    result.rows = rows


def _add(result: Rows, header: list[str], cells: list[str], filters: Filters) -> None:
    values = dict(zip(header, cells, strict=False))
    source, text = name_in(result.root, values.get("path", "")), values.get("age", "").strip()
    age = _whole_years(text)
    if len(cells) > len(header):
        # An unquoted comma within a cell: the columns of the cells are unknown.
        result.drop(source, "more cells than columns")
    elif not source:
        result.drop(source, "no path")
    elif leads_outside(source):
        result.drop(source, "path outside the folder")
    elif age is None:
        result.drop(source, "age is no number" if text else "no age")
    elif problem := filters.age_problem(age):
        result.drop(source, problem)
    else:
        gender = _GENDER.get(values.get("gender", "").strip().lower(), "")
        result.rows.append(Row(source, age, gender, values.get("identity", "").strip()))


def _whole_years(text: str) -> int | None:
    try:
        return math.floor(float(text))
    except (ValueError, OverflowError):
        return None
