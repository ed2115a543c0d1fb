"""How much of the gap between weak and strong is recovered at which cost: PGR, CPT and APGR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from trim_pomdp.errors import InputError
from trim_pomdp.metrics.curves import CurveMethod, check_choice, observed_curve, recovered

CptMethod = Literal["crossing", "hull", "points"]


@dataclass(frozen=True)
class Cpt:
    """Cost at which a share of the gap is recovered.

    Attributes
    ----------
    value : float or None
        In units of strong-only's cost; above 1 where the router reaches the share only at more than strong-only's cost;
        None if it is not reached.
    reached : bool
        Whether any point reaches the share.
    bracket : tuple of two floats, or None
        Costs of the two points (on the hull: vertices) between which it lies: the last one short of the share and the
        first one at or above it, weak-only included. Both are the same where the cheapest point has it already.
    method : {"crossing", "hull", "points"}
        How it was found.
    share : float
        The share of the gap.
    """

    value: float | None
    reached: bool
    bracket: tuple[float, float] | None
    method: CptMethod
    share: float


@dataclass(frozen=True)
class Apgr:
    """Mean share of the gap that is recovered over all costs.

    Attributes
    ----------
    value : float
        1 is the strong model for nothing, 0.5 a draw of one of the models for each problem.
    reached : bool
        Whether there are points up to strong-only's cost, so that no part of the curve leads to strong-only.
    bracket : tuple of two floats
        Lowest and highest cost of the points.
    method : {"chords", "hull"}
        How points were connected.
    """

    value: float
    reached: bool
    bracket: tuple[float, float]
    method: CurveMethod


def pgr(accuracy: float, weak: float, strong: float) -> float:
    """Performance gap recovered: share of the gap between weak and strong, below 0 and above 1 where it is left.

    Source: Burns et al., "Weak-to-strong generalization", 2023; for routers Ong et al., "RouteLLM", 2024, section 4.

    Raises
    ------
    InputError
        If the strong model is no better than the weak one, or a number is not finite.

    Examples
    --------
    >>> round(pgr(0.62, weak=0.5, strong=0.7), 3)
    0.6
    """
    if not np.isfinite(accuracy):
        raise InputError(f"accuracy is {accuracy}; it must be a finite number")
    return float(recovered(np.array([accuracy]), weak, strong)[0])


def cpt(
    costs: ArrayLike,
    accuracies: ArrayLike,
    *,
    weak: float,
    strong: float,
    share: float = 0.5,
    method: CptMethod = "crossing",
    weak_cost: float = 0.0,
) -> Cpt:
    """Cost at which a router recovers a share of the gap ("call-performance threshold", CPT).

    Source: Ong et al., "RouteLLM", 2024 (arXiv 2406.18665), of calls of the strong model; TRIM (Kapoor et al., 2026,
    arXiv 2601.10245) counts its tokens in place of calls. Neither says how to read it off points. Of these three ways,
    ``hull <= crossing <= points`` holds:

    ``crossing``
        where the chords between points, from weak-only on, first reach the share;
    ``hull``
        where the concave hull of weak-only and all points does;
    ``points``
        the cheapest point that has the share.

    Parameters
    ----------
    costs : array-like of shape (K,)
        In units of strong-only's cost, in any order. A point that costs nothing and has the share gives 0.
    accuracies : array-like of shape (K,)
        Of each point, in the unit of `weak` and `strong`.
    weak, strong : float
        Accuracies of weak-only and strong-only.
    share : float
        Of the gap, in (0, 1].
    weak_cost : float
        What weak-only costs, in units of strong-only's.

    Returns
    -------
    Cpt
        Not reached where no point has the share; strong-only is no point unless given as one.

    Raises
    ------
    InputError
        See `trim_pomdp.metrics`; and if `share` or `method` is none.

    Examples
    --------
    >>> cpt([0.1, 0.4], [0.55, 0.65], weak=0.5, strong=0.7).bracket
    (0.1, 0.4)
    """
    if not 0.0 < share <= 1.0:
        raise InputError(f"share is {share:g}; a share of the gap must lie above 0 and not above 1")
    check_choice("method", method, get_args(CptMethod))
    curve = observed_curve(costs, accuracies, weak, strong, weak_cost).joined(strong=False)
    curve = curve.drawn("hull" if method == "hull" else "chords")
    (value,), (point,) = curve.reach(np.array([share]))
    if point == len(curve.costs):
        return Cpt(None, False, None, method, share)
    bracket = float(curve.costs[max(point - 1, 0)]), float(curve.costs[point])
    return Cpt(bracket[1] if method == "points" else float(value), True, bracket, method, share)


def apgr(
    costs: ArrayLike,
    accuracies: ArrayLike,
    *,
    weak: float,
    strong: float,
    method: CurveMethod = "chords",
    weak_cost: float = 0.0,
) -> Apgr:
    """Average performance gap recovered (APGR): area under the recovered gap from weak-only's to strong-only's cost.

    Source: Ong et al., "RouteLLM", 2024, whose code takes the trapezoidal rule over the points it has, both ends among
    them; so here, over all points. Assumed: the ends are weak-only and strong-only, so that a curve that ends early
    goes on by the chord to strong-only; what costs more than strong-only enters by the chord that leads there alone.
    A single point is joined to both ends. Divided by the range of costs, ``1 - weak_cost``.

    Parameters
    ----------
    costs, accuracies, weak, strong, weak_cost
        As in `cpt`.
    method : {"chords", "hull"}
        How points are connected.

    Raises
    ------
    InputError
        See `trim_pomdp.metrics`; and if `method` is none.

    Examples
    --------
    >>> round(apgr([0.5], [0.7], weak=0.5, strong=0.7).value, 3)
    0.75
    """
    check_choice("method", method, get_args(CurveMethod))
    curve = observed_curve(costs, accuracies, weak, strong, weak_cost)
    bracket = float(curve.costs[0]), float(curve.costs[-1])
    whole = curve.joined(strong=True).drawn(method)
    inside = whole.costs[(whole.costs > weak_cost) & (whole.costs < 1.0)]
    x = np.concatenate([[weak_cost], inside, [1.0]])
    y = whole.at(x)
    area = float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2.0)
    return Apgr(area / (1.0 - weak_cost), bracket[1] >= 1.0, bracket, method)
