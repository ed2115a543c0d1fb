r"""Lengths and outcomes of solutions as a hidden Markov chain: when right ones end, and when derailed ones do.

A solution is right until a hidden step τ at which it derails, or to its end. With s the success of a step, h its
hazard while right or at the first error, h' while derailed, and G the probability of going on before,

.. math::
    P(\text{right, ends at } l) &= s_1 (1 - h_1) \cdots s_{l-1} (1 - h_{l-1})\, s_l h_l \\
    P(\tau, \text{ends at } l) &= \prod_{t<\tau} s_t (1 - h_t)\,(1 - s_\tau)
        \begin{cases} h_\tau & l = \tau \\ (1 - h_\tau) \prod_{\tau<t<l} (1 - h'_t)\, h'_l & l > \tau. \end{cases}

Of a derailed solution only Σ_τ is seen, unless it is labelled; with probability *luck* its answer is right all the
same. `fit_lengths` maximises the likelihood of (length, outcome)
by EM over τ, for one hazard or two. No scores are looked at: their joint likelihood with outcomes predicts worse
(docs/results.md). A solution that reaches the cap is cut off there: the hazard at the cap is no parameter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.dynamics.hazard import PRIOR_TRIALS, HazardTrials

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
UNKNOWN = -2
"""Label of a solution whose first wrong step nobody knows; -1: none is wrong."""
_TINY = 1e-300
_MAX_ITERATIONS = 1000
_PRECISION = 1e-9


@dataclass(frozen=True)
class Hazards:
    """Termination hazards at steps 1 … T, each of shape (T,), 1 at the last: while right, and while derailed."""

    right: FloatArray
    derailed: FloatArray

    @property
    def differ(self) -> bool:
        """Whether an end, or none, is evidence."""
        return not np.array_equal(self.right, self.derailed)


@dataclass(frozen=True)
class OutcomeChain:
    """Probabilities of length and outcome, for solutions that begin anywhere.

    Attributes
    ----------
    right, wrong, derailed : ndarray of shape (T, T)
        P(ends at step l, right), P(ends at step l, wrong) from a right prefix before step a, and P(ends at step l) from
        a derailed one; row a, column l, both from 0.
    """

    right: FloatArray
    wrong: FloatArray
    derailed: FloatArray

    @classmethod
    def of(cls, success: FloatArray, hazards: Hazards) -> OutcomeChain:
        """From success and hazards by step, by recursion from the cap."""
        T = len(success)
        right, wrong, derailed = np.zeros((3, T, T))
        for a in range(T - 1, -1, -1):
            s, h, h_derailed = success[a], hazards.right[a], hazards.derailed[a]
            if a < T - 1:
                right[a] = s * (1.0 - h) * right[a + 1]
                wrong[a] = (1.0 - h) * (s * wrong[a + 1] + (1.0 - s) * derailed[a + 1])
                derailed[a] = (1.0 - h_derailed) * derailed[a + 1]
            right[a, a], wrong[a, a], derailed[a, a] = s * h, (1.0 - s) * h, h_derailed
        return cls(right, wrong, derailed)

    @property
    def accuracy(self) -> FloatArray:
        """P(right) of a solution with a right prefix before step a, shape (T,)."""
        return np.asarray(self.right.sum(axis=1))

    @property
    def mean_steps(self) -> tuple[float, float]:
        """Mean number of steps of right and of wrong solutions (0 where there are none)."""
        steps = np.arange(1, len(self.right) + 1)
        right, wrong = self.right[0], self.wrong[0]
        return float(steps @ right / max(right.sum(), _TINY)), float(steps @ wrong / max(wrong.sum(), _TINY))


@dataclass(frozen=True)
class LengthCounts:
    """Numbers of solutions by last step (from 0, those beyond the cap counted at the cap).

    Attributes
    ----------
    right, wrong : ndarray of shape (T,)
        Solutions of which the answer alone is known.
    flawless : ndarray of shape (T,)
        Solutions known to have no wrong step.
    labelled : ndarray of shape (T, T)
        Solutions with a known first wrong step (row), by last step.
    """

    right: FloatArray
    wrong: FloatArray
    flawless: FloatArray
    labelled: FloatArray

    @classmethod
    def of(cls, lengths: IntArray, correct: NDArray[np.bool_], max_steps: int, labels: IntArray) -> LengthCounts:
        """Count solutions; a known label stands above the outcome, and an error after the cap is none yet."""
        last = np.minimum(lengths, max_steps) - 1
        known = labels != UNKNOWN
        labelled = known & (labels >= 0) & (labels < max_steps)
        table = np.zeros((max_steps, max_steps))
        np.add.at(table, (labels[labelled], last[labelled]), 1.0)
        right, wrong, flawless = (
            np.bincount(last[where], minlength=max_steps).astype(np.float64)
            for where in (correct & ~known, ~correct & ~known, known & ~labelled)
        )
        return cls(right, wrong, flawless, table)

    @property
    def pooled(self) -> HazardTrials:
        """Ends and trials of all solutions alike."""
        ends = self.right + self.wrong + self.flawless + self.labelled.sum(axis=0)
        return HazardTrials(ends, _from_here_on(ends))


@dataclass(frozen=True)
class LengthFit:
    """Success of a step (one value a step, shape (T,)), hazards and luck that explain lengths and outcomes."""

    success: FloatArray
    hazards: Hazards
    luck: float = 0.0

    def log_likelihood(self, counts: LengthCounts) -> float:
        """Log-likelihood of length and outcome."""
        chain = OutcomeChain.of(self.success, self.hazards)
        right, wrong = chain.right[0], chain.wrong[0]
        seen = counts.right @ _log(right + self.luck * wrong) + counts.wrong @ _log((1.0 - self.luck) * wrong)
        seen += counts.flawless @ _log(right)
        if counts.labelled.any():
            seen += (counts.labelled * _log(_first_errors(self.success, self.hazards))).sum()
        return float(seen)


def fit_lengths(counts: LengthCounts, *, two: bool, success: FloatArray | None = None, luck: float = 0.0) -> LengthFit:
    """Fit hazards, and success unless it is given, by EM over the hidden step of derailing.

    The one hazard is that of all solutions alike. Each of two leans on it with the weight of `PRIOR_TRIALS` trials a
    step (Beta pseudo-counts), so that a step that few right, or few derailed, solutions reach does not go wild.

    Parameters
    ----------
    counts : LengthCounts
        Solutions by length and outcome.
    two : bool
        Whether derailed solutions have a hazard of their own.
    success : ndarray of shape (T,), optional
        Success by step; by default one value for all steps is fitted.
    luck : float
        Probability that a derailed solution's answer is right.
    """
    pooled = counts.pooled.estimate()
    s = np.full(len(pooled), 0.8) if success is None else success
    fit = LengthFit(s, Hazards(pooled, pooled), luck)
    before = -np.inf
    for _ in range(_MAX_ITERATIONS):
        right, errors = _expected(counts, fit)
        hazards = _two_hazards(right, errors, pooled) if two else fit.hazards
        if success is None:
            trials = _from_here_on(right).sum() + _from_here_on(errors.sum(axis=1)).sum()
            s = np.full(len(pooled), 1.0 - errors.sum() / trials)
        fit = LengthFit(s, hazards, luck)
        now = fit.log_likelihood(counts)
        if abs(now - before) <= _PRECISION * abs(now):
            break
        before = now
    return fit


def _expected(counts: LengthCounts, fit: LengthFit) -> tuple[FloatArray, FloatArray]:
    """Expected solutions without a wrong step, by last step, (T,); the others by first error and last step, (T, T)."""
    first_error = _first_errors(fit.success, fit.hazards)
    flawless, derailed = OutcomeChain.of(fit.success, fit.hazards).right[0], first_error.sum(axis=0)
    lucky = counts.right * fit.luck * derailed / np.maximum(flawless + fit.luck * derailed, _TINY)
    errors = counts.labelled + first_error * ((counts.wrong + lucky) / np.maximum(derailed, _TINY))
    return counts.flawless + counts.right - lucky, errors


def _two_hazards(right: FloatArray, errors: FloatArray, pooled: FloatArray) -> Hazards:
    """Hazards given (expected) solutions, as from `_expected`."""
    earlier = np.triu(np.vstack([np.zeros(len(pooled)), errors.cumsum(axis=0)[:-1]]))  # derailed before step t
    ends = np.stack([right + np.diag(errors), np.diag(earlier)])
    trials = np.stack([_from_here_on(right + errors.sum(axis=1)), earlier.sum(axis=1)])
    rates = (ends + PRIOR_TRIALS * pooled) / (trials + PRIOR_TRIALS)
    rates[:, -1] = 1.0
    return Hazards(rates[0], rates[1])


def _first_errors(success: FloatArray, hazards: Hazards) -> FloatArray:
    """P(first error at step τ, ends at step l), shape (T, T)."""
    h = hazards.right
    derailed = OutcomeChain.of(success, hazards).derailed
    after = np.diag(h) + (1.0 - h)[:, None] * np.vstack([derailed[1:], np.zeros(len(h))])
    reached = np.concatenate([[1.0], np.cumprod(success * (1.0 - h))[:-1]])
    return np.asarray((reached * (1.0 - success))[:, None] * after)


def _log(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(probability, _TINY)))


def _from_here_on(counts: FloatArray) -> FloatArray:
    """Sums of counts from each step on."""
    return np.asarray(counts[::-1].cumsum()[::-1])
