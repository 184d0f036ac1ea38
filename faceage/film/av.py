"""PyAV, the extra "video"."""

from typing import Any

from faceage.errors import import_extra


def import_av() -> Any:
    """PyAV. Raises MissingExtraError where it is not installed."""
    return import_extra("av", "video", "clips are read with PyAV, which is not installed")
