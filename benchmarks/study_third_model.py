"""A third model from few solutions: a new weak model, plans from 50 of its solutions, and what they do live.

    python benchmarks/study_third_model.py --work FOLDER [--family chain] [--sizes 25,50,1000] [--replicates 5]

The third model is the lab's base cut down to 104 neurons and trained on, where the shipped weak model is the shipped
strong one cut down to 90: it errs elsewhere. Nothing else is new: the strong model, the PRM, and its observation model,
the preset's, from labels of the shipped weak model's solutions. Ways to plan for the new pair:

* as it was: the preset, as if the weak model were the old one;
* n weak: dynamics fitted on n of its solutions, scored, with answers; what hangs on the strong model or on scores (p_s,
  p_r, e, d, p_d, ρ, tokens of a strong step) stays that of the preset;
* n of each: all fitted anew, on n of its solutions, n of the strong model's, and n repairs.

Every plan is run on the same test problems. Replicates are plans from solutions of other problems. A Markdown table on
stdout: planned and measured, means over replicates, and how often the plan's 95 % interval, widened by the sampling
error of the run, holds what was measured. What was trained, recorded or run is kept in FOLDER.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from lab_trials import LabTrial
from transformers import Qwen2ForCausalLM

from trim_pomdp.bench.contest import STRONG, WEAK
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.lab.models import shipped_folder
from trim_pomdp.lab.problems import Family, draw, parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.lab.tokenizer import build_tokenizer
from trim_pomdp.lab.training import Recipe, train_pruned
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies import PlannedPoint
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.backends.torch_models import load_model, save_model
from trim_pomdp.runtime.recorded import read_rollouts
from trim_pomdp.runtime.recording import record_rollouts

NEURONS, TRAIN_SEED = 104, 7
TEST_SEED, FIT_SEED = 33, 103
BUDGETS = (0.1, 0.2)
OF_THE_STRONG = (
    "strong_success", "repair", "look_right", "false_alarms", "misses", "recovery", "strong_tokens",
    "strong_only_tokens",
)  # fmt: skip


def third(work: Path) -> Path:
    """A folder of the lab's models with the third one as the weak model."""
    folder, shipped = work / "models", shipped_folder()
    if folder.is_dir():
        return folder
    base = load_model(Qwen2ForCausalLM, shipped / "base", "float32", "cpu")
    made = work / "made"
    made.mkdir(parents=True, exist_ok=True)
    model = train_pruned(
        made, base, NEURONS, "weak", Recipe(), TRAIN_SEED, lambda *told: print(*told, end="\r", file=sys.stderr)
    )
    save_model(model, made / "weak")
    build_tokenizer().save_pretrained(made / "weak")
    for role in ("strong", "prm"):
        shutil.copytree(shipped / role, made / role, dirs_exist_ok=True)
    made.rename(folder)
    return folder


@dataclass(frozen=True)
class Plan:
    """What was planned, and what came of it."""

    budget: float
    planned: PlannedPoint
    accuracy: float
    spent: float

    def holds(self, problems: int) -> bool:
        """Whether the interval of the planned accuracy, with the run's sampling error, holds the measured one."""
        known = self.planned.intervals
        if known is None:
            return False
        error = 1.96**2 * self.accuracy * (1.0 - self.accuracy) / problems
        low, high = known.accuracy
        center, found = self.planned.accuracy, self.accuracy
        side = center - low if found < center else high - center
        return bool(abs(found - center) <= np.hypot(side, np.sqrt(error)))


@dataclass(frozen=True)
class Study:
    """A family, with the third model in place of the weak one."""

    work: Path
    family: Family
    problems: int

    @property
    def source(self) -> LabSource:
        """The lab, its weak model another one."""
        return LabSource(third(self.work))

    @cached_property
    def preset(self) -> RoutingModel:
        """Of the shipped pair."""
        return load_preset(f"lab-{self.family}").routing_model()

    def recorded(self, most: int) -> Rollouts:
        """Rollouts of the new pair on fitting problems."""
        folder = self.work / f"rollouts-{self.family}"
        record_rollouts(
            draw(self.family, "fit", FIT_SEED, most), self.source, folder, resume=folder.exists(), seed=FIT_SEED
        )
        found = read_rollouts(folder).sources.rollouts
        assert found is not None
        return found

    @cached_property
    def trial(self) -> LabTrial:
        """Test problems."""
        return LabTrial(self.source, self.work / "runs", self.family, self.problems, TEST_SEED)

    def plans(self, dynamics: StepDynamics, unit: float) -> Iterator[Plan]:
        """A plan a budget, run."""
        model = replace(self.preset, dynamics=dynamics)
        for budget in BUDGETS:
            plan = policy_for_budget(model, budget, gap=1e-4)
            accuracy, tokens = self.trial.measured(plan.policy)
            assert plan.planned is not None
            yield Plan(budget, plan.planned, accuracy, tokens / unit)

    def rows(self, sizes: list[int], replicates: int) -> Iterator[list[str]]:
        """A row a way to plan."""
        weak, _ = self.trial.measured(WEAK)
        strong, unit = self.trial.measured(STRONG)
        print(f"\n{self.family}: third model alone {weak:.3f}, strong alone {strong:.3f}\n")
        known = self.preset.dynamics
        yield self.row("as it was", [list(self.plans(known, unit))])
        recorded = self.recorded(max(sizes))
        for size in sizes:
            parts = [
                recorded.of(set(recorded.problems[k * size : (k + 1) * size]))
                for k in range(replicates if size < max(sizes) else 1)
            ]
            alone = [_of_the_weak(self.fitted(replace(part, strong=(), repairs=()), k), known)
                     for k, part in enumerate(parts)]  # fmt: skip
            yield self.row(f"{size} weak", [list(self.plans(item, unit)) for item in alone])
            whole = [self.fitted(part, k) for k, part in enumerate(parts)]
            yield self.row(f"{size} of each", [list(self.plans(item, unit)) for item in whole])

    def fitted(self, rollouts: Rollouts, seed: int) -> StepDynamics:
        """Dynamics by outcomes, densities kept."""
        preset = self.preset
        return fit_rollouts("third", rollouts, preset.observations, max_steps=preset.dynamics.max_steps, seed=seed)

    def row(self, name: str, by_replicate: list[list[Plan]]) -> list[str]:
        """Of the table: for each budget what was planned and measured, and how many intervals held."""
        cells = [name, str(len(by_replicate))]
        for k in range(len(BUDGETS)):
            found = [plans[k] for plans in by_replicate]
            accuracy, spent = np.array([[p.accuracy, p.spent] for p in found]).T
            off = np.array([p.accuracy - p.planned.accuracy for p in found])
            planned = np.mean([[p.planned.accuracy, p.planned.budget] for p in found], axis=0)
            held = sum(p.holds(self.problems) for p in found)
            known = any(p.planned.intervals is not None for p in found)
            cells += [
                f"{planned[0]:.3f} at {planned[1]:.3f}",
                f"{accuracy.mean():.3f} at {spent.mean():.3f}",
                f"{100 * np.sqrt(np.mean(off**2)):.1f}",
                f"{held}/{len(found)}" if known else "–",
            ]
        return cells


def _of_the_weak(own: StepDynamics, known: StepDynamics) -> StepDynamics:
    """Dynamics of a new weak model, with what an older fit knows of the strong model and of scores."""
    fields: dict[str, Any] = {name: getattr(known, name) for name in OF_THE_STRONG}
    return own.replace(**fields)


def main() -> None:
    """Make, record, fit, plan, run; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", action="append")
    parser.add_argument("--sizes", default="25,50,1000")
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--problems", type=int, default=1000)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sizes = [int(item) for item in options.sizes.split(",")]
    for name in options.family or ["chain", "mixed"]:
        study = Study(options.work, parse_family(name), options.problems)
        rows = study.rows(sizes, options.replicates)
        first = next(rows)
        what = [f"{b:g}: {x}" for b in BUDGETS for x in ("planned", "measured", "RMSE, points", "held")]
        print("| from | plans | " + " | ".join(what) + " |\n|---|---|" + "---|" * len(what))
        for row in chain([first], rows):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
