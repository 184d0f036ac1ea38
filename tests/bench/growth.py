"""Whether a photo costs the same among many: time a face and memory within one run of `faceage batch`.

growth.py [COUNT]     20,000 photos, and once more with nothing to do

The median time a face of the last 1,000 photos may be 1.10 times that of the second 1,000, and the peak of memory 1.05
times that at 1,000 photos: else the exit status is 1. growth.png shows both beside constant cost. Of fewer than 4,000
photos, it is quarters instead of thousands. The files, rows and statuses must add up, too.

When a photo is done and how much memory that took is seen from outside, as its row comes into manifest.jsonl; memory is
of the run's own process, without its decoders, and read from Linux's /proc. The photos are those of lfw10 where
$FACEAGE_DATA has it, else the astronaut at ten sizes, again and again under fresh names; every fiftieth is broken. The
encoder's latents are taken as they are: the optimiser would take hours, and holds one batch of faces whatever their
number.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from PIL import Image

COUNT, WINDOW = 20_000, 1_000
SLOWER, LARGER = 1.10, 1.05
"""By how many times a face may take longer, and peak memory be larger."""
_POLL = 0.02
"""Seconds: a face takes longer than that."""


@dataclass(frozen=True)
class Rows:
    """Photos whose rows came at once into the manifest."""

    seconds: float
    """Since the rows before."""
    photos: int
    """Done by now."""
    faces: int
    """Of these rows."""
    peak: float
    """Bytes of memory by now."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    window = min(WINDOW, count // 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broken = make_photos(folder / "photos", count)
        first = begin(folder)
        rows = follow(first, folder / "out" / "manifest.jsonl")
        assert first.wait() == 1, "a broken photo makes it 1"
        faces = check(folder / "out", count, broken)
        started = time.perf_counter()
        begin(folder).wait()
        again = time.perf_counter() - started
    times, peaks = each_window(rows, window)
    print(f"{'photos':>8}{'ms a face':>11}{'peak MB':>9}")
    for number, (seconds, peak) in enumerate(zip(times, peaks, strict=True), 1):
        print(f"{min(number * window, count):>8}{1000 * seconds:>11.1f}{peak / 1e6:>9.0f}")
    print(f"{count} photos, {faces} faces; with nothing to do {again:.2f} s")
    slower, larger = times[-1] / times[1], peaks[-1] / peaks[0]
    print(f"median time a face, last {window:,} photos to second {window:,}: {slower:.3f} times, at most {SLOWER:.2f}")
    print(f"peak memory, at the end to {window:,} photos: {larger:.3f} times, at most {LARGER:.2f}")
    plot(times, peaks, window, Path("growth.png"))
    sys.exit(slower > SLOWER or larger > LARGER)


def each_window(rows: list[Rows], window: int) -> tuple[list[float], list[float]]:
    """The median seconds a face and the peak memory of each `window` photos, the last of which are the last photos."""
    done = np.array([each.photos for each in rows])
    shown = [each for each in rows if each.faces]
    each_face = np.repeat([each.seconds / each.faces for each in shown], [each.faces for each in shown])
    photo_of_face = np.repeat([each.photos for each in shown], [each.faces for each in shown])
    ends = [*range(window, done[-1] - window + 1, window), done[-1]]
    times = [float(np.median(each_face[(end - window < photo_of_face) & (photo_of_face <= end)])) for end in ends]
    return times, [rows[int(np.searchsorted(done, end))].peak for end in ends]


def plot(times: list[float], peaks: list[float], window: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((9, 3.5), layout="constrained")
    photos = window * np.arange(1, len(times) + 1)
    panels = (
        ("median milliseconds a face", [1000 * seconds for seconds in times], 1),
        ("peak memory, MB", [peak / 1e6 for peak in peaks], 0),
    )
    for axes, (title, values, reference) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.plot(photos, values, "o-", color="#4878a8", label="measured")
        axes.axhline(values[reference], color="#888888", linestyle="--", label="constant")
        axes.set(title=title, xlabel="photos", xlim=(0, None), ylim=(0, 1.1 * max(values)))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
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


def begin(folder: Path) -> subprocess.Popen[bytes]:
    command = ["batch", str(folder / "photos"), "--out", str(folder / "out")]
    options = ["--objective", "none", "--ages", "70", "--scale", "1", "--quiet"]
    return subprocess.Popen([sys.executable, "-m", "faceage", *command, *options], stderr=subprocess.DEVNULL)


def follow(run: subprocess.Popen[bytes], manifest: Path) -> list[Rows]:
    """What a run, the first into its folder, adds to its manifest, until it ends."""
    rows: list[Rows] = []
    photos, peak, before, rest = 0, 0.0, time.perf_counter(), b""
    while run.poll() is None and not manifest.exists():
        time.sleep(_POLL)
    with open(manifest, "rb") as file:
        while run.poll() is None:
            time.sleep(_POLL)
            peak = max(peak, peak_of(run.pid))
            *lines, rest = (rest + file.read()).split(b"\n")
            # Photos whose pictures are still to be drawn get another row.
            new = [row for row in map(json.loads, lines) if row["status"] != "ok" or row["drawn"]]
            if new:
                photos, now = photos + len(new), time.perf_counter()
                rows.append(Rows(now - before, photos, sum(row["faces"] for row in new), peak))
                before = now
    # The end, with the report, may take more.
    return [*rows[:-1], replace(rows[-1], peak=peak)]


def peak_of(pid: int) -> float:
    """Most bytes of memory that a process had; 0 once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(1024 * float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def check(out: Path, count: int, broken: int) -> int:
    """How many faces there are, if all adds up."""
    from faceage.store.latents import count_rows

    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["path"] for row in rows}) == count
    assert sum(row["status"] == "unreadable" for row in rows) == broken
    faces = sum(row["faces"] for row in rows)
    assert count_rows(out / "latents.h5") == {row["path"]: row["faces"] for row in rows if row["faces"]}
    assert len(list((out / "grids" / "photos").iterdir())) == faces
    return faces


if __name__ == "__main__":
    main()
