"""How large reports are and how fast they open: 1,000 lab problems, and 1,000 MATH-500 solutions of weak models.

    python benchmarks/report_pages.py [--problems 1000] [--shared ../shared] [--work FOLDER] [--browser chromium]

Both have a slider over five planned budgets. The first run is one of the lab's (``loop``, budget 0.2). The second has
long texts: recorded weak solutions of MATH-500 with their PRM scores, routed by the published pair's policy; where it
regenerates, another recorded solution of the same problem gives the step. *Usable* is the time from the navigation
until the list stands there and can be filtered, as the page itself sees it; *opened* that from a click on a problem
until its drawing stands there.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trim_pomdp import load_preset, policy_for_budget
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.solutions import solutions_text
from trim_pomdp.inspection.report import write_report
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.live import POLICY_FILE
from trim_pomdp.runtime.protocols import GeneratedStep, SolutionScores, Usage
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.solutions import SOLUTIONS_FILE, solution_text
from trim_pomdp.runtime.traces import TraceWriter

BUDGET = 0.2
PAIR = "qwen2.5-1.5b-7b-math"


def recorded_solutions(path: Path, n: int) -> list[tuple[Problem, dict[str, Any], dict[str, Any]]]:
    """Problems, each with a recorded solution and another one of the same problem; a problem may come several times."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    out: list[tuple[Problem, dict[str, Any], dict[str, Any]]] = []
    for turn in range(max(len(row["rollouts"]) for row in rows)):
        for row in rows:
            rollouts = row["rollouts"]
            if turn < len(rollouts):
                problem = Problem(f"{row['id']}/{turn}", row["problem"], str(row["answer"]))
                out.append((problem, rollouts[turn], rollouts[(turn + 1) % len(rollouts)]))
    while len(out) < n:
        out += [(Problem(f"{p.id}+", p.prompt, p.answer), a, b) for p, a, b in out[: n - len(out)]]
    return out[:n]


def step_of(solution: dict[str, Any], index: int) -> GeneratedStep:
    """A recorded step as a model's reply."""
    steps: Sequence[str] = solution["steps"]
    text = steps[min(index, len(steps) - 1)]
    tokens = max(len(text) // 4, 1)
    ends = index >= len(steps) - 1
    return GeneratedStep(text, (-0.1,) * tokens, "answer" if ends else "separator", Usage(100 + 30 * index, 0, tokens))


def route_recorded(folder: Path, solutions: Sequence[tuple[Problem, dict[str, Any], dict[str, Any]]]) -> None:
    """A run's folder in which these solutions were routed."""
    artifact = policy_for_budget(load_preset(PAIR).routing_model(), BUDGET)
    routing = Routing(artifact.policy, caps=Caps(max_steps=30))
    config = {**routing.config, "mode": "run", "models": {}, "problems": {"count": len(solutions), "sha256": "0"}}
    texts = []
    with TraceWriter(folder, config, files={POLICY_FILE: artifact.model_dump_json()}) as traces:
        for problem, first, second in solutions:
            item = routing.start(problem)
            while (call := item.pending) is not None:
                index = len(item.steps)
                if call.role == "prm":
                    scores = [*first["prm_scores"], *[0.5] * 40][: index + 1]
                    item.receive(SolutionScores(tuple(scores), 40 * (index + 1)))
                else:
                    item.receive(step_of(first if call.role == "weak" else second, index))
            item.judge()
            traces.append(item.record)
            texts.append(solution_text(item.record, problem))
    (folder / SOLUTIONS_FILE).write_text(solutions_text(texts), encoding="utf-8")


def route_lab(folder: Path, n: int) -> None:
    """A run of the lab."""
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.lab.source import LabSource
    from trim_pomdp.runtime.live import plan_for_budget, run_live

    plan = plan_for_budget(load_preset("lab-loop").routing_model(), BUDGET)
    run_live(plan, draw("loop", "test", 0, n), LabSource(), folder)


def measured(path: Path, browser: str) -> str:
    """How fast a report is, in a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        page = tools.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        usable, opened = [], []
        for _ in range(3):
            page.goto("about:blank")
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-tp-usable]", state="attached")
            usable.append(float(page.get_attribute("body", "data-tp-usable") or "nan"))
            begin = time.perf_counter()
            page.click("tr.tp-problem >> nth=17")
            page.wait_for_selector(".tp-inspector .tp-step")
            opened.append(1000 * (time.perf_counter() - begin))
        return f"usable after {min(usable):.0f} ms (slowest {max(usable):.0f}), opened in {min(opened):.0f} ms"


def main() -> None:
    """Make both runs and their reports, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    for name, preset in (("lab", "lab-loop"), ("math", PAIR)):
        folder = work / f"{name}-run"
        if not folder.exists():
            if name == "lab":
                route_lab(folder, options.problems)
            else:
                data = options.shared / "data" / "math500_rollouts_dev.jsonl.gz"
                route_recorded(folder, recorded_solutions(data, options.problems))
        begin = time.perf_counter()
        path = work / f"{name}.html"
        write_report([folder], path, model=load_preset(preset).routing_model())
        seconds = time.perf_counter() - begin
        size = path.stat().st_size / 1e6
        print(f"{name}: {size:.1f} MB, made in {seconds:.1f} s, {measured(path, options.browser)}")


if __name__ == "__main__":
    main()
