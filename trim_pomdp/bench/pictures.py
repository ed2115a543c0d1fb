"""The result of a bench as a picture: accuracy against budget, a line a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl

from trim_pomdp.metrics.standings import BenchResult, Standing
from trim_pomdp.planning.plots import GREY, STYLE, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (
    "#1f5fa8", "#d9720b", "#2a8a4a", "#b3282d", "#7a4fa3", "#0f8b8d", "#c2378f", "#8a6d1d", "#4d6a8a", "#5a5a5a",
)  # fmt: skip
_LINES = ("-", "--", "-.", ":")


def plot_bench(results: Sequence[BenchResult], *, strategies: Sequence[str] | None = None) -> Figure:
    """Accuracy against budget of every strategy with a frontier, one panel for each result.

    Bars are standard errors of accuracy, the grey line draws one of the models for each problem, and a cross is the
    oracle on the true class. Our plans are drawn thicker.

    Parameters
    ----------
    results : sequence of BenchResult
    strategies : sequence of str or None
        Which, in what order; None for all.
    """
    columns = min(len(results), 2)
    rows = -(-len(results) // columns)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(7.6 * columns + 2.6, 6.4 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        shown = list(strategies or _curves(results))
        for axis, result in zip(axes, results, strict=False):
            _panel(axis, result, shown)
        for axis in axes[len(results) :]:
            axis.set_visible(False)
        found = [axis.get_legend_handles_labels() for axis in axes]
        handles = {label: handle for some in found for handle, label in zip(*some, strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize="small", labelspacing=0.35)
    return figure


def _curves(results: Sequence[BenchResult]) -> list[str]:
    return list(dict.fromkeys(n for result in results for n, item in result.strategies.items() if item.has_curve))


def _panel(axis: Axes, result: BenchResult, shown: Sequence[str]) -> None:
    for index, name in enumerate(shown):
        if name in result.strategies:
            _curve(axis, name, result.strategies[name], index)
    axis.plot([0.0, 1.0], [result.weak, result.strong], color=GREY, linewidth=1.2, label="one model a problem")
    if (oracle := result.strategies.get("oracle")) is not None:
        point = oracle.points[0]
        axis.plot(point.budget, point.accuracy, "X", color="black", markersize=10, label="oracle")
    axis.set(
        title=f"{result.name}: {result.problems} problems",
        xlabel="strong tokens ÷ strong-only's",
        ylabel="accuracy",
        xlim=(0.0, 1.02),
    )


def _curve(axis: Axes, name: str, item: Standing, index: int) -> None:
    points = sorted(item.points, key=lambda point: point.budget)
    axis.errorbar(
        [point.budget for point in points],
        [point.accuracy for point in points],
        yerr=[point.accuracy_se for point in points],
        color=_COLOURS[index % len(_COLOURS)],
        linestyle=_LINES[index // len(_COLOURS) % len(_LINES)],
        marker="o",
        markersize=4,
        elinewidth=0.8,
        linewidth=2.8 if name.startswith("pomdp") else 1.4,
        label=name,
    )
