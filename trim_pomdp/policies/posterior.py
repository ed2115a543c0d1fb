"""The paper's memoryless rule, on the posterior given the score and the minimum of those before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import UnsetParameterError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.model.propagation import Course
from trim_pomdp.policies.base import Belief, Decision, FloatArray, Rule, RuleRouter, StepObservation
from trim_pomdp.policies.in_model import course_by_bin, simulate_counts

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Drawn


class PosteriorRule(Rule):
    """The paper's memoryless rule: with b the posterior given (min, current), keep iff max(b) − b(S2) ≥ closeness."""

    form: Literal["posterior"] = "posterior"
    closeness: Annotated[float, Field(ge=0.0, le=1.0)]

    def act(self, belief: FloatArray) -> NDArray[np.int64]:
        """Action for posteriors of shape (..., 3)."""
        keep = belief.max(axis=-1) - belief[..., 2] >= self.closeness
        return np.where(keep, KEEP, REGENERATE)

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return True

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return required(class_table).score_edges[:-1]

    def require(self, class_table: ClassTable | None) -> None:
        """See `Rule`."""
        required(class_table)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> PosteriorRouter:
        """See `Rule`."""
        return PosteriorRouter(self, required(class_table))

    def course(self, model: RoutingModel) -> Course:
        """See `Rule`: with fine score bins the running minimum is propagated, a bin; else nothing is remembered."""
        if model.observations.emission != "step":
            return course_by_bin(self._by_bin(model), model)
        from trim_pomdp import _kernels

        law = model.law
        accuracy, by_end, before = _kernels.propagate_posterior(
            self.action_table(model),
            law.weak_success,
            law.end,
            model.emission,
            model.outcomes,
            model.accepted_tokens,
        )
        return Course.of(accuracy, by_end, before, model.tables)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`."""
        if model.observations.emission != "step":
            return simulate_counts(model, n, rng, by_bin=self._by_bin(model))
        return simulate_counts(model, n, rng, by_minimum=self.action_table(model))

    def action_table(self, model: RoutingModel) -> NDArray[np.int64]:
        """Action for (bin of the running minimum, score bin), shape (J + 1, J); minimum bin J is "no step yet"."""
        model.observations.require_prm("the posterior rule")
        edges = np.array(model.observations.step_emission.score_edges)
        table = model.observations.posterior_table
        minimum = np.append(edges, 1.0)
        return self.act(table.posterior(minimum[:, None], edges[None, :]))

    def _by_bin(self, model: RoutingModel) -> FloatArray:
        """P(regenerate | class, bin of (min, current)), shape (3, J)."""
        act = self.act(model.observations.posterior_table.class_posterior)
        return np.tile(act.astype(np.float64), (3, 1))


class PosteriorRouter(RuleRouter):
    """The paper's rule on one problem (a `Router`)."""

    def __init__(self, rule: PosteriorRule, table: ClassTable) -> None:
        super().__init__(rule)
        self._rule, self._table = rule, table

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        minimum, score = seen.features["minimum"], seen.features["score"]
        belief = self._table.posterior(np.array(minimum), np.array(score))
        b0, b1, b2 = belief.tolist()
        return Decision(int(self._rule.act(belief)), belief=(b0, b1, b2))

    def prior(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`: uniform, whatever came before."""
        return (1.0 / 3.0,) * 3

    def likelihood(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`: of the bin of (min, current)."""
        minimum, score = np.array(seen.features["minimum"]), np.array(seen.features["score"])
        e0, e1, e2 = self._table.table[:, int(self._table.bins(minimum, score))].tolist()
        return e0, e1, e2


def required(class_table: ClassTable | None) -> ClassTable:
    """The class table; raises `UnsetParameterError` where there is none."""
    if class_table is None:
        raise UnsetParameterError(
            "the policy looks at (min, current); it runs only beside observations with a class table of them"
        )
    return class_table
