"""Best of a few drafts: a step that looks wrong is drafted again, and the strong model writes what still does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.actions import KEEP, REGENERATE
from trim_pomdp.model.actions.redraft import Redraft
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Author, Decision, Rule, RuleRouter, StepObservation

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Course, Drawn


class RedraftRule(Rule):
    """Draft a step again while its evidence score is low, at most so often; then keep one, or regenerate.

    With `redraft_below` 1 all drafts are always drawn: best-of-m at every step.

    Attributes
    ----------
    redraft_below : float
        A draft with an evidence score below it is drafted again; 1: every one (even at a score of 1).
    regenerate_below : float
        What would stand after the last draft is regenerated where its evidence score is below this; 0: never, 1:
        always.
    max_drafts : int
        Drafts of a step in all.
    keeps : {"latest", "better"}
        Which of a step's drafts would stand: the last one, or the one of the highest evidence score.
    evidence : EvidenceMap or None
        What makes an evidence score of a step's features; None: the PRM's score is it.
    """

    form: Literal["redraft"] = "redraft"
    redraft_below: Probability
    regenerate_below: Probability = 0.0
    max_drafts: Annotated[int, Field(ge=1, le=16)] = 4
    keeps: Literal["latest", "better"] = "better"
    evidence: EvidenceMap | None = None

    @model_validator(mode="after")
    def _better_steps_are_not_regenerated(self) -> RedraftRule:
        if self.regenerate_below > self.redraft_below:
            raise ValueError(
                f"regenerate_below is {self.regenerate_below:g}, above redraft_below ({self.redraft_below:g})"
            )
        return self

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return self.evidence is None or self.evidence.needs_score

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return self.evidence is None

    @property
    def authors(self) -> frozenset[Author]:
        """See `Rule`."""
        return frozenset(("weak", "strong")) if self.regenerate_below > 0.0 else frozenset(("weak",))

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Rule`."""
        return ("keep", "regenerate", "redraft")

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> RedraftRouter:
        """See `Rule`."""
        return RedraftRouter(self)

    def course(self, model: RoutingModel) -> Course:
        """See `Rule` (`trim_pomdp.policies.redrafts_in_model`)."""
        from trim_pomdp.policies.redrafts_in_model import redraft_course

        return redraft_course(self, model)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`."""
        from trim_pomdp.policies.redrafts_in_model import redraft_draws

        return redraft_draws(self, model, n, rng)


class RedraftRouter(RuleRouter):
    """Drafts again on one problem (a `Router`); it remembers the evidence of the drafts of the step in hand."""

    def __init__(self, rule: RedraftRule) -> None:
        super().__init__(rule)
        self._rule = rule
        self._scores: list[float] = []

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        rule = self._rule
        if seen.draft == 0:
            self._scores = []
        self._scores.append(evidence_score(rule.evidence, seen.features))
        last, scores = self._scores[-1], self._scores
        evidence = None if rule.evidence is None else last
        if _is_below(last, rule.redraft_below) and len(scores) < rule.max_drafts:
            return Decision(Redraft.code, evidence=evidence)
        # The last of equals: with one draft of each text it does not matter, and `latest` is the same rule then.
        best = max(range(len(scores)), key=lambda index: (scores[index], index))
        stands = best if rule.keeps == "better" else len(scores) - 1
        if _is_below(scores[stands], rule.regenerate_below):
            return Decision(REGENERATE, evidence=evidence)
        return Decision(KEEP, evidence=evidence, draft=None if stands == len(scores) - 1 else stands)


def _is_below(score: float, threshold: float) -> bool:
    return threshold >= 1.0 or score < threshold
