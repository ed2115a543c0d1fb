"""Pictures of what was found: alpha-vectors, bounds as they close, and a way through a maze. Needs matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from solvers.epochs import EpochModel
from solvers.errors import ModelError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from solvers.episodes import Episode
    from solvers.epoch_solver import EpochSolution

_BLUE, _ORANGE, _GREY, _BLACK = "#0072B2", "#D55E00", "#8a8a8a", "#222222"
# Colours for actions that colour-blind people tell apart (Okabe and Ito), and patterns beside them.
_ACTIONS = (("#56B4E9", ""), ("#E69F00", "///"), ("#009E73", "..."), ("#CC79A7", "\\\\\\"), ("#F0E442", "xx"))
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_GRID = 401


def plot_values(*solutions: "EpochSolution", nodes: Sequence[int] = (0,), states: Sequence[str] = ("0", "1")) -> Figure:
    """Alpha-vectors, both bounds and the best action at every belief, a panel for each solution and node.

    Panels of one node share their axis. Bounds are tight where the start leads, and there alone: at the very start
    that is a single belief, which is marked.

    Parameters
    ----------
    *solutions : EpochSolution
        Of models with two hidden states.
    nodes : sequence of int
        None of them terminal.
    states : pair of str
        Names of the hidden states.

    Raises
    ------
    ModelError
        If there is no solution, a model has other than two hidden states, or a node is terminal or unknown.
    """
    if not solutions or not nodes:
        raise ModelError("a solution and a node are needed to draw")
    for solution in solutions:
        if solution.model.n_states != 2:
            raise ModelError(f"beliefs over {solution.model.n_states} hidden states cannot be drawn on a line; 2 can")
    panels = [(solution, node) for solution in solutions for node in nodes]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(5.2, 3.9 * len(panels)), 4.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=len(nodes) == 1)[0]
        ranges = []
        for axis, (solution, node) in zip(axes, panels, strict=True):
            ranges.append(_draw_values(axis, solution, node))
            axis.set(xlabel=f"P({states[1]})", xlim=(0.0, 1.0))
        for axis, (low, high) in zip(axes, ranges, strict=True):
            if len(nodes) == 1:
                low, high = min(item[0] for item in ranges), max(item[1] for item in ranges)
            axis.set_ylim(low - 0.2 * (high - low), high + 0.06 * (high - low))  # below is the band of actions
        axes[0].set_ylabel("value")
        named: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                named.setdefault(label, handle)
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4, fontsize=11)
        return figure


def _draw_values(axis: "Axes", solution: "EpochSolution", node: int) -> tuple[float, float]:
    """Draw a panel; the least and the largest value that must be seen."""
    share = np.linspace(0.0, 1.0, _GRID)
    beliefs = np.stack([1.0 - share, share], axis=1)
    best = solution.policy.action_values(node, beliefs).argmax(axis=1)  # says so if there is nothing to decide
    bounds = np.array([solution.bounds(node, belief) for belief in beliefs])
    vectors = solution.vectors(node)
    for i, vector in enumerate(vectors):
        axis.plot([0, 1], vector, color=_GREY, linewidth=0.9, label="alpha-vectors" if i == 0 else None)
    axis.fill_between(share, bounds[:, 0], bounds[:, 1], color=_ORANGE, alpha=0.15, linewidth=0)
    axis.plot(share, bounds[:, 1], "--", color=_ORANGE, linewidth=1.8, label="upper bound")
    axis.plot(share, bounds[:, 0], color=_BLUE, linewidth=2.4, label="lower bound: the largest of them")
    _draw_actions(axis, share, best, solution.model.actions)
    if node == 0:
        axis.axvline(solution.model.start[1], color=_BLACK, linewidth=1.0, linestyle=":", label="start")
    swept = f"{solution.sweeps} sweep{'s' if solution.sweeps > 1 else ''}"
    axis.set_title(f"{steps_to_go(solution.model)[node]} to go, {len(vectors)} vectors\n{swept}")
    return float(bounds.min()), float(bounds.max())


def _draw_actions(axis: "Axes", share: NDArray[np.float64], best: NDArray[np.int64], names: Sequence[str]) -> None:
    """Which action is best, as a band along the axis."""
    ends = np.flatnonzero(np.diff(best)) + 1
    for first, last in zip([0, *ends], [*ends, best.size], strict=True):
        action = int(best[first])
        colour, hatch = _ACTIONS[action % len(_ACTIONS)]
        axis.fill_between(
            [share[first], share[min(last, best.size - 1)]],
            *(0.02, 0.1),
            transform=axis.get_xaxis_transform(),
            facecolor=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=names[action],
        )


def steps_to_go(model: EpochModel) -> NDArray[np.int64]:
    """Most actions that may follow at each node, shape (N,)."""
    steps = np.zeros(model.n_nodes, np.int64)
    for node in np.flatnonzero(model.table_of >= 0)[::-1]:
        steps[node] = 1 + steps[model.children[node]].max()
    return steps


def plot_rounds(*solutions: "EpochSolution", names: Sequence[str] = ()) -> Figure:
    """How the bounds at the start closed, sweep by sweep, and what remained open; a row for each solution.

    Parameters
    ----------
    *solutions : EpochSolution
    names : sequence of str
        One a solution, for the titles.

    Raises
    ------
    ModelError
        If there is no solution, or names are given for some of them only.
    """
    if not solutions or (names and len(names) != len(solutions)):
        raise ModelError(f"{len(solutions)} solutions and {len(names)} names; a name each is needed, and a solution")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 3.3 * len(solutions)), layout="constrained")
        axes = figure.subplots(len(solutions), 2, squeeze=False)
        for row, solution, name in zip(axes, solutions, names or ("",) * len(solutions), strict=True):
            low, high, points = (np.array(column) for column in zip(*solution.rounds, strict=True))
            sweep = np.arange(1, low.size + 1)
            row[0].fill_between(sweep, low, high, color=_GREY, alpha=0.25, linewidth=0)
            row[0].plot(sweep, high, "v--", color=_ORANGE, label="upper bound")
            row[0].plot(sweep, low, "^-", color=_BLUE, label="lower bound")
            row[0].set(title=f"{name + ': ' if name else ''}value at the start", xlabel="sweep")
            row[0].legend()
            # A gap of zero has no place on a logarithmic axis: its point is left out, and the title has it.
            gap = high - low
            row[1].plot(sweep, np.where(gap > 0.0, gap, np.nan), "o-", color=_BLACK)
            title = f"gap: {gap[-1]:.1g} in the end, {points[0]} to {points[-1]} points"
            row[1].set(yscale="log", title=title, xlabel="sweep")
            for axis in row:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        return figure


def plot_way(rows: Sequence[str], episode: "Episode") -> Figure:
    """The map of a `solvers.examples.maze`, and the way that an episode took, its steps numbered.

    Parameters
    ----------
    rows : sequence of str
        The map.
    episode : Episode
        In that maze.
    """
    cells = [name.partition("/")[0] for name in (episode.pomdp.states[s] for s in episode.state)]
    way = [tuple(int(part) for part in cell.split(",")) for cell in cells if cell != "over"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(0.95 * len(rows[0]) + 0.4, 0.95 * len(rows) + 0.8), layout="constrained")
        axis = figure.subplots()
        for r, row in enumerate(rows):
            for c, kind in enumerate(row):
                wall = kind == "#"
                axis.fill(
                    [c, c + 1, c + 1, c], [r, r, r + 1, r + 1],
                    facecolor="#777777" if wall else "white", edgecolor=_BLACK, linewidth=0.8,
                )  # fmt: skip
                if not wall and kind != ".":
                    axis.text(c + 0.06, r + 0.06, kind, va="top", fontsize=15, color=_BLACK)
        # Visits to a cell stand beside one another, so that a way back hides nothing.
        for t, (r, c) in enumerate(way):
            before = way[:t].count((r, c))
            x, y = c + 0.28 + 0.22 * (before % 3), r + 0.55 + 0.26 * (before // 3)
            axis.text(x, y, str(t), color=_BLUE, fontsize=12, ha="center", va="center")
        axis.set(
            xlim=(-0.02, len(rows[0]) + 0.02), ylim=(len(rows) + 0.02, -0.02), aspect="equal", xticks=[], yticks=[]
        )
        axis.set_title("numbers: actions taken before")
        for side in axis.spines.values():
            side.set_visible(False)
        return figure
