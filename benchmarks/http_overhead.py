"""What the package itself takes when models are served over HTTP: processor time per decision, share of time, memory.

    python benchmarks/http_overhead.py [--problems 1000] [--in-flight 64] [--delay-ms 50]      a server that only waits
    python benchmarks/http_overhead.py --models served.toml [--problems 400]                   real servers
    python benchmarks/http_overhead.py --memory 1000 [--problems 8000]                         so many in flight
    python benchmarks/http_overhead.py --profile                                               where it goes

*Processor time* is that of this process, user and system, all threads: the engine, requests and replies, decisions,
traces; models and servers are other processes. The same replies then come from memory, after the same time, instead of
over HTTP: what is left is the *engine* (decisions, asyncio, traces), the difference the *client* (HTTP, JSON, checks of
replies). *After* is the reading of the traces at the end, for solutions.jsonl. *Share* is processor time over the
time that the run took, so the faster the servers, the larger it is; *idle* is the share of time in which no request was
out at all. Without --models three servers of tests/fake_vllm.py stand in, in one other process, which take that long
for a reply (and prompts are rendered by three more requests a problem and model). Times are the smallest of several
repeats, and in brackets the median: what else the machine does only adds to them. *Set-up* is that of a run of one
problem (files, hashes of models, first connections), and left out of the other columns but for the share.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from report import ROOT, heading, table

from trim_pomdp import StrategyRule, ThresholdRule, load_preset, model_source, policy_for_budget
from trim_pomdp.data.problems import Problem
from trim_pomdp.lab.problems import draw
from trim_pomdp.policies import Rule
from trim_pomdp.runtime.backends.dummy import RIGHT_ANSWER, DummyWorld
from trim_pomdp.runtime.backends.replay import replay_models
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.live import run_live
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.sources import ModelSource
from trim_pomdp.runtime.traces import read_traces

PRESET = "qwen2.5-1.5b-7b-math"
PAGE = 4096


@dataclass(frozen=True)
class Cost:
    """Of a run: processor seconds until the last problem ended, and after it; how long, how many, the idle share."""

    cpu_s: float
    after_s: float
    wall_s: float
    decisions: int
    requests: int
    idle: float


def measure(
    rule: Rule, problems: list[Problem], source: ModelSource, in_flight: int, folder: Path, options: dict[str, bool]
) -> Cost:
    """Route over HTTP."""
    ends: list[tuple[float, float]] = []
    began, wall = time.process_time(), time.perf_counter()
    summary = run_live(
        rule,
        problems,
        source,
        folder,
        in_flight=in_flight,
        progress=lambda *_: ends.append((time.process_time(), time.perf_counter())),
        **options,
    )
    over = time.process_time()
    assert summary.failed == 0, summary.error
    requests = sum(
        (item.weak is not None) + (item.scoring is not None) + (item.strong is not None)
        for solution in read_traces(folder)
        for item in solution.decisions
    )
    cpu, last = ends[-1]
    return Cost(cpu - began, over - cpu, last - wall, summary.decisions, requests, summary.overhead_share)


class Delayed:
    """Recorded replies, each after a while."""

    def __init__(self, models: Models, delay_s: float) -> None:
        self._models, self._delay_s = models, delay_s

    def of(self, role: str) -> Any:
        """The model of a role, as the engine takes it."""
        model, delay_s = getattr(self._models, role), self._delay_s

        class Model:
            async def generate(self, request: StepRequest) -> GeneratedStep:
                await asyncio.sleep(delay_s)
                reply: GeneratedStep = await model.generate(request)
                return reply

            async def score(self, request: ScoreRequest) -> SolutionScores:
                await asyncio.sleep(delay_s)
                reply: SolutionScores = await model.score(request)
                return reply

        return Model()


def engine_alone(
    rule: Rule, problems: list[Problem], source: ModelSource, in_flight: int, traces: Path, folder: Path, delay_s: float
) -> float:
    """Processor seconds of the same run without HTTP."""
    routing = Routing(rule, caps=source.caps, format=source.format, checker=source.checker)
    replay = Delayed(replay_models(read_traces(traces)), delay_s)
    models = Models(replay.of("weak"), replay.of("strong"), replay.of("prm"))
    began = time.process_time()
    ends: list[float] = []
    run(
        problems,
        routing.start,
        models,
        folder,
        config={},
        in_flight=in_flight,
        progress=lambda *_: ends.append(time.process_time()),
    )
    return ends[-1] - began


# Servers that only wait ---------------------------------------------------------------------------------------


def serve(delay_s: float) -> None:
    """Run the three servers until stdin closes; prints their URLs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from fake_vllm import FakeVllm

    model = load_preset(PRESET).routing_model()
    world = DummyWorld.of(model.observations, model.dynamics)
    with ExitStack() as stack:
        urls = {}
        for role, author in (("weak", "weak"), ("strong", "strong"), ("prm", None)):
            server = FakeVllm(world, author, delay_s=delay_s)
            server.room = 1 << 20
            server.bodies, server.headers = deque(maxlen=0), deque(maxlen=0)
            urls[role] = stack.enter_context(server.running()).url
        print(json.dumps(urls), flush=True)
        sys.stdin.read()


@contextmanager
def waiting_servers(delay_s: float, most: int, folder: Path, max_steps: int = 30) -> Iterator[ModelSource]:
    """A models file of such servers, in another process."""
    command = [sys.executable, __file__, "--serve", str(delay_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        text = "".join(
            f'[{role}]\nbackend = "{"vllm-prm" if role == "prm" else "vllm"}"\nmodel = "{role}"\n'
            f'base_url = "{url}/v1"\nsystem_prompt = false\nmax_in_flight = {most}\n'
            for role, url in urls.items()
        )
        path = folder / "models.toml"
        path.write_text(f"{text}[limits]\nmax_steps = {max_steps}\n")
        try:
            yield model_source(str(path))
        finally:
            assert process.stdin is not None
            process.stdin.close()


def waiting_problems(n: int) -> list[Problem]:
    """Problems that those servers know: prompts are ids."""
    return [Problem(f"problem-{i}", f"problem-{i}", RIGHT_ANSWER) for i in range(n)]


def rules(preset: str) -> dict[str, Rule]:
    """What is measured."""
    model = load_preset(preset).routing_model()
    return {
        "budget .2": policy_for_budget(model, 0.2).policy,
        "threshold .5": ThresholdRule(threshold=0.5),
        "strong alone": StrategyRule(strategy="strong"),
    }


# What is printed ----------------------------------------------------------------------------------------------


def report(given: argparse.Namespace, folder: Path) -> None:
    """The table of processor time."""
    title = "real servers" if given.models else f"servers that take {given.delay_ms:g} ms for a reply"
    heading(f"The package over HTTP: {title}, {given.in_flight} in flight, {given.problems} problems")
    delay_s = given.delay_ms / 1e3
    with ExitStack() as stack:
        if given.models:
            source, preset = model_source(given.models), "lab-loop"
            problems = draw("loop", "test", 6, given.problems)
            few = draw("loop", "test", 7, given.in_flight)
        else:
            source, preset = stack.enter_context(waiting_servers(delay_s, given.in_flight, folder)), PRESET
            problems, few = waiting_problems(given.problems), waiting_problems(given.in_flight)
        rows = []
        for name, rule in rules(preset).items():
            for overlap in (False, True) if name == "budget .2" else (False,):
                at = folder / str(len(rows))
                measure(rule, few, source, given.in_flight, at / "first", {})
                first = [measure(rule, few[:1], source, 1, at / f"one{n}", {}).cpu_s for n in range(3)]
                costs, alone = [], []
                for repeat in range(given.repeats):
                    out, options = at / f"run{repeat}", {"overlap": overlap}
                    costs.append(measure(rule, problems, source, given.in_flight, out, options))
                    last = at / f"alone{repeat}"
                    alone.append(engine_alone(rule, problems, source, given.in_flight, out, last, delay_s))
                decisions, asked = costs[0].decisions, costs[0].requests / costs[0].decisions
                cells = [
                    [cost.cpu_s - min(first) for cost in costs],
                    alone,
                    [cost.cpu_s - min(first) - engine for cost, engine in zip(costs, alone, strict=True)],
                    [cost.after_s for cost in costs],
                ]
                rows.append(
                    (
                        *(name + (", overlap" if overlap else ""), decisions, f"{asked:.2f}"),
                        *(
                            f"{min(cell) / decisions * 1e6:.0f} ({median(cell) / decisions * 1e6:.0f})"
                            for cell in cells
                        ),
                        f"{median(decisions / cost.wall_s for cost in costs):.0f}",
                        f"{median(cost.cpu_s / cost.wall_s for cost in costs):.1%}",
                        f"{median(cost.idle for cost in costs):.2%}",
                        f"{min(first) * 1e3:.0f}",
                    )
                )
    table(
        (
            *("policy", "decisions", "requests a decision", "µs CPU a decision", "engine", "client", "after"),
            *("decisions a s", "share", "idle", "set-up, ms"),
        ),
        rows,
    )


def memory(given: argparse.Namespace, folder: Path) -> None:
    """Memory as a run goes on."""
    heading(f"Memory: {given.problems} problems of up to {given.max_steps} steps over HTTP")
    rule = rules(PRESET)["threshold .5"]
    with waiting_servers(given.delay_ms / 1e3, given.memory, folder, given.max_steps) as source:
        measure(rule, waiting_problems(100), source, 100, folder / "first", {})
        begin, seen = _resident(), [0.0] * 5

        def note(done: int, of: int, _: object) -> None:
            part = -(-done * 4 // of)
            seen[part] = max(seen[part], _resident() - begin)

        problems = waiting_problems(given.problems)
        run_live(rule, problems, source, folder / "run", in_flight=given.memory, progress=note)
    rows = [(given.memory, *(f"{mib:.0f}" for mib in seen[1:]))]
    table(("in flight", *(f"MiB more, {part} quarter" for part in ("first", "second", "third", "last"))), rows)


def _resident() -> float:
    """MiB of memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=None)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--models", help="models file of running servers of the lab's models")
    parser.add_argument("--memory", type=int, help="problems in flight")
    parser.add_argument("--max-steps", type=int, default=30, help="of a solution (--memory)")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return serve(given.serve)
    given.problems = given.problems or (8000 if given.memory else 400 if given.models else 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.memory:
            return memory(given, folder)
        if not given.profile:
            return report(given, folder)
        with waiting_servers(given.delay_ms / 1e3, given.in_flight, folder) as source:
            rule = rules(PRESET)["budget .2"]
            measure(rule, waiting_problems(50), source, given.in_flight, folder / "first", {})
            with cProfile.Profile(time.process_time) as profile:
                measure(rule, waiting_problems(given.problems), source, given.in_flight, folder / "run", {})
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return None


if __name__ == "__main__":
    main()
