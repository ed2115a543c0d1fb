"""What a PRM that misbehaves does to routers that were made on one that does not, live on the lab.

    python benchmarks/study_prm_noise.py --work FOLDER [--family loop] [--problems 500] [--noise tempered,shifted,…]

Rules are settled on the PRM as it is, then run on test problems with its scores spoiled:

* tempered: log-odds halved, so that scores crowd around .5;
* sharpened: log-odds doubled;
* shifted: log-odds lower by 1, as of a PRM that is harsher on this weak model;
* permuted: scores of another solution of as many steps that was scored at the same time, as when replies get mixed up;
* padded: every step has the score of the one before, the first its own, as when separators are miscounted.

As Markdown on stdout: points of accuracy that each noise costs a rule at equal strong tokens, and how many times as
many it spends; and what the alarm on live scores says of the plans' runs at a budget of .1, and after how many
problems. Runs are kept, and not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trim_pomdp.bench.flow import RESULT_FILE, Bench
from trim_pomdp.bench.setup import Setting, lab_bench
from trim_pomdp.bench.strategies import chosen
from trim_pomdp.inspection.alarms import score_alarm
from trim_pomdp.lab.problems import parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.policies.base import Role
from trim_pomdp.runtime.protocols import BatchScorer, ScoreRequest, SolutionScores
from trim_pomdp.runtime.remembered import Memory, RememberingSource
from trim_pomdp.runtime.sources import Backends

STRATEGIES = "weak,strong,threshold,evidence-threshold,takeover,best-of-m,paper-pomdp,pomdp,pomdp-prm,pomdp-logprob"
BUDGETS = (0.05, 0.1, 0.2, 0.3)
SEED = 31
# The plans that look at the PRM, and what they look at.
PLANS: dict[str, EvidenceKind | None] = {"pomdp": None, "pomdp-prm": "prm"}
ALARM_AT, ALARM_AFTER = 0.1, (10, 25, 50, 100, 200, 500)
Spoil = Callable[[Sequence[SolutionScores]], list[SolutionScores]]


def _on_log_odds(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(replies: Sequence[SolutionScores]) -> list[SolutionScores]:
        out = []
        for reply in replies:
            p = np.clip(np.array(reply.scores), 1e-6, 1.0 - 1e-6)
            spoiled = 1.0 / (1.0 + np.exp(-change(np.log(p) - np.log1p(-p))))
            out.append(replace(reply, scores=tuple(spoiled.tolist())))
        return out

    return spoil


def _permuted(replies: Sequence[SolutionScores]) -> list[SolutionScores]:
    """Each reply has the scores of the next one of the same length."""
    out = list(replies)
    for length in {len(reply.scores) for reply in replies}:
        places = [i for i, reply in enumerate(replies) if len(reply.scores) == length]
        for here, there in zip(places, [*places[1:], places[0]], strict=True):
            out[here] = replace(replies[here], scores=replies[there].scores)
    return out


def _padded(replies: Sequence[SolutionScores]) -> list[SolutionScores]:
    return [replace(reply, scores=(reply.scores[0], *reply.scores[:-1])) for reply in replies]


NOISES: dict[str, Spoil] = {
    "none": list,
    "tempered": _on_log_odds(lambda x: x / 2.0),
    "sharpened": _on_log_odds(lambda x: 2.0 * x),
    "shifted": _on_log_odds(lambda x: x - 1.0),
    "permuted": _permuted,
    "padded": _padded,
}


@dataclass(frozen=True)
class NoisyScorer:
    """A PRM whose replies are spoiled."""

    model: BatchScorer
    spoil: Spoil

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """See `BatchScorer`."""
        return self.spoil(self.model.score_batch(requests))


@dataclass(frozen=True)
class NoisyLab(LabSource):
    """The lab with a spoiled PRM."""

    noise: str = "none"

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """See `ModelSource`; what the PRM replies is another thing under every noise."""
        found = super().config(roles)
        return {**found, "noise": self.noise} if "prm" in roles and self.noise != "none" else found

    def load(self, roles: Collection[Role]) -> Backends:
        """See `ModelSource`."""
        loaded = super().load(roles)
        return loaded if loaded.prm is None else replace(loaded, prm=NoisyScorer(loaded.prm, NOISES[self.noise]))


def spoiled(clean: Bench, noise: str) -> Bench:
    """The bench's own rules on a spoiled PRM."""
    folder = clean.folder / noise
    folder.mkdir(exist_ok=True)
    # Replies of the generators are those of the clean bench; the PRM's have a key of their own.
    source = RememberingSource(NoisyLab(noise=noise), Memory(clean.folder / "memory.sqlite"))
    runner = replace(clean.runner, source=source, folder=folder / "runs")
    bench = replace(clean, folder=folder, runner=runner, name=f"{clean.name}, scores {noise}")
    settled = clean.entries().model_copy(update={"config_hash": bench.config_hash})
    settled.save(folder / "entries.json")
    return bench


def alarms(bench: Bench, noise: str) -> list[str]:
    """What the alarm says of the plans' runs: a line a plan, of the fewest problems that raise it, and of all."""
    lines = []
    for name, kind in PLANS.items():
        rule = next(e.rule for e in bench.entries().by_strategy()[name] if e.asked_budget == ALARM_AT)
        model, trial = bench.contest.model(kind), bench.trials[0]
        bench.runner.make(rule, trial, kept="scores")
        records = bench.runner.records(rule, trial, kept="scores")
        sizes = [size for size in ALARM_AFTER if size <= len(records)]
        raised = [size for size in sizes if score_alarm(records[:size], model).raised]
        found = score_alarm(records, model)
        first = str(raised[0]) if raised else "–"
        numbers = f"{found.distance:.3f} | {found.p:.1g} | {found.changed:.1%} | {found.doubled:.1%}"
        lines.append(f"| {name} | {noise} | {first} | {numbers} | {'; '.join(found.reasons) or '–'} |")
    return lines


def rows(results: dict[str, BenchResult]) -> list[str]:
    """A line a strategy: by noise, points of accuracy lost at equal cost, and what was spent for what was asked.

    Both are means over budgets. At equal cost: against the strategy's own line without noise, from weak-only over its
    points to strong-only.
    """
    clean = results["none"]
    noises = [noise for noise in results if noise != "none"]
    lines = [
        "| strategy | accuracy without noise, by budget | " + " | ".join(noises) + " |",
        "|---|---|" + "---|" * len(noises),
    ]
    for name, standing in clean.strategies.items():
        if not standing.has_curve:
            continue
        cells = []
        for noise in noises:
            points = results[noise].strategies[name].points
            spent = np.array([point.budget for point in points])
            line = np.interp(spent, *_line(clean, name))
            change = 100.0 * np.mean([point.accuracy for point in points] - line)
            cells.append(f"{change:+.1f}, × {spent.sum() / sum(point.budget for point in standing.points):.2f}")
        found = ", ".join(f"{point.accuracy:.3f}" for point in standing.points)
        lines.append(f"| {name} | {found} | {' | '.join(cells)} |")
    return lines


def _line(clean: BenchResult, name: str) -> tuple[list[float], list[float]]:
    ends = clean.strategies["weak"].points[0], clean.strategies["strong"].points[0]
    points = sorted((point.budget, point.accuracy) for point in (*ends, *clean.strategies[name].points))
    return [budget for budget, _ in points], [accuracy for _, accuracy in points]


def main() -> int:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", default="loop")
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--fitting", type=int, default=500)
    parser.add_argument("--noise", default=",".join(NOISES))
    parsed = parser.parse_args()
    family = parse_family(parsed.family)
    setting = Setting(tuple(chosen(STRATEGIES)), BUDGETS, (SEED,))
    clean = lab_bench(parsed.work / family, family, setting, problems=parsed.problems, fitting=parsed.fitting)
    results: dict[str, BenchResult] = {}
    raised: list[str] = []
    for noise in dict.fromkeys(["none", *parsed.noise.split(",")]):
        bench = clean if noise == "none" else spoiled(clean, noise)
        bench.run(lambda ended, what, noise=noise: print(f"{noise}: {ended} {what}", end="\r", file=sys.stderr))
        results[noise] = bench.result()
        raised += alarms(bench, noise)
        print(f"{noise}: {bench.folder / RESULT_FILE}", file=sys.stderr)
    print("\n".join(rows(results)))
    print("\n| plan | noise | raised after | distance | p | changed | doubled | what it says |")
    print("\n".join(["|---|---|---|---|---|---|---|---|", *raised]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
