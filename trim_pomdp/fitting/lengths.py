r"""Lengths and outcomes of solutions as a hidden Markov chain: when right ones end, and when derailed ones do.

Before each step a solution is right or derailed. With s the success of a step, h the hazard of right steps, h' while
derailed, h'' of first errors, and r the recovery at the step (`recovery_by_step`), a step goes on with

.. math::
    P(\text{right} \to \text{right}) &= s\,(1 - h) & P(\text{right} \to \text{derailed}) &= (1 - s)(1 - h'') \\
    P(\text{derailed} \to \text{right}) &= r\,(1 - h') & P(\text{derailed} \to \text{derailed}) &= (1 - r)(1 - h')

or ends likewise with its hazard, and the answer is right if the solution then is. Only lengths and answers are seen,
and the first wrong step, where it is labelled. `fit_lengths` maximises the likelihood by EM over the hidden states, for
one hazard or one a class (but for what they make of r, which is taken from the round before). No scores are looked at:
their joint likelihood with outcomes predicts worse (docs/results.md). A solution that reaches the cap is cut off there:
the hazard at the cap is no parameter.

Where this stands among what is maximised: docs/model.md, section 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.model.hazard import HazardTrials, recovery_by_step

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
UNKNOWN = -2
"""Label of a solution whose first wrong step nobody knows; -1: none is wrong."""
Ends = Literal["alike", "before", "after", "apart"]
"""What the end of a solution depends on: nothing; whether the prefix is right before, or after the step; the class."""
_TINY = 1e-300
_MAX_ITERATIONS = 1000
_PRECISION = 1e-9


@dataclass(frozen=True)
class Hazards:
    """Termination hazards at steps 1 … T, each of shape (T,), 1 at the last: of right steps, derailed, first errors."""

    right: FloatArray
    derailed: FloatArray
    wrong: FloatArray

    @classmethod
    def one(cls, hazard: FloatArray) -> Hazards:
        """The same for all classes."""
        return cls(hazard, hazard, hazard)

    @cached_property
    def differ(self) -> bool:
        """Whether an end, or none, is evidence."""
        return not (np.array_equal(self.right, self.derailed) and np.array_equal(self.right, self.wrong))

    @property
    def wrong_apart(self) -> bool:
        """Whether first errors end solutions in a way of their own."""
        return not any(np.array_equal(self.wrong, other) for other in (self.right, self.derailed))

    @cached_property
    def end(self) -> FloatArray:
        """All by step and class, shape (T, 3)."""
        return np.stack([self.right, self.derailed, self.wrong], axis=1)

    @cached_property
    def by_prefix(self) -> FloatArray:
        """All by step, prefix before and prefix after it (right, derailed), shape (T, 2, 2)."""
        return np.ascontiguousarray(self.end[:, [0, 2, 1, 1]]).reshape(-1, 2, 2)

    def recovery(self, rate: float) -> FloatArray:
        """Recovery by step at a rate ρ, shape (T,)."""
        return rate * self._on_its_way

    @cached_property
    def _on_its_way(self) -> FloatArray:
        return recovery_by_step(1.0, self.right, self.derailed)


@dataclass(frozen=True)
class StepSlopes:
    """How much a log-likelihood changes with success and with recovery by step, each of shape (T,)."""

    success: FloatArray
    recovery: FloatArray


@dataclass(frozen=True)
class Steps:
    """One step of the chain, by step index, prefix before and prefix after it (right, derailed).

    Attributes
    ----------
    share : ndarray of shape (T, 2, 2)
        P(prefix after | prefix before).
    hazard : ndarray of shape (T, 2, 2)
        P(the step ends the solution | both).
    """

    share: FloatArray
    hazard: FloatArray

    @classmethod
    def of(cls, success: FloatArray, hazards: Hazards, recovery: FloatArray) -> Steps:
        """From success, hazards and recovery by step."""
        share = np.empty((len(success), 2, 2))
        share[:, 0, 0], share[:, 1, 0] = success, recovery
        share[:, :, 1] = 1.0 - share[:, :, 0]
        return cls(share, hazards.by_prefix)

    @cached_property
    def ends(self) -> FloatArray:
        """P(prefix after, ends | prefix before), shape (T, 2, 2)."""
        return self.share * self.hazard

    @cached_property
    def goes_on(self) -> FloatArray:
        """P(prefix after, goes on | prefix before), shape (T, 2, 2)."""
        return self.share * (1.0 - self.hazard)


@dataclass(frozen=True)
class OutcomeChain:
    """Probabilities of length and outcome, for solutions that begin anywhere.

    Attributes
    ----------
    table : ndarray of shape (T, 2, T, 2)
        P(ends at step l, answer | prefix before step a): a and l from 0, prefix right or derailed, answer right or
        wrong.
    steps : Steps
        What it is made of.
    """

    table: FloatArray
    steps: Steps

    @classmethod
    def of(cls, success: FloatArray, hazards: Hazards, recovery: float = 0.0) -> OutcomeChain:
        """From success and hazards by step, and the rate of recovery, by recursion from the cap."""
        from trim_pomdp.fitting import _kernels

        T = len(success)
        steps, out = Steps.of(success, hazards, hazards.recovery(recovery)), np.zeros((T, 2, T, 2))
        _kernels.chain(steps.goes_on, steps.ends, out)
        return cls(out, steps)

    def slopes(self, upon_table: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What changes with `Steps.goes_on` and with `Steps.ends`, given what changes with the table."""
        from trim_pomdp.fitting import _kernels

        upon_goes_on, upon_ends = np.zeros((2, *self.steps.ends.shape))
        _kernels.chain_slopes(
            self.steps.goes_on, self.steps.ends, self.table, upon_table.copy(), upon_goes_on, upon_ends
        )
        return upon_goes_on, upon_ends

    def step_slopes(self, upon_table: FloatArray) -> StepSlopes:
        """What changes with success and recovery by step."""
        upon_goes_on, upon_ends = self.slopes(upon_table)
        upon = upon_goes_on * (1.0 - self.steps.hazard) + upon_ends * self.steps.hazard
        return StepSlopes(upon[:, 0, 0] - upon[:, 0, 1], upon[:, 1, 0] - upon[:, 1, 1])

    @property
    def right(self) -> FloatArray:
        """P(ends at step l, answer right) from a right prefix before step a, shape (T, T)."""
        return self.table[:, 0, :, 0]

    @property
    def wrong(self) -> FloatArray:
        """The same with a wrong answer."""
        return self.table[:, 0, :, 1]

    @property
    def recovered(self) -> FloatArray:
        """P(ends at step l, answer right) from a derailed prefix before step a, shape (T, T)."""
        return self.table[:, 1, :, 0]

    @property
    def derailed(self) -> FloatArray:
        """The same with a wrong answer."""
        return self.table[:, 1, :, 1]

    @property
    def accuracy(self) -> FloatArray:
        """P(answer right) from a right prefix before step a, shape (T,)."""
        return np.asarray(self.right.sum(axis=1))

    @property
    def mean_steps(self) -> tuple[float, float]:
        """Mean number of steps of solutions with right and with wrong answers (0 where there are none)."""
        steps = np.arange(1, len(self.table) + 1)
        right, wrong = self.right[0], self.wrong[0]
        return float(steps @ right / max(right.sum(), _TINY)), float(steps @ wrong / max(wrong.sum(), _TINY))


def reached(
    success: FloatArray, hazards: Hazards, recovery: float, *, start: int = 0, derailed: bool = False
) -> FloatArray:
    """P(step t is reached, from a right and from a derailed prefix | the prefix before step `start`), shape (2, T).

    `recovery` is the rate ρ.
    """
    back, goes_on = hazards.recovery(recovery), 1.0 - hazards.end
    out = np.zeros((2, len(success)))
    out[int(derailed), start] = 1.0
    for t in range(start, len(success) - 1):
        right, lost = out[:, t]
        on, on_derailed, on_wrong = goes_on[t]
        out[0, t + 1] = right * success[t] * on + lost * back[t] * on_derailed
        out[1, t + 1] = right * (1.0 - success[t]) * on_wrong + lost * (1.0 - back[t]) * on_derailed
    return out


@dataclass(frozen=True)
class LengthCounts:
    """Numbers of solutions by last step (from 0, those beyond the cap counted at the cap).

    Attributes
    ----------
    right, wrong : ndarray of shape (T,)
        Solutions of which the answer alone is known.
    flawless : ndarray of shape (T,)
        Solutions known to have no wrong step.
    labelled : ndarray of shape (T, T, 2)
        Solutions with a known first wrong step (the first axis), by last step and answer (right first).
    """

    right: FloatArray
    wrong: FloatArray
    flawless: FloatArray
    labelled: FloatArray

    @classmethod
    def of(cls, lengths: IntArray, correct: NDArray[np.bool_], max_steps: int, labels: IntArray) -> LengthCounts:
        """Count solutions; one known to be flawless is, whatever its answer, and an error after the cap is none yet."""
        last = np.minimum(lengths, max_steps) - 1
        known = labels != UNKNOWN
        labelled = known & (labels >= 0) & (labels < max_steps)
        table = np.zeros((max_steps, max_steps, 2))
        np.add.at(table, (labels[labelled], last[labelled], np.where(correct[labelled], 0, 1)), 1.0)
        right, wrong, flawless = (
            np.bincount(last[where], minlength=max_steps).astype(np.float64)
            for where in (correct & ~known, ~correct & ~known, known & ~labelled)
        )
        return cls(right, wrong, flawless, table)

    @property
    def labelled_trials(self) -> FloatArray:
        """Steps up to the first error of solutions whose label is known, shape (T,)."""
        return _from_here_on(self.flawless + self.first_errors)

    @property
    def first_errors(self) -> FloatArray:
        """Known first errors by step, shape (T,)."""
        return np.asarray(self.labelled.sum(axis=(1, 2)))

    @property
    def pooled(self) -> HazardTrials:
        """Ends and trials of all solutions alike."""
        ends = self.right + self.wrong + self.flawless + self.labelled.sum(axis=(0, 2))
        return HazardTrials(ends, _from_here_on(ends))


@dataclass(frozen=True)
class LengthFit:
    """Success of a step (by step, shape (T,)), hazards and rate of recovery that explain lengths and outcomes."""

    success: FloatArray
    hazards: Hazards
    recovery: float = 0.0

    @cached_property
    def chain(self) -> OutcomeChain:
        """Probabilities of lengths and outcomes."""
        return OutcomeChain.of(self.success, self.hazards, self.recovery)

    def log_likelihood(self, counts: LengthCounts) -> float:
        """Log-likelihood of length and outcome."""
        chain = self.chain
        seen = counts.right @ _log(chain.right[0]) + counts.wrong @ _log(chain.wrong[0])
        if counts.flawless.any() or counts.labelled.any():
            flawless, first_error = self._by_label
            seen += counts.flawless @ _log(flawless) + (counts.labelled * _log(first_error)).sum()
        return float(seen)

    def slopes(self, counts: LengthCounts) -> StepSlopes:
        """How much the log-likelihood changes with success and recovery by step."""
        upon = self.chain.step_slopes(self._upon_table(counts))
        errors = counts.first_errors
        right = counts.labelled_trials - errors
        certain = right / np.maximum(self.success, _TINY) - errors / np.maximum(1.0 - self.success, _TINY)
        return StepSlopes(upon.success + certain, upon.recovery)

    def expected(self, counts: LengthCounts) -> tuple[FloatArray, FloatArray]:
        """Expected numbers of steps of each class, and of those that ended a solution, given what was seen.

        The number of times that something of probability p happened is p·d(log-likelihood)/dp (Fisher's identity).

        Returns
        -------
        trials, ends : ndarray of shape (3, T)
            By class S0, S1, S2.
        """
        steps = self.chain.steps
        upon_goes_on, upon_ends = self.chain.slopes(self._upon_table(counts))
        ends = _by_class(steps.ends * upon_ends)
        trials = _by_class(steps.goes_on * upon_goes_on) + ends
        # What labels tell for certain: all steps up to the first error.
        trials[[0, 2]] += [counts.labelled_trials - counts.first_errors, counts.first_errors]
        ends[[0, 2]] += [counts.flawless, np.einsum("ttk->t", counts.labelled)]
        return trials, ends

    def _upon_table(self, counts: LengthCounts) -> FloatArray:
        """What the log-likelihood changes with the chain's table: whole solutions, and what follows first errors."""
        table, out = self.chain.table, np.zeros_like(self.chain.table)
        out[0, 0] = _share(np.stack([counts.right, counts.wrong], axis=1), table[0, 0])
        out[1:, 1] += _share(np.where(self._later, counts.labelled[:-1], 0.0), table[1:, 1])
        return out

    @property
    def _later(self) -> NDArray[np.bool_]:
        """Where the last step comes after a first error before the cap, shape (T − 1, T, 1)."""
        index = np.arange(len(self.success))
        return np.asarray(index[:, None] > index[:-1, None, None])

    @property
    def _by_label(self) -> tuple[FloatArray, FloatArray]:
        """P(no wrong step, ends at step l), (T,), and P(first error at step τ, ends at step l, answer), (T, T, 2)."""
        s, h, wrong = self.success, self.hazards.right, self.hazards.wrong
        flawless_before = np.concatenate([[1.0], np.cumprod(s * (1.0 - h))[:-1]])
        after = np.zeros((len(s), len(s), 2))
        after[:-1] = (1.0 - wrong[:-1])[:, None, None] * self.chain.table[1:, 1]
        after[np.arange(len(s)), np.arange(len(s)), 1] += wrong
        return flawless_before * s * h, (flawless_before * (1.0 - s))[:, None, None] * after


def fit_lengths(
    counts: LengthCounts, *, ends: Ends, success: FloatArray | None = None, recovery: float = 0.0
) -> LengthFit:
    """Fit hazards, and success unless it is given, by EM over the hidden states.

    The one hazard is that of all solutions alike. Each step of a hazard leans on the one before
    (`trim_pomdp.model.hazard`), so that one that few right, or few derailed, solutions reach does not go wild.

    Parameters
    ----------
    counts : LengthCounts
        Solutions by length and outcome.
    ends : {"alike", "before", "after", "apart"}
        One hazard; one for right prefixes and one for derailed ones, that before the step or the one after it (which
        first errors tell apart); or one for each class, which outcomes alone cannot tell.
    success : ndarray of shape (T,), optional
        Success by step; by default one value for all steps is fitted.
    recovery : float
        ρ. What the hazards make of it by step is taken from the round before.
    """
    pooled = _estimate(counts.pooled, counts.pooled.trials[0])
    s = np.full(len(pooled), 0.8) if success is None else success
    fit = LengthFit(s, Hazards.one(pooled), recovery)
    before = -np.inf
    for _ in range(_MAX_ITERATIONS):
        trials, ended = fit.expected(counts)
        hazards = fit.hazards if ends == "alike" else _hazards(trials, ended, ends)
        if success is None:
            right, _, wrong = trials.sum(axis=1)
            s = np.full(len(pooled), right / (right + wrong))
        fit = LengthFit(s, hazards, recovery)
        now = fit.log_likelihood(counts)
        if abs(now - before) <= _PRECISION * abs(now):
            break
        before = now
    return fit


def _hazards(trials: FloatArray, ended: FloatArray, ends: Ends) -> Hazards:
    """The hazards that expected numbers make."""
    n = trials[:, 0].sum()
    right, derailed, wrong = (HazardTrials(*both) for both in zip(ended, trials, strict=True))
    if ends == "before":
        right = wrong = right + wrong
    elif ends == "after":
        derailed = wrong = derailed + wrong
    return Hazards(*(_estimate(item, n) for item in (right, derailed, wrong)))


def _by_class(number: FloatArray) -> FloatArray:
    """Numbers by prefix before and after a step, (T, 2, 2), as numbers by class, (3, T)."""
    return np.stack([number[:, 0, 0], number[:, 1, 0] + number[:, 1, 1], number[:, 0, 1]])


def _estimate(trials: HazardTrials, solutions: float) -> FloatArray:
    """Hazard by step; what none of so many solutions did is taken to be rare, not impossible."""
    hazard, least = trials.estimate(), 0.5 / (solutions + 1.0)
    hazard[:-1] = np.clip(hazard[:-1], least, 1.0 - least)
    return hazard


def _log(probability: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(probability, _TINY)))


def _share(number: FloatArray, probability: FloatArray) -> FloatArray:
    """Slope of number · log(probability), which is nothing where the logarithm is cut off."""
    possible = probability > _TINY
    return np.asarray(np.divide(number, probability, out=np.zeros_like(number), where=possible))


def _from_here_on(counts: FloatArray) -> FloatArray:
    """Sums of counts from each step on."""
    return np.asarray(counts[::-1].cumsum()[::-1])
