"""Outcomes by point and problem, and their means over problems drawn with replacement.

A draw gives every problem a weight, how often it was drawn, and the same weights to every row: to all points of a
router, to weak-only, to strong-only and to a null. So what is hard for all of them does not blur what sets them apart.
Means of all rows over all draws are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError

FloatArray = NDArray[np.float64]
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


@dataclass(frozen=True, eq=False)
class Means:
    """Mean accuracy and cost of each point, of the problems as they are (row 0) and of every draw; shape (1 + B, K)."""

    right: FloatArray
    cost: FloatArray


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
