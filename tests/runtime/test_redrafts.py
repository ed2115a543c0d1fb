"""Steps that are drafted again, and solutions that the strong model takes over: the machine by hand, runs, replays."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import DYNAMICS, OBSERVATIONS, DraftingRouter, dummy_models, feed, scores, step, timeless

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import TrimError
from trim_pomdp.model.actions import KEEP, REGENERATE, action_named
from trim_pomdp.model.dynamics import Shares
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_tradeoff
from trim_pomdp.policies import Decision, StrategyRule, ThresholdRule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.backends.dummy import DummyWorld, dummy_oracle, dummy_problems
from trim_pomdp.runtime.backends.replay import replay_models
from trim_pomdp.runtime.protocols import ScoreRequest, StepRequest, Usage
from trim_pomdp.runtime.records import DecisionRecord, TerminalRecord, TokenCounts
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.traces import read_traces

ANSWER = r"so \boxed{7}"
REDRAFT, TAKEOVER = action_named("redraft").code, action_named("takeover").code


def drafting(*decisions: list[int | Decision], **options) -> Attempt:  # type: ignore[no-untyped-def]
    router = DraftingRouter(decisions, needs_score=options.pop("needs_score", True))
    return Attempt(Problem("p", "1 + 6?", "7"), router, **options)


def test_a_step_is_drafted_until_one_is_kept() -> None:
    item = drafting([REDRAFT, REDRAFT, KEEP], [KEEP])
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)))
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, (), 0, 512, drafts=("a",))
    feed(item, ("weak", step("b", 4)), ("prm", scores(0.2)))
    assert item.pending.request == StepRequest(item.problem, (), 0, 512, drafts=("a", "b"))
    feed(item, ("weak", step("c", 5)))
    assert item.pending.request == ScoreRequest(item.problem, ("c",)), "discarded drafts are no part of the solution"
    feed(item, ("prm", scores(0.9)))
    assert item.pending.request == StepRequest(item.problem, ("c",), 0, 512), "the next step begins with a first draft"
    feed(item, ("weak", step(ANSWER, 2, "answer")), ("prm", scores(0.9, 0.8)))
    assert item.steps == ("c", ANSWER)

    seen = item.router.seen  # type: ignore[attr-defined]
    assert [(look.step, look.draft, look.features["score"]) for look in seen] == [
        (0, 0, 0.1),
        (0, 1, 0.2),
        (0, 2, 0.9),
        (1, 0, 0.8),
    ]
    assert seen[3].features["minimum"] == 0.9, "scores of discarded drafts are not in the minimum"
    first, second = item.record.decisions
    assert [draft.weak.text for draft in first.drafts] == ["a", "b"]
    assert [draft.action for draft in first.drafts] == ["redraft", "redraft"]
    assert (first.action, first.author, first.score) == ("keep", "weak", 0.9)
    assert first.accepted == first.weak
    assert first.tokens == TokenCounts(weak_kept=5, weak_discarded=7, scored=300)
    assert second.drafts == ()
    terminal = item.record.terminal
    assert terminal.tokens == TokenCounts(weak_kept=7, weak_discarded=7, scored=500)
    assert (terminal.redrafts, terminal.regenerations, terminal.steps, terminal.correct) == (2, 0, 2, True)
    assert item.record.own_scores == (0.9, 0.8)


def test_an_earlier_draft_may_stand() -> None:
    item = drafting([REDRAFT, REDRAFT, Decision(KEEP, draft=1)], [KEEP])
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("weak", step("b", 4)), ("prm", scores(0.6)))
    feed(item, ("weak", step("c", 5)), ("prm", scores(0.2)), ("weak", step(ANSWER, 2, "answer")))
    assert item.pending is not None
    assert item.pending.request == ScoreRequest(item.problem, ("b", ANSWER))
    feed(item, ("prm", scores(0.6, 0.9)))
    first = item.record.decisions[0]
    assert first.accepted is not None
    assert (first.stands, first.accepted.text, first.action) == (1, "b", "keep")
    assert first.tokens == TokenCounts(weak_kept=4, weak_discarded=8, scored=300)
    assert item.record.own_scores == (0.6, 0.9)
    assert item.router.seen[3].features["minimum"] == 0.6  # type: ignore[attr-defined]


def test_a_draft_of_the_same_text_has_the_score_that_it_had() -> None:
    item = drafting([REDRAFT, REDRAFT, KEEP], [KEEP])
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("weak", step("b", 3)), ("prm", scores(0.3)))
    feed(item, ("weak", step("a", 3)), ("weak", step(ANSWER, 1, "answer")))  # the PRM is not asked of "a" again
    feed(item, ("prm", scores(0.1, 0.9)))
    first = item.record.decisions[0]
    assert first.score == 0.1
    assert first.tokens.scored == 200
    assert [look.features["score"] for look in item.router.seen] == [0.1, 0.3, 0.1, 0.9]  # type: ignore[attr-defined]


def test_a_redrafted_step_can_be_regenerated() -> None:
    item = drafting([REDRAFT, REGENERATE], [KEEP], oracle=lambda problem, steps: 2 if steps[-1] < "c" else 0)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("weak", step("b", 4)), ("prm", scores(0.2)))
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, (), 0, 512, drafts=("a",))
    feed(item, ("strong", step("c", 9)), ("weak", step(ANSWER, 1, "answer")), ("prm", scores(0.7, 0.9)))
    first = item.record.decisions[0]
    assert (first.action, first.author) == ("regenerate", "strong")
    assert first.tokens == TokenCounts(weak_discarded=7, strong=9, scored=200)
    assert [draft.weak.true_class for draft in first.all_drafts if draft.weak] == [2, 2]
    assert item.record.own_scores == (0.7, 0.9)
    assert (item.record.terminal.redrafts, item.record.terminal.regenerations) == (1, 1)


def test_a_taken_over_solution_is_the_strong_models_to_its_end() -> None:
    item = drafting([KEEP], [TAKEOVER])
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9)), ("weak", step("b", 4)), ("prm", scores(0.9, 0.1)))
    feed(item, ("strong", step("c", 9)), ("strong", step("d", 8)), ("strong", step(ANSWER, 2, "answer")))
    record = item.record
    assert [item.action for item in record.decisions] == ["keep", "takeover", "regenerate", "regenerate"]
    assert [item.author for item in record.decisions] == ["weak", "strong", "strong", "strong"]
    assert [item.weak is None for item in record.decisions] == [False, False, True, True]
    assert record.terminal.regenerations == 3
    assert record.terminal.tokens == TokenCounts(weak_kept=3, weak_discarded=4, strong=19, scored=300)
    assert item.steps == ("a", "c", "d", ANSWER)


def test_out_of_strong_tokens_the_weak_model_goes_on_after_a_takeover() -> None:
    item = drafting([TAKEOVER], caps=Caps(max_strong_tokens=9))
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("strong", step("c", 9)), ("weak", step(ANSWER, 2)))
    assert [item.capped for item in item.record.decisions] == [False, True]
    assert item.record.decisions[1].author == "weak"


def test_a_weak_model_that_is_given_up_at_a_further_draft() -> None:
    item = drafting([REDRAFT, KEEP], caps=Caps(on_failure="strong"))
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)))
    item.lose(RuntimeError("gone"))
    feed(item, ("strong", step(ANSWER, 4, "answer")))
    first = item.record.decisions[0]
    assert (first.action, first.weak, first.fallback) == ("regenerate", None, True)
    assert first.tokens == TokenCounts(weak_discarded=3, strong=4, scored=100), "nothing that was spent is lost"

    failing = drafting([REDRAFT, KEEP])
    feed(failing, ("weak", step("a", 3)), ("prm", scores(0.1)))
    failing.lose(RuntimeError("gone"))
    terminal = failing.record.terminal
    assert (terminal.reason, terminal.tokens) == ("error", TokenCounts(weak_discarded=3, scored=100))


def test_a_prm_that_is_given_up_at_a_further_draft() -> None:
    item = drafting([REDRAFT, KEEP], caps=Caps(on_failure="weak"))
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("weak", step("b", 4)))
    item.lose(RuntimeError("gone"))
    feed(item, ("weak", step(ANSWER, 1, "answer")))
    first = item.record.decisions[0]
    assert first.accepted is not None
    assert (first.accepted.text, first.scoring, len(first.drafts)) == ("b", None, 1)
    assert item.record.own_scores == (None, None)


def test_a_router_that_never_stops_fails_the_problem() -> None:
    item = drafting([REDRAFT] * 1000, needs_score=False)
    for number in range(63):
        item.receive(step(f"draft {number}"))
    with pytest.raises(TrimError, match="asks for more than 64 drafts of step 1"):
        item.receive(step("one more"))


def test_what_is_foreseen_is_of_the_draft_in_question() -> None:
    item = drafting([REDRAFT, KEEP], [KEEP])
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("weak", step("b", 4)))
    kept, redone = item.foreseen(KEEP), item.foreseen(REGENERATE)
    assert kept is not None
    assert redone is not None
    assert kept.request == StepRequest(item.problem, ("b",), 0, 512)
    assert (redone.role, redone.request) == ("strong", StepRequest(item.problem, (), 0, 512, drafts=("a",)))


def test_usage_of_all_drafts_is_counted() -> None:
    item = drafting([REDRAFT, KEEP])
    first = replace(step("a", 3), usage=Usage(prompt=20, cached=5, output=4))
    second = replace(step(ANSWER, 3), usage=Usage(prompt=20, cached=20, output=6))
    feed(item, ("weak", first), ("prm", scores(0.1)), ("weak", second), ("prm", scores(0.9)))
    assert item.record.terminal.tokens == TokenCounts(
        weak_kept=6, weak_discarded=4, weak_read=40, weak_cached=25, scored=200
    )


# What is drawn, and what is written down ----------------------------------------------------------------------


def test_a_first_draft_is_drawn_as_ever() -> None:
    request = StepRequest(Problem("p", "?", "7"), ("a", "b"), 0, 10)
    assert request.key("weak") == ("p", 2, "weak")
    keys = {replace(request, drafts=("x",) * n).key(role) for n in range(3) for role in ("weak", "strong")}
    assert len(keys) == 6


def test_records_of_solutions_without_redrafts_say_nothing_of_them() -> None:
    item = drafting([KEEP])
    feed(item, ("weak", step(ANSWER, 2, "answer")), ("prm", scores(0.9)))
    decision, terminal = item.record.decisions[0], item.record.terminal
    assert not {"drafts", "stands"} & set(json.loads(decision.model_dump_json()))
    assert "redrafts" not in json.loads(terminal.model_dump_json())
    assert DecisionRecord.model_validate_json(decision.model_dump_json()) == decision
    assert TerminalRecord.model_validate_json(terminal.model_dump_json()) == terminal


@pytest.mark.parametrize("draft", [None, 0])
def test_records_of_redrafts_read_as_they_were_written(draft: int | None) -> None:
    item = drafting([REDRAFT, Decision(KEEP, draft=draft)])
    feed(item, ("weak", step(ANSWER, 2)), ("prm", scores(0.1)), ("weak", step(ANSWER + "!", 3)), ("prm", scores(0.2)))
    record = item.record
    assert DecisionRecord.model_validate_json(record.decisions[0].model_dump_json()) == record.decisions[0]
    assert TerminalRecord.model_validate_json(record.terminal.model_dump_json()) == record.terminal


def test_an_action_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no action 'guess'"):
        DecisionRecord(problem="p", step=0, action="guess", tokens=TokenCounts(), policy_hash="x")


# Runs among dummies -------------------------------------------------------------------------------------------

DRAFTY = DYNAMICS.replace(
    redraft_repair=0.4, redraft_same=Shares(right=0.5, derailed=0.4, wrong=0.3), redraft_same_slope=-0.5
)
DRAFTY_WORLD = DummyWorld.of(OBSERVATIONS, DRAFTY)
RULE = RedraftRule(redraft_below=0.7, regenerate_below=0.3, max_drafts=3)


def traces_of(folder: Path, rule: RedraftRule, models=None, n: int = 200, **options):  # type: ignore[no-untyped-def]
    caps = Caps(max_steps=options.pop("max_steps", 6))
    routing = Routing(rule, seed=3, caps=caps, oracle=dummy_oracle)
    summary = run(
        dummy_problems(n), routing.start, models or dummy_models(DRAFTY_WORLD), folder, config=routing.config, **options
    )
    return summary, {item.terminal.problem: timeless(item) for item in read_traces(folder)}


def test_runs_repeat_resume_replay_and_overlap(tmp_path: Path) -> None:
    summary, whole = traces_of(tmp_path / "a", RULE)
    assert summary.redrafts > 0.2
    lines = (tmp_path / "a" / "traces.jsonl").read_text().splitlines(keepends=True)
    ended = [index for index, line in enumerate(lines) if line.startswith('{"kind":"terminal"')]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text((tmp_path / "a" / "run.json").read_text())
    (tmp_path / "b" / "traces.jsonl").write_text("".join(lines[: ended[60] + 2]))  # and a step of another problem
    assert traces_of(tmp_path / "b", RULE, resume=True)[1] == whole
    assert traces_of(tmp_path / "c", RULE, replay_models(read_traces(tmp_path / "a")))[1] == whole
    _, ahead = traces_of(tmp_path / "d", RULE, overlap=True)
    assert {name: _but_ahead(item) for name, item in ahead.items()} == {
        name: _but_ahead(item) for name, item in whole.items()
    }


def _but_ahead(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _but_ahead(item) for name, item in value.items() if "ahead" not in name}
    return tuple(map(_but_ahead, value)) if isinstance(value, tuple) else value


def test_drafts_of_the_dummies_depend_on_each_other_as_the_dynamics_say(tmp_path: Path) -> None:
    never_content = RedraftRule(redraft_below=1.0, max_drafts=4, keeps="latest")
    traces_of(tmp_path / "run", never_content, n=1500, max_steps=1)
    drafts = [item.all_drafts for record in read_traces(tmp_path / "run") for item in record.decisions]
    classes = [[draft.weak.true_class for draft in step if draft.weak is not None] for step in drafts]
    law = DRAFTY.draft_law(4, OBSERVATIONS.class_emission(DRAFTY))
    same = [[a.weak.text == b.weak.text for a, b in pairwise(step)] for step in drafts]
    for before in (1, 2, 3):
        for last in (0, 2):
            after = [i for i, c in enumerate(classes) if len(c) > before and c[before - 1] == last]
            found = np.array([classes[i][before] == 0 for i in after if not same[i][before - 1]])
            expected = law.other[0, before - 1, last, 0]
            assert len(found) > 100
            assert found.mean() == pytest.approx(expected, abs=4 * (expected * (1.0 - expected) / len(found)) ** 0.5)
    # Of the first draft by how it looked, and of what was repeated already on the whole.
    scores_of = [[draft.scoring.scores[-1] for draft in step if draft.scoring is not None] for step in drafts]
    looks = [OBSERVATIONS.bins(np.array(step)) for step in scores_of]
    compared = 0
    for c in (0, 2):
        for j in (*range(OBSERVATIONS.n_bins), -1):
            where = [i for i, of in enumerate(classes) if len(of) == 4 and of[0] == c]
            if j < 0:
                repeats = np.array([same[i][1] for i in where if same[i][0]])
            else:
                repeats = np.array([same[i][0] for i in where if looks[i][0] == j])
            expected = law.same[c, j]
            if len(repeats) > 50:
                compared += 1
                spread = (expected * (1.0 - expected) / len(repeats)) ** 0.5
                assert repeats.mean() == pytest.approx(expected, abs=4 * spread)
    assert compared > 3


@pytest.mark.parametrize("keeps", ["latest", "better"])
def test_a_rule_of_one_draft_is_a_threshold(tmp_path: Path, keeps: str) -> None:
    once = RedraftRule(redraft_below=0.5, regenerate_below=0.5, max_drafts=1, keeps=keeps)  # type: ignore[arg-type]
    summary, _ = traces_of(tmp_path / "a", once)
    other, _ = traces_of(tmp_path / "b", ThresholdRule(threshold=0.5))  # type: ignore[arg-type]
    assert summary.tokens == other.tokens
    assert (summary.accuracy, summary.regenerations) == (other.accuracy, other.regenerations)


def test_the_better_draft_stands() -> None:
    router = RedraftRule(redraft_below=0.9, regenerate_below=0.3, max_drafts=3).router(Problem("p", "?", "7"))
    item = Attempt(Problem("p", "?", "7"), router)
    feed(item, ("weak", step("a")), ("prm", scores(0.5)), ("weak", step("b")), ("prm", scores(0.7)))
    feed(item, ("weak", step("c")), ("prm", scores(0.2)), ("weak", step(ANSWER)), ("prm", scores(0.7, 0.95)))
    assert item.steps == ("b", ANSWER)


def test_rules_that_never_regenerate_ask_no_strong_model() -> None:
    assert RedraftRule(redraft_below=0.5).authors == {"weak"}
    assert RedraftRule(redraft_below=0.5, regenerate_below=0.1).authors == {"weak", "strong"}
    assert StrategyRule(strategy="weak").authors == {"weak"}
    with pytest.raises(ValueError, match="above redraft_below"):
        RedraftRule(redraft_below=0.1, regenerate_below=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("further", ["redraft", "recall"])
def test_a_plan_with_redrafts_comes_true_among_dummies(tmp_path: Path, further: str) -> None:
    """The engine tells the router of repeats, and what comes of it is what evaluation says."""
    actions = ("keep", "regenerate", "redraft", *(["recall"] if further == "recall" else []))
    model = RoutingModel(OBSERVATIONS, DRAFTY, actions=actions, max_drafts=3)
    artifact = policy_for_tradeoff(model, 0.5, gap=1e-3)
    _, live = traces_of(tmp_path / "run", artifact.policy, n=1500)  # type: ignore[arg-type]
    found, wanted = list(read_traces(tmp_path / "run")), artifact.planned
    assert wanted is not None
    assert wanted.redrafts is not None
    assert min(wanted.redrafts, wanted.regenerations) > 0.1
    tokens = [item.terminal.tokens for item in found]
    ends = [item.terminal for item in found]
    for value, seen in (
        (wanted.accuracy, [end.correct for end in ends]),
        (wanted.redrafts, [end.redrafts for end in ends]),
        (wanted.regenerations, [end.regenerations for end in ends]),
        (wanted.steps, [end.steps for end in ends]),
        (wanted.strong_tokens, [count.strong for count in tokens]),
        (wanted.kept_tokens, [count.weak_kept for count in tokens]),
        (wanted.discarded_tokens, [count.weak_discarded for count in tokens]),
    ):
        column = np.array(seen, dtype=np.float64)
        assert column.mean() == pytest.approx(value, abs=4 * column.std() / len(found) ** 0.5)
    steps = [one for item in found for one in item.decisions]
    pairs = [pair for one in steps for pair in pairwise(one.all_drafts)]
    assert 0.2 < np.mean([a.weak.text == b.weak.text for a, b in pairs]) < 0.7

    recalled = [one for one in steps if one.action == "recall"]
    assert (len(recalled) > 50) == (further == "recall")
    assert {one.stands for one in steps if one.action != "recall"} == {None}
    for one in recalled:
        former, last = one.drafts[-1].weak, one.weak
        assert last is not None
        assert (one.stands, one.accepted) == (len(one.drafts) - 1, former)
        discarded = sum(draft.weak.tokens for draft in one.drafts[:-1]) + last.tokens
        assert (one.tokens.weak_kept, one.tokens.weak_discarded, one.tokens.strong) == (former.tokens, discarded, 0)
    assert any(one.accepted.true_class != one.weak.true_class for one in recalled) == bool(recalled)
    _, again = traces_of(tmp_path / "again", artifact.policy, replay_models(found), n=1500)  # type: ignore[arg-type]
    assert again == live


def test_runs_with_recalled_steps_resume_and_overlap(tmp_path: Path) -> None:
    model = RoutingModel(OBSERVATIONS, DRAFTY, actions=("keep", "regenerate", "redraft", "recall"), max_drafts=3)
    rule: Any = policy_for_tradeoff(model, 0.5, gap=1e-3).policy
    _, whole = traces_of(tmp_path / "a", rule)
    assert any(step.action == "recall" for item in read_traces(tmp_path / "a") for step in item.decisions)
    lines = (tmp_path / "a" / "traces.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text((tmp_path / "a" / "run.json").read_text())
    (tmp_path / "b" / "traces.jsonl").write_text("".join(lines[: len(lines) // 2]))
    assert traces_of(tmp_path / "b", rule, resume=True)[1] == whole
    _, ahead = traces_of(tmp_path / "c", rule, overlap=True)
    assert {name: _but_ahead(item) for name, item in ahead.items()} == {
        name: _but_ahead(item) for name, item in whole.items()
    }
