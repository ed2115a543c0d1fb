"""Run folders: what is written, what is recovered, what is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted import OBSERVATIONS, alpha_rule, by_problem, dummy_models

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.policies import Rule, StrategyRule, ThresholdRule
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import DummyScorer, Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.backends.replay import replay_models
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.records import DecisionRecord, SolutionRecord, TokenCounts
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.summary import RunSummary, summarise
from trim_pomdp.runtime.traces import TraceWriter, read_run_artifact, read_traces

RULE = ThresholdRule(threshold=0.5)


def route(folder: Path, n: int = 20, *, models: Models | None = None, rule: Rule = RULE, **options: Any) -> RunSummary:
    names = ("seed", "caps", "record_scores")
    routing = Routing(
        rule,
        class_table=OBSERVATIONS.class_table,
        oracle=dummy_oracle,
        **{k: options.pop(k) for k in names if k in options},
    )
    models = models or dummy_models()
    return run(dummy_problems(n), routing.start, models, folder, config=routing.config, **options)


def totals(summary: RunSummary) -> tuple[object, ...]:
    return (summary.problems, summary.accuracy, summary.strong_tokens, summary.tokens, summary.reasons)


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "traces.jsonl").read_text().splitlines()]


def test_what_is_written(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    summary = route(tmp_path / "run", 20, progress=lambda done, n, end: told.append((done, n, end.problem)))
    assert [item[:2] for item in told] == [(i + 1, 20) for i in range(20)]
    records = list(read_traces(tmp_path / "run"))
    assert [record.terminal.problem for record in records] == [item[2] for item in told]
    assert sum(len(record.decisions) for record in records) == summary.decisions
    assert len(lines(tmp_path / "run")) == summary.decisions + 20
    for record in records:
        assert [d.step for d in record.decisions] == list(range(record.terminal.steps))
        assert {d.problem for d in record.decisions} == {record.terminal.problem}
        assert {d.policy_hash for d in record.decisions} == {RULE.policy_hash}
        assert sum((d.tokens for d in record.decisions), TokenCounts()) == record.terminal.tokens
        assert all(d.weak is not None and d.weak.true_class is not None for d in record.decisions)
    assert summary == summarise([record.terminal for record in records])
    assert read_run_artifact(tmp_path / "run").config["problems"]["count"] == 20
    assert summary.wall_s > 0
    assert 0 < summary.overhead_share < 1


def test_an_existing_folder_is_refused_and_an_absent_one_starts_afresh(tmp_path: Path) -> None:
    route(tmp_path / "a" / "b", 5, resume=True)
    before = (tmp_path / "a" / "b" / "traces.jsonl").read_bytes()
    with pytest.raises(InputError, match="exists; resume the run"):
        route(tmp_path / "a" / "b", 5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="exists; resume the run"):
        route(tmp_path / "empty", 5)
    assert (tmp_path / "a" / "b" / "traces.jsonl").read_bytes() == before
    assert route(tmp_path / "empty", 5, resume=True).problems == 5, "killed before anything was written"


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    first = route(tmp_path / "run")
    before = (tmp_path / "run" / "traces.jsonl").read_bytes()
    again = route(tmp_path / "run", resume=True, models=Models(weak=None))  # type: ignore[arg-type]
    assert again == first
    assert (tmp_path / "run" / "traces.jsonl").read_bytes() == before


@pytest.mark.parametrize("where", ["mid-line", "after a decision", "before the newline", "nul bytes"])
def test_half_written_ends_are_cut_off(tmp_path: Path, where: str) -> None:
    whole = route(tmp_path / "whole")
    route(tmp_path / "run")
    path = tmp_path / "run" / "traces.jsonl"
    content = path.read_bytes()
    ends = [i for i, line in enumerate(lines(tmp_path / "run")) if line["kind"] == "terminal"]
    rows = content.splitlines(keepends=True)
    kept = b"".join(rows[: ends[9] + 1])
    torn = {
        "mid-line": kept + rows[ends[9] + 1][:50],
        "after a decision": kept + rows[ends[9] + 1],
        "before the newline": b"".join(rows[: ends[10] + 1])[:-1],
        "nul bytes": kept + bytes(100),
    }[where]
    path.write_bytes(torn)
    assert len(list(read_traces(tmp_path / "run"))) == 10, "readers pass over it"
    before = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    resumed = route(tmp_path / "run", resume=True)
    assert path.read_bytes().startswith(kept)
    assert totals(resumed) == totals(whole)
    after = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    assert after[:10] == before
    assert len(after) == len(set(after)) == 20
    sessions = [record.terminal.session for record in read_traces(tmp_path / "run")]
    assert sessions == [0] * 10 + [1] * 10
    last = {record.terminal.session: record.terminal.elapsed_s for record in read_traces(tmp_path / "run")}
    assert resumed.wall_s == pytest.approx(sum(last.values()))


@pytest.mark.parametrize("garbage", [b"garbage\n", b'{"kind": "terminal"}\n', b'{"kind": "other"}\n', b"\n", b"[]\n"])
@pytest.mark.parametrize("at", [3, None])
def test_whole_lines_that_are_no_records_are_refused(tmp_path: Path, garbage: bytes, at: int | None) -> None:
    route(tmp_path / "run")
    path = tmp_path / "run" / "traces.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    at = len(rows) if at is None else at
    path.write_bytes(b"".join([*rows[:at], garbage, *rows[at:]]))
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"traces.jsonl, line {at + 1}: no trace record"):
        route(tmp_path / "run", resume=True)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match=f"line {at + 1}"):
        list(read_traces(tmp_path / "run"))


def test_another_configuration_is_refused_and_named(tmp_path: Path) -> None:
    route(tmp_path / "run", 5)
    with pytest.raises(InputError, match="its seed is 0, now 1"):
        route(tmp_path / "run", 5, seed=1, resume=True)
    with pytest.raises(InputError, match=r"its problems.count is 5, now 6"):
        route(tmp_path / "run", 6, resume=True)
    with pytest.raises(InputError, match="its policy is"):
        route(tmp_path / "run", 5, rule=ThresholdRule(threshold=0.6), resume=True)
    with pytest.raises(InputError, match="its models is 'unset', now 'x'"):
        TraceWriter(tmp_path / "run", {**read_run_artifact(tmp_path / "run").config, "models": "x"}, resume=True)
    assert route(tmp_path / "run", 5, resume=True).problems == 5


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds no run \(run.json is absent, thesis.tex is there\)"):
        route(tmp_path / "other", resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        route(tmp_path / "file", resume=True)
    with pytest.raises(InputError, match="cannot be read"):
        list(read_traces(tmp_path / "absent"))


def test_one_writer_a_folder_even_from_another_process(tmp_path: Path) -> None:
    config = {"a": 1}
    code = (
        "import sys, time; from trim_pomdp.runtime.traces import TraceWriter\n"
        "w = TraceWriter(sys.argv[1], {'a': 1}); print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(InputError, match=rf"another process \({other.pid}\) writes"):
            TraceWriter(tmp_path / "run", config, resume=True)
    finally:
        other.kill()
        other.wait()
    with TraceWriter(tmp_path / "run", config, resume=True) as writer:  # the lock died with it
        with pytest.raises(InputError, match=rf"another process \({os.getpid()}\) writes"):
            TraceWriter(tmp_path / "run", config, resume=True)
        assert writer.terminals == []
    TraceWriter(tmp_path / "run", config, resume=True).close()


def test_a_refused_writer_lets_go_of_the_lock(tmp_path: Path) -> None:
    TraceWriter(tmp_path / "run", {"a": 1}).close()
    for _ in range(2):
        with pytest.raises(InputError, match="its a is 1, now 2"):
            TraceWriter(tmp_path / "run", {"a": 2}, resume=True)
    TraceWriter(tmp_path / "run", {"a": 1}, resume=True).close()


def test_ctrl_c_leaves_a_whole_trace(tmp_path: Path) -> None:
    whole = route(tmp_path / "whole", 60)

    def interrupt(done: int, n: int, end: object) -> None:
        if done == 13:
            os.kill(os.getpid(), signal.SIGINT)

    # A shell lets what it starts in the background ignore Ctrl-C, the tests included.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            route(tmp_path / "run", 60, progress=interrupt, in_flight=4)
    finally:
        signal.signal(signal.SIGINT, before)
    done = len(list(read_traces(tmp_path / "run")))
    assert 13 <= done < 30
    assert totals(route(tmp_path / "run", 60, resume=True)) == totals(whole)


def test_distinct_ids(tmp_path: Path) -> None:
    problems = [*dummy_problems(3), Problem("dummy-1", "again")]
    with pytest.raises(InputError, match="2 problems have the id 'dummy-1'"):
        run(problems, Routing(RULE).start, dummy_models(), tmp_path / "run", config={})
    assert not (tmp_path / "run").exists()


def test_failed_problems_are_counted_and_not_repeated(tmp_path: Path) -> None:
    faulty = dummy_models(prm=Faults(problems=frozenset({"dummy-2", "dummy-7"})))
    summary = route(tmp_path / "run", models=faulty)
    assert summary.failed == summary.reasons["error"] == 2
    assert route(tmp_path / "run", resume=True) == summary


# Replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "record_scores"),
    [
        (RULE, False),
        (alpha_rule(), True),
        (StrategyRule(strategy="strong"), True),
        (StrategyRule(strategy="random", probability=0.5), False),
    ],
    ids=["threshold", "alpha", "strong", "random"],
)
def test_a_replay_gives_the_same_trace(tmp_path: Path, rule: Rule, record_scores: bool) -> None:
    route(tmp_path / "live", rule=rule, record_scores=record_scores)
    live = list(read_traces(tmp_path / "live"))
    route(tmp_path / "again", rule=rule, record_scores=record_scores, models=replay_models(live))
    again = list(read_traces(tmp_path / "again"))
    assert len(again) == 20
    assert by_problem(again) == by_problem(live)


@pytest.mark.parametrize("on_failure", ["weak", "strong"])
def test_a_replay_goes_on_alone_where_the_run_did(tmp_path: Path, on_failure: Any) -> None:
    caps = Caps(on_failure=on_failure)
    often = {"prm": 0.15, "weak": 0.2, "strong": 0.2, on_failure: 0.05}
    faulty = dummy_models(**{role: Faults(probability=share) for role, share in often.items()})
    first = route(tmp_path / "live", 60, models=faulty, caps=caps, record_scores=True)
    live = list(read_traces(tmp_path / "live"))
    assert first.alone >= 10
    assert first.given_up is not None
    assert first.given_up.startswith("DummyError: ")
    assert any(record.terminal.fallback and record.terminal.error for record in live)
    assert route(tmp_path / "live", 60, caps=caps, record_scores=True, resume=True) == first
    again = route(tmp_path / "again", 60, models=replay_models(live), caps=caps, record_scores=True)
    assert totals(again) == totals(first)
    assert (again.alone, again.failed) == (first.alone, first.failed)
    replayed = {record.terminal.problem: record for record in read_traces(tmp_path / "again")}
    for record in live:
        other = replayed[record.terminal.problem]
        assert [timeless_decision(item) for item in other.decisions] == [timeless_decision(d) for d in record.decisions]
        mine, theirs = record.terminal.fallback, other.terminal.fallback
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert theirs == mine.model_copy(update={"error": theirs.error})  # a trace does not hold what was not said


def timeless_decision(item: DecisionRecord) -> dict[str, Any]:
    return item.model_dump(exclude={"weak": {"seconds"}, "strong": {"seconds"}, "scoring": {"seconds"}})


def test_what_was_not_recorded_is_an_error(tmp_path: Path) -> None:
    route(tmp_path / "live", rule=StrategyRule(strategy="weak"))
    models = replay_models(read_traces(tmp_path / "live"))
    summary = route(tmp_path / "more", rule=StrategyRule(strategy="strong"), models=models)
    assert summary.failed == 20
    errors = {record.terminal.error for record in read_traces(tmp_path / "more")}
    assert "NotRecordedError: problem 'dummy-3': the trace holds no strong step 0 after these steps" in errors
    route(tmp_path / "scored", models=models)
    errors = {record.terminal.error for record in read_traces(tmp_path / "scored")}
    assert "NotRecordedError: problem 'dummy-3': the trace holds no score of step 0 after these steps" in errors


def test_the_world_is_not_asked_in_a_replay(tmp_path: Path) -> None:
    route(tmp_path / "live")
    live = list(read_traces(tmp_path / "live"))
    changed = [record for record in live if record.terminal.problem != "dummy-4"]
    summary = route(tmp_path / "again", models=replay_models(changed))
    assert summary.failed == 1


# Totals -----------------------------------------------------------------------------------------------------------


def test_totals_by_hand(tmp_path: Path) -> None:
    summary = route(tmp_path / "run", strong_only_tokens=50.0)
    ends = [record.terminal for record in read_traces(tmp_path / "run")]
    right = [end.correct for end in ends]
    p = sum(map(bool, right)) / 20
    assert summary.accuracy == pytest.approx(p)
    assert summary.accuracy_se == pytest.approx((p * (1 - p) / 19) ** 0.5)
    assert summary.strong_tokens == pytest.approx(sum(end.tokens.strong for end in ends) / 20)
    assert summary.budget == pytest.approx(summary.strong_tokens / 50)
    assert summary.budget_se == pytest.approx((summary.strong_tokens_se or 0) / 50)
    assert summary.regenerations == pytest.approx(sum(end.regenerations for end in ends) / 20)
    assert set(summary.tokens) == set(TokenCounts.model_fields)
    assert summary.tokens["scored"] == sum(end.tokens.scored for end in ends) > 0


def test_totals_of_few_problems() -> None:
    assert summarise([]).accuracy is None
    assert summarise([]).strong_tokens == 0.0


def test_decision_records_refuse_what_is_not_theirs() -> None:
    with pytest.raises(ValueError, match="extra"):
        DecisionRecord(problem="p", step=0, tokens=TokenCounts(), policy_hash="x", more=1)  # type: ignore[call-arg]


def test_scores_of_dummies_do_not_depend_on_what_comes_later() -> None:
    from scripted import WORLD

    from trim_pomdp.runtime.protocols import ScoreRequest

    problem = dummy_problems(1)[0]
    steps = ("0 weak right 0.5", "1 weak wrong 0.25", "2 strong right 0.125")
    whole = DummyScorer(WORLD).score_batch([ScoreRequest(problem, steps)])[0].scores
    for n in (1, 2):
        assert DummyScorer(WORLD).score_batch([ScoreRequest(problem, steps[:n])])[0].scores == whole[:n]


# What goes wrong on people's machines ------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_the_run_goes_on(tmp_path: Path) -> None:
    whole = route(tmp_path / "whole")
    config = {"seed": 1}
    records = list(read_traces(tmp_path / "whole"))
    with pytest.raises(TrimError, match=r"traces\.jsonl: cannot be written \(No space left.*make room and --resume"):
        fill_the_disk(tmp_path / "run", config, records)
    with TraceWriter(tmp_path / "run", config, resume=True) as writer:
        assert [item.problem for item in writer.terminals] == [records[0].terminal.problem]
        for record in records[1:]:
            writer.append(record)
    assert len(list(read_traces(tmp_path / "run"))) == whole.problems


def fill_the_disk(folder: Path, config: dict[str, int], records: list[SolutionRecord]) -> None:
    with TraceWriter(folder, config) as writer:
        writer.append(records[0])
        writer._stream.write(b'{"half": "a li')
        with open("/dev/full", "wb", buffering=0) as full:
            os.dup2(full.fileno(), writer._stream.fileno())
        writer.append(records[1])


def test_a_prompt_of_ten_megabytes_is_one_failed_problem(tmp_path: Path) -> None:
    problems = [*dummy_problems(5), Problem("long", "x" * 10_000_000, "1")]
    summary = run(problems, Routing(RULE).start, dummy_models(), tmp_path / "run", config={})
    assert (summary.problems, summary.failed) == (6, 1)
    assert summary.error is not None
    assert "the prompt has 10000000 characters; [limits] max_prompt_characters is 200000" in summary.error
    assert summary.tokens["strong"] > 0
