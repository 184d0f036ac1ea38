"""`--set key=value`: a stage's options from text, each checked against the field it names."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import keras

from faceage.errors import UsageError
from faceage.training.stage import StageOptions

Options = TypeVar("Options", bound=StageOptions)

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def changed(options: Options, settings: Sequence[str], stage: str) -> Options:
    """`options` with every "key=value" of `settings`. Raises UsageError for a key that the stage does not have."""
    known = {field.name: type(getattr(options, field.name)) for field in fields(options)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} is not KEY=VALUE", f"for example --set seed={options.seed}")
        if key not in known:
            raise UsageError(f"the {stage} stage has no option {key!r}", f"it has {', '.join(known)}")
        values[key] = _parsed(text, known[key], key)
    chosen = replace(options, **values)
    if chosen.batch_size < 2:
        raise UsageError(f"--set batch_size={chosen.batch_size}: a batch holds 2 faces or more")
    if chosen.seed >= 2**32:
        raise UsageError(f"--set seed={chosen.seed}: a seed lies under 2³²")
    try:
        keras.DTypePolicy(chosen.dtype)
    except ValueError as error:
        policies = "float32, mixed_bfloat16 and mixed_float16"
        raise UsageError(f"--set dtype={chosen.dtype}: Keras knows {policies}, among others") from error
    return chosen


def _parsed(text: str, kind: type, key: str) -> Any:
    try:
        if kind is bool:
            return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[text.lower()]
        value = kind(text)
    except (ValueError, KeyError) as error:
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
        raise UsageError(f"--set {key}={text}: {key} is {wanted}") from error
    if kind in (int, float) and not 0 <= value < float("inf"):
        raise UsageError(f"--set {key}={text}: {key} cannot be negative or infinite")
    return value
