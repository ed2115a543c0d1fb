"""Plan and run stepwise LLM routing as a POMDP.

>>> import trim_pomdp as tp
>>> model = tp.load_preset("qwen2.5-1.5b-7b-math").routing_model()
>>> 0.3 < tp.evaluate(tp.StrategyRule(strategy="weak"), model).accuracy < 0.45
True

Names are imported on first use, so that ``import trim_pomdp`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trim_pomdp.assessment import assess
    from trim_pomdp.data.features import read_class_features
    from trim_pomdp.data.outcomes import read_pilot, read_step_counts
    from trim_pomdp.data.processbench import read_solutions, read_step_scores
    from trim_pomdp.data.rollouts import Rollouts, read_repair_rollouts, read_strong_rollouts, read_weak_rollouts
    from trim_pomdp.data.sequences import SequenceBatch, read_sequences
    from trim_pomdp.dynamics.fitting import Sources, fit_dynamics
    from trim_pomdp.dynamics.model import PerClass, StepDynamics
    from trim_pomdp.errors import InputError, TrimError, UnsetParameterError
    from trim_pomdp.evaluation import evaluate
    from trim_pomdp.evidence import EvidenceMap
    from trim_pomdp.frontier import Frontier, policy_for_budget, policy_for_tradeoff, solve_frontier
    from trim_pomdp.loading import load
    from trim_pomdp.observation_fitting import fit_observations
    from trim_pomdp.observations import ObservationModel
    from trim_pomdp.policies import (
        AlphaVectorRule,
        MixedRule,
        PlannedPoint,
        PolicyArtifact,
        PosteriorRule,
        StrategyRule,
        ThresholdRule,
    )
    from trim_pomdp.preset import Preset, load_preset, presets
    from trim_pomdp.routing import RoutingModel
    from trim_pomdp.simulation import SimulatedPoint, simulate
    from trim_pomdp.thresholds import threshold_curve

_MODULE_OF = {
    "AlphaVectorRule": "policies",
    "EvidenceMap": "evidence",
    "Frontier": "frontier",
    "InputError": "errors",
    "MixedRule": "policies",
    "ObservationModel": "observations",
    "PerClass": "dynamics.model",
    "PlannedPoint": "policies",
    "PolicyArtifact": "policies",
    "PosteriorRule": "policies",
    "Preset": "preset",
    "Rollouts": "data.rollouts",
    "RoutingModel": "routing",
    "SequenceBatch": "data.sequences",
    "SimulatedPoint": "simulation",
    "Sources": "dynamics.fitting",
    "StepDynamics": "dynamics.model",
    "StrategyRule": "policies",
    "ThresholdRule": "policies",
    "TrimError": "errors",
    "UnsetParameterError": "errors",
    "assess": "assessment",
    "evaluate": "evaluation",
    "fit_dynamics": "dynamics.fitting",
    "fit_observations": "observation_fitting",
    "load": "loading",
    "load_preset": "preset",
    "policy_for_budget": "frontier",
    "policy_for_tradeoff": "frontier",
    "presets": "preset",
    "read_class_features": "data.features",
    "read_pilot": "data.outcomes",
    "read_repair_rollouts": "data.rollouts",
    "read_sequences": "data.sequences",
    "read_solutions": "data.processbench",
    "read_step_counts": "data.outcomes",
    "read_step_scores": "data.processbench",
    "read_strong_rollouts": "data.rollouts",
    "read_weak_rollouts": "data.rollouts",
    "simulate": "simulation",
    "solve_frontier": "frontier",
    "threshold_curve": "thresholds",
}

__all__ = [
    "AlphaVectorRule",
    "EvidenceMap",
    "Frontier",
    "InputError",
    "MixedRule",
    "ObservationModel",
    "PerClass",
    "PlannedPoint",
    "PolicyArtifact",
    "PosteriorRule",
    "Preset",
    "Rollouts",
    "RoutingModel",
    "SequenceBatch",
    "SimulatedPoint",
    "Sources",
    "StepDynamics",
    "StrategyRule",
    "ThresholdRule",
    "TrimError",
    "UnsetParameterError",
    "assess",
    "evaluate",
    "fit_dynamics",
    "fit_observations",
    "load",
    "load_preset",
    "policy_for_budget",
    "policy_for_tradeoff",
    "presets",
    "read_class_features",
    "read_pilot",
    "read_repair_rollouts",
    "read_sequences",
    "read_solutions",
    "read_step_counts",
    "read_step_scores",
    "read_strong_rollouts",
    "read_weak_rollouts",
    "simulate",
    "solve_frontier",
    "threshold_curve",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
