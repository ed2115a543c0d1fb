"""Pictures made for reading: labelled axes, units, legible at half size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trim_pomdp.artifacts import write_bytes
from trim_pomdp.model.belief import GOES_ON, OVER, RIGHT, class_prior, next_q, update
from trim_pomdp.model.observations import StepEmission, transferred
from trim_pomdp.policies import AlphaVectorRule, PlannedPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trim_pomdp.model.dynamics import StepDynamics
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.planning.frontier import Frontier

FloatArray = NDArray[np.float64]
BLUE, ORANGE, GREY, GREEN, RED = "#1f5fa8", "#d9720b", "#6b6b6b", "#2a8a4a", "#b3282d"
_STYLE: dict[Any, Any] = {
    "font.size": 14,
    "axes.titlesize": 15,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
}
_DISPLAY_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 130) -> Path:
    """Write a figure as PNG, whole or not at all."""
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return write_bytes(path, buffer.getvalue())


def _figure(columns: int = 1, *, width: float = 8.4, height: float = 5.6) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def measured_points(dynamics: StepDynamics) -> tuple[FloatArray, FloatArray] | None:
    """Budget and accuracy of the measured thresholds kept in a fit's checks, or None."""
    if dynamics.fit is None or dynamics.strong_only_tokens is None:
        return None
    rows: dict[float, dict[str, float]] = {}
    for check in dynamics.fit.checks:
        if check.threshold is not None:
            rows.setdefault(check.threshold, {})[check.quantity] = check.observed
    points = [
        (row.get("strong tokens", 0.0) / dynamics.strong_only_tokens, row["accuracy"])
        for threshold, row in sorted(rows.items())
        if "accuracy" in row and ("strong tokens" in row or threshold == 0)
    ]
    if len(points) < 2:
        return None
    budget, accuracy = np.array(points).T
    return budget, accuracy


def plot_frontier(frontier: Frontier, thresholds: Sequence[PlannedPoint], dynamics: StepDynamics) -> Figure:
    """Planned frontier, the threshold rule in the same model, and measured points where the fit kept them."""
    with mpl.rc_context(_STYLE):
        figure, (axis,) = _figure()
        points = [frontier.weak_only, *(item.point for item in frontier.points)]
        axis.plot([p.budget for p in points], [p.accuracy for p in points], color=BLUE, label="planned (every budget)")
        if thresholds:
            axis.plot(
                [p.budget for p in thresholds],
                [p.accuracy for p in thresholds],
                "o--",
                color=ORANGE,
                markersize=5,
                linewidth=1.6,
                label="threshold rule, same model",
            )
        measured = measured_points(dynamics)
        if measured is not None:
            axis.plot(
                *measured, "D", color=GREY, markersize=6, markerfacecolor="white", label="threshold rule, measured"
            )
        axis.axhline(frontier.strong_only.accuracy, color=GREEN, linewidth=1.2, linestyle=":")
        axis.annotate(
            f"strong-only {frontier.strong_only.accuracy:.3f}",
            (0.965, frontier.strong_only.accuracy),
            ha="right",
            va="bottom",
            color=GREEN,
        )
        axis.annotate(
            f"weak-only {frontier.weak_only.accuracy:.3f}",
            (0.012, frontier.weak_only.accuracy),
            ha="left",
            va="top",
            color=GREY,
        )
        axis.set(
            xlabel=f"budget: strong tokens per problem ÷ {frontier.strong_only.strong_tokens:.0f} (strong-only)",
            ylabel="accuracy",
            title=dynamics.name,
            xlim=(-0.01, 1.02),
        )
        axis.legend(loc="lower right")
        return figure


def plot_densities(model: RoutingModel) -> Figure:
    """Score distributions of right and first wrong steps, and what a threshold does to this weak model's steps."""
    step, dynamics = model.observations.step_emission, model.dynamics
    moved = transferred(
        step.table,
        look_right=dynamics.look_right,
        false_alarms=dynamics.false_alarms,
        misses=dynamics.misses,
        labelled=dynamics.derailed_emission == "labelled",
    )
    shown = ((0, BLUE, "right step"), (2, RED, "first wrong step"))
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(2, width=12.5)
        below = np.stack([step.share_below(k) for k in _DISPLAY_EDGES[:-1]] + [np.ones(step.size)])
        below[-1, -1] = 0.0  # the atom at exactly 1 has a bar of its own
        names = [f"{low:g}–{high:g}" for low, high in itertools.pairwise(_DISPLAY_EDGES)]
        place = np.arange(len(names) + 1)
        for (row, color, label), shift in zip(shown, (-0.2, 0.2), strict=True):
            mass = np.append(np.diff(below @ step.table[row]), step.table[row, -1])
            axes[0].bar(place + shift, mass, width=0.4, color=color, label=label)
            axes[1].plot(*_distribution(step, step.table[row]), color=color, linestyle=":", linewidth=1.6)
            axes[1].plot(*_distribution(step, moved[row]), color=color, label=f"{label}, this weak model")
        axes[0].set_xticks(place, [*names, "exactly 1"], rotation=45, ha="right", fontsize=12)
        axes[0].set(xlabel="PRM score", ylabel="share of steps", title="Scores as labelled (before transfer)")
        axes[0].grid(axis="x", visible=False)
        axes[1].plot([], [], color=GREY, linestyle=":", linewidth=1.6, label="before transfer")
        axes[1].set(
            xlabel="threshold k",
            ylabel="share of steps with score < k",
            title="What a threshold regenerates",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        axes[0].legend(loc="upper center", fontsize=13)
        axes[1].legend(loc="upper left", fontsize=12)
        return figure


def _distribution(step: StepEmission, row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Thresholds and P(score < threshold), for scores below 1."""
    return np.array(step.score_edges), np.concatenate([[0.0], np.cumsum(row)[:-1]])


def gains(rule: AlphaVectorRule, step: int, q: FloatArray, *, ended: bool = False) -> tuple[FloatArray, FloatArray]:
    """Gain of intervening and its price, for beliefs q and every observation bin.

    Parameters
    ----------
    step : int
        Step index from 0.
    q : ndarray of shape (n,)
        Probability that the prefix is right.

    Returns
    -------
    gain, price : ndarray of shape (n, J)
    """
    tables = rule.tables
    belief = update(class_prior(q, tables.success[step])[:, None, :], rule.emission.T[None])
    end = tables.end[step]
    belief = update(belief, end if ended else 1.0 - end)
    vectors = tables.vectors[tables.offset[step] : tables.offset[step + 1]]

    def value(outcomes: FloatArray) -> FloatArray:
        prefix = np.tensordot(belief, outcomes, axes=1)  # over, right or derailed
        follows = (vectors[:, 0] + next_q(belief, outcomes, over=False)[..., None] * vectors[:, 1]).max(axis=-1)
        return np.asarray(rule.reward * prefix[..., OVER, RIGHT] + prefix[..., GOES_ON, :].sum(axis=-1) * follows)

    kept, redone = map(value, tables.after[step, int(ended)])
    return redone - kept, belief @ tables.price


def plot_policy_map(rule: AlphaVectorRule, steps: Sequence[int] = (1, 3, 7)) -> Figure:
    """Where the policy intervenes, over (q, score), at a few steps: gain minus price, zero line drawn."""
    if rule.score_edges is None:
        raise ValueError("a policy map needs bins of the score")
    steps = [step for step in steps if step < rule.max_steps - 1] or [0]
    edges = np.array(rule.score_edges)
    centres = np.append(0.5 * (edges[:-1] + edges[1:]), 1.0)
    q = np.linspace(0.0, 1.0, 201)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(len(steps), width=13.5, height=5.2)
        surfaces = [np.subtract(*gains(rule, step, q)) for step in steps]
        limit = max(float(np.abs(surface).max()) for surface in surfaces)
        for axis, step, surface in zip(axes, steps, surfaces, strict=True):
            mesh = axis.pcolormesh(q, centres, surface.T, cmap="RdBu", vmin=-limit, vmax=limit, rasterized=True)
            axis.contour(q, centres, surface.T, levels=[0.0], colors="black", linewidths=1.8)
            axis.set(xlabel="q: P(prefix is right)", title=f"step {step + 1}", xlim=(0, 1), ylim=(0, 1))
            axis.grid(visible=False)
        axes[0].set_ylabel("PRM score of the step")
        bar = figure.colorbar(mesh, ax=axes, pad=0.01)
        bar.set_label(f"gain − price (reward {rule.reward:g});\nblue: regenerate")
        figure.suptitle(
            f"Policy at λ = {rule.tradeoff:.4g} per strong token (solution goes on)", fontsize=15, x=0.01, ha="left"
        )
        return figure


def plot_beliefs(
    scores: Sequence[FloatArray], beliefs: Sequence[FloatArray], right: Sequence[bool], title: str
) -> Figure:
    """q over the steps of a few solutions, with the scores that moved it."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(2, width=14.0, height=5.0)
        shades = {True: ["#1f5fa8", "#4f8fd0", "#8db9e6"], False: ["#b3282d", "#d9720b", "#e8a34f"]}
        counters = {True: 0, False: 0}
        for sequence, belief, outcome in zip(scores, beliefs, right, strict=True):
            index = counters[outcome]
            counters[outcome] += 1
            color = shades[outcome][index % 3]
            label = f"{'right' if outcome else 'wrong'} answer {index + 1}"
            steps = np.arange(1, len(sequence) + 1)
            axes[0].plot(steps, sequence, "o-", color=color, label=label, markersize=5)
            axes[1].plot(np.arange(len(belief) + 1), np.concatenate([[1.0], belief]), "o-", color=color, markersize=5)
        axes[0].set(ylabel="PRM score", title="Scores", ylim=(-0.03, 1.05))
        axes[1].set(ylabel="q: P(prefix is right)", title="What the filter makes of them", ylim=(-0.03, 1.05))
        for axis in axes:
            axis.set_xlabel("step")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=12)
        figure.suptitle(title, fontsize=15, x=0.01, ha="left")
        return figure


def plot_fit(model: RoutingModel, thresholds: Sequence[PlannedPoint], grid: Sequence[float]) -> Figure | None:
    """Threshold curve implied by the dynamics against the measured one, fitted and held-out rows apart; or None."""
    report = model.dynamics.fit
    checks = [] if report is None else [c for c in report.checks if c.threshold is not None and 0 <= c.threshold < 1]
    if not checks or not thresholds:
        return None
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(2, width=12.5, height=5.0)
        for axis, quantity, label in (
            (axes[0], "accuracy", "accuracy"),
            (axes[1], "regenerations", "regenerated steps per problem"),
        ):
            inside = [(k, point) for k, point in zip(grid, thresholds, strict=True) if k < 1]
            axis.plot([k for k, _ in inside], [getattr(p, quantity) for _, p in inside], color=BLUE, label="implied")
            for fitted, marker, name in ((True, "s", "measured, fitted"), (False, "D", "measured, held out")):
                rows = [c for c in checks if c.quantity == quantity and c.used_in_fit == fitted]
                axis.errorbar(
                    [c.threshold or 0.0 for c in rows],
                    [c.observed for c in rows],
                    [1.96 * (c.standard_error or 0.0) for c in rows],
                    fmt=marker,
                    color=ORANGE if fitted else GREY,
                    markerfacecolor="white",
                    markersize=6,
                    linewidth=1.2,
                    label=f"{name} (± 1.96 s.e.)",
                )
            axis.set(xlabel="threshold k (regenerate iff score < k)", ylabel=label, xlim=(-0.02, 1.0))
        axes[0].legend(loc="lower right", fontsize=12)
        figure.suptitle("Goodness of fit: threshold routing", fontsize=15, x=0.01, ha="left")
        return figure
