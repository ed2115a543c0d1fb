"""Route the lab's test problems live, in every way that is to be compared: traces of all runs, resumable.

    python benchmarks/study_live.py --work FOLDER [--problems 1000] [--family loop] [--only plan,policy,…]

`benchmarks/report_live.py` makes tables and pictures of them. All runs of a family have the same problems and the same
seed, so differences between them are paired.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from trim_pomdp.lab.problems import FAMILIES, Family, draw
from trim_pomdp.live import LivePlan, plan_for_budget, plan_for_rule, result_document, run_live
from trim_pomdp.model_sources import LabSource
from trim_pomdp.policies import PosteriorRule, StrategyRule, ThresholdRule
from trim_pomdp.preset import load_preset
from trim_pomdp.routing import RoutingModel

TEST_SEED = 1
TEN_BUDGETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
BUDGETS = (0.05, 0.1, 0.2, 0.3)
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
CLOSENESS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
RANDOM = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Job:
    """One run: its name, the study that it belongs to, and what is executed."""

    study: str
    name: str
    plan: LivePlan


def jobs(family: Family) -> Iterator[Job]:
    """All runs of a family."""
    models = {kind: load_preset(f"lab-{family}.{kind}").routing_model() for kind in ("prm", "logprob", "prm+logprob")}
    best = load_preset(f"lab-{family}").routing_model()
    for name in ("weak", "strong", "oracle"):
        yield Job("ends", name, plan_for_rule(StrategyRule.model_validate({"strategy": name}), best))
    for budget in TEN_BUDGETS:
        yield Job("plan", f"budget-{budget:g}", plan_for_budget(best, budget))
    for threshold in THRESHOLDS:
        yield Job(
            "policy", f"threshold-{threshold:g}", plan_for_rule(ThresholdRule(threshold=threshold), models["prm"])
        )
    for probability in RANDOM:
        rule = StrategyRule(strategy="random", probability=probability)
        yield Job("policy", f"random-{probability:g}", plan_for_rule(rule, best))
    yield from _paper(models["prm"])
    for kind in ("prm", "logprob"):
        for budget in BUDGETS:
            yield Job("evidence", f"{kind}-budget-{budget:g}", plan_for_budget(models[kind], budget))


def _paper(model: RoutingModel) -> Iterator[Job]:
    for closeness in CLOSENESS:
        yield Job("policy", f"paper-{closeness:g}", plan_for_rule(PosteriorRule(closeness=closeness), model))


def main() -> int:
    """Do the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--only", help="studies, by comma: ends, plan, policy, evidence")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    source = LabSource()
    for family in parsed.family or FAMILIES:
        problems = draw(family, "test", TEST_SEED, parsed.problems)
        for job in jobs(family):
            if parsed.only and job.study not in parsed.only.split(","):
                continue
            folder = parsed.work / family / job.name
            if (folder / "result.json").is_file():
                continue
            began = time.perf_counter()
            summary = run_live(job.plan, problems, source, folder, seed=TEST_SEED, resume=True, in_flight=128)
            result = {"study": job.study, "name": job.name, **result_document(summary, job.plan)}
            (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
            took = time.perf_counter() - began
            print(f"{family} {job.name}: {summary.accuracy:.3f} ({took:.0f} s)", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
