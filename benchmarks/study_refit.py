"""Do the lab's presets still hold for today's `fit-dynamics`? Recorded runs, predicted by the preset and by a refit.

    python benchmarks/study_refit.py --work FOLDER --live FOLDER [--family loop]

--work holds the rollouts that the lab's presets were fitted from (``python -m trim_pomdp.cli.lab_presets``), --live
the runs of `study_live`. Dynamics are fitted anew from the same rollouts, outcomes alone, with the densities of the
preset; the policies that were run are evaluated in both models.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from live_runs import FamilyRuns, Run, read_family
from report import heading, table
from study_oracle_gap import read_rollouts

import trim_pomdp as tp
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.lab.problems import FAMILIES, MAX_STEPS
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.runtime.live import POLICY_FILE

RUNS: dict[str, tuple[EvidenceKind, str]] = {
    "planned": ("prm+logprob", "budget"),
    "planned on the PRM": ("prm", "prm-budget"),
    "threshold": ("prm", "threshold"),
    "paper's rule": ("prm", "paper"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--live", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parsed = parser.parse_args()
    rows = []
    for name in parsed.family or FAMILIES:
        family = read_family(parsed.live / name)
        rows += list(compare(family, parsed.work / name))
    heading("Recorded runs, predicted by the preset and by dynamics fitted anew")
    columns = ("accuracy, measured − planned", "RMSE", "strong tokens, measured / planned")
    table(["family", "runs", "number", *(f"{model}: {c}" for model in ("preset", "refit") for c in columns)], rows)


def compare(family: FamilyRuns, work: Path) -> Iterable[list[object]]:
    """A row a kind of run: points by which accuracy is above the prediction, their RMSE, and tokens."""
    models = {kind: models_of(family, work, kind) for kind in {kind for kind, _ in RUNS.values()}}
    for kind_of_run, (kind, prefix) in RUNS.items():
        runs = family.named(prefix)
        cells = [cell for model in models[kind] for cell in errors(runs, model)]
        yield [family.name, kind_of_run, len(runs), *cells]


def models_of(family: FamilyRuns, work: Path, kind: EvidenceKind) -> tuple[tp.RoutingModel, tp.RoutingModel]:
    """The preset, and the same with dynamics fitted anew; budgets keep their unit."""
    preset = family.preset(kind).routing_model()
    fitted = fit_rollouts(
        f"{family.name}, anew", read_rollouts(work), preset.observations, max_steps=MAX_STEPS, intervals=False
    )
    anew = fitted.replace(strong_only_tokens=preset.strong_only_tokens)
    return preset, tp.RoutingModel(preset.observations, anew, preset.reward)


def errors(runs: Iterable[Run], model: tp.RoutingModel) -> list[str]:
    """Mean difference of accuracy, its RMSE (points), and mean ratio of strong tokens."""
    differences, ratios = [], []
    for run in runs:
        point = tp.evaluate(PolicyArtifact.read(run.folder / POLICY_FILE), model)
        differences.append(100 * (run.correct.mean() - point.accuracy))
        ratios.append(run.strong_tokens.mean() / point.strong_tokens)
    return [f"{np.mean(differences):+.1f}", f"{np.sqrt(np.mean(np.square(differences))):.1f}", f"{np.mean(ratios):.3f}"]


if __name__ == "__main__":
    main()
