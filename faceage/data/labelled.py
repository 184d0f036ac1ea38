"""A folder with a `labels.csv`: path, age[, identity][, gender]."""

import csv
import math
from pathlib import Path

from faceage.data.rows import Filters, Row, Rows, leads_outside
from faceage.errors import DataError

LABELS = "labels.csv"

_GENDER = {"male": "male", "m": "male", "female": "female", "f": "female"}


def labelled_rows(root: Path, filters: Filters) -> Rows:
    """Rows of `root`/labels.csv, in its order: UTF-8 with a header, paths relative to `root`, ages in years.

    Decimal ages are rounded down, and other columns ignored. Raises DataError where the file cannot be read or lacks a
    column.
    """
    result = Rows(root)
    path = root / LABELS
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(lines, [])]
            if missing := [name for name in ("path", "age") if name not in header]:
                raise DataError(
                    f"{path} has no column {' and no column '.join(missing)}: its first line is {','.join(header)!r}",
                    "the first line names the columns: path,age and, where known, identity and gender",
                )
            for cells in lines:
                if cells:
                    _add(result, header, cells, filters)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", "it must be a CSV file in UTF-8") from error
    return result


def _add(result: Rows, header: list[str], cells: list[str], filters: Filters) -> None:
    values = dict(zip(header, cells, strict=False))
    source, text = values["path"], values.get("age", "").strip()
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
