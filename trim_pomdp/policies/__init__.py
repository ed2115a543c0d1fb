"""Routing policies, as data that the runtime executes."""

from trim_pomdp.policies.records import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    Rule,
    StrategyRule,
    ThresholdRule,
)

__all__ = [
    "AlphaVectorRule",
    "MixedRule",
    "PlannedPoint",
    "PolicyArtifact",
    "PosteriorRule",
    "Rule",
    "StrategyRule",
    "ThresholdRule",
]
