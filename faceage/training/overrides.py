"""`--set key=value`: options of a stage from text, each checked against its field."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from faceage.errors import UsageError, did_you_mean
from faceage.training.stage import DTYPES, StageOptions

Options = TypeVar("Options", bound=StageOptions)

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def overridden(options: Options, overrides: Sequence[str], stage: str) -> Options:
    """`options` with every "key=value" of `overrides`. Raises UsageError for a key that the stage does not have."""
    known = {field.name: type(getattr(options, field.name)) for field in fields(options)}
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override!r} is not KEY=VALUE", f"for example --set seed={options.seed}")
        if key not in known:
            raise UsageError(
                f"the {stage} stage has no option {key!r}", did_you_mean(key, known) + f"it has {', '.join(known)}"
            )
        values[key] = _parsed(text, known[key], key)
    result = replace(options, **values)
    if result.batch_size < 2:
        raise UsageError(f"--set batch_size={result.batch_size}: a batch holds 2 faces or more")
    if result.seed >= 2**32:
        raise UsageError(f"--set seed={result.seed}: a seed is less than 2³²")
    if result.dtype not in DTYPES:
        # float16 needs its losses scaled, which no stage does.
        raise UsageError(f"--set dtype={result.dtype} cannot be trained with", f"dtypes are {', '.join(DTYPES)}")
    return result


def _parsed(text: str, kind: type, key: str) -> Any:
    try:
        if kind is bool:
            return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[text.lower()]
        value = kind(text)
    except (ValueError, KeyError) as error:
        expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
        raise UsageError(f"--set {key}={text}: {key} is {expected}") from error
    if kind in (int, float) and not 0 <= value < float("inf"):
        raise UsageError(f"--set {key}={text}: {key} cannot be negative or infinite")
    return value
