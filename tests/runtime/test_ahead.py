"""Work that is done while a score is awaited: results do not depend on it, waste is counted, nothing is left behind."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from scripted import WORLD, alpha_rule, dummy_models, timeless

from trim_pomdp.errors import InputError
from trim_pomdp.policies import Rule, StrategyRule, ThresholdRule
from trim_pomdp.policies.base import SetupError
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.backends.replay import replay_models
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.protocols import GeneratedStep, StepRequest, Usage
from trim_pomdp.runtime.records import SolutionRecord, TokenCounts
from trim_pomdp.runtime.replies import Reply
from trim_pomdp.runtime.run import Routing, run

RULE = ThresholdRule(threshold=0.5)
AHEAD = [name for name in TokenCounts.model_fields if "_ahead" in name]


def solve(models: Models, n: int = 40, *, rule: Rule = RULE, **options: Any) -> list[SolutionRecord]:
    out: list[SolutionRecord] = []
    names = ("overlap", "warm_strong", "in_flight")
    given = {name: options.pop(name) for name in names if name in options}
    routing = Routing(rule, oracle=dummy_oracle, **options)
    asyncio.run(solve_all(dummy_problems(n), routing.start, models, out.append, **given))
    return out


def results(records: Sequence[SolutionRecord]) -> dict[str, Any]:
    """Everything but times and what was spent ahead."""
    return {
        record.terminal.problem: timeless(
            SolutionRecord(
                tuple(item.model_copy(update={"tokens": without(item.tokens)}) for item in record.decisions),
                record.terminal.model_copy(update={"tokens": without(record.terminal.tokens)}),
            )
        )
        for record in records
    }


def without(tokens: TokenCounts) -> TokenCounts:
    return tokens.model_copy(update=dict.fromkeys(AHEAD, 0))


def total(records: Sequence[SolutionRecord]) -> TokenCounts:
    return sum((record.terminal.tokens for record in records), TokenCounts())


@dataclass
class Timed:
    """A generator that counts what it was asked, finished and lost; with usage, as servers count it."""

    world: DummyGenerator
    delay_s: float
    asked: int = 0
    broken_off: int = 0
    under_way: int = 0
    spent: Usage = field(default_factory=lambda: Usage(0, 0, 0))

    async def generate(self, request: StepRequest) -> GeneratedStep:
        self.asked += 1
        self.under_way += 1
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        finally:
            self.under_way -= 1
        written = self.world._generate(request)
        usage = Usage(10 * (len(request.steps) + 1), 10 * len(request.steps), written.tokens)
        self.spent += usage
        return replace(written, usage=usage)


def timed(*, weak_s: float, prm_s: float) -> tuple[Models, Timed]:
    weak = Timed(DummyGenerator(WORLD, "weak"), weak_s)
    return Models(weak, Timed(DummyGenerator(WORLD, "strong"), 0.0), DummyScorer(WORLD, delay_s=prm_s)), weak


@pytest.mark.parametrize("rule", [RULE, alpha_rule(), StrategyRule(strategy="random", probability=0.4)], ids=repr)
@pytest.mark.parametrize(("weak_s", "prm_s"), [(0.0, 0.002), (0.002, 0.0), (0.0, 0.0)])
def test_results_are_the_same_and_waste_is_counted(rule: Rule, weak_s: float, prm_s: float) -> None:
    off, _ = timed(weak_s=0.0, prm_s=0.0)
    on, weak = timed(weak_s=weak_s, prm_s=prm_s)
    expected, found = solve(off, rule=rule), solve(on, rule=rule, overlap=True)
    assert results(found) == results(expected)
    assert set(total(expected).model_dump(include=set(AHEAD)).values()) == {0}
    spent = total(found)
    wasted = sum(
        d.action == "regenerate" and d.weak is not None and d.step < 5 and d.weak.stop == "separator"
        for r in found
        for d in r.decisions
    )
    if not rule.needs_score:
        assert weak.asked == sum(len(r.decisions) for r in found), "nothing to do ahead where no score is awaited"
        return
    assert wasted > 10
    assert weak.asked == sum(len(r.decisions) for r in found) + wasted
    assert weak.spent == Usage(
        spent.weak_read + spent.weak_ahead_read,
        spent.weak_cached + spent.weak_ahead_cached,
        spent.weak_kept + spent.weak_discarded + spent.weak_ahead,
    ), "every token that was told of is counted once"
    if weak_s != prm_s:
        assert weak.broken_off == (wasted if weak_s > prm_s else 0)
    assert (spent.weak_ahead > 0) == (weak.broken_off < wasted)
    for record in found:
        assert sum((item.tokens for item in record.decisions), TokenCounts()) == record.terminal.tokens


def test_it_saves_the_shorter_of_the_two() -> None:
    async def seconds(overlap: bool) -> float:
        models, _ = timed(weak_s=0.02, prm_s=0.02)
        began = asyncio.get_running_loop().time()
        kept = ThresholdRule(threshold=0.01)
        await solve_all(dummy_problems(1), Routing(kept).start, models, steps.append, overlap=overlap)
        return asyncio.get_running_loop().time() - began

    steps: list[SolutionRecord] = []
    off, on = asyncio.run(seconds(False)), asyncio.run(seconds(True))
    n = len(steps[0].decisions)
    assert n >= 3
    assert off - on > 0.02 * (n - 1) * 0.5


@pytest.mark.parametrize("in_flight", [1, 7, 64])
def test_batches(in_flight: int) -> None:
    expected = solve(dummy_models())
    found = solve(dummy_models(), overlap=True, in_flight=in_flight)
    assert results(found) == results(expected)
    assert total(found).weak_ahead > 0


@pytest.mark.parametrize("caps", [Caps(max_steps=3), Caps(max_step_tokens=9, max_strong_tokens=12, degenerate_steps=1)])
def test_caps(caps: Caps) -> None:
    assert results(solve(dummy_models(), caps=caps, overlap=True)) == results(solve(dummy_models(), caps=caps))


@pytest.mark.parametrize("on_failure", ["fail", "weak", "strong"])
@pytest.mark.parametrize("batch", [True, False])
def test_failures(on_failure: Any, batch: bool) -> None:
    """Drafts that fail ahead of time are asked again, and so fail then as they would have; errors count calls."""

    def models() -> Models:
        weak = DummyGenerator(WORLD, "weak", Faults(probability=0.03))
        strong, prm = (
            DummyGenerator(WORLD, "strong", Faults(probability=0.1)),
            DummyScorer(WORLD, Faults(probability=0.05)),
        )
        return batched(weak, strong, prm) if batch else Models(weak, strong, prm)

    def told(records: list[SolutionRecord]) -> dict[str, Any]:
        plain = []
        for record in records:
            end = record.terminal
            fallback = end.fallback and end.fallback.model_copy(update={"error": "?"})
            error = end.error and "?"
            plain.append(replace(record, terminal=end.model_copy(update={"error": error, "fallback": fallback})))
        return results(plain)

    caps = Caps(on_failure=on_failure)
    expected, found = solve(models(), 120, caps=caps), solve(models(), 120, caps=caps, overlap=True)
    assert len(found) == 120
    assert told(found) == told(expected)
    assert any(record.terminal.error or record.terminal.fallback for record in found)


def test_a_draft_that_fails_ahead_of_time_is_asked_again() -> None:
    """The second request of the weak model fails, whatever it is for."""
    failing = Faults(calls=frozenset({1}))
    models = Models(DummyGenerator(WORLD, "weak", failing), DummyGenerator(WORLD, "strong"), DummyScorer(WORLD))
    (found,) = solve(models, 1, rule=ThresholdRule(threshold=0.01), overlap=True)
    assert failing.count > 2
    assert found.terminal.error is None


def test_a_score_that_fails_ends_the_draft_too() -> None:
    models, weak = timed(weak_s=0.05, prm_s=0.0)
    models = replace(models, prm=DummyScorer(WORLD, Faults(probability=1.0)))
    out = solve(models, 5, overlap=True)
    assert {record.terminal.reason for record in out} == {"error"}
    assert (weak.asked, weak.broken_off, weak.under_way) == (10, 5, 0)


def test_what_ends_the_run_leaves_nothing_under_way() -> None:
    models, weak = timed(weak_s=0.0, prm_s=0.02)

    def full(record: SolutionRecord) -> None:
        raise OSError("disk full")

    weak_alone = Models(weak, None, models.prm)
    with pytest.raises(SetupError, match="no strong model"):
        solve(weak_alone, rule=ThresholdRule(threshold=1.0), overlap=True)
    assert weak.under_way == 0
    weak.delay_s = 0.05

    async def main() -> None:
        with pytest.raises(OSError, match="disk full"):
            await solve_all(dummy_problems(40), Routing(RULE).start, models, full, overlap=True)
        assert weak.under_way == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_ctrl_c_leaves_nothing_under_way() -> None:
    models, weak = timed(weak_s=10.0, prm_s=10.0)

    async def main() -> None:
        task = asyncio.create_task(
            solve_all(dummy_problems(3), Routing(RULE).start, models, lambda _: None, overlap=True)
        )
        weak.delay_s = 0.0  # of the first step
        await asyncio.sleep(0.01)
        weak.delay_s = 10.0
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert weak.under_way == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_the_router_failing_is_told_and_the_draft_counted() -> None:
    class Broken(ThresholdRule):
        form: str = "broken ahead"

        def router(self, problem: Any, **options: Any) -> Any:
            made = super().router(problem)

            def decide(seen: Any) -> Any:
                raise ZeroDivisionError("mine")

            made.decide = decide  # type: ignore[method-assign]
            return made

    models, weak = timed(weak_s=0.0, prm_s=0.005)
    out = solve(models, 3, rule=Broken(threshold=0.5), overlap=True)
    assert {record.terminal.error for record in out} == {"ZeroDivisionError: mine"}
    spent = total(out)
    assert spent.weak_discarded + spent.weak_ahead == weak.spent.output
    assert spent.weak_ahead > 0


def test_runs_resume_and_replay_with_or_without(tmp_path: Path) -> None:
    def route(folder: Path, models: Models, **options: Any) -> Any:
        routing = Routing(RULE, oracle=dummy_oracle)
        return run(dummy_problems(30), routing.start, models, folder, config=routing.config, **options)

    from trim_pomdp.runtime.traces import read_traces

    first = route(tmp_path / "on", dummy_models(), overlap=True)
    assert first.tokens["weak_ahead"] > 0
    trace = tmp_path / "on" / "traces.jsonl"
    trace.write_bytes(trace.read_bytes()[:9000])
    route(tmp_path / "on", dummy_models(), resume=True)
    live = list(read_traces(tmp_path / "on"))
    assert results(live) == results(solve(dummy_models(), 30))
    again = solve(replay_models(live), 30, overlap=True)
    assert results(again) == results(live), "drafts that nobody wrote down are done without"


# The strong model reads ahead ---------------------------------------------------------------------------------------


@dataclass
class Warmed(Timed):
    """A strong model with a prefix cache: what was read stays known."""

    known: set[tuple[str, ...]] = field(default_factory=set)
    warm_s: float = 0.0
    warmed: list[tuple[str, ...]] = field(default_factory=list)
    fails: bool = False

    async def warm(self, request: StepRequest) -> Usage:
        await asyncio.sleep(self.warm_s)
        if self.fails:
            raise ConnectionError("cold")
        self.warmed.append(request.steps)
        return Usage(10 * (len(request.steps) + 1), 0, 1)


@pytest.mark.parametrize("overlap", [True, False])
def test_the_strong_model_reads_while_a_score_is_awaited(overlap: bool) -> None:
    expected = solve(timed(weak_s=0.0, prm_s=0.0)[0])
    models, _ = timed(weak_s=0.0, prm_s=0.005)
    strong = Warmed(DummyGenerator(WORLD, "strong"), 0.0)
    found = solve(replace(models, strong=strong), warm_strong=True, overlap=overlap)
    assert results(found) == results(expected)
    spent = total(found)
    decisions = sum(len(record.decisions) for record in found)
    assert spent.strong_ahead == len(strong.warmed) == decisions
    assert spent.strong_ahead_read == sum(10 * (len(steps) + 1) for steps in strong.warmed)
    assert (spent.weak_ahead > 0) == overlap


@pytest.mark.parametrize(("warm_s", "fails"), [(10.0, False), (0.0, True)])
def test_reading_ahead_that_is_late_or_fails_changes_nothing(warm_s: float, fails: bool) -> None:
    models, _ = timed(weak_s=0.0, prm_s=0.001)
    strong = Warmed(DummyGenerator(WORLD, "strong"), 0.0, warm_s=warm_s, fails=fails)
    found = solve(replace(models, strong=strong), 10, warm_strong=True)
    assert results(found) == results(solve(timed(weak_s=0.0, prm_s=0.0)[0], 10))
    assert total(found).strong_ahead == 0


def test_a_strong_model_that_cannot_read_ahead_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be made to read without writing"):
        solve(dummy_models(), warm_strong=True)
    weak = Models(DummyGenerator(WORLD, "weak"))
    assert len(solve(weak, 3, rule=StrategyRule(strategy="weak"), warm_strong=True)) == 3, "it is never asked"


@pytest.mark.parametrize("instructed", [True, False])
def test_openai_servers_read_what_they_will_be_asked_to_continue(instructed: bool) -> None:
    from trim_pomdp.runtime.backends.openai import OpenAIGenerator

    class Server:
        def __init__(self) -> None:
            self.asked: list[Any] = []

        async def ask(self, question: Any) -> Reply:
            self.asked.append(question)
            return Reply("a", "length", (), Usage(30, 20, 1))

    server = Server()
    model = OpenAIGenerator(server, "strong", instructed=instructed)  # type: ignore[arg-type]
    request = StepRequest(dummy_problems(1)[0], ("one", "two"), 0, 99)
    assert asyncio.run(model.warm(request)) == Usage(30, 20, 1)
    asyncio.run(model.generate(request))
    read, written = server.asked[:2]
    assert read.messages == written.messages
    assert (read.max_tokens, written.max_tokens) == (1, 99)
