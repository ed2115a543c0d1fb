"""What labels of one's own steps would add to outcomes: to dynamics, to plans, and to predictions of rules.

    python benchmarks/study_labels.py --work FOLDER [--live FOLDER] [--family loop]

--work holds the rollouts that the lab's presets were fitted from (``python -m trim_pomdp.cli.lab_presets``). The
presets have dynamics from outcomes alone and densities from other families' labels.

1. The parameters, from outcomes and from labels.
2. What a plan made from outcomes loses where the model fitted on labels is true.
3. With --live, the runs of `study_live`: rules and plans on the PRM, measured and predicted, with the decisions that
   they took, in three models of the same fitting problems: the preset; densities from the family's own labels; and
   dynamics from labels, too. What the last one misses is neither's fault, but the model's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from live_findings import ENDS
from live_runs import FamilyRuns, Run, read_family
from live_statistics import FloatArray, hull_values
from report import heading, table
from study_live import BUDGETS
from study_oracle_gap import read_rollouts

import trim_pomdp as tp
from observation_models import auc
from trim_pomdp.data.processbench import class_features, read_step_scores
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.fitting.observations import fit_observations
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.lab.problems import FAMILIES, MAX_STEPS
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import POLICY_FILE

KINDS = {"threshold": "threshold rule", "paper": "paper's rule", "prm-budget": "planned on the PRM"}
PARAMETERS = ("strong_success", "repair", "look_right", "false_alarms", "misses", "recovery")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--live", type=Path)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parsed = parser.parse_args()
    names = parsed.family or FAMILIES
    rollouts = {name: read_rollouts(parsed.work / name) for name in names}
    from_labels(rollouts)
    if parsed.live is not None:
        predictions({name: read_family(parsed.live / name) for name in names}, rollouts, parsed.work)


def _fit(name: str, rollouts: Rollouts, observations: ObservationModel, *, labels: bool) -> StepDynamics:
    print(f"fitting {name} from {'labels' if labels else 'outcomes'}", file=sys.stderr, flush=True)
    return fit_rollouts(name, rollouts, observations, labels=labels, intervals=False, max_steps=MAX_STEPS)


# Outcomes against labels -------------------------------------------------------------------------------------


def from_labels(rollouts: dict[str, Rollouts]) -> None:
    """Parameters from outcomes and from labels, and what plans lose."""
    parameters, losses = [], []
    for name, data in rollouts.items():
        planned = load_preset(f"lab-{name}").routing_model()
        labelled = _fit(name, data, planned.observations, labels=True)
        for source, dynamics in (("outcomes", planned.dynamics), ("labels", labelled)):
            success = dynamics.weak_success_by_step
            shown = f"{success.min():.3f} to {success.max():.3f}" if np.ptp(success) else f"{success[0]:.3f}"
            parameters.append([name, source, shown, *(_estimate(dynamics, item) for item in PARAMETERS)])
        truth = tp.RoutingModel(planned.observations, labelled, planned.reward)
        best = tp.solve_frontier(truth, 200)
        for budget in BUDGETS:
            policy = tp.policy_for_budget(planned, budget)
            there = tp.evaluate(policy, truth)
            assert policy.planned is not None
            lost = best.accuracy_at([there.budget])[0] - there.accuracy
            losses.append([name, budget, policy.planned.accuracy, there.accuracy, there.budget, f"{100 * lost:.2f}"])
    heading("Dynamics from outcomes and from labels (brackets: 95 % bootstrap intervals over problems)")
    table(["family", "from", "p_w", "p_s", "p_r", "p_d", "e", "d", "ρ"], parameters)
    heading("A plan from outcomes where the model fitted on labels is true")
    table(["family", "asked", "planned accuracy", "accuracy there", "spends there", "lost at that, points"], losses)


def _estimate(dynamics: StepDynamics, name: str) -> str:
    value = getattr(dynamics, name)
    interval = None if dynamics.fit is None else dynamics.fit.intervals.get(name)
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


# Predictions of rules ----------------------------------------------------------------------------------------


def predictions(families: dict[str, FamilyRuns], rollouts: dict[str, Rollouts], work: Path) -> None:
    """Measured and predicted hulls of rules on the PRM."""
    areas, rows = [], []
    for name, family in families.items():
        models = models_of(family, rollouts[name], work / name)
        areas.append([name, *(f"{model_auc(model):.3f}" for model in models.values())])
        for kind, title in KINDS.items():
            runs = family.named(kind)
            if runs:
                rows += [[name, title, *row] for row in compare(family, runs, models)]
    columns = ("preset", "own densities", "labels")
    heading("AUC of right steps against first errors, in the model")
    table(["family", *columns], areas)
    heading("Rules on the PRM: hull of runs at a share of strong-only's tokens, measured minus predicted in points")
    table(["family", "rule", "budget", "measured", *columns], rows)


def models_of(family: FamilyRuns, rollouts: Rollouts, work: Path) -> dict[str, tp.RoutingModel]:
    """The preset on PRM evidence, and the same with densities, then also dynamics, from the family's own labels."""
    preset = family.preset("prm")
    records = read_step_scores(work / "weak" / "scores.jsonl")
    fitted = fit_observations(family.name, class_features(records, next(iter(records[0].scores))))
    # Rules decide by the preset's class table, whatever is true.
    own = fitted.model_copy(update={"class_table": preset.observations.class_table})
    models = {"preset": preset.routing_model()}
    for name, labels in (("own densities", False), ("labels", True)):
        dynamics = _fit(f"{family.name}, {name}", rollouts, own, labels=labels)
        models[name] = tp.RoutingModel(own, dynamics, models["preset"].reward)
    return models


def model_auc(model: tp.RoutingModel) -> float:
    """AUC of right steps against first errors, as the model sees them."""
    right, _, wrong = model.emission
    bins = np.arange(len(right))
    return auc(np.tile(bins, 2), np.repeat([True, False], len(bins)), np.concatenate([right, wrong]))


def compare(family: FamilyRuns, runs: Sequence[Run], models: dict[str, tp.RoutingModel]) -> list[list[object]]:
    """Hulls of the runs and the ends at the four budgets: measured, and how far above each model's."""
    every = [*(family[name] for name in ENDS), *runs]
    tokens = np.array(BUDGETS) * family.unit
    measured = _hull([run.strong_tokens.mean() for run in every], [run.correct.mean() for run in every], tokens)
    columns = []
    for model in models.values():
        points = [tp.evaluate(PolicyArtifact.read(run.folder / POLICY_FILE), model) for run in every]
        columns.append(_hull([point.strong_tokens for point in points], [point.accuracy for point in points], tokens))
    return [
        [budget, measured[i], *(f"{100 * (measured[i] - column[i]):+.1f}" for column in columns)]
        for i, budget in enumerate(BUDGETS)
    ]


def _hull(x: Sequence[float], y: Sequence[float], at: FloatArray) -> FloatArray:
    shape = (len(at), len(x))
    return hull_values(np.broadcast_to(x, shape), np.broadcast_to(y, shape), at)


if __name__ == "__main__":
    main()
