"""Policies as validated records: thresholds, fixed strategies, the paper's rule, alpha-vectors, mixtures of two.

An alpha-vector rule carries everything that it needs at run time: the belief filter's parameters, the emission of
every score bin, and for every step the alpha-vectors of what follows. It keeps its belief q on a grid of
`BELIEF_CELLS` cells, so that it is a finite-state controller: its accuracy and its tokens are computed exactly, in
the model it was planned in or in any other (`trim_pomdp.planning.evaluation`), and the runtime executes that very
policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.model.belief import KEEP, REGENERATE, outcome_table
from trim_pomdp.model.dynamics import PerClass, Probability
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.hazard import HAZARDS
from trim_pomdp.model.observations import check_distribution, check_edges

FloatArray = NDArray[np.float64]
BELIEF_CELLS = 1024


class ThresholdRule(Record):
    """Regenerate iff the score is below the threshold; 0 never, 1 always (even at a score of 1)."""

    form: Literal["threshold"] = "threshold"
    threshold: Probability

    def act(self, score: float) -> int:
        """Action (`KEEP` or `REGENERATE`) for a score."""
        return REGENERATE if self.threshold >= 1.0 or score < self.threshold else KEEP


class StrategyRule(Record):
    """Strategies that look at no score.

    ``weak`` never and ``strong`` always regenerates, ``random`` regenerates each step with a fixed probability, and
    ``oracle`` knows the true class and regenerates first errors only (it exists where truth is known).
    """

    form: Literal["strategy"] = "strategy"
    strategy: Literal["weak", "strong", "random", "oracle"]
    probability: Probability | None = None

    @model_validator(mode="after")
    def _random_has_a_probability(self) -> StrategyRule:
        if (self.strategy == "random") != (self.probability is not None):
            raise ValueError("a probability goes with the strategy 'random', and with it alone")
        return self

    @property
    def regenerate(self) -> FloatArray:
        """Probability of regenerating a step of class S0, S1, S2; shape (3,)."""
        return {
            "weak": np.zeros(3),
            "strong": np.ones(3),
            "random": np.full(3, self.probability or 0.0),
            "oracle": np.array([0.0, 0.0, 1.0]),
        }[self.strategy]


class PosteriorRule(Record):
    """The paper's memoryless rule: with b the posterior given (min, current), keep iff max(b) − b(S2) ≥ closeness."""

    form: Literal["posterior"] = "posterior"
    closeness: Annotated[float, Field(ge=0.0, le=1.0)]

    def act(self, belief: FloatArray) -> NDArray[np.int64]:
        """Action for posteriors of shape (..., 3)."""
        keep = belief.max(axis=-1) - belief[..., 2] >= self.closeness
        return np.where(keep, KEEP, REGENERATE)


class AlphaVectorRule(Record):
    """A planned policy: regenerate iff the gain of intervening exceeds its price.

    At step t, after the score and whether the step ends the solution, with belief b over S0, S1, S2, each action leads
    to a right or a derailed prefix of a solution that goes on or is over (`trim_pomdp.model.belief.outcome_table`).
    Its value is reward·P(over, right) + P(goes on)·V(q), with q = P(right | goes on) and V(q) the largest of the step's
    alpha-vectors at (q, 1 − q). The gain is the value of regenerating less that of keeping; the price is
    tradeoff × Σ_class b_class·strong_tokens_class.

    Attributes
    ----------
    tradeoff : float
        λ, price of one strong token.
    reward : float
        Reward of a right answer.
    alpha_vectors : tuple of tuples of (float, float)
        For each step t = 1 … max_steps, vectors of the value *after* it: value if the prefix is right, if derailed.
        Empty at the last step, which ends every solution.
    weak_success : tuple of float
        p_w by step, one value or max_steps.
    strong_success, repair : float
        p_s and p_r.
    recovery : tuple of float
        ρ by step, one value or max_steps.
    hazard, hazard_derailed, hazard_wrong : tuple of float or None
        Only where they differ, since then an end (or none) is evidence; without `hazard_wrong` it is `hazard`.
    evidence : EvidenceMap or None
        From features of a step to the score that is binned; None: the PRM score as it is.
    score_edges : tuple of float or None
        Lower edges of the score bins; None for bins of (min, current), which only models know.
    emission_right, emission_derailed, emission_wrong : tuple of float
        Probability of each bin, by class.
    strong_tokens : PerClass
        Mean strong tokens of a regenerated step.
    belief_cells : int
        The belief is kept as a multiple of 1 / belief_cells.
    """

    form: Literal["alpha_vectors"] = "alpha_vectors"
    tradeoff: NonNegativeFloat
    reward: PositiveFloat
    alpha_vectors: tuple[tuple[tuple[float, float], ...], ...] = Field(min_length=1)
    weak_success: tuple[Probability, ...]
    strong_success: Probability
    repair: Probability
    recovery: tuple[Probability, ...] = (0.0,)
    hazard: tuple[Probability, ...] | None = None
    hazard_derailed: tuple[Probability, ...] | None = None
    hazard_wrong: tuple[Probability, ...] | None = None
    evidence: EvidenceMap | None = None
    score_edges: tuple[float, ...] | None
    emission_right: tuple[Probability, ...]
    emission_derailed: tuple[Probability, ...]
    emission_wrong: tuple[Probability, ...]
    strong_tokens: PerClass
    belief_cells: Annotated[int, Field(ge=16, le=1 << 16)] = BELIEF_CELLS

    @model_validator(mode="after")
    def _shapes_agree(self) -> AlphaVectorRule:
        T = len(self.alpha_vectors)
        for name in ("weak_success", "recovery"):
            if len(getattr(self, name)) not in (1, T):
                raise ValueError(f"{name} has {len(getattr(self, name))} values; expected 1 or {T}")
        if (self.hazard is None) != (self.hazard_derailed is None):
            raise ValueError("hazard and hazard_derailed go together")
        if self.hazard is None and self.hazard_wrong is not None:
            raise ValueError("hazard_wrong goes with hazard and hazard_derailed")
        for name in HAZARDS:
            value = getattr(self, name)
            if value is not None and len(value) != T:
                raise ValueError(f"{name} has {len(value)} values; expected {T}")
        size = len(self.emission_right) if self.score_edges is None else len(self.score_edges)
        if self.evidence is not None and self.score_edges is None:
            raise ValueError("evidence goes with score_edges; bins of (min, current) are of PRM scores")
        if self.score_edges is not None:
            check_edges("score_edges", np.array(self.score_edges))
        for name in ("emission_right", "emission_derailed", "emission_wrong"):
            check_distribution(name, np.array(getattr(self, name)), size)
        if any(not vectors for vectors in self.alpha_vectors[:-1]):
            raise ValueError("every step but the last needs at least one alpha-vector")
        return self

    @property
    def max_steps(self) -> int:
        """Step cap."""
        return len(self.alpha_vectors)

    @cached_property
    def emission(self) -> FloatArray:
        """P(bin | S0, S1, S2), shape (3, J)."""
        return np.array([self.emission_right, self.emission_derailed, self.emission_wrong])

    @cached_property
    def tables(self) -> RuleTables:
        """The rule as arrays, for the kernels."""
        return RuleTables.of(self)


@dataclass(frozen=True)
class RuleTables:
    """An alpha-vector rule as plain arrays.

    Attributes
    ----------
    vectors : ndarray of shape (V, 3)
        Upper envelope of each step's alpha-vectors, by rising slope: value if derailed, slope in q, and the q from
        which the vector is the largest.
    offset : ndarray of shape (T + 1,)
        Where each step's vectors begin; the last step has the reward itself.
    success : ndarray of shape (T,)
        p_w.
    end : ndarray of shape (T, 3)
        Hazards by class if they are evidence, else all 1/2, which cancel.
    emission : ndarray of shape (3, J)
    after : ndarray of shape (T, 2, 2, 3, 2, 2)
        What follows an action: `trim_pomdp.model.belief.outcome_table`.
    price : ndarray of shape (3,)
        λ × strong tokens, by class.
    reward : float
    cells : int
        Number of belief cells.
    """

    success: FloatArray
    end: FloatArray
    emission: FloatArray
    vectors: FloatArray
    offset: NDArray[np.int64]
    after: FloatArray
    price: FloatArray
    reward: float
    cells: int

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the kernels take, in their order."""
        return (
            self.success, self.end, self.emission, self.vectors, self.offset, self.after, self.price, self.reward,
            self.cells,
        )  # fmt: skip

    @classmethod
    def none(cls) -> RuleTables:
        """Stand-in for kernels that also serve rules without tables."""
        empty = np.zeros((1, 3))
        return cls(
            np.zeros(1), np.zeros((1, 3)), np.zeros((3, 1)), empty, np.zeros(2, dtype=np.int64),
            np.zeros((1, 2, 2, 3, 2, 2)), np.zeros(3), 0.0, 1,
        )  # fmt: skip

    @classmethod
    def of(cls, rule: AlphaVectorRule) -> RuleTables:
        """Arrays of a rule."""
        T = rule.max_steps
        by_step = [upper_envelope(vectors or ((rule.reward, 0.0),)) for vectors in rule.alpha_vectors]
        end = np.full((T, 3), 0.5)
        if rule.hazard is not None:
            end = np.array([rule.hazard, rule.hazard_derailed, rule.hazard_wrong or rule.hazard]).T
        return cls(
            vectors=np.concatenate(by_step),
            offset=np.concatenate([[0], np.cumsum([len(item) for item in by_step])]),
            success=np.broadcast_to(np.array(rule.weak_success), (T,)).copy(),
            end=end,
            emission=rule.emission,
            after=outcome_table(rule.strong_success, rule.repair, np.broadcast_to(np.array(rule.recovery), (T,)), end),
            price=rule.tradeoff * rule.strong_tokens.array,
            reward=rule.reward,
            cells=rule.belief_cells,
        )


def upper_envelope(vectors: Sequence[tuple[float, float]]) -> FloatArray:
    """Vectors that are the largest somewhere on q in [0, 1], as rows (intercept, slope, q from which it leads).

    Parameters
    ----------
    vectors : sequence of (float, float)
        Values if the prefix is right, and if it is derailed.

    Examples
    --------
    >>> upper_envelope([(1.0, 0.0), (0.4, 0.4), (0.3, 0.3)]).tolist()
    [[0.4, 0.0, 0.0], [0.0, 1.0, 0.4]]
    """
    lines = sorted((right - derailed, derailed) for right, derailed in vectors)
    hull: list[tuple[float, float, float]] = []
    for slope, intercept in lines:
        start = 0.0
        while hull:
            above, other, since = hull[-1]
            if slope == other:
                start = np.inf if intercept <= above else since
            else:
                start = max((above - intercept) / (slope - other), 0.0)
            if start > since:
                break
            hull.pop()
            start = 0.0 if not hull else start
        if start < 1.0:
            hull.append((intercept, slope, start))
    return np.array(hull)


Rule = Annotated[ThresholdRule | StrategyRule | PosteriorRule | AlphaVectorRule, Field(discriminator="form")]


class MixedRule(Record):
    """Draw one of two policies for each problem: `second` with the given probability, else `first`."""

    form: Literal["mixed"] = "mixed"
    first: Rule
    second: Rule
    probability: Probability


class PlannedPoint(Record):
    """What a policy is expected to do, per problem; None where the dynamics know too little."""

    tradeoff: float | None = None
    accuracy: float
    strong_tokens: float
    regenerations: float
    budget: float
    kept_tokens: float | None = None
    discarded_tokens: float | None = None
    steps: float | None = None


class PolicyArtifact(Artifact):
    """A policy, what it was made for, and what it is expected to do.

    Attributes
    ----------
    policy : rule or mixture
        What is executed.
    planned : PlannedPoint or None
        Exact expectation of that policy in the model it was planned in; None for a rule that no model was there for.
    model : str
        Names of observations and dynamics.
    asked_budget, asked_tradeoff : float or None
        What it was made for.
    value : float or None
        Exact value of the policy itself, reward × accuracy − tradeoff × strong tokens (None for a mixture).
    value_lower, value_upper : float or None
        Certified bounds on the optimal value at the tradeoff (None for a mixture). The policy keeps its belief on a
        grid, so its own value can lie a little below the lower bound.
    added_variance : float or None
        Variance of strong tokens per problem that mixing adds to the average variance of the two policies.
    notes : tuple of str
        Whatever the user should know, such as a budget that cannot be spent.
    """

    kind: Literal["policy"] = "policy"
    model: str
    policy: Annotated[
        ThresholdRule | StrategyRule | PosteriorRule | AlphaVectorRule | MixedRule,
        Field(discriminator="form"),
    ]
    planned: PlannedPoint | None = None
    asked_budget: float | None = None
    asked_tradeoff: float | None = None
    value: float | None = None
    value_lower: float | None = None
    value_upper: float | None = None
    added_variance: float | None = None
    notes: tuple[str, ...] = ()
