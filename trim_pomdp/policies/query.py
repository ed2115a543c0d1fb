"""Rules for whole problems: each is written by the weak model or by the strong one, from its first step to its last.

A rule gives every problem *points*: the more, the sooner it is escalated, to the strong model. Above the threshold it
is escalated, below it is not, and at it with a probability, so that every budget can be met also where many problems
have the same points. Two kinds of rules:

* Some look at the prompt alone. The engine runs them as it runs any rule.
* Others look at the weak model's finished solution (`QueryRule.needs_solution`). A solution that was written cannot be
  started over step by step, so the engine refuses them; what a live cascade would do is a function of a weak-only and
  a strong-only run of the same problems (`trim_pomdp.runtime.cascades`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Author, Decision, FloatArray, Rule, RuleRouter, StepObservation
from trim_pomdp.policies.prompt_features import AnyPromptFeatures
from trim_pomdp.randomness import keyed_uniform

_DECIMALS = 9  # what differs by less is a tie, whatever else was in the batch


class QueryRule(Rule):
    """A rule for whole problems.

    Attributes
    ----------
    threshold : float
        Problems with more points are escalated, with fewer not.
    at_threshold : float
        Probability of escalating a problem with just so many points.
    """

    threshold: float = 0.0
    at_threshold: Probability = 1.0

    worthless: ClassVar[float | None] = None
    """Points at or below which nothing is gained by escalating, whatever the budget; None: no such thing is known."""

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: when it escalates."""
        return {"threshold": self.threshold, "at threshold": self.at_threshold}

    @property
    def needs_solution(self) -> bool:
        """Whether it looks at the weak model's finished solution."""
        return False

    @property
    def further_samples(self) -> int:
        """How many more solutions of the weak model it looks at, each of which is paid for."""
        return 0

    def require(self, class_table: ClassTable | None) -> None:
        """See `Rule`."""
        if self.needs_solution:
            raise InputError(
                f"a policy of the form {self.form!r} decides on a finished weak solution, which no engine starts over; "
                "combine a weak-only and a strong-only run (trim_pomdp.runtime.cascades.cascade)"
            )

    def points(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> FloatArray:
        """Points of problems, shape (n,): the more, the sooner a problem is escalated.

        Parameters
        ----------
        problems : sequence of Problem
        solutions : sequence of WeakSolution, or None
            Of each problem; for rules that look at them.
        seed : int
            Of draws, which are keyed by problem.

        Raises
        ------
        InputError
            If a solution is wanted that is not there, or lacks what is looked at.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no points")

    def escalates(self, problem: Problem, solution: WeakSolution | None = None, *, seed: int = 0) -> bool:
        """Whether the strong model solves the problem.

        Raises
        ------
        InputError
            As `points`.
        """
        return self.escalations([problem], None if solution is None else [solution], seed=seed)[0]

    def escalations(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> list[bool]:
        """`escalates` of many problems at once."""
        shares = self.shares_at(self.points(problems, solutions, seed=seed))
        return [
            keyed_uniform(seed, problem.id, "escalate") < share
            for problem, share in zip(problems, shares.tolist(), strict=True)
        ]

    def shares_at(self, points: FloatArray) -> FloatArray:
        """Probability of escalating a problem with so many points; shape as `points`."""
        points, threshold = np.round(points, _DECIMALS), round(self.threshold, _DECIMALS)
        return np.where(points > threshold, 1.0, np.where(points == threshold, self.at_threshold, 0.0))

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> QueryRouter:
        """See `Rule`; of rules that look at the prompt alone."""
        self.require(class_table)
        return QueryRouter(self, "strong" if self.escalates(problem, seed=seed) else "weak")


class PromptRule(QueryRule):
    """A rule that looks at features of the prompt.

    Attributes
    ----------
    features : HashedNgrams or SentenceEmbedding
        What it sees of a prompt.
    """

    features: AnyPromptFeatures

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {**super().facts(), "features": self.features.kind, "dimensions": self.features.dimensions}

    def points(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> FloatArray:
        """See `QueryRule`."""
        return self.points_of(self.features.transform([problem.prompt for problem in problems]))

    def points_of(self, features: FloatArray) -> FloatArray:
        """Points of prompts with these features, shape (n, dimensions) → (n,)."""
        raise NotImplementedError(f"{type(self).__name__} gives no points")


class QueryRouter(RuleRouter):
    """A rule for whole problems on one of them (a `Router`): one model writes every step."""

    def __init__(self, rule: Rule, author: Author) -> None:
        super().__init__(rule)
        self._author = author

    def writer(self, step: int) -> Author:
        """See `Router`."""
        return self._author

    def decide(self, seen: StepObservation) -> Decision:
        """Not asked, since one model writes every step alone."""
        raise AssertionError("a problem of one author leaves nothing to decide")


def required_solutions(
    rule: QueryRule, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None
) -> Sequence[WeakSolution]:
    """The solutions, one a problem.

    Raises
    ------
    InputError
        If there are none, or not so many.
    """
    if solutions is None or len(solutions) != len(problems):
        got = "none" if solutions is None else str(len(solutions))
        raise InputError(f"{rule.form} looks at finished weak solutions; expected {len(problems)}, got {got}")
    return solutions
