"""Curves of recovered gap over cost: chords between points, their hull, where they first reach a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.planning.hull import concave_hull

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CurveMethod = Literal["chords", "hull"]
# Shares of a gap are quotients of differences: what is short of a level by so little has reached it.
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Curve:
    """Recovered gap over cost.

    Attributes
    ----------
    costs : ndarray of shape (K,)
        In units of strong-only's, increasing.
    gains : ndarray of shape (K,)
        Share of the gap that is recovered there.
    weak_cost : float
        What weak-only costs.
    """

    costs: FloatArray
    gains: FloatArray
    weak_cost: float

    @classmethod
    def of(cls, costs: FloatArray, gains: FloatArray, weak_cost: float) -> Curve:
        """Points in any order; of those of the same cost the best one."""
        order = np.lexsort((-gains, costs))
        costs, gains = costs[order], gains[order]
        first = np.append(True, costs[1:] > costs[:-1])
        return cls(costs[first], gains[first], weak_cost)

    def joined(self, *, strong: bool) -> Curve:
        """The same with weak-only, and with strong-only if wanted."""
        ends = [(self.weak_cost, 0.0), (1.0, 1.0)][: 1 + strong]
        costs, gains = np.array(ends).T
        return Curve.of(np.append(self.costs, costs), np.append(self.gains, gains), self.weak_cost)

    def drawn(self, method: CurveMethod) -> Curve:
        """The curve itself, or its least concave non-decreasing majorant."""
        if method == "chords":
            return self
        return Curve(*concave_hull(self.costs, self.gains), self.weak_cost)

    def at(self, costs: FloatArray) -> FloatArray:
        """Gain at given costs; flat beyond both ends."""
        return np.interp(costs, self.costs, self.gains)

    def reach(self, levels: FloatArray) -> tuple[FloatArray, IntArray]:
        """Costs at which levels are first reached, NaN where they are not; which point is at or behind each."""
        best = np.maximum.accumulate(self.gains)
        right = np.searchsorted(best, levels - TOLERANCE)
        known = np.minimum(right, len(best) - 1)
        left = np.maximum(known - 1, 0)
        rise = self.gains[known] - self.gains[left]
        part = np.divide(levels - self.gains[left], rise, out=np.ones(len(levels)), where=rise > 0.0)
        costs = self.costs[left] + np.clip(part, 0.0, 1.0) * (self.costs[known] - self.costs[left])
        return np.where(right < len(best), costs, np.nan), right.astype(np.int64)


def observed_curve(
    costs: ArrayLike, accuracies: ArrayLike, weak: float, strong: float, weak_cost: float, *, what: str = "points"
) -> Curve:
    """Curve through the points of a router, without weak-only and strong-only.

    Raises
    ------
    InputError
        As `trim_pomdp.metrics` says.
    """
    x, y = np.asarray(costs, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise InputError(
            f"{what}: costs of shape {x.shape} and accuracies of shape {y.shape}; "
            "both must be lists of the same length, of one point at least"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{what}: costs and accuracies must be finite numbers")
    if (x < 0.0).any():
        raise InputError(f"{what}: a cost of {x.min():g}; costs must not be below 0")
    return Curve.of(x, recovered(y, weak, strong), checked_weak_cost(weak_cost))


def recovered(accuracies: FloatArray, weak: float, strong: float) -> FloatArray:
    """Shares of the gap; `InputError` where there is none."""
    if not (np.isfinite(weak) and np.isfinite(strong)):
        raise InputError(f"accuracies of weak-only and strong-only must be finite numbers, not {weak} and {strong}")
    if strong <= weak:
        raise InputError(
            f"strong-only's accuracy of {strong:g} is no better than weak-only's of {weak:g}: no gap to recover"
        )
    return (accuracies - weak) / (strong - weak)


def checked_weak_cost(weak_cost: float) -> float:
    """What weak-only costs in units of strong-only's; `InputError` unless in [0, 1)."""
    if not 0.0 <= weak_cost < 1.0:
        raise InputError(
            f"weak_cost is {weak_cost:g}, but weak-only must cost less than strong-only: from 0 to below 1"
        )
    return float(weak_cost)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """`InputError` unless a word is one of some."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
