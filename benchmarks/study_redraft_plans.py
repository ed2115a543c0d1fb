"""Plans that may redraft, against reality: the lab's test problems live, beside two-action plans and best-of-m rules.

    python benchmarks/study_redraft_plans.py --work FOLDER [--family loop] [--problems 1000] [--budgets .05,.1,.2]

Every run has the same problems and the same seed, so that differences are paired; runs that have ended are not
repeated. How drafts of a step depend on each other is what `benchmarks/study_redrafts.py` counted on 300 fitting
problems, or what the presets say (`--presets`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trim_pomdp.lab.problems import FAMILIES, Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.dynamics import Shares
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies import PolicyArtifact, Rule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import LivePlan, plan_from_file, run_live
from trim_pomdp.runtime.traces import read_traces

TEST_SEED = 3
IN_FLIGHT = 256
GAP = 1e-3
# Of drafts that look bad, which are those that are drafted again (evidence below .9), among 400 labelled redrafts of
# loop's fitting problems: a new draft is right (after a wrong one, after a right one), or the last one word for word.
DRAFTS = {
    "redraft_repair": 0.348,
    "redraft_success": 0.783,
    "redraft_same": Shares(right=0.783, derailed=0.514, wrong=0.386),
}
ACTIONS = ("keep", "regenerate", "redraft")
RULES = ((0.3, 0.0), (0.3, 0.02), (0.3, 0.1), (0.7, 0.1))


def plans(
    family: str, evidence: str, budgets: Sequence[float], drafts: Sequence[int], own: bool, work: Path
) -> Iterator[tuple[str, PolicyArtifact]]:
    """Plans of two and of three actions, kept in files once they are made."""
    preset = load_preset(f"lab-{family}{evidence}")
    dynamics = preset.dynamics
    if not own:
        dynamics = dynamics.replace(**DRAFTS)
    for budget in budgets:
        for most in (1, *drafts):
            name = f"plan{evidence}-{budget:g}-drafts-{most}"
            path = work / f"{name}.json"
            if not path.is_file():
                actions = ACTIONS if most > 1 else ACTIONS[:2]
                model = RoutingModel(preset.observations, dynamics, actions=actions, max_drafts=max(most, 2))
                policy_for_budget(model, budget, gap=GAP).save(path)
            yield name, PolicyArtifact.read(path)


def rules(family: str, evidence: str) -> Iterator[tuple[str, Rule]]:
    """Best-of-m rules."""
    kind = load_preset(f"lab-{family}{evidence}").observations.evidence
    for below, regenerate in RULES:
        rule = RedraftRule(redraft_below=below, regenerate_below=regenerate, evidence=kind)
        yield f"rule{evidence}-{below:g}-{regenerate:g}", rule


def report(name: str, folder: Path, artifact: PolicyArtifact | None, unit: float) -> str:
    """What was measured, beside what was planned."""
    ended = [item.terminal for item in read_traces(folder)]
    n = len(ended)
    right = np.array([bool(item.correct) for item in ended], dtype=float)
    strong = np.array([item.tokens.strong for item in ended], dtype=float) / unit
    weak = np.array([item.tokens.weak_kept + item.tokens.weak_discarded for item in ended], dtype=float)
    redrafts = np.array([item.redrafts for item in ended], dtype=float)

    def shown(values: np.ndarray) -> str:
        return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(n):.3f}"

    line = f"{name}: accuracy {shown(right)}, budget {shown(strong)}"
    line += f", redrafts {redrafts.mean():.2f}, weak tokens {weak.mean():.0f}"
    point = None if artifact is None else artifact.planned
    if point is not None:
        line += f" (planned {point.accuracy:.3f} at {point.budget:.3f}, redrafts {point.redrafts or 0.0:.2f})"
    return line


def main() -> int:
    """Do the runs that are not there yet, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--budgets", default="0.05,0.1,0.2")
    parser.add_argument("--drafts", default="2,4", help="most drafts of plans with redrafts")
    parser.add_argument("--evidence", default=",.prm", help="endings of presets, by comma; an empty one is the default")
    parser.add_argument("--presets", action="store_true", help="take how drafts depend on each other from the presets")
    parser.add_argument("--only", default="", help="only runs whose name begins so")
    parsed = parser.parse_args()
    budgets = [float(item) for item in parsed.budgets.split(",")]
    drafts = [int(item) for item in parsed.drafts.split(",") if item]
    families: Sequence[Family] = parsed.family or FAMILIES
    for family in families:
        problems, source, work = draw(family, "test", TEST_SEED, parsed.problems), LabSource(), parsed.work / family
        work.mkdir(parents=True, exist_ok=True)
        for evidence in parsed.evidence.split(","):
            unit = load_preset(f"lab-{family}{evidence}").routing_model().strong_only_tokens
            planned = plans(family, evidence, budgets, drafts, parsed.presets, work)
            made: list[tuple[str, PolicyArtifact | None, LivePlan | Rule]] = [
                *((name, item, plan_from_file(item, None)) for name, item in planned),
                *((name, None, rule) for name, rule in rules(family, evidence)),
            ]
            for name, artifact, plan in made:
                if not name.startswith(parsed.only):
                    continue
                began = time.process_time()
                run_live(plan, problems, source, work / name, seed=TEST_SEED, resume=True, in_flight=IN_FLIGHT)
                took = time.process_time() - began
                print(f"{family} {report(name, work / name, artifact, unit)} [{took:.0f} s of CPU]", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
