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
    from trim_pomdp.data.problems import Problem, read_problems
    from trim_pomdp.data.processbench import read_solutions, read_step_scores
    from trim_pomdp.data.rollouts import (
        Rollouts,
        read_redraft_rollouts,
        read_repair_rollouts,
        read_strong_rollouts,
        read_weak_rollouts,
    )
    from trim_pomdp.data.sequences import read_sequences
    from trim_pomdp.errors import InputError, TrimError, UnsetParameterError
    from trim_pomdp.fitting.assessment import assess
    from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
    from trim_pomdp.fitting.observations import fit_observations
    from trim_pomdp.inspection.assessment import calibration, spending_by_class
    from trim_pomdp.inspection.course import TypedSolution
    from trim_pomdp.inspection.progress import ProgressLine
    from trim_pomdp.inspection.report import report_document, write_report
    from trim_pomdp.inspection.rivals import rival_rules
    from trim_pomdp.inspection.runs import RecordedRun, inspect_run, read_run
    from trim_pomdp.inspection.solutions import Inspection, edit, evidence_curve, inspect_solution
    from trim_pomdp.inspection.widgets import BeliefInspector as BeliefInspector
    from trim_pomdp.inspection.widgets import FrontierExplorer as FrontierExplorer
    from trim_pomdp.inspection.widgets import ObservationExplorer as ObservationExplorer
    from trim_pomdp.inspection.widgets import PolicyMap as PolicyMap
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.loading import load
    from trim_pomdp.model.belief import FilterBelief, filter_scores
    from trim_pomdp.model.conditions import Conditions
    from trim_pomdp.model.dynamics import PerClass, StepDynamics
    from trim_pomdp.model.evidence import EvidenceMap
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.model.prices import Money, Price, Prices, Reading, Tariff, read_prices
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.sequences import SequenceBatch
    from trim_pomdp.planning.evaluation import evaluate, evaluate_money
    from trim_pomdp.planning.export import routing_pomdp
    from trim_pomdp.planning.frontier import Frontier, policy_for_budget, policy_for_tradeoff, solve_frontier
    from trim_pomdp.planning.intervals import planned_intervals, with_intervals
    from trim_pomdp.planning.money import policy_for_cost
    from trim_pomdp.planning.plots import (
        plot_beliefs,
        plot_densities,
        plot_fit,
        plot_frontier,
        plot_policy_map,
        save_figure,
    )
    from trim_pomdp.planning.sensitivity import Sensitivity, sensitivity
    from trim_pomdp.planning.simulation import SimulatedPoint, simulate
    from trim_pomdp.planning.thresholds import threshold_curve
    from trim_pomdp.planning.tuning import Tuned, tune, tune_in_model
    from trim_pomdp.policies import (
        AlphaVectorRule,
        Decision,
        LogprobRule,
        MixedRule,
        PlannedIntervals,
        PlannedPoint,
        PolicyArtifact,
        PosteriorRule,
        RedraftRule,
        Router,
        Rule,
        ScheduleRule,
        StepObservation,
        StrategyRule,
        TakeoverRule,
        ThresholdRule,
    )
    from trim_pomdp.presets.store import Preset, load_preset, preset_names
    from trim_pomdp.runtime.check import Verdicts, check_models
    from trim_pomdp.runtime.live import LivePlan, Outcome, misfits, run_live
    from trim_pomdp.runtime.merging import merge_runs
    from trim_pomdp.runtime.money import RunMoney, run_money
    from trim_pomdp.runtime.recorded import RecordedRollouts, read_rollouts
    from trim_pomdp.runtime.recording import record_rollouts
    from trim_pomdp.runtime.records import SolutionRecord
    from trim_pomdp.runtime.shards import Shard
    from trim_pomdp.runtime.summary import RunSummary
    from trim_pomdp.runtime.traces import read_traces
    from trim_pomdp.text.answers import same_answer
    from trim_pomdp.text.boxes import boxed_answer
    from trim_pomdp.text.format import StepFormat
    from trim_pomdp.text.steps import split_steps

_MODULE_OF = {
    "AlphaVectorRule": "policies",
    "Conditions": "model.conditions",
    "Decision": "policies",
    "EvidenceMap": "model.evidence",
    "FilterBelief": "model.belief",
    "Frontier": "planning.frontier",
    "InputError": "errors",
    "Inspection": "inspection.solutions",
    "LivePlan": "runtime.live",
    "LogprobRule": "policies",
    "MixedRule": "policies",
    "Money": "model.prices",
    "ObservationModel": "model.observations",
    "Outcome": "runtime.live",
    "PerClass": "model.dynamics",
    "PlannedIntervals": "policies",
    "PlannedPoint": "policies",
    "PolicyArtifact": "policies",
    "PosteriorRule": "policies",
    "RedraftRule": "policies",
    "Preset": "presets.store",
    "Price": "model.prices",
    "Prices": "model.prices",
    "Problem": "data.problems",
    "ProgressLine": "inspection.progress",
    "Reading": "model.prices",
    "RecordedRollouts": "runtime.recorded",
    "RecordedRun": "inspection.runs",
    "Rollouts": "data.rollouts",
    "Router": "policies",
    "RoutingModel": "model.process",
    "Rule": "policies",
    "RunMoney": "runtime.money",
    "RunSummary": "runtime.summary",
    "ScheduleRule": "policies",
    "Sensitivity": "planning.sensitivity",
    "SequenceBatch": "model.sequences",
    "Shard": "runtime.shards",
    "SimulatedPoint": "planning.simulation",
    "SolutionRecord": "runtime.records",
    "Sources": "fitting.dynamics",
    "StepDynamics": "model.dynamics",
    "StepFormat": "text.format",
    "StepObservation": "policies",
    "StrategyRule": "policies",
    "TakeoverRule": "policies",
    "Tariff": "model.prices",
    "ThresholdRule": "policies",
    "TrimError": "errors",
    "Tuned": "planning.tuning",
    "TypedSolution": "inspection.course",
    "UnsetParameterError": "errors",
    "Verdicts": "runtime.check",
    "assess": "fitting.assessment",
    "boxed_answer": "text.boxes",
    "calibration": "inspection.assessment",
    "check_models": "runtime.check",
    "edit": "inspection.solutions",
    "evaluate": "planning.evaluation",
    "evaluate_money": "planning.evaluation",
    "evidence_curve": "inspection.solutions",
    "filter_scores": "model.belief",
    "fit_dynamics": "fitting.dynamics",
    "fit_observations": "fitting.observations",
    "inspect_run": "inspection.runs",
    "inspect_solution": "inspection.solutions",
    "load": "loading",
    "load_preset": "presets.store",
    "merge_runs": "runtime.merging",
    "misfits": "runtime.live",
    "model_source": "lab.source",
    "planned_intervals": "planning.intervals",
    "plot_beliefs": "planning.plots",
    "plot_densities": "planning.plots",
    "plot_fit": "planning.plots",
    "plot_frontier": "planning.plots",
    "plot_policy_map": "planning.plots",
    "policy_for_budget": "planning.frontier",
    "policy_for_cost": "planning.money",
    "policy_for_tradeoff": "planning.frontier",
    "preset_names": "presets.store",
    "read_class_features": "data.features",
    "read_pilot": "data.outcomes",
    "read_prices": "model.prices",
    "read_problems": "data.problems",
    "read_redraft_rollouts": "data.rollouts",
    "read_repair_rollouts": "data.rollouts",
    "read_rollouts": "runtime.recorded",
    "read_run": "inspection.runs",
    "read_sequences": "data.sequences",
    "read_solutions": "data.processbench",
    "read_step_counts": "data.outcomes",
    "read_step_scores": "data.processbench",
    "read_strong_rollouts": "data.rollouts",
    "read_traces": "runtime.traces",
    "read_weak_rollouts": "data.rollouts",
    "record_rollouts": "runtime.recording",
    "report_document": "inspection.report",
    "rival_rules": "inspection.rivals",
    "routing_pomdp": "planning.export",
    "run_live": "runtime.live",
    "run_money": "runtime.money",
    "same_answer": "text.answers",
    "save_figure": "planning.plots",
    "sensitivity": "planning.sensitivity",
    "simulate": "planning.simulation",
    "solve_frontier": "planning.frontier",
    "spending_by_class": "inspection.assessment",
    "split_steps": "text.steps",
    "threshold_curve": "planning.thresholds",
    "tune": "planning.tuning",
    "tune_in_model": "planning.tuning",
    "with_intervals": "planning.intervals",
    "write_report": "inspection.report",
}

# They need the extra `notebooks`, so that they are no part of what `import *` takes.
_WIDGETS = dict.fromkeys(
    ("BeliefInspector", "FrontierExplorer", "ObservationExplorer", "PolicyMap"), "inspection.widgets"
)

__all__ = [
    "AlphaVectorRule",
    "Conditions",
    "Decision",
    "EvidenceMap",
    "FilterBelief",
    "Frontier",
    "InputError",
    "Inspection",
    "LivePlan",
    "LogprobRule",
    "MixedRule",
    "Money",
    "ObservationModel",
    "Outcome",
    "PerClass",
    "PlannedIntervals",
    "PlannedPoint",
    "PolicyArtifact",
    "PosteriorRule",
    "Preset",
    "Price",
    "Prices",
    "Problem",
    "ProgressLine",
    "Reading",
    "RecordedRollouts",
    "RecordedRun",
    "RedraftRule",
    "Rollouts",
    "Router",
    "RoutingModel",
    "Rule",
    "RunMoney",
    "RunSummary",
    "ScheduleRule",
    "Sensitivity",
    "SequenceBatch",
    "Shard",
    "SimulatedPoint",
    "SolutionRecord",
    "Sources",
    "StepDynamics",
    "StepFormat",
    "StepObservation",
    "StrategyRule",
    "TakeoverRule",
    "Tariff",
    "ThresholdRule",
    "TrimError",
    "Tuned",
    "TypedSolution",
    "UnsetParameterError",
    "Verdicts",
    "assess",
    "boxed_answer",
    "calibration",
    "check_models",
    "edit",
    "evaluate",
    "evaluate_money",
    "evidence_curve",
    "filter_scores",
    "fit_dynamics",
    "fit_observations",
    "inspect_run",
    "inspect_solution",
    "load",
    "load_preset",
    "merge_runs",
    "misfits",
    "model_source",
    "planned_intervals",
    "plot_beliefs",
    "plot_densities",
    "plot_fit",
    "plot_frontier",
    "plot_policy_map",
    "policy_for_budget",
    "policy_for_cost",
    "policy_for_tradeoff",
    "preset_names",
    "read_class_features",
    "read_pilot",
    "read_prices",
    "read_problems",
    "read_redraft_rollouts",
    "read_repair_rollouts",
    "read_rollouts",
    "read_run",
    "read_sequences",
    "read_solutions",
    "read_step_counts",
    "read_step_scores",
    "read_strong_rollouts",
    "read_traces",
    "read_weak_rollouts",
    "record_rollouts",
    "report_document",
    "rival_rules",
    "routing_pomdp",
    "run_live",
    "run_money",
    "same_answer",
    "save_figure",
    "sensitivity",
    "simulate",
    "solve_frontier",
    "spending_by_class",
    "split_steps",
    "threshold_curve",
    "tune",
    "tune_in_model",
    "with_intervals",
    "write_report",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name) or _WIDGETS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_WIDGETS])
