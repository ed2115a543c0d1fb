"""Intervals by the bootstrap over problems, in which everything is computed anew in every draw.

A draw gives every problem a weight, how often it was drawn, and the same weights to every row: to all points of a
router, to weak-only, to strong-only and to a null. So what is hard for all of them does not blur what sets them apart.
Means of all rows over all draws are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError
from trim_pomdp.metrics.benefit import IbcRule, Null, NullName, delta_ibc
from trim_pomdp.metrics.curves import CurveMethod
from trim_pomdp.metrics.recovery import CptMethod, apgr, cpt

FloatArray = NDArray[np.float64]
SHARES = (0.5, 0.8, 0.95)
_LARGEST_CHUNK = 2**22  # weights at once


@dataclass(frozen=True, eq=False)
class Outcomes(ByContent):
    """What became of each problem at each point of a router, or of one model alone.

    Problems are in the same order in all that is compared.

    Attributes
    ----------
    right : ndarray of shape (K, n)
        Whether problem j was solved at point i, from 0 to 1: means over several seeds may lie between. A list of n is
        one point.
    cost : ndarray of shape (K, n)
        What that cost: strong tokens, or whatever else is counted (`trim_pomdp.runtime.costs`).

    Raises
    ------
    InputError
        If shapes differ, there is no problem or no point, or a number is not finite, below 0, or (of `right`) above 1.
    """

    right: FloatArray
    cost: FloatArray

    def __post_init__(self) -> None:
        for name in ("right", "cost"):
            rows = np.atleast_2d(np.asarray(getattr(self, name), dtype=np.float64))
            if rows.ndim != 2 or not rows.size:
                raise InputError(f"outcomes: {name} has shape {rows.shape}; rows are points, columns problems")
            if not np.isfinite(rows).all() or (rows < 0.0).any():
                raise InputError(f"outcomes: {name} must hold finite numbers from 0 up")
            object.__setattr__(self, name, rows)
        if self.right.shape != self.cost.shape:
            raise InputError(f"outcomes: right has shape {self.right.shape}, cost {self.cost.shape}; they must agree")
        if (self.right > 1.0).any():
            raise InputError(f"outcomes: right has a {self.right.max():g}; it must lie in [0, 1]")

    @classmethod
    def of(cls, right: ArrayLike, cost: ArrayLike) -> Outcomes:
        """From anything that reads as arrays."""
        return cls(np.asarray(right, dtype=np.float64), np.asarray(cost, dtype=np.float64))

    @property
    def problems(self) -> int:
        """Their number."""
        return int(self.right.shape[1])


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
    cpt_method: CptMethod
    apgr_method: CurveMethod
    ibc_rule: IbcRule
    null: str
    seed: int


@dataclass(frozen=True, eq=False)
class Means:
    """Mean accuracy and cost of each point, of the problems as they are (row 0) and of every draw; shape (1 + B, K)."""

    right: FloatArray
    cost: FloatArray


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
    against = [] if isinstance(null, str) else [null[1]]
    means = resampled([router, weak, strong, *against], draws, seed)
    scales = scales_of(means[1], means[2])
    targets: dict[float, list[float | None]] = {share: [] for share in shares}
    areas: list[float | None] = []
    benefits: list[float | None] = []
    for i, scale in enumerate(scales):
        if not scale.defined:
            continue
        costs, accuracies, ends = means[0].cost[i] / scale.unit, means[0].right[i], scale.ends
        for share, found in targets.items():
            found.append(cpt(costs, accuracies, share=share, method=cpt_method, **ends).value)
        areas.append(apgr(costs, accuracies, method=apgr_method, **ends).value)
        drawn = null if isinstance(null, str) else _drawn_null(null[0], means[3], i, scale)
        benefits.append(delta_ibc(costs, accuracies, rule=ibc_rule, null=drawn, **ends).value)
    return Measured(
        problems=router.problems,
        points=_points(means[0], scales),
        weak=_points(means[1], scales)[0],
        strong=_points(means[2], scales)[0],
        cpt={share: estimate(found, draws, level) for share, found in targets.items()},
        apgr=estimate(areas, draws, level),
        delta_ibc=estimate(benefits, draws, level),
        cpt_method=cpt_method,
        apgr_method=apgr_method,
        ibc_rule=ibc_rule,
        null=null if isinstance(null, str) else null[0],
        seed=seed,
    )


def resampled(tables: Sequence[Outcomes], draws: int, seed: int) -> list[Means]:
    """Means of several tables over the same draws of their problems.

    Raises
    ------
    InputError
        If they differ in the number of problems, or there is to be no draw.
    """
    numbers = sorted({table.problems for table in tables})
    if len(numbers) > 1:
        raise InputError(f"outcomes of {numbers[0]} and of {numbers[-1]} problems; paired ones need the same problems")
    if draws < 1:
        raise InputError(f"draws is {draws}; there must be one at least")
    rows = np.concatenate([part for table in tables for part in (table.right, table.cost)])
    n, rng = numbers[0], np.random.default_rng(seed)
    chance = np.full(n, 1.0 / n)
    parts = [np.ones((1, n)) @ rows.T]
    step = max(_LARGEST_CHUNK // n, 1)
    for done in range(0, draws, step):
        weights = rng.multinomial(n, chance, size=min(step, draws - done))
        parts.append(weights.astype(np.float64) @ rows.T)
    means = np.concatenate(parts) / n
    out, at = [], 0
    for table in tables:
        k = len(table.right)
        out.append(Means(means[:, at : at + k], means[:, at + k : at + 2 * k]))
        at += 2 * k
    return out


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


def _drawn_null(name: NullName, means: Means, draw: int, scale: Scale) -> Null:
    return Null(name, tuple((means.cost[draw] / scale.unit).tolist()), tuple(means.right[draw].tolist()))


def _points(means: Means, scales: Sequence[Scale]) -> tuple[PointEstimate, ...]:
    """Points with the standard deviations of their draws."""
    units = np.array([scale.unit for scale in scales])
    usable = units > 0.0
    costs = means.cost[usable] / units[usable, None]
    rows = (costs[0], costs[1:].std(axis=0), means.right[0], means.right[1:].std(axis=0))
    return tuple(PointEstimate(*row) for row in np.stack(rows, axis=1).tolist())
