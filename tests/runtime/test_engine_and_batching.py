"""Scheduling, batches and faults, on dummy models."""

import ast
import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripted import WORLD, alpha_rule, by_problem, dummy_models, step

import trim_pomdp.runtime
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.policies import Decision, Rule, StepObservation, StrategyRule, ThresholdRule
from trim_pomdp.policies.base import Router, SetupError
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.batching import Batcher, batched
from trim_pomdp.runtime.engine import ModelClock, Models, solve_all
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest
from trim_pomdp.runtime.records import SolutionRecord, TokenCounts
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.summary import summarise

RULE = ThresholdRule(threshold=0.5)


def solve(models: Models, n: int = 40, *, rule: Rule = RULE, in_flight: int = 16, **options) -> list[SolutionRecord]:  # type: ignore[no-untyped-def]
    out: list[SolutionRecord] = []
    routing = Routing(rule, oracle=dummy_oracle, **options)
    asyncio.run(solve_all(dummy_problems(n), routing.start, models, out.append, in_flight=in_flight))
    return out


def unbatched(**options) -> Models:  # type: ignore[no-untyped-def]
    return Models(
        DummyGenerator(WORLD, "weak", **options),
        DummyGenerator(WORLD, "strong", **options),
        DummyScorer(WORLD, **options),
    )


@pytest.mark.parametrize("rule", [RULE, alpha_rule(), StrategyRule(strategy="random", probability=0.4)], ids=repr)
def test_nothing_depends_on_how_many_are_in_flight_or_on_batching(rule: Rule) -> None:
    one = by_problem(solve(dummy_models(), rule=rule, in_flight=1))
    assert len(one) == 40
    for in_flight in (7, 64):
        assert by_problem(solve(dummy_models(), rule=rule, in_flight=in_flight)) == one
    assert by_problem(solve(unbatched(), rule=rule)) == one
    assert by_problem(solve(dummy_models(), rule=rule, seed=1)) != one


def test_so_many_are_in_flight() -> None:
    class Counting:
        now = most = 0

        async def generate(self, request: StepRequest) -> GeneratedStep:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            return step(r"\boxed{42}")

    weak = Counting()
    assert len(solve(Models(weak), rule=StrategyRule(strategy="weak"), in_flight=7)) == 40
    assert weak.most == 7
    with pytest.raises(InputError, match="in_flight is 0"):
        solve(Models(weak), in_flight=0)


# Batches ----------------------------------------------------------------------------------------------------------


class Recording:
    """Batch models that remember who was asked for how many."""

    def __init__(self, fails_on: frozenset[str] = frozenset(), short: bool = False) -> None:
        self.batches: list[tuple[str, int]] = []
        self.threads: set[int] = set()
        self.fails_on, self.short = fails_on, short

    def model(self, author: str) -> "RecordingModel":
        return RecordingModel(self, author)


class RecordingModel:
    def __init__(self, log: Recording, author: str) -> None:
        self._log, self._author = log, author

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        self._note(requests)
        replies = [WORLD.write(request, self._author) for request in requests]  # type: ignore[arg-type]
        return replies[:-1] if self._log.short else replies

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        self._note(requests)
        return [WORLD.score(request) for request in requests]

    def _note(self, requests: Sequence[StepRequest | ScoreRequest]) -> None:
        self._log.batches.append((self._author, len(requests)))
        self._log.threads.add(threading.get_ident())
        if any(request.problem.id in self._log.fails_on for request in requests):
            raise MemoryError("too much")


def recorded(log: Recording) -> Models:
    return batched(log.model("weak"), log.model("strong"), log.model("prm"))


def test_batches_are_large_and_the_longest_queue_goes_first() -> None:
    log = Recording()
    solve(recorded(log), 64, in_flight=64)
    assert log.batches[:2] == [("weak", 64), ("prm", 64)]
    # After the first scores some wait for the strong model and some for the weak one; more for the latter.
    strong = next(i for i, (who, _) in enumerate(log.batches) if who == "strong")
    assert log.batches[2][0] == "weak"
    assert log.batches[2][1] > 32
    assert log.batches[strong][1] > 64 - log.batches[2][1], "the strong queue waited to become the longest"
    requests = sum(size for _, size in log.batches)
    assert requests / len(log.batches) > 15
    assert len(log.threads) == 1
    assert threading.get_ident() not in log.threads


def test_only_the_culprit_of_a_failing_batch_fails() -> None:
    log = Recording(frozenset({"dummy-3", "dummy-8"}))
    clean = by_problem(solve(dummy_models()))
    out = solve(recorded(log))
    failed = {record.terminal.problem for record in out if record.terminal.reason == "error"}
    assert failed == {"dummy-3", "dummy-8"}
    assert {k: v for k, v in by_problem(out).items() if k not in failed} == {
        k: v for k, v in clean.items() if k not in failed
    }
    assert {record.terminal.error for record in out if record.terminal.error} == {"MemoryError: too much"}


def test_a_model_that_loses_replies_fails_its_requests() -> None:
    out = solve(recorded(Recording(short=True)), 3)
    assert {record.terminal.error for record in out} == {"RuntimeError: 0 replies to 1 requests"}


def test_a_batcher_serves_one_event_loop_after_another() -> None:
    models = dummy_models()
    assert len(solve(models)) == len(solve(models)) == 40


def test_requests_given_up_are_not_answered() -> None:
    log = Recording()
    batcher = Batcher()
    weak, prm = batcher.generator(log.model("weak")), batcher.scorer(log.model("prm"))

    async def main() -> None:
        problem = Problem("p", "?")
        asks = [asyncio.create_task(weak.generate(StepRequest(problem, (), 0, 99))) for _ in range(3)]
        await asyncio.sleep(0)
        asks[0].cancel()
        await asyncio.gather(*asks, return_exceptions=True)
        await prm.score(ScoreRequest(problem, ("0 weak right 0.1",)))

    asyncio.run(main())
    assert log.batches == [("weak", 2), ("prm", 1)]


# Faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [True, False])
def test_random_faults_end_their_problems_and_leave_the_rest_alone(batch: bool) -> None:
    clean = by_problem(solve(dummy_models(), 120))
    faults = [Faults(probability=p) for p in (0.02, 0.03, 0.02)]
    if batch:
        models = dummy_models(weak=faults[0], strong=faults[1], prm=faults[2])
    else:
        models = Models(
            DummyGenerator(WORLD, "weak", faults[0]),
            DummyGenerator(WORLD, "strong", faults[1]),
            DummyScorer(WORLD, faults[2]),
        )
    out = solve(models, 120)
    assert len(out) == len(by_problem(out)) == 120, "one record each"
    failed = [record for record in out if record.terminal.reason == "error"]
    assert 2 <= len(failed) <= 60
    for record in failed:
        assert record.terminal.error is not None
        assert record.terminal.error.startswith("DummyError: call ")
        assert "\n" not in record.terminal.error
        assert record.terminal.correct is False
    names = {record.terminal.problem for record in failed}
    assert {k: v for k, v in by_problem(out).items() if k not in names} == {
        k: v for k, v in clean.items() if k not in names
    }


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("on_failure", ["weak", "strong"])
def test_random_faults_leave_problems_to_one_model(batch: bool, on_failure: str) -> None:
    clean = by_problem(solve(dummy_models(), 200))
    often = {"prm": 0.05, "weak": 0.08, "strong": 0.2, on_failure: 0.02}
    faults = {role: Faults(probability=share) for role, share in often.items()}
    models = dummy_models(**faults)
    if not batch:
        models = Models(
            DummyGenerator(WORLD, "weak", faults["weak"]),
            DummyGenerator(WORLD, "strong", faults["strong"]),
            DummyScorer(WORLD, faults["prm"]),
        )
    out = solve(models, 200, caps=Caps(on_failure=on_failure))  # type: ignore[arg-type]
    assert len(out) == len(by_problem(out)) == 200, "one record each"
    ends = {record.terminal.problem: record.terminal for record in out}
    alone = {name for name, end in ends.items() if end.fallback and end.error is None}
    failed = {name for name, end in ends.items() if end.error is not None}
    assert len(alone) > 15
    assert failed, "where the model that goes on fails"
    assert {ends[name].fallback.given_up for name in alone} == {"prm", "strong" if on_failure == "weak" else "weak"}  # type: ignore[union-attr]
    assert {k: v for k, v in by_problem(out).items() if k not in alone | failed} == {
        k: v for k, v in clean.items() if k not in alone | failed
    }
    for record in out:
        fallback = record.terminal.fallback
        if fallback is None:
            continue
        assert fallback.error.startswith("DummyError: call ")
        later = record.decisions[fallback.step :]
        assert all(item.fallback and item.author in (on_failure, None) for item in later)
        assert sum((item.tokens for item in record.decisions), TokenCounts()) == record.terminal.tokens
    summary = summarise([record.terminal for record in out])
    assert (summary.problems, summary.alone, summary.failed) == (200, len(alone), len(failed))
    # Had nothing failed, the weak model alone would have written the same steps to the end.
    if on_failure == "weak":
        texts = {r.terminal.problem: r for r in solve(dummy_models(), 200, rule=StrategyRule(strategy="weak"))}
        for record in out:
            if record.terminal.problem in alone and record.terminal.regenerations == 0:
                assert steps_of(record) == steps_of(texts[record.terminal.problem])


def steps_of(record: SolutionRecord) -> list[str]:
    return [item.accepted.text for item in record.decisions if item.accepted]


def test_what_is_wrong_with_the_router_is_no_failure_of_a_model() -> None:
    class Broken(ThresholdRule):
        form: str = "broken"

        def router(self, problem: Problem, **options: object) -> Router:
            made = super().router(problem)

            def decide(seen: StepObservation) -> Decision:
                raise ZeroDivisionError("mine")

            made.decide = decide  # type: ignore[method-assign]
            return made

    out = solve(dummy_models(), 3, rule=Broken(threshold=0.5), caps=Caps(on_failure="weak"))
    assert {(record.terminal.error, record.terminal.fallback) for record in out} == {("ZeroDivisionError: mine", None)}


def test_the_nth_call_fails() -> None:
    out = solve(dummy_models(weak=Faults(calls=frozenset({0}))), 3, in_flight=1)
    # The batch of one is not tried again.
    assert [record.terminal.reason for record in out] == ["error", "answer", "answer"]


def test_what_finished_raises_ends_the_run() -> None:
    def full(record: SolutionRecord) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(solve_all(dummy_problems(40), Routing(RULE).start, unbatched(delay_s=0.001), full))


@pytest.mark.parametrize(
    ("models", "rule", "message"),
    [
        (Models(DummyGenerator(WORLD, "weak")), RULE, "no PRM"),
        (Models(DummyGenerator(WORLD, "weak")), StrategyRule(strategy="strong"), "no strong model"),
    ],
)
def test_a_missing_model_ends_the_run(models: Models, rule: Rule, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        solve(models, rule=rule)


def test_the_oracle_needs_truth() -> None:
    with pytest.raises(SetupError, match="true classes"):
        Routing(StrategyRule(strategy="oracle"))


def test_caps_hold_over_a_run() -> None:
    caps = Caps(max_steps=4, max_step_tokens=9, max_strong_tokens=12)
    out = solve(dummy_models(), caps=caps)
    assert max(record.terminal.tokens.strong for record in out) == 12
    assert max(record.terminal.steps for record in out) == 4
    assert {record.terminal.reason for record in out} >= {"answer", "step cap"}
    assert any(decision.capped for record in out for decision in record.decisions)


# Time -------------------------------------------------------------------------------------------------------------


def test_the_clock_counts_the_union() -> None:
    clock = ModelClock()
    with clock.working():
        with clock.working():
            pass
        inner = clock.seconds
        assert inner > 0
    outer = clock.seconds
    assert outer > inner
    assert clock.seconds == outer, "stands while no model works"


def test_time_waiting_for_models_is_no_overhead() -> None:
    models = unbatched(delay_s=0.01)
    asyncio.run(solve_all(dummy_problems(2), Routing(RULE).start, models, lambda _: None))
    assert models.clock.seconds > 0.01


# House ------------------------------------------------------------------------------------------------------------


def test_runtime_imports_neither_solvers_nor_torch_at_module_level() -> None:
    folder = Path(trim_pomdp.runtime.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name in ("torch_models.py", "prm.py"):  # whoever imports these wants torch
            continue
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in ("solvers", "torch", "numba"), path
                assert name not in (
                    "trim_pomdp.model.process",
                    "trim_pomdp.planning.evaluation",
                    "trim_pomdp.presets.store",
                ), path
