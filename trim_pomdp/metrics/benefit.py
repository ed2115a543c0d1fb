r"""ΔIBC: how much more accuracy a router gains per cost than a null that needs no intelligence.

The incremental benefit per cost of a mixing method M is the slope from weak-only to it,

.. math::
    \text{IBC}_M = \frac{P_M - P_\text{weak}}{C_M - C_\text{weak}}, \qquad
    \Delta\text{IBC} = \frac{\text{IBC}_M - \text{IBC}_0}{\text{IBC}_0},

IBC₀ being that of the null. Source: Aggarwal, Madaan et al., "AutoMix", 2024 (arXiv 2310.12963), whose null is the
straight line from weak-only to strong-only, in per cent; here it is a number, as in TRIM's tables. A curve has a ΔIBC
at every place, and what its mean is depends on the places: on the same points it may differ by a factor of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from trim_pomdp.errors import InputError
from trim_pomdp.metrics.curves import TOLERANCE, Curve, FloatArray, check_choice, observed_curve

IbcRule = Literal["performance", "points", "costs"]
NullName = Literal["step-random", "best-split"]
LEAST_COST: dict[IbcRule, float] = {"performance": 0.0, "points": 0.01, "costs": 0.0}
REGIONS: dict[IbcRule, int] = {"performance": 100, "points": 0, "costs": 5}


@dataclass(frozen=True)
class Null:
    """Points of a null, in the units of the router's.

    Attributes
    ----------
    name : {"step-random", "best-split"}
        Steps regenerated at random, connected by chords; fixed splits of the steps between the models, of which the
        best at a cost is that on their hull.
    costs, accuracies : tuple of float
        Of its points.
    """

    name: NullName
    costs: tuple[float, ...]
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class DeltaIbc:
    """Mean ΔIBC of a router.

    Attributes
    ----------
    value : float or None
        None where no place is left to take the mean over.
    rule : {"performance", "points", "costs"}
        Over which places the mean is.
    null : str
        What it is against.
    least_cost : float
        Places that cost no more beyond weak-only are left out.
    places : int
        Number of places in the mean.
    left_out : int
        Places without a ΔIBC: they cost too little, or the null gains nothing there.
    reached : bool
        Whether the points themselves reach all places in the mean; otherwise some lie on the chord to strong-only.
    bracket : tuple of two floats, or None
        Lowest and highest cost of these places.
    """

    value: float | None
    rule: IbcRule
    null: str
    least_cost: float
    places: int
    left_out: int
    reached: bool
    bracket: tuple[float, float] | None


def delta_ibc(
    costs: ArrayLike,
    accuracies: ArrayLike,
    *,
    weak: float,
    strong: float,
    rule: IbcRule = "performance",
    null: Literal["query-random"] | Null = "query-random",
    regions: int | None = None,
    least_cost: float | None = None,
    weak_cost: float = 0.0,
) -> DeltaIbc:
    """ΔIBC of a router, averaged by one of three rules.

    ``performance``
        TRIM (Kapoor et al., 2026): over 100 equal regions of performance between weak-only and strong-only. Assumed: a
        region stands for its upper end, which costs what the curve first reaches it at (as `cpt` by crossing). The
        gain is the same for router and null, so ΔIBC is the ratio of their costs less 1.
    ``points``
        Over the points that cost more than `least_cost` (0.01), since of cheaper ones the slope is noise. The null is
        taken at the same cost.
    ``costs``
        AutoMix: over five equal regions of cost between weak-only and strong-only. Assumed: a region stands for its
        middle, and router and null are compared there on their curves.

    The curve goes from weak-only through all points to strong-only, so that every router is judged at the same places;
    the rule ``points`` takes the points alone. What a router gains for nothing has no ΔIBC and is left out and counted;
    a router that gains much for nothing is better judged by `apgr`.

    Parameters
    ----------
    costs, accuracies, weak, strong, weak_cost
        As in `cpt`.
    null : "query-random" or Null
        One of the models for each problem at random (the straight line), or points of another null.
    regions : int or None
        Their number; None: as above.
    least_cost : float or None
        Places that cost no more than that beyond weak-only are left out; None: 0.01 for ``points``, otherwise 0.

    Raises
    ------
    InputError
        See `trim_pomdp.metrics`; and if `rule`, the null's name, `regions` or `least_cost` is none.

    Examples
    --------
    >>> delta_ibc([0.25], [0.6], weak=0.5, strong=0.7, rule="points").value
    1.0
    """
    check_choice("rule", rule, get_args(IbcRule))
    number = REGIONS[rule] if regions is None else regions
    least = LEAST_COST[rule] if least_cost is None else least_cost
    if number < 1 and rule != "points":
        raise InputError(f"regions is {number}; there must be one at least")
    if not 0.0 <= least < 1.0:
        raise InputError(f"least_cost is {least:g}; it must lie in [0, 1)")
    curve = observed_curve(costs, accuracies, weak, strong, weak_cost)
    against = null_curve(null, weak, strong, weak_cost)
    return mean_benefit(curve, against, null if isinstance(null, str) else null.name, rule, number, least)


def mean_benefit(curve: Curve, against: Curve, null: str, rule: IbcRule, number: int, least: float) -> DeltaIbc:
    """Mean ΔIBC of a curve without its ends against that of a null with them."""
    places, spent, ratio, reached = _RULES[rule](curve, against, number)
    known = (spent > least + TOLERANCE) & np.isfinite(ratio)
    bracket = (float(places[known].min()), float(places[known].max())) if known.any() else None
    return DeltaIbc(
        value=float((ratio[known] - 1.0).mean()) if known.any() else None,
        rule=rule,
        null=null,
        least_cost=least,
        places=int(known.sum()),
        left_out=int((~known).sum()),
        reached=bool(reached[known].all()),
        bracket=bracket,
    )


class _Line(Curve):
    """From weak-only straight to strong-only, and on."""

    def at(self, costs: FloatArray) -> FloatArray:
        """See `Curve`; it goes on beyond both ends."""
        return (costs - self.weak_cost) / (1.0 - self.weak_cost)


def null_curve(null: Literal["query-random"] | Null, weak: float, strong: float, weak_cost: float) -> Curve:
    """Curve of a null from weak-only to strong-only."""
    if isinstance(null, str):
        check_choice("null", null, ("query-random",))
        return _Line(np.array([weak_cost, 1.0]), np.array([0.0, 1.0]), weak_cost)
    check_choice("name of the null", null.name, get_args(NullName))
    points = observed_curve(null.costs, null.accuracies, weak, strong, weak_cost, what=f"null {null.name}")
    return points.joined(strong=True).drawn("hull" if null.name == "best-split" else "chords")


# Costs of places, what they cost beyond weak-only, IBC over the null's (NaN: none), whether points reach them.
_Places = tuple[FloatArray, FloatArray, FloatArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]


def _by_performance(curve: Curve, null: Curve, number: int) -> _Places:
    levels = np.arange(1, number + 1) / number
    places, _ = curve.joined(strong=True).reach(levels)
    spent, nulls = places - curve.weak_cost, null.reach(levels)[0] - curve.weak_cost
    ratio = np.divide(nulls, spent, out=np.full(number, np.nan), where=spent > TOLERANCE)
    return places, spent, ratio, levels <= curve.gains.max() + TOLERANCE


def _by_points(curve: Curve, null: Curve, number: int) -> _Places:
    ratio = _gain_ratio(curve.costs, curve.gains, null)
    return curve.costs, curve.costs - curve.weak_cost, ratio, np.ones(len(ratio), dtype=np.bool_)


def _by_costs(curve: Curve, null: Curve, number: int) -> _Places:
    spent = (1.0 - curve.weak_cost) * (np.arange(number) + 0.5) / number
    places = curve.weak_cost + spent
    ratio = _gain_ratio(places, curve.joined(strong=True).at(places), null)
    return places, spent, ratio, places <= curve.costs[-1] + TOLERANCE


def _gain_ratio(costs: FloatArray, gains: FloatArray, null: Curve) -> FloatArray:
    """Gains over the null's at the same costs, NaN where it has none."""
    nulls = null.at(costs)
    ratio: FloatArray = np.divide(gains, nulls, out=np.full(len(gains), np.nan), where=nulls > TOLERANCE)
    return ratio


_RULES: dict[IbcRule, Callable[[Curve, Curve, int], _Places]] = {
    "performance": _by_performance,
    "points": _by_points,
    "costs": _by_costs,
}
