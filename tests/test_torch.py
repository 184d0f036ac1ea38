"""PyTorch as the backend: the same losses and the same steps as TensorFlow, from the same numbers."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import finish
from tiny_training import face_set

from faceage.model import check_files, read_card
from faceage.model_search import find_model

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: make test-torch")

SCRIPT = Path(__file__).with_name("backends.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each backend makes of the same numbers."""
    started, outs = [], []
    for backend in ("tensorflow", "torch"):
        outs.append(tmp_path_factory.mktemp(backend) / "out.npz")
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(SCRIPT.parent.parent)}
        # One thread alone adds up the gradients of all pixels in a row, and rounds them more than is compared here.
        environment.pop("TF_NUM_INTRAOP_THREADS", None)
        command = [sys.executable, str(SCRIPT), str(outs[-1])]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    finish(started)
    return [dict(np.load(out)) for out in outs]


NEEDED = (
    *(
        "numpy",
        "h5py",
        "torch",
        "torchgen",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
        "fsspec",
        "filelock",
    ),
    *("typing_extensions", "keras", "absl", "namex", "optree", "ml_dtypes", "packaging", "scipy", "PIL"),
    *(
        "tensorboardX",
        "google",
        "typer",
        "pydantic",
        "pydantic_core",
        "typing_inspection",
        "annotated_types",
        "shellingham",
        "annotated_doc",
        "rich",
        "pygments",
        "tqdm",
    ),
)
"""All that `train photo` needs on PyTorch: such a machine may be one that can fetch nothing."""

ALONE = f"""
import sys
from absent import keep_only

keep_only(*{NEEDED})
from faceage.cli.app import main

main(sys.argv[1:])
"""


def test_photographs_are_learnt_where_there_is_little_more_than_pytorch(tmp_path, write_faces):
    # Few to learn from and one to be shown, as the re-ager is the whole one.
    data = write_faces(tmp_path / "faces.h5", [face_set(4, seed).first(count) for seed, count in enumerate((2, 1, 1))])
    small = ("epochs=1", "pairs_epochs=0", "steps_per_epoch=1", "batch_size=2", "alone_epochs=0", "dtype=float32")
    command = ["train", "photo", "--data", data, "--run", tmp_path / "run", "--start", find_model(), "--quiet"]
    command += [word for setting in small for word in ("--set", setting)]
    path = f"{SCRIPT.parent}{os.pathsep}{SCRIPT.parent.parent}"
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "run" / "model")
    assert set(card["networks"]) == {"re_ager"}
    check_files(tmp_path / "run" / "model", card, ["re_ager"])


def part(found: dict, prefix: str) -> dict:
    return {name: value for name, value in found.items() if name.startswith(prefix)}


STAGES = (
    "age",
    "recognizer",
    "gan",
    "gan-between-penalties",
    "encoder",
    "identity",
    "photo-pairs",
    "photo-alone",
    "photo",
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_same_first_losses(outcomes, stage):
    tensorflow, torch = (part(found, f"{stage}_loss_") for found in outcomes)
    assert torch.keys() == tensorflow.keys() != set()
    for name, value in tensorflow.items():
        assert np.isfinite(value)
        assert torch[name] == pytest.approx(float(value), rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_the_same_first_gradients(outcomes, stage):
    tensorflow, torch = (found[f"{stage}_gradients"] for found in outcomes)
    # TensorFlow's moments, which batch norm uses, are right to the first derivative; D's gradient penalty needs the
    # second, where they leave out a term. PyTorch has it.
    tolerance = 0.05 if stage in ("gan", "identity") else 1e-3
    length = np.linalg.norm(tensorflow)
    assert length > 0
    assert np.linalg.norm(torch - tensorflow) < tolerance * length


def test_training_ends_alike_on_both(outcomes):
    tensorflow, torch = (part(found, "unbroken_") for found in outcomes)
    for name, value in tensorflow.items():
        np.testing.assert_allclose(torch[name], value, atol=1e-4, err_msg=name)


def test_a_run_on_torch_goes_on_from_its_checkpoint(outcomes):
    unbroken, resumed = (part(outcomes[1], prefix) for prefix in ("unbroken_", "resumed_"))
    for (name, value), again in zip(unbroken.items(), resumed.values(), strict=True):
        # The losses of the epochs before are the other run's.
        np.testing.assert_allclose(again, value[-len(again) :], atol=1e-6, err_msg=name)
