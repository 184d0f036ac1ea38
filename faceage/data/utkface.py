"""UTKFace (Zhang, Song & Qi 2017): a folder of `[age]_[gender]_[race]_[date&time].jpg`, labels in the names."""

import os
import re
from pathlib import Path

from faceage.data.rows import Filters, Row, Rows

# Some published names lack the race or a separator, but all have the age.
_NAME = re.compile(r"^(?P<age>\d+)_(?:(?P<gender>[01])_)?.*\.(?:jpe?g|png)$", re.IGNORECASE)
# The opposite of IMDB-WIKI's codes.
_GENDER = {"0": "male", "1": "female", None: ""}

NO_AGE = "no age in the name"


def utkface_rows(root: Path, filters: Filters) -> Rows:
    """Rows of every image under `root`, sorted by path. Identities are unknown."""
    result = Rows(root)
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            if not name.lower().endswith((".jpg", ".jpeg", ".png")):
                continue
            source = Path(folder, name).relative_to(root).as_posix()
            match = _NAME.match(name)
            if match is None:
                result.drop(source, NO_AGE)
            elif problem := filters.age_problem(int(match["age"])):
                result.drop(source, problem)
            else:
                result.rows.append(Row(source, int(match["age"]), _GENDER[match["gender"]]))
    return result
