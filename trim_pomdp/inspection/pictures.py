"""Pictures of an inspection, for where nothing can be clicked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.flips import EvidenceCurve
from trim_pomdp.inspection.solutions import Inspection, evidence_curve
from trim_pomdp.inspection.wording import done_in_words
from trim_pomdp.model.actions import Action, catalogue, intervention

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
# Okabe and Ito's colours, which colour-blind people tell apart; hatches say the same without colour.
_CLASSES = (
    ("S0 right so far", "#0072B2", ""),
    ("S1 derailed earlier", "#8a8a8a", "//"),
    ("S2 first error here", "#D55E00", ".."),
)
_WEAK, _STRONG, _INK = "#56B4E9", "#E69F00", "#1b1f24"
# Colours say who writes what stands; hatches of bars, and marks of points, what was done.
_LOOKS = {
    "keep": ("", "o"),
    "regenerate": ("xx", "^"),
    "redraft": ("..", "D"),
    "takeover": ("++", "P"),
    "recall": ("\\\\", "<"),
}
_OTHER_LOOK = ("**", "X")
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "hatch.color": "white",
    "hatch.linewidth": 0.8,
}
_SEEN = "#0b63ce"
_AXES = {"score": "score", "evidence": "evidence score"}
_NEAR_CERTAIN, _EDGE = 0.02, 1e-4
_LOG_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_MANY_TIMES = 8  # gains of so many prices are drawn logarithmically


def plot_inspection(inspection: Inspection, chosen: int | None = None) -> Figure:
    """Belief and q over the steps, gain against price, and the evidence curve of a step with its flip points.

    Parameters
    ----------
    inspection : Inspection
    chosen : int or None
        Index of the step whose curve is drawn; by default the first that is not kept, else the last one.

    Raises
    ------
    InputError
        If there is no such step.
    """
    chosen = _telling(inspection) if chosen is None else chosen
    if not 0 <= chosen < len(inspection.steps):
        raise InputError(f"there is no step {chosen}; the solution has steps 0 to {len(inspection.steps) - 1}")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.2, 5.2), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
        if any(step.belief or step.prior for step in inspection.steps):
            beliefs = figure.add_subplot(grid[0, 0])
            gains = figure.add_subplot(grid[1, 0], sharex=beliefs)
            _draw_beliefs(beliefs, inspection)
            _draw_gains(gains, inspection)
            figure.align_ylabels([beliefs, gains])
        else:
            _draw_scores(figure.add_subplot(grid[:, 0]), inspection)
        _draw_curve(figure.add_subplot(grid[:, 1]), inspection, chosen)
        figure.suptitle(_title(inspection), x=0.01, ha="left", fontsize=12.5, parse_math=False)
    return figure


def add_measured(figure: Figure, points: Sequence[Mapping[str, Any]]) -> None:
    """Measured points, with their 95% intervals and names, into the picture of a frontier (`Frontier.plot`).

    Parameters
    ----------
    figure : Figure
        Drawn into; its first axes are those of the frontier.
    points : sequence of mapping
        See `trim_pomdp.inspection.measured.measured_states`.
    """
    if not points:
        return
    axis = figure.axes[0]
    for place, point in enumerate(points):
        x, y = point["x"], point["y"]
        for axes, low, high in (("x", point["x_low"], point["x_high"]), ("y", point["y_low"], point["y_high"])):
            if low is not None and high is not None:
                ends = ([low, high], [y, y]) if axes == "x" else ([x, x], [low, high])
                axis.plot(*ends, "-", color=_INK, lw=1.4, alpha=0.6, zorder=4)
        axis.plot([x], [y], "o", color=_INK, ms=6.5, zorder=5, label=None if place else "measured")
        on_the_left = x > sum(axis.get_xlim()) / 2
        axis.annotate(
            point["label"],
            (x, y),
            xytext=(-8 if on_the_left else 8, -4),
            textcoords="offset points",
            ha="right" if on_the_left else "left",
            va="top",
            fontsize=11,
            parse_math=False,
        )
    low, high = axis.get_xlim()
    axis.set_xlim(low, max(high, 1.03 * max(point["x_high"] or point["x"] for point in points)))
    title = "bars: 95% intervals"
    axis.legend(loc="lower right", fontsize=12, title=title, title_fontsize=12, alignment="left", frameon=False)


def _telling(inspection: Inspection) -> int:
    others = (index for index, step in enumerate(inspection.steps) if step.action not in (None, "keep"))
    return next(others, len(inspection.steps) - 1)


def _done_at(inspection: Inspection) -> list[tuple[Action, NDArray[np.bool_]]]:
    """The actions that were done, each with the steps that it was done at."""
    done = [(action, np.array([step.action == action.name for step in inspection.steps])) for action in catalogue()]
    return [(action, there) for action, there in done if there.any()]


def _colour(action: Action) -> str:
    return _STRONG if action.asks == "strong" else _WEAK


def _title(inspection: Inspection) -> str:
    parts = [inspection.problem or "solution"]
    if inspection.end is not None and inspection.end.correct is not None:
        parts.append("right" if inspection.end.correct else "wrong")
    if inspection.q_end is not None:
        parts.append(f"believed right {inspection.q_end:.2f}")
    if inspection.is_edited:
        parts.append("edited")
    return " · ".join(parts)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_beliefs(axis: Axes, inspection: Inspection) -> None:
    steps = inspection.steps
    at = np.arange(1, len(steps) + 1)
    beliefs = np.array([step.belief or step.prior or (np.nan,) * 3 for step in steps])
    bottom = np.zeros(len(steps))
    for kind, (name, colour, hatch) in enumerate(_CLASSES):
        axis.bar(at, beliefs[:, kind], 0.72, bottom, color=colour, hatch=hatch, edgecolor="white", lw=0, label=name)
        bottom = bottom + np.nan_to_num(beliefs[:, kind])
    q = _numbers([*(step.q for step in steps), inspection.q_end])
    if np.isfinite(q).any():
        axis.plot(
            np.append(at - 0.5, at[-1] + 0.5), q, "D-", color=_INK, ms=4, lw=1.4, mec="white", label="q before the step"
        )
        axis.legend(ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, columnspacing=1.2)
    axis.set(ylim=(0, 1.02), ylabel="belief", yticks=(0, 0.5, 1))
    axis.tick_params(labelbottom=False)


def _draw_scores(axis: Axes, inspection: Inspection) -> None:
    """Of a policy without a belief: what it saw and did."""
    at = np.arange(1, len(inspection.steps) + 1)
    scores = _numbers([step.score for step in inspection.steps])
    for action, there in _done_at(inspection):
        _, mark = _LOOKS.get(action.name, _OTHER_LOOK)
        axis.plot(at[there], scores[there], mark, color=_colour(action), ms=9, label=action.done)
    axis.set(xlabel="step", ylabel="score", ylim=(-0.02, 1.02), xlim=(0.4, len(at) + 0.6))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2)


def _draw_gains(axis: Axes, inspection: Inspection) -> None:
    steps = inspection.steps
    at = np.arange(1, len(steps) + 1)
    gains, prices = _numbers([step.gain for step in steps]), _numbers([step.price for step in steps])
    for action, there in _done_at(inspection):
        look: dict[str, Any] = {"color": _colour(action), "hatch": _LOOKS.get(action.name, _OTHER_LOOK)[0]}
        axis.bar(at[there], gains[there], 0.72, edgecolor="white", lw=0, label=f"gain, {action.done}", **look)
    axis.hlines(prices, at - 0.44, at + 0.44, color=_INK, lw=2, label="price")
    _scale_gains(axis, gains, prices)
    axis.set(xlabel="step", ylabel="points", xlim=(0.4, len(steps) + 0.6))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if np.isfinite(gains).any():
        axis.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, columnspacing=1.2)


def _scale_gains(axis: Axes, gains: FloatArray, prices: FloatArray) -> None:
    """Logarithmic beyond the price where gains are many times that; linear otherwise."""
    known = prices[np.isfinite(prices) & (prices > 0)]
    if not known.size or not np.isfinite(gains).any():
        return
    if np.nanmax(gains) > _MANY_TIMES * np.median(known):
        axis.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(np.median(known))))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(bottom=min(0.0, float(np.nanmin(gains)) * 1.1))


def _draw_curve(axis: Axes, inspection: Inspection, chosen: int) -> None:
    step = inspection.steps[chosen]
    try:
        curve = evidence_curve(inspection, chosen)
    except InputError as error:
        axis.set_axis_off()
        axis.set_title(f"Step {chosen + 1}: {_done(inspection, chosen)}")
        axis.text(0, 0.95, str(error), va="top", wrap=True, parse_math=False)
        return
    place = _places(axis, curve)
    x = np.array([place(value) for value in (*curve.x, max(1.0, curve.x[-1]))])
    for left, right in _pieces(curve):
        axis.axvspan(place(left), place(right), color=_STRONG, alpha=0.16, lw=0)
    gains, prices = _numbers(curve.gain), _numbers(curve.price)
    if np.isfinite(gains).any():
        axis.plot(x, np.append(gains, gains[-1]), drawstyle="steps-post", lw=2, color=_STRONG, label="gain")
        axis.plot(x, np.append(prices, prices[-1]), drawstyle="steps-post", lw=2, color=_INK, ls="--", label="price")
        _scale_gains(axis, gains, prices)
    for flip in curve.flips:
        axis.axvline(place(flip), color=_INK, ls=":", lw=1.4, label=f"flips at {flip:.3g}")
    if curve.at is not None:
        axis.axvline(
            place(curve.at), color=_SEEN, lw=1.8, label=f"{'set to' if step.edited else 'seen:'} {curve.at:.3g}"
        )
    axis.set(
        xlabel=f"{_AXES[curve.axis]} of the step",
        title=f"Step {chosen + 1}: {_done(inspection, chosen)}",
        xlim=(x[0], x[-1]),
    )
    handles, _ = axis.get_legend_handles_labels()
    if any(curve.intervenes):
        handles.append(Patch(color=_STRONG, alpha=0.3, label=intervention(inspection.rule.choices)[1]))
    if not np.isfinite(gains).any():
        axis.set_yticks([])
    axis.legend(handles=handles, ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.13), borderaxespad=0.2)


def _done(inspection: Inspection, step: int) -> str:
    end = inspection.end
    return done_in_words(inspection.steps[step], None if end is None else end.given_up) or "no decision"


def _places(axis: Axes, curve: EvidenceCurve) -> Callable[[float], float]:
    """Where a value stands: scores close to certainty are told apart in log-odds."""
    if curve.at is None or min(curve.at, 1.0 - curve.at) >= _NEAR_CERTAIN:
        return lambda value: value

    def log_odds(value: float) -> float:
        inside = min(1.0 - _EDGE, max(_EDGE, value))
        return math.log(inside / (1.0 - inside))

    axis.set_xticks([log_odds(value) for value in _LOG_TICKS], [f"{value:g}" for value in _LOG_TICKS])
    return log_odds


def _pieces(curve: EvidenceCurve) -> list[tuple[float, float]]:
    """Where it does not keep the step, as intervals."""
    ends = (*curve.x[1:], max(1.0, curve.x[-1]))
    found: list[tuple[float, float]] = []
    for left, right, there in zip(curve.x, ends, curve.intervenes, strict=True):
        if there and found and found[-1][1] == left:
            found[-1] = (found[-1][0], right)
        elif there:
            found.append((left, right))
    return found
