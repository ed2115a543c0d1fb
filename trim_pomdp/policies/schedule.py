"""A fixed plan of who writes which step, for repair experiments."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Author, Decision, Rule, RuleRouter, StepObservation


class ScheduleRule(Rule):
    """The strong model writes the given steps (from 0), the weak model all others."""

    form: Literal["schedule"] = "schedule"
    strong_steps: frozenset[NonNegativeInt]

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return (0.0,)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> ScheduleRouter:
        """See `Rule`."""
        return ScheduleRouter(self)


class ScheduleRouter(RuleRouter):
    """A schedule on one problem (a `Router`)."""

    def __init__(self, rule: ScheduleRule) -> None:
        super().__init__(rule)
        self._strong_steps = rule.strong_steps

    def writer(self, step: int) -> Author:
        """See `Router`."""
        return "strong" if step in self._strong_steps else "weak"

    def decide(self, seen: StepObservation) -> Decision:
        """Not asked, since some model writes every step alone."""
        raise AssertionError("a schedule leaves nothing to decide")
