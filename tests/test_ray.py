"""The batch on a cluster: the same as on one machine, and nothing lost with a worker. Needs the extra `[ray]`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import rows_of
from conftest import REPOSITORY
from test_resume import assert_same

from faceage.batch.plan import LATENTS
from faceage.store.latents import count_rows

pytest.importorskip("ray", reason="the extra [ray] is not installed")
SCRIPT = Path(__file__).with_name("ray_batch.py")


def run(photos: Path, out: Path, how: str, cwd: Path | None = None) -> Path:
    command = [sys.executable, str(SCRIPT), str(photos), str(out), how]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=cwd)
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


@pytest.mark.slow
def test_nothing_in_the_current_folder_is_code_for_a_worker(tmp_path):
    """Paths are relative to it all the same."""
    (tmp_path / "photos").mkdir()
    for path in sorted((REPOSITORY / "examples").glob("*.jpg"))[:2]:
        shutil.copy(path, tmp_path / "photos")
    for name in ("PIL", "keras", "h5py", "faceage", "scipy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    out = run(Path("photos"), Path("out"), "ray", cwd=tmp_path)
    assert not (tmp_path / "executed").exists()
    assert {row["status"] for row in rows_of(tmp_path / out).values()} == {"ok"}
