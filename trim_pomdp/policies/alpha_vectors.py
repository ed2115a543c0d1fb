r"""Planned policies: alpha-vectors of what follows every step, with the belief filter that leads to them.

An alpha-vector rule carries everything that it needs at run time: the belief filter's parameters, the emission of
every score bin, and for every step the alpha-vectors of what follows. It keeps its belief q on a grid of
`BELIEF_CELLS` cells, so that it is a finite-state controller: its accuracy and its tokens are computed exactly, in
the model it was planned in or in any other, and the runtime executes that very policy.

Its router decides and moves q exactly as the kernels evaluate it: with b ∝ (q·p_w·E₀, (1−q)·E₁, q·(1−p_w)·E₂) at the
evidence's bin, keeping leads to q = b₀, regenerating to b₀·p_s + b₂·p_r, both rounded to the grid of belief cells, and
it regenerates iff the gain of that exceeds the price.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from trim_pomdp.data.problems import Problem
from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import KEEP, REGENERATE, outcome_table
from trim_pomdp.model.dynamics import PerClass, Probability
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.hazard import HAZARDS
from trim_pomdp.model.observations import ClassTable, check_distribution, check_edges
from trim_pomdp.policies.base import Belief, Decision, FloatArray, Rule, RuleRouter, StepObservation
from trim_pomdp.policies.in_model import simulate_counts
from trim_pomdp.policies.posterior import required

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel

BELIEF_CELLS = 1024


class AlphaVectorRule(Rule):
    """A planned policy: regenerate iff the gain of intervening exceeds its price.

    At step t, after the score and whether the step ends the solution, with belief b over S0, S1, S2, each action leads
    to a right or a derailed prefix of a solution that goes on or is over (`trim_pomdp.model.belief.outcome_table`).
    Its value is reward·P(over, right) + P(goes on)·V(q), with q = P(right | goes on) and V(q) the largest of the step's
    alpha-vectors at (q, 1 − q). The gain is the value of regenerating less that of keeping; the price is
    tradeoff × Σ_class b_class·strong_tokens_class, plus, where it was planned over money, that of the strong model's
    reading (`reading_price`).

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
    reading_price : tuple of float or None
        Price of what the strong model reads for a regenerated step, by step, in units of reward; None: nothing.
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
    reading_price: tuple[NonNegativeFloat, ...] | None = None
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
        for name in (*HAZARDS, "reading_price"):
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

    @model_serializer(mode="wrap")
    def _without_reading_price(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Rules planned over strong tokens say, and hash, as before there was money."""
        document: dict[str, Any] = serialise(self)
        if self.reading_price is None:
            document.pop("reading_price", None)
        return document

    @property
    def max_steps(self) -> int:
        """Step cap."""
        return len(self.alpha_vectors)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "λ": self.tradeoff,
            "reward": self.reward,
            "max_steps": self.max_steps,
            "alpha-vectors": sum(map(len, self.alpha_vectors)),
            "evidence": "prm" if self.evidence is None else self.evidence.kind,
            "bins": len(self.emission_right),
        }

    @cached_property
    def emission(self) -> FloatArray:
        """P(bin | S0, S1, S2), shape (3, J)."""
        return np.array([self.emission_right, self.emission_derailed, self.emission_wrong])

    @cached_property
    def tables(self) -> RuleTables:
        """The rule as arrays, for the kernels."""
        return RuleTables.of(self)

    @cached_property
    def lists(self) -> _RuleLists:
        """The rule as Python floats, for routers."""
        return _RuleLists.of(self)

    @cached_property
    def on_evidence_scores(self) -> AlphaVectorRule:
        """The same rule where evidence scores are given in place of the features that they are made of."""
        return self if self.evidence is None else self.model_copy(update={"evidence": None})

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return self.evidence is None or self.evidence.needs_score

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return self.evidence is None

    @property
    def horizon(self) -> int:
        """See `Rule`."""
        return self.max_steps

    @property
    def planned_tradeoff(self) -> float:
        """See `Rule`."""
        return self.tradeoff

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return required(class_table).score_edges[:-1] if self.score_edges is None else self.score_edges

    def require(self, class_table: ClassTable | None) -> None:
        """See `Rule`; the class table is needed for bins of (min, current), and must have as many."""
        if self.score_edges is not None:
            return
        size = required(class_table).table.shape[1]
        if size != len(self.emission_right):
            raise InputError(
                f"the policy was planned on {len(self.emission_right)} bins of (min, current), the class table "
                f"has {size}; plan it again on these observations"
            )

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> AlphaVectorRouter:
        """See `Rule`."""
        return AlphaVectorRouter(self, class_table)

    def totals(self, model: RoutingModel) -> FloatArray:
        """See `Rule`: the belief is the *rule's*, the truth is the *model's*, and both are propagated."""
        return np.asarray(self._propagated(model, None)[:, :7].sum(axis=0))

    def course(self, model: RoutingModel) -> FloatArray:
        """See `Rule`."""
        return self._propagated(model, model.accepted_tokens)

    def _propagated(self, model: RoutingModel, tokens: FloatArray | None) -> FloatArray:
        from trim_pomdp import _kernels

        check_bins(self, model)
        dynamics = model.dynamics
        by_step: FloatArray = _kernels.propagate_alpha(
            self.tables.arguments,
            dynamics.weak_success_by_step,
            dynamics.end,
            np.ascontiguousarray(model.emission),
            model.outcomes,
            tokens,
        )
        return by_step

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> FloatArray:
        """See `Rule`."""
        check_bins(self, model)
        return simulate_counts(model, n, rng, tables=self.tables)


@dataclass(frozen=True, eq=False)
class RuleTables(ByContent):
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
    price : ndarray of shape (T, 3)
        λ × strong tokens by class, plus the price of the strong model's reading, by step.
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
            np.zeros((1, 2, 2, 3, 2, 2)), np.zeros((1, 3)), 0.0, 1,
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
            price=rule.tradeoff * rule.strong_tokens.array + np.array(rule.reading_price or (0.0,) * T)[:, None],
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


def check_bins(rule: AlphaVectorRule, model: RoutingModel) -> None:
    """Raise `InputError` unless rule and model speak of the same observation bins."""
    if rule.evidence != model.observations.evidence:
        raise InputError(
            f"the policy was planned on other evidence ({_evidence(rule.evidence)}) than {model.observations.name!r} "
            f"gives ({_evidence(model.observations.evidence)}); plan it again on this observation model"
        )
    edges = model.observations.step_emission.score_edges if model.observations.emission == "step" else None
    if rule.emission.shape[1] != model.emission.shape[1] or rule.score_edges != edges:
        raise InputError(
            f"the policy was planned on other observation bins ({rule.emission.shape[1]}, or with other edges) than "
            f"those of {model.observations.name!r} ({model.emission.shape[1]}); plan it again on this observation model"
        )


def _evidence(evidence: EvidenceMap | None) -> str:
    return "the PRM score" if evidence is None else evidence.formula


def decide(
    rule: AlphaVectorRule,
    q: FloatArray,
    bins: NDArray[np.int64],
    ended: NDArray[np.bool_],
    steps: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether to regenerate, for many problems at once.

    Parameters
    ----------
    q : ndarray of shape (n,)
        Probability that the prefix before the current step is right.
    bins : ndarray of shape (n,)
        Observation bin of the current step.
    ended : ndarray of bool, shape (n,)
        Whether the current step ends the solution.
    steps : ndarray of shape (n,)
        Step index from 0; beyond the cap the last step before it stands in.
    """
    from trim_pomdp import _kernels

    out = np.empty(len(q), dtype=np.bool_)
    _kernels.decide(q, bins, ended, steps, rule.tables.arguments, out)
    return out


@dataclass(frozen=True)
class _Envelope:
    """Alpha-vectors of one step: the largest at q is the last one that leads from a q below."""

    starts: list[float]
    lines: list[tuple[float, float]]

    def __call__(self, q: float) -> float:
        intercept, slope = self.lines[bisect_right(self.starts, q) - 1]
        return intercept + q * slope


@dataclass(frozen=True)
class _RuleLists:
    """What `AlphaVectorRouter` looks at, made once a rule."""

    edges: list[float]
    emission: list[list[float]]
    success: list[float]
    end: list[list[float]]
    values: list[_Envelope]
    after: list[Any]
    price: list[list[float]]

    @classmethod
    def of(cls, rule: AlphaVectorRule) -> _RuleLists:
        tables = rule.tables
        return cls(
            edges=list(rule.score_edges or ()),
            emission=tables.emission.T.tolist(),
            success=tables.success.tolist(),
            end=tables.end.tolist(),
            values=[
                _Envelope(rows[:, 2].tolist(), [(intercept, slope) for intercept, slope, _ in rows.tolist()])
                for rows in np.split(tables.vectors, tables.offset[1:-1])
            ],
            after=tables.after.tolist(),
            price=tables.price.tolist(),
        )


class AlphaVectorRouter(RuleRouter):
    """A planned policy on one problem (a `Router`), on Python floats: the kernels' arithmetic, not compiled.

    Parameters
    ----------
    rule : AlphaVectorRule
    class_table : ClassTable or None
        For rules on bins of (min, current).
    q : float
        P(the prefix is right) to start from.
    """

    q: float

    def __init__(self, rule: AlphaVectorRule, class_table: ClassTable | None = None, q: float = 1.0) -> None:
        rule.require(class_table)
        super().__init__(rule)
        self._rule, self._class_table, self._lists = rule, class_table, rule.lists
        self.q = q

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """All that it remembers is a number: copies, of which a drawing asks thousands, share the rest."""
        return copy.copy(self)

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        rule, q = self._rule, self.q
        evidence = evidence_score(rule.evidence, seen.features)
        step = self._table_step(seen.step, seen.ended)
        b0, b1, b2 = self._belief(q, step, self._bin(evidence, seen.features), seen.ended)
        (kept, keep, keep_over), (redone, redo, redo_over) = (
            self._value_and_q((b0, b1, b2), step, outcomes) for outcomes in self._lists.after[step][int(seen.ended)]
        )
        gain = redone - kept
        right_price, derailed_price, wrong_price = self._lists.price[step]
        price = b0 * right_price + b1 * derailed_price + b2 * wrong_price
        after = (self._rounded(keep), self._rounded(redo))
        action = REGENERATE if gain > price else KEEP
        self.q = after[action]
        return Decision(
            action=action,
            q=q,
            after=after,
            over=(keep_over, redo_over),
            evidence=None if rule.evidence is None else evidence,
            belief=(b0, b1, b2),
            gain=gain,
            price=price,
        )

    def prior(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`."""
        success = self._lists.success[self._table_step(seen.step, seen.ended)]
        return self.q * success, 1.0 - self.q, self.q * (1.0 - success)

    def likelihood(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`: of its evidence, times that of its end, or none, where ends are evidence."""
        step = self._table_step(seen.step, seen.ended)
        bin_ = self._bin(evidence_score(self._rule.evidence, seen.features), seen.features)
        ends = (h if seen.ended else 1.0 - h for h in self._lists.end[step])
        e0, e1, e2 = (e * end for e, end in zip(self._lists.emission[bin_], ends, strict=True))
        return e0, e1, e2

    def _bin(self, evidence: float, features: Mapping[str, float]) -> int:
        if self._rule.score_edges is not None:
            return bisect_right(self._lists.edges, evidence) - 1
        return int(required(self._class_table).bins(np.array(features["minimum"]), np.array(features["score"])))

    def _table_step(self, step: int, ended: bool) -> int:
        """Beyond the rule's cap, its last step before it stands in."""
        last = len(self._lists.success) - 1
        if step < last or (ended and step == last):
            return step
        return max(last - 1, 0)

    def _belief(self, q: float, step: int, bin_: int, ended: bool) -> Belief:
        """Belief over S0, S1, S2; an end (or none) that no class can explain is no evidence, nor is such a score."""
        success, (e0, e1, e2) = self._lists.success[step], self._lists.emission[bin_]
        end, end_derailed, end_wrong = (h if ended else 1.0 - h for h in self._lists.end[step])
        b0, b1, b2 = q * success * e0, (1.0 - q) * e1, q * (1.0 - success) * e2
        if b0 * end + b1 * end_derailed + b2 * end_wrong > 0.0:
            b0, b1, b2 = b0 * end, b1 * end_derailed, b2 * end_wrong
        total = b0 + b1 + b2
        if total > 0.0:
            return b0 / total, b1 / total, b2 / total
        return q * success, 1.0 - q, q * (1.0 - success)

    def _value_and_q(self, belief: Belief, step: int, outcomes: list[list[list[float]]]) -> tuple[float, float, float]:
        """Value of an action, and q after it: if the solution goes on, if it is over (alike where one cannot be)."""
        on_right = on = over_right = over = 0.0
        for b, (goes_on, ends) in zip(belief, outcomes, strict=True):
            over_right += b * ends[0]
            over += b * ends[1]
            on_right += b * goes_on[0]
            on += b * goes_on[1]
        over += over_right
        on += on_right
        if on <= 0.0:
            ended = over_right / over
            return self._rule.reward * over_right, ended, ended
        q = on_right / on
        value = self._rule.reward * over_right + on * self._lists.values[step](q)
        return value, q, over_right / over if over > 0.0 else q

    def _rounded(self, q: float) -> float:
        """To the grid of belief cells, which makes the policy the finite-state controller that was evaluated."""
        cells = self._rule.belief_cells
        return int(q * cells + 0.5) / cells
