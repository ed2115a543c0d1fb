"""What would bring routing nearer to the oracle.

    python benchmarks/study_oracle_gap.py --work FOLDER [--live FOLDER]

FOLDER holds the rollouts that the lab's presets were fitted from (``python -m trim_pomdp.cli.lab_presets``).

1. The regenerated step's own score in the belief: the optimum with and without it, in the models.
2. A p_w for each step instead of one: what a plan with one p_w loses where each step has its own, in the models.
3. Difficulty types in `mixed`: one fit for problems whose prompt looks hard and one for the others, in the models;
   with --live also on test problems (routed into that folder's ``mixed-types``), beside the runs of `study_live`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from live_runs import read_family, read_terminals
from live_statistics import Bootstrap, estimate, hull_values
from numpy.typing import NDArray
from report import heading, table
from study_live import BUDGETS, TEST_SEED, Job, execute
from study_planning_worth import regenerated_scores

import trim_pomdp as tp
from trim_pomdp.data.problems import read_problems
from trim_pomdp.data.rollouts import Rollouts, read_repair_rollouts, read_strong_rollouts, read_weak_rollouts
from trim_pomdp.fitting.lengths import LengthCounts
from trim_pomdp.fitting.rollout_data import WeakRows
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.lab.problems import FACTORS, FAMILIES, MAX_STEPS, Arithmetic, Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import plan_for_budget

FloatArray = NDArray[np.float64]
# Trials with the mean rate that each step's own p_w leans on.
_LEAN = 20.0


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--live", type=Path)
    parsed = parser.parse_args()
    models = {family: load_preset(f"lab-{family}").routing_model() for family in FAMILIES}
    regenerated_scores(models)
    success_by_step(models, parsed.work)
    types(models["mixed"], parsed.work, parsed.live)


# p_w by step ---------------------------------------------------------------------------------------------


def success_by_step(models: dict[Family, tp.RoutingModel], work: Path) -> None:
    """What a plan with one p_w loses in a model with a p_w for each step, both from labels."""
    heading("p_w by step: accuracy that a plan with one p_w loses where each step has its own (what it spends)")
    rows = []
    for name, model in models.items():
        curve, mean = labelled_success(work, name)
        truth, plain = (
            tp.RoutingModel(model.observations, model.dynamics.replace(weak_success=p), model.reward)
            for p in (curve, (mean,))
        )
        best = tp.solve_frontier(truth, 200)
        cells = []
        for budget in BUDGETS:
            there = tp.evaluate(tp.policy_for_budget(plain, budget), truth)
            cells.append(f"{best.accuracy_at([there.budget])[0] - there.accuracy:.4f} ({there.budget:.3f})")
        rows.append([name, f"{min(curve):.2f} to {max(curve):.2f}", *cells])
    table(["family", "p_w of steps", *(f"budget {b:g}" for b in BUDGETS)], rows)


def labelled_success(work: Path, family: Family) -> tuple[tuple[float, ...], float]:
    """p_w of each step, leaning a little on its mean, and the mean; from labelled weak rollouts."""
    rows = WeakRows.of(read_weak_rollouts(work / family / "weak" / "weak.jsonl"), None, labelled=True)
    counts = LengthCounts.of(rows.lengths, rows.correct, MAX_STEPS, rows.labels)
    trials, right = counts.labelled_trials, counts.labelled_trials - counts.first_errors
    mean = float(right.sum() / trials.sum())
    return tuple(((right + _LEAN * mean) / (trials + _LEAN)).tolist()), mean


# Difficulty types ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Budgets of both types that spend the overall budget best; budgets are shares of the types' own strong tokens."""

    budgets: tuple[float, float]
    accuracy: float


def looks_hard(prompt: str) -> bool:
    """Whether at least half of a list's operations are products or quotients with two-digit factors."""
    operations = Arithmetic.parse(prompt).operations
    return 2 * sum(op.kind in "*/" and op.operand in FACTORS for op in operations) >= len(operations)


def types(mixed: tp.RoutingModel, work: Path, live: Path | None) -> None:
    """Knowing a problem's type from its prompt: in the models, and live."""
    rollouts = read_rollouts(work / "mixed")
    prompts = {item.id: item.prompt for item in read_problems(work / "mixed" / "weak" / "problems.jsonl")}
    hard_share = float(np.mean([looks_hard(prompts[row.group]) for row in rollouts.weak]))
    both = [of_type(mixed, rollouts, prompts, hard) for hard in (True, False)]
    frontiers = [tp.solve_frontier(model, 150) for model in both]
    shares = np.array([hard_share, 1 - hard_share])
    heading(f"Difficulty types in mixed ({hard_share:.0%} look hard)")
    rows = []
    splits = []
    for budget in BUDGETS:
        one = [tp.evaluate(tp.policy_for_budget(mixed, budget), model) for model in both]
        accuracy = float(shares @ [point.accuracy for point in one])
        spent = float(shares @ [point.strong_tokens for point in one])
        split = best_split(frontiers, shares, spent)
        splits.append(best_split(frontiers, shares, budget * mixed.strong_only_tokens))
        rows.append([budget, spent / mixed.strong_only_tokens, accuracy, split.accuracy, *split.budgets])
    table(
        [
            "budget",
            "spent by the untyped plan",
            "its accuracy",
            "typed, at equal tokens",
            "budget, hard",
            "budget, easy",
        ],
        rows,
    )
    if live is not None:
        _types_live(both, splits, live)


def read_rollouts(folder: Path) -> Rollouts:
    """A family's rollouts."""
    return Rollouts(
        read_weak_rollouts(folder / "weak" / "weak.jsonl"),
        read_strong_rollouts(folder / "strong" / "strong.jsonl"),
        read_repair_rollouts(folder / "repair" / "repair.jsonl"),
    )


def of_type(mixed: tp.RoutingModel, rollouts: Rollouts, prompts: dict[str, str], hard: bool) -> tp.RoutingModel:
    """The model of problems that look hard, or of the others: dynamics from outcomes alone."""

    def keep(rows: Iterable[Any]) -> Sequence[Any]:
        return [row for row in rows if looks_hard(prompts[row.group]) == hard]

    dynamics = fit_rollouts(
        f"mixed, {'hard' if hard else 'easy'}",
        Rollouts(keep(rollouts.weak), keep(rollouts.strong), keep(rollouts.repairs)),
        mixed.observations,
        intervals=False,
        max_steps=MAX_STEPS,
    )
    return tp.RoutingModel(mixed.observations, dynamics, mixed.reward)


def best_split(frontiers: Sequence[tp.Frontier], shares: FloatArray, tokens: float) -> Split:
    """How to spend mean strong tokens on two types of problems."""
    first, second = frontiers
    units = np.array([item.model.strong_only_tokens for item in frontiers])
    most = min(1.0, tokens / (shares[0] * units[0]))
    own = np.linspace(0.0, most, 401)
    other = np.clip((tokens - shares[0] * units[0] * own) / (shares[1] * units[1]), 0.0, 1.0)
    accuracy = shares[0] * first.accuracy_at(own) + shares[1] * second.accuracy_at(other)
    best = int(np.argmax(accuracy))
    return Split((float(own[best]), float(other[best])), float(accuracy[best]))


def _types_live(models: Sequence[tp.RoutingModel], splits: Sequence[Split], live: Path) -> None:
    """Route test problems with the policy of their type; beside the hull of the untyped plans at the tokens spent."""
    untyped = read_family(live / "mixed")
    problems = draw("mixed", "test", TEST_SEED, len(untyped.problems))
    hard = np.array([looks_hard(problem.prompt) for problem in problems])
    source, bootstrap = LabSource(), Bootstrap.of(len(problems))
    names = [run.name for run in untyped.named("budget")]
    x, y = bootstrap.means(untyped.tokens(names)), bootstrap.means(untyped.correct(names))
    rows = []
    for budget, split in zip(BUDGETS, splits, strict=True):
        correct, tokens = np.zeros(len(problems)), np.zeros(len(problems))
        for model, own, mask, name in zip(models, split.budgets, (hard, ~hard), ("hard", "easy"), strict=True):
            folder = live / "mixed-types" / f"{name}-{budget:g}"
            chosen = [problem for problem, wanted in zip(problems, mask, strict=True) if wanted]
            execute(Job("types", folder.name, plan_for_budget(model, own)), chosen, source, folder)
            ends = read_terminals(folder)
            for place in np.flatnonzero(mask):
                end = ends[problems[place].id]
                correct[place], tokens[place] = bool(end.correct), end.tokens.strong
        own_x, own_y = bootstrap.means(tokens), bootstrap.means(correct)
        difference = estimate(own_y - hull_values(x, y, own_x))
        rows.append([budget, own_x[0] / untyped.unit, own_y[0], difference.points])
    heading("Difficulty types in mixed, live")
    table(["asked budget", "spent", "accuracy", "minus hull of the untyped plans, points"], rows)


if __name__ == "__main__":
    main()
