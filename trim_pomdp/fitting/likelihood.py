"""Log-likelihoods of the data that dynamics are fitted on, each a term of one joint likelihood.

A term maps a complete set of parameters (`Explanation.complete`) to a log-likelihood, and says which parameters
it knows about.

Which terms are full, conditional or composite likelihoods, and why: docs/model.md, sections 5 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.outcomes import PilotRow, StepCounts
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.fitting.parameters import TOKENS
from trim_pomdp.model.belief import FilterBelief, outcome_table
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.hazard import derailed_hazard, recovery_by_step
from trim_pomdp.model.observations import ObservationModel, transferred
from trim_pomdp.model.propagation import RoutingMoments, routing_moments
from trim_pomdp.model.sequences import SequenceBatch

FloatArray = NDArray[np.float64]
Parameters = Mapping[str, float]

# Coefficient of variation of the tokens of a single step, for the sampling error of token columns; the steps of
# the MATH-500 rollouts in the data folder vary more (1.2 in characters), whole solutions less (0.53).
STEP_TOKENS_CV = 0.75
_TINY = 1e-12
_CERTAIN = 1e-9


class Term(Protocol):
    """A source of data."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    @property
    def informs(self) -> frozenset[str]:
        """Parameters that the term depends on."""
        ...

    def log_likelihood(self, parameters: Parameters) -> float:
        """Log-likelihood, up to a constant that does not depend on the parameters."""
        ...


class SmoothTerm(Term, Protocol):
    """A term that knows its slopes; those of others are taken by differences."""

    def slopes(self, parameters: Parameters) -> tuple[float, Mapping[str, float]]:
        """Log-likelihood, and how much it changes with each parameter (those left out change nothing)."""
        ...


@dataclass(frozen=True)
class WeakSteps:
    """Right steps and first errors of the weak model, from step counts or labelled solutions."""

    right: int
    first_errors: int
    name: str = "weak step counts"

    @property
    def informs(self) -> frozenset[str]:
        """See `Term`."""
        return frozenset({"weak_success"})

    def log_likelihood(self, parameters: Parameters) -> float:
        """Each step is one Bernoulli trial until the first error."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        value, slope = bernoulli_slopes(parameters["weak_success"], self.right, self.first_errors)
        return value, {"weak_success": slope}


@dataclass(frozen=True)
class StrongSteps:
    """Right steps and first errors of the strong model on its own.

    The strong model meets steps that the weak one would have got right and others: its own success is
    p_w·p_s + (1 − p_w)·p_r.
    """

    right: int
    first_errors: int
    name: str = "strong step counts"

    @property
    def informs(self) -> frozenset[str]:
        """See `Term`."""
        return frozenset({"weak_success", "strong_success", "repair"})

    def log_likelihood(self, parameters: Parameters) -> float:
        """Each step is one Bernoulli trial until the first error."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """See `SmoothTerm`."""
        value, slope = bernoulli_slopes(strong_alone(parameters), self.right, self.first_errors)
        p_w = parameters["weak_success"]
        return value, {
            "weak_success": slope * (parameters["strong_success"] - parameters["repair"]),
            "strong_success": slope * p_w,
            "repair": slope * (1.0 - p_w),
        }


def weak_success_curve(parameters: Parameters, steps: int) -> FloatArray:
    """p_w by step, shape (steps,): one value, or log-odds that are linear in the step."""
    p_w, slope = parameters["weak_success"], parameters.get("weak_success_slope", 0.0)
    if slope == 0.0:
        return np.full(steps, p_w)
    p = min(max(p_w, _TINY), 1.0 - _CERTAIN)
    return np.asarray(1.0 / (1.0 + np.exp(np.log1p(-p) - np.log(p) - slope * np.arange(steps))))


def weak_success_slopes(parameters: Parameters, steps: int) -> dict[str, FloatArray]:
    """How much `weak_success_curve` changes with p_w and with its slope, shape (steps,) each."""
    p_w, curve = parameters["weak_success"], weak_success_curve(parameters, steps)
    by_log_odds = curve * (1.0 - curve)
    return {
        "weak_success": by_log_odds / (p_w * (1.0 - p_w)),
        "weak_success_slope": by_log_odds * np.arange(steps),
    }


def strong_alone(parameters: Parameters) -> float:
    """Step success of the strong model on its own, p_w·p_s + (1 − p_w)·p_r."""
    p_w = parameters["weak_success"]
    return p_w * parameters["strong_success"] + (1.0 - p_w) * parameters["repair"]


def weak_steps(counts: StepCounts) -> WeakSteps:
    """Trials of the weak model in a file of step counts."""
    return WeakSteps(counts.right_steps, len(counts.first_error_step))


def strong_steps(counts: StepCounts) -> StrongSteps:
    """Trials of the strong model in a file of step counts."""
    return StrongSteps(counts.right_steps, len(counts.first_error_step))


def labelled_steps(solutions: Sequence[LabelledSolution]) -> WeakSteps:
    """Trials of the weak model in solutions with a known first error."""
    right = sum(len(item.steps) if item.label < 0 else item.label for item in solutions)
    return WeakSteps(right, sum(item.label >= 0 for item in solutions), name="labelled steps")


def bernoulli_slopes(probability: float, successes: float, failures: float) -> tuple[float, float]:
    """Log-likelihood of trials, and its slope in the probability."""
    p = min(max(probability, _TINY), 1.0 - _TINY)
    return float(successes * np.log(p) + failures * np.log1p(-p)), float(successes / p - failures / (1.0 - p))


@dataclass(frozen=True)
class Sequences:
    """Outcomes of weak-only solutions given their scores, through the filter.

    The likelihood is that of the *outcome* given the scores, not of both: what fits the scores best is dominated
    by dependence between scores that the filter does not model, and predicts outcomes worse (docs/results.md).
    """

    batch: SequenceBatch
    observations: ObservationModel
    hazard: tuple[float, ...]
    labelled: bool = False
    name: str = "scored sequences"

    @property
    def informs(self) -> frozenset[str]:
        """See `Term`."""
        return frozenset({"weak_success", "look_right", "false_alarms", "misses"})

    def log_likelihood(self, parameters: Parameters) -> float:
        """Σ log P(outcome | scores)."""
        dynamics = step_dynamics("trial", parameters, np.array(self.hazard), labelled=self.labelled)
        right = FilterBelief(self.observations, dynamics).probability_right(self.batch)
        likelihood = np.where(self.batch.correct, right, 1.0 - right)
        return float(np.log(np.maximum(likelihood, _TINY)).sum())


@dataclass(frozen=True)
class PilotPrediction:
    """What parameters imply for each row of a pilot sweep, shape (rows,) each."""

    accuracy: FloatArray
    steps: FloatArray
    regenerations: FloatArray
    regenerations_variance: FloatArray
    tokens: dict[str, FloatArray]
    tokens_variance: dict[str, FloatArray]


@dataclass(frozen=True)
class Pilot:
    """Measured results of threshold routing: accuracy, regenerations and token columns, each row on its own sample.

    `below` has the shape (rows, 3): P(score < threshold | right, derailed as labelled, wrong), before transfer.
    """

    rows: tuple[PilotRow, ...]
    below: FloatArray
    hazard: FloatArray
    labelled: bool = False
    name: str = "pilot sweep"

    @classmethod
    def of(
        cls, rows: Sequence[PilotRow], observations: ObservationModel, hazard: FloatArray, *, labelled: bool
    ) -> Pilot:
        """Take the class-conditional score distributions from an observation model."""
        observations.require_prm("a pilot sweep")
        table = observations.step_emission.table
        below = np.array([table @ observations.step_emission.share_below(row.threshold) for row in rows])
        return cls(tuple(rows), below, hazard, labelled)

    @property
    def informs(self) -> frozenset[str]:
        """See `Term`."""
        columns = {
            name
            for name in TOKENS
            for column in _COLUMNS_OF[name.split(".")[0]]
            if any(_column(row, column) is not None for row in self.rows)
        }
        return frozenset(
            {"weak_success", "strong_success", "repair", "look_right", "false_alarms", "misses"}
            | {"derailed_hazard_factor"}
            | columns
        )

    def predict(self, parameters: Parameters) -> PilotPrediction:
        """Expected columns under the parameters, by exact forward propagation."""
        return self.combine(parameters, [(1.0, self.moments(parameters, parameters["weak_success"]))])

    def moments(self, parameters: Parameters, weak_success: float) -> RoutingMoments:
        """Moments of each row, given p_w."""
        below = transferred(
            self.below.T,
            look_right=parameters["look_right"],
            false_alarms=parameters["false_alarms"],
            misses=parameters["misses"],
            labelled=self.labelled,
        ).T
        hazard_derailed = derailed_hazard(self.hazard, parameters["derailed_hazard_factor"])
        recovery = recovery_by_step(parameters["recovery"], self.hazard, hazard_derailed)
        end = np.stack([self.hazard, hazard_derailed, self.hazard], axis=1)
        return routing_moments(
            below,
            np.full(len(self.hazard), weak_success),
            end,
            outcome_table(parameters["strong_success"], parameters["repair"], recovery, end),
        )

    def combine(self, parameters: Parameters, parts: Sequence[tuple[float, RoutingMoments]]) -> PilotPrediction:
        """Columns of a population of problems, given the share and the moments of each part of it."""
        weights = np.array([weight for weight, _ in parts])

        def average(values: Sequence[FloatArray]) -> FloatArray:
            return np.asarray(sum(weight * value for weight, value in zip(weights, values, strict=True)))

        accuracy = average([part.accuracy for _, part in parts])
        steps = average([part.steps for _, part in parts])
        kept = average([part.kept for _, part in parts])
        regenerated = average([part.regenerated for _, part in parts])
        kept_square = average([p.kept_variance + p.kept.sum(axis=1) ** 2 for _, p in parts])
        regenerated_square = average([p.regenerated_variance + p.regenerations**2 for _, p in parts])
        n_kept, n_regenerated = kept.sum(axis=1), regenerated.sum(axis=1)
        kept_variance = kept_square - n_kept**2
        regenerated_variance = regenerated_square - n_regenerated**2
        tokens, variance = {}, {}
        for column, counts, total, spread, kind in (
            ("strong_tokens", regenerated, n_regenerated, regenerated_variance, "strong_tokens"),
            ("kept_tokens", kept, n_kept, kept_variance, "weak_tokens"),
            ("discarded_tokens", regenerated, n_regenerated, regenerated_variance, "weak_tokens"),
        ):
            mean = counts @ _per_class(parameters, kind)
            per_step = mean / np.maximum(total, _TINY)
            tokens[column] = mean
            variance[column] = per_step**2 * (spread + STEP_TOKENS_CV**2 * total)
        return PilotPrediction(accuracy, steps, n_regenerated, regenerated_variance, tokens, variance)

    def end_points(self, parameters: Parameters) -> PilotPrediction:
        """What the parameters imply for weak-only and strong-only (always regenerate), in this order."""
        ends = replace(self, rows=(), below=np.array([[0.0] * 3, [1.0] * 3]))
        return ends.predict(parameters)

    def log_likelihood(self, parameters: Parameters) -> float:
        """Binomial accuracy; normal means with the model's own sampling variance."""
        return float(self.row_log_likelihoods(parameters).sum())

    def row_log_likelihoods(self, parameters: Parameters) -> FloatArray:
        """Log-likelihood of each row, shape (rows,)."""
        predicted = self.predict(parameters)
        observed = self._observed
        accuracy = np.clip(predicted.accuracy, _TINY, 1.0 - _TINY)
        right, problems = observed["right"], observed["problems"]
        out = right * np.log(accuracy) + (problems - right) * np.log1p(-accuracy)
        columns = {**predicted.tokens, "regenerations": predicted.regenerations}
        variances = {**predicted.tokens_variance, "regenerations": predicted.regenerations_variance}
        for column, mean in columns.items():
            # A column that the rule makes certain (no regeneration at threshold 0) carries no information.
            known = ~np.isnan(observed[column]) & (variances[column] > _CERTAIN)
            variance = np.where(known, variances[column] / problems, 1.0)
            error = np.where(known, observed[column] - mean, 0.0)
            out -= np.where(known, 0.5 * (error**2 / variance + np.log(2 * np.pi * variance)), 0.0)
        return np.asarray(out)

    @cached_property
    def _observed(self) -> dict[str, FloatArray]:
        problems = np.array([row.problems for row in self.rows], dtype=np.float64)
        columns = {
            column: np.array([np.nan if (value := _column(row, column)) is None else value for row in self.rows])
            for column in ("regenerations", "strong_tokens", "kept_tokens", "discarded_tokens")
        }
        always = np.array([row.threshold == 1 for row in self.rows])
        # Strong-only runs draft nothing, so their zero columns of weak tokens are no measurement.
        columns["discarded_tokens"][always] = np.nan
        columns["kept_tokens"][always] = np.nan
        right = np.round(np.array([row.accuracy for row in self.rows]) * problems)
        return {"problems": problems, "right": right, **columns}


_COLUMNS_OF = {"strong_tokens": ("strong_tokens",), "weak_tokens": ("kept_tokens", "discarded_tokens")}


def _column(row: PilotRow, column: str) -> float | None:
    value: float | None = getattr(row, column)
    return value


def _per_class(parameters: Parameters, kind: str) -> FloatArray:
    return np.array([parameters.get(f"{kind}.{name}", 0.0) for name in ("right", "derailed", "wrong")])


def step_dynamics(
    name: str,
    parameters: Parameters,
    hazard: FloatArray,
    *,
    labelled: bool,
) -> StepDynamics:
    """Dynamics of a complete set of parameters; what the data did not inform stays unset.

    Parameters
    ----------
    parameters : mapping
        As from `Explanation.complete`; p_w, p_d, e and d must be there.
    hazard : ndarray of shape (T,)
        h by step.
    labelled : bool
        Whether derailed steps emit the S1 density as labelled.
    """
    factor = parameters["derailed_hazard_factor"]
    by_step = parameters.get("weak_success_slope", 0.0) != 0.0
    return StepDynamics(
        name=name,
        weak_success=tuple(weak_success_curve(parameters, len(hazard) if by_step else 1).tolist()),
        strong_success=parameters.get("strong_success"),
        repair=parameters.get("repair"),
        look_right=parameters["look_right"],
        false_alarms=parameters["false_alarms"],
        misses=parameters["misses"],
        recovery=parameters["recovery"],
        hazard=tuple(hazard.tolist()),
        # Equal hazards are no evidence, so they are not stored twice.
        hazard_derailed=None if factor == 1.0 else tuple(derailed_hazard(hazard, factor).tolist()),
        derailed_emission="labelled" if labelled else "local",
        weak_tokens=_per_class_tokens(parameters, "weak_tokens"),
        strong_tokens=_per_class_tokens(parameters, "strong_tokens"),
    )


def _per_class_tokens(parameters: Parameters, kind: str) -> PerClass | None:
    """Tokens by class of a fitted parameter set, or None where they were not fitted."""
    if f"{kind}.right" not in parameters:
        return None
    right, derailed, wrong = _per_class(parameters, kind)
    return PerClass(right=right, derailed=derailed, wrong=wrong)
