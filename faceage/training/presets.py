"""Whole trainings by name."""

from collections.abc import Mapping

from faceage.errors import UsageError
from faceage.training.age import AgeOptions
from faceage.training.encoder import EncoderOptions
from faceage.training.gan import GANOptions
from faceage.training.identity import IdentityOptions
from faceage.training.photo import PhotoOptions
from faceage.training.recognizer import RecognizerOptions
from faceage.training.stage import StageOptions


class Best:
    """The options that work best here.

    Command: faceage train all --data utkface --people lfw10 --run RUN
    Time: three to four hours on two CPU cores with bfloat16 (AMX), and some hours more for the photo stage.
    Score: about that of the shipped weights (weights/utkface-64/README.md), whose stages were trained one by one.
    """

    recognizer, age, gan = RecognizerOptions(), AgeOptions(), GANOptions()
    encoder, identity, photo = EncoderOptions(), IdentityOptions(), PhotoOptions()


class Paper:
    """The training of Antipov, Baccouche & Dugelay (2017), as far as it is published.

    Adam at 2e-4 with beta_1 0.5, 100 epochs over the data, DCGAN losses without augmentation, gradient penalty,
    wrong-age pairs or moving average, float32; E on 100,000 generated faces. Only the optimiser of each photo uses the
    recogniser: no network is refined through it, and there is no photo stage.

    Command: faceage train all --preset paper --data imdb_wiki --run RUN
    Time: five days on two CPU cores for UTKFace's 19,000 faces; made for a GPU.
    Score: not measured here.
    """

    recognizer = RecognizerOptions(kind="inception-resnet-v2", dtype="float32", learning_rate=1e-3)
    age = AgeOptions(dtype="float32")
    gan = GANOptions(
        epochs=100,
        steps_per_epoch=0,
        beta_1=0.5,
        beta_2=0.999,
        wrong_age=0.0,
        r1=0.0,
        augment=False,
        average_decay=0.0,
        dtype="float32",
    )
    encoder = EncoderOptions(epochs=20, steps_per_epoch=1563, learning_rate=2e-4, dtype="float32")
    identity = IdentityOptions(epochs=0, head_start=0, min_accuracy=0.0)
    photo = PhotoOptions(epochs=0, dtype="float32")


PRESETS: Mapping[str, type] = {"best": Best, "paper": Paper}


def preset_options(name: str, stage: str) -> StageOptions:
    """A preset's options for one stage. Raises UsageError for an unknown preset."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", f"presets are {', '.join(PRESETS)}")
    return getattr(PRESETS[name], stage)
