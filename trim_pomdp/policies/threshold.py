"""Rules that act iff a score of the step in hand is low: the PRM's, or an evidence score; and the threshold rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Decision, FloatArray, RuleRouter, StepObservation
from trim_pomdp.policies.in_model import MemorylessRule

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel


class ScoreRule(MemorylessRule):
    """Keep a step unless its score is below a threshold; what is done then, subclasses say (`intervention`).

    Attributes
    ----------
    threshold : float
        In [0, 1]; 0 keeps every step, 1 none (even at a score of 1).
    evidence : EvidenceMap or None
        What makes an evidence score of a step's features; None: the PRM's score is it.
    """

    threshold: Probability
    evidence: EvidenceMap | None = None

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A rule on the PRM score says no more than its threshold, so that its hash is of that alone."""
        document: dict[str, Any] = handler(self)
        if self.evidence is None:
            document.pop("evidence", None)
        return document

    def act(self, score: float) -> int:
        """Action for a score, or evidence score."""
        return self.intervention if self.threshold >= 1.0 or score < self.threshold else KEEP

    @property
    def looks(self) -> bool:
        """Whether the decision depends on what is seen; at 0 and 1 it does not."""
        return 0.0 < self.threshold < 1.0

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return self.looks and (self.evidence is None or self.evidence.needs_score)

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return self.evidence is None

    @property
    def on_evidence_scores(self) -> Self:
        """The same rule, taking evidence scores as they are."""
        return self if self.evidence is None else self.model_copy(update={"evidence": None})

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return (0.0, self.threshold) if self.looks else (0.0,)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> ScoreRouter:
        """See `Rule`."""
        return ScoreRouter(self)

    def intervenes_by_bin(self, model: RoutingModel) -> FloatArray:
        """See `MemorylessRule`; raises `InputError` where the bins are of another score than the rule's."""
        model.observations.require_evidence(self.evidence, f"the {self.form} rule")
        return np.tile(model.observations.share_below(self.threshold, self.evidence), (3, 1))


class ThresholdRule(ScoreRule):
    """Regenerate iff the score, or evidence score, is below the threshold; 0 never, 1 always (even at a score of 1)."""

    form: Literal["threshold"] = "threshold"
    intervention = REGENERATE


class ScoreRouter(RuleRouter):
    """A threshold on one problem (a `Router`)."""

    def __init__(self, rule: ScoreRule) -> None:
        super().__init__(rule)
        self._rule = rule

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        rule = self._rule
        score = evidence_score(rule.evidence, seen.features) if rule.looks else 0.0
        return Decision(rule.act(score), evidence=score if rule.looks and rule.evidence is not None else None)
