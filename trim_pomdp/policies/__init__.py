"""Routing policies: rules that answer for themselves, as data that the runtime executes."""

from trim_pomdp.policies.alpha_vectors import AlphaVectorRule
from trim_pomdp.policies.artifact import PlannedIntervals, PlannedPoint, PolicyArtifact, rule_of
from trim_pomdp.policies.base import AnyRule, Decision, Router, Rule, StepObservation, WeighingRouter
from trim_pomdp.policies.mixture import MixedRule
from trim_pomdp.policies.posterior import PosteriorRule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.policies.schedule import ScheduleRule
from trim_pomdp.policies.strategy import StrategyRule
from trim_pomdp.policies.threshold import ThresholdRule

__all__ = [
    "AlphaVectorRule",
    "AnyRule",
    "Decision",
    "MixedRule",
    "PlannedIntervals",
    "PlannedPoint",
    "PolicyArtifact",
    "PosteriorRule",
    "RedraftRule",
    "Router",
    "Rule",
    "ScheduleRule",
    "StepObservation",
    "StrategyRule",
    "ThresholdRule",
    "WeighingRouter",
    "rule_of",
]
