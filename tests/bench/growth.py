"""What `faceage batch` costs as photos grow in number: time and memory, and that its files, rows and statuses add up.

growth.py [COUNT...]     1,000 and 20,000 photos, each run in a process of its own, and once more with nothing to do

A photo should cost the same among many, and memory should not grow: growth.png shows both, and the exit status is 1
where memory grows. The photos are those of lfw10 where $FACEAGE_DATA has it, else the astronaut at ten sizes, again and
again under fresh names; every fiftieth is broken. The encoder's latents are taken as they are: the optimiser would take
hours, and holds one batch of faces whatever their number.
"""

import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

from PIL import Image

COUNTS = (1_000, 20_000)
GROWTH = 1.10
"""Peak memory may grow by so much from the smallest to the largest run."""


@dataclass(frozen=True)
class Cost:
    """Of one run, its decoders too but for `peak`, the most bytes of its own."""

    photos: int
    faces: int
    seconds: float
    cpu: float
    peak: float
    again: float
    """Seconds of the same command, once all is done."""


def main() -> None:
    counts = [int(count) for count in sys.argv[1:]] or COUNTS
    costs = []
    print(f"{'photos':>8}{'faces':>8}{'ms/photo':>10}{'CPU ms':>10}{'peak MB':>10}{'again s':>10}", flush=True)
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            broken = make_photos(Path(folder, "photos"), count)
            cost = measure(Path(folder), count)
            check(Path(folder, "out"), count, broken, cost.faces)
        each = (1000 * cost.seconds / count, 1000 * cost.cpu / count, cost.peak / 1e6)
        print(
            f"{count:>8}{cost.faces:>8}{each[0]:>10.1f}{each[1]:>10.1f}{each[2]:>10.0f}{cost.again:>10.2f}", flush=True
        )
        costs.append(cost)
    plot(costs, Path("growth.png"))
    grown = costs[-1].peak / costs[0].peak
    print(f"memory grew {grown:.3f} times, and may grow {GROWTH} times; growth.png shows both")
    sys.exit(grown > GROWTH)


def plot(costs: list[Cost], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((9, 3.5), layout="constrained")
    photos = [cost.photos for cost in costs]
    panels = {
        "seconds, start included": [cost.seconds for cost in costs],
        "milliseconds of CPU a photo": [1000 * cost.cpu / cost.photos for cost in costs],
        "peak memory, MB": [cost.peak / 1e6 for cost in costs],
    }
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.plot(photos, values, "o-", color="#4878a8")
        axes.set(title=title, xlabel="photos", xlim=(0, None), ylim=(0, 1.1 * max(values)))
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


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


def measure(folder: Path, count: int) -> Cost:
    """Run the command twice."""
    cpu = _cpu_of_children()
    faces, seconds, peak = run(folder)
    cpu = _cpu_of_children() - cpu
    again = run(folder)[1]
    return Cost(count, faces, seconds, cpu, peak, again)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(folder: Path) -> tuple[int, float, float]:
    """Faces, seconds and peak bytes of one run, its decoders apart."""
    process = os.fork()
    if not process:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(os.open(folder / "summary.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
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
