"""Mixtures: one of two policies is drawn for every problem, which reaches every budget between theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.actions.base import actions_of, names_of
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.model.propagation import Drawn
from trim_pomdp.policies.base import AnyRule, Author, Router, Rule
from trim_pomdp.randomness import keyed_uniform

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Course


class MixedRule(Rule):
    """Draw one of two policies for each problem: `second` with the given probability, else `first`."""

    form: Literal["mixed"] = "mixed"
    first: AnyRule
    second: AnyRule
    probability: Probability

    @model_validator(mode="after")
    def _parts_are_no_mixtures(self) -> MixedRule:
        if any(len(part.parts) > 1 for part in self.parts):
            raise ValueError("the two policies of a mixture are no mixtures themselves")
        return self

    @property
    def parts(self) -> tuple[Rule, ...]:
        """See `Rule`."""
        return (self.first, self.second)

    @property
    def shares(self) -> tuple[float, ...]:
        """See `Rule`."""
        return (1.0 - self.probability, self.probability)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: what is drawn, and how often."""
        parts = zip(("first", "second"), self.parts, self.shares, strict=True)
        return {name: f"{part.form} {share:.4f}" + _at(part) for name, part, share in parts}

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return any(part.needs_score for part in self.parts)

    @property
    def needs_truth(self) -> bool:
        """See `Rule`."""
        return any(part.needs_truth for part in self.parts)

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return any(part.judges_prm_scores for part in self.parts)

    @property
    def authors(self) -> frozenset[Author]:
        """See `Rule`."""
        return self.first.authors | self.second.authors

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Rule`."""
        return names_of(actions_of({*self.first.choices, *self.second.choices}))

    @property
    def horizon(self) -> int | None:
        """See `Rule`."""
        return max((part.horizon for part in self.parts if part.horizon is not None), default=None)

    def require(self, class_table: ClassTable | None) -> None:
        """See `Rule`."""
        for part in self.parts:
            part.require(class_table)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> Router:
        """The router of the policy that is drawn, by a uniform keyed by (seed, problem)."""
        drawn = keyed_uniform(seed, problem.id, "mixture") < self.probability
        return (self.second if drawn else self.first).router(problem, seed=seed, class_table=class_table)

    @property
    def has_course(self) -> bool:
        """See `Rule`."""
        return all(part.has_course for part in self.parts)

    def course(self, model: RoutingModel) -> Course:
        """See `Rule`."""
        first, second = (part.course(model).scaled(share) for part, share in zip(self.parts, self.shares, strict=True))
        return first + second

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`."""
        return Drawn.joined([drawn for _, drawn in self.simulated_parts(model, n, rng)])

    def simulated_parts(self, model: RoutingModel, n: int, rng: np.random.Generator) -> tuple[tuple[Rule, Drawn], ...]:
        """See `Rule`; how many problems each policy gets is drawn too."""
        second = int(rng.binomial(n, self.probability))
        sizes = ((self.first, n - second), (self.second, second))
        return tuple((part, part.simulated(model, size, rng)) for part, size in sizes if size)


def _at(part: Rule) -> str:
    return "" if part.planned_tradeoff is None else f" at λ {part.planned_tradeoff:.4g}"
