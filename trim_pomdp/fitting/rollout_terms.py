"""Log-likelihoods of live rollouts, as terms of the joint one: of outcomes given what was seen before them.

Scores themselves count one by one, where a class or an outcome is given.

The strong model's own steps succeed with p̄ = p_w·p_s + (1 − p_w)·p_r. A solution of L steps that it writes alone is
right with p̄^L where derailed solutions end like others; where they end later, a long solution is itself a sign of
having derailed, so its length is taken together with its outcome (`OutcomeChain`), the hazards being given.

The sum of the terms is a composite likelihood: docs/model.md, section 7.

Every term gives its slopes with its value. They are taken back from the value to what it is made of (`Upon`), and from
there to the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.fitting.lengths import Hazards, LengthCounts, LengthFit, OutcomeChain
from trim_pomdp.fitting.likelihood import (
    Parameters,
    SmoothTerm,
    bernoulli_slopes,
    weak_success_curve,
    weak_success_slopes,
)
from trim_pomdp.model.belief import OVER, REGENERATE, RIGHT, kept_q, outcome_table, require_evidence
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


class RolloutTerm(SmoothTerm, Protocol):
    """A term of rollouts; hazards are given."""

    def given(self, hazards: Hazards) -> Self:
        """The same data, given other hazards."""
        ...


@dataclass(frozen=True)
class Upon:
    """How much a log-likelihood changes with what a term is made of.

    Attributes
    ----------
    success, recovery : ndarray of shape (T,)
        With the success of a step, and recovery, by step.
    emission : ndarray of shape (3, J), optional
        With P(bin | class), after transfer.
    """

    success: FloatArray
    recovery: FloatArray
    emission: FloatArray | None = None

    def by_parameter(
        self, parameters: Parameters, hazards: Hazards, table: FloatArray | None = None
    ) -> dict[str, float]:
        """Slopes in the parameters, success being the weak model's; `table` is P(bin | class) before transfer."""
        out = {"recovery": float(self.recovery @ hazards.recovery(1.0))}
        curves = weak_success_slopes(parameters, len(self.success))
        out |= {name: float(self.success @ curve) for name, curve in curves.items()}
        if self.emission is not None:
            assert table is not None
            out |= emission_slopes(table, parameters, self.emission)
        return out


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
        _kernels.filter_beliefs(
            self.bins,
            self.lengths,
            self.ended,
            np.ascontiguousarray(emission(self.table, parameters).T),
            weak_success_curve(parameters, len(hazards.right)),
            _evidence(hazards),
            hazards.recovery(parameters["recovery"]),
            out,
        )
        return out

    def upon(self, beliefs: FloatArray, upon_last: FloatArray, parameters: Parameters, hazards: Hazards) -> Upon:
        """What changes by way of the filter, given what changes with the last of its `beliefs`, (n, 3)."""
        from trim_pomdp.fitting import _kernels

        T = len(hazards.right)
        out = Upon(np.zeros(T), np.zeros(T), np.zeros(self.table.shape))
        _kernels.filter_slopes(
            self.bins,
            self.lengths,
            self.ended,
            emission(self.table, parameters),
            weak_success_curve(parameters, T),
            _evidence(hazards),
            hazards.recovery(parameters["recovery"]),
            beliefs,
            np.ascontiguousarray(upon_last),
            out.emission,
            out.success,
            out.recovery,
        )
        return out

    def probability_right(self, parameters: Parameters, hazards: Hazards) -> FloatArray:
        """P(prefix right) after the last step, which is kept; shape (n,)."""
        recovery = hazards.recovery(parameters["recovery"])
        return kept_q(self.last_beliefs(parameters, hazards), recovery[self.last_step(len(recovery))])

    def last_beliefs(self, parameters: Parameters, hazards: Hazards) -> FloatArray:
        """Distribution over S0, S1, S2 after the last step, shape (n, 3)."""
        return self.last_of(self.beliefs(parameters, hazards))

    def last_of(self, beliefs: FloatArray) -> FloatArray:
        """The last of the beliefs of each solution, shape (n, 3)."""
        return np.asarray(beliefs[np.arange(len(self.lengths)), self.lengths - 1])

    def last_step(self, cap: int) -> IntArray:
        """Step whose parameters the last step has: beyond the cap those before it, as in the filter; shape (n,)."""
        at_cap = self.ended & (self.lengths == cap)
        return np.where(at_cap, cap - 1, np.minimum(self.lengths - 1, max(cap - 2, 0)))


def _evidence(hazards: Hazards) -> FloatArray:
    """Hazards as the filter takes them, shape (T, 3). Equal hazards say nothing: halves cancel."""
    return hazards.end if hazards.differ else np.full((len(hazards.right), 3), 0.5)


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


def emission_slopes(table: FloatArray, parameters: Parameters, upon: FloatArray) -> dict[str, float]:
    """Slopes in p_d, e and d of what changes with `emission`."""
    e, d, p_d = (parameters[name] for name in ("false_alarms", "misses", "look_right"))
    to_right, to_wrong = upon[0] + p_d * upon[1], upon[2] + (1.0 - p_d) * upon[1]
    apart = table[2] - table[0]
    # A derailed step is a mixture of right and wrong ones after transfer, which differ by (1 − e − d)·apart.
    return {
        "false_alarms": float(to_right @ apart),
        "misses": -float(to_wrong @ apart),
        "look_right": -float((1.0 - e - d) * (upon[1] @ apart)),
    }


def strong_curve(parameters: Parameters, steps: int) -> FloatArray:
    """p̄ = p_w·p_s + (1 − p_w)·p_r by step, shape (steps,)."""
    p_w = weak_success_curve(parameters, steps)
    return p_w * parameters["strong_success"] + (1.0 - p_w) * parameters["repair"]


def _strong_slopes(parameters: Parameters, upon: FloatArray) -> tuple[FloatArray, dict[str, float]]:
    """Slopes in p_w by step, and in p_s and p_r, of what changes with `strong_curve`."""
    p_w = weak_success_curve(parameters, len(upon))
    both = {"strong_success": float(upon @ p_w), "repair": float(upon @ (1.0 - p_w))}
    return upon * (parameters["strong_success"] - parameters["repair"]), both


@dataclass(frozen=True)
class WeakOutcomes:
    """Outcomes of weak-only solutions given their scores and ends, through the filter."""

    steps: SeenSteps
    correct: NDArray[np.bool_]
    hazards: Hazards
    name: str = "weak rollouts: outcomes given scores"
    informs: frozenset[str] = _WEAK | _EMISSION | _RECOVERY

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`."""
        return replace(self, hazards=hazards)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        right = self.steps.probability_right(parameters, self.hazards)
        return float(np.log(np.maximum(np.where(self.correct, right, 1.0 - right), _TINY)).sum())

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        steps, T = self.steps, len(self.hazards.right)
        beliefs = steps.beliefs(parameters, self.hazards)
        last, step = steps.last_of(beliefs), steps.last_step(T)
        back = self.hazards.recovery(parameters["recovery"])[step]
        right = kept_q(last, back)
        value, upon_seen = _log_and_slope(np.where(self.correct, right, 1.0 - right))
        upon_right = np.where(self.correct, upon_seen, -upon_seen)
        upon_last = np.stack([upon_right, upon_right * back, np.zeros(len(back))], axis=1)
        upon = steps.upon(beliefs, upon_last, parameters, self.hazards)
        upon.recovery[:] += np.bincount(step, upon_right * last[:, 1], minlength=T)
        return value, upon.by_parameter(parameters, self.hazards, steps.table)


@dataclass(frozen=True)
class _Lengths:
    """Lengths and outcomes of solutions that one model wrote alone, hazards given."""

    counts: LengthCounts
    hazards: Hazards

    def success(self, parameters: Parameters, steps: int) -> FloatArray:
        """Success of the model's steps, shape (steps,)."""
        raise NotImplementedError

    def upon_weak(self, parameters: Parameters, upon: FloatArray) -> tuple[FloatArray, dict[str, float]]:
        """What changes with `success`, as what changes with the weak model's, and slopes in further parameters."""
        raise NotImplementedError

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`."""
        return replace(self, hazards=hazards)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return self._fit(parameters).log_likelihood(self.counts)

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        fit = self._fit(parameters)
        upon = fit.slopes(self.counts)
        weak, further = self.upon_weak(parameters, upon.success)
        by_parameter = Upon(weak, upon.recovery).by_parameter(parameters, self.hazards)
        return fit.log_likelihood(self.counts), {**by_parameter, **further}

    def _fit(self, parameters: Parameters) -> LengthFit:
        success = self.success(parameters, len(self.hazards.right))
        return LengthFit(success, self.hazards, parameters["recovery"])


@dataclass(frozen=True)
class WeakLengths(_Lengths):
    """Lengths and outcomes of weak-only solutions (and first errors, where labelled), hazards given."""

    name: str = "weak rollouts: lengths and outcomes"
    informs: frozenset[str] = _WEAK | _RECOVERY

    def success(self, parameters: Parameters, steps: int) -> FloatArray:
        """p_w by step."""
        return weak_success_curve(parameters, steps)

    def upon_weak(self, parameters: Parameters, upon: FloatArray) -> tuple[FloatArray, dict[str, float]]:
        """The same."""
        return upon, {}


@dataclass(frozen=True)
class WeakScores:
    """Scores of steps given lengths and outcomes, each step by itself: what tells p_d where outcomes hardly do.

    Taken one by one, scores cannot pull the fit by the dependence between them, which no model of ours has
    (docs/results.md); all steps of a solution count as one observation.

    Attributes
    ----------
    kinds : ndarray of shape (n, 4)
        Index of a step, last step of its solution, its outcome (0: right) and bin of the step, as far as there are any.
    weights : ndarray of shape (n,)
        How many of each kind, over the mean length of solutions.
    """

    kinds: IntArray
    weights: FloatArray
    table: FloatArray
    hazards: Hazards
    name: str = "weak rollouts: scores given lengths and outcomes"
    informs: frozenset[str] = _EMISSION

    @classmethod
    def of(cls, steps: SeenSteps, correct: NDArray[np.bool_], hazards: Hazards) -> WeakScores:
        """Count steps, those beyond the cap left out."""
        T = len(hazards.right)
        last = np.minimum(steps.lengths, T) - 1
        row, t = np.nonzero(np.arange(min(steps.bins.shape[1], T)) <= last[:, None])
        each, shape = (t, last[row], np.where(correct[row], 0, 1), steps.bins[row, t]), (T, T, 2, steps.table.shape[1])
        kinds, counts = np.unique(np.ravel_multi_index(each, shape), return_counts=True)
        found = np.stack(np.unravel_index(kinds, shape), axis=1)
        return cls(np.ascontiguousarray(found), counts * len(last) / len(row), steps.table, hazards)

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`."""
        return replace(self, hazards=hazards)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        from trim_pomdp.fitting import _kernels

        T, recovery = len(self.hazards.right), parameters["recovery"]
        success = weak_success_curve(parameters, T)
        chain = OutcomeChain.of(success, self.hazards, recovery)
        upon, upon_table = Upon(np.zeros(T), np.zeros(T), np.zeros(self.table.shape)), np.zeros_like(chain.table)
        value = _kernels.score_slopes(
            self.kinds,
            self.weights,
            success,
            self.hazards.recovery(recovery),
            self.hazards.end,
            emission(self.table, parameters),
            chain.table,
            _TINY,
            upon.success,
            upon.recovery,
            upon.emission,
            upon_table,
        )
        by_chain = chain.step_slopes(upon_table)
        both = Upon(upon.success + by_chain.success, upon.recovery + by_chain.recovery, upon.emission)
        return value, both.by_parameter(parameters, self.hazards, self.table)


@dataclass(frozen=True)
class LabelledStepScores:
    """Scores of steps whose class is known (`step_classes`): what transfer and p_d are, without the filter.

    `counts` has the shape (3, J): steps of class S0, S1, S2 by bin.
    """

    counts: FloatArray
    table: FloatArray
    name: str = "weak rollouts: scores of labelled steps"
    informs: frozenset[str] = _EMISSION

    @classmethod
    def of(cls, steps: SeenSteps, labels: IntArray) -> LabelledStepScores:
        """Count the bins of labelled solutions; `labels` holds first wrong steps from 0, or -1."""
        T = steps.bins.shape[1]
        counts = np.zeros(steps.table.shape)
        exists = np.arange(T) < steps.lengths[:, None]
        np.add.at(counts, (step_classes(labels, T)[exists], steps.bins[exists]), 1.0)
        return cls(counts, steps.table)

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`; hazards do not matter."""
        return self

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        value, upon = _log_and_slope(emission(self.table, parameters), self.counts)
        return value, emission_slopes(self.table, parameters, upon)


@dataclass(frozen=True)
class StrongOutcomes(_Lengths):
    """Outcomes and lengths of strong-only solutions (and first errors, where labelled)."""

    name: str = "strong rollouts: lengths and outcomes"
    informs: frozenset[str] = _WEAK | _STRONG | _RECOVERY

    def success(self, parameters: Parameters, steps: int) -> FloatArray:
        """See `strong_curve`."""
        return strong_curve(parameters, steps)

    def upon_weak(self, parameters: Parameters, upon: FloatArray) -> tuple[FloatArray, dict[str, float]]:
        """With slopes in p_s and p_r."""
        return _strong_slopes(parameters, upon)


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
        belief = self.steps.last_beliefs(parameters, self.hazards)
        q = _Redone.of(belief, self._outcomes, self._rates(parameters)).right
        chain, goes_on = self._chain(parameters), self._goes_on
        first = self.steps.lengths[goes_on]
        q[goes_on] = q[goes_on] * chain.accuracy[first] + (1.0 - q[goes_on]) * chain.recovered.sum(axis=1)[first]
        return q

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`."""
        return replace(self, hazards=hazards)

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        T = len(self.hazards.right)
        beliefs, chain = self.steps.beliefs(parameters, self.hazards), self._chain(parameters)
        redone = _Redone.of(self.steps.last_of(beliefs), self._outcomes, self._rates(parameters))
        # P(what follows, answer | prefix right or derailed after the redone step), shape (n, 2)
        follows = np.eye(2)[:, self._answer].T.copy()
        follows[self._goes_on] = chain.table[self._place]
        q = np.stack([redone.right, 1.0 - redone.right], axis=1)
        value, upon = _log_and_slope((q * follows).sum(axis=1))
        upon_belief, upon_rates = redone.slopes(upon * (follows[:, 0] - follows[:, 1]))
        upon_table = np.zeros_like(chain.table)
        np.add.at(upon_table, self._place, (upon[:, None] * q)[self._goes_on])
        by_chain = chain.step_slopes(upon_table)
        by_filter = self.steps.upon(beliefs, upon_belief, parameters, self.hazards)
        weak, strong = _strong_slopes(parameters, by_chain.success)
        recovery = by_filter.recovery + by_chain.recovery
        recovery += np.bincount(self.steps.last_step(T), upon_rates[:, 1], minlength=T)
        both = Upon(by_filter.success + weak, recovery, by_filter.emission)
        out = both.by_parameter(parameters, self.hazards, self.steps.table)
        out["strong_success"] = strong["strong_success"] + float(upon_rates[:, 0].sum())
        out["repair"] = strong["repair"] + float(upon_rates[:, 2].sum())
        return value, out

    @cached_property
    def _goes_on(self) -> NDArray[np.bool_]:
        return (self.further > 0) & (self.steps.lengths < len(self.hazards.right))

    @cached_property
    def _answer(self) -> IntArray:
        """0 where the answer is right, 1 where it is wrong."""
        return np.where(self.correct, 0, 1)

    @cached_property
    def _place(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Where the chain's table has those that go on, by prefix, (m, 2)."""
        first = self.steps.lengths[self._goes_on]
        last = np.minimum(first + self.further[self._goes_on] - 1, len(self.hazards.right) - 1)
        prefix = np.broadcast_to(np.arange(2), (len(first), 2))
        return first[:, None], prefix, last[:, None], self._answer[self._goes_on][:, None]

    def _rates(self, parameters: Parameters) -> FloatArray:
        """How often the redone step comes out right, by class of the weak one, shape (n, 3)."""
        back = self.hazards.recovery(parameters["recovery"])[self.steps.last_step(len(self.hazards.right))]
        out = np.empty((len(back), 3))
        out[:, 0], out[:, 1], out[:, 2] = parameters["strong_success"], back, parameters["repair"]
        return out

    @cached_property
    def _outcomes(self) -> tuple[FloatArray, FloatArray]:
        """Linear in the rates: at rates of 0, and what rates of 1 add.

        Each of shape (3, n, 3): P(over or not as it is and right; over or not as it is; right | class).
        """
        T, n = len(self.hazards.right), len(self.correct)
        none, all_right = (
            outcome_table(rate, rate, np.full(T, rate), self.hazards.end)[
                self.steps.last_step(T), self.steps.ended.astype(np.int64), REGENERATE
            ]
            for rate in (0.0, 1.0)
        )
        over = np.where(self.further == 0, OVER, 1 - OVER)

        def parts(table: FloatArray) -> FloatArray:
            as_it_is = table[np.arange(n), :, over]
            return np.stack([as_it_is[..., RIGHT], as_it_is.sum(axis=-1), table[..., RIGHT].sum(axis=-1)])

        return parts(none), parts(all_right) - parts(none)

    def _chain(self, parameters: Parameters) -> OutcomeChain:
        curve = strong_curve(parameters, len(self.hazards.right))
        return OutcomeChain.of(curve, self.hazards, parameters["recovery"])


@dataclass(frozen=True)
class _Redone:
    """P(prefix right | what was seen up to the redone step, and whether that ended the solution).

    As `trim_pomdp.model.belief.next_q` has it but for the share `_UNCOUPLED`, with its slopes.

    Attributes
    ----------
    belief : ndarray of shape (n, 3)
        Over the class of the weak step.
    by_class, gains : ndarray of shape (3, n, 3)
        `Repairs._outcomes` at the rates, and what they gain with them.
    sums : ndarray of shape (3, n)
        The same over all classes.
    """

    belief: FloatArray
    by_class: FloatArray
    gains: FloatArray
    sums: FloatArray

    @classmethod
    def of(cls, belief: FloatArray, outcomes: tuple[FloatArray, FloatArray], rates: FloatArray) -> _Redone:
        """From the belief, the outcomes of redone steps, and rates by class."""
        by_class = outcomes[0] + outcomes[1] * rates
        return cls(belief, by_class, outcomes[1], (belief * by_class).sum(axis=2))

    @property
    def right(self) -> FloatArray:
        """P(prefix right), shape (n,)."""
        seen_right, seen, right = self.sums
        known = np.divide(seen_right, seen, out=right.copy(), where=seen > 0)
        return np.asarray((1.0 - _UNCOUPLED) * known + _UNCOUPLED * right)

    def slopes(self, upon: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What changes with the belief, and with the rates, (n, 3) each, given what changes with `right`."""
        seen_right, seen, _ = self.sums
        possible = seen > 0
        share = np.where(possible, (1.0 - _UNCOUPLED) * upon, 0.0) / np.where(possible, seen, 1.0)
        upon_sums = np.stack([share, -share * seen_right / np.where(possible, seen, 1.0), upon])
        upon_sums[2] *= np.where(possible, _UNCOUPLED, 1.0)
        upon_belief = (upon_sums[..., None] * self.by_class).sum(axis=0)
        return upon_belief, self.belief * (upon_sums[..., None] * self.gains).sum(axis=0)


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

    def given(self, hazards: Hazards) -> Self:
        """See `RolloutTerm`; hazards do not matter."""
        return self

    def log_likelihood(self, parameters: Parameters) -> float:
        """See `Term`."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        found = {
            name: bernoulli_slopes(parameters[name], *counts)
            for name, counts in zip(("strong_success", "repair"), self.counts, strict=True)
        }
        return sum(value for value, _ in found.values()), {name: slope for name, (_, slope) in found.items()}


def _log_and_slope(probability: FloatArray, counts: FloatArray | float = 1.0) -> tuple[float, FloatArray]:
    """Σ counts · log p, cut off below, and its slope in every p."""
    floor = np.maximum(probability, _TINY)
    value = float((counts * np.log(floor)).sum())
    return value, np.where(probability > _TINY, counts / floor, 0.0)
