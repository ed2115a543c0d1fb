"""When does TRIM-Agg collapse, into never or always regenerating at every price? Switches of the trainer, one by one.

    python benchmarks/study_trim_agg.py [--preset lab-chain.prm --preset lab-loop.prm] [--seeds 3] [--updates 40]

Trained in the fitted simulator, judged exactly in its model. Every network is run at 11 prices over the range it was
trained for; a variant has collapsed where the budgets that these spend differ by less than .1. Accuracy is on the hull
of these points with weak-only and strong-only, which a draw per problem reaches always; so a router that collapsed has
what drawing problems for the strong model has. A Markdown table on stdout, progress on stderr.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from trim_pomdp.learning.budgets import LearnedFrontier, price_range
from trim_pomdp.learning.ppo import Settings, train_router
from trim_pomdp.learning.rollouts import SimulatedProblems
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import end_points, hull_at, solve_frontier
from trim_pomdp.planning.thresholds import threshold_curve
from trim_pomdp.presets.store import load_preset

BUDGETS = (0.05, 0.1, 0.2, 0.3)
SPANNED = 0.1
PRICES = 11

# What a first implementation has: the published reward of 100, actor and critic one network, inputs as they are.
_NAIVE: dict[str, Any] = {
    "critic": "observation",
    "shares_trunk": True,
    "reward": 100.0,
    "stakes": False,
    "raw": True,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "λ not seen": {"price_seen": False},
    "stakes of prices not divided out": {"stakes": False},
    "inputs as they are": {"raw": True},
    "critic sees what the router sees": {"critic": "observation"},
    "… and shares its network": {"critic": "observation", "shares_trunk": True},
    "reward 100": {"reward": 100.0},
    "reward 100, critic sees what the router sees": {"reward": 100.0, "critic": "observation", "stakes": False},
    "… and one limit on both gradients": {
        "critic": "observation",
        "reward": 100.0,
        "stakes": False,
        "clips_apart": False,
    },
    "… and shares its network, stakes not divided out": {
        "critic": "observation",
        "shares_trunk": True,
        "reward": 100.0,
        "stakes": False,
    },
    "… and inputs as they are": _NAIVE,
    "… and advantages as they are": {**_NAIVE, "normalises": False},
    "… and λ not seen": {**_NAIVE, "normalises": False, "price_seen": False},
    "no entropy": {"entropy": 0.0},
    "learning rate 0.03": {"learning_rate": 0.03},
    "64 problems an update, critic sees what the router sees": {"episodes": 64, "critic": "observation"},
}


@dataclass(frozen=True)
class Result:
    """A trained network: budgets at the dearest and cheapest price, and accuracy at `BUDGETS`."""

    least: float
    most: float
    accuracy: tuple[float, ...]

    @property
    def collapsed(self) -> bool:
        """Whether all prices spend the same."""
        return self.most - self.least < SPANNED


def measure(model: RoutingModel, settings: Settings, seed: int) -> Result:
    """Train and judge a network."""
    trained = train_router(SimulatedProblems(model), price_range(model), settings, seed=seed)
    found = LearnedFrontier.of(trained, model, prices=PRICES)
    spent = [point.budget for point in found.points[1:]]  # weak-only apart
    accuracy = hull_at([*found.points, end_points(model)[1]], BUDGETS)
    return Result(min(spent), max(spent), tuple(accuracy.tolist()))


def reference(model: RoutingModel) -> dict[str, tuple[float, ...]]:
    """Exact accuracies at `BUDGETS`: the POMDP's frontier, the hull of thresholds, drawing problems for the strong."""
    edges = model.observations.step_emission.score_edges
    weak, strong = end_points(model)
    return {
        "POMDP, exact": tuple(solve_frontier(model, 200).accuracy_at(list(BUDGETS)).tolist()),
        "thresholds, exact hull": tuple(hull_at(threshold_curve(model, edges), BUDGETS).tolist()),
        "problems drawn at random": tuple(hull_at([weak, strong], BUDGETS).tolist()),
    }


def main() -> None:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--episodes", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.preset or ["lab-chain.prm", "lab-loop.prm"]:
        model = load_preset(name).routing_model()
        print(f"\n### {name}\n")
        print("| | collapsed | budgets spanned | " + " | ".join(f"{b:g}" for b in BUDGETS) + " |")
        print("|---|---|---|" + "---|" * len(BUDGETS))
        for title, accuracies in reference(model).items():
            print(f"| {title} | | | " + " | ".join(f"{a:.3f}" for a in accuracies) + " |", flush=True)
        for title, changes in VARIANTS.items():
            base = replace(Settings(), updates=options.updates, episodes=options.episodes)
            results = []
            for seed in range(options.seeds):
                results.append(measure(model, replace(base, **changes), seed))
                print(f"{name}, {title}, seed {seed}: {results[-1]}", file=sys.stderr, flush=True)
            spans = ", ".join(f"{r.least:.2f}–{r.most:.2f}" for r in results)
            means = np.mean([r.accuracy for r in results], axis=0)
            lost = sum(r.collapsed for r in results)
            cells = " | ".join(f"{a:.3f}" for a in means)
            print(f"| {title} | {lost} of {len(results)} | {spans} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
