"""UTKFace (Zhang, Song & Qi 2017): a folder of `[age]_[gender]_[race]_[date&time].jpg`, labels in the names."""

import os
import re
from pathlib import Path

from faceage.ages import MAX_AGE
from faceage.data.rows import Row, Rows
from faceage.errors import DataError

# Some published names lack the race or a separator; the age is what matters here.
_NAME = re.compile(r"^(?P<age>\d+)_(?:(?P<gender>[01])_)?.*\.(?:jpe?g|png)$", re.IGNORECASE)
# The opposite of IMDB-WIKI's codes.
_GENDER = {"0": "male", "1": "female", None: ""}


def utkface_rows(root: Path) -> Rows:
    """Rows of every image under `root`, sorted by path. Raises DataError where no name carries an age."""
    result = Rows(root)
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            if not name.lower().endswith((".jpg", ".jpeg", ".png")):
                continue
            path = Path(folder, name)
            match = _NAME.match(name)
            if match is None:
                result.dropped["no age in the name"] += 1
            elif int(match["age"]) > MAX_AGE:
                result.dropped[f"age over {MAX_AGE}"] += 1
            else:
                source = path.relative_to(root).as_posix()
                result.rows.append(Row(path, source, int(match["age"]), _GENDER[match["gender"]]))
    if not result.rows:
        raise DataError(
            f"{root} holds no image named like UTKFace's",
            "names are [age]_[gender]_[race]_[date&time].jpg, for example 26_1_0_20170116171048641.jpg",
        )
    return result
