"""A small IMDB-WIKI in the published layout: the same structs, the same folders, and bad rows of every kind."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from conftest import DATA
from PIL import Image
from scipy.io import savemat

NO_FACE_SCORE = -np.inf
NO_SECOND_FACE = np.nan


@dataclass(frozen=True)
class Entry:
    """One row of `imdb` or `wiki`. `content` None: the row is there and the photo is not."""

    half: str
    full_path: str
    content: bytes | None
    born: float
    taken: float
    gender: float = 1.0
    name: str = "Somebody"
    face_score: float = 3.5
    second_face_score: float = NO_SECOND_FACE

    @property
    def source(self) -> str:
        return f"{self.half}_crop/{self.full_path}"


@dataclass
class Tree:
    """What lies under `root`: by the row's source, the age it must get, or the reason it must be dropped for."""

    root: Path
    ages: dict[str, int] = field(default_factory=dict)
    genders: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def datenum(year: int, month: int, day: int) -> int:
    """MATLAB's count of days, in which 1 January of year 0 is 1."""
    return date(year, month, day).toordinal() + 366


def blank_photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 200), "gray").save(buffer, "JPEG")
    return buffer.getvalue()


def write_halves(root: Path, entries: Sequence[Entry]) -> None:
    """Write the .mat files, each with a 1×1 struct of (1, n) arrays and cell arrays, and the photos."""
    for half in ("imdb", "wiki"):
        rows = [entry for entry in entries if entry.half == half]
        if not rows:
            continue
        folder = root / f"{half}_crop"
        folder.mkdir(parents=True)
        names = sorted({row.name for row in rows})
        fields = {
            "dob": np.array([[row.born for row in rows]]),
            "photo_taken": np.array([[row.taken for row in rows]]),
            "full_path": _cells([row.full_path for row in rows]),
            "gender": np.array([[row.gender for row in rows]], np.float64),
            "name": _cells([row.name for row in rows]),
            "face_location": _cells([np.array([[1.0, 1.0, 200.0, 200.0]]) for _ in rows]),
            "face_score": np.array([[row.face_score for row in rows]], np.float64),
            "second_face_score": np.array([[row.second_face_score for row in rows]], np.float64),
        }
        if half == "imdb":
            fields["celeb_names"] = _cells(names)
            fields["celeb_id"] = np.array([[names.index(row.name) + 1 for row in rows]], np.float64)
        savemat(folder / f"{half}.mat", {half: fields})
        for row in rows:
            if row.content is not None:
                path = folder / row.full_path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(row.content)


def utkface_photos(count: int) -> list[tuple[str, bytes, int]]:
    """Chips of all ages, whose true age is in the name."""
    chips = [path for path in sorted((DATA / "utkface").glob("*.jpg")) if int(path.name.split("_")[0]) <= 100]
    return [(path.name, path.read_bytes(), int(path.name.split("_")[0])) for path in chips[:: len(chips) // count]]


def write_tree(root: Path, photos: Sequence[tuple[str, bytes, int]], planted: bool = True) -> Tree:
    """An IMDB-WIKI of `photos` (name, bytes of an image with one face, age), in both halves by turns.

    Four photos in a row are of one person, named in each half in its own spelling. `planted` adds bad rows of every
    kind among them; all but the photo without a face would be used but for the one thing that is wrong with them.
    """
    tree, entries = Tree(root), []
    for i, (name, content, age) in enumerate(photos):
        half, number = ("imdb", "wiki")[i % 2], i // 4
        taken = 1990 + i % 30
        # 1 July and the days around it are where ages go wrong.
        had_birthday = i % 3 != 2
        month, day = ((6, 30), (7, 1), (7, 2))[i % 3]
        born = datenum(taken - age - (0 if had_birthday else 1), month, day)
        gender = (0.0, 1.0, np.nan)[i % 3]
        spelling = f"Zoë  Müller-Person {number}" if half == "imdb" else f"ZOE MULLER PERSON {number}"
        entry = Entry(half, f"{i % 7:02d}/{name}", content, born, taken, gender, spelling)
        entries.append(entry)
        tree.ages[entry.source] = age
        tree.genders[entry.source] = ("female", "male", "")[i % 3]
        tree.people[entry.source] = f"zoe muller person {number}"
    if planted:
        for bad, reason in _bad_entries(photos[0][1]):
            entries.insert(len(entries) // 2, bad)
            tree.dropped[bad.source] = reason
    write_halves(root, entries)
    return tree


def _bad_entries(content: bytes) -> list[tuple[Entry, str]]:
    born, taken = datenum(1970, 6, 1), 2010
    return [
        (Entry("imdb", "bad/minus31.jpg", content, datenum(2010, 1, 1), 1979), "age under 0"),
        (Entry("imdb", "bad/minus1.jpg", content, datenum(2010, 7, 2), 2010), "age under 0"),
        (Entry("wiki", "bad/2014.jpg", content, 1, 2014), "age over 100"),
        (Entry("wiki", "bad/101.jpg", content, datenum(1909, 7, 1), 2010), "age over 100"),
        (Entry("wiki", "bad/datenum0.jpg", content, 0, taken), "no date of birth"),
        (Entry("wiki", "bad/negative.jpg", content, -5000, taken), "no date of birth"),
        (Entry("wiki", "bad/nan.jpg", content, np.nan, taken), "no date of birth"),
        (Entry("wiki", "bad/huge.jpg", content, 1e18, taken), "no date of birth"),
        (Entry("wiki", "bad/infinite.jpg", content, np.inf, taken), "no date of birth"),
        (Entry("wiki", "bad/noyear.jpg", content, born, np.nan), "no year of the photo"),
        (Entry("wiki", "bad/noscore.jpg", content, born, taken, face_score=NO_FACE_SCORE), "no face by its score"),
        (Entry("wiki", "bad/nanscore.jpg", content, born, taken, face_score=np.nan), "no face by its score"),
        (Entry("imdb", "bad/low.jpg", content, born, taken, face_score=0.99), "face score under 1"),
        (Entry("imdb", "bad/two.jpg", content, born, taken, second_face_score=1.5), "second face"),
        (Entry("imdb", "bad/gone.jpg", None, born, taken), "missing file"),
        (Entry("imdb", "bad/cut.jpg", content[: len(content) // 3], born, taken), "unreadable"),
        (Entry("wiki", "bad/text.jpg", b"no image", born, taken), "unreadable"),
        (Entry("wiki", "bad/empty.jpg", b"", born, taken), "unreadable"),
        (Entry("imdb", "bad/blank.jpg", blank_photo(), born, taken), "no face"),
    ]


def _cells(values: Sequence[object]) -> np.ndarray:
    cells = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        cells[0, i] = value
    return cells
