"""`--set`, presets and options: each value of its type, each mistake told, and what the presets promise."""

import ast
import dataclasses
import inspect
import itertools

import pytest

from faceage.backend import fastest_dtype
from faceage.cli import train
from faceage.errors import UsageError
from faceage.training.everything import all_options
from faceage.training.gan import GANOptions
from faceage.training.identity import IdentityOptions
from faceage.training.jobs import JOBS
from faceage.training.overrides import overridden
from faceage.training.presets import PRESETS, preset_options
from faceage.training.recognizer import RecognizerOptions
from faceage.training.stage import StageOptions


def test_each_value_has_the_type_of_its_field():
    options = overridden(
        GANOptions(), ["epochs=3", "learning_rate=1e-3", "augment=false", "dtype=float32", "r1=2"], "gan"
    )
    assert options == GANOptions(epochs=3, learning_rate=1e-3, augment=False, dtype="float32", r1=2.0)
    assert [type(value) for value in (options.epochs, options.r1, options.augment)] == [int, float, bool]


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("Yes", True), ("1", True), ("false", False), ("NO", False), ("0", False)]
)
def test_yes_and_no_are_said_in_several_ways(text, value):
    assert overridden(GANOptions(), [f"augment={text}"], "gan").augment is value


def test_what_is_not_set_stays_and_the_last_of_two_counts():
    options = GANOptions(epochs=7, beta_1=0.5)
    assert overridden(options, [], "gan") == options
    assert overridden(options, ["seed=4", "seed=5"], "gan") == dataclasses.replace(options, seed=5)


def test_a_value_may_hold_an_equals_sign_or_nothing():
    assert overridden(RecognizerOptions(), ["backbone=a=b.h5"], "recognizer").backbone == "a=b.h5"
    assert overridden(RecognizerOptions(), ["backbone="], "recognizer").backbone == ""


@pytest.mark.parametrize("key", ["epoch", "margin", "Epochs", "", " epochs", "steps"])
def test_an_unknown_key_is_refused_and_the_known_ones_named(key):
    with pytest.raises(UsageError, match=f"the gan stage has no option {key!r}") as error:
        overridden(GANOptions(), [f"{key}=1"], "gan")
    assert all(field.name in error.value.hint for field in dataclasses.fields(GANOptions))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epochs=1.5", "epochs is a whole number"),
        ("epochs=", "epochs is a whole number"),
        ("epochs=-1", "epochs cannot be negative"),
        ("learning_rate=fast", "learning_rate is a number"),
        ("learning_rate=-1e-3", "learning_rate cannot be negative"),
        ("learning_rate=nan", "learning_rate cannot be"),
        ("learning_rate=inf", "learning_rate cannot be negative or infinite"),
        ("augment=perhaps", "augment is true or false"),
        ("augment=2", "augment is true or false"),
        ("augment", "is not KEY=VALUE"),
        ("", "is not KEY=VALUE"),
    ],
)
def test_a_value_that_cannot_be_is_told(setting, said):
    with pytest.raises(UsageError, match=said) as error:
        overridden(GANOptions(), [setting], "gan")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "setting", ["batch_size=0", "seed=4294967296", "dtype=float1", "dtype=mixed_float16", "dtype=float16"]
)
def test_what_no_training_can_begin_with_is_refused(setting):
    with pytest.raises(UsageError, match=setting.partition("=")[0]):
        overridden(GANOptions(), [setting], "gan")


def test_the_dtype_is_that_of_the_machine_unless_it_is_given():
    assert GANOptions().dtype == "auto"
    assert GANOptions().resolved(1000) == GANOptions(dtype=fastest_dtype())
    given = overridden(GANOptions(), ["dtype=mixed_bfloat16"], "gan")
    assert given.resolved(1000) == given


def test_no_steps_in_an_epoch_are_one_pass_in_every_stage():
    for name in JOBS:
        (setting,) = all_options("best", [f"{name}.steps_per_epoch=0", f"{name}.batch_size=64"], [name]).values()
        assert setting.resolved(1000).steps_per_epoch == 16


def test_settings_of_all_stages_go_to_the_stage_they_name():
    options = all_options("best", ["gan.epochs=3", "identity.min_accuracy=0", "gan.r1=0", "recognizer.method=distil"])
    assert list(options) == list(JOBS)
    assert options["gan"] == GANOptions(epochs=3, r1=0.0)
    assert options["identity"] == IdentityOptions(min_accuracy=0.0)
    assert options["recognizer"] == RecognizerOptions(method="distil")
    assert options["age"] == preset_options("best", "age")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epochs=3", "names no stage"),
        ("gans.epochs=3", "names no stage"),
        (".epochs=3", "names no stage"),
        ("gan=3", "names no stage"),
        ("gan.margin=1", "the gan stage has no option 'margin'"),
        ("gan.epochs", "is not KEY=VALUE"),
    ],
)
def test_a_setting_without_its_stage_is_told(setting, said):
    with pytest.raises(UsageError, match=said) as error:
        all_options("best", [setting])
    if said == "names no stage":
        assert all(name in error.value.hint for name in JOBS)


def test_an_unknown_preset_is_told():
    with pytest.raises(UsageError, match="no preset 'fast'") as error:
        all_options("fast", [])
    assert error.value.hint == "presets are best, paper"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_what_it_costs_and_has_every_stage(preset):
    lines = [line.strip().partition(":")[0] for line in PRESETS[preset].__doc__.splitlines()]
    assert [line for line in lines if line in ("Command", "Time", "Score")] == ["Command", "Time", "Score"]
    options = {name: type(value) for name, value in vars(PRESETS[preset]).items() if not name.startswith("_")}
    assert options == {name: job.OPTIONS for name, job in JOBS.items()}


def test_the_command_line_has_the_stages():
    assert [command.name for command in train.app.registered_commands] == ["all", *JOBS]


def test_the_papers_preset_is_the_papers_gan():
    gan = preset_options("paper", "gan")
    assert (gan.epochs, gan.steps_per_epoch, gan.learning_rate, gan.beta_1) == (100, 0, 2e-4, 0.5)
    assert (gan.wrong_age, gan.r1, gan.augment, gan.average_decay, gan.dtype) == (0, 0, False, 0, "float32")
    encoder = preset_options("paper", "encoder")
    assert encoder.steps_per_epoch * encoder.batch_size == pytest.approx(100_000, rel=0.01)
    assert preset_options("paper", "recognizer").kind == "inception-resnet-v2"
    assert preset_options("paper", "identity").epochs == 0


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_options_do_not_change_and_explain_themselves(job):
    options = job.OPTIONS()
    assert isinstance(options, StageOptions)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.epochs = 1
    explained = set()
    for kind in type(options).__mro__[:-1]:
        body = ast.parse(inspect.getsource(kind)).body[0].body
        for field, after in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                explained.add(field.target.id)
    assert {field.name for field in dataclasses.fields(options)} <= explained
