"""`train all`: every stage in its order, each once, and a model at the end that `faceage batch` loads."""

import dataclasses
import functools
import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import faceage
from conftest import DATA
from imdb_wiki_tree import utkface_photos, write_tree
from PIL import Image
from tiny_training import BrightnessJob, BrightnessOptions, TinySplits, face_set

from faceage.errors import UsageError
from faceage.model import build_network, check_files, find_model, load_model, read_card
from faceage.training.checkpoint import Position, save_checkpoint
from faceage.training.everything import all_options, make_plan, measure, train_all
from faceage.training.job import Inputs
from faceage.training.presets import JOBS
from faceage.training.run import PRODUCERS, Run

NARROW = {"generator": 8, "discriminator": 8, "encoder": 4, "age_estimator": 8}
BUILT_IN = {
    "generator": ("gan", "identity"),
    "discriminator": ("gan",),
    "encoder": ("encoder", "identity"),
    "age_estimator": ("age",),
}
FEW = [f"{stage}.{setting}" for stage in JOBS for setting in ("epochs=2", "steps_per_epoch=2", "batch_size=8")]


@pytest.fixture(scope="module")
def narrow():
    """Every stage and every loader builds the same networks, narrower."""
    with pytest.MonkeyPatch.context() as patch:
        for name, width in NARROW.items():
            module = importlib.import_module(f"faceage.networks.{name}")
            small = functools.partial(getattr(module, name), width=width)
            patch.setattr(module, name, small)
            for stage in BUILT_IN[name]:
                patch.setattr(importlib.import_module(f"faceage.training.{stage}"), name, small)
        yield


def options(*settings: str):
    return all_options("best", [*FEW, "identity.head_start=2", "identity.min_accuracy=0", *settings])


@pytest.fixture(scope="module")
def trained(narrow, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("run"))
    train_all(options(), run, TinySplits())
    return run


def log_since(run: Run, before: int) -> str:
    return (run.folder / "log.txt").read_text()[before:]


def test_all_stages_make_one_model(trained):
    model = load_model(trained.model_folder)
    networks, scores = model.card["networks"], model.card["scores"]
    assert set(networks) == {"recognizer", "age_estimator", "generator", "discriminator", "encoder"}
    assert {"recognizer", "age_estimator", "encoder", "identity", "batch"} == set(scores)
    for name, entry in networks.items():
        assert entry["data"] == "noise"
        assert entry["faces"] == 24
        assert entry["stage"] == {"encoder": "identity", "generator": "identity"}.get(name, PRODUCERS[name])
    stages = {stage: read_card(trained.folder / stage / "model")["networks"] for stage in JOBS}
    # Each stage says which networks it was made with.
    gan, encoder, identity = (stages[stage] for stage in ("gan", "encoder", "identity"))
    assert encoder["encoder"]["networks"]["generator"] == gan["generator"]["sha256"]
    taken = identity["generator"]["networks"]
    assert taken["generator"] == gan["generator"]["sha256"]
    assert taken["encoder"] == encoder["encoder"]["sha256"]
    assert networks["generator"]["sha256"] == identity["generator"]["sha256"] != gan["generator"]["sha256"]
    with Image.open(trained.folder / "faces.png") as faces:
        assert faces.size[0] == 8 * 66 + 2


def test_pictures_of_every_epoch(trained):
    for stage, picture in (("gan", "samples"), ("encoder", "faces"), ("identity", "faces")):
        names = {path.name for path in (trained.folder / stage).glob("*.png")}
        assert {"reals.png", f"{picture}-0001.png", f"{picture}-0002.png"} == names


def test_what_has_ended_is_skipped_and_what_builds_on_a_change_is_not(trained):
    before = len(log_since(trained, 0))
    train_all(options(), trained, TinySplits())
    said = log_since(trained, before)
    assert said.count("ended before") == len(JOBS)

    before += len(said)
    train_all(options("gan.epochs=3"), trained, TinySplits())
    said = log_since(trained, before)
    assert "recognizer: ended before" in said
    assert "age: ended before" in said
    assert "gan: epoch 3/3" in said
    assert "gan: epoch 2/3" not in said
    for stage in ("encoder", "identity"):
        assert f"{stage}: begins again, since the networks it takes have changed" in said
        assert f"{stage}: epoch 1/2" in said


def test_a_stage_without_what_it_needs_says_what_to_train(narrow, tmp_path):
    from faceage.training.run import train_stage

    with pytest.raises(UsageError, match="identity needs the encoder") as error:
        train_stage(JOBS["identity"], options()["identity"], Run(tmp_path), TinySplits())
    assert "faceage train encoder" in error.value.hint


def test_another_models_networks_stand_in_for_earlier_stages(trained, tmp_path):
    from faceage.training.run import train_stage

    chosen = dataclasses.replace(options()["encoder"], epochs=1)
    run = Run(tmp_path, start=trained.model_folder)
    train_stage(JOBS["encoder"], chosen, run, TinySplits())
    card = read_card(run.model_folder)
    start = read_card(trained.model_folder)["networks"]
    # The same stage without --start goes on with what it was begun with.
    assert train_stage(JOBS["encoder"], dataclasses.replace(chosen, epochs=2), Run(tmp_path), TinySplits())
    assert "begins again" not in (tmp_path / "log.txt").read_text()
    assert set(card["networks"]) == {"encoder"}
    assert card["networks"]["encoder"]["networks"] == {name: start[name]["sha256"] for name in ("generator", "encoder")}


def test_a_recognizer_that_knows_nobody_is_not_looked_through(trained, tmp_path):
    with pytest.raises(UsageError, match=r"balanced accuracy; identity asks for 100%"):
        train_all(options("identity.min_accuracy=1", "identity.epochs=3"), trained, TinySplits(), restart=False)


def test_a_plan_says_what_is_left(trained, tmp_path):
    train_all(options("gan.epochs=3"), trained, TinySplits())
    plan = make_plan(options("gan.epochs=3", "identity.epochs=4"), trained, TinySplits(), faces=24)
    assert [(stage.name, stage.steps, stage.left) for stage in plan] == [
        ("recognizer", 4, 0),
        ("age", 4, 0),
        ("gan", 6, 0),
        ("encoder", 4, 0),
        ("identity", 8, 4),
    ]
    assert [stage.seconds > 0 for stage in plan] == [False] * 4 + [True]
    one_pass = make_plan(options("gan.steps_per_epoch=0"), Run(tmp_path), TinySplits(), faces=1001)[2]
    assert one_pass.steps == 2 * 126


@pytest.mark.parametrize(("begun", "counted"), [(False, True), (True, False)])
def test_a_plan_counts_what_comes_before_the_first_step(tmp_path, monkeypatch, begun, counted):
    class Prepared(BrightnessJob):
        def preparation(self):
            return self.stage(), 2000

    monkeypatch.setitem(JOBS, "prepared", Prepared)
    seconds = measure("prepared", BrightnessOptions(), 4, begun, Run(tmp_path), TinySplits())
    # 4 steps, and 2,000 like them before the first.
    alone = measure("prepared", BrightnessOptions(), 2004, True, Run(tmp_path), TinySplits())
    assert (seconds > alone / 20) == counted


@pytest.mark.parametrize("name", JOBS)
def test_a_step_is_measured_on_batches_like_those_that_it_trains_on(tmp_path, name):
    job = JOBS[name](options()[name], Inputs(TinySplits(), tmp_path))
    measured, trained = job.example(), job.batches(0)[0]
    assert [(part.shape, part.dtype.kind) for part in measured] == [(part.shape, part.dtype.kind) for part in trained]


def test_a_head_start_that_is_given_is_counted_no_more(narrow, tmp_path):
    networks = {name: build_network(name, "float32") for name in JOBS["identity"].NEEDS}
    job = JOBS["identity"](options("identity.head_start=3")["identity"], Inputs(TinySplits(), tmp_path, networks))
    stage, left = job.preparation()
    assert left == 3
    save_checkpoint(tmp_path / "head_start.weights.h5", stage, Position(step=2))
    assert job.preparation()[1] == 1
    save_checkpoint(tmp_path / "head_start.weights.h5", stage, Position(step=3))
    assert job.preparation() is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gan", "--set", "lerning_rate=1"), "the gan stage has no option 'lerning_rate'"),
        (("gan", "--set", "weight_decay=1"), "the gan stage has no option 'weight_decay'"),
        (("all", "--set", "gan.weight_decay=1"), "the gan stage has no option 'weight_decay'"),
        (("all", "--set", "epochs=1"), "names no stage"),
        (("all", "--preset", "papers"), "there is no preset 'papers'"),
        (("gan", "--set", "epochs=many"), "epochs is a whole number"),
        (("all", "--data", "nowhere"), "--data nowhere does not exist"),
    ],
)
def test_a_wrong_command_is_told_before_anything_is_read(tmp_path, arguments, said):
    (tmp_path / "data").mkdir()
    result = faceage("train", arguments[0], "--data", tmp_path / "data", "--run", tmp_path / "run", *arguments[1:])
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


SMALL = [
    *(item for stage in JOBS for item in ("--set", f"{stage}.steps_per_epoch=3", "--set", f"{stage}.batch_size=16")),
    *("--epochs", "2", "--set", "identity.min_accuracy=0", "--set", "identity.head_start=3"),
]


@pytest.mark.slow
def test_imdb_wiki_to_aged_photos_killed_in_every_stage(tmp_path):
    if not (DATA / "utkface").is_dir():
        pytest.skip(f"no data set in {DATA / 'utkface'}")
    root, run = tmp_path / "imdb_wiki", tmp_path / "run"
    tree = write_tree(root, utkface_photos(300))
    command = ["train", "all", "--data", root, "--run", run, *SMALL]
    for stage in JOBS:
        kill_when(command, run / "log.txt", f" {stage}: epoch 1/2")
    result = faceage(*command)
    assert result.returncode == 0, result.stderr
    log = (run / "log.txt").read_text()
    for stage in JOBS:
        assert log.count(f" {stage}: epoch 2/2") == 1, stage
    load_model(run / "model")

    out = tmp_path / "aged"
    examples = Path(__file__).parent.parent / "examples"
    refused = faceage("batch", examples, "--out", out, "--weights", run / "model", "--steps", "5")
    # Six steps teach a recogniser nothing, or nobody could tell: few people are in so small a test split.
    measured = read_card(run / "model")["scores"]["recognizer"].get("same_different", {"balanced_accuracy": 0})
    assert refused.returncode == (2 if measured["balanced_accuracy"] < 0.8 else 0)
    result = faceage("batch", examples, "--out", out, "--weights", run / "model", "--steps", "5", "--any-recognizer")
    assert result.returncode == 0, result.stderr
    with h5py.File(out / "latents.h5") as file:
        assert len(file["latent"]) >= 4
        assert np.isfinite(file["latent"][:]).all()

    with h5py.File(run / "data.h5") as file:
        dropped = dict(zip(file["dropped/source"].asstr()[:], file["dropped/reason"].asstr()[:], strict=True))
        ages = dict(zip(file["source"].asstr()[:], file["age"][:], strict=True))
    # The detector may miss a real face or two.
    missed = dropped.keys() - tree.dropped.keys()
    assert {source: reason for source, reason in dropped.items() if source in tree.dropped} == tree.dropped
    assert {dropped[source] for source in missed} <= {"no face"}
    assert len(missed) <= 15
    assert ages == {source: age for source, age in tree.ages.items() if source not in missed}


def kill_when(command: list, log: Path, line: str) -> None:
    """Start a command and kill it as soon as its log holds a line."""
    process = subprocess.Popen([sys.executable, "-m", "faceage", *map(str, command)], stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while line not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, f"ended before {line!r}"
        assert time.monotonic() - started < 600
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("stage", JOBS)
def test_each_stage_is_a_command_of_its_own(tmp_path, write_faces, stage):
    data = write_faces(tmp_path / "faces.h5", [face_set(24, seed) for seed in range(3)])
    run = tmp_path / "run"
    small = ("--epochs", 1, "--set", "steps_per_epoch=1", "--set", "batch_size=4", "--start", find_model())
    alone = ("--set", "head_start=1") if stage == "identity" else ()
    result = faceage("train", stage, "--data", data, "--run", run, *small, *alone)
    assert result.returncode == 0, result.stderr
    assert f" {stage}: ended after 1 steps" in (run / "log.txt").read_text()
    card = read_card(run / "model")
    for name in JOBS[stage].MAKES:
        assert card["networks"][name]["steps"] == 1
        check_files(run / "model", card, [name])
