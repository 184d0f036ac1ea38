"""What a batch tells a person while it works and at its end, and where nobody watches a terminal."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from faceage.ages import Age
from faceage.batch.changes import changed_options
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.photo import OPTIMISED, SEARCHED
from faceage.batch.pipeline import MOST_PROBLEMS, RunSummary
from faceage.batch.plan import Plan
from faceage.cli import batch_messages, console
from faceage.people.options import OptimiserOptions
from faceage.store.manifest import NO_FACE, OK, PhotoOutcome

OUT = Path("out")


def stored(options) -> dict:
    return json.loads(json.dumps(options.to_json()))


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            FindOptions(optimiser=OptimiserOptions(steps=20)),
            FindOptions(optimiser=OptimiserOptions(steps=60)),
            "--steps 60 in place of --steps 20",
        ),
        (
            FindOptions(),
            FindOptions("largest", age=Age(8)),
            "--faces largest --age 8 in place of --faces all no --age",
        ),
        (FindOptions(), FindOptions(), "other weights"),
        (DrawOptions((Age(25), Age("60+"))), DrawOptions((Age(7),)), "--ages 7 in place of --ages 25,60+"),
        (
            DrawOptions(),
            DrawOptions(mark=True, gender="male"),
            "--mark --gender male in place of no --mark no --gender",
        ),
    ],
)
def test_changed_options_are_named_as_they_are_typed(before, now, said):
    assert changed_options(stored(before), now.to_json()) == said


@pytest.mark.parametrize(("number", "said"), [(0, "0 photos"), (1, "1 photo"), (1200, "1,200 photos")])
def test_a_count_minds_the_plural(number, said):
    assert console.counted(number, "photo") == said


def summary_of(failed: int) -> RunSummary:
    summary = RunSummary(same_person_below=0.97)
    summary.distances.extend([0.6, 0.4])
    summary.count([PhotoOutcome("good.jpg", OK, 3, "")])
    summary.count([PhotoOutcome(f"{i}.jpg", NO_FACE, 0, "no face was found") for i in range(failed)])
    return summary


def test_the_end_says_what_a_distance_is_of_and_where_faces_come_from(capsys):
    batch_messages.print_summary(summary_of(0), OUT)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "faces 3 found by this run 1 found by an earlier run 2" in said
    assert "rebuilt faces, distance to the photo 0.60 → 0.40 one person is below 0.97" in said


def test_the_end_names_photos_that_failed(capsys):
    batch_messages.print_summary(summary_of(MOST_PROBLEMS + 1), OUT)
    said = capsys.readouterr().err
    assert said.count(".jpg: no face was found\n") == MOST_PROBLEMS
    assert said.endswith("faceage: 1 more photo without a result: see out/manifest.jsonl\n")
    batch_messages.print_in_short(summary_of(2), OUT)
    said = capsys.readouterr().err
    assert said == "faceage: 2 photos without a result (0.jpg: no face was found): see out/manifest.jsonl\n"
    batch_messages.print_in_short(summary_of(0), OUT)
    assert capsys.readouterr().err == ""


def test_without_a_terminal_there_is_a_line_a_minute(capsys, monkeypatch):
    def watched() -> str:
        with console.bar(None, " photos") as shown:
            progress = batch_messages.Progress(shown, 6, quiet=False)
            progress.begins(replace(Plan(OUT, (), (), ()), to_find=(None,) * 40))
            progress.tell(SEARCHED, 4, 40)
            progress.tell(OPTIMISED, 10, 60)
            progress.progress(4, 5)
        return capsys.readouterr().err

    monkeypatch.setattr(batch_messages, "start_backend", lambda: None)
    start = "faceage: 40 photos to find people in, at 6 ages; loading the networks\n"
    assert watched() == start
    monkeypatch.setattr(console, "SECONDS_A_LINE", 0.0)
    lines = watched().removeprefix(start).splitlines()
    assert all(line.startswith("faceage: ") for line in lines)
    assert any("photos searched 4/40, optimiser steps 10/60" in line for line in lines)
    assert "4/40 photos" in lines[-1]


def finished_at(sizes: list[int], loading: float, seconds: float, write: float) -> list[float]:
    """When each of the results comes: they are ready in blocks of `sizes`, and written one after the other."""
    results, now = [], loading
    for size in sizes:
        now += size * seconds
        results += [now + write * i for i in range(size)]
    return results


@pytest.mark.parametrize("write", [0.0, 0.01], ids=["at once", "one after the other"])
@pytest.mark.parametrize(
    "sizes", [[1] * 400, [8] + [32] * 12, [4, 8, 16] + [32] * 12], ids=["each", "blocks", "rising"]
)
def test_the_time_left_is_within_a_fifth_of_the_truth(monkeypatch, sizes, write):
    results = finished_at(sizes, loading=45, seconds=0.7, write=write)
    now, end = 0.0, results[-1]
    with console.bar(len(results), " photos") as shown:
        monkeypatch.setattr(shown, "_time", lambda: now)
        shown.start_t = 0.0
        seen = []
        for second in range(1, int(end)):
            while results and results[0] <= second:
                now = results.pop(0)
                shown.update()
            now = second
            left = re.search(r"(\S+) left", str(shown))
            assert left
            if second > 60 and left[1] != "?":
                hours, minutes, seconds = (0, *map(int, left[1].split(":")))[-3:]
                seen.append((hours * 3600 + minutes * 60 + seconds, end - now))
    assert len(seen) > 100
    assert all(abs(said - truth) <= 0.2 * truth + 1 for said, truth in seen)
