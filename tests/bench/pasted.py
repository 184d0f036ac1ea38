"""Judge whole photographs, as `faceage batch --paste` writes them: age, identity, gender and realism.

    python tests/bench/pasted.py DATA.h5 OUT --judge JUDGE [--limit 500]

DATA.h5 was prepared by `faceage data prepare`; its photos still lie where they were. The people are the first of each
age class in the test split, whose order is that of a hash. OUT is a folder for the batch, scores.json, and
people.npz with the aligned faces that were judged.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.ages import AGE_CLASSES, EVERY_CLASS
from faceage.batch.names import pasted_paths
from faceage.data.dataset import load_faces
from faceage.evaluation.people import all_portraits
from faceage.evaluation.photographs import judge_photographs, open_judges
from faceage.faces.align import align, face_transform, resized
from faceage.sizes import PORTRAIT_SIZE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--limit", type=int, default=500)
    arguments, options = parser.parse_known_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    faces = load_faces(arguments.data, "test").of_each_class(arguments.limit // len(AGE_CLASSES))
    others = load_faces(arguments.data, "validation").of_each_class(150)
    listed = out / "photos.txt"
    listed.write_text("".join(f"{faces.root / source}\n" for source in faces.sources))
    command = [
        "batch",
        "--files-from",
        listed,
        "--out",
        out / "batch",
        "--paste",
        "--faces",
        "largest",
        "--no-report",
        *options,
    ]
    command += ["--ages", ",".join(AGE_CLASSES)]
    subprocess.run([sys.executable, "-m", "faceage", *map(str, command)], check=False)

    names = {
        row["path"].split("/", 1)[1]: row["path"] for row in map(json.loads, (out / "batch/manifest.jsonl").open())
    }
    pictures, kept = [], []
    for number, source in enumerate(faces.sources):
        aged = pasted_paths(out / "batch", names.get(source, ""), EVERY_CLASS) if source in names else []
        if not aged or not all(path.exists() for path in aged):
            print(f"{source}: no face was found", file=sys.stderr)
            continue
        # All of them, and the photo, are cut out in the place that the dataset knows.
        transform = resized(face_transform(faces.landmarks[number]), PORTRAIT_SIZE)
        photos = [np.asarray(Image.open(path).convert("RGB")) for path in (faces.root / source, *aged)]
        pictures.append(np.stack([align(photo, transform, PORTRAIT_SIZE) for photo in photos]))
        kept.append(number)
    shown = np.stack(pictures)
    people = faces.take(np.array(kept))
    np.savez(out / "people.npz", pictures=shown, classes=people.classes, genders=np.array(people.genders))
    reference = all_portraits(others), np.asarray(others.classes)
    scores = judge_photographs(shown[:, 1:], shown[:, 0], people, reference, open_judges(arguments.judge))
    (out / "scores.json").write_text(json.dumps(asdict(scores), indent=1))
    print((out / "scores.json").read_text())


if __name__ == "__main__":
    main()
