"""Where models are: those that come along, those in the user's cache, and what --weights or $FACEAGE_WEIGHTS names."""

import os
from pathlib import Path

from faceage.errors import WeightsError, did_you_mean
from faceage.files import user_cache

CARD = "model.json"
"""A folder that holds one is a model."""

VARIABLE = "FACEAGE_WEIGHTS"

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "weights" if (_PACKAGE / "weights").is_dir() else _PACKAGE.parent / "weights"
"""The weights lie in the package where it was installed, and beside it in a clone."""


def cache_folder() -> Path:
    """Where `faceage weights pull` puts models: in the user's cache, each in a folder of its name."""
    return user_cache() / "weights"


def search_path(option: Path | None = None) -> list[tuple[Path, str]]:
    """Where a model is looked for, and what to call that: `option`, else $FACEAGE_WEIGHTS, else the defaults.

    These are the models that come along and the user's cache. What is no path may be a name of `models_by_name`.
    """
    said = "--weights"
    if option is None and os.environ.get(VARIABLE):
        option, said = Path(os.environ[VARIABLE]), VARIABLE
    if option is None:
        return [(_SHIPPED, "the default"), (cache_folder(), "the user's cache")]
    return [(option if option.exists() else models_by_name().get(str(option), option), said)]


def models_in(place: Path) -> list[Path]:
    """The model folders that a place of the search path is or holds, by name."""
    if (place / CARD).is_file():
        return [place]
    return sorted(path.parent for path in place.glob(f"[!.]*/{CARD}")) if place.is_dir() else []


def models_by_name() -> dict[str, Path]:
    """The folders of the models that --weights may name; one in the user's cache goes first."""
    return {model.name: model for place in (_SHIPPED, cache_folder()) for model in models_in(place)}


def find_model(option: Path | None = None) -> Path:
    """The model folder in the first place of the `search_path` that is one or holds exactly one.

    Raises WeightsError where a place holds several, or none of them any.
    """
    places = search_path(option)
    place, said, models = next(
        ((place, said, models) for place, said in places if (models := models_in(place))), (*places[0], [])
    )
    if len(models) == 1:
        return models[0]
    hint = f"name a folder that holds a {CARD} with --weights DIR or {VARIABLE}, or fetch one: faceage weights pull"
    if models:
        raise WeightsError(f"{place} ({said}) holds several models: {', '.join(m.name for m in models)}", hint)
    hint = did_you_mean(place.name, models_by_name()) + hint
    what = f"holds no {CARD}" if place.is_dir() else "is no folder" if place.exists() else "does not exist"
    raise WeightsError(f"no model found: {place} ({said}) {what}", hint)
