"""Pictures of the live runs: plans against reality, policies against rules, reliability of beliefs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from live_findings import ENDS, RELIABILITY_EDGES, belief_predictions
from live_runs import FamilyRuns, Run
from live_statistics import Bootstrap, mean_error
from matplotlib.axes import Axes

from trim_pomdp.planning.frontier import concave_hull
from trim_pomdp.planning.plots import BLUE, GREEN, GREY, ORANGE, RED, STYLE, _figure, save_figure

# Bins of fewer steps tell nothing.
_FEWEST_ROWS = 20
BELIEF_COLORS = {"filter": BLUE, "posterior": ORANGE, "running_minimum": GREEN}


def picture_plans(families: Sequence[FamilyRuns], path: Path) -> Path:
    """Planned accuracy against budget, and what was measured."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(families), width=6.0 * len(families) + 0.5)
        for axis, family in zip(axes, families, strict=True):
            ends, runs = [family[name] for name in ENDS if name in family.runs], family.named("budget")
            if not runs:
                continue
            planned = sorted(_planned(family, run) for run in (*runs, *ends) if run.name != "strong")
            axis.plot(*np.transpose(planned), color=BLUE, label="planned")
            if ends:
                axis.plot(*np.transpose([_planned(family, run) for run in ends]), "x", color=BLUE, markersize=9)
            _measured(axis, family, runs, "o", BLUE, "measured (± 1.96 s.e.)")
            _measured(axis, family, ends, "s", GREY, "weak-only, strong-only")
            _label(axis, family)
        axes[0].legend(loc="lower right", fontsize=12)
        return save_figure(figure, path)


def picture_policies(family: FamilyRuns, path: Path) -> Path:
    """Accuracy against budget of policies, rules and the oracle."""
    with mpl.rc_context(STYLE):
        figure, (axis,) = _figure(width=10.0, height=6.4)
        ends = [family[name] for name in ENDS if name in family.runs]
        other = "prm" if family.default_evidence != "prm" else "logprob"
        thresholds = family.named("threshold")
        if "oracle" in family.runs and "weak" in family.runs:
            axis.plot(
                *np.transpose([_point(family, family[name]) for name in ("weak", "oracle")]),
                "*:", color=GREEN, markersize=12, linewidth=1.4, label="oracle on the true class, thinned",
            )  # fmt: skip
        hull = np.array([_point(family, run) for run in (*thresholds, *ends)])
        if len(hull):
            axis.plot(*concave_hull(*hull.T), "--", color=ORANGE, linewidth=1.4, label="hull of thresholds and ends")
        for runs, marker, color, label in (
            (family.named("random"), "v", GREY, "step-random"),
            (family.named("paper"), "^", RED, "the paper's rule"),
            (thresholds, "D", ORANGE, "threshold on the PRM score"),
            (family.named(f"{other}-budget"), "o", "#8db9e6", f"planned, {other}"),
            (family.named("budget"), "o", BLUE, f"planned, {family.default_evidence}"),
            (ends, "s", "black", "weak-only, strong-only"),
        ):
            _measured(axis, family, runs, marker, color, label)
        _label(axis, family)
        axis.legend(loc="lower right", fontsize=12, title="± 1.96 s.e. of each run alone")
        return save_figure(figure, path)


def picture_beliefs(families: Sequence[FamilyRuns], bootstrap: Sequence[Bootstrap], path: Path) -> Path:
    """Observed against predicted P(prefix right) after each step of weak-only solutions."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(families), width=6.0 * len(families) + 0.5, height=6.0)
        for axis, family, draws in zip(axes, families, bootstrap, strict=True):
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=1.0)
            steps, _, _ = belief_predictions(family)
            for name in (f"filter, {family.default_evidence}", "posterior", "running_minimum"):
                if name not in steps:
                    continue
                share, predicted, observed = steps[name].reliability(draws, RELIABILITY_EDGES)
                used = share * len(steps[name].p) >= _FEWEST_ROWS
                value, others = observed[0, used], observed[1:, used]
                low, high = np.nanquantile(others, [0.025, 0.975], axis=0)
                reach = np.maximum([value - low, high - value], 0.0)  # a percentile interval may leave out the value
                color = BELIEF_COLORS[name.split(",")[0]]
                axis.errorbar(predicted[used], value, reach, fmt="none", ecolor=color, elinewidth=1.2)
                axis.scatter(predicted[used], value, 20 + 600 * share[used], color=color, alpha=0.7, label=name)
            axis.set(title=family.name, xlabel="predicted P(prefix right)", ylabel="share that is right")
        for handle in axes[0].legend(loc="lower right", fontsize=12).legend_handles:
            handle.set_sizes([60.0])  # type: ignore[union-attr]
        return save_figure(figure, path)


def _measured(axis: Axes, family: FamilyRuns, runs: Sequence[Run], marker: str, color: str, label: str) -> None:
    """Points with error bars both ways."""
    if not runs:
        return
    errors = [
        [1.96 * mean_error(run.strong_tokens)[1] / family.unit, 1.96 * mean_error(run.correct)[1]] for run in runs
    ]
    x, y = np.transpose([_point(family, run) for run in runs])
    x_error, y_error = np.transpose(errors)
    options: dict[str, Any] = {"color": color, "markerfacecolor": "white", "markersize": 6, "elinewidth": 1.1}
    axis.errorbar(x, y, y_error, x_error, fmt=marker, label=label, ecolor=(color, 0.45), **options)


def _point(family: FamilyRuns, run: Run) -> tuple[float, float]:
    return float(run.strong_tokens.mean() / family.unit), float(run.correct.mean())


def _planned(family: FamilyRuns, run: Run) -> tuple[float, float]:
    return run.planned["strong_tokens"] / family.unit, run.planned["accuracy"]


def _label(axis: Axes, family: FamilyRuns) -> None:
    axis.set(
        title=f"{family.name} ({len(family.problems)} problems)",
        xlabel=f"budget: strong tokens per problem ÷ {family.unit:.1f}",
        ylabel="accuracy",
    )
