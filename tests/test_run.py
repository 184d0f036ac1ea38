"""A run's folder: it explains itself, goes on where it was stopped, and loses nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from small_disk import fill_up
from tiny_training import STEPS, Brightness, BrightnessJob, BrightnessOptions, TinySplits, eagerly

from faceage.errors import Interrupted, TrainingError, UsageError
from faceage.model import build_network, read_card, save_network, update_card
from faceage.training.checkpoint import Position, load_checkpoint, read_position, save_checkpoint
from faceage.training.job import Inputs
from faceage.training.run import Run, network_scores, stage_position, train_stage
from faceage.training.watch import read_rows

SCRIPT = Path(__file__).parent / "tiny_training.py"

pytestmark = pytest.mark.filterwarnings("ignore:Even though the")
"""That `eagerly` leaves tf.data as it is."""


@pytest.fixture(scope="module", autouse=True)
def uncompiled():
    """Every run here takes a few steps. The one that is killed compiles them, in a process of its own."""
    with eagerly():
        yield


def train(
    folder: Path, *, progress=lambda what, done, total: None, data=None, restart=False, job=BrightnessJob, **changes
):
    """Train the smallest stage in `folder`; whether it trained at all, and the folder's rows of scores."""
    run = Run(folder, progress=progress)
    trained = train_stage(job, BrightnessOptions(**changes), run, data or TinySplits(), restart)
    return trained, read_rows(folder / "brightness" / "stats.jsonl")


def contents(checkpoint: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(checkpoint) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same_checkpoint(one: Path, other: Path) -> None:
    ours, theirs = contents(one), contents(other)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 5
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


LAST = Path("brightness", "last.weights.h5")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, train(folder)[1]


def stop_at(step: int, number: int = signal.SIGTERM):
    """A progress function that sends this process a signal at a step."""

    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            os.kill(os.getpid(), number)

    return progress


STOPS = [(step, signal.SIGTERM) for step in (1, STEPS - 1, STEPS, STEPS + 1, 4 * STEPS - 1)]


@pytest.mark.parametrize(("step", "number"), [*STOPS, (STEPS + 1, signal.SIGINT)])
def test_a_stopped_run_ends_bit_for_bit_as_the_unbroken_one(tmp_path, unbroken, step, number):
    folder, rows = unbroken
    with pytest.raises(Interrupted, match=signal.Signals(number).name) as stopped:
        train(tmp_path, progress=stop_at(step, number))
    assert stopped.value.exit_code == 130
    assert stage_position(Run(tmp_path), "brightness") == Position(*divmod(step, STEPS))
    told = []
    _, again = train(tmp_path, progress=lambda what, done, total: told.append((done, total)))
    assert told[0] == (step, 4 * STEPS)
    assert told[-1] == (4 * STEPS, 4 * STEPS)
    assert_same_checkpoint(tmp_path / LAST, folder / LAST)
    assert without_seconds(again) == without_seconds(rows)
    assert len({row["pixels"] for row in rows}) == 4


def test_signals_are_handed_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train(tmp_path, epochs=1)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def tiny_gan(*folders: Path) -> subprocess.Popen:
    command = [sys.executable, SCRIPT, "3", *folders]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_killed_gan_ends_bit_for_bit_as_the_unbroken_one(tmp_path):
    killed = tiny_gan(tmp_path / "killed")
    for line in killed.stdout:
        # In the middle of the second epoch.
        if line == f"step {STEPS + 2}\n":
            killed.kill()
            break
    assert killed.wait() == -signal.SIGKILL
    assert read_position(tmp_path / "killed" / "gan" / "last.weights.h5") == Position(1)
    again = tiny_gan(tmp_path / "killed", tmp_path / "unbroken")
    lines = again.stdout.read().splitlines()
    assert again.wait() == 0
    assert lines[0] == f"step {STEPS}"
    one, other = (tmp_path / name / "gan" for name in ("killed", "unbroken"))
    assert_same_checkpoint(one / "last.weights.h5", other / "last.weights.h5")
    assert without_seconds(read_rows(one / "stats.jsonl")) == without_seconds(read_rows(other / "stats.jsonl"))
    assert (one / "samples-0003.png").read_bytes() == (other / "samples-0003.png").read_bytes()


def test_an_epoch_that_was_not_checkpointed_is_told_once(tmp_path, unbroken):
    _, rows = train(tmp_path, epochs=2)
    # Killed after the row of epoch 3 and before its checkpoint.
    with open(tmp_path / "brightness" / "stats.jsonl", "a") as file:
        file.write(json.dumps({**rows[1], "epoch": 3, "loss": 99.0}) + "\n")
    _, rows = train(tmp_path)
    assert without_seconds(rows) == without_seconds(unbroken[1])


def test_a_run_may_train_for_longer(tmp_path, unbroken):
    train(tmp_path, epochs=2)
    trained, rows = train(tmp_path, epochs=4)
    assert trained
    assert without_seconds(rows) == without_seconds(unbroken[1])
    assert_same_checkpoint(tmp_path / LAST, unbroken[0] / LAST)


def test_what_has_ended_is_not_trained_again(tmp_path):
    assert train(tmp_path, epochs=2)[0]
    before = (tmp_path / LAST).stat().st_mtime_ns
    told = []
    assert not train(tmp_path, epochs=2, progress=lambda *what: told.append(what))[0]
    assert told == []
    assert (tmp_path / LAST).stat().st_mtime_ns == before
    assert "ended before" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, r"seed: 0 → 1\)"),
        ({"learning_rate": 0.5, "batch_size": 4, "epochs": 9}, r"batch_size: 8 → 4, learning_rate: 0.1 → 0.5\)"),
        ({"data": TinySplits("others")}, r"data sha256: noise → others\)"),
        ({"dtype": "mixed_bfloat16"}, r"dtype: auto → mixed_bfloat16\)"),
    ],
)
def test_other_options_or_data_are_refused_once_it_has_trained(tmp_path, change, said):
    train(tmp_path, epochs=1)
    options = (tmp_path / "brightness" / "options.json").read_text()
    with pytest.raises(UsageError, match=said) as error:
        train(tmp_path, **change)
    assert "--restart" in error.value.hint
    assert (tmp_path / "brightness" / "options.json").read_text() == options
    trained, rows = train(tmp_path, restart=True, **{"epochs": 1, **change})
    assert trained
    assert rows[0]["epoch"] == 1
    assert json.loads((tmp_path / "brightness" / "options.json").read_text()) != json.loads(options)


class Taking(BrightnessJob):
    """Takes a network of the model that the run starts from."""

    USES = ("age_estimator",)


def test_changed_networks_of_an_earlier_stage_are_refused_and_the_checkpoints_stay(tmp_path):
    starts = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        starts.append(tmp_path / f"model {seed}")
        save_network(starts[-1], "age_estimator", build_network("age_estimator"), {})

    def begun(start: Path, restart: bool = False, epochs: int = 1) -> bool:
        run = Run(tmp_path / "run", start=start)
        return train_stage(Taking, BrightnessOptions(epochs=epochs), run, TinySplits(), restart)

    assert begun(starts[0])
    before = (tmp_path / "run" / LAST).read_bytes()
    for epochs in (1, 2):
        with pytest.raises(UsageError, match=r"\(the age_estimator: \w{8} → \w{8}\)") as error:
            begun(starts[1], epochs=epochs)
        assert "faceage train brightness … --restart" in error.value.hint
    assert (tmp_path / "run" / LAST).read_bytes() == before
    assert not begun(starts[0])
    assert begun(starts[1], restart=True)


def test_scores_are_those_of_the_card_that_a_network_comes_from(tmp_path):
    """A model.json may hold the scores of a recogniser that is not the one in use."""
    folders = {name: tmp_path / name for name in ("recognizer", "encoder", "generator")}
    for name, folder in folders.items():
        measured = {} if name == "generator" else dict.fromkeys(("recognizer", "encoder"), f"by {name}")
        update_card(folder, lambda card, measured=measured: card["scores"].update(measured))
    assert network_scores(folders) == {"recognizer": "by recognizer", "encoder": "by encoder"}


def test_a_run_goes_on_on_a_machine_with_another_fastest_dtype(tmp_path, monkeypatch):
    for dtype, epochs in (("float32", 1), ("mixed_bfloat16", 2)):
        monkeypatch.setattr("faceage.training.stage.fastest_dtype", lambda dtype=dtype: dtype)
        trained, rows = train(tmp_path, epochs=epochs)
        assert trained
        assert len(rows) == epochs
    # It has ended for either.
    monkeypatch.setattr("faceage.training.stage.fastest_dtype", lambda: "float32")
    assert not train(tmp_path, epochs=2)[0]
    # Checkpoints of before the dtype could be "auto" name one.
    options = tmp_path / "brightness" / "options.json"
    options.write_text(options.read_text().replace('"auto"', '"mixed_bfloat16"'))
    assert train(tmp_path, epochs=3)[0]


def test_a_run_explains_itself(tmp_path):
    _, rows = train(tmp_path, epochs=2)
    folder = tmp_path / "brightness"
    options = json.loads((folder / "options.json").read_text())
    assert options["options"]["learning_rate"] == 0.1
    assert options["data"] == {"name": "noise", "sha256": "noise"}
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["baselines"] == {"loss": pytest.approx(1 / 6, abs=1e-5)} for row in rows)
    log = (tmp_path / "log.txt").read_text()
    assert "epoch 2/2: " in log
    assert "(always zero: 0.1667)" in log
    with Image.open(folder / "reals.png") as reals:
        assert reals.size == (8 * 66 + 2, 6 * 66 + 2)
    scalars = tensorboard_scalars(folder)
    assert {"loss", "pixels", "score", "loss/baseline"} <= scalars.keys()
    assert scalars["score"] == [(row["epoch"], pytest.approx(row["score"], rel=1e-6)) for row in rows]


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What the events files say, read by their published layout: length, checksum, protocol buffer, checksum."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
            data = data[16 + length :]
    return found


class Keeping(BrightnessJob):
    """Has a result, of which model.json says how it was trained."""

    def results(self, stage: Brightness) -> dict[str, keras.Model]:
        return {"age_estimator": stage.network}

    def final_scores(self, kept) -> dict:
        return {}


def test_a_card_says_what_was_trained_where_fewer_epochs_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("faceage.training.run._load", lambda folder, name, dtype: None)
    train(tmp_path, job=Keeping, epochs=3)
    for epochs in (1, 3):
        assert train(tmp_path, job=Keeping, epochs=epochs)[0]
        entry = read_card(tmp_path / "model")["networks"]["age_estimator"]
        assert (entry["steps"], entry["options"]["epochs"]) == (3 * STEPS, 3)
    assert (tmp_path / "log.txt").read_text().count(f"ended after {3 * STEPS} steps") == 3


class Best(BrightnessJob):
    """Says that its second epoch was the best."""

    def scores(self, stage: Brightness) -> dict[str, float]:
        epoch = int(stage.network_optimizer.iterations) // STEPS
        return {"score": {1: 0.5, 2: 0.9, 3: 0.4, 4: 0.9}[epoch]}

    def best(self) -> tuple[str, bool]:
        return "score", True


def test_the_best_epoch_is_kept_beside_the_last(tmp_path):
    train(tmp_path, job=Best, epochs=3)
    best = tmp_path / "brightness" / "best.weights.h5"
    assert read_position(best) == Position(2)
    assert read_position(tmp_path / LAST) == Position(3)
    # As good is not better, and what an earlier run found still counts.
    train(tmp_path, job=Best, epochs=4)
    assert read_position(best) == Position(2)
    assert "ended after 8 steps" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("stopped", [3, 4])
def test_a_full_disk_between_the_checkpoints_of_the_best_epoch_does_not_lose_it(tmp_path, monkeypatch, stopped):
    """The third and the fourth that are written are those of the second epoch, which is the best."""
    written = []

    def full(path: Path, *what) -> None:
        written.append(path)
        if len(written) == stopped:
            raise TrainingError("the disk is full")
        save_checkpoint(path, *what)

    train(tmp_path / "unbroken", job=Best, epochs=3)
    monkeypatch.setattr("faceage.training.watch.save_checkpoint", full)
    with pytest.raises(TrainingError, match="the disk is full"):
        train(tmp_path / "stopped", job=Best, epochs=3)
    train(tmp_path / "stopped", job=Best, epochs=3)
    for name in ("best", "last"):
        ours, theirs = (tmp_path / run / "brightness" / f"{name}.weights.h5" for run in ("stopped", "unbroken"))
        assert read_position(ours) == read_position(theirs)
        assert_same_checkpoint(ours, theirs)


@pytest.mark.parametrize("learning_rate", [1e30])
def test_a_loss_that_is_no_number_ends_the_run_and_names_what_is_good(tmp_path, learning_rate):
    with pytest.raises(TrainingError, match=r"is (nan|inf) after step [234] of epoch 1") as error:
        train(tmp_path, learning_rate=learning_rate)
    assert "none yet" in error.value.hint
    train(tmp_path / "good", epochs=1)
    good = tmp_path / "good" / LAST
    with h5py.File(good, "a") as file:
        name = next(name for name, values in contents(good).items() if values.shape == (3, 16))
        file[name][:] = 1e30
    with pytest.raises(TrainingError, match="after step 1 of epoch 2") as error:
        train(tmp_path / "good")
    assert str(good) in error.value.hint
    assert read_position(good) == Position(1)


FULL_DISK = """
import resource, sys
from pathlib import Path
from tiny_training import BrightnessJob, BrightnessOptions, TinySplits
from faceage.errors import TrainingError
from faceage.training.checkpoint import Position, save_checkpoint
from faceage.training.job import Inputs

stage = BrightnessJob(BrightnessOptions(), Inputs(TinySplits(), Path("."))).stage()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_checkpoint(Path(sys.argv[1]), stage, Position(2))
except TrainingError as error:
    print(error, "|", error.hint, flush=True)
"""


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / LAST
    before = path.read_bytes()
    # In a process of its own: should HDF5 meet the limit amid a write, it crashes there or at a later file.
    command = [sys.executable, "-c", FULL_DISK, path]
    environment = {**os.environ, "PYTHONPATH": f"{SCRIPT.parent}:{SCRIPT.parent.parent}"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
    assert "cannot be written" in told
    assert "as it was before" in told
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*partial*"))


def test_a_run_that_a_disk_has_no_room_for_is_told_and_goes_on(small_disk):
    rest = small_disk / "rest"
    fill_up(rest)
    with pytest.raises(TrainingError, match="cannot be written to: No space left on device") as error:
        train(small_disk / "run", epochs=1)
    assert "the same command goes on" in error.value.hint
    rest.unlink()
    assert train(small_disk / "run", epochs=1)[0]


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be made: (File exists|Not a directory|No such file)") as error:
        train(tmp_path / place)
    assert "another folder" in error.value.hint


@pytest.mark.parametrize(
    ("changes", "restart", "kept"),
    [
        ({}, False, True),
        ({"epochs": 4}, False, True),
        ({"learning_rate": 0.5}, False, False),
        ({}, True, False),
    ],
)
def test_what_was_prepared_is_of_the_same_options(tmp_path, changes, restart, kept):
    """A run that is killed before its first checkpoint leaves what its preparation trained."""
    seen = []

    class Prepared(BrightnessJob):
        def prepare(self):
            paths = [self.inputs.folder / name for name in ("prepared.weights.h5", "prepared.f32")]
            seen.append([path.exists() for path in paths])
            for path in paths:
                path.touch()
            if len(seen) == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, job=Prepared)
    train(tmp_path, job=Prepared, restart=restart, **changes)
    assert seen == [[False] * 2, [kept] * 2]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    left = tmp_path / "brightness" / ".77-77.partial.weights.h5"
    left.parent.mkdir()
    left.touch()
    train(tmp_path)
    assert not left.exists()


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_a_foreign_checkpoint_is_refused(tmp_path):
    stage = BrightnessJob(BrightnessOptions(), Inputs(TinySplits(), tmp_path)).stage()
    path = tmp_path / "last.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(TrainingError, match="no checkpoint of this stage"):
        load_checkpoint(path, stage)
    path.write_bytes(b"no HDF5")
    with pytest.raises(TrainingError, match="no checkpoint of this stage"):
        load_checkpoint(path, stage)


def test_two_trainings_in_one_folder_are_told(tmp_path):
    def again(what, done, total):
        with pytest.raises(UsageError, match="another process"):
            train(tmp_path)

    assert train(tmp_path, epochs=1, progress=again)[0]
