"""Rebuild the presets from raw data: ``python -m trim_pomdp.presets.build --data ../shared/data``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from trim_pomdp.artifacts import hashes
from trim_pomdp.data.features import read_class_features
from trim_pomdp.data.outcomes import PilotRow, StepCounts, StepCountsFile, read_pilot, read_step_counts
from trim_pomdp.errors import TrimError
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.fitting.observations import fit_observations
from trim_pomdp.model.dynamics import Check, FitReport, PerClass, StepDynamics
from trim_pomdp.model.observations import ClassTable, ObservationModel
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.presets.store import Preset

FEATURES, COUNTS, PILOT = "prm_features_math.npz", "trim_step_counts.json.gz", "trim_measured_thr.jsonl"
WEAK, STRONG = "qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct"
# Seven rows, the end points among them; the other fourteen are predicted (docs/results.md).
FIT_THRESHOLDS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 1.0)
COMMAND = "python -m trim_pomdp.presets.build --data ../shared/data"
# The published configuration.
PAPER_WEAK_SUCCESS, PAPER_STRONG_SUCCESS, PAPER_STRONG_TOKENS, PAPER_HAZARD = 0.866, 0.9704, 60.0, "slm"
NAME = "qwen2.5-1.5b-7b-math"


def main(arguments: list[str] | None = None) -> int:
    """Build both presets and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the raw data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parsed = parser.parse_args(arguments)
    try:
        for preset in (fitted_preset(parsed.data), paper_preset(parsed.data)):
            path = preset.save(parsed.out / f"{preset.name}.json")
            print(f"wrote {path}", file=sys.stderr)  # noqa: T201
    except TrimError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def fitted_preset(data: Path) -> Preset:
    """The explanation of the measured thresholds with the best held-out likelihood."""
    observations = _observations(data)
    counts = read_step_counts(data / COUNTS)
    dynamics = fit_dynamics(
        "Qwen2.5-1.5B-Instruct → Qwen2.5-7B-Instruct, MATH-500",
        Sources(
            weak_counts=counts.of(WEAK),
            strong_counts=counts.of(STRONG),
            pilot=read_pilot(data / PILOT),
            provenance=hashes([data / COUNTS, data / PILOT]),
        ),
        observations,
        fit_thresholds=FIT_THRESHOLDS,
        progress=lambda message: print(message, file=sys.stderr),  # noqa: T201
    )
    return Preset(
        name=NAME,
        description=(
            "Qwen2.5-1.5B-Instruct → Qwen2.5-7B-Instruct on MATH-500, PRM Qwen2.5-Math-PRM-7B; the explanation of the "
            "measured thresholds with the best held-out likelihood"
        ),
        observations=observations,
        dynamics=dynamics,
        command=COMMAND,
        provenance=hashes([data / FEATURES, data / COUNTS, data / PILOT]),
    )


def paper_preset(data: Path) -> Preset:
    """Dynamics and emission as published: p_r = p_s, one hazard, (min, current) in 20 × 20 bins fresh at each step."""
    counts = read_step_counts(data / COUNTS)
    tokens = PerClass.constant(PAPER_STRONG_TOKENS)
    dynamics = StepDynamics(
        name="TRIM as published",
        provenance=hashes([data / COUNTS]),
        weak_success=(PAPER_WEAK_SUCCESS,),
        strong_success=PAPER_STRONG_SUCCESS,
        repair=PAPER_STRONG_SUCCESS,
        look_right=PAPER_WEAK_SUCCESS,
        hazard=counts.terminal_hazard[PAPER_HAZARD].by_step,
        derailed_emission="labelled",
        strong_tokens=tokens,
    )
    observations = _published_observations(data)
    model = RoutingModel(observations, dynamics)
    dynamics = dynamics.replace(
        strong_only_tokens=model.strong_only_tokens,
        fit=FitReport(
            explanation="as published: nothing is fitted",
            sources=("next-step accuracies and termination hazard of TRIM's repository",),
            log_likelihood=0.0,
            checks=_published_checks(counts, read_pilot(data / PILOT), model),
            notes=("log_likelihood is not computed; the checks show how far the published model is off",),
        ),
    )
    return Preset(
        name=f"{NAME}-paper",
        description="TRIM's published POMDP: its dynamics, its (min, current) bins as a fresh emission at each step",
        observations=observations,
        dynamics=dynamics,
        command=COMMAND,
        provenance=hashes([data / FEATURES, data / COUNTS, data / PILOT]),
    )


def _observations(data: Path) -> ObservationModel:
    return fit_observations(
        "Qwen2.5-Math-PRM-7B on ProcessBench MATH",
        read_class_features(data / FEATURES),
        provenance=hashes([data / FEATURES]),
    )


def _published_observations(data: Path) -> ObservationModel:
    """The observation model with the published bin probabilities, and those as the planner's emission."""
    with np.load(data / FEATURES, allow_pickle=False) as archive:
        published = archive["bin_probs_0.05"]
    fitted = _observations(data)
    assert fitted.class_table is not None
    rows = [tuple((row / row.sum()).tolist()) for row in published]
    table = ClassTable(
        minimum_edges=fitted.class_table.minimum_edges,
        score_edges=fitted.class_table.score_edges,
        right=rows[0],
        derailed=rows[1],
        wrong=rows[2],
    )
    return fitted.model_copy(
        update={"name": "TRIM's 20 × 20 bins of (min, current)", "class_table": table, "emission": "class"}
    )


def _published_checks(counts: StepCountsFile, rows: list[PilotRow], model: RoutingModel) -> tuple[Check, ...]:
    checks = []
    for row in rows:
        implied = evaluate(ThresholdRule(threshold=row.threshold), model)
        error = (implied.accuracy * (1 - implied.accuracy) / row.problems) ** 0.5
        checks.append(
            Check(
                quantity="accuracy",
                threshold=row.threshold,
                implied=implied.accuracy,
                observed=row.accuracy,
                standard_error=error,
                used_in_fit=False,
            )
        )
        columns: list[tuple[str, float, float | None]] = []
        if 0 < row.threshold < 1:
            columns.append(("regenerations", implied.regenerations, row.regenerations))
        if row.threshold > 0:
            columns.append(("strong tokens", implied.strong_tokens, row.strong_tokens))
        checks += [
            Check(quantity=quantity, threshold=row.threshold, implied=value, observed=observed, used_in_fit=False)
            for quantity, value, observed in columns
            if observed is not None
        ]
    for name, parameter in ((WEAK, PAPER_WEAK_SUCCESS), (STRONG, PAPER_STRONG_SUCCESS)):
        model_counts: StepCounts = counts.of(name)
        checks.append(
            Check(
                quantity=f"{name}: next-step accuracy",
                implied=parameter,
                observed=model_counts.next_step_accuracy,
                used_in_fit=False,
            )
        )
    return tuple(checks)


if __name__ == "__main__":
    sys.exit(main())
