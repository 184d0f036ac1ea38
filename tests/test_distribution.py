"""Several devices: the weights of one device on the whole batch, on two devices of one process and in two processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import finish

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="several devices are TensorFlow's")

SCRIPT = Path(__file__).with_name("devices.py")


def start(*arguments, **variables: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent.parent), **variables}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True
    )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Outcomes of the process with two devices and of the two workers, and the workers' run folder."""
    folder = tmp_path_factory.mktemp("devices")
    run = folder / "run"
    run.mkdir()
    (run / "options.json").write_text("{}")
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    names = [folder / f"{name}.npz" for name in ("logical", "worker0", "worker1")]
    configurations = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)]
    started = [
        *(
            start("worker", names[1 + i], run, TF_CONFIG=configuration)
            for i, configuration in enumerate(configurations)
        ),
        start("logical", names[0]),
    ]
    finish(started)
    return *(dict(np.load(name)) for name in names), run


def assert_trained_alike(found: dict, expected: dict) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def part(found: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def test_two_devices_train_as_one_on_the_whole_batch(outcomes):
    logical, *_ = outcomes
    one = part(logical, "one_")
    assert one["loss"][0] > 1.05 * one["loss"][-1]
    # Faces 0 to 31 are each seen once in an epoch.
    assert one["first"] == pytest.approx([15.5] * 3)
    assert_trained_alike(part(logical, "two_"), one)


def test_a_batch_that_cannot_be_shared_out_is_refused(outcomes):
    assert str(outcomes[0]["refused"]) == (
        "a batch of 9 faces cannot be shared out equally among 2 devices; use a batch of 10"
    )


def test_a_gan_stays_the_same_on_both_devices(outcomes):
    logical, *_ = outcomes
    moved, random = set(logical["gan_moved"]), set(logical["gan_random"])
    # Networks, their averages, the step count and the random states: everything but what starts at zero and is frozen.
    assert set(logical["gan_names"]) - moved <= {name for name in logical["gan_names"] if name.endswith("beta")}
    assert set(logical["gan_apart"]) == random
    assert logical["gan_steps"] == 4


def test_devices_draw_different_latents(outcomes):
    first, second = outcomes[0]["latents"]
    assert np.abs(first - second).max(axis=1).min() > 1


def test_two_workers_train_as_one_process_and_go_on_from_the_checkpoint(outcomes):
    logical, *workers, _ = outcomes
    one = part(logical, "one_")
    last = {name: value[-1:] if name in ("loss", "first") else value for name, value in one.items()}
    for found in workers:
        assert_trained_alike(found, last)
    weights = [name for name in one if name.startswith("weight")]
    for name in weights:
        np.testing.assert_array_equal(workers[0][name], workers[1][name])
    assert not np.array_equal(workers[0]["random"], workers[1]["random"])
    # Of 1 on the chief and 0 on the other.
    assert workers[0]["averaged"] == workers[1]["averaged"] == 0.5


def test_only_the_chief_writes_into_the_run(outcomes):
    *_, chief, other, run = outcomes
    assert chief["chief"]
    assert chief["own"]
    assert not other["chief"]
    assert not other["own"]
    # The other's copy began with what the run held.
    assert str(other["options"]) == "{}"
    assert {path.name for path in run.iterdir()} == {"options.json", "last.weights.h5"}
