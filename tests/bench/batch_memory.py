"""That the memory of `faceage batch` does not grow with the photos, and that its files, rows and statuses add up.

batch_memory.py [COUNT...]     1,000 and 20,000 photos, each run in a process of its own: faces/s and peak memory

The photos are those of lfw10 where $FACEAGE_DATA has it, else the astronaut at ten sizes, again and again under fresh
names; every fiftieth is broken. The encoder's latents are taken as they are: the optimiser would take hours, and holds
one batch of faces whatever their number.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

from PIL import Image

COUNTS = (1_000, 20_000)
GROWTH = 1.10
"""Peak memory may grow by so much from the smallest to the largest run."""


def main() -> None:
    counts = [int(count) for count in sys.argv[1:]] or COUNTS
    peaks = []
    print(f"{'photos':>8}{'faces':>8}{'faces/s':>10}{'peak MB':>10}", flush=True)
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            broken = make_photos(Path(folder, "photos"), count)
            faces, seconds, peak = run(Path(folder))
            check(Path(folder, "out"), count, broken, faces)
        print(f"{count:>8}{faces:>8}{faces / seconds:>10.1f}{peak / 1e6:>10.0f}", flush=True)
        peaks.append(peak)
    print(f"memory grew {peaks[-1] / peaks[0]:.3f} times, and may grow {GROWTH} times")
    sys.exit(peaks[-1] > GROWTH * peaks[0])


def make_photos(folder: Path, count: int) -> int:
    """How many of them are broken."""
    from conftest import DATA

    folder.mkdir()
    originals = sorted((DATA / "lfw10").rglob("*.jpg"))
    if not originals:
        import skimage

        for side in range(250, 350, 10):
            originals.append(folder.parent / f"{side}.jpg")
            Image.fromarray(skimage.data.astronaut()).resize((side, side)).save(originals[-1])
    for i in range(count):
        content = originals[i % len(originals)].read_bytes()
        (folder / f"{i:06}.jpg").write_bytes(content if i % 50 else content[: len(content) // 2])
    return len(range(0, count, 50))


def run(folder: Path) -> tuple[int, float, float]:
    """Faces, seconds and peak bytes of one run, its decoders apart."""
    process = os.fork()
    if not process:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(os.open(folder / "summary.json", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(null, 2)
        command = ["batch", str(folder / "photos"), "--out", str(folder / "out")]
        options = ["--objective", "none", "--ages", "70", "--scale", "1", "--json"]
        os.execv(sys.executable, [sys.executable, "-m", "faceage", *command, *options])
    started = time.perf_counter()
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    assert os.waitstatus_to_exitcode(status) == 1, "a broken photo makes it 1"
    # Linux counts kilobytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return json.loads((folder / "summary.json").read_text())["faces"], seconds, peak


def check(out: Path, count: int, broken: int, faces: int) -> None:
    from faceage.store.latents import count_rows

    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["path"] for row in rows}) == count
    assert sum(row["status"] == "unreadable" for row in rows) == broken
    assert sum(row["faces"] for row in rows) == faces
    assert count_rows(out / "latents.h5") == {row["path"]: row["faces"] for row in rows if row["faces"]}
    assert len(list((out / "grids" / "photos").iterdir())) == faces


if __name__ == "__main__":
    main()
