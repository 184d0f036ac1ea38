"""A model folder: what is written is what is loaded, and whatever is wrong with it is said in one sentence."""

import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras import ops

from faceage import model_search
from faceage.backend import compile_step
from faceage.errors import WeightsError
from faceage.model import (
    NETWORKS,
    build_network,
    check_files,
    drawing_fingerprint,
    enter_networks,
    fingerprint,
    load_model,
    load_network,
    read_card,
    save_network,
    update_card,
)
from faceage.model_search import find_model
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator
from faceage.networks.re_ager import re_ager
from faceage.networks.recognizer import recognizer
from faceage.store.weights import sha256

BUILD = {
    "generator": generator,
    "encoder": encoder,
    "recognizer": recognizer,
    "age_estimator": age_estimator,
    "discriminator": discriminator,
}


def example_inputs(network) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal((3, *x.shape[1:])).astype(np.float32) for x in network.inputs]


def output(network) -> np.ndarray:
    inputs = example_inputs(network)
    return ops.convert_to_numpy(network(inputs if len(inputs) > 1 else inputs[0], training=False))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with every network, as training leaves it, and what each answered before it was saved."""
    folder, answers = tmp_path_factory.mktemp("model") / "first", {}
    for name, build in BUILD.items():
        network = build()
        random = np.random.default_rng(1)
        network.set_weights([w * random.uniform(0.9, 1.1, w.shape) for w in network.get_weights()])
        answers[name] = output(network)
        save_network(folder, name, network, {"stage": name, "steps": 7})
    yield folder, answers
    shutil.rmtree(folder)


@pytest.fixture
def model(whole, tmp_path):
    """A copy of it without its largest network, to be damaged."""
    shutil.copytree(whole[0], tmp_path / "model", ignore=shutil.ignore_patterns("generator*", "encoder*"))
    yield tmp_path / "model"
    shutil.rmtree(tmp_path / "model")


def assert_one_sentence(error: WeightsError) -> None:
    assert "\n" not in str(error)
    assert 20 < len(str(error)) < 400
    assert not str(error).endswith((":", "."))


def test_every_network_answers_as_before_it_was_saved(whole):
    folder, answers = whole
    loaded = load_model(folder)
    networks = {name: getattr(loaded, name) for name in NETWORKS}
    networks["discriminator"] = load_network(folder, loaded.card, "discriminator")
    for name, network in networks.items():
        assert network.trainable_variables == []
        difference = np.abs(output(network) - answers[name]).max()
        assert 0 < difference < 0.01 * np.abs(answers[name]).max(), name


def test_a_network_can_be_loaded_under_another_policy(whole):
    network = load_network(whole[0], read_card(whole[0]), "discriminator", "mixed_bfloat16")
    assert {layer.compute_dtype for layer in network.layers if layer.weights} == {"bfloat16", "float32"}
    np.testing.assert_allclose(output(network), whole[1]["discriminator"], atol=0.1)


@pytest.mark.parametrize("name", BUILD)
def test_files_are_plain_hdf5_of_two_bytes_a_parameter(whole, name):
    path = whole[0] / f"{name}.weights.h5"
    kinds = set()
    with h5py.File(path) as file:
        file.visititems(lambda _, item: kinds.add(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert kinds == {np.dtype(np.float16)}
    parameters = read_card(whole[0])["networks"][name]["parameters"]
    assert parameters == BUILD[name]().count_params()
    # Two bytes a parameter and HDF5's own book-keeping.
    assert 1 < path.stat().st_size / (2 * parameters) < 1.05


def test_float16_file_is_half_of_keras_own(whole, tmp_path):
    discriminator().save_weights(tmp_path / "plain.weights.h5")
    ratio = (whole[0] / "discriminator.weights.h5").stat().st_size / (tmp_path / "plain.weights.h5").stat().st_size
    assert ratio == pytest.approx(0.5, abs=0.02)


def test_numbers_beyond_float16_stay_as_they_are(tmp_path):
    network = discriminator(width=4)
    kernel = network.layers[1].kernel
    kernel.assign(kernel * 1e6)
    before = output(network)
    save_network(tmp_path, "discriminator", network, {})
    again = discriminator(width=4)
    again.load_weights(tmp_path / "discriminator.weights.h5")
    np.testing.assert_allclose(output(again), before, rtol=0.02, atol=0.02 * np.abs(before).max())


def test_card_says_what_the_folder_holds(whole):
    folder, _ = whole
    card = json.loads((folder / "model.json").read_text())
    assert card["format"] == "faceage-model"
    assert card["age_classes"] == ["0-18", "19-29", "30-39", "40-49", "50-59", "60+"]
    assert card["crop"]["size"] == 64
    for name, entry in card["networks"].items():
        assert entry["bytes"] == (folder / f"{name}.weights.h5").stat().st_size
        assert (entry["stage"], entry["steps"]) == (name, 7)
    assert {path.name for path in folder.iterdir()} == {"model.json", *(f"{name}.weights.h5" for name in BUILD)}


def test_fingerprint_follows_the_networks_that_draw(whole):
    card = read_card(whole[0])
    before = fingerprint(card)
    assert re.fullmatch("[0-9a-f]{64}", before)
    card["networks"]["discriminator"]["sha256"] = "other"
    card["scores"] = {"any": 1}
    assert fingerprint(card) == before
    for name in NETWORKS:
        changed = json.loads(json.dumps(card))
        changed["networks"][name]["sha256"] = "other"
        assert fingerprint(changed) != before


def test_a_re_ager_is_optional_and_decides_pictures_but_not_latents(whole, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in whole[0].iterdir():
        os.link(path, folder / path.name)
    assert load_model(folder).re_ager is None
    plain = read_card(folder)
    assert drawing_fingerprint(plain) == fingerprint(plain)
    network = re_ager()
    save_network(folder, "re_ager", network, {})
    found = load_model(folder)
    assert found.re_ager.count_params() == network.count_params()
    assert found.fingerprint == fingerprint(plain) != found.drawing_fingerprint
    (folder / "re_ager.weights.h5").unlink()
    with pytest.raises(WeightsError, match=r"re_ager\.weights\.h5 is missing"):
        load_model(folder)


def test_saving_again_replaces_the_network_and_keeps_the_rest(model):
    update_card(model, lambda card: card["scores"].update(kept=1))
    before = read_card(model)["networks"]
    save_network(model, "discriminator", discriminator(width=4), {"steps": 9})
    card = read_card(model)
    assert card["scores"] == {"kept": 1}
    assert card["networks"]["discriminator"]["steps"] == 9
    assert card["networks"]["discriminator"]["sha256"] != before["discriminator"]["sha256"]
    assert card["networks"]["recognizer"] == before["recognizer"]
    check_files(model, card, ["discriminator", "recognizer", "age_estimator"])


def test_a_stages_networks_and_scores_are_entered_beside_the_others(model, tmp_path):
    made = tmp_path / "made"
    save_network(made, "discriminator", discriminator(width=4), {"steps": 9})
    update_card(made, lambda card: card["scores"].update(gan={"frechet": 0.1}))
    update_card(model, lambda card: card["scores"].update(kept=1))
    before, names = read_card(model), {path.name for path in model.iterdir()}
    enter_networks(model, made)
    card = read_card(model)
    assert card["networks"] == {**before["networks"], "discriminator": read_card(made)["networks"]["discriminator"]}
    assert card["scores"] == {"kept": 1, "gan": {"frechet": 0.1}}
    assert {path.name for path in model.iterdir()} == names
    check_files(model, card, ["discriminator", "recognizer", "age_estimator"])


def test_networks_are_entered_in_a_folder_that_is_not_there_yet(model, tmp_path):
    source, fresh = tmp_path / "made", tmp_path / "new" / "model"
    save_network(source, "discriminator", discriminator(width=4), {"steps": 9})
    enter_networks(fresh, source)
    assert read_card(fresh)["networks"] == read_card(source)["networks"]
    check_files(fresh, read_card(fresh), ["discriminator"])
    with pytest.raises(WeightsError, match="cannot be read"):
        enter_networks(model, tmp_path / "none")


@pytest.mark.parametrize("name", BUILD)
def test_a_network_is_built_by_its_name(name):
    network = build_network(name, "mixed_bfloat16")
    assert network.name == name
    assert network.count_params() == BUILD[name]().count_params()
    assert "bfloat16" in {layer.compute_dtype for layer in network.layers if layer.weights}
    assert network.trainable_variables


def fail(card: dict) -> None:
    card["networks"] = {}
    raise KeyError("half way")


@pytest.mark.parametrize(
    ("change", "error"),
    [(fail, KeyError), (lambda card: card.update(scores=object()), TypeError)],
    ids=["raises", "no JSON"],
)
def test_a_failed_change_leaves_the_card_whole(model, change, error):
    before = (model / "model.json").read_bytes()
    names = {path.name for path in model.iterdir()}
    with pytest.raises(error):
        update_card(model, change)
    assert (model / "model.json").read_bytes() == before
    assert {path.name for path in model.iterdir()} == names


def test_a_failed_save_leaves_the_old_network(model, monkeypatch):
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    monkeypatch.setattr("faceage.model.halve", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_network(model, "discriminator", discriminator(width=4), {})
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def card_only(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    return folder


def test_the_option_goes_before_the_variable_before_the_repository(tmp_path, monkeypatch):
    option, variable, repository = (card_only(tmp_path / name) for name in ("option", "variable", "weights/first"))
    monkeypatch.setattr(model_search, "_SHIPPED", tmp_path / "weights")
    monkeypatch.setenv("FACEAGE_WEIGHTS", str(variable))
    assert find_model(option) == option
    assert find_model() == variable
    monkeypatch.setenv("FACEAGE_WEIGHTS", "")
    assert find_model() == repository
    monkeypatch.delenv("FACEAGE_WEIGHTS")
    assert find_model() == repository


def test_a_folder_that_holds_one_model_stands_for_it(tmp_path):
    only = card_only(tmp_path / "all" / "only")
    (tmp_path / "all" / "no model").mkdir()
    assert find_model(tmp_path / "all") == only
    assert find_model(only) == only


def test_several_models_are_named(tmp_path):
    for name in ("b", "a"):
        card_only(tmp_path / name)
    with pytest.raises(WeightsError, match=r"\(--weights\) holds several models: a, b$") as error:
        find_model(tmp_path)
    assert_one_sentence(error.value)


@pytest.mark.parametrize(
    ("place", "said"), [("none", "does not exist"), ("empty", "holds no model.json"), ("file", "is no folder")]
)
@pytest.mark.parametrize("by", ["--weights", "FACEAGE_WEIGHTS", "the default"])
def test_no_model_says_where_it_was_looked_for(tmp_path, monkeypatch, place, said, by):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.delenv("FACEAGE_WEIGHTS", raising=False)
    if by == "FACEAGE_WEIGHTS":
        monkeypatch.setenv(by, str(tmp_path / place))
    monkeypatch.setattr(model_search, "_SHIPPED", tmp_path / place)
    monkeypatch.setattr(model_search, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(WeightsError, match=re.escape(f"{tmp_path / place} ({by}) {said}")) as error:
        find_model(tmp_path / place if by == "--weights" else None)
    assert_one_sentence(error.value)
    assert "--weights DIR or FACEAGE_WEIGHTS" in error.value.hint


def edit_card(folder: Path, change) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


CARDS = {
    "missing": (lambda f: (f / "model.json").unlink(), "cannot be read: No such file"),
    "broken JSON": (lambda f: (f / "model.json").write_text('{"format": "faceage'), "is damaged: "),
    "no text": (lambda f: (f / "model.json").write_bytes(b"\x89HDF\xff\xfe"), "is damaged: "),
    "a list": (lambda f: (f / "model.json").write_text("[]"), "is no faceage model"),
    "other format": (lambda f: edit_card(f, lambda c: c.update(format="keras")), "is no faceage model"),
    "other version": (lambda f: edit_card(f, lambda c: c.update(version=2)), r"\(version: 2 instead of 1\)"),
    "other crop": (lambda f: edit_card(f, lambda c: c["crop"].update(size=128)), "version or geometry .crop: "),
    "other ages": (lambda f: edit_card(f, lambda c: c.update(age_classes=["0-99"])), "age_classes: "),
    "other range": (lambda f: edit_card(f, lambda c: c.update(value_range=[0, 1])), "value_range: "),
    "no size": (
        lambda f: edit_card(f, lambda c: c["networks"]["encoder"].update(bytes="9")),
        "a network has '9' bytes",
    ),
    "no networks": (lambda f: edit_card(f, lambda c: c.pop("networks")), "lists no networks"),
}


@pytest.mark.parametrize("what", CARDS)
def test_a_card_that_cannot_be_used_is_one_sentence(model, what):
    read_card(model)
    spoil, said = CARDS[what]
    spoil(model)
    with pytest.raises(WeightsError, match=said) as error:
        read_card(model)
    assert_one_sentence(error.value)
    assert str(model / "model.json") in str(error.value)


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchange(folder: Path, other: str, entered: bool = False) -> None:
    """Put another network's file in the discriminator's place, and even enter it in the card."""
    shutil.copy(folder / f"{other}.weights.h5", folder / FILE)
    if entered:
        edit_card(folder, lambda card: card["networks"].update(discriminator=card["networks"][other]))


def not_hdf5(folder: Path) -> None:
    """Text that the card describes rightly."""
    (folder / FILE).write_text("weights")
    entry = {"sha256": sha256(folder / FILE), "bytes": 7}
    edit_card(folder, lambda card: card["networks"].update(discriminator=entry))


def enter(folder: Path, change) -> None:
    """Let `change` do what it likes to the first dataset (group, name) of the file, and describe that rightly."""
    with h5py.File(folder / FILE, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        path = Path(names[0])
        group = file[str(path.parent)]
        del group[path.name]
        change(group, path.name)
    entry = {"sha256": sha256(folder / FILE), "bytes": (folder / FILE).stat().st_size}
    edit_card(folder, lambda card: card["networks"].update(discriminator=entry))


def terabyte(group, name):
    group.create_dataset(name, (2**38,), np.float32, chunks=(2**16,), compression="gzip")


def another_file(group, name):
    group[name] = h5py.ExternalLink("/etc/passwd", "weights")


def bytes_of_another_file(group, name):
    group.create_dataset(name, (4,), np.float32, external=[("/etc/passwd", 0, 16)])


def rows_of_another_file(group, name):
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("/tmp/secret.h5", "weights", (4,), np.float32)
    group.create_virtual_dataset(name, layout)


FILE = "discriminator.weights.h5"
FILES = {
    "missing": (lambda f: (f / FILE).unlink(), f"is incomplete: {FILE} is missing"),
    "truncated": (lambda f: (f / FILE).write_bytes((f / FILE).read_bytes()[:-1]), r"has \d+ bytes instead of \d+"),
    "empty": (lambda f: (f / FILE).write_bytes(b""), "has 0 bytes instead of"),
    "bit flipped": (lambda f: flip_bit(f / FILE), r"is not the file that model.json describes \(its SHA-256 differs\)"),
    "foreign": (lambda f: exchange(f, "age_estimator"), "bytes instead of"),
    "foreign, entered": (lambda f: exchange(f, "age_estimator", entered=True), "does not fit the discriminator of"),
    "no HDF5, entered": (not_hdf5, "does not fit the discriminator of"),
    "a terabyte": (lambda f: enter(f, terabyte), "does not fit the discriminator of"),
    "link": (lambda f: enter(f, another_file), "does not fit the discriminator of"),
    "external": (lambda f: enter(f, bytes_of_another_file), "does not fit the discriminator of"),
    "virtual": (lambda f: enter(f, rows_of_another_file), "does not fit the discriminator of"),
    "not entered": (lambda f: edit_card(f, lambda c: c["networks"].pop("discriminator")), "has no discriminator"),
    "no hash": (lambda f: edit_card(f, lambda c: c["networks"]["discriminator"].pop("sha256")), "has no discriminator"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_cannot_be_used_is_one_sentence(model, what):
    load_network(model, read_card(model), "discriminator")
    spoil, said = FILES[what]
    spoil(model)
    with pytest.raises(WeightsError, match=said) as error:
        load_network(model, read_card(model), "discriminator")
    assert_one_sentence(error.value)
    assert error.value.hint
    assert str(model) in str(error.value)


def test_a_narrower_network_does_not_fit(model):
    save_network(model, "discriminator", discriminator(width=8), {})
    with pytest.raises(WeightsError, match=r"discriminator.weights.h5 does not fit the discriminator of") as error:
        load_network(model, read_card(model), "discriminator")
    assert_one_sentence(error.value)


def test_an_unknown_recognizer_is_named(model):
    edit_card(model, lambda card: card["networks"]["recognizer"].update(kind="facenet"))
    with pytest.raises(WeightsError, match=r"^the model's recogniser is 'facenet'; known are ") as error:
        load_network(model, read_card(model), "recognizer")
    assert_one_sentence(error.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_without_one_of_its_networks_says_how_to_train_it(whole, tmp_path, name):
    (tmp_path / "model.json").write_bytes((whole[0] / "model.json").read_bytes())
    for other in NETWORKS:
        (tmp_path / f"{other}.weights.h5").symlink_to(whole[0] / f"{other}.weights.h5")
    check_files(tmp_path, read_card(tmp_path))
    edit_card(tmp_path, lambda card: card["networks"].pop(name))
    with pytest.raises(WeightsError, match=f"has no {name}") as error:
        load_model(tmp_path)
    stage = {"generator": "gan", "age_estimator": "age"}.get(name, name)
    assert error.value.hint == f"train it: faceage train {stage}"


def test_a_network_that_a_step_asks_for_while_it_is_compiled_is_loaded_all_the_same(whole):
    folder, answers = whole
    model = load_model(folder)
    compile_step(lambda: ops.sum(model.generator.weights[0]))()
    np.testing.assert_array_equal(output(model.generator), output(load_model(folder).generator))
    assert np.abs(output(model.generator) - answers["generator"]).max() < 0.01 * np.abs(answers["generator"]).max()
