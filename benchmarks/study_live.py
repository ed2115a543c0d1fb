"""Route the lab's test problems live, in every way that is to be compared: traces of all runs, resumable.

    python benchmarks/study_live.py --work FOLDER [--problems 1000] [--family loop] [--only plan,policy,…]

`benchmarks/report_live.py` makes tables and pictures of them. All runs of a family have the same problems and the same
seed, so differences between them are paired. The weak model's own run has all its steps scored (one PRM call a
problem), for what is measured of evidence and beliefs on true classes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trim_pomdp.data.problems import Problem
from trim_pomdp.lab.problems import FAMILIES, Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceKind
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.policies import PosteriorRule, StrategyRule, ThresholdRule
from trim_pomdp.presets.store import Preset, load_preset
from trim_pomdp.runtime.live import LivePlan, plan_for_budget, plan_for_rule, result_document, run_live
from trim_pomdp.runtime.sources import ModelSource

# Seeds 1 and 2 were seen before the last change of the model and its presets (docs/results.md).
TEST_SEED = 3
IN_FLIGHT = 128
RESULT_FILE = "result.json"
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
    record_scores: bool = False


def evidence_of(preset: Preset) -> EvidenceKind:
    """What a preset's observations look at, in one word."""
    evidence = preset.observations.evidence
    return "prm" if evidence is None else evidence.kind


def budget_run(budget: float, kind: EvidenceKind, default: EvidenceKind) -> str:
    """Name of the run that is planned for a budget on some evidence."""
    return f"budget-{budget:g}" if kind == default else f"{kind}-budget-{budget:g}"


def jobs(family: str, load: Callable[[str], Preset] = load_preset) -> Iterator[Job]:
    """All runs of a family, planned in presets that `load` finds by name."""
    models = {kind: load(f"lab-{family}.{kind}").routing_model() for kind in EVIDENCE_KINDS}
    preset = load(f"lab-{family}")
    best, default = preset.routing_model(), evidence_of(preset)
    for name in ("weak", "strong", "oracle"):
        plan = plan_for_rule(StrategyRule.model_validate({"strategy": name}), best)
        yield Job("ends", name, plan, record_scores=name == "weak")
    for budget in TEN_BUDGETS:
        yield Job("plan", budget_run(budget, default, default), plan_for_budget(best, budget))
    for threshold in THRESHOLDS:
        plan = plan_for_rule(ThresholdRule(threshold=threshold), models["prm"])
        yield Job("policy", f"threshold-{threshold:g}", plan)
    for probability in RANDOM:
        plan = plan_for_rule(StrategyRule(strategy="random", probability=probability), best)
        yield Job("policy", f"random-{probability:g}", plan)
    yield from _paper(models["prm"])
    for kind in EVIDENCE_KINDS:
        if kind != default:
            for budget in BUDGETS:
                yield Job("evidence", budget_run(budget, kind, default), plan_for_budget(models[kind], budget))


def _paper(model: RoutingModel) -> Iterator[Job]:
    for closeness in CLOSENESS:
        yield Job("policy", f"paper-{closeness:g}", plan_for_rule(PosteriorRule(closeness=closeness), model))


def execute(job: Job, problems: Sequence[Problem], source: ModelSource, folder: Path) -> float | None:
    """Do a run, or the rest of it, and write its result; returns the accuracy."""
    summary = run_live(
        job.plan,
        problems,
        source,
        folder,
        seed=TEST_SEED,
        resume=True,
        in_flight=IN_FLIGHT,
        record_scores=job.record_scores,
    )
    result = {"study": job.study, "name": job.name, **result_document(summary, job.plan)}
    (folder / RESULT_FILE).write_text(json.dumps(result, indent=1) + "\n")
    return summary.accuracy


def main() -> int:
    """Do the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--only", help="studies, by comma: ends, plan, policy, evidence")
    parsed = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    source = LabSource()
    families: Sequence[Family] = parsed.family or FAMILIES
    for family in families:
        problems = draw(family, "test", TEST_SEED, parsed.problems)
        for job in jobs(family):
            folder = parsed.work / family / job.name
            wanted = not parsed.only or job.study in parsed.only.split(",")
            if not wanted or (folder / RESULT_FILE).is_file():
                continue
            began = time.perf_counter()
            accuracy = execute(job, problems, source, folder)
            took = time.perf_counter() - began
            print(f"{family} {job.name}: {accuracy:.3f} ({took:.0f} s)", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
