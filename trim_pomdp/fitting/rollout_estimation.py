"""Everything that rollouts tell, estimated under one plan: hazards, parameters of the joint likelihood, tokens.

1. Lengths and outcomes of weak-only solutions give the hazards, one or one a class (`trim_pomdp.fitting.lengths`).
2. Outcomes given scores, lengths, strong-only outcomes and repairs make one likelihood for p_w, p_d, e, d, p_s, p_r and
   ρ (`trim_pomdp.fitting.rollout_terms`); with hazards by class, 1 and 2 take turns.
3. Steps per observation bin give the weights of f_right, given 2; then 1 and 2 again (`Fitter.weighted`).
4. Redrafts give how drafts of a step depend on each other, given all of that (`trim_pomdp.fitting.redrafts`).
5. Tokens by class are regressed on the belief that the filter has at each step: a step costs Σ_class b_class·tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.fitting.estimation import ROUGH, Estimate, fit
from trim_pomdp.fitting.lengths import UNKNOWN, Ends, Hazards, LengthCounts, LengthFit, fit_lengths, reached
from trim_pomdp.fitting.likelihood import Parameters, weak_success_curve
from trim_pomdp.fitting.parameters import DEFAULTS, PARAMETERS, Explanation
from trim_pomdp.fitting.redrafts import DraftFit, Redrafts
from trim_pomdp.fitting.rollout_data import RepairRows, RolloutRows, StrongRows, WeakRows, take
from trim_pomdp.fitting.rollout_terms import (
    LabelledStepScores,
    Repairs,
    RepairTruth,
    RolloutTerm,
    SeenSteps,
    StrongOutcomes,
    WeakLengths,
    WeakOutcomes,
    WeakScores,
    emission,
    step_classes,
)
from trim_pomdp.model.hazard import HAZARDS
from trim_pomdp.model.observations import ObservationModel

FloatArray = NDArray[np.float64]
CLASSES = ("right", "derailed", "wrong")
# How often hazards and parameters take turns after the first round, at most, and when p_w has settled.
_ROUNDS = 5
_SETTLED = 1e-3
# More than that, when the turns are over, is told.
_UNSETTLED = 0.01
# Steps of average length that stand behind the tokens of each class, against classes that are hardly ever seen.
_PRIOR_STEPS = 2.0
# Groups of neighbouring bins that get weights, of about equal expected shares, and the least weight.
_WEIGHTS = 25
_LEAST = 0.05
_TINY = 1e-300


@dataclass(frozen=True)
class Plan:
    """What to fit.

    Attributes
    ----------
    explanation : Explanation
        Which parameters are free.
    ends : {"alike", "before", "after", "apart"}
        See `fit_lengths`.
    notes : tuple of str
        Why that.
    """

    explanation: Explanation
    ends: Ends
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """Everything that is estimated from one (sample of the) data.

    Attributes
    ----------
    estimate : Estimate
        Parameters of the joint likelihood, given the hazards.
    hazards : Hazards
    weak_tokens, strong_tokens : ndarray of shape (3,) or None
        Mean tokens of a weak step, and of the strong one that replaces it, by class S0, S1, S2.
    strong_only_tokens : float or None
        Mean strong tokens of a strong-only solution.
    redrafts : DraftFit or None
        How drafts of a step depend on each other.
    """

    estimate: Estimate
    hazards: Hazards
    weak_tokens: FloatArray | None
    strong_tokens: FloatArray | None
    strong_only_tokens: float | None
    redrafts: DraftFit | None = None

    @property
    def values(self) -> dict[str, float]:
        """All numbers that were estimated, by the names that intervals have; hazards that are others' but once."""
        same = [] if self.hazards.differ else ["hazard_derailed"]
        same += [] if self.hazards.wrong_apart else ["hazard_wrong"]
        return {name: value for name, value in self.all_values.items() if name.split(".")[0] not in same}

    @property
    def all_values(self) -> dict[str, float]:
        """The same with all three hazards; which of them are alike is a matter of the sample."""
        explanation, parameters = self.estimate.explanation, self.estimate.parameters
        out = {name: parameters[name] for name in (*explanation.free, *explanation.tied) if name in PARAMETERS}
        curve = weak_success_curve(parameters, len(self.hazards.right))
        if "weak_success_slope" in out:
            del out["weak_success"], out["weak_success_slope"]
            out |= _by_step("weak_success", curve)
        for name, hazard in zip(HAZARDS, self.hazards.end.T, strict=True):
            out |= _by_step(name, hazard[:-1])
        for kind, by_class in (
            ("weak_tokens", self.weak_tokens),
            ("strong_tokens", self.strong_tokens),
            ("redraft_same", None if self.redrafts is None else self.redrafts.same),
        ):
            if by_class is not None:
                out |= {f"{kind}.{name}": float(value) for name, value in zip(CLASSES, by_class, strict=True)}
        if self.strong_only_tokens is not None:
            out["strong_only_tokens"] = self.strong_only_tokens
        if self.redrafts is not None:
            out |= {name: value for name, value in self.redrafts.numbers.items() if value is not None}
        return out


def _by_step(name: str, values: FloatArray) -> dict[str, float]:
    return {f"{name}.{t + 1}": float(value) for t, value in enumerate(values)}


@dataclass(frozen=True)
class Fitter:
    """Fits plans to (samples of) rollouts.

    Attributes
    ----------
    observations : ObservationModel
        Score densities, before transfer.
    max_steps : int
        Step cap.
    weights : ndarray of shape (J,)
        `StepDynamics.right_weights`.
    prior : bool
        Whether parameters have their prior (`trim_pomdp.fitting.priors`).
    """

    observations: ObservationModel
    max_steps: int
    weights: FloatArray
    prior: bool = True

    @classmethod
    def of(cls, observations: ObservationModel, max_steps: int, rows: RolloutRows) -> Fitter:
        """With weights from lengths and outcomes alone, p_d being p_w."""
        plain = cls(observations, max_steps, np.ones(observations.table.shape[1]))
        lengths = fit_lengths(plain.counts(rows.weak), ends="after")
        p_w = float(lengths.success[0])
        return plain.weighted(rows, {**DEFAULTS, "weak_success": p_w, "look_right": p_w}, lengths.hazards)

    def weighted(self, rows: RolloutRows, parameters: Parameters, hazards: Hazards) -> Fitter:
        """With f_right weighted by how often weak steps fall into each bin, over how often they should.

        The latter is a mixture of classes, each as often as the parameters let weak-only solutions have it. Only
        f_right follows, since most steps are right: how often steps look wrong is left to p_w, p_d, e and d.
        """
        plain = replace(self, weights=np.ones(len(self.weights)))
        seen = plain.seen(rows.weak)
        exists = np.arange(seen.bins.shape[1]) < seen.lengths[:, None]
        found = np.bincount(seen.bins[exists], minlength=len(self.weights)).astype(np.float64)
        p_w = weak_success_curve(parameters, self.max_steps)
        right, derailed = reached(p_w, hazards, parameters["recovery"])
        classes = np.array([right @ p_w, derailed.sum(), right @ (1.0 - p_w)])
        classes /= classes.sum()
        expected = classes @ emission(seen.table, parameters)
        # Neighbouring bins share a weight, so that each rests on many steps.
        group = np.minimum((np.cumsum(expected) - 0.5 * expected) * _WEIGHTS, _WEIGHTS - 1).astype(np.int64)
        ratio = np.bincount(group, found) / found.sum() / np.maximum(np.bincount(group, expected), _TINY)
        return replace(self, weights=np.maximum(ratio, _LEAST)[group])

    def counts(self, rows: WeakRows | StrongRows) -> LengthCounts:
        """Solutions by length and outcome, or label."""
        return LengthCounts.of(rows.lengths, rows.correct, self.max_steps, rows.labels)

    def seen(self, weak: WeakRows) -> SeenSteps:
        """Steps of whole solutions as the filter sees them."""
        return SeenSteps.of(weak.batch, self.observations, self.weights)

    def fit(self, rows: RolloutRows, plan: Plan, **options: Any) -> Fitted:
        """Fit everything; the options are those of `estimate`."""
        estimate, hazards = self.estimate(rows, plan.explanation, plan.ends, **options)
        redrafts = self.redrafts(rows, estimate.parameters, hazards)
        return Fitted(
            estimate,
            hazards,
            self._weak_tokens(rows, estimate, hazards),
            self._strong_tokens(rows, estimate, hazards),
            None if rows.strong is None else float(rows.strong.tokens.mean()),
            None if redrafts is None else redrafts.fit(),
        )

    def fit_roughly(self, rows: RolloutRows, explanation: Explanation, *, ends: Ends) -> tuple[Estimate, Hazards]:
        """Hazards and parameters, well enough for comparing explanations; by the data alone, which choose."""
        return replace(self, prior=False).estimate(rows, explanation, ends, precision=ROUGH)

    def estimate(
        self,
        rows: RolloutRows,
        explanation: Explanation,
        ends: Ends,
        *,
        start: Mapping[str, float] | None = None,
        n_starts: int = 1,
        seed: int = 0,
        precision: float = 1e-11,
    ) -> tuple[Estimate, Hazards]:
        """Fit hazards, then parameters given them; with hazards by class in turns, since those depend on p_w and ρ."""
        counts = self.counts(rows.weak)
        # Labelled derailed solutions with right answers are impossible without any recovery.
        recovery = PARAMETERS["recovery"][2] if counts.labelled[..., 0].any() else 0.0
        lengths = fit_lengths(counts, ends=ends, recovery=recovery)
        begin = {"weak_success": float(lengths.success[0]), **(start or {})}
        how: dict[str, Any] = {"precision": precision, "prior": self.prior}
        terms = self.terms(rows, lengths.hazards)
        estimate = fit(explanation, terms, start=begin, n_starts=n_starts, seed=seed, **how)
        for _ in range(0 if ends == "alike" else _ROUNDS):
            if self._moved(estimate, lengths) < _SETTLED:
                break
            curve = weak_success_curve(estimate.parameters, self.max_steps)
            lengths = fit_lengths(counts, ends=ends, success=curve, recovery=estimate.parameters["recovery"])
            terms = [term.given(lengths.hazards) for term in terms]
            estimate = fit(explanation, terms, start=estimate.free, n_starts=1, **how)
        if ends != "alike" and (moved := self._moved(estimate, lengths)) > _UNSETTLED:
            trouble = (
                f"p_w or recovery still moves by {moved:.2g} when hazards and parameters have taken {_ROUNDS} turns"
            )
            estimate = replace(estimate, trouble=estimate.trouble or trouble)
        return estimate, lengths.hazards

    def _moved(self, estimate: Estimate, lengths: LengthFit) -> float:
        """How far p_w and recovery are from those that the hazards were fitted with."""
        curve = weak_success_curve(estimate.parameters, self.max_steps)
        return float(
            max(np.abs(curve - lengths.success).max(), abs(estimate.parameters["recovery"] - lengths.recovery))
        )

    def terms(self, rows: RolloutRows, hazards: Hazards) -> list[RolloutTerm]:
        """Terms of the joint likelihood; each rollout counts by its label or by its outcome."""
        out = [*self.weak_terms(rows.weak, hazards)]
        if rows.repairs is None:
            return out
        known = rows.repairs.true_class != UNKNOWN
        if not known.all():
            out.append(self.repairs(take(rows.repairs, ~known), hazards))
        if known.any():
            out.append(RepairTruth.of(rows.repairs.true_class[known], rows.repairs.redone_right[known]))
        if rows.strong is not None:
            out.append(StrongOutcomes(self.counts(rows.strong), hazards))
        return out

    def weak_terms(self, weak: WeakRows, hazards: Hazards) -> list[RolloutTerm]:
        """Terms of the weak model's own solutions."""
        out: list[RolloutTerm] = [WeakLengths(self.counts(weak), hazards)]
        known = weak.labels != UNKNOWN
        if not known.all():
            part = take(weak, ~known)
            seen = self.seen(part)
            out.append(WeakOutcomes(seen, part.batch.correct, hazards))
            out.append(WeakScores.of(seen, part.batch.correct, hazards))
        if known.any():
            part = take(weak, known)
            out.append(LabelledStepScores.of(self.seen(part), part.labels))
        return out

    def repairs(self, repairs: RepairRows, hazards: Hazards) -> Repairs:
        """Term of repairs by their outcomes."""
        ended = repairs.ended | (repairs.batch.lengths >= self.max_steps)  # the cap ends all
        steps = SeenSteps.of(repairs.batch, self.observations, self.weights, ended)
        return Repairs(steps, repairs.batch.correct, repairs.further, hazards)

    def redrafts(self, rows: RolloutRows, parameters: Parameters, hazards: Hazards) -> Redrafts | None:
        """Likelihood of redrafts, given all other parameters; None where there are none."""
        if rows.redrafts is None:
            return None
        ended = rows.redrafts.ended | (rows.redrafts.batch.lengths >= self.max_steps)  # the cap ends all
        before = SeenSteps.of(rows.redrafts.batch, self.observations, self.weights, ended)
        scores = rows.redrafts.scores
        seen = np.nan_to_num(scores)[:, None]
        bins = np.where(np.isnan(scores), UNKNOWN, self.observations.bins(seen)[:, 0])
        return Redrafts.of(rows.redrafts, before, bins, parameters, hazards)

    def _weak_tokens(self, rows: RolloutRows, estimate: Estimate, hazards: Hazards) -> FloatArray | None:
        weak = rows.weak
        if weak.tokens is None:
            return None
        seen = self.seen(weak)
        belief = seen.beliefs(estimate.parameters, hazards)
        known = weak.labels != UNKNOWN
        belief[known] = np.eye(3)[step_classes(weak.labels[known], belief.shape[1])]
        exists = weak.batch.mask
        return _tokens_by_class(belief[exists], weak.tokens[exists])

    def _strong_tokens(self, rows: RolloutRows, estimate: Estimate, hazards: Hazards) -> FloatArray | None:
        repairs = rows.repairs
        if repairs is None:
            return None
        belief = self.repairs(repairs, hazards).steps.last_beliefs(estimate.parameters, hazards)
        known = repairs.true_class != UNKNOWN
        belief[known] = np.eye(3)[repairs.true_class[known]]
        return _tokens_by_class(belief, repairs.tokens)


def _tokens_by_class(belief: FloatArray, tokens: FloatArray) -> FloatArray:
    """Tokens of each class, such that Σ_class b_class·tokens fits best (least squares), shape (3,)."""
    gram = belief.T @ belief + _PRIOR_STEPS * np.eye(3)
    return np.maximum(np.linalg.solve(gram, belief.T @ tokens + _PRIOR_STEPS * tokens.mean()), 0.0)
