"""Termination hazards, with censoring done properly.

A solution that is right so far and goes on, or ends, is one trial of h_t. A solution whose first error is at step
t is known to have gone on before t; whether it ended *at* t is not recorded, so t itself is no trial. The hazard
of a step is then ends / trials (the discrete Kaplan-Meier estimate). Where trials are few the estimate leans on
the step before, with the weight of `PRIOR_TRIALS` trials, so that one late solution does not make a certainty.

What is a trial in which data: docs/model.md, section 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.outcomes import StepCounts
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.equality import ByContent

FloatArray = NDArray[np.float64]
PRIOR_TRIALS = 2.0
HAZARDS = ("hazard", "hazard_derailed", "hazard_wrong")
"""Names of the hazards of S0, S1 and S2."""


@dataclass(frozen=True, eq=False)
class HazardTrials(ByContent):
    """Ends and trials at steps 1 … T (arrays of shape (T,)); sums of trials are trials of pooled data.

    The same serves any event that a step can have: with first errors for ends, the estimate is 1 − p_w by step.
    """

    ends: FloatArray
    trials: FloatArray

    def __add__(self, other: HazardTrials) -> HazardTrials:
        return HazardTrials(self.ends + other.ends, self.trials + other.trials)

    def rates(self) -> FloatArray:
        """Share of trials with an end, each step leaning on the one before; shape (T,)."""
        out = np.zeros(len(self.ends))
        before = self.ends[0] / self.trials[0] if self.trials[0] else 0.0
        for t, (ends, trials) in enumerate(zip(self.ends, self.trials, strict=True)):
            out[t] = before = (ends + PRIOR_TRIALS * before) / (trials + PRIOR_TRIALS)
        return out

    def estimate(self) -> FloatArray:
        """Hazard at every step, 1 at the last; shape (T,)."""
        hazard = self.rates()
        hazard[-1] = 1.0
        return hazard

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Clopper-Pearson bounds at every step, each of shape (T,); [0, 1] where there is no trial."""
        from scipy.stats import beta

        tail = (1.0 - level) / 2.0
        stays = self.trials - self.ends
        low, high = np.zeros(len(self.ends)), np.ones(len(self.ends))
        some, left = self.ends > 0, stays > 0
        low[some] = beta.ppf(tail, self.ends[some], stays[some] + 1.0)
        high[left] = beta.ppf(1.0 - tail, self.ends[left] + 1.0, stays[left])
        return low, high


def recovery_by_step(recovery: float, hazard: FloatArray, hazard_derailed: FloatArray) -> FloatArray:
    r"""Rate of recovery ρ_t at steps 1 … T: ρ, while a right solution would still be on its way; shape (T,).

    A derailed solution that has outlasted the right one has nothing to come back to. With S_t and S'_t the
    probabilities that right and derailed solutions go on from step 2, the first that can be derailed, to step t, and
    the two lengths coupled in one order,

    .. math:: \rho_t = \rho \min(1, S_t / S'_t),

    which is ρ itself where derailed solutions end when right ones would.
    """
    right, derailed = (
        np.concatenate([[1.0, 1.0], np.cumprod(1.0 - h[1:-1])])[: len(hazard)] for h in (hazard, hazard_derailed)
    )
    on_its_way = np.ones(len(right))
    np.divide(right, derailed, out=on_its_way, where=right < derailed)
    return recovery * on_its_way


def coupled_end(before: FloatArray, now: FloatArray, ended: int) -> tuple[FloatArray, FloatArray]:
    r"""P(goes on), P(over) of a rewritten step, given whether the draft in whose place it stands ended the solution.

    The two ends are coupled as far as they can be: a step whose hazard was h and is now g ends the solution with

    .. math::
        \min(1, g / h) \text{ if the draft did, } \max\left(0, \frac{g - h}{1 - h}\right) \text{ if not,}

    which is g over both. Equal hazards thus leave an end as it was.

    Parameters
    ----------
    before, now : ndarray of shape (T,)
        Hazards h and g.
    ended : {0, 1}
        Whether the draft ended the solution.
    """
    share = np.full(len(before), float(ended))
    if ended:
        np.divide(now, before, out=share, where=now < before)
    else:
        np.divide(now - before, 1.0 - before, out=share, where=now > before)
    return 1.0 - share, share


def derailed_hazard(hazard: FloatArray, factor: float) -> FloatArray:
    """h' = factor · h, at most 1, and 1 at the cap; shape (T,)."""
    out = np.minimum(hazard * factor, 1.0)
    out[-1] = 1.0
    return np.asarray(out)


def trials_from_counts(counts: StepCounts, max_steps: int) -> HazardTrials:
    """Trials while the solution is right: lengths of right solutions, and wrong ones up to before their error."""
    lengths = np.array(counts.correct_steps, dtype=np.int64)
    errors = np.array(counts.first_error_step, dtype=np.int64)
    return _trials(lengths, errors, max_steps)


def error_trials_from_counts(counts: StepCounts, max_steps: int) -> HazardTrials:
    """First errors and right steps by step index: trials of 1 − p_w."""
    lengths = np.array(counts.correct_steps, dtype=np.int64)
    errors = np.array(counts.first_error_step, dtype=np.int64)
    steps = np.arange(1, max_steps + 1)
    ends = (errors[:, None] == steps).sum(axis=0)
    trials = (lengths[:, None] >= steps).sum(axis=0) + (errors[:, None] >= steps).sum(axis=0)
    return HazardTrials(ends.astype(np.float64), trials.astype(np.float64))


def error_trials_from_labels(solutions: Sequence[LabelledSolution], max_steps: int) -> HazardTrials:
    """First errors and right steps by step index, from labelled solutions."""
    right = tuple(len(item.steps) for item in solutions if item.label < 0)
    wrong = tuple(item.label + 1 for item in solutions if item.label >= 0)
    return error_trials_from_counts(StepCounts(correct_steps=right, first_error_step=wrong), max_steps)


def published_hazard(lengths: Sequence[int], max_steps: int = 30) -> tuple[FloatArray, FloatArray]:
    """TRIM's recipe: lengths clipped to [2, max_steps], Gaussian kernels (factor .1) integrated over unit bins.

    Returns
    -------
    pmf : ndarray of shape (max_steps - 1,)
        Distribution of the length over 2 … max_steps.
    hazard : ndarray of shape (max_steps,)
        At steps 1 … max_steps, 0 at the first.
    """
    from scipy.special import ndtr

    clipped = np.clip(np.asarray(lengths, dtype=np.float64), 2, max_steps)
    bandwidth = 0.1 * clipped.std(ddof=1)
    edges = np.arange(2, max_steps + 2) - 0.5
    pmf = np.diff(ndtr((edges[:, None] - clipped) / bandwidth).mean(axis=1))
    pmf /= pmf.sum()
    hazard = np.concatenate([[0.0], pmf / pmf[::-1].cumsum()[::-1]])
    return pmf, hazard


def trials_from_lengths(lengths: NDArray[np.int64], max_steps: int) -> HazardTrials:
    """Trials of complete solutions, right and wrong ones alike (one hazard for all)."""
    return _trials(lengths, np.empty(0, dtype=np.int64), max_steps)


def trials_from_labels(
    solutions: Sequence[LabelledSolution], max_steps: int
) -> tuple[HazardTrials, HazardTrials, HazardTrials]:
    """Trials of each class: steps before a first error, steps after it, and first errors."""
    ends, trials = np.zeros((3, max_steps)), np.zeros((3, max_steps))
    for item in solutions:
        for step in range(min(len(item.steps), max_steps)):
            c = 0 if item.label < 0 or step < item.label else 2 if step == item.label else 1
            trials[c, step] += 1
            ends[c, step] += step == len(item.steps) - 1
    return HazardTrials(ends[0], trials[0]), HazardTrials(ends[1], trials[1]), HazardTrials(ends[2], trials[2])


def _trials(lengths: NDArray[np.int64], errors: NDArray[np.int64], max_steps: int) -> HazardTrials:
    steps = np.arange(1, max_steps + 1)
    ends = (lengths[:, None] == steps).sum(axis=0)
    trials = (lengths[:, None] >= steps).sum(axis=0) + (errors[:, None] > steps).sum(axis=0)
    return HazardTrials(ends.astype(np.float64), trials.astype(np.float64))
