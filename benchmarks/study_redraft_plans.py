"""Plans that may redraft, against reality: the lab's test problems live, beside two-action plans and best-of-m rules.

    python benchmarks/study_redraft_plans.py --work FOLDER [--family loop] [--problems 1000] [--budgets .05,.1,.2]

Every run of a family has the same problems and the same seed, so that differences are paired; runs that have ended are
not repeated. The tables say what was planned and what was measured, with standard errors, and how much more accurate a
plan was than others: than plans of two actions at its own cost (interpolated between theirs), and than the best rule
that spends no more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.lab.problems import FAMILIES, Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies import PolicyArtifact, Rule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import plan_from_file, run_live
from trim_pomdp.runtime.traces import read_traces

TEST_SEED = 3
IN_FLIGHT = 256
GAP = 1e-3
BASE = ("keep", "regenerate")
# Actions and most drafts of each kind of plan.
KINDS = {
    "two": (BASE, 1),
    "redraft": ((*BASE, "redraft"), 2),
    "recall": ((*BASE, "redraft", "recall"), 2),
    "redraft4": ((*BASE, "redraft"), 4),
    "recall4": ((*BASE, "redraft", "recall"), 4),
}
_DRAWS = 2000


@dataclass(frozen=True)
class Run:
    """What was measured of one policy, problem by problem."""

    name: str
    planned: PolicyArtifact | None
    right: NDArray[np.float64]
    budget: NDArray[np.float64]
    redrafts: NDArray[np.float64]
    weak: NDArray[np.float64]

    @classmethod
    def read(cls, name: str, folder: Path, planned: PolicyArtifact | None, unit: float) -> Run:
        """Of a folder; `unit`: strong tokens of strong-only."""
        ended = sorted((item.terminal for item in read_traces(folder)), key=lambda item: item.problem)
        rows = [
            (bool(i.correct), i.tokens.strong / unit, i.redrafts, i.tokens.weak_kept + i.tokens.weak_discarded)
            for i in ended
        ]
        right, budget, redrafts, weak = np.array(rows, dtype=np.float64).T
        return cls(name, planned, right, budget, redrafts, weak)

    def row(self) -> str:
        """Of the table."""
        point = None if self.planned is None else self.planned.planned
        told = "" if point is None else f"{point.accuracy:.3f} at {point.budget:.3f}"
        return (
            f"| {self.name} | {told} | {_shown(self.right)} at {_shown(self.budget)} | {self.redrafts.mean():.2f} "
            f"| {self.weak.mean():.0f} |"
        )


def _shown(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def plans(
    family: str, evidence: str, budgets: Sequence[float], kinds: Sequence[str], work: Path
) -> Iterator[tuple[str, PolicyArtifact]]:
    """Plans, kept in files once they are made."""
    preset = load_preset(f"lab-{family}{evidence}")
    for budget in budgets:
        for kind in kinds:
            actions, drafts = KINDS[kind]
            name = f"plan{evidence}-{budget:g}-{kind}"
            path = work / f"{name}.json"
            if not path.is_file():
                model = RoutingModel(preset.observations, preset.dynamics, actions=actions, max_drafts=max(drafts, 2))
                policy_for_budget(model, budget, gap=GAP).save(path)
            yield name, PolicyArtifact.read(path)


def rules(family: str, evidence: str, below_which: str) -> Iterator[tuple[str, Rule]]:
    """Best-of-m rules."""
    kind = load_preset(f"lab-{family}{evidence}").observations.evidence
    for pair in filter(None, below_which.split(",")):
        below, regenerate = map(float, pair.split(":"))
        rule = RedraftRule(redraft_below=below, regenerate_below=regenerate, evidence=kind)
        yield f"rule{evidence}-{below:g}-{regenerate:g}", rule


def differences(runs: Sequence[Run]) -> Iterator[str]:
    """What plans gain on others, in points of accuracy, by a bootstrap over problems."""
    rng = np.random.default_rng(0)
    index = rng.integers(len(runs[0].right), size=(_DRAWS, len(runs[0].right)))
    two = [run for run in runs if run.name.endswith("-two")]
    best_of = [run for run in runs if run.planned is None]

    def means(run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return run.right[index].mean(axis=1), run.budget[index].mean(axis=1)

    known = {run.name: means(run) for run in runs}
    for run in runs if two else ():
        if run in two or run.planned is None:
            continue
        right, budget = known[run.name]
        at = np.array(sorted((known[item.name] for item in two), key=lambda pair: pair[1].mean()))
        beside = np.array([np.interp(budget[i], at[:, 1, i], at[:, 0, i]) for i in range(_DRAWS)])
        line = f"* {run.name} − two actions at its cost: {_span(right - beside)}"
        cheaper = [item for item in best_of if item.budget.mean() <= run.budget.mean()]
        if cheaper:
            best = max(cheaper, key=lambda item: item.right.mean())
            line += f"; − {best.name}, at {best.budget.mean():.3f}: {_span(right - known[best.name][0])}"
        yield line


def _span(values: NDArray[np.float64]) -> str:
    low, high = np.quantile(100.0 * values, [0.025, 0.975])
    return f"{100.0 * values.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def study(family: Family, evidence: str, parsed: argparse.Namespace) -> None:
    """All runs of a family with one kind of evidence, and their table."""
    budgets = [float(item) for item in parsed.budgets.split(",")]
    work = parsed.work / f"{family}-{parsed.seed}"
    work.mkdir(parents=True, exist_ok=True)
    problems, source = draw(family, "test", parsed.seed, parsed.problems), LabSource()
    unit = load_preset(f"lab-{family}{evidence}").routing_model().strong_only_tokens
    made: list[tuple[str, PolicyArtifact | None, Rule | None]] = [
        *((name, item, None) for name, item in plans(family, evidence, budgets, parsed.kinds.split(","), work)),
        *((name, None, rule) for name, rule in rules(family, evidence, parsed.rules)),
    ]
    runs = []
    for name, artifact, rule in made:
        plan = plan_from_file(artifact, None) if artifact is not None else rule
        assert plan is not None
        began = time.process_time()
        run_live(plan, problems, source, work / name, seed=parsed.seed, resume=True, in_flight=IN_FLIGHT)
        runs.append(Run.read(name, work / name, artifact, unit))
        print(f"{runs[-1].row()} {time.process_time() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"\n### {family}, evidence {evidence.lstrip('.') or 'prm+logprob'}, seed {parsed.seed}\n")
    print("| | planned | measured | redrafts | weak tokens |\n|---|---|---|---|---|")
    print("\n".join(run.row() for run in runs))
    print("\n" + "\n".join(differences(runs)), flush=True)


def main() -> int:
    """Do the runs that are not there yet, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--budgets", default="0.05,0.1,0.2")
    parser.add_argument("--kinds", default="two,redraft,recall", help=f"kinds of plans, of {', '.join(KINDS)}")
    parser.add_argument("--rules", default=".3:0,.3:.02,.3:.1,.7:.1", help="best-of-m: redraft, and regenerate, below")
    parser.add_argument("--evidence", default=",.prm", help="endings of presets, by comma; an empty one is the default")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of problems and runs")
    parsed = parser.parse_args()
    families: Sequence[Family] = parsed.family or FAMILIES
    for family in families:
        for evidence in parsed.evidence.split(","):
            study(family, evidence, parsed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
