"""The batch on a cluster: the same as on one machine, and nothing lost with a worker. Needs the extra `[ray]`."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import rows_of
from test_resume import assert_same

from faceage.batch.plan import LATENTS
from faceage.store.latents import count_rows

pytest.importorskip("ray", reason="the extra [ray] is not installed")
SCRIPT = Path(__file__).with_name("ray_batch.py")


def run(photos: Path, out: Path, how: str) -> Path:
    command = [sys.executable, str(SCRIPT), str(photos), str(out), how]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def photos(lfw10) -> Path:
    return lfw10


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory) -> Path:
    return run(photos, tmp_path_factory.mktemp("local") / "out", "local")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ray", "killed"])
def test_a_cluster_does_the_same(photos, alone, tmp_path, how):
    out = run(photos, tmp_path / "out", how)
    assert len(rows_of(out)) == len(list(photos.rglob("*.jpg")))
    writers = {path.name.rpartition("-")[0] for path in (out / "latents").iterdir()}
    assert len(writers) >= 2
    assert count_rows(out / LATENTS) == count_rows(alone / LATENTS)
    assert_same(out, alone)
