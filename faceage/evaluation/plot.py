"""Plots of measured shares, as PNG files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceage.errors import import_extra
from faceage.evaluation.interval import Share
from faceage.files import written_whole


def plot_shares(groups: Mapping[str, Mapping[str, Share]], path: Path) -> None:
    """One panel of bars per group, each bar with its 95% interval. Raises MissingExtraError without matplotlib."""
    figure = _figure(4 * len(groups))
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
    _save(figure, path)


def plot_trade_off(points: Mapping[str, tuple[Share, Share]], path: Path) -> None:
    """A line through named points (share taken for the person, share of the age), with their 95% intervals.

    Raises MissingExtraError without matplotlib.
    """
    figure = _figure(5)
    axes = figure.add_subplot()
    kept, hit = ([shares[i] for shares in points.values()] for i in range(2))
    sides = [
        [[share.value - share.low for share in shares], [share.high - share.value for share in shares]]
        for shares in (hit, kept)
    ]
    x, y = ([share.value for share in shares] for shares in (hit, kept))
    axes.errorbar(x, y, sides[1], sides[0], fmt="o-", capsize=3, color="#4878a8")
    for name, at in zip(points, zip(x, y, strict=True), strict=True):
        axes.annotate(name, at, xytext=(6, 6), textcoords="offset points", fontsize=8)
    axes.set_xlabel("looks the age asked for", fontsize=9)
    axes.set_ylabel("taken for the person", fontsize=9)
    axes.grid(alpha=0.3)
    _save(figure, path)


def check_plots() -> None:
    """Raise MissingExtraError without matplotlib: to be asked before the work whose outcome is plotted."""
    import_extra("matplotlib.figure", "judge", "a plot needs matplotlib")


def _figure(width: float) -> Any:
    check_plots()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.2), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
