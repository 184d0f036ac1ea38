"""The networks by their names."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from faceage.errors import WeightsError

if TYPE_CHECKING:
    import keras


def build_network(name: str, dtype: str = "float32", kind: str = "compact") -> "keras.Model":
    """Network `name` with random weights, under the Keras dtype policy `dtype`; `kind` is the recogniser's."""
    # Keras takes seconds to import; reading a card must not wait for it.
    from faceage.backend import fix_settings
    from faceage.networks.age_estimator import age_estimator
    from faceage.networks.discriminator import discriminator
    from faceage.networks.encoder import encoder
    from faceage.networks.generator import generator
    from faceage.networks.re_ager import re_ager
    from faceage.networks.recognizer import RECOGNIZERS, recognizer

    # Whoever imported this may have changed them since.
    fix_settings()
    if name == "recognizer" and kind not in RECOGNIZERS:
        raise WeightsError(f"the model's recogniser is {kind!r}; known are {', '.join(RECOGNIZERS)}")
    builders: dict[str, Callable[[str], keras.Model]] = {
        "generator": generator,
        "encoder": encoder,
        "discriminator": discriminator,
        "age_estimator": age_estimator,
        "re_ager": re_ager,
        "recognizer": lambda dtype: recognizer(kind, dtype),
    }
    return builders[name](dtype)
