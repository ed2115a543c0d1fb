"""Pictures made for reading: labelled axes, units, legible at half size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trim_pomdp.artifacts import write_bytes
from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import AGAIN, KEEP, intervention
from trim_pomdp.model.belief import GOES_ON, OVER, RIGHT, class_prior, next_q, update
from trim_pomdp.planning.evaluation import asked_once
from trim_pomdp.policies import AlphaVectorRule, PlannedPoint, PolicyArtifact, Rule, rule_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trim_pomdp.model.dynamics import Check, StepDynamics
    from trim_pomdp.model.evidence import EvidenceMap
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.planning.frontier import Frontier
    from trim_pomdp.planning.sensitivity import Sensitivity

FloatArray = NDArray[np.float64]
BLUE, ORANGE, GREY, GREEN, RED = "#1f5fa8", "#d9720b", "#6b6b6b", "#2a8a4a", "#b3282d"
STYLE: dict[Any, Any] = {
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
# Kinds of pictures, and what to leave out of each so that the same figure gives the same bytes.
_PICTURES: Mapping[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_SAME_POINT = 1e-9
_SHOWN_DPI = 72
_MIDDLE = 0.5
DISPLAY_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def picture_format(path: str | Path) -> str:
    """What a picture's name says it is: png, svg or pdf.

    Raises
    ------
    InputError
        If the name ends in anything else.
    """
    ending = Path(path).suffix.lower()
    if ending.removeprefix(".") not in _PICTURES:
        found = f"ends in {ending!r}" if ending else "has no ending"
        raise InputError(f"{path}: {found}; pictures are written as {', '.join(f'.{name}' for name in _PICTURES)}")
    return ending.removeprefix(".")


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 130) -> Path:
    """Write a figure as PNG, SVG or PDF, as the name ends; whole or not at all, the same bytes for the same figure.

    Raises
    ------
    InputError
        If the name has another ending, or the file cannot be written.
    """
    return write_bytes(path, picture_bytes(figure, picture_format(path), dpi=dpi))


def picture_bytes(figure: Figure, kind: str, *, dpi: int = 130) -> bytes:
    """A figure as ``png``, ``svg`` or ``pdf``: the same bytes for the same figure."""
    import io

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "trim-pomdp"}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=_PICTURES[kind])
    return buffer.getvalue()


class Picture(Figure):
    """A figure that a notebook shows: a bare one shows itself only where pyplot was imported before."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Twice as fine as it is shown, for fine screens."""
        import io

        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=2 * _SHOWN_DPI)
        return buffer.getvalue(), {"width": round(self.get_figwidth() * _SHOWN_DPI)}


def _figure(columns: int = 1, *, width: float = 8.4, height: float = 5.6) -> tuple[Figure, list[Axes]]:
    figure = Picture(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


@dataclass(frozen=True)
class MeasuredPoint:
    """A row of a pilot sweep that a fit kept, in the unit of a budget; standard errors are None where unknown.

    Attributes
    ----------
    threshold : float
        0 is weak-only, 1 strong-only, which look at no score.
    budget, budget_se : float, float or None
        Strong tokens per problem, in units of strong-only's.
    accuracy, accuracy_se : float, float or None
        Share of right answers.
    """

    threshold: float
    budget: float
    accuracy: float
    budget_se: float | None
    accuracy_se: float | None

    @property
    def is_end(self) -> bool:
        """Whether it is weak-only or strong-only."""
        return self.threshold in (0.0, 1.0)


def measured_points(dynamics: StepDynamics, strong_only_tokens: float | None = None) -> tuple[MeasuredPoint, ...]:
    """What a fit's checks keep of measured thresholds, by rising threshold.

    Parameters
    ----------
    dynamics : StepDynamics
        With a fit report; without one there is nothing.
    strong_only_tokens : float, optional
        The unit of the budget, `RoutingModel.strong_only_tokens`; that of the dynamics by default.
    """
    unit = strong_only_tokens or dynamics.strong_only_tokens
    if dynamics.fit is None or unit is None:
        return ()
    rows: dict[float, dict[str, Check]] = {}
    for check in dynamics.fit.checks:
        if check.threshold is not None:
            rows.setdefault(check.threshold, {})[check.quantity] = check
    points = []
    for threshold, row in sorted(rows.items()):
        accuracy, tokens = row.get("accuracy"), row.get("strong tokens")
        if accuracy is None or (tokens is None and threshold > 0):
            continue
        error = None if tokens is None or tokens.standard_error is None else tokens.standard_error / unit
        budget = 0.0 if tokens is None else tokens.observed / unit
        points.append(MeasuredPoint(threshold, budget, accuracy.observed, error, accuracy.standard_error))
    return tuple(points)


def plot_frontier(
    frontier: Frontier, thresholds: Sequence[PlannedPoint], dynamics: StepDynamics | None = None
) -> Figure:
    """Planned frontier, the threshold rule and both ends in the same model, and what was measured of them.

    Parameters
    ----------
    frontier : Frontier
    thresholds : sequence of PlannedPoint
        The threshold rule in the frontier's model; may be empty.
    dynamics : StepDynamics, optional
        Whose measured points to draw; the model's own by default.

    A frontier over money has money on its axis, and nothing measured.
    """
    if frontier.over == "money":
        return _plot_over_money(frontier, thresholds)
    unit = frontier.model.strong_only_tokens
    dynamics = frontier.model.dynamics if dynamics is None else dynamics
    ends = (frontier.weak_only, frontier.strong_only)
    inside = [point for point in thresholds if not any(_alike(point, end) for end in ends)]
    measured = measured_points(dynamics, unit)
    with mpl.rc_context(STYLE):
        figure, (axis,) = _figure(width=9.4, height=6.2)
        planned = [frontier.weak_only, *(item.point for item in frontier.points)]
        axis.plot(*_budget_and_accuracy(planned), color=BLUE, label="planned", zorder=3)
        _draw_band(axis, frontier.with_spans, [point.budget for point in frontier.with_spans])
        if inside:
            x, y = _budget_and_accuracy(inside)
            label = "threshold rule, same model"
            axis.plot(x, y, "o--", color=ORANGE, markersize=5, linewidth=1.6, label=label)
        label = f"weak-only {ends[0].accuracy:.3f}, strong-only {ends[1].accuracy:.3f}, same model"
        axis.plot(*_budget_and_accuracy(ends), "s", color=GREEN, markersize=8, label=label)
        _draw_measured(axis, [point for point in measured if not point.is_end], "D", GREY, "threshold rule, measured")
        _draw_measured(
            axis, [point for point in measured if point.is_end], "s", GREEN, "weak-only, strong-only, measured"
        )
        axis.axhline(frontier.strong_only.accuracy, color=GREEN, linewidth=1.0, linestyle=":", zorder=1)
        _explain_the_end(axis, frontier)
        right = max(1.0, frontier.last.budget, frontier.strong_only.budget, *(point.budget for point in measured))
        axis.set(
            xlabel=f"budget: strong tokens per problem ÷ {unit:.4g} ({_whose_unit(frontier.model)})",
            ylabel="accuracy (share of problems solved)",
            title=dynamics.name,
            xlim=(-0.02, 1.03 * right),
        )
        title = "measured: ± 1.96 s.e." if measured else None
        axis.legend(loc="lower right", fontsize=12, title=title, title_fontsize=12, alignment="left")
        return figure


def _plot_over_money(frontier: Frontier, thresholds: Sequence[PlannedPoint]) -> Figure:
    """Planned frontier over money per problem, the threshold rule and both ends in the same model."""
    ends = (frontier.weak_only, frontier.strong_only)
    tariff = frontier.model.tariff
    assert tariff is not None

    def coordinates(points: Sequence[PlannedPoint]) -> tuple[list[float], list[float]]:
        return [point.money or 0.0 for point in points], [point.accuracy for point in points]

    with mpl.rc_context(STYLE):
        figure, (axis,) = _figure(width=9.4, height=6.2)
        axis.plot(*coordinates(frontier.planned), color=BLUE, label="planned", zorder=3)
        spans = [point for point in frontier.planned if point.intervals is not None]
        _draw_band(axis, spans, coordinates(spans)[0])
        most = 1.1 * max(point.money or 0.0 for point in (*frontier.planned, *ends))
        grid = np.linspace(min(point.money or 0.0 for point in (*frontier.planned, *ends)), most, 400)
        label = "best draw between two policies, ends among them"
        axis.plot(grid, frontier.accuracy_at_money(grid), ":", color=BLUE, linewidth=1.6, label=label)
        inside = [point for point in thresholds if not any(_alike(point, end) for end in ends)]
        if inside:
            x, y = coordinates(inside)
            axis.plot(x, y, "o--", color=ORANGE, markersize=5, linewidth=1.6, label="threshold rule, same model")
        label = f"weak-only {ends[0].accuracy:.3f}, strong-only {ends[1].accuracy:.3f}, same model"
        axis.plot(*coordinates(ends), "s", color=GREEN, markersize=8, label=label)
        once = asked_once(frontier.model)
        axis.plot(
            [once["weak"], once["strong"]],
            [end.accuracy for end in ends],
            "s",
            color=GREEN,
            markerfacecolor="white",
            markersize=8,
            label="both asked once a problem, not step by step",
        )
        axis.axhline(frontier.strong_only.accuracy, color=GREEN, linewidth=1.0, linestyle=":", zorder=1)
        currency = tariff.prices.currency
        axis.set(
            xlabel="money per problem" + ("" if currency is None else f" ({currency})"),
            ylabel="accuracy (share of problems solved)",
            title=frontier.model.dynamics.name,
            xlim=(0.0, most),
        )
        axis.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
        axis.legend(loc="lower right", fontsize=12)
        return figure


def _draw_band(axis: Axes, points: Sequence[PlannedPoint], x: Sequence[float]) -> None:
    """Where accuracy may be, at what a plan is to spend, of points that have intervals."""
    spans = [point.intervals for point in points if point.intervals is not None]
    if spans:
        low, high = zip(*(item.accuracy for item in spans), strict=True)
        label = f"{100 * spans[0].level:g} % interval of planned accuracy"
        axis.fill_between(x, low, high, color=BLUE, alpha=0.15, linewidth=0.0, label=label, zorder=1)


def _whose_unit(model: RoutingModel) -> str:
    """Strong-only's tokens are fixed at a fit, where there was one, and may differ from what the model implies."""
    return "strong-only's in this model" if model.dynamics.strong_only_tokens is None else "strong-only's, as fitted"


def _alike(first: PlannedPoint, second: PlannedPoint) -> bool:
    """Whether two points are one, up to rounding."""
    return bool(
        np.allclose((first.budget, first.accuracy), (second.budget, second.accuracy), rtol=0.0, atol=_SAME_POINT)
    )


def _budget_and_accuracy(points: Sequence[PlannedPoint]) -> tuple[list[float], list[float]]:
    return [point.budget for point in points], [point.accuracy for point in points]


def _draw_measured(axis: Axes, points: Sequence[MeasuredPoint], marker: str, color: str, label: str) -> None:
    if points:
        axis.errorbar(
            [point.budget for point in points],
            [point.accuracy for point in points],
            [1.96 * (point.accuracy_se or 0.0) for point in points],
            [1.96 * (point.budget_se or 0.0) for point in points],
            fmt=marker,
            color=color,
            ecolor=(color, 0.35),
            markersize=6,
            markerfacecolor="white",
            elinewidth=1.2,
            label=label,
            zorder=2,
        )


def _explain_the_end(axis: Axes, frontier: Frontier) -> None:
    """Mark where the planned line ends, and say why it does."""
    last = frontier.last
    reason = "more strong tokens do not help" if frontier.spends_all_it_can else "no lower price was planned for"
    axis.plot([last.budget], [last.accuracy], "|", color=BLUE, markersize=16, markeredgewidth=2.4, zorder=4)
    on_the_left = last.budget > _MIDDLE
    axis.annotate(
        f"{last.accuracy:.3f} at budget {last.budget:.2f}:\n{reason}",
        (last.budget, last.accuracy),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if on_the_left else "left",
        va="bottom",
        color=BLUE,
        fontsize=12,
    )
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.12 * (high - low))  # room for the words


def plot_densities(model: RoutingModel) -> Figure:
    """Score distributions of right and first wrong steps: as labelled, and as the model has them of its weak model.

    On the left the observation model's own; on the right their distribution functions beside those that planner and
    filter use, after `right_weights` and transfer (`ObservationModel.class_emission`). Bins of (min, current) are
    summed over the minimum.
    """
    return plot_emission(model.observations, model.emission)


def plot_emission(observations: ObservationModel, emission: FloatArray) -> Figure:
    """`plot_densities` of any P(observation bin | S0, S1, S2), shape (3, J), beside the observations' own."""
    edges, labelled = by_score(observations, observations.table)
    used = by_score(observations, emission)[1]
    score = score_name(observations.evidence)
    shown = ((0, BLUE, "right step"), (2, RED, "first wrong step"))
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2, width=13.0, height=5.8)
        place = np.arange(len(DISPLAY_EDGES))
        for (row, color, label), shift in zip(shown, (-0.2, 0.2), strict=True):
            before, after = _distribution(edges, labelled[row]), _distribution(edges, used[row])
            axes[0].bar(place + shift, shares_by_score(edges, labelled[row]), width=0.4, color=color, label=label)
            axes[1].plot(*before, color=color, linestyle=":", linewidth=1.6)
            axes[1].plot(*after, color=color, label=f"{label}, this weak model")
        axes[1].plot([], [], color=GREY, linestyle=":", linewidth=1.6, label="as labelled")
        axes[0].set_xticks(place, display_bins(), rotation=45, ha="right", fontsize=12)
        axes[0].set(xlabel=score, ylabel="share of steps", title="As labelled (before weights and transfer)")
        axes[0].grid(axis="x", visible=False)
        axes[1].set(
            xlabel=f"threshold k on the {score}",
            ylabel="share of steps below k",
            title="This weak model, as the planner has it",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes[0].legend(loc="upper center", fontsize=13)
        axes[1].legend(loc="best", fontsize=12, frameon=True, framealpha=0.85, edgecolor="none")
        return figure


def by_score(observations: ObservationModel, table: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower edges of score bins, and P(bin | class), shape (3, n), of a table of observation bins (3, J).

    Bins of (min, current) are summed over the minimum.
    """
    if observations.emission == "step":
        return np.array(observations.step_emission.score_edges), table
    classes = observations.posterior_table
    return np.array(classes.score_edges[:-1]), table.reshape(len(table), *classes.shape).sum(axis=1)


def shares_by_score(edges: FloatArray, row: FloatArray) -> FloatArray:
    """Share of the steps of a class in each of the bins that people are shown, the last one exactly 1.

    Parameters
    ----------
    edges : ndarray of shape (n,)
        Lower edges of score bins, as `by_score` gives them.
    row : ndarray of shape (n,)
        Probability of each.
    """
    shares = np.diff(np.interp(DISPLAY_EDGES, *_distribution(edges, row)), append=1.0)
    return np.maximum(shares, 0.0)  # of what is interpolated, rounding makes a little less than nothing


def display_bins() -> list[str]:
    """Names of the bins that people are shown."""
    return [*(f"{low:g}–{high:g}" for low, high in itertools.pairwise(DISPLAY_EDGES)), "exactly 1"]


def _distribution(edges: FloatArray, row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Thresholds up to 1, and P(score < threshold); a last bin that is the score 1 itself lies below none of them."""
    below = np.concatenate([[0.0], np.cumsum(row)])
    return (edges, below[:-1]) if edges[-1] == 1.0 else (np.append(edges, 1.0), below)


def score_name(evidence: EvidenceMap | None) -> str:
    """What the score is that observations bin."""
    return "PRM score" if evidence is None else f"evidence score ({evidence.kind})"


def gains(rule: AlphaVectorRule, step: int, q: FloatArray, *, ended: bool = False) -> tuple[FloatArray, FloatArray]:
    """Gain of intervening and its price, for beliefs q and every observation bin of a first draft.

    Of several actions other than keeping the one that is worth most at its price.

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

    def value(code: int) -> FloatArray:
        outcomes = tables.after[step, int(ended), code, :, :2, :2]
        if tables.again[code]:
            held, same = belief @ tables.after[step, int(ended), code, :, AGAIN], tables.same[:, :-1].T
            rows = 4 * step * (tables.drafts - 1) + int(ended) + np.array([0, 2])  # another text, the same
            values = (
                (state @ tables.draft_vectors[tables.draft_offset[row] : tables.draft_offset[row + 1]].T).max(axis=-1)
                for row, state in zip(rows, (held * (1.0 - same), held * same), strict=True)
            )
            return np.asarray(sum(values))
        prefix = np.tensordot(belief, outcomes, axes=1)  # over, right or derailed
        follows = (vectors[:, 0] + next_q(belief, outcomes, over=False)[..., None] * vectors[:, 1]).max(axis=-1)
        return np.asarray(rule.reward * prefix[..., OVER, RIGHT] + prefix[..., GOES_ON, :].sum(axis=-1) * follows)

    others = [code for code in tables.codes[1:] if not tables.former[code]]  # of a first draft
    kept = value(KEEP)
    gain = np.stack([value(code) - kept for code in others])
    price = np.stack([belief @ tables.price[code, step, int(ended)] for code in others])
    best = (gain - price).argmax(axis=0)[None]
    return np.take_along_axis(gain, best, axis=0)[0], np.take_along_axis(price, best, axis=0)[0]


def has_policy_map(policy: Rule | PolicyArtifact) -> bool:
    """Whether `plot_policy_map` can draw a policy: it was planned on bins of a score, as every part of it was."""
    return all(_score_edges(part) is not None for part in rule_of(policy).parts)


def plot_policy_map(policy: Rule | PolicyArtifact, steps: Sequence[int] = (1, 3, 7)) -> Figure:
    """Where a policy intervenes, over (q, score), at a few steps: gain minus price, zero line drawn.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        Planned on bins of a score; of a mixture every part gets a row of its own.
    steps : sequence of int
        Step indices from 0; those at or beyond the last step are left out.

    Raises
    ------
    InputError
        If the policy, or a part of it, has no bins of a score.
    """
    rule = rule_of(policy)
    rows: list[tuple[AlphaVectorRule, float]] = []
    for part, share in zip(rule.parts, rule.shares, strict=True):
        if not isinstance(part, AlphaVectorRule) or part.score_edges is None:
            raise InputError(
                f"a policy map shows planned policies on bins of a score; this {'part' if rule.parts[1:] else 'policy'}"
                f" is {part!r}"
            )
        rows.append((part, share))
    steps = [step for step in steps if 0 <= step < rows[0][0].max_steps - 1] or [0]
    q = np.linspace(0.0, 1.0, 201)
    surfaces = [[np.subtract(*gains(part, step, q)) for step in steps] for part, _ in rows]
    verb, does = intervention(rule.choices)
    limit = max(float(np.abs(surface).max()) for row in surfaces for surface in row)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(13.5, 0.8 + 4.4 * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), len(steps), squeeze=False)
        for (part, share), row, line in zip(rows, surfaces, axes, strict=True):
            centres = bin_centres(part)
            drawn = "" if len(rows) == 1 else f", with probability {share:.3f}"
            for axis, step, surface in zip(line, steps, row, strict=True):
                mesh = axis.pcolormesh(q, centres, surface.T, cmap="RdBu", vmin=-limit, vmax=limit, rasterized=True)
                if surface.min() < 0.0 < surface.max():
                    axis.contour(q, centres, surface.T, levels=[0.0], colors="black", linewidths=1.8)
                axis.set(xlim=(0, 1), ylim=(0, 1))
                axis.set_title(f"step {step + 1}: λ = {part.tradeoff:.4g}{drawn}", fontsize=12)
                axis.grid(visible=False)
            line[0].set_ylabel(f"{score_name(part.evidence)} of the step")
        for axis in axes[-1]:
            axis.set_xlabel("q: P(prefix is right)")
        bar = figure.colorbar(mesh, ax=axes, pad=0.01)
        bar.set_label(f"gain − price (reward {rows[0][0].reward:g}); blue: {verb}")
        figure.suptitle(f"Where the policy {does}, if the solution goes on", fontsize=15, x=0.01, ha="left")
        return figure


def _score_edges(part: Rule) -> tuple[float, ...] | None:
    return part.score_edges if isinstance(part, AlphaVectorRule) else None


def bin_centres(rule: AlphaVectorRule) -> FloatArray:
    """Middles of the score bins; the last bin is the score 1 itself."""
    edges = np.array(rule.score_edges)
    return np.append(0.5 * (edges[:-1] + edges[1:]), 1.0)


def plot_beliefs(
    scores: Sequence[FloatArray],
    beliefs: Sequence[FloatArray],
    right: Sequence[bool],
    title: str,
    *,
    score: str = "PRM score",
) -> Figure:
    """q over the steps of a few solutions, with the scores that moved it; `score` says what they are."""
    with mpl.rc_context(STYLE):
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
        axes[0].set(ylabel=score, title="Scores", ylim=(-0.03, 1.05))
        axes[1].set(ylabel="q: P(prefix is right)", title="What the filter makes of them", ylim=(-0.03, 1.05))
        for axis in axes:
            axis.set_xlabel("step")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=12)
        figure.suptitle(title, fontsize=15, x=0.01, ha="left")
        return figure


def plot_fit(model: RoutingModel, thresholds: Sequence[PlannedPoint], grid: Sequence[float]) -> Figure | None:
    """Threshold curve implied by the dynamics against the measured one, fitted and held-out rows apart; or None.

    Weak-only and strong-only, which look at no score, are the rows k = 0 and k = 1.
    """
    report = model.dynamics.fit
    checks = [] if report is None else [check for check in report.checks if check.threshold is not None]
    if not checks or not thresholds:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2, width=13.0, height=5.4)
        for axis, quantity, label in (
            (axes[0], "accuracy", "accuracy (share of problems solved)"),
            (axes[1], "regenerations", "regenerated steps per problem"),
        ):
            implied = [getattr(point, quantity) for point in thresholds]
            axis.plot(grid, implied, "o-", markersize=3.5, linewidth=1.6, color=BLUE, label="implied")
            for fitted, marker, name in ((True, "s", "measured, fitted"), (False, "D", "measured, held out")):
                rows = [check for check in checks if check.quantity == quantity and check.used_in_fit == fitted]
                if not rows:
                    continue
                axis.errorbar(
                    [check.threshold or 0.0 for check in rows],
                    [check.observed for check in rows],
                    [1.96 * (check.standard_error or 0.0) for check in rows],
                    fmt=marker,
                    color=ORANGE if fitted else GREY,
                    markerfacecolor="white",
                    markersize=6,
                    linewidth=1.2,
                    label=f"{name} (± 1.96 s.e.)",
                )
            axis.set(xlabel="threshold k (regenerate iff score < k)", ylabel=label, xlim=(-0.03, 1.03))
            axis.set_xticks(
                [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0\nweak-only", "0.2", "0.4", "0.6", "0.8", "1\nstrong-only"]
            )
        axes[0].legend(loc="lower right", fontsize=12)
        figure.suptitle("Goodness of fit: threshold routing", fontsize=15, x=0.01, ha="left")
        return figure


def plot_sensitivity(found: Sensitivity, most: int = 10) -> Figure:
    """Ranges of accuracy and budget, a bar for each parameter; hatched where the data leave the parameter open.

    Parameters
    ----------
    found : Sensitivity
    most : int
        Parameters that are shown, those first that move accuracy most; those that move nothing are left out.
    """
    shown = [
        item for item in found.moved if item.accuracies[0] < item.accuracies[1] or item.budgets[0] < item.budgets[1]
    ]
    shown = shown[:most]
    with mpl.rc_context(STYLE):
        figure, axes = _figure(2, width=13.0, height=1.9 + 0.42 * len(shown))
        _draw_ranges(axes[0], [(item.accuracies, item.interval.identified) for item in shown], found.planned.accuracy)
        _draw_ranges(axes[1], [(item.budgets, item.interval.identified) for item in shown], found.planned.budget)
        names = [f"{item.parameter}: {item.interval.low:.3g} to {item.interval.high:.3g}" for item in shown]
        axes[0].set_yticks(range(len(shown)), names)
        axes[1].set_yticks(range(len(shown)), [""] * len(shown))
        axes[0].set(title=f"accuracy, planned {found.planned.accuracy:.3f}")
        axes[1].set(title=f"budget, planned {found.planned.budget:.3f}")
        figure.supxlabel("one parameter at either end of its interval; hatched: the data leave it open", fontsize=14)
        return figure


def _draw_ranges(axis: Axes, ranges: Sequence[tuple[tuple[float, float], bool]], planned: float) -> None:
    """Horizontal bars, from the top, and a line where all parameters are as estimated."""
    axis.use_sticky_edges = False  # or else bars would begin at the very edge
    axis.xaxis.set_major_locator(MaxNLocator(5))
    for place, ((low, high), known) in enumerate(ranges):
        face, hatch = (BLUE, "") if known else ("white", "///")
        axis.barh(place, high - low, left=low, height=0.62, color=face, edgecolor=BLUE, hatch=hatch)
    axis.axvline(planned, color="black", linewidth=1.6)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
