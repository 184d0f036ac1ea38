"""Plots of measured shares, as PNG files."""

from collections.abc import Mapping
from pathlib import Path

from faceage.errors import MissingExtraError
from faceage.evaluation.interval import Share
from faceage.images import written_whole


def plot_shares(groups: Mapping[str, Mapping[str, Share]], path: Path) -> None:
    """One panel of bars per group, each bar with its 95% interval. Raises MissingExtraError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("a plot needs matplotlib", "pip install 'faceage[judge]'") from error
    figure = Figure(figsize=(4 * len(groups), 3.2), layout="constrained")
    for i, (title, shares) in enumerate(groups.items()):
        axes = figure.add_subplot(1, len(groups), i + 1)
        values = [share.value for share in shares.values()]
        below = [share.value - share.low for share in shares.values()]
        above = [share.high - share.value for share in shares.values()]
        axes.bar(range(len(values)), values, yerr=[below, above], capsize=3, color="#4878a8")
        axes.set_xticks(range(len(values)), list(shares), rotation=45, ha="right", fontsize=8)
        axes.set_ylim(0, 1)
        axes.set_title(title, fontsize=9)
        axes.grid(axis="y", alpha=0.3)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
