"""`killed_batch.py PHOTOS OUT [N]`: a small batch, which kills itself at its N-th write, or is left to end.

Everything is as in `faceage batch`, but that few faces make a batch and few parts an index, so that a handful of photos
has many batches and merges.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import shared

import faceage.batch.find_people as find_people
import faceage.batch.worker as worker
from faceage.ages import parse_ages
from faceage.batch.age_photos import make_task
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.pipeline import run_batch
from faceage.batch.plan import choose_photos
from faceage.model_search import find_model
from faceage.people.options import OptimiserOptions
from faceage.store import latents

shared.small_batches()
find_people._PHOTOS_AT_ONCE = 2
find_people._SECONDS_A_BLOCK = 0.0
worker._SECONDS_UNRECORDED = 0.0
latents._MOST_PARTS = 3

writes = 0


def moment() -> None:
    global writes
    writes += 1
    if writes == last:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(call):
    """Whatever changes a file: before and after it are the moments that a kill may come at."""

    def counting(*arguments, **keywords):
        moment()
        outcome = call(*arguments, **keywords)
        moment()
        return outcome

    return counting


photos, out = Path(sys.argv[1]), Path(sys.argv[2])
last = int(sys.argv[3]) if len(sys.argv) > 3 else 0
for name in ("replace", "fsync", "unlink", "posix_fallocate"):
    setattr(os, name, counted(getattr(os, name)))
# The objective that is compiled soonest.
find = FindOptions(optimiser=OptimiserOptions("pixel", steps=4))
task = make_task(out, find_model(), find, DrawOptions(parse_ages("60+"), draw="generator", paste=True))
task = replace(task, faces_at_once=2)
summary = run_batch(task, choose_photos([photos], out))
print(writes, flush=True)
sys.exit(summary.exit_code)
