"""How few rollouts are enough: plans from so many problems, against what they do in truth.

    python benchmarks/study_few_rollouts.py --work FOLDER [--sizes 25,50,100] [--replicates 4] [--family mixed]
    python benchmarks/study_few_rollouts.py --work FOLDER --live ROLLOUTS --family mixed
    python benchmarks/study_few_rollouts.py --work FOLDER --report

Of n problems there are n weak, n strong rollouts and n repairs, outcomes alone. Truth is a preset of the lab, its
evidence taken as a score, and rollouts are drawn from it; or, with --live, rollouts are a part of those that
``trim-pomdp rollout --mode all --family FAMILY`` recorded, and truth is the preset as far as its own fit tells it.
Dynamics are fitted as ``fit-dynamics`` does, the densities being the preset's, and the policies that they plan for
budgets are evaluated in truth, exactly. *Elsewhere* takes p_s, p_r, p_d, e, d, ρ and the weights of bins from the other
families' presets, and the rest from the rollouts.

Every fit is a line of FOLDER/fits.jsonl, with what draws move its plans by; what is there is not made again, and
--report prints tables of it. Accuracy lost is that of the plan made in truth for as many strong tokens, less the
plan's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import heading, table

from solvers import solve_epochs
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.lab.problems import FAMILIES, Family
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import policy_for_budget, solve_frontier
from trim_pomdp.planning.intervals import follow, intervals_of
from trim_pomdp.planning.synthetic import draw_rollouts
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, rule_of
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.recorded import read_rollouts

FloatArray = NDArray[np.float64]
GAP = 1e-4
ELSEWHERE = ("strong_success", "repair", "look_right", "false_alarms", "misses", "recovery", "right_weights")
FITS = "fits.jsonl"
LEVELS = (0.9, 0.95)


def truth_of(family: Family, live: Path | None) -> RoutingModel:
    """The preset; drawn rollouts have one score, which is its evidence score."""
    preset = load_preset(f"lab-{family}")
    observations = preset.observations
    if live is None:
        observations = observations.model_copy(update={"evidence": None})
    return RoutingModel(observations, preset.dynamics.replace(), preset.reward)


def part_of(live: Path, size: int, replicate: int) -> Rollouts | None:
    """Rollouts of so many problems, none of them in another replicate; None where they are used up."""
    found = read_rollouts(live).sources.rollouts
    assert found is not None
    problems = sorted(found.problems)
    np.random.default_rng(size).shuffle(problems)
    mine = problems[replicate * size : (replicate + 1) * size]
    return None if len(mine) < size else found.of(set(mine))


def fits(parsed: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """A line a fit, replicate by replicate, so that one may stop at any time."""
    budgets = [float(item) for item in parsed.budgets.split(",")]
    for replicate in range(parsed.replicates):
        for family in parsed.family or FAMILIES:
            truth = truth_of(family, parsed.live)
            others = [load_preset(f"lab-{other}").dynamics for other in FAMILIES if other != family]
            frontier = solve_frontier(truth, 60, gap=GAP, threads=1)
            for size in (int(item) for item in parsed.sizes.split(",")):
                key = (family, size, replicate, parsed.live is not None)
                if key in done:
                    continue
                if parsed.live is None:
                    rng = np.random.default_rng([parsed.seed, size, replicate, FAMILIES.index(family)])
                    rollouts = draw_rollouts(truth, size, size, size, rng)
                elif (part := part_of(parsed.live, size, replicate)) is not None:
                    rollouts = part
                else:
                    continue
                began = time.process_time()
                dynamics = fit_rollouts(
                    "study", rollouts, truth.observations, max_steps=truth.dynamics.max_steps, seed=replicate
                )
                seconds = time.process_time() - began
                model = RoutingModel(truth.observations, dynamics, truth.reward)
                plans = [plan(model, budget, truth, frontier.accuracy_at) for budget in budgets]
                if size == parsed.elsewhere:
                    mixed = replace(model, dynamics=elsewhere(dynamics, others))
                    plans += [{**plan(mixed, b, truth, frontier.accuracy_at), "elsewhere": True} for b in budgets]
                yield {"key": key, "fit_s": seconds, "plans": plans}


def elsewhere(own: StepDynamics, others: Sequence[StepDynamics]) -> StepDynamics:
    """Own dynamics with what other pairs tell of the strong model, of scores and of recoveries: their means."""
    fields: dict[str, Any] = {}
    for name in ELSEWHERE:
        values = [getattr(item, name) for item in others]
        fields[name] = tuple(np.mean(values, axis=0).tolist()) if isinstance(values[0], tuple) else float(fmean(values))
    return own.replace(**fields)


def plan(model: RoutingModel, budget: float, truth: RoutingModel, best: Any) -> dict[str, Any]:
    """What a plan says, what it does in truth, and what draws move it by."""
    began = time.process_time()
    artifact = policy_for_budget(replace(model, dynamics=model.dynamics.replace()), budget, gap=GAP)
    seconds = time.process_time() - began
    there = evaluate(artifact, truth)
    planned = artifact.planned
    assert planned is not None
    return {
        "budget": budget,
        "planned": planned.model_dump(mode="json", exclude={"intervals"}),
        "moved": moved_by(artifact, model) if model.dynamics.drawn else [],
        "unit": model.strong_only_tokens,
        "accuracy": there.accuracy,
        "strong_tokens": there.strong_tokens,
        "lost": float(best(min(there.budget, 1.0)) - there.accuracy),
        "plan_s": seconds,
    }


def moved_by(artifact: PolicyArtifact, model: RoutingModel) -> list[list[float]]:
    """What every draw moves the plan by, see `intervals_of`; the plan's own intervals do not keep that."""
    rule = rule_of(artifact)
    price = [model.weights(part.planned_tradeoff or 0.0) for part in rule.parts]
    graphs = [solve_epochs(model.epoch_model, weights, gap=GAP * model.reward).graph for weights in price]
    by_part = follow(graphs, model, threads=1)
    moved = np.einsum("p,bpc->bc", np.array(rule.shares), by_part[1:] - by_part[0])
    return [[float(f"{value:.5g}") for value in row] for row in moved.tolist()]


def tables(lines: Sequence[dict[str, Any]]) -> None:
    """Accuracy lost, errors and coverage by size."""
    for live in sorted({line["key"][3] for line in lines}):
        heading("Live rollouts of the lab" if live else "Rollouts drawn from presets")
        budgets = sorted({item["budget"] for line in lines for item in line["plans"]})
        for budget in budgets:
            rows = []
            sizes = sorted({line["key"][1] for line in lines if line["key"][3] == live})
            for size in sizes:
                mine = [line for line in lines if line["key"][1] == size and line["key"][3] == live]
                for far in (False, True):
                    found = [
                        item
                        for line in mine
                        for item in line["plans"]
                        if item["budget"] == budget and bool(item.get("elsewhere")) == far
                    ]
                    if found:
                        rows.append([f"{size}{' and elsewhere' if far else ''}", len(found), *_cells(found)])
            title = f"budget {budget:g}: points of accuracy, budget in hundredths; ± standard error"
            columns = ["", "fits", "lost", "planned − true", "RMSE", "budget: true − planned", "RMSE"]
            table([title, *columns[1:], *(f"{q} in {100 * v:g} %" for q in ("acc.", "budget") for v in LEVELS)], rows)


def _cells(found: Sequence[dict[str, Any]]) -> list[str]:
    lost = np.array([100 * item["lost"] for item in found])
    error = np.array([100 * (item["planned"]["accuracy"] - item["accuracy"]) for item in found])
    spent = np.array([100 * (item["strong_tokens"] / item["unit"] - item["planned"]["budget"]) for item in found])
    out = [_mean(lost), _mean(error), _rms(error), _mean(spent), _rms(spent)]
    for name in ("accuracy", "budget"):
        for level in LEVELS:
            inside = [_holds(item, name, level) for item in found if item["moved"]]
            out.append(f"{sum(inside)}/{len(inside)}" if inside else "")
    return out


def _holds(item: dict[str, Any], name: str, level: float) -> bool:
    planned = PlannedPoint.model_validate(item["planned"])
    spans = intervals_of(planned, np.array(item["moved"]), item["unit"], level=level)
    low, high = getattr(spans, name)
    value = item["accuracy"] if name == "accuracy" else item["strong_tokens"] / item["unit"]
    return bool(low <= value <= high)


def _mean(values: FloatArray) -> str:
    if len(values) == 1:
        return f"{values[0]:+.1f}"
    return f"{values.mean():+.1f} ± {values.std(ddof=1) / np.sqrt(len(values)):.1f}"


def _rms(values: FloatArray) -> str:
    return f"{np.sqrt(np.mean(values**2)):.1f}"


def main() -> int:
    """Do the fits that are not there yet, or print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--sizes", default="25,50,100,200,400,1000")
    parser.add_argument("--replicates", type=int, default=4)
    parser.add_argument("--budgets", default="0.1,0.2")
    parser.add_argument("--elsewhere", type=int, default=50, help="size of fits that are planned with other pairs' too")
    parser.add_argument("--live", type=Path, help="folder of rollout --mode all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="print tables of what is there")
    parsed = parser.parse_args()
    parsed.work.mkdir(parents=True, exist_ok=True)
    path = parsed.work / FITS
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if parsed.report:
        tables(lines)
        return 0
    done = {tuple(line["key"]) for line in lines}
    with path.open("a") as stream:
        for line in fits(parsed, done):
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            print(line["key"], f"{line['fit_s']:.0f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
