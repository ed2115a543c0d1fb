"""Problems escalated at random: what every router for whole problems has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import WeakSolution
from trim_pomdp.model.propagation import Drawn
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.mixture import MixedRule
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.policies.strategy import StrategyRule
from trim_pomdp.randomness import keyed_uniform

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Course


class QueryRandomRule(QueryRule):
    """Points are uniform in [0, 1), by a draw keyed by (seed, problem): the threshold 1 − p escalates a share of p."""

    form: Literal["query-random"] = "query-random"

    def points(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> FloatArray:
        """See `QueryRule`."""
        return np.array([keyed_uniform(seed, problem.id, "query") for problem in problems])

    def course(self, model: RoutingModel) -> Course:
        """See `Rule`: of the mixture of always weak and always strong that it is."""
        return self._mixture.course(model)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`."""
        return self._mixture.simulated(model, n, rng)

    @property
    def _mixture(self) -> MixedRule:
        share = min(max(1.0 - self.threshold, 0.0), 1.0)
        weak, strong = StrategyRule(strategy="weak"), StrategyRule(strategy="strong")
        return MixedRule(first=weak, second=strong, probability=share)
