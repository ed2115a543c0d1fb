"""Does evidence mean the same at every step, and inside of one solution? It should: plans have one density a class.

    trim-pomdp rollout --mode all --models lab --family wordy --problems 500 --repairs 500 --labels --seed 7 --out ROLL
    python benchmarks/study_evidence_within.py --preset lab-wordy ROLL

Prints how well the preset's evidence tells right steps from first errors, over all steps, as the model has it, and by
pairs of one solution; what it is by step; and what becomes of steps that the strong model writes again, by how right
their drafts look. Labels come from the lab's checker.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import heading, table
from scipy.special import logit

from observation_models.metrics import auc
from trim_pomdp.fitting.rollout_data import RepairRows, RolloutRows, WeakRows
from trim_pomdp.fitting.rollout_terms import step_classes
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.recorded import read_rollouts

FloatArray = NDArray[np.float64]
SHOWN_STEPS = 8


def classes(weak: WeakRows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which steps are right so far, and which are first errors."""
    found = step_classes(weak.labels, weak.batch.scores.shape[1])
    return weak.batch.mask & (found == 0), weak.batch.mask & (found == 2)


def auc_of(right: FloatArray, wrong: FloatArray) -> float:
    """Of right steps against first errors."""
    return float(auc(np.concatenate([right, wrong]), np.repeat([1, 0], [len(right), len(wrong)])))


def telling(model: RoutingModel, weak: WeakRows) -> None:
    """AUC over all steps, in the model, and within solutions."""
    right, wrong = classes(weak)
    scores = weak.batch.scores
    within = [auc_of(scores[i, : weak.labels[i]], scores[i, [weak.labels[i]]]) for i in np.flatnonzero(weak.labels > 0)]
    s0, s2 = model.emission[0], model.emission[2]
    implied = float(s0 @ (np.cumsum(s2) - 0.5 * s2))
    error = np.std(within, ddof=1) / np.sqrt(len(within))
    cells = [f"{auc_of(scores[right], scores[wrong]):.3f}", f"{implied:.3f}", f"{np.mean(within):.3f} ± {error:.3f}"]
    table(["AUC over all steps", "in the model", f"within {len(within)} solutions"], [cells])


def by_step(weak: WeakRows) -> None:
    """Mean evidence, in log-odds, of right steps and of first errors."""
    right, wrong = classes(weak)
    odds = logit(np.clip(weak.batch.scores, 1e-6, 1 - 1e-6))
    rows = []
    for t in range(min(SHOWN_STEPS, odds.shape[1])):
        found = odds[right[:, t], t], odds[wrong[:, t], t]
        rows.append([t + 1, *(f"{len(part)}: {part.mean():+.2f}" for part in found)])
    table(["step", "right steps: mean log-odds of evidence", "first errors"], rows)


def redone(repairs: RepairRows) -> None:
    """Whether steps are right when the strong model has written them again, by the evidence of the draft."""
    looks = repairs.batch.scores[np.arange(len(repairs.batch.lengths)), repairs.batch.lengths - 1]
    rows = []
    for kind, shown in ((0, "right drafts"), (2, "first errors")):
        mine = repairs.true_class == kind
        middle = np.median(looks[mine])
        halves = (repairs.redone_right[mine & half] for half in (looks <= middle, looks > middle))
        rows.append([shown, *(f"{part.mean():.3f} of {len(part)}" for part in halves)])
    table(["redone, and right", "the half that looks worse", "that looks better"], rows)


def main() -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("--preset", required=True)
    parsed = parser.parse_args()
    preset = load_preset(parsed.preset)
    found = read_rollouts(parsed.rollouts).sources.rollouts
    assert found is not None
    rows = RolloutRows.of(found, preset.observations.evidence, labelled=True)
    heading(f"Evidence of {parsed.preset}")
    telling(preset.routing_model(), rows.weak)
    by_step(rows.weak)
    if rows.repairs is not None:
        redone(rows.repairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
