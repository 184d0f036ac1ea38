"""The networks by their names, which are those of their modules and of the functions in them."""

from importlib import import_module
from typing import TYPE_CHECKING

from faceage.errors import WeightsError

if TYPE_CHECKING:
    import keras


def build_network(name: str, dtype: str = "float32", kind: str = "compact") -> "keras.Model":
    """Network `name` with random weights, under the Keras dtype policy `dtype`; `kind` is the recogniser's."""
    # Keras takes seconds to import; reading a card must not wait for it.
    build = getattr(import_module(f"faceage.networks.{name}"), name)
    if name != "recognizer":
        return build(dtype)
    from faceage.networks.recognizer import RECOGNIZERS

    if kind not in RECOGNIZERS:
        raise WeightsError(f"the model's recogniser is {kind!r}; known are {', '.join(RECOGNIZERS)}")
    return build(kind, dtype)
