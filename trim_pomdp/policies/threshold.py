"""The threshold rule: regenerate iff the score is low."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Decision, FloatArray, RuleRouter, StepObservation
from trim_pomdp.policies.in_model import MemorylessRule

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel


class ThresholdRule(MemorylessRule):
    """Regenerate iff the score is below the threshold; 0 never, 1 always (even at a score of 1)."""

    form: Literal["threshold"] = "threshold"
    threshold: Probability

    def act(self, score: float) -> int:
        """Action (`KEEP` or `REGENERATE`) for a score."""
        return REGENERATE if self.threshold >= 1.0 or score < self.threshold else KEEP

    @property
    def needs_score(self) -> bool:
        """See `Rule`; at 0 and 1 it needs none."""
        return 0.0 < self.threshold < 1.0

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return True

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return (0.0, self.threshold) if self.needs_score else (0.0,)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> ThresholdRouter:
        """See `Rule`."""
        return ThresholdRouter(self)

    def regenerate_by_bin(self, model: RoutingModel) -> FloatArray:
        """See `MemorylessRule`."""
        return np.tile(model.observations.share_below(self.threshold), (3, 1))


class ThresholdRouter(RuleRouter):
    """A threshold on one problem (a `Router`)."""

    def __init__(self, rule: ThresholdRule) -> None:
        super().__init__(rule)
        self._rule = rule

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        return Decision(self._rule.act(seen.features["score"] if self.needs_score else 0.0))
