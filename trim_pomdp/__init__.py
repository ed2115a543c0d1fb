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
    from trim_pomdp.data.features import read_class_features
    from trim_pomdp.data.outcomes import read_pilot, read_step_counts
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.data.processbench import read_solutions, read_step_scores
    from trim_pomdp.data.rollouts import Rollouts, read_repair_rollouts, read_strong_rollouts, read_weak_rollouts
    from trim_pomdp.data.sequences import read_sequences
    from trim_pomdp.errors import InputError, TrimError, UnsetParameterError
    from trim_pomdp.fitting.assessment import assess
    from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
    from trim_pomdp.fitting.observations import fit_observations
    from trim_pomdp.loading import load
    from trim_pomdp.model.dynamics import PerClass, StepDynamics
    from trim_pomdp.model.evidence import EvidenceMap
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.sequences import SequenceBatch
    from trim_pomdp.planning.evaluation import evaluate
    from trim_pomdp.planning.frontier import Frontier, policy_for_budget, policy_for_tradeoff, solve_frontier
    from trim_pomdp.planning.simulation import SimulatedPoint, simulate
    from trim_pomdp.planning.thresholds import threshold_curve
    from trim_pomdp.policies import (
        AlphaVectorRule,
        MixedRule,
        PlannedPoint,
        PolicyArtifact,
        PosteriorRule,
        StrategyRule,
        ThresholdRule,
    )
    from trim_pomdp.presets.store import Preset, load_preset, presets

_MODULE_OF = {
    "AlphaVectorRule": "policies",
    "EvidenceMap": "model.evidence",
    "Frontier": "planning.frontier",
    "InputError": "errors",
    "MixedRule": "policies",
    "ObservationModel": "model.observations",
    "PerClass": "model.dynamics",
    "PlannedPoint": "policies",
    "PolicyArtifact": "policies",
    "PosteriorRule": "policies",
    "Preset": "presets.store",
    "Rollouts": "data.rollouts",
    "RoutingModel": "model.process",
    "SequenceBatch": "model.sequences",
    "SimulatedPoint": "planning.simulation",
    "Sources": "fitting.dynamics",
    "StepDynamics": "model.dynamics",
    "StrategyRule": "policies",
    "ThresholdRule": "policies",
    "TrimError": "errors",
    "UnsetParameterError": "errors",
    "assess": "fitting.assessment",
    "evaluate": "planning.evaluation",
    "fit_dynamics": "fitting.dynamics",
    "fit_observations": "fitting.observations",
    "load": "loading",
    "load_preset": "presets.store",
    "policy_for_budget": "planning.frontier",
    "policy_for_tradeoff": "planning.frontier",
    "presets": "presets.store",
    "read_class_features": "data.features",
    "read_pilot": "data.outcomes",
    "read_problems": "data.problems",
    "read_repair_rollouts": "data.rollouts",
    "read_sequences": "data.sequences",
    "read_solutions": "data.processbench",
    "read_step_counts": "data.outcomes",
    "read_step_scores": "data.processbench",
    "read_strong_rollouts": "data.rollouts",
    "read_weak_rollouts": "data.rollouts",
    "simulate": "planning.simulation",
    "solve_frontier": "planning.frontier",
    "threshold_curve": "planning.thresholds",
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
    "read_problems",
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
