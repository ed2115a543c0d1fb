"""Why rules on the PRM do better, or worse, than a lab's preset predicts: density, or dynamics.

    python benchmarks/study_predictions.py --work FOLDER --live FOLDER [--family loop]

--work holds the rollouts that the lab's presets were fitted from (``python -m trim_pomdp.lab.build_presets``), --live
the runs of `study_live`. Every rule that was run is evaluated, with the decisions that it took live, in three models of
the same fitting problems: the preset (densities from other families' labels, dynamics from outcomes); densities from
the family's own labels instead; and dynamics from labels, too. What the last one misses is neither's fault, but the
model's: independent steps, one probability for all problems.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from live_findings import ENDS
from live_runs import FamilyRuns, Run, read_family
from live_statistics import hull_values
from report import heading, table
from study_live import BUDGETS
from study_oracle_gap import read_rollouts

import trim_pomdp as tp
from trim_pomdp.data.processbench import class_features, read_step_scores
from trim_pomdp.dynamics.rollout_fitting import fit_rollouts
from trim_pomdp.lab.problems import FAMILIES, MAX_STEPS
from trim_pomdp.observation_fitting import fit_observations
from trim_pomdp.policies import PolicyArtifact

KINDS = ("threshold", "paper", "prm-budget")
TITLES = {"threshold": "threshold rule", "paper": "paper's rule", "prm-budget": "planned, PRM alone"}
MODELS = ("preset", "own densities", "labels")


@dataclass(frozen=True)
class Spread:
    """Accuracy and strong tokens of runs in one view (measured, or a model's), ends included."""

    accuracy: np.ndarray
    strong_tokens: np.ndarray

    def at(self, tokens: Sequence[float]) -> list[float]:
        """The concave hull at mean strong tokens."""
        x, y = self.strong_tokens[None], self.accuracy[None]
        return [float(hull_values(x, y, np.array([value]))[0]) for value in tokens]


def main() -> None:
    """Print a table for each kind of rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--live", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parsed = parser.parse_args()
    rows: dict[str, list[list[object]]] = {kind: [] for kind in KINDS}
    scores = []
    for name in parsed.family or FAMILIES:
        family = read_family(parsed.live / name)
        models = models_of(family, parsed.work / name)
        scores.append([name, *(f"{auc(model):.3f}" for model in models.values()), *moments(models)])
        for kind in KINDS:
            runs = family.named(kind)
            if runs:
                rows[kind] += compare(family, runs, models)
    heading("Rules on the PRM in three models of the same fitting problems")
    table(["family", *(f"AUC, {name}" for name in MODELS), *(f"p_w, p_r, p_d, e: {name}" for name in MODELS)], scores)
    for kind in KINDS:
        heading(f"{TITLES[kind]}: concave hull of the runs at a share of strong-only's tokens, measured and predicted")
        table(["family", "budget", "measured", *MODELS, *(f"measured − {name}, points" for name in MODELS)], rows[kind])


def models_of(family: FamilyRuns, work: Path) -> dict[str, tp.RoutingModel]:
    """The preset on PRM evidence, and the same with densities, then also dynamics, from the family's own labels."""
    preset = family.preset("prm")
    rollouts = read_rollouts(work)
    records = read_step_scores(work / "weak" / "scores.jsonl")
    prm = next(iter(records[0].scores))
    own = fit_observations(f"{family.name}, own labels", class_features(records, prm))
    # Rules decide by the preset's class table, whatever is true.
    own = own.model_copy(update={"class_table": preset.observations.class_table})
    models = {"preset": preset.routing_model()}
    for name, labels in (("own densities", False), ("labels", True)):
        print(f"{family.name}: fitting, {name}", file=sys.stderr, flush=True)
        dynamics = fit_rollouts(name, rollouts, own, labels=labels, intervals=False, max_steps=MAX_STEPS)
        models[name] = tp.RoutingModel(own, dynamics, models["preset"].reward)
    return models


def auc(model: tp.RoutingModel) -> float:
    """Of right steps against first errors, as the model sees them."""
    right, _, wrong = model.emission
    return float((right * (np.cumsum(wrong) - 0.5 * wrong)).sum())


def moments(models: dict[str, tp.RoutingModel]) -> list[str]:
    """Dynamics in short."""
    out = []
    for model in models.values():
        d = model.dynamics
        out.append(f"{np.mean(d.weak_success_by_step):.3f}, {d.repair:.3f}, {d.look_right:.3f}, {d.false_alarms:.3f}")
    return out


def compare(family: FamilyRuns, runs: Sequence[Run], models: dict[str, tp.RoutingModel]) -> list[list[object]]:
    """Hulls at the four budgets, measured and in each model."""
    every = [*(family[name] for name in ENDS), *runs]
    measured = Spread(
        np.array([run.correct.mean() for run in every]), np.array([run.strong_tokens.mean() for run in every])
    )
    rules = [PolicyArtifact.read(run.folder / "policy.json") for run in every]
    seen = {}
    for name, model in models.items():
        points = [tp.evaluate(rule, model) for rule in rules]
        seen[name] = Spread(
            np.array([point.accuracy for point in points]), np.array([point.strong_tokens for point in points])
        )
    tokens = [budget * family.unit for budget in BUDGETS]
    truth = measured.at(tokens)
    predicted = {name: spread.at(tokens) for name, spread in seen.items()}
    return [
        [
            family.name,
            budget,
            truth[place],
            *(predicted[name][place] for name in MODELS),
            *(f"{100 * (truth[place] - predicted[name][place]):+.1f}" for name in MODELS),
        ]
        for place, budget in enumerate(BUDGETS)
    ]


if __name__ == "__main__":
    main()
