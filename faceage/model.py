"""A model folder: check every byte of it, and only then load it. No pickle, no code, HDF5 numbers alone.

model.json                what it is: networks and their hashes, crop geometry, provenance, measured scores
<network>.weights.h5      Keras weights, float16 on disk
"""

import functools
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceage.ages import AGE_CLASSES
from faceage.errors import UsageError, WeightsError
from faceage.faces.align import TEMPLATE
from faceage.files import find_room, write_text, written_whole
from faceage.model_search import CARD, find_model
from faceage.networks.build import build_network
from faceage.sizes import FACE_SIZE
from faceage.store.hashes import remembered_sha256
from faceage.store.weights import check_contents, halve, sha256

if TYPE_CHECKING:
    import keras

FORMAT = "faceage-model"
VERSION = 1
NETWORKS = ("generator", "encoder", "recognizer", "age_estimator")
"""What finds people, and draws them at 64 pixels: every complete model has them."""
OPTIONAL = ("re_ager", "gender")
"""What draws photographs, and people whose gender is said. A model in training may also hold its discriminator."""

MIN_ACCURACY = 0.8
"""Recognisers below this balanced same/different accuracy, on people they were not trained on, are refused."""


def _network(name: str) -> functools.cached_property[Any]:
    """A model's network of that name, loaded when it is first used; None where it has no such `OPTIONAL` one."""

    def load(model: "Model") -> "keras.Model | None":
        from faceage.backend import outside_graphs

        if name in OPTIONAL and name not in model.card["networks"]:
            return None
        # A step that is being compiled may be the first to ask for it.
        with outside_graphs():
            return _load_checked(model.folder, model.card, name, model.dtype)

    return functools.cached_property(load)


@dataclass(frozen=True)
class Model:
    """A model folder whose files are checked, and its `card` (model.json).

    Its networks are ready for inference under the Keras dtype policy `dtype`; each is loaded when it is first used,
    which raises WeightsError where it does not fit. Those of `OPTIONAL` may be None.
    """

    folder: Path
    card: dict[str, Any]
    dtype: str = "float32"

    generator = _network("generator")
    encoder = _network("encoder")
    recognizer = _network("recognizer")
    age_estimator = _network("age_estimator")
    re_ager = _network("re_ager")
    gender = _network("gender")

    @functools.cached_property
    def person_generator(self) -> "keras.Model":
        """G for people: it takes the offset that the optimiser finds for each of them as a third input."""
        from faceage.networks.generator import with_offset

        return with_offset(self.generator)

    @functools.cached_property
    def fast(self) -> "Model":
        """The same networks in the type that this machine multiplies fastest: for many steps, and for what the re-ager
        adds to a photo, which is small; not for what the generator draws.
        """
        from faceage.backend import fastest_dtype

        dtype = fastest_dtype()
        return self if dtype == self.dtype else replace(self, dtype=dtype)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.card)

    @property
    def drawing_fingerprint(self) -> str:
        return drawing_fingerprint(self.card)


def fingerprint(card: dict[str, Any]) -> str:
    """One SHA-256 for the networks that decide latents."""
    return _fingerprint(card, NETWORKS)


def drawing_fingerprint(card: dict[str, Any]) -> str:
    """One SHA-256 for the networks that decide pictures: those that decide latents, and the optional ones."""
    return _fingerprint(card, inference_networks(card))


def inference_networks(card: dict[str, Any]) -> tuple[str, ...]:
    """The networks that people are found and drawn with by a model with this card."""
    return (*NETWORKS, *(name for name in OPTIONAL if name in card["networks"]))


def _fingerprint(card: dict[str, Any], names: Iterable[str]) -> str:
    hashes = {name: card["networks"][name]["sha256"] for name in names}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def read_card(folder: Path) -> dict[str, Any]:
    """The checked contents of a folder's model.json. Raises WeightsError for one this version cannot use."""
    path = folder / CARD
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    return parse_card(content, str(path))


def parse_card(content: bytes, path: str) -> dict[str, Any]:
    """The checked `content` of the model.json that lies at `path`. Raises WeightsError as `read_card` does."""
    try:
        card = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise WeightsError(f"{path} is no faceage model")
    expected = _contract()
    for key, value in expected.items():
        if card.get(key) != value:
            raise WeightsError(
                f"{path} is a model for another version or geometry ({key}: {card.get(key)!r} instead of {value!r})",
                "take the weights that belong to this version of faceage",
            )
    if not isinstance(card.get("networks"), dict):
        raise WeightsError(f"{path} is damaged: it lists no networks")
    for entry in card["networks"].values():
        if isinstance(entry, dict) and not isinstance(entry.get("bytes", 0), int):
            raise WeightsError(f"{path} is damaged: a network has {entry['bytes']!r} bytes")
    if not isinstance(card.get("scores"), dict):
        raise WeightsError(f"{path} is damaged: it holds no scores")
    return card


def check_entry(card: dict[str, Any], name: str, place: object) -> dict[str, Any]:
    """What the card of the model at `place` says of network `name`. Raises WeightsError where it has none."""
    entry = card["networks"].get(name)
    if not isinstance(entry, dict) or not {"sha256", "bytes"} <= entry.keys():
        raise WeightsError(f"the model in {place} has no {name}", f"train it: faceage train {_STAGE[name]}")
    return entry


def check_files(
    folder: Path, card: dict[str, Any], names: Iterable[str] | None = None, hashed: Callable[[Path], str] = sha256
) -> None:
    """Compare the file of each of `names`, by default all of `inference_networks`, with model.json.

    `hashed` gives a file's SHA-256. Raises WeightsError naming the first that differs.
    """
    for name in inference_networks(card) if names is None else names:
        entry = check_entry(card, name, folder)
        path = folder / f"{name}.weights.h5"
        if not path.is_file():
            raise WeightsError(f"the model in {folder} is incomplete: {path.name} is missing", _FETCH_AGAIN)
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise WeightsError(f"{path} has {size} bytes instead of {entry['bytes']}", _FETCH_AGAIN)
        if hashed(path) != entry["sha256"]:
            raise WeightsError(f"{path} is not the file that {CARD} describes (its SHA-256 differs)", _FETCH_AGAIN)


def same_person_below(card: dict[str, Any]) -> float | None:
    """The identity distance below which a model's recogniser takes two faces for one person; None if not measured."""
    return card["scores"].get("recognizer", {}).get("same_different", {}).get("threshold")


def check_recognizer(scores: Mapping[str, Any], min_accuracy: float, hint: str) -> None:
    """Raise UsageError, with `hint`, unless a model's `scores` say that its recogniser tells people apart.

    What is optimised through one that does not looks better to it with each step, and like the person to nobody.
    """
    found = scores.get("recognizer", {}).get("same_different")
    if min_accuracy <= 0 or (found and found["balanced_accuracy"] >= min_accuracy):
        return
    if found:
        said = f"tells same from different people with {found['balanced_accuracy']:.1%} balanced accuracy"
    else:
        said = "was not measured on people: nobody knows whether it knows anybody again"
    raise UsageError(f"the recogniser {said}; identity asks for {min_accuracy:.0%}", hint)


_FETCH_AGAIN = "fetch the model again, or name another with --weights DIR"
_STAGE = {
    "generator": "gan",
    "discriminator": "gan",
    "encoder": "encoder",
    "recognizer": "recognizer",
    "age_estimator": "age",
    "re_ager": "photo",
    "gender": "identity",
}
KNOWN_NETWORKS = frozenset(_STAGE)
"""Every network that a model may hold."""


def open_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder whose files are whole. Raises WeightsError."""
    card = read_card(folder)
    check_files(folder, card, hashed=remembered_sha256)
    return card


def load_model(folder: str | os.PathLike[str] | None = None, dtype: str = "float32") -> Model:
    """Check the files of a model folder; its networks will be under the Keras dtype policy `dtype`.

    Without a folder it is the one that `find_model` finds. Raises WeightsError.
    """
    folder = find_model() if folder is None else Path(folder)
    return Model(folder, open_card(folder), dtype)


def load_network(folder: Path, card: dict[str, Any], name: str, dtype: str = "float32") -> "keras.Model":
    """Build network `name` as `card` describes it, under the Keras dtype policy `dtype`, and fill in its weights."""
    check_files(folder, card, [name])
    return _load_checked(folder, card, name, dtype)


def _load_checked(folder: Path, card: dict[str, Any], name: str, dtype: str) -> "keras.Model":
    path = folder / f"{name}.weights.h5"
    network = build_network(name, dtype, card["networks"][name].get("kind", "compact"))
    try:
        check_contents(path, network.count_params())
        with warnings.catch_warnings():
            # One for each layer of a file that does not fit.
            warnings.simplefilter("ignore", UserWarning)
            network.load_weights(path)
    except Exception as error:
        # Keras reports a foreign layout as ValueError, KeyError, OSError or TypeError, over many lines.
        raise WeightsError(f"{path} does not fit the {name} of this version of faceage", _FETCH_AGAIN) from error
    network.trainable = False
    return network


def save_network(folder: Path, name: str, network: "keras.Model", provenance: dict[str, Any]) -> None:
    """Write `network` into the model folder, in float16, and enter it with its `provenance` in model.json.

    `provenance` may hold "kind" (which builder) besides whatever explains the training: data, seed, steps, options.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / f"{name}.weights.h5") as partial:
        find_room(partial, 65_536 + 4 * network.count_params())
        network.save_weights(partial)
        halve(partial)
        entry = {"sha256": sha256(partial), "bytes": partial.stat().st_size, "parameters": network.count_params()}

    def enter(card: dict[str, Any]) -> None:
        card["networks"][name] = {**entry, **provenance}

    update_card(folder, enter)


def enter_networks(folder: Path, source: Path) -> None:
    """Copy every network of the model folder `source`, and what it says of them, into the model folder `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    card = read_card(source)
    for name in card["networks"]:
        with written_whole(folder / f"{name}.weights.h5") as partial:
            shutil.copyfile(source / f"{name}.weights.h5", partial)

    def enter(target: dict[str, Any]) -> None:
        target["networks"].update(card["networks"])
        target["scores"].update(card["scores"])

    update_card(folder, enter)


def update_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a folder's model.json, or begin one, let `change` edit it, and write it back whole."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CARD
    card = read_card(folder) if path.exists() else {"format": FORMAT, **_contract(), "networks": {}, "scores": {}}
    change(card)
    write_text(path, json.dumps(card, indent=2) + "\n")


def _contract() -> dict[str, Any]:
    """What code and weights must agree on before a number is loaded."""
    return {
        "version": VERSION,
        "age_classes": list(AGE_CLASSES),
        "crop": {"size": FACE_SIZE, "landmarks": TEMPLATE.tolist()},
        "value_range": [-1, 1],
    }
