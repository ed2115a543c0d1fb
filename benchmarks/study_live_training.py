"""TRIM-Agg trained on real models beside TRIM-Agg trained in a simulator of them, judged on the lab.

    python benchmarks/study_live_training.py --work FOLDER [--family chain] [--seeds 3] [--problems 500] [--fitting 500]

Three ways to train the same network on PRM scores: in the preset's model as shipped; in it with the settings of live
training, so that as many problems are seen and the critic sees what the router sees; and live, on fitting problems.
Each network is run for budgets, at prices found in the preset's model, on the same test problems. A Markdown table on
stdout: accuracy and budget measured, means over seeds with the range of accuracy, and how long training took. What has
been trained or run is kept in FOLDER and not done again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from lab_trials import LabTrial

from trim_pomdp.bench.contest import STRONG, WEAK
from trim_pomdp.lab.problems import Family, draw, parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.learning.budgets import LearnedFrontier, price_range
from trim_pomdp.learning.live import LiveProblems
from trim_pomdp.learning.ppo import LIVE, Settings, train_router
from trim_pomdp.learning.rollouts import SimulatedProblems
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies.base import Rule
from trim_pomdp.policies.networks import TrainedRouter
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.sources import roles_asked

BUDGETS = (0.05, 0.1, 0.2, 0.3)
TEST_SEED, FIT_SEED = 32, 102
WAYS = {
    "simulated, as shipped": (False, Settings()),
    "simulated, settings of live": (False, replace(Settings(), **LIVE)),
    "live": (True, replace(Settings(), **LIVE)),
}


@dataclass(frozen=True)
class Study:
    """A family's models, problems and preset."""

    work: Path
    family: Family
    problems: int
    fitting: int

    def trained(self, way: str, seed: int) -> TrainedRouter:
        """The network of a way and seed, trained now or before."""
        path = self.work / f"{self.family}-{way.replace(', ', '-').replace(' ', '-')}-{seed}.json"
        if path.is_file():
            return TrainedRouter.read(path)
        live, settings = WAYS[way]
        backend: SimulatedProblems | LiveProblems = SimulatedProblems(self.model)
        if live:
            source = LabSource()
            rule = policy_for_budget(self.model, 0.1).policy
            backend = LiveProblems(
                draw(self.family, "fit", FIT_SEED, self.fitting),
                source,
                source.load(roles_asked(rule, source.caps)),
                f"lab {self.family}",
                self.model.reward,
            )
        found = train_router(
            backend,
            price_range(self.model),
            settings,
            seed=seed,
            progress=lambda done, total, _: print(f"{way}, seed {seed}: {done} of {total}", end="\r", file=sys.stderr),
        )
        found.save(path)
        return found

    @cached_property
    def trial(self) -> LabTrial:
        """Test problems."""
        return LabTrial(LabSource(), self.work / "runs", self.family, self.problems, TEST_SEED)

    @cached_property
    def model(self) -> RoutingModel:
        """The preset's, on PRM scores."""
        return load_preset(f"lab-{self.family}.prm").routing_model()

    def rows(self, seeds: int) -> list[str]:
        """A line a way to train, with both models alone and our plan on the same scores."""
        weak, _ = self.trial.measured(WEAK)
        strong, unit = self.trial.measured(STRONG)
        lines = [
            f"\n{self.family}: weak alone {weak:.3f}, strong alone {strong:.3f}\n",
            "| trained | " + " | ".join(f"{b:g}" for b in BUDGETS) + " | problems seen | processor time |",
            "|---|" + "---|" * len(BUDGETS) + "---|---|",
        ]
        for way in WAYS:
            networks = [self.trained(way, seed) for seed in range(seeds)]
            points = np.array([[self.trial.measured(r) for r in self._rules(net)] for net in networks])
            cells = [
                f"{a.mean():.3f} ({a.min():.3f} to {a.max():.3f}) at {tokens.mean() / unit:.3f}"
                for a, tokens in zip(points[..., 0].T, points[..., 1].T, strict=True)
            ]
            seconds = np.mean([net.cpu_seconds for net in networks])
            lines.append(f"| {way} | {' | '.join(cells)} | {networks[0].episodes:,} | {seconds:.0f} s |")
        plans = [self.trial.measured(policy_for_budget(self.model, budget).policy) for budget in BUDGETS]
        cells = [f"{accuracy:.3f} at {tokens / unit:.3f}" for accuracy, tokens in plans]
        lines.append(f"| our plan on the same scores | {' | '.join(cells)} | – | – |")
        return lines

    def _rules(self, network: TrainedRouter) -> list[Rule]:
        frontier = LearnedFrontier.of(network, self.model)
        return [frontier.rule_for_budget(budget)[0] for budget in BUDGETS]


def main() -> None:
    """Train, run, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--fitting", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.family or ["chain"]:
        study = Study(options.work, parse_family(name), options.problems, options.fitting)
        print("\n".join(study.rows(options.seeds)), flush=True)


if __name__ == "__main__":
    main()
