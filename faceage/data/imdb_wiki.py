"""IMDB-WIKI (Rothe, Timofte & Van Gool 2015) as published: `imdb_crop/imdb.mat`, `wiki_crop/wiki.mat` and the photos.

Each .mat file holds one 1×1 struct, named `imdb` or `wiki`, whose fields are (1, n) arrays and cell arrays: `dob`
(MATLAB's datenum), `photo_taken` (year), `full_path`, `gender` (0 female, 1 male, NaN unknown), `name`, `face_score`
(−inf where no face was found), `second_face_score` (NaN where there is no second face) and, in `imdb`, `celeb_id`.
"""

import unicodedata
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from faceage.data.rows import Filters, Row, Rows, leads_outside
from faceage.errors import DataError

HALVES = {"imdb": "imdb_crop/imdb.mat", "wiki": "wiki_crop/wiki.mat"}
"""The .mat files, of which one is enough."""

_REQUIRED = ("dob", "photo_taken", "full_path", "face_score")
# The opposite of UTKFace's codes.
_GENDER = {0.0: "female", 1.0: "male"}
_UNIX_EPOCH = 719_529
"""1 January 1970 as a datenum."""
_LAST_DAY = 3_652_425
"""31 December 9999 as a datenum."""


def imdb_wiki_rows(root: Path, filters: Filters) -> Rows:
    """Rows of the halves under `root`: IMDB's, then Wikipedia's, each in the order of its file.

    The age is that on 1 July of the photo's year, as the day is unknown. Rows of unknown gender are kept. The identity
    is the normalised name, not `celeb_id`, because many people are in both halves and only the name connects them; two
    people of one name merely share a split. Raises DataError for a .mat file that cannot be read.
    """
    result = Rows(root)
    for half, file in HALVES.items():
        if (root / file).is_file():
            _add_half(result, half, _fields(root / file, half), filters)
    return result


def age_on_1_july(born: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Whole years (n,) float64 from birth (n,), a datenum, to 1 July of `year` (n,); NaN where either is impossible."""
    known = (born >= 1) & (born <= _LAST_DAY) & (year >= 1) & (year <= 9999)
    day = (np.floor(np.where(known, born, _UNIX_EPOCH)) - _UNIX_EPOCH).astype("datetime64[D]")
    birth_year = day.astype("datetime64[Y]")
    after_1_july = day > (birth_year.astype("datetime64[M]") + 6).astype("datetime64[D]")
    return np.where(known, year - (birth_year.astype(int) + 1970) - after_1_july, np.nan)


def person(name: str) -> str:
    """A name in lower case without accents and punctuation, so that spellings of both halves agree."""
    letters = (letter for letter in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(letter))
    return " ".join("".join(letter if letter.isalnum() else " " for letter in letters).split())


def _add_half(result: Rows, half: str, fields: dict[str, np.ndarray], filters: Filters) -> None:
    ages = age_on_1_july(fields["dob"], fields["photo_taken"])
    for i, path in enumerate(fields["full_path"]):
        source = f"{half}_crop/{path}"
        problem = _problem(path, ages[i], fields, i, filters)
        if problem:
            result.drop(source, problem)
        else:
            gender = _GENDER.get(fields["gender"][i], "")
            result.rows.append(Row(source, int(ages[i]), gender, person(fields["name"][i])))


def _problem(path: str, age: float, fields: dict[str, np.ndarray], i: int, filters: Filters) -> str:
    """The first reason to drop row `i`, or ""."""
    if not path:
        return "no path"
    if leads_outside(path):
        return "path outside the folder"
    if np.isnan(age):
        return "no year of the photo" if 1 <= fields["dob"][i] <= _LAST_DAY else "no date of birth"
    if problem := filters.age_problem(age):
        return problem
    score = fields["face_score"][i]
    if not score >= filters.min_face_score:
        return f"face score under {filters.min_face_score:g}" if np.isfinite(score) else "no face by its score"
    if not filters.second_faces and not np.isnan(fields["second_face_score"][i]):
        return "second face"
    return ""


def _fields(path: Path, half: str) -> dict[str, np.ndarray]:
    """The struct's fields as (n,) arrays, numbers as float64 and texts as objects; absent optional ones are blank.

    Raises DataError.
    """
    try:
        content = loadmat(path, variable_names=[half])
    except NotImplementedError as error:
        raise DataError(f"{path} is of MATLAB's version 7.3", "save it with -v7, as it was published") from error
    except Exception as error:
        # SciPy raises many things for a damaged file: ValueError, TypeError, zlib.error, IndexError…
        raise DataError(f"{path} cannot be read: {error}", "fetch it again; it may be incomplete") from error
    struct = content.get(half)
    if struct is None or struct.dtype.names is None or struct.size != 1:
        raise DataError(f"{path} holds no 1×1 struct '{half}'", "it should be the file as it was published")
    record = struct.flat[0]
    if missing := [name for name in _REQUIRED if name not in struct.dtype.names]:
        raise DataError(f"{path} lacks {', '.join(missing)}", f"'{half}' must have {', '.join(_REQUIRED)}")

    def numbers(name: str) -> np.ndarray:
        return _numbers(record[name]) if name in struct.dtype.names else np.full(count, np.nan)

    def texts(name: str) -> np.ndarray:
        return _texts(record[name]) if name in struct.dtype.names else np.full(count, "", object)

    count = record["full_path"].size
    try:
        fields = {name: numbers(name) for name in ("dob", "photo_taken", "gender", "face_score", "second_face_score")}
        fields |= {name: texts(name) for name in ("full_path", "name")}
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} holds fields of an unknown kind: {error}") from error
    if odd := [name for name, values in fields.items() if len(values) != count]:
        # Rows are matched by position: with other counts, labels would go to other people's photos.
        raise DataError(f"{path} has {count} paths, but another number of: {', '.join(odd)}")
    return fields


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.ravel(values).astype(np.float64)


def _texts(cells: np.ndarray) -> np.ndarray:
    """(n,) str objects from a cell array, whose cells are arrays of one text, or empty."""
    texts = np.empty(cells.size, object)
    for i, cell in enumerate(np.ravel(cells)):
        first = np.ravel(cell)[:1]
        texts[i] = str(first[0]) if first.size and isinstance(first[0], str) else ""
    return texts
