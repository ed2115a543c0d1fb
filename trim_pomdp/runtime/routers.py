r"""Any policy of the package at run time: from what is seen of a weak step to keep or regenerate.

A router is pure: a rule, q, and a `StepObservation` give a `Decision`, which says what q becomes under either action.
Only the alpha-vector rule has a belief to carry; it decides and moves q exactly as `trim_pomdp._kernels` evaluates
it: with b ∝ (q·p_w·E₀, (1−q)·E₁, q·(1−p_w)·E₂) at the evidence's bin, keeping leads to q = b₀, regenerating to
b₀·p_s + b₂·p_r, both rounded to the grid of belief cells, and it regenerates iff the gain of that exceeds the price.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from trim_pomdp.artifacts import Record
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.evidence import evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.records import (
    AlphaVectorRule,
    MixedRule,
    PosteriorRule,
    Rule,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.randomness import keyed_uniform

AnyRule = ThresholdRule | StrategyRule | PosteriorRule | AlphaVectorRule | MixedRule
Role = Literal["weak", "strong", "prm"]
Belief = tuple[float, float, float]


class SetupError(InputError):
    """A run is set up so that no problem could be solved."""


@dataclass(frozen=True)
class StepObservation:
    """What a router sees of a weak step.

    Attributes
    ----------
    step : int
        Index from 0.
    ended : bool
        Whether the step's text ends the solution if kept: it holds an answer, or the model ended there. (In routing
        models every step at the cap is an end; here it is one only if its text is.)
    features : mapping of str to float
        ``tokens``, ``logprob_min``, ``logprob_mean`` of the weak step; and, where the PRM was asked, its ``score``
        and the ``minimum`` of the scores of the steps before (1.0 at the first).
    true_class : int or None
        0, 1, 2 for S0, S1, S2, where truth is known.
    """

    step: int
    ended: bool
    features: Mapping[str, float]
    true_class: int | None = None


@dataclass(frozen=True)
class Decision:
    """What to do with a weak step, and why.

    Attributes
    ----------
    action : int
        `KEEP` or `REGENERATE`.
    after : tuple of (float, float) or None
        What q becomes if the step is kept, and if it is regenerated; None for rules that carry no q.
    evidence : float or None
        The score that was decided on.
    belief : tuple of three floats or None
        Distribution over S0, S1, S2.
    gain, price : float or None
        Gain of intervening and its price, in units of reward.
    """

    action: int
    after: tuple[float, float] | None = None
    evidence: float | None = None
    belief: Belief | None = None
    gain: float | None = None
    price: float | None = None


class Router(Protocol):
    """A policy on one problem.

    Attributes
    ----------
    policy_hash : str
        Of the rule.
    needs_score : bool
        Whether it decides on the PRM's score.
    """

    @property
    def policy_hash(self) -> str: ...  # noqa: D102

    @property
    def needs_score(self) -> bool: ...  # noqa: D102

    def writer(self, step: int) -> Literal["weak", "strong"] | None:
        """The model that writes the step alone, with nothing to decide; None where there is a decision."""
        ...

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """Keep or regenerate, given q = P(the prefix before is right)."""
        ...


def content_hash(rule: Record) -> str:
    """Short hash of what a rule (or a table that it looks at) says."""
    return hashlib.sha256(rule.model_dump_json().encode()).hexdigest()[:12]


def needs_score(rule: AnyRule) -> bool:
    """Whether a rule ever looks at the PRM's score."""
    if isinstance(rule, MixedRule):
        return needs_score(rule.first) or needs_score(rule.second)
    if isinstance(rule, ThresholdRule):
        return 0.0 < rule.threshold < 1.0
    if isinstance(rule, AlphaVectorRule):
        return rule.evidence is None or rule.evidence.needs_score
    return isinstance(rule, PosteriorRule)


def needs_truth(rule: AnyRule) -> bool:
    """Whether a rule ever looks at the true class."""
    if isinstance(rule, MixedRule):
        return needs_truth(rule.first) or needs_truth(rule.second)
    return isinstance(rule, StrategyRule) and rule.strategy == "oracle"


def router_choice(rule: AnyRule, *, seed: int, class_table: ClassTable | None = None) -> Callable[[str], Router]:
    """A policy as a function from a problem's id to the router that decides on it.

    A mixture is drawn once per problem, by a uniform keyed by (seed, problem).

    Parameters
    ----------
    rule : rule or mixture
        Any policy of the package.
    seed : int
        Seed of the run.
    class_table : ClassTable or None
        Densities of (min, current), for rules that were made on them.

    Raises
    ------
    InputError, UnsetParameterError
        If the class table is needed and absent, or is another one than the rule was planned on.
    """
    if isinstance(rule, MixedRule):
        first = router_choice(rule.first, seed=seed, class_table=class_table)
        second = router_choice(rule.second, seed=seed, class_table=class_table)
        share = rule.probability
        return lambda problem: (second if keyed_uniform(seed, problem, "mixture") < share else first)(problem)
    if isinstance(rule, StrategyRule):
        hashed = content_hash(rule)
        return lambda problem: StrategyRouter(rule, seed, problem, hashed)
    router = _router(rule, class_table)
    return lambda _: router


def _router(rule: Rule, class_table: ClassTable | None) -> Router:
    if isinstance(rule, ThresholdRule):
        return ThresholdRouter(rule)
    if isinstance(rule, PosteriorRule):
        return PosteriorRouter(rule, _required(class_table))
    assert isinstance(rule, AlphaVectorRule)
    return AlphaVectorRouter(rule, class_table)


def _required(class_table: ClassTable | None) -> ClassTable:
    if class_table is None:
        raise UnsetParameterError(
            "the policy looks at (min, current); it runs only beside observations with a class table of them"
        )
    return class_table


@dataclass(frozen=True)
class StrategyRouter:
    """Weak, strong, random or oracle; no score is looked at. Random steps draw a uniform keyed by (seed, problem)."""

    rule: StrategyRule
    seed: int
    problem: str
    policy_hash: str
    needs_score: bool = False

    def writer(self, step: int) -> Literal["weak", "strong"] | None:
        """See `Router.writer`."""
        if self.rule.strategy == "weak":
            return "weak"
        return "strong" if self.rule.strategy == "strong" else None

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """See `Router.decide`."""
        if self.rule.strategy == "oracle":
            if seen.true_class is None:
                raise SetupError("the strategy 'oracle' exists only where true classes are known")
            probability = self.rule.regenerate[seen.true_class]
        else:
            probability = self.rule.regenerate[0]
        drawn = keyed_uniform(self.seed, self.problem, seen.step, "strategy")
        return Decision(REGENERATE if drawn < probability else KEEP)


@dataclass(frozen=True)
class ScheduleRouter:
    """The strong model writes the given steps, the weak model all others: repair experiments."""

    strong_steps: frozenset[int]
    needs_score: bool = False

    @property
    def policy_hash(self) -> str:
        """Hash of the schedule."""
        return hashlib.sha256(repr(sorted(self.strong_steps)).encode()).hexdigest()[:12]

    def writer(self, step: int) -> Literal["weak", "strong"] | None:
        """See `Router.writer`."""
        return "strong" if step in self.strong_steps else "weak"

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """Not asked, since some model writes every step alone."""
        raise AssertionError("a schedule leaves nothing to decide")


class ThresholdRouter:
    """Regenerate iff the score is below the threshold. At 0 and 1 no score is needed."""

    def __init__(self, rule: ThresholdRule) -> None:
        self._rule = rule
        self.policy_hash = content_hash(rule)
        self.needs_score = needs_score(rule)

    def writer(self, step: int) -> None:
        """See `Router.writer`."""
        return

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """See `Router.decide`."""
        score = seen.features.get("score")
        return Decision(self._rule.act(0.0 if score is None else score), evidence=score)


class PosteriorRouter:
    """The paper's rule on the posterior given (min, current)."""

    needs_score = True

    def __init__(self, rule: PosteriorRule, table: ClassTable) -> None:
        self._rule, self._table = rule, table
        self.policy_hash = content_hash(rule)

    def writer(self, step: int) -> None:
        """See `Router.writer`."""
        return

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """See `Router.decide`."""
        minimum, score = seen.features["minimum"], seen.features["score"]
        belief = self._table.posterior(np.array(minimum), np.array(score))
        b0, b1, b2 = belief.tolist()
        return Decision(int(self._rule.act(belief)), evidence=score, belief=(b0, b1, b2))


@dataclass(frozen=True)
class _Envelope:
    """Alpha-vectors of one step: the largest at q is the last one that leads from a q below."""

    starts: list[float]
    lines: list[tuple[float, float]]

    def __call__(self, q: float) -> float:
        intercept, slope = self.lines[bisect_right(self.starts, q) - 1]
        return intercept + q * slope


class AlphaVectorRouter:
    """A planned policy, on Python floats: the arithmetic of the kernels, without compiling them."""

    def __init__(self, rule: AlphaVectorRule, class_table: ClassTable | None = None) -> None:
        if rule.score_edges is None:
            size = _required(class_table).table.shape[1]
            if size != len(rule.emission_right):
                raise InputError(
                    f"the policy was planned on {len(rule.emission_right)} bins of (min, current), the class table "
                    f"has {size}; plan it again on these observations"
                )
        tables = rule.tables
        self._rule, self._class_table = rule, class_table
        self._edges = list(rule.score_edges or ())
        self._emission: list[list[float]] = tables.emission.T.tolist()
        self._success: list[float] = tables.success.tolist()
        self._end: list[list[float]] = tables.end.tolist()
        self._values = [
            _Envelope(rows[:, 2].tolist(), [(intercept, slope) for intercept, slope, _ in rows.tolist()])
            for rows in np.split(tables.vectors, tables.offset[1:-1])
        ]
        self._after: list[Any] = tables.after.tolist()
        self._price: list[float] = tables.price.tolist()
        self.policy_hash = content_hash(rule)
        self.needs_score = needs_score(rule)

    def writer(self, step: int) -> None:
        """See `Router.writer`."""
        return

    def decide(self, q: float, seen: StepObservation) -> Decision:
        """See `Router.decide`."""
        rule = self._rule
        evidence = evidence_score(rule.evidence, seen.features)
        step = self._table_step(seen.step, seen.ended)
        b0, b1, b2 = self._belief(q, step, self._bin(evidence, seen.features), seen.ended)
        (kept, keep), (redone, redo) = (
            self._value_and_q((b0, b1, b2), step, outcomes) for outcomes in self._after[step][int(seen.ended)]
        )
        gain = redone - kept
        price = b0 * self._price[0] + b1 * self._price[1] + b2 * self._price[2]
        return Decision(
            action=REGENERATE if gain > price else KEEP,
            after=(self._rounded(keep), self._rounded(redo)),
            evidence=evidence,
            belief=(b0, b1, b2),
            gain=gain,
            price=price,
        )

    def _bin(self, evidence: float, features: Mapping[str, float]) -> int:
        if self._rule.score_edges is not None:
            return bisect_right(self._edges, evidence) - 1
        return int(_required(self._class_table).bins(np.array(features["minimum"]), np.array(features["score"])))

    def _table_step(self, step: int, ended: bool) -> int:
        """Beyond the rule's cap, its last step before it stands in."""
        last = len(self._success) - 1
        if step < last or (ended and step == last):
            return step
        return max(last - 1, 0)

    def _belief(self, q: float, step: int, bin_: int, ended: bool) -> Belief:
        """Belief over S0, S1, S2; an end (or none) that no class can explain is no evidence, nor is such a score."""
        success, (e0, e1, e2) = self._success[step], self._emission[bin_]
        end, end_derailed, end_wrong = (h if ended else 1.0 - h for h in self._end[step])
        b0, b1, b2 = q * success * e0, (1.0 - q) * e1, q * (1.0 - success) * e2
        if b0 * end + b1 * end_derailed + b2 * end_wrong > 0.0:
            b0, b1, b2 = b0 * end, b1 * end_derailed, b2 * end_wrong
        total = b0 + b1 + b2
        if total > 0.0:
            return b0 / total, b1 / total, b2 / total
        return q * success, 1.0 - q, q * (1.0 - success)

    def _value_and_q(self, belief: Belief, step: int, outcomes: list[list[list[float]]]) -> tuple[float, float]:
        """Value of an action, and q after it: where the solution goes on, or, where it cannot, where it is over."""
        on_right = on = over_right = over = 0.0
        for b, (goes_on, ends) in zip(belief, outcomes, strict=True):
            over_right += b * ends[0]
            over += b * ends[1]
            on_right += b * goes_on[0]
            on += b * goes_on[1]
        over += over_right
        on += on_right
        if on > 0.0:
            q = on_right / on
            return self._rule.reward * over_right + on * self._values[step](q), q
        return self._rule.reward * over_right, over_right / over

    def _rounded(self, q: float) -> float:
        """To the grid of belief cells, which makes the policy the finite-state controller that was evaluated."""
        cells = self._rule.belief_cells
        return int(q * cells + 0.5) / cells
