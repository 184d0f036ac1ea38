"""What a shell completes the values of options with."""

from faceage.ages import AGE_CLASSES


def complete_ages(incomplete: str) -> list[str]:
    """The classes that the last age of a list may become: "25,60+" and five more for "25,6"."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{label}" for label in AGE_CLASSES]


def complete_models() -> list[str]:
    """Names of models; where none begins as what is typed, the shell completes folders."""
    from faceage.model_search import models_by_name

    return sorted(models_by_name())
