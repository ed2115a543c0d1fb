"""Strategies that look at no score: always weak, always strong, at random, and the oracle that knows the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Author, Decision, FloatArray, RuleRouter, SetupError, StepObservation
from trim_pomdp.policies.in_model import MemorylessRule
from trim_pomdp.randomness import keyed_uniform

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel


class StrategyRule(MemorylessRule):
    """Strategies that look at no score.

    * ``weak`` never and ``strong`` always regenerates;
    * ``random`` regenerates each step with a fixed probability, by a draw of its own (step-random, which is what
      evidence has to beat at the same cost);
    * ``oracle`` knows the true class of each weak step: it regenerates first errors (S2), every one of them and nothing
      else. It exists where truth is known. What it spends is what the errors come to, so that no budget can be asked of
      it; what it still gets wrong is what the strong model does.
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

    @property
    def needs_truth(self) -> bool:
        """See `Rule`."""
        return self.strategy == "oracle"

    @property
    def sole_author(self) -> Author | None:
        """The model that writes every step, where one does."""
        return {"weak": "weak", "strong": "strong"}.get(self.strategy)  # type: ignore[return-value]

    @property
    def authors(self) -> frozenset[Author]:
        """See `Rule`."""
        return frozenset(("weak", "strong")) if self.sole_author is None else frozenset((self.sole_author,))

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return (0.0,)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> StrategyRouter:
        """See `Rule`."""
        return StrategyRouter(self, seed, problem.id)

    def intervenes_by_bin(self, model: RoutingModel) -> FloatArray:
        """See `MemorylessRule`."""
        return np.repeat(self.regenerate[:, None], model.emission.shape[1], axis=1)


class StrategyRouter(RuleRouter):
    """A strategy on one problem (a `Router`). Random steps draw a uniform keyed by (seed, problem, step)."""

    def __init__(self, rule: StrategyRule, seed: int, problem: str) -> None:
        super().__init__(rule)
        self._rule, self._seed, self._problem = rule, seed, problem
        self._regenerate: list[float] = rule.regenerate.tolist()

    def writer(self, step: int) -> Author | None:
        """See `Router`."""
        return self._rule.sole_author

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        if self._rule.needs_truth and seen.true_class is None:
            raise SetupError("the strategy 'oracle' exists only where true classes are known")
        probability = self._regenerate[seen.true_class if self._rule.needs_truth else 0]  # type: ignore[index]
        drawn = keyed_uniform(self._seed, self._problem, seen.step, "strategy")
        return Decision(REGENERATE if drawn < probability else KEEP)
