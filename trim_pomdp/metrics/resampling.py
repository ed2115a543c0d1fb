"""Intervals by the bootstrap over problems, in which everything is computed anew in every draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.metrics.benefit import LEAST_COST, REGIONS, IbcRule, Null, NullName, mean_benefit, null_curve
from trim_pomdp.metrics.curves import CurveMethod, check_choice, observed_curve
from trim_pomdp.metrics.outcomes import Means, Outcomes, resampled
from trim_pomdp.metrics.recovery import CptMethod, check_share, costs_of_shares, mean_gain

FloatArray = NDArray[np.float64]
SHARES = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Estimate:
    """A value with its percentile interval.

    Attributes
    ----------
    value : float or None
        Of the problems as they are; None where it is not reached.
    low, high : float or None
        Bounds; None where they lie beyond what was reached (a draw that does not reach a target counts as above all).
    reached : float
        Share of the draws in which there is a value.
    undefined : float
        Share of all draws that tell nothing, since strong-only was no better, or no dearer, than weak-only in them;
        they are in no other number.
    level : float
        Of the interval.
    draws : int
    """

    value: float | None
    low: float | None
    high: float | None
    reached: float
    undefined: float
    level: float
    draws: int


@dataclass(frozen=True)
class PointEstimate:
    """A point with standard errors of the bootstrap: its cost in units of strong-only's, and its accuracy."""

    cost: float
    cost_se: float
    accuracy: float
    accuracy_se: float


@dataclass(frozen=True)
class Measured:
    """All measures of a router.

    Attributes
    ----------
    problems : int
    points : tuple of PointEstimate
        In the order in which they were given.
    weak, strong : PointEstimate
    cpt : dict of float to Estimate
        By share of the gap.
    apgr, delta_ibc : Estimate
    delta_ibc_over : dict of str to Estimate
        ΔIBC against each of the other nulls.
    cpt_method, apgr_method, ibc_rule, null : str
        How they were computed.
    seed : int
        Of the draws.
    """

    problems: int
    points: tuple[PointEstimate, ...]
    weak: PointEstimate
    strong: PointEstimate
    cpt: dict[float, Estimate]
    apgr: Estimate
    delta_ibc: Estimate
    delta_ibc_over: dict[NullName, Estimate]
    cpt_method: CptMethod
    apgr_method: CurveMethod
    ibc_rule: IbcRule
    null: str
    seed: int


class _Ends(TypedDict):
    weak: float
    strong: float
    weak_cost: float


@dataclass(frozen=True, eq=False)
class Scale:
    """What a draw measures by: the ends of the gap, and weak-only's cost in units of strong-only's."""

    weak: float
    strong: float
    weak_cost: float
    unit: float = field(repr=False)

    @property
    def defined(self) -> bool:
        """Whether strong-only is better and dearer than weak-only."""
        return self.strong > self.weak and self.weak_cost < 1.0

    @property
    def ends(self) -> _Ends:
        """As the measures take them."""
        return {"weak": self.weak, "strong": self.strong, "weak_cost": self.weak_cost}


def bootstrap(
    router: Outcomes,
    *,
    weak: Outcomes,
    strong: Outcomes,
    seed: int,
    null: Literal["query-random"] | tuple[NullName, Outcomes] = "query-random",
    other_nulls: Mapping[NullName, Outcomes] = MappingProxyType({}),
    shares: Sequence[float] = SHARES,
    cpt_method: CptMethod = "crossing",
    apgr_method: CurveMethod = "chords",
    ibc_rule: IbcRule = "performance",
    draws: int = 1000,
    level: float = 0.95,
) -> Measured:
    """CPT, APGR and ΔIBC of a router with intervals, by a paired percentile bootstrap over problems.

    In each draw weak-only, strong-only and what it costs, the curve, the null's, and all measures are computed anew.
    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13. It covers what other problems of
    the same kind would give; what other seeds would give only so far as `right` and `cost` come from one run each.
    Intervals of a cost at which noisy points *first* cross a level inherit that level's bias towards early crossings.

    Parameters
    ----------
    router : Outcomes
        Of shape (K, n).
    weak, strong : Outcomes
        One point each, of the same problems in the same order.
    seed : int
        Of the draws.
    null : "query-random" or pair of name and Outcomes
        What ΔIBC is against, see `delta_ibc`.
    other_nulls : mapping of name to Outcomes
        What it is against as well.
    shares : sequence of float
        Of the gap, for CPT.
    draws : int
        Their number B.
    level : float
        Of the intervals.

    Raises
    ------
    InputError
        If tables do not fit each other; if strong-only is no better, or no dearer, than weak-only; and as the measures.
    """
    against: dict[NullName, Outcomes] = dict(other_nulls)
    if not isinstance(null, str):
        against[null[0]] = null[1]
    means = resampled([router, weak, strong, *against.values()], draws, seed)
    of_nulls = dict(zip(against, means[3:], strict=True))
    scales = scales_of(means[1], means[2])
    check_choice("cpt_method", cpt_method, get_args(CptMethod))
    check_choice("apgr_method", apgr_method, get_args(CurveMethod))
    check_choice("ibc_rule", ibc_rule, get_args(IbcRule))
    for share in shares:
        check_share(share)
    number, least = REGIONS[ibc_rule], LEAST_COST[ibc_rule]
    name = null if isinstance(null, str) else null[0]
    levels = np.array(shares, dtype=np.float64)
    targets: list[FloatArray] = []
    areas: list[float | None] = []
    benefits: dict[NullName | Literal["query-random"], list[float | None]] = {
        item: [] for item in dict.fromkeys([name, *other_nulls])
    }
    for i, scale in enumerate(scales):
        if not scale.defined:
            continue
        costs, accuracies, ends = means[0].cost[i] / scale.unit, means[0].right[i], scale.ends
        curve = observed_curve(costs, accuracies, **ends)
        targets.append(costs_of_shares(curve, levels, cpt_method)[0])
        areas.append(mean_gain(curve, apgr_method))
        for item, values in benefits.items():
            drawn: Literal["query-random"] | Null = "query-random"
            if item != "query-random":
                drawn = _drawn_null(item, of_nulls[item], i, scale)
            values.append(mean_benefit(curve, null_curve(drawn, **ends), item, ibc_rule, number, least).value)
    return Measured(
        problems=router.problems,
        points=_points(means[0], scales),
        weak=_points(means[1], scales)[0],
        strong=_points(means[2], scales)[0],
        cpt={
            share: estimate(_known(found), draws, level)
            for share, found in zip(shares, np.array(targets).T, strict=True)
        },
        apgr=estimate(areas, draws, level),
        delta_ibc=estimate(benefits[name], draws, level),
        delta_ibc_over={item: estimate(benefits[item], draws, level) for item in other_nulls},
        cpt_method=cpt_method,
        apgr_method=apgr_method,
        ibc_rule=ibc_rule,
        null=name,
        seed=seed,
    )


def scales_of(weak: Means, strong: Means) -> list[Scale]:
    """What each draw measures by; the first of the problems as they are.

    Raises
    ------
    InputError
        If a model alone has several points; if, of the problems as they are, strong-only is no better or no dearer.
    """
    for name, means in (("weak", weak), ("strong", strong)):
        if means.right.shape[1] != 1:
            raise InputError(f"{name}-only has {means.right.shape[1]} points; a model alone is one")
    units = strong.cost[:, 0]
    shares = np.divide(weak.cost[:, 0], units, out=np.full(len(units), np.inf), where=units > 0.0)
    rows = zip(weak.right[:, 0].tolist(), strong.right[:, 0].tolist(), shares.tolist(), units.tolist(), strict=True)
    scales = [Scale(*row) for row in rows]
    observed = scales[0]
    if observed.unit <= 0.0 or observed.weak_cost >= 1.0:
        raise InputError(
            f"strong-only costs {observed.unit:g} per problem, weak-only {weak.cost[0, 0]:g}: "
            "costs are measured in units of strong-only's, which must be the larger"
        )
    if not observed.defined:
        raise InputError(
            f"strong-only's accuracy of {observed.strong:g} is no better than weak-only's of {observed.weak:g}: "
            "there is no gap to recover"
        )
    return scales


def estimate(found: Sequence[float | None], draws: int, level: float) -> Estimate:
    """Value and percentile interval: the first is of the problems as they are, the others of defined draws.

    Raises
    ------
    InputError
        If the level is none.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level:g}; it must lie between 0 and 1")
    drawn = np.array([np.inf if item is None else item for item in found[1:]])
    bounds: list[float | None] = [None, None]
    if drawn.size:
        # Order statistics: what was not reached is above all, and nothing lies between it and a number.
        tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
        quantiles = np.quantile(drawn, tails, method="inverted_cdf").tolist()
        bounds = [item if np.isfinite(item) else None for item in quantiles]
    return Estimate(
        value=found[0],
        low=bounds[0],
        high=bounds[1],
        reached=float(np.isfinite(drawn).mean()) if drawn.size else 0.0,
        undefined=1.0 - drawn.size / draws,
        level=level,
        draws=draws,
    )


def _known(found: FloatArray) -> list[float | None]:
    return [None if np.isnan(item) else item for item in found.tolist()]


def _drawn_null(name: NullName, means: Means, draw: int, scale: Scale) -> Null:
    return Null(name, tuple((means.cost[draw] / scale.unit).tolist()), tuple(means.right[draw].tolist()))


def _points(means: Means, scales: Sequence[Scale]) -> tuple[PointEstimate, ...]:
    """Points with the standard deviations of their draws."""
    units = np.array([scale.unit for scale in scales])
    usable = units > 0.0
    costs = means.cost[usable] / units[usable, None]
    rows = (costs[0], costs[1:].std(axis=0), means.right[0], means.right[1:].std(axis=0))
    return tuple(PointEstimate(*row) for row in np.stack(rows, axis=1).tolist())
