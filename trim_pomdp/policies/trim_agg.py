"""TRIM-Agg: a small network on a few numbers of the current step and of the trace before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from trim_pomdp.policies.learned import LearnedRule
from trim_pomdp.policies.networks import StepFeature

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Course

AGG_FEATURES: tuple[StepFeature, ...] = ("score", "minimum", "tokens", "step")
"""As published: current score, minimum of the prior scores, token count of the current step, step index."""


class TrimAggRule(LearnedRule):
    """TRIM-Agg (Kapoor et al. 2026, arXiv:2601.10245), trained by PPO (`trim_pomdp.learning`).

    As published it sees the current PRM score, the minimum of the prior ones, the tokens of the weak step and its
    index. Beyond that: log λ, so that one network serves every budget; scores as log-odds; and, where the network says
    so, whether the step ends the solution, or an evidence score in place of the PRM's.
    """

    form: Literal["trim-agg"] = "trim-agg"

    @property
    def has_course(self) -> bool:
        """See `Rule`; what it remembers is a bin, unless it sees what became of the step before."""
        return "regenerated" not in self.network.features

    def course(self, model: RoutingModel) -> Course:
        """See `Rule` (`trim_pomdp.policies.agg_in_model`)."""
        from trim_pomdp.policies.agg_in_model import agg_course

        self.network.require(model.observations)
        if not self.has_course:
            return super().course(model)
        return agg_course(self, model)

    @model_validator(mode="after")
    def _has_no_memory(self) -> TrimAggRule:
        if self.network.architecture != "mlp":
            raise ValueError("TRIM-Agg is an 'mlp'; a transformer over steps is of the form 'trim-seq'")
        return self
