"""Which drafts come word for word, how others look, and whether answers tell as much as labels.

    python benchmarks/study_redraft_looks.py --work FOLDER

FOLDER holds the rollouts of ``python -m trim_pomdp.cli.lab_presets --work FOLDER``: a folder of each family, with
labelled redrafts. Prints, as Markdown,

* how often the same text comes again, and how often another one is right, by class and looks of the discarded draft;
* the mean log-likelihood of how drafts of another text look, by laws fitted on the redrafts of other families;
* what `trim_pomdp.fitting.redrafts` makes of redrafts with their labels, and without.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import heading, table
from scipy.optimize import minimize

from trim_pomdp.data.rollouts import RedraftRollout, read_redraft_rollouts
from trim_pomdp.errors import TrimError
from trim_pomdp.fitting.lengths import Hazards
from trim_pomdp.fitting.redrafts import DraftFit
from trim_pomdp.fitting.rollout_data import RedraftRows, RolloutRows
from trim_pomdp.fitting.rollout_estimation import Fitter
from trim_pomdp.lab.problems import FAMILIES
from trim_pomdp.model.redrafts import looks_wrong
from trim_pomdp.presets.store import Preset, load_preset

FloatArray = NDArray[np.float64]
EDGES = (-3.0, -1.0, 1.0, 3.0, 5.0, 7.0, np.inf)
CLASSES = ("right", "derailed", "wrong")
_LEAST = 1e-6


@dataclass(frozen=True)
class Seen:
    """Redrafts in the bins of a preset: class and bin of the discarded draft and of the new one; which repeat it."""

    before: NDArray[np.int64]
    looked: NDArray[np.int64]
    after: NDArray[np.int64]
    looks: NDArray[np.int64]
    same: NDArray[np.bool_]

    @classmethod
    def of(cls, rollouts: Sequence[RedraftRollout], preset: Preset) -> Seen:
        """Bin the drafts of labelled rollouts."""
        observations = preset.observations
        rows = RedraftRows.of(rollouts, observations.evidence, labelled=True)
        before, last = rows.true_class, rows.batch.lengths - 1
        return cls(
            before,
            observations.bins(rows.batch.scores)[np.arange(len(last)), last],
            np.where(before == 1, 1, np.where(rows.redrafted_right, 0, 2)),
            observations.bins(rows.scores[:, None])[:, 0],
            rows.repeated == 1,
        )


def repeats(seen: Seen, x: FloatArray, title: str) -> None:
    """Shares by class and x of the discarded draft."""
    heading(title)
    at, rows = x[seen.looked], []
    for low, high in pairwise(EDGES):
        row: list[object] = [f"{low:g} to {high:g}"]
        for c in range(3):
            where = (at >= low) & (at < high) & (seen.before == c)
            other = where & ~seen.same
            right = f"{(seen.after[other] == 0).mean():.2f}" if other.any() and c == 2 else ""
            row.append(f"{seen.same[where].mean():.3f} ({where.sum()}) {right}" if where.any() else "")
        rows.append(row)
    table(["x", "same: right", "same: derailed", "same: wrong; another right"], rows)


def tilted(start: FloatArray, x: FloatArray, counts: FloatArray, degree: int) -> FloatArray:
    """The likeliest of start · exp(a polynomial of x without constant)."""
    powers = np.array([x**k for k in range(1, degree + 1)])
    base = np.log(np.maximum(start, 1e-12))

    def log_law(at: FloatArray) -> FloatArray:
        odds = base + at @ powers
        return np.asarray(odds - np.logaddexp.reduce(odds))

    found = minimize(lambda at: -counts @ log_law(at), np.zeros(degree), method="BFGS")
    return np.exp(log_law(found.x))


def looks(rollouts: dict[str, list[RedraftRollout]], evidence: str) -> None:
    """Laws of how other texts look, each fitted on other families."""
    rows = []
    for family in rollouts:
        preset = load_preset(f"lab-{family}{evidence}")
        emission = preset.observations.class_emission(preset.dynamics)
        x, J = looks_wrong(emission), emission.shape[1]
        mine = Seen.of(rollouts[family], preset)
        others = [Seen.of(rollouts[name], preset) for name in rollouts if name != family]
        for c, name in enumerate(CLASSES):

            def bins(seen: Seen, c: int = c, x: FloatArray = x) -> NDArray[np.int64]:
                return seen.looks[~seen.same & (seen.after == c) & (x[seen.looked] > -1.0)]

            counts = np.bincount(np.concatenate([bins(item) for item in others]), minlength=J).astype(np.float64)
            laws = [emission[c], *(tilted(emission[c], x, counts, degree) for degree in (1, 2, 3))]
            laws.append((counts + 100.0 * laws[2]) / (counts.sum() + 100.0))
            at = bins(mine)
            rows.append([family, name, len(at), *(float(np.log(np.maximum(law[at], _LEAST)).mean()) for law in laws)])
    heading(f"Looks of other texts, evidence {evidence.lstrip('.') or 'prm+logprob'}: mean log-likelihood")
    table(["family", "class", "drafts", "as first ones", "slope", "and curvature", "and cubic", "histogram"], rows)


def fitted(rollouts: Sequence[RedraftRollout], preset: Preset, *, labelled: bool) -> DraftFit:
    """The fit of redrafts, the preset's other parameters given."""
    dynamics, observations = preset.dynamics, preset.observations
    weights = np.ones(observations.n_bins) if dynamics.right_weights is None else np.array(dynamics.right_weights)
    names = ("strong_success", "repair", "look_right", "false_alarms", "misses", "recovery")
    parameters = {name: float(getattr(dynamics, name)) for name in names}
    odds = np.log(np.array(dynamics.weak_success) / (1.0 - np.array(dynamics.weak_success)))
    parameters["weak_success"] = dynamics.weak_success[0]
    if len(odds) > 1:  # a line in the step
        parameters["weak_success_slope"] = float(np.polyfit(np.arange(len(odds)), odds, 1)[0])
    rows = RolloutRows(
        weak=None,  # type: ignore[arg-type]
        strong=None,
        repairs=None,
        redrafts=RedraftRows.of(rollouts, observations.evidence, labelled=labelled),
    )
    term = Fitter(observations, dynamics.max_steps, weights).redrafts(rows, parameters, Hazards(*dynamics.end.T))
    assert term is not None
    found = term.fit()
    assert found is not None
    return found


def answers(rollouts: dict[str, list[RedraftRollout]], evidence: str) -> None:
    """Fits with labels and without."""
    rows = []
    for family, items in rollouts.items():
        preset = load_preset(f"lab-{family}{evidence}")
        for source, labelled in (("labels", True), ("answers", False)):
            found = fitted(items, preset, labelled=labelled)
            same = (None,) * 3 if found.same is None else found.same.tolist()
            rows.append([family, source, found.repair, found.success, *same, found.slope])
    heading(f"Redrafts fitted, evidence {evidence.lstrip('.') or 'prm+logprob'}")
    table(["family", "by", "b", "P(right, right)", *(f"same, {name}" for name in CLASSES), "slope"], rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--evidence", default=",.prm", help="endings of presets, by comma; an empty one is the default")
    parsed = parser.parse_args()
    rollouts = {name: read_redraft_rollouts(parsed.work / name / "redraft" / "redraft.jsonl") for name in FAMILIES}
    for evidence in parsed.evidence.split(","):
        for family, items in rollouts.items():
            preset = load_preset(f"lab-{family}{evidence}")
            x = looks_wrong(preset.observations.class_emission(preset.dynamics))
            kind = evidence.lstrip(".") or "prm+logprob"
            repeats(Seen.of(items, preset), x, f"{family}, evidence {kind}: the same text again")
        looks(rollouts, evidence)
        answers(rollouts, evidence)


if __name__ == "__main__":
    try:
        main()
    except TrimError as error:
        sys.exit(f"study_redraft_looks: error: {error}")
