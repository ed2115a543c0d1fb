"""Routing policies: rules that answer for themselves, as data that the runtime executes."""

from trim_pomdp.policies.alpha_vectors import AlphaVectorRule
from trim_pomdp.policies.artifact import PlannedIntervals, PlannedPoint, PolicyArtifact, rule_of
from trim_pomdp.policies.base import AnyRule, Decision, Router, Rule, StepObservation, WeighingRouter
from trim_pomdp.policies.logprob import LogprobRule
from trim_pomdp.policies.mixture import MixedRule
from trim_pomdp.policies.posterior import PosteriorRule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.policies.schedule import ScheduleRule
from trim_pomdp.policies.strategy import StrategyRule
from trim_pomdp.policies.takeover import TakeoverRule
from trim_pomdp.policies.threshold import ThresholdRule
from trim_pomdp.policies.trim_agg import TrimAggRule
from trim_pomdp.policies.trim_seq import TrimSeqRule

__all__ = [
    "AlphaVectorRule",
    "AnyRule",
    "Decision",
    "LogprobRule",
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
    "TakeoverRule",
    "ThresholdRule",
    "TrimAggRule",
    "TrimSeqRule",
    "WeighingRouter",
    "rule_of",
]
