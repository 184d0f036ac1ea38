"""`ray_batch.py PHOTOS OUT local|ray|killed`: a batch on a cluster of two nodes, one of whose workers may be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from faceage.ages import parse_ages
from faceage.batch import engines
from faceage.batch.age_photos import make_task
from faceage.batch.engines import RayEngine, local_engine
from faceage.batch.options import DrawOptions, FindOptions
from faceage.batch.pipeline import run_batch
from faceage.batch.plan import choose_photos
from faceage.model_search import find_model

engines._PHOTOS_A_TASK = 5
photos, out, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
killed = []


def progress(photos: int, faces: int) -> None:
    if how != "killed" or killed:
        return
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    workers = [line.split()[0] for line in listed.splitlines() if "ray::" in line and "_RayWorker" in line]
    killed.append(int(workers[0]))
    os.kill(killed[0], signal.SIGKILL)


engine = local_engine
if how != "local":
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    engine = RayEngine(cluster.address, workers=2)
task = make_task(out, find_model(), FindOptions(), DrawOptions(parse_ages("60+")))
summary = run_batch(task, choose_photos([photos], out), engine=engine, progress=progress)
assert (how == "killed") == bool(killed)
if how != "local":
    # In this order: a process that is still connected when its node goes ends with 1.
    ray.shutdown()
    cluster.shutdown()
sys.exit(summary.exit_code)
