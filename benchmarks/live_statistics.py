"""Statistics of paired runs: one bootstrap over problems for all of them, hulls of noisy points, weighted metrics.

A draw of the bootstrap is a row of counts, how often each problem was drawn. All runs have the same problems, so one
matrix of counts serves them all and differences stay paired. Whatever is a mean over problems, or a ratio of sums over
them, is then one matrix product for all draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LEVEL = 0.95
_CHUNK = 100


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: FloatArray) -> Estimate:
        """Percentile interval from the draws, shape (B,)."""
        low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def points(self) -> str:
        """As a difference in percentage points."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Bootstrap:
    """Draws of problems with replacement.

    Attributes
    ----------
    counts : ndarray of shape (1 + B, n)
        How often each problem was drawn; row 0 is the sample itself, every problem once.
    """

    counts: FloatArray

    @classmethod
    def of(cls, problems: int, draws: int = 2000, seed: int = 0) -> Bootstrap:
        """So many draws of so many problems."""
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(problems, np.full(problems, 1.0 / problems), size=draws)
        return cls(np.concatenate([np.ones((1, problems)), drawn]))

    def means(self, values: FloatArray) -> FloatArray:
        """Mean over problems in every draw, shape (n,) → (1 + B,) or (n, k) → (1 + B, k)."""
        return np.asarray(self.counts @ values / self.counts.shape[1])

    def ratios(self, numerator: FloatArray, denominator: FloatArray) -> FloatArray:
        """Ratio of sums over problems in every draw; shapes as in `means`; NaN where there is nothing."""
        above, below = self.counts @ numerator, self.counts @ denominator
        out: FloatArray = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
        np.divide(above, below, out=out, where=below > 0)
        return out

    def row_weights(self, problem: IntArray) -> Iterator[FloatArray]:
        """Weights of rows that belong to problems (index per row), a chunk of draws at a time."""
        for start in range(0, len(self.counts), _CHUNK):
            yield self.counts[start : start + _CHUNK][:, problem]


def estimate(values: FloatArray) -> Estimate:
    """From values in all draws, the sample first, shape (1 + B,)."""
    return Estimate.of(float(values[0]), values[1:])


def mean_error(values: FloatArray) -> tuple[float, float]:
    """Mean over problems and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


# Hulls ------------------------------------------------------------------------------------------------------


def hull_choice(x: FloatArray, y: FloatArray, at: FloatArray) -> tuple[IntArray, IntArray]:
    """The two points whose mixture is best among those that spend what is allowed.

    Parameters
    ----------
    x, y : ndarray of shape (m, k)
        Cost and worth of k points, in m draws.
    at : ndarray of shape (m,)
        Allowed cost; at least that of the cheapest point.

    Returns
    -------
    first, second : ndarray of shape (m,)
        Indices of the cheaper and the dearer point; the same where one point alone is best.
    """
    values = _mixtures(x, y, at)
    best = values.reshape(len(x), -1).argmax(axis=1)
    return best // x.shape[1], best % x.shape[1]


def hull_values(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Height of the concave, non-decreasing hull at `at`, in every draw; shapes as in `hull_choice`."""
    return np.asarray(_mixtures(x, y, at).reshape(len(x), -1).max(axis=1))


def _mixtures(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Worth of mixing point i and point j to the cost `at`, shape (m, k, k); −inf where that cannot be done."""
    below, above = x[:, :, None], x[:, None, :]
    width = above - below
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(width > 0, (at[:, None, None] - below) / width, 0.0)
    worth = y[:, :, None] + share * (y[:, None, :] - y[:, :, None])
    alone = np.eye(x.shape[1], dtype=bool)
    possible = (below <= at[:, None, None]) & ((above > at[:, None, None]) | alone)
    return np.where(possible, worth, -np.inf)


def chosen_elsewhere(
    x: FloatArray, y: FloatArray, own_x: FloatArray, own_y: FloatArray, *, splits: int = 100, seed: int = 0
) -> float:
    """Mean of own worth minus that of the best mixture of points, chosen on one half and valued on the other.

    Free of the optimism of a hull over noisy points; a little pessimistic for the points instead.

    Parameters
    ----------
    x, y : ndarray of shape (n, k)
        Cost and worth of k points on n problems.
    own_x, own_y : ndarray of shape (n,)
        Those of the policy that is compared with them.
    """
    rng = np.random.default_rng(seed)
    n = len(own_x)
    half = np.zeros((splits, n))
    half[:, : n // 2] = 1.0
    half = rng.permuted(half, axis=1)
    differences = []
    for here, there in ((half, 1.0 - half), (1.0 - half, half)):
        here, there = here / here.sum(axis=1, keepdims=True), there / there.sum(axis=1, keepdims=True)
        first, second = hull_choice(here @ x, here @ y, here @ own_x)
        rows = np.arange(splits)
        x1, x2 = (there @ x)[rows, first], (there @ x)[rows, second]
        y1, y2 = (there @ y)[rows, first], (there @ y)[rows, second]
        share = np.zeros(splits)
        np.divide(there @ own_x - x1, x2 - x1, out=share, where=x2 > x1)
        differences.append(there @ own_y - (y1 + np.clip(share, 0.0, 1.0) * (y2 - y1)))
    return float(np.mean(differences))


# Plans ------------------------------------------------------------------------------------------------------


def excess_rmse(measured: FloatArray, errors: FloatArray, planned: FloatArray) -> tuple[float, Estimate]:
    """RMSE of plans, raw, and beyond sampling error: √max(0, mean((m − p)² − se²)), with its interval.

    Parameters
    ----------
    measured : ndarray of shape (1 + B, k)
        In every draw, the sample first.
    errors, planned : ndarray of shape (k,)

    Notes
    -----
    A draw adds its own noise to that of the sample, so its mean square is too large by another mean(se²), which is
    taken off: draws of the mean square are then centred on the sample's value.
    """
    square = ((measured - planned) ** 2).mean(axis=1)
    noise = float((errors**2).mean())
    draws = np.sqrt(np.maximum(square[1:] - 2.0 * noise, 0.0))
    value = float(np.sqrt(max(square[0] - noise, 0.0)))
    return float(np.sqrt(square[0])), Estimate.of(value, draws)


# Probabilities of steps -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """Probabilities of what is known, by rows that belong to problems.

    Attributes
    ----------
    p : ndarray of shape (rows,)
    outcome : ndarray of bool, shape (rows,)
    problem : ndarray of int, shape (rows,)
        Index of the problem.
    """

    p: FloatArray
    outcome: NDArray[np.bool_]
    problem: IntArray

    def _by_problem(self, values: FloatArray, problems: int) -> FloatArray:
        """Sums of rows' values (rows,) or (rows, k) by problem."""
        out = np.zeros((problems, *values.shape[1:]))
        np.add.at(out, self.problem, values)
        return out

    def _members(self, edges: FloatArray) -> FloatArray:
        """One-hot bin of every prediction, shape (rows, bins); 1 belongs to the last bin."""
        bins = len(edges) - 1
        return np.eye(bins)[np.clip(np.searchsorted(edges, self.p, side="right") - 1, 0, bins - 1)]

    def mean_draws(self, values: FloatArray, bootstrap: Bootstrap) -> FloatArray:
        """Mean over rows of values (rows,), in every draw."""
        n = bootstrap.counts.shape[1]
        return bootstrap.ratios(self._by_problem(values, n), self._by_problem(np.ones(len(values)), n))

    def log_loss(self, bootstrap: Bootstrap) -> FloatArray:
        """Mean log loss in every draw."""
        return self.mean_draws(log_losses(self.p, self.outcome), bootstrap)

    def brier(self, bootstrap: Bootstrap) -> FloatArray:
        """Mean squared error in every draw."""
        return self.mean_draws((self.p - self.outcome) ** 2, bootstrap)

    def ece(self, bootstrap: Bootstrap, bins: int = 10) -> FloatArray:
        """Expected calibration error over equal bins, in every draw."""
        member = self._members(np.linspace(0.0, 1.0, bins + 1))
        n = bootstrap.counts.shape[1]
        gap = bootstrap.counts @ self._by_problem(member * (self.p - self.outcome)[:, None], n)
        rows = bootstrap.counts @ self._by_problem(np.ones(len(self.p)), n)
        return np.asarray(np.abs(gap).sum(axis=1) / rows)

    def auc(self, bootstrap: Bootstrap) -> FloatArray:
        """Area under the ROC curve in every draw, ties counting half."""
        order = np.argsort(self.p, kind="stable")
        ranked, outcome = self.p[order], self.outcome[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ranked) > 0]))
        out = []
        for weights in bootstrap.row_weights(self.problem[order]):
            right = np.add.reduceat(weights * outcome, starts, axis=1)
            wrong = np.add.reduceat(weights * ~outcome, starts, axis=1)
            below = np.cumsum(wrong, axis=1) - 0.5 * wrong
            out.append((right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1)))
        return np.concatenate(out)

    def reliability(self, bootstrap: Bootstrap, edges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Share of rows, mean prediction, and observed frequency in every draw, for bins of the prediction."""
        member = self._members(edges)
        n = bootstrap.counts.shape[1]
        rows = self._by_problem(member, n)
        observed = bootstrap.ratios(self._by_problem(member * self.outcome[:, None], n), rows)
        total = member.sum(axis=0)
        predicted = np.full(len(total), np.nan)
        np.divide(self.p @ member, total, out=predicted, where=total > 0)
        return total / total.sum(), predicted, observed


def log_losses(p: FloatArray, outcome: NDArray[np.bool_], clip: float = 1e-9) -> FloatArray:
    """Minus log probability of what happened; probabilities are clipped, lest one mistake be infinite."""
    chosen = np.clip(np.where(outcome, p, 1.0 - p), clip, 1.0)
    return np.asarray(-np.log(chosen))
