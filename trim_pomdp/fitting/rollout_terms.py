"""Log-likelihoods of live rollouts, as terms of the joint one: of outcomes given what was seen before them.

Scores themselves count one by one, where a class or an outcome is given.

The strong model's own steps succeed with p̄ = p_w·p_s + (1 − p_w)·p_r. A solution of L steps that it writes alone is
right with p̄^L where derailed solutions end like others; where they end later, a long solution is itself a sign of
having derailed, so its length is taken together with its outcome (`OutcomeChain`), the hazards being given.

The sum of the terms is a composite likelihood: docs/model.md, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.fitting.lengths import Hazards, LengthCounts, LengthFit, OutcomeChain
from trim_pomdp.fitting.likelihood import Parameters, weak_success_curve
from trim_pomdp.model.belief import REGENERATE, RIGHT, kept_q, next_q, outcome_table, require_evidence
from trim_pomdp.model.observations import ObservationModel, transferred, with_right_weights
from trim_pomdp.model.sequences import SequenceBatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_TINY = 1e-12
# Share of redone steps whose end is no evidence: now and then a real one ends as the coupling of ends rules out.
_UNCOUPLED = 0.01
_WEAK = frozenset({"weak_success", "weak_success_slope"})
_EMISSION = frozenset({"look_right", "false_alarms", "misses"})
_RECOVERY = frozenset({"recovery"})
_STRONG = frozenset({"strong_success", "repair"})


@dataclass(frozen=True)
class SeenSteps:
    """Weak steps as the filter sees them.

    Attributes
    ----------
    bins : ndarray of shape (n, T)
        Observation bin of every step.
    lengths : ndarray of shape (n,)
        Number of steps.
    ended : ndarray of bool, shape (n,)
        Whether the last of them ended the solution.
    table : ndarray of shape (3, J)
        P(bin | right, derailed as labelled, wrong), before transfer.
    """

    bins: IntArray
    lengths: IntArray
    ended: NDArray[np.bool_]
    table: FloatArray

    @classmethod
    def of(
        cls,
        batch: SequenceBatch,
        observations: ObservationModel,
        weights: FloatArray,
        ended: NDArray[np.bool_] | None = None,
    ) -> SeenSteps:
        """Bin the scores of a batch; by default every sequence is a whole solution.

        Raises
        ------
        InputError
            If the batch holds other evidence than the observations bin.
        """
        require_evidence(batch, observations)
        whole = np.ones(len(batch), dtype=np.bool_) if ended is None else ended
        return cls(
            observations.bins(batch.scores), batch.lengths, whole, with_right_weights(observations.table, weights)
        )

    def beliefs(self, parameters: Parameters, hazards: Hazards) -> FloatArray:
        """Distribution over S0, S1, S2 after each step, shape (n, T, 3); zeros beyond the end.

        As `trim_pomdp.model.belief.filter_states` has it, compiled.
        """
        from trim_pomdp import _kernels

        out = np.zeros((*self.bins.shape, 3))
        # Equal hazards say nothing: halves cancel.
        end = hazards.end if hazards.differ else np.full((len(hazards.right), 3), 0.5)
        _kernels.filter_beliefs(
            self.bins,
            self.lengths,
            self.ended,
            np.ascontiguousarray(emission(self.table, parameters).T),
            weak_success_curve(parameters, len(hazards.right)),
            end,
            hazards.recovery(parameters["recovery"]),
            out,
        )
        return out

    def probability_right(self, parameters: Parameters, hazards: Hazards) -> FloatArray:
        """P(prefix right) after the last step, which is kept; shape (n,)."""
        recovery = hazards.recovery(parameters["recovery"])
        return kept_q(self.last_beliefs(parameters, hazards), recovery[self.last_step(len(recovery))])

    def last_beliefs(self, parameters: Parameters, hazards: Hazards) -> FloatArray:
        """Distribution over S0, S1, S2 after the last step, shape (n, 3)."""
        return np.asarray(self.beliefs(parameters, hazards)[np.arange(len(self.lengths)), self.lengths - 1])

    def last_step(self, cap: int) -> IntArray:
        """Step whose parameters the last step has: beyond the cap those before it, as in the filter; shape (n,)."""
        at_cap = self.ended & (self.lengths == cap)
        return np.where(at_cap, cap - 1, np.minimum(self.lengths - 1, max(cap - 2, 0)))


def step_classes(labels: IntArray, steps: int) -> IntArray:
    """Class 0, 1 or 2 of each step of solutions, given their first wrong step (-1: none), shape (n, steps).

    All that follows a first wrong step counts as derailed, though a few of those solutions find back.
    """
    index = np.arange(steps)
    first = np.where(labels < 0, steps, labels)[:, None]
    return np.where(index < first, 0, np.where(index == first, 2, 1))


def emission(table: FloatArray, parameters: Parameters) -> FloatArray:
    """P(bin | S0, S1, S2) after transfer, derailed steps judged one by one; shape (3, J)."""
    return transferred(
        table,
        look_right=parameters["look_right"],
        false_alarms=parameters["false_alarms"],
        misses=parameters["misses"],
        labelled=False,
    )


def strong_curve(parameters: Parameters, steps: int) -> FloatArray:
    """p̄ = p_w·p_s + (1 − p_w)·p_r by step, shape (steps,)."""
    p_w = weak_success_curve(parameters, steps)
    return p_w * parameters["strong_success"] + (1.0 - p_w) * parameters["repair"]


@dataclass(frozen=True)
class WeakOutcomes:
    """Outcomes of weak-only solutions given their scores and ends, through the filter."""

    steps: SeenSteps
    correct: NDArray[np.bool_]
    hazards: Hazards
    name: str = "weak rollouts: outcomes given scores"
    informs: frozenset[str] = _WEAK | _EMISSION | _RECOVERY

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        right = self.steps.probability_right(parameters, self.hazards)
        return float(np.log(np.maximum(np.where(self.correct, right, 1.0 - right), _TINY)).sum())


@dataclass(frozen=True)
class WeakLengths:
    """Lengths and outcomes of weak-only solutions (and first errors, where labelled), hazards given."""

    counts: LengthCounts
    hazards: Hazards
    name: str = "weak rollouts: lengths and outcomes"
    informs: frozenset[str] = _WEAK | _RECOVERY

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        success = weak_success_curve(parameters, len(self.hazards.right))
        return LengthFit(success, self.hazards, parameters["recovery"]).log_likelihood(self.counts)


@dataclass(frozen=True)
class WeakScores:
    """Scores of steps given lengths and outcomes, each step by itself: what tells p_d where outcomes hardly do.

    Taken one by one, scores cannot pull the fit by the dependence between them, which no model of ours has
    (docs/results.md); all steps of a solution count as one observation.

    Attributes
    ----------
    seen : ndarray of bool, shape (T, T, 2)
        Whether there is any step of this index, last step of its solution and outcome (right first).
    counts : ndarray of shape (n, J)
        Steps of each such kind by bin.
    """

    seen: NDArray[np.bool_]
    counts: FloatArray
    table: FloatArray
    hazards: Hazards
    name: str = "weak rollouts: scores given lengths and outcomes"
    informs: frozenset[str] = _EMISSION

    @classmethod
    def of(cls, steps: SeenSteps, correct: NDArray[np.bool_], hazards: Hazards) -> WeakScores:
        """Count steps, those beyond the cap left out."""
        T = len(hazards.right)
        counts = np.zeros((T, T, 2, steps.table.shape[1]))
        last = np.minimum(steps.lengths, T) - 1
        row, t = np.nonzero(np.arange(min(steps.bins.shape[1], T)) <= last[:, None])
        np.add.at(counts, (t, last[row], np.where(correct[row], 0, 1), steps.bins[row, t]), 1.0)
        seen = np.asarray(counts.any(axis=3))
        return cls(seen, counts[seen] * len(last) / len(row), steps.table, hazards)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        success = weak_success_curve(parameters, len(self.hazards.right))
        shares = LengthFit(success, self.hazards, parameters["recovery"]).class_shares[self.seen]
        return float((self.counts * np.log(np.maximum(shares @ emission(self.table, parameters), _TINY))).sum())


@dataclass(frozen=True)
class LabelledScores:
    """Scores of steps whose class is known (`step_classes`): what transfer and p_d are, without the filter.

    `counts` has the shape (3, J): steps of class S0, S1, S2 by bin.
    """

    counts: FloatArray
    table: FloatArray
    name: str = "weak rollouts: scores of labelled steps"
    informs: frozenset[str] = _EMISSION

    @classmethod
    def of(cls, steps: SeenSteps, labels: IntArray) -> LabelledScores:
        """Count the bins of labelled solutions; `labels` holds first wrong steps from 0, or -1."""
        T = steps.bins.shape[1]
        counts = np.zeros(steps.table.shape)
        exists = np.arange(T) < steps.lengths[:, None]
        np.add.at(counts, (step_classes(labels, T)[exists], steps.bins[exists]), 1.0)
        return cls(counts, steps.table)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return float((self.counts * np.log(np.maximum(emission(self.table, parameters), _TINY))).sum())


@dataclass(frozen=True)
class StrongOutcomes:
    """Outcomes and lengths of strong-only solutions (and first errors, where labelled)."""

    counts: LengthCounts
    hazards: Hazards
    name: str = "strong rollouts: lengths and outcomes"
    informs: frozenset[str] = _WEAK | _STRONG | _RECOVERY

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        success = strong_curve(parameters, len(self.hazards.right))
        return LengthFit(success, self.hazards, parameters["recovery"]).log_likelihood(self.counts)


@dataclass(frozen=True)
class Repairs:
    """Outcomes of solutions whose last weak step the strong model redid before it went on alone.

    With b the belief at that step, t, the prefix is right after it with q = b₀·p_s + b₁·ρ_t + b₂·p_r, given whether the
    redone step ended the solution (`trim_pomdp.model.belief.outcome_table`). `further` holds the number of strong steps
    after the redone one, shape (n,), which are taken together with the outcome.
    """

    steps: SeenSteps
    correct: NDArray[np.bool_]
    further: IntArray
    hazards: Hazards
    name: str = "repair rollouts: outcomes"
    informs: frozenset[str] = _WEAK | _EMISSION | _STRONG | _RECOVERY

    def probability_right(self, parameters: Parameters) -> FloatArray:
        """P(right | scores of the weak steps, whether the redone one ended the solution), shape (n,)."""
        q, chain, goes_on = self._right_after(parameters), self._chain(parameters), self._goes_on
        first = self.steps.lengths[goes_on]
        q[goes_on] = q[goes_on] * chain.accuracy[first] + (1.0 - q[goes_on]) * chain.recovered.sum(axis=1)[first]
        return q

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        q, chain, goes_on = self._right_after(parameters), self._chain(parameters), self._goes_on
        first = self.steps.lengths[goes_on]
        span = first, np.minimum(first + self.further[goes_on] - 1, len(self.hazards.right) - 1)
        right, wrong = q.copy(), 1.0 - q
        right[goes_on] = q[goes_on] * chain.right[span] + (1.0 - q[goes_on]) * chain.recovered[span]
        wrong[goes_on] = q[goes_on] * chain.wrong[span] + (1.0 - q[goes_on]) * chain.derailed[span]
        return float(np.log(np.maximum(np.where(self.correct, right, wrong), _TINY)).sum())

    @property
    def _goes_on(self) -> NDArray[np.bool_]:
        return (self.further > 0) & (self.steps.lengths < len(self.hazards.right))

    def _right_after(self, parameters: Parameters) -> FloatArray:
        belief, back = self.steps.last_beliefs(parameters, self.hazards), self.hazards.recovery(parameters["recovery"])
        after = outcome_table(parameters["strong_success"], parameters["repair"], back, self.hazards.end)
        after = after[self.steps.last_step(len(back)), self.steps.ended.astype(np.int64), REGENERATE]
        whatever_ended = (belief * after[..., RIGHT].sum(axis=-1)).sum(axis=-1)
        return np.asarray((1.0 - _UNCOUPLED) * next_q(belief, after, self.further == 0) + _UNCOUPLED * whatever_ended)

    def _chain(self, parameters: Parameters) -> OutcomeChain:
        curve = strong_curve(parameters, len(self.hazards.right))
        return OutcomeChain.of(curve, self.hazards, parameters["recovery"])


@dataclass(frozen=True)
class RepairTruth:
    """Redone steps whose class is known: `counts` holds right and wrong ones (columns) of S0 and S2 (rows)."""

    counts: FloatArray
    name: str = "repair rollouts: labelled steps"
    informs: frozenset[str] = _STRONG

    @classmethod
    def of(cls, true_class: IntArray, redone_right: NDArray[np.bool_]) -> RepairTruth:
        """Count steps; those of class S1 say nothing."""
        return cls(
            np.array(
                [[(redone_right[true_class == c] == right).sum() for right in (True, False)] for c in (0, 2)], float
            )
        )

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return float(
            (self.counts.T * _log_both(np.array([parameters[name] for name in ("strong_success", "repair")]))).sum()
        )


def _log_both(right: FloatArray) -> FloatArray:
    """log p and log (1 − p), shape (2, n)."""
    p = np.clip(right, _TINY, 1.0 - _TINY)
    return np.stack([np.log(p), np.log1p(-p)])
