"""How fast `faceage data prepare` is, and that its memory does not grow with the rows.

prepare_memory.py     2,000 and 20,000 rows, each in a process of its own: faces/s and peak memory

The photos are 1,000 of UTKFace where $FACEAGE_DATA has them, else the astronaut's face moved about; at 128 pixels, so
that the larger run takes minutes. A labels.csv lists them again and again, each time with another person.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

COUNTS = (2_000, 20_000)
PHOTOS = 1_000
SIDE = 128
GROWTH = 1.10
"""Peak memory may grow by so much from the smaller to the larger run."""


def main() -> None:
    if len(sys.argv) == 2:
        measure(Path(sys.argv[1]))
        return
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder))
        print(f"{'rows':>8}{'faces':>8}{'faces/s':>10}{'peak MB':>10}", flush=True)
        for count in COUNTS:
            write_labels(Path(folder), count)
            found = subprocess.run([sys.executable, __file__, folder], stdout=subprocess.PIPE, text=True, check=True)
            faces, seconds, peak = map(float, found.stdout.split())
            print(f"{count:>8}{faces:>8.0f}{faces / seconds:>10.1f}{peak / 1e6:>10.0f}", flush=True)
            peaks.append(peak)
    print(f"memory grew {peaks[-1] / peaks[0]:.3f} times, and may grow {GROWTH} times")
    sys.exit(peaks[-1] > GROWTH * peaks[0])


def measure(root: Path) -> None:
    """Prepare one source; print faces, seconds and peak memory in bytes."""
    from faceage.data.prepare import prepare
    from faceage.data.rows import Filters
    from faceage.data.sources import read_rows

    started = time.perf_counter()
    out = root / "faces.h5"
    out.unlink(missing_ok=True)
    info = prepare(read_rows(root, Filters()), out)
    seconds = time.perf_counter() - started
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    print(info.faces, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def write_photos(root: Path) -> None:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    chips = Path(os.environ.get("FACEAGE_DATA", default)) / "utkface"
    found = sorted(chips.glob("*.jpg"))[:PHOTOS] if chips.is_dir() else []
    for i in range(PHOTOS):
        photo = Image.open(found[i % len(found)]).convert("RGB") if found else moved_astronaut(i)
        photo.resize((SIDE, SIDE)).save(root / f"{i}.jpg", quality=92)


def moved_astronaut(number: int) -> Image.Image:
    import skimage

    top, left = np.random.default_rng(number).integers((0, 90), (40, 130))
    return Image.fromarray(skimage.data.astronaut()[top : top + 240, left : left + 240])


def write_labels(root: Path, count: int) -> None:
    lines = [f"{i % PHOTOS}.jpg,{i % 101},person {i}" for i in range(count)]
    (root / "labels.csv").write_text("\n".join(["path,age,identity", *lines]))


if __name__ == "__main__":
    main()
