"""What overlap saves: seconds per problem with and without it, on dummy models that take as long as real ones.

    python benchmarks/overlap.py [--problems 2000] [--weak-ms 6] [--strong-ms 14] [--read-us 40] [--prm-us 80] [--real]

Every model has as many servers as it needs, each with a prefix cache (the PRM has none, as in vLLM): a request takes
its time per token read that is not known there, and per token written. Time is that of a clock that jumps to the next
event; with --real it passes, on this machine. *Expected* is what overlap should save: of every kept step that another
weak one follows, the shorter of its score and of the draft. *In vain* is the share of all that the weak model wrote,
what was written of drafts until they were broken off included; *told* is what a run counts of it (servers tell nothing
of requests that were broken off). *Read ahead* are tokens that the strong model read, and no cache knew, per problem.
"""

import argparse
import asyncio
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from trim_pomdp import StrategyRule, load_preset, policy_for_budget
from trim_pomdp.data.problems import Problem
from trim_pomdp.policies import Rule
from trim_pomdp.policies.base import Author
from trim_pomdp.runtime.attempt import Attempt
from trim_pomdp.runtime.backends.dummy import DummyWorld, dummy_problems
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest, Usage
from trim_pomdp.runtime.records import SolutionRecord, TokenCounts
from trim_pomdp.runtime.run import Routing

MODEL = load_preset("qwen2.5-1.5b-7b-math").routing_model()
WORLD = DummyWorld.of(MODEL.observations, MODEL.dynamics)
BUDGETS = (0.1, 0.2, 0.4)
PROMPT_TOKENS = 150


class _JumpingSelector(selectors.DefaultSelector):
    """Waits no longer than it must, and tells how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        self.waited += max(timeout, 0.0)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop began, as they would have passed."""
        return self._jumping.waited


@dataclass
class Texts:
    """How long steps are, and which prefixes a server has read."""

    tokens: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, problem: Problem, steps: tuple[str, ...]) -> int:
        """Tokens of a prompt and steps."""
        return PROMPT_TOKENS + sum(self.tokens[problem.id, step] for step in steps)


@dataclass
class TimedGenerator:
    """A generator that takes its time, and keeps count of what it wrote of steps that were broken off."""

    author: Author
    texts: Texts
    token_s: float
    read_s: float
    known: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    took: dict[tuple[str, tuple[str, ...]], float] = field(default_factory=dict)
    broken_off: int = 0

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator`."""
        clock = asyncio.get_running_loop().time
        began = clock()
        step = WORLD.write(request, self.author)
        read, cached = await self._read(request)
        writes = clock()
        try:
            await asyncio.sleep(self.token_s * step.tokens)
        except asyncio.CancelledError:
            self.broken_off += min(int((clock() - writes) / self.token_s) + 1, step.tokens)
            raise
        problem = request.problem.id
        self.texts.tokens[problem, step.text] = step.tokens
        self.known.add((problem, (*request.steps, step.text)))
        self.took[problem, request.steps] = clock() - began
        return replace(step, usage=Usage(read, cached, step.tokens))

    async def warm(self, request: StepRequest) -> Usage:
        """See `WarmedGenerator`."""
        read, cached = await self._read(request)
        await asyncio.sleep(self.token_s)
        return Usage(read, cached, 1)

    async def _read(self, request: StepRequest) -> tuple[int, int]:
        problem, steps = request.problem, request.steps
        read = self.texts.of(problem, steps)
        known = next((n for n in range(len(steps), -1, -1) if (problem.id, steps[:n]) in self.known), None)
        cached = 0 if known is None else self.texts.of(problem, steps[:known])
        await asyncio.sleep(self.read_s * (read - cached))
        self.known.update((problem.id, steps[:n]) for n in range(len(steps) + 1))
        return read, cached


@dataclass
class TimedScorer:
    """A PRM that reads everything every time."""

    texts: Texts
    read_s: float

    def seconds(self, problem: Problem, steps: tuple[str, ...]) -> float:
        """Time that a score takes."""
        return self.read_s * self.texts.of(problem, steps)

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer`."""
        await asyncio.sleep(self.seconds(request.problem, request.steps))
        return replace(WORLD.score(request), tokens=self.texts.of(request.problem, request.steps))


@dataclass(frozen=True)
class Measured:
    """What a run took.

    Attributes
    ----------
    seconds : float
        Per problem, from its first request to its end.
    expected_s : float
        What overlap would save of that, per problem.
    tokens : TokenCounts
        Totals.
    in_vain : float
        Share of what the weak model wrote.
    solutions : dict
        Texts by problem.
    """

    seconds: float
    expected_s: float
    tokens: TokenCounts
    in_vain: float
    solutions: dict[str, list[str]]


def measure(rule: Rule, given: argparse.Namespace, *, overlap: bool = False, warm: bool = False) -> Measured:
    """Route all problems at once."""
    texts = Texts()
    weak = TimedGenerator("weak", texts, given.weak_ms / 1e3, given.read_us / 1e6)
    strong = TimedGenerator("strong", texts, given.strong_ms / 1e3, given.read_us / 1e6)
    prm = TimedScorer(texts, given.prm_us / 1e6)
    problems = [replace(item, answer=None) for item in dummy_problems(given.problems)]  # nobody is to judge them
    began: dict[str, float] = {}
    took: dict[str, float] = {}
    records: list[SolutionRecord] = []

    async def solve() -> None:
        clock = asyncio.get_running_loop().time

        def start(problem: Problem) -> Attempt:
            began[problem.id] = clock()
            return Routing(rule).start(problem)

        def finished(record: SolutionRecord) -> None:
            name = record.terminal.problem
            took[name] = clock() - began[name]
            records.append(record)

        options = {"overlap": overlap, "warm_strong": warm, "in_flight": given.problems}
        await solve_all(problems, start, Models(weak, strong, prm), finished, **options)

    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop if given.real else JumpingLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(solve())
    tokens = sum((record.terminal.tokens for record in records), TokenCounts())
    vain = tokens.weak_ahead + weak.broken_off
    return Measured(
        seconds=sum(took.values()) / len(took),
        expected_s=sum(_expected(record, weak, prm) for record in records) / len(records),
        tokens=tokens,
        in_vain=vain / max(tokens.weak_kept + tokens.weak_discarded + vain, 1),
        solutions={r.terminal.problem: [d.accepted.text for d in r.decisions if d.accepted] for r in records},
    )


def _expected(record: SolutionRecord, weak: TimedGenerator, prm: TimedScorer) -> float:
    """What overlap saves of a solution that was written without it."""
    problem, steps, saved = Problem(record.terminal.problem, ""), (), 0.0
    for item in record.decisions:
        assert item.accepted is not None
        steps = (*steps, item.accepted.text)
        draft_s = weak.took.get((problem.id, steps))
        if item.scoring is not None and item.author == "weak" and draft_s is not None:
            saved += min(prm.seconds(problem, steps), draft_s)
    return saved


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--weak-ms", type=float, default=6.0, help="per token written")
    parser.add_argument("--strong-ms", type=float, default=14.0, help="per token written")
    parser.add_argument("--read-us", type=float, default=40.0, help="per token read, of both generators")
    parser.add_argument("--prm-us", type=float, default=80.0, help="per token read")
    parser.add_argument("--real", action="store_true", help="let the time pass")
    given = parser.parse_args()
    alone = {name: measure(StrategyRule(strategy=name), given).seconds for name in ("weak", "strong")}
    print(
        f"{given.problems} problems; weak alone {alone['weak']:.3f} s a problem, strong alone {alone['strong']:.3f} s"
    )
    print("budget  overlap  warm  s/problem  saved  expected  strong alone/this  weak tokens in vain  told  read ahead")
    for budget in BUDGETS:
        rule = policy_for_budget(MODEL, budget).policy
        plain = measure(rule, given)
        for overlap, warm in ((False, False), (True, False), (False, True), (True, True)):
            found = measure(rule, given, overlap=overlap, warm=warm) if overlap or warm else plain
            assert found.solutions == plain.solutions
            told = found.tokens
            print(
                f"{budget:6} {'on' if overlap else 'off':>8} {'on' if warm else 'off':>5} {found.seconds:10.3f}"
                f" {1 - found.seconds / plain.seconds:6.1%} {plain.expected_s / plain.seconds if overlap else 0:9.1%}"
                f" {alone['strong'] / found.seconds:18.2f} {found.in_vain:20.1%}"
                f" {told.weak_ahead / max(told.weak_kept + told.weak_discarded, 1):5.1%}"
                f" {(told.strong_ahead_read - told.strong_ahead_cached) / given.problems:11.0f}"
            )


if __name__ == "__main__":
    main()
