"""Measured points beside planned ones: of summaries, of a fit's checks, or plain numbers, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.intervals import mean_interval, share_interval
from trim_pomdp.model.process import RoutingModel, Spending
from trim_pomdp.runtime.summary import RunSummary

Measured = Mapping[str, Any] | Sequence[Any] | None
_FEWEST, _MOST = 2, 4


def measured_states(measured: Measured, over: Spending, model: RoutingModel | None = None) -> list[dict[str, Any]]:
    """Points to draw: place, ends of 95% intervals (None where unknown), label, and what kind they are.

    Parameters
    ----------
    measured : mapping of str to point, sequence of points, or None
        A point is a `RunSummary`, a `MeasuredPoint`, anything else with ``budget`` and ``accuracy`` (and perhaps
        ``budget_se``, ``accuracy_se``), or a tuple (budget, accuracy[, accuracy_se[, budget_se]]). Over money its first
        number is money per problem, and only tuples say that. The keys of a mapping are labels.
    over : {"strong_tokens", "money"}
        What the first number is.
    model : RoutingModel, optional
        Whose fit's measured thresholds are drawn too, over strong tokens.

    Raises
    ------
    InputError
        If a point is none of this, or has no budget or accuracy.
    """
    items = list(measured.items() if isinstance(measured, Mapping) else enumerate(measured or (), start=1))
    given = [
        _point(item, name if isinstance(name, str) else f"measured {name}", over) | {"kind": "given"}
        for name, item in items
    ]
    return [*_of_the_fit(model, over), *given]


def _of_the_fit(model: RoutingModel | None, over: Spending) -> list[dict[str, Any]]:
    if model is None or over == "money":
        return []
    from trim_pomdp.planning.plots import measured_points

    points = []
    for point in measured_points(model.dynamics, model.strong_only_tokens):
        ends = {0.0: "weak-only, measured", 1.0: "strong-only, measured"}
        label = ends.get(point.threshold, f"threshold {point.threshold:g}, measured")
        points.append(_point(point, label, over) | {"kind": "end" if point.is_end else "threshold"})
    return points


def _point(item: Any, label: str, over: Spending) -> dict[str, Any]:
    if isinstance(item, Sequence) and not isinstance(item, str):
        if not _FEWEST <= len(item) <= _MOST:
            raise InputError(
                f"{label}: a point of {len(item)} numbers; expected (budget, accuracy[, accuracy_se[, budget_se]])"
            )
        x, y, y_se, x_se = [*item, None, None][:_MOST]
    elif over == "money":
        raise InputError(f"{label}: beside a frontier over money give points as (money, accuracy[, accuracy_se])")
    elif not hasattr(item, "accuracy") or not hasattr(item, "budget"):
        raise InputError(f"{label}: {type(item).__name__} has no budget and accuracy, so it cannot be drawn")
    else:
        x, y = item.budget, item.accuracy
        x_se, y_se = getattr(item, "budget_se", None), getattr(item, "accuracy_se", None)
    x, y = (
        _number(x, f"{label}: the budget" if over == "strong_tokens" else f"{label}: money"),
        _number(y, f"{label}: the accuracy"),
    )
    heights = _of_a_run(item) if isinstance(item, RunSummary) else _interval("y", y, y_se, label)
    return {"label": label, "x": x, "y": y, **_interval("x", x, x_se, label), **heights}


def _of_a_run(summary: RunSummary) -> dict[str, float | None]:
    """The interval of a share, which a run without an error has too.

    A summary does not count the problems whose answer is known; the standard error of their share tells how many they
    are, and where all are right, or none, all problems are taken.
    """
    share, error = summary.accuracy, summary.accuracy_se
    assert share is not None  # it has been drawn
    trials = round(1 + share * (1 - share) / error**2) if error else summary.problems
    low, high = share_interval(round(share * trials), trials) or (None, None)
    return {"y_low": low, "y_high": high}


def _interval(axis: str, value: float, error: Any, label: str) -> dict[str, float | None]:
    known = None if error is None else _number(error, f"{label}: a standard error")
    low, high = mean_interval(value, known) or (None, None)
    return {f"{axis}_low": low, f"{axis}_high": high}


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} is {value!r}; expected a number")
    return number
