"""The state machine, by hand: no model, no event loop."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ToldRouter, feed, scores, solution, step

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.policies import ScheduleRule
from trim_pomdp.runtime.attempt import Attempt, Call, Caps
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest, Usage
from trim_pomdp.runtime.records import Fallback, TokenCounts

ANSWER = r"so \boxed{7}"


def test_keep_regenerate_and_end() -> None:
    item = solution("krk")
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9)))
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, ("a",), 0, 512)
    feed(item, ("weak", step("b", 4)))
    assert item.pending.request == ScoreRequest(item.problem, ("a", "b"))
    feed(item, ("prm", scores(0.9, 0.2)))
    assert item.pending.request == StepRequest(item.problem, ("a",), 0, 512)
    feed(item, ("strong", step("c", 6)))
    feed(item, ("weak", step(ANSWER, 2, "answer")))
    assert item.pending.request == ScoreRequest(item.problem, ("a", "c", ANSWER))
    feed(item, ("prm", scores(0.9, 0.8, 0.7)))
    assert item.pending is None
    assert item.steps == ("a", "c", ANSWER)

    first, second, third = item.record.decisions
    terminal = item.record.terminal
    assert [d.action for d in (first, second, third)] == ["keep", "regenerate", "keep"]
    # The regenerated step's own score came with the next call; the router sees the minimum of what stands.
    assert item.record.own_scores == (0.9, 0.8, 0.7)
    assert [d.score for d in (first, second, third)] == [0.9, 0.2, 0.7]
    assert [d.features["minimum"] for d in (first, second, third)] == [1.0, 0.9, 0.8]
    assert second.features["tokens"] == 4.0
    assert second.features["logprob_min"] == pytest.approx(-0.4)
    assert second.features["logprob_mean"] == pytest.approx(-0.25)
    assert second.features["logprob_first"] == pytest.approx(-0.1)
    assert [d.q for d in (first, second, third)] == pytest.approx([1.0, 0.9, 0.855])
    assert terminal.q == pytest.approx(0.7695), "the belief after the last step"
    assert item.record.decisions[0].model_dump_json().count("0.9") == 1, "a trace line says a score once"
    assert second.tokens == TokenCounts(weak_discarded=4, strong=6, scored=200)
    assert terminal.tokens == TokenCounts(weak_kept=5, weak_discarded=4, strong=6, scored=600)
    assert (terminal.reason, terminal.answer, terminal.correct) == ("answer", "7", True)
    assert (terminal.steps, terminal.regenerations, terminal.degenerate) == (3, 1, 0)


def test_a_weak_answer_can_be_regenerated_away() -> None:
    item = solution("rk")
    feed(item, ("weak", step(r"\boxed{9}", 1, "answer")), ("prm", scores(0.1)), ("strong", step("a")))
    assert item.pending is not None, "the strong step did not end the solution"
    assert item.router.seen[0].ended  # type: ignore[attr-defined]
    feed(item, ("weak", step(ANSWER)), ("prm", scores(0.9, 0.9)))
    assert item.router.seen[1].features["minimum"] == 0.9  # type: ignore[attr-defined]
    assert item.record.terminal.correct


def test_strong_alone_has_no_draft_and_no_score() -> None:
    item = solution("ss")
    feed(item, ("strong", step("a", 3)), ("strong", step(ANSWER, 4)))
    record = item.record
    assert record.terminal.tokens == TokenCounts(strong=7)
    assert record.terminal.regenerations == 2
    assert [d.action for d in record.decisions] == ["regenerate"] * 2
    assert [d.weak for d in record.decisions] == [None] * 2
    assert record.own_scores == (None, None)


def test_recorded_scores_come_with_one_last_call() -> None:
    item = solution("ww", needs_score=False, record_scores=True)
    feed(item, ("weak", step("a")), ("weak", step(ANSWER)), ("prm", scores(0.4, 0.6)))
    assert item.pending is None
    assert item.record.own_scores == (0.4, 0.6)
    assert item.record.terminal.tokens.scored == 200
    assert item.record.terminal.scoring is not None


def test_recorded_scores_come_before_decisions_that_need_none() -> None:
    item = solution("kr", needs_score=False, record_scores=True)
    feed(item, ("weak", step("a")), ("prm", scores(0.4)), ("weak", step("b")), ("prm", scores(0.4, 0.5)))
    feed(item, ("strong", step(ANSWER)), ("prm", scores(0.4, 0.9)))
    assert item.record.own_scores == (0.4, 0.9)


def test_no_score_where_none_is_needed() -> None:
    item = solution("kr", needs_score=False)
    feed(item, ("weak", step("a")), ("weak", step("b")), ("strong", step(ANSWER)))
    assert item.record.decisions[0].score is None
    assert item.record.terminal.tokens.scored == 0


def test_given_steps() -> None:
    problem = Problem("p", "?", "7")
    item = Attempt(
        problem, ScheduleRule(strong_steps=frozenset({2})).router(problem), prefix=("a", "b"), record_scores=True
    )
    assert item.pending is not None
    assert item.pending.request == StepRequest(problem, ("a", "b"), 0, 512)
    feed(item, ("strong", step("c")), ("weak", step(ANSWER)), ("prm", scores(0.1, 0.2, 0.3, 0.4)))
    record = item.record
    assert [d.step for d in record.decisions] == [2, 3]
    assert record.own_scores == (0.3, 0.4)
    assert record.terminal.prefix == ("a", "b")
    assert record.terminal.steps == 2


def test_given_steps_count_in_minimum_and_cap() -> None:
    item = solution("kkkk", prefix=("a", "b"), caps=Caps(max_steps=3))
    feed(item, ("weak", step("c")), ("prm", scores(0.5, 0.3, 0.9)))
    assert item.router.seen[0].features["minimum"] == 0.3  # type: ignore[attr-defined]
    assert item.record.terminal.reason == "step cap"
    with pytest.raises(InputError, match="2 given steps leave none of max_steps = 2"):
        solution("k", prefix=("a", "b"), caps=Caps(max_steps=2))


def test_true_classes_are_recorded() -> None:
    def oracle(problem: Problem, steps: tuple[str, ...]) -> Any:
        return {"good": 0, "bad": 2}.get(steps[-1], 1)

    item = solution("rk", oracle=oracle)
    feed(item, ("weak", step("bad")), ("prm", scores(0.1)), ("strong", step("good")))
    assert item.router.seen[0].true_class == 2  # type: ignore[attr-defined]
    feed(item, ("weak", step(ANSWER)), ("prm", scores(0.9, 0.9)))
    first, second = item.record.decisions
    assert (first.weak.true_class, first.strong.true_class, second.weak.true_class) == (2, 0, 1)  # type: ignore[union-attr]


# Ends -------------------------------------------------------------------------------------------------------------


def test_step_cap() -> None:
    item = solution("kkk", caps=Caps(max_steps=2))
    feed(item, ("weak", step("a")), ("prm", scores(1.0)), ("weak", step("b")), ("prm", scores(1.0, 1.0)))
    assert item.pending is None
    assert item.record.terminal.reason == "step cap"
    assert item.record.terminal.correct is False


def test_end_without_answer() -> None:
    item = solution("k")
    feed(item, ("weak", step("I give up", 2, "end")), ("prm", scores(1.0)))
    assert item.router.seen[0].ended  # type: ignore[attr-defined]
    assert item.record.terminal.reason == "no answer"
    assert item.record.terminal.correct is False


def test_end_with_answer_is_an_answer_and_wrong_ones_are_wrong() -> None:
    item = solution("k")
    feed(item, ("weak", step(r"\boxed{8}", 2, "end")), ("prm", scores(1.0)))
    assert (item.record.terminal.reason, item.record.terminal.correct) == ("answer", False)


def test_unknown_reference() -> None:
    item = solution("k", answer=None)
    feed(item, ("weak", step(ANSWER)), ("prm", scores(1.0)))
    assert item.record.terminal.correct is None


def test_degenerate_steps_in_a_row_end_it() -> None:
    item = solution("w" * 9, caps=Caps(degenerate_steps=2))
    for text in ("", "a", "a", "b", "b", "b"):
        feed(item, ("weak", step(text)))
    assert item.pending is None
    record = item.record
    assert [d.weak.flaw for d in record.decisions] == ["empty", None, "repeated", None, "repeated", "repeated"]  # type: ignore[union-attr]
    assert record.terminal.reason == "degenerate"
    assert record.terminal.degenerate == 4
    assert item.steps == ("", "a", "a", "b", "b", "b"), "kept as generated"


def test_a_regenerated_flaw_does_not_count() -> None:
    item = solution("rrr", needs_score=False, caps=Caps(degenerate_steps=1))
    feed(item, ("weak", step("")), ("strong", step("a")), ("weak", step("a")), ("strong", step("b")))
    assert item.pending is not None
    feed(item, ("weak", step("c")), ("strong", step("d", stop="length")))
    assert item.record.terminal.reason == "degenerate"
    assert item.record.terminal.degenerate == 1
    assert [d.weak.flaw for d in item.record.decisions] == ["empty", "repeated", None]  # type: ignore[union-attr]


def test_strong_cap_cuts_the_last_strong_step_and_leaves_the_weak_model_alone() -> None:
    item = solution("rrrr", caps=Caps(max_strong_tokens=10))
    feed(item, ("weak", step("a")), ("prm", scores(0.1)), ("strong", step("b", 7)))
    feed(item, ("weak", step("c")), ("prm", scores(0.9, 0.1)))
    assert item.pending is not None
    assert isinstance(item.pending.request, StepRequest)
    assert item.pending.request.max_tokens == 3
    feed(item, ("strong", step("d", 3, "length")))
    feed(item, ("weak", step("e")), ("weak", step(ANSWER)))  # no score, no decision
    record = item.record
    assert record.terminal.tokens.strong == 10
    assert [d.capped for d in record.decisions] == [False, False, True, True]
    assert [d.action for d in record.decisions] == ["regenerate", "regenerate", "keep", "keep"]


def test_strong_alone_is_capped_too() -> None:
    item = solution("ss", caps=Caps(max_strong_tokens=0))
    feed(item, ("weak", step(ANSWER)))
    assert item.record.terminal.regenerations == 0


@pytest.mark.parametrize("field", ["max_steps", "max_step_tokens", "degenerate_steps", "max_strong_tokens"])
def test_caps_are_checked(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is -1"):
        Caps(**{field: -1})


# Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "tokens", "action"),
    [
        ([], TokenCounts(), None),
        ([("weak", step("b", 4))], TokenCounts(weak_discarded=4), None),
        ([("weak", step("b", 4)), ("prm", scores(1.0, 0.5))], TokenCounts(weak_discarded=4, scored=200), None),
    ],
)
def test_a_failed_solution_keeps_account(replies: Any, tokens: TokenCounts, action: str | None) -> None:
    item = solution("kr")
    feed(item, ("weak", step("a", 3)), ("prm", scores(1.0)), *replies)
    item.lose(ConnectionError("no route\n to host"))
    assert item.pending is None
    record = item.record
    assert record.terminal.reason == "error"
    assert record.terminal.error == "ConnectionError: no route to host"
    assert record.terminal.correct is False
    assert record.terminal.steps == 1
    assert record.terminal.tokens == tokens + TokenCounts(weak_kept=3, scored=100)
    assert [d.action for d in record.decisions] == ["keep", action]


@pytest.mark.parametrize(
    ("first", "bad", "message"),
    [
        ([], scores(0.5), "weak model: replied with SolutionScores"),
        ([], GeneratedStep("a", (float("nan"),), "separator"), "not finite"),
        ([step("a")], scores(0.5, 0.5), "expected scores of 1 steps"),
        ([step("a")], step("b"), "expected scores of 1 steps"),
        ([step("a")], SolutionScores((1.5,), 3), "expected probabilities"),
        ([step("a")], SolutionScores((float("nan"),), 3), "expected probabilities"),
    ],
)
def test_bad_replies_are_refused(first: list[Any], bad: Any, message: str) -> None:
    item = solution("k")
    for reply in first:
        item.receive(reply)
    item.receive(bad)
    end = item.record.terminal
    assert (end.reason, item.pending) == ("error", None)
    assert end.error is not None
    assert end.error.startswith("ReplyError: ")
    assert message in end.error


@pytest.mark.parametrize("on_failure", ["fail", "weak", "strong"])
def test_what_is_no_failure_of_a_model_fails(on_failure: Any) -> None:
    item = solution("k", caps=Caps(on_failure=on_failure))
    item.fail(ValueError("router"))
    assert (item.record.terminal.error, item.record.terminal.fallback) == ("ValueError: router", None)


# Declared ends ----------------------------------------------------------------------------------------------------

WEAK, STRONG = Caps(on_failure="weak"), Caps(on_failure="strong")
LOST = ConnectionError("refused")


def test_the_draft_is_kept_where_the_prm_fails_and_the_weak_model_goes_on() -> None:
    item = solution("rkkk", caps=WEAK)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)), ("strong", step("b", 6)), ("weak", step("c", 4)))
    item.lose(LOST)
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, ("b", "c"), 0, 512)
    feed(item, ("weak", step("d", 5)), ("weak", step(ANSWER, 2, "answer")))  # no score, no decision
    first, second, third, fourth = item.record.decisions
    assert [d.action for d in item.record.decisions] == ["regenerate", "keep", "keep", "keep"]
    assert [d.fallback for d in item.record.decisions] == [False, True, True, True]
    assert (second.scoring, second.q, third.scoring, fourth.scoring) == (None, None, None, None)
    assert first.scoring is not None
    end = item.record.terminal
    assert (end.reason, end.correct, end.error, end.q) == ("answer", True, None, None)
    assert end.fallback == Fallback(author="weak", step=1, given_up="prm", error="ConnectionError: refused")
    assert end.tokens == TokenCounts(weak_kept=11, weak_discarded=3, strong=6, scored=100)


def test_the_draft_is_kept_where_the_strong_model_fails() -> None:
    item = solution("kr", caps=WEAK)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9)), ("weak", step("b", 4)), ("prm", scores(0.9, 0.2)))
    item.lose(LOST)
    feed(item, ("weak", step(ANSWER, 2, "answer")))
    kept = item.record.decisions[1]
    assert (kept.action, kept.fallback, kept.strong, kept.score) == ("keep", True, None, 0.2)
    assert kept.q == pytest.approx(0.9), "what was thought stays, what was done is another thing"
    assert item.record.own_scores == (0.9, 0.2, None)
    assert item.record.terminal.regenerations == 0
    assert item.record.terminal.tokens == TokenCounts(weak_kept=9, scored=300)
    assert item.record.terminal.fallback == Fallback(
        author="weak", step=1, given_up="strong", error="ConnectionError: refused"
    )


def test_a_draft_that_is_kept_may_end_the_solution() -> None:
    item = solution("r", caps=WEAK)
    feed(item, ("weak", step(ANSWER, 3, "answer")))
    item.lose(LOST)
    assert item.pending is None
    assert (item.record.terminal.reason, item.record.terminal.correct) == ("answer", True)


def test_the_weak_model_writes_where_the_strong_one_had_no_draft_before_it() -> None:
    item = solution("sss", caps=WEAK)
    feed(item, ("strong", step("a", 3)))
    item.lose(LOST)
    feed(item, ("weak", step("b", 4)), ("weak", step(ANSWER, 2, "answer")))
    assert item.record.terminal.tokens == TokenCounts(strong=3, weak_kept=6)
    assert [d.author for d in item.record.decisions] == ["strong", "weak", "weak"]


def test_the_strong_model_replaces_the_draft_where_the_prm_fails_and_goes_on() -> None:
    item = solution("kkkk", caps=STRONG)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9)), ("weak", step("b", 4)))
    item.lose(LOST)
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, ("a",), 0, 512)
    feed(item, ("strong", step("c", 6)), ("strong", step(ANSWER, 5, "answer")))
    assert [d.action for d in item.record.decisions] == ["keep", "regenerate", "regenerate"]
    assert [d.fallback for d in item.record.decisions] == [False, True, True]
    assert item.record.terminal.tokens == TokenCounts(weak_kept=3, weak_discarded=4, strong=11, scored=100)
    assert item.record.terminal.regenerations == 2


def test_the_strong_model_writes_where_the_weak_one_fails() -> None:
    item = solution("kkk", caps=STRONG)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9)))
    item.lose(LOST)
    feed(item, ("strong", step(ANSWER, 5, "answer")))
    assert item.record.decisions[1].weak is None
    assert item.record.terminal.fallback == Fallback(
        author="strong", step=1, given_up="weak", error="ConnectionError: refused"
    )
    assert item.record.terminal.tokens == TokenCounts(weak_kept=3, strong=5, scored=100)


def test_a_reply_that_is_none_is_a_failure_too() -> None:
    item = solution("kk", caps=WEAK)
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.9, 0.9)), ("weak", step(ANSWER, 2, "answer")))
    fallback = item.record.terminal.fallback
    assert fallback is not None
    assert (fallback.given_up, fallback.step) == ("prm", 0)
    assert fallback.error.startswith("ReplyError: PRM: replied with SolutionScores")


@pytest.mark.parametrize(
    ("actions", "caps", "replies"),
    [
        ("k", WEAK, []),
        ("r", STRONG, [("weak", step("a")), ("prm", scores(0.1))]),
        ("s", STRONG, []),
        ("w", Caps(on_failure="strong", max_strong_tokens=0), []),
    ],
    ids=["weak", "strong after a draft", "strong alone", "the strong model has no tokens left"],
)
def test_where_the_model_that_would_go_on_failed_the_problem_fails(actions: str, caps: Caps, replies: Any) -> None:
    item = solution(actions, caps=caps)
    feed(item, *replies)
    item.lose(LOST)
    end = item.record.terminal
    assert (end.reason, end.error, end.fallback) == ("error", "ConnectionError: refused", None)
    assert [d.action for d in item.record.decisions] == [None]


@pytest.mark.parametrize("later", [0, 2])
def test_both_errors_are_named(later: int) -> None:
    """The strong model stands in for the PRM, and fails at once or some steps later."""
    item = solution("k" * 9, caps=STRONG)
    feed(item, ("weak", step("a", 3)))
    item.lose(LOST)
    for i in range(later):
        feed(item, ("strong", step(f"b{i}", 2)))
    assert item.pending is not None
    assert item.pending.role == "strong"
    item.lose(TimeoutError("too\nlate"))
    end = item.record.terminal
    assert (item.pending, end.reason) == (None, "error")
    assert end.error == "ConnectionError: refused; then TimeoutError: too late"
    assert end.fallback is not None
    assert (end.fallback.step, end.fallback.given_up) == (0, "prm")
    assert end.tokens == TokenCounts(weak_discarded=3, strong=2 * later)
    assert [d.action for d in item.record.decisions] == [*["regenerate"] * later, None]


def test_a_model_that_was_given_up_is_not_asked_again_once_the_other_has_no_tokens_left() -> None:
    item = solution("kkk", caps=Caps(on_failure="strong", max_strong_tokens=5))
    item.lose(LOST)
    feed(item, ("strong", step("a", 5)))
    end = item.record.terminal
    assert (item.pending, end.reason, end.error) == (None, "error", "ConnectionError: refused")
    assert end.tokens == TokenCounts(strong=5)
    capped = solution("kkk", caps=Caps(on_failure="strong", max_strong_tokens=5))
    feed(capped, ("weak", step("a", 2)))
    capped.lose(LOST)  # the PRM: the weak model is there yet
    feed(capped, ("strong", step("b", 5)), ("weak", step(ANSWER, 3, "answer")))
    last = capped.record.decisions[-1]
    assert (last.capped, last.fallback, last.author) == (True, True, "weak")


@pytest.mark.parametrize("caps", [WEAK, STRONG, Caps(on_failure="strong", max_strong_tokens=0), Caps()])
def test_last_scores_that_cannot_be_had(caps: Caps) -> None:
    item = solution("ww", needs_score=False, record_scores=True, caps=caps)
    feed(item, ("weak", step("a")), ("weak", step(ANSWER, 2, "answer")))
    item.lose(LOST)
    end = item.record.terminal
    assert item.pending is None
    if caps.on_failure == "fail":
        assert (end.reason, end.error) == ("error", "ConnectionError: refused")
        return
    assert (end.reason, end.correct, end.error, end.scoring) == ("answer", True, None, None)
    assert end.fallback == Fallback(author=caps.on_failure, step=2, given_up="prm", error="ConnectionError: refused")
    assert item.record.own_scores == (None, None)


def test_last_scores_are_wanted_unless_the_prm_was_given_up() -> None:
    item = solution("kk", record_scores=True, caps=STRONG)
    item.lose(LOST)
    feed(item, ("strong", step(ANSWER, 2, "answer")), ("prm", scores(0.5)))
    assert item.record.own_scores == (0.5,)
    item = solution("kk", record_scores=True, caps=STRONG)
    feed(item, ("weak", step("a")))
    item.lose(LOST)
    feed(item, ("strong", step(ANSWER, 2, "answer")))
    assert item.pending is None


def test_given_steps_count_in_where_a_fallback_began() -> None:
    item = solution("kkkk", prefix=("x", "y"), caps=WEAK)
    feed(item, ("weak", step("a")))
    item.lose(LOST)
    feed(item, ("weak", step(ANSWER)))
    assert item.record.terminal.fallback is not None
    assert item.record.terminal.fallback.step == item.record.decisions[0].step == 2


# What is foreseen --------------------------------------------------------------------------------------------------


def next_if_kept(item: Attempt, *steps: str) -> Call:
    return Call("weak", StepRequest(item.problem, steps, 0, 512))


def test_what_follows_a_score() -> None:
    item = solution("kkk", caps=Caps(max_strong_tokens=10))
    assert item.foreseen(KEEP) is None, "no score is awaited"
    feed(item, ("weak", step("a", 3)))
    assert item.foreseen(KEEP) == next_if_kept(item, "a")
    assert item.foreseen(REGENERATE) == Call("strong", StepRequest(item.problem, (), 0, 10))
    feed(item, ("prm", scores(0.9)))
    assert item.pending == next_if_kept(item, "a"), "it came true"
    assert (item.foreseen(KEEP), item.foreseen(REGENERATE)) == (None, None)
    feed(item, ("weak", step("b", 3)))
    item.lose(LOST)
    assert (item.pending, item.foreseen(KEEP)) == (None, None)


@pytest.mark.parametrize(
    "draft",
    [step(ANSWER), step(r"\boxed{9}", stop="answer"), step("I give up", stop="end"), step(r"\boxed{9}", stop="end")],
)
def test_nothing_follows_a_kept_step_that_ends_the_solution(draft: GeneratedStep) -> None:
    item = solution("rk")
    feed(item, ("weak", draft))
    assert item.foreseen(KEEP) is None
    assert item.foreseen(REGENERATE) == Call("strong", StepRequest(item.problem, (), 0, 512))


def test_nothing_follows_the_last_step() -> None:
    item = solution("kkk", caps=Caps(max_steps=2))
    feed(item, ("weak", step("a")))
    assert item.foreseen(KEEP) is not None
    feed(item, ("prm", scores(0.9)), ("weak", step("b")))
    assert item.foreseen(KEEP) is None
    item = solution("kkkk", caps=Caps(degenerate_steps=2))
    feed(item, ("weak", step("a")), ("prm", scores(0.9)), ("weak", step("a")))
    assert item.foreseen(KEEP) is not None
    feed(item, ("prm", scores(0.9, 0.9)), ("weak", step("a")))
    assert item.foreseen(KEEP) is None, "the second degenerate one in a row"


def test_nothing_follows_where_the_strong_model_writes_alone_nor_the_last_scores() -> None:
    item = solution("ksw", record_scores=True)
    feed(item, ("weak", step("a")))
    assert item.foreseen(KEEP) is None
    feed(item, ("prm", scores(0.9)), ("strong", step("b")), ("weak", step(ANSWER)))
    assert item.pending is not None
    assert item.pending.role == "prm"
    assert (item.foreseen(KEEP), item.foreseen(REGENERATE)) == (None, None)
    item = solution("kw")
    feed(item, ("weak", step("a")))
    assert item.foreseen(KEEP) == next_if_kept(item, "a")


def test_what_was_done_ahead_is_counted_apart() -> None:
    item = solution("rk")
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.1)))
    item.note_ahead("weak", Usage(40, 30, 5))
    item.note_ahead("strong", Usage(20, 16, 1))
    feed(item, ("strong", step("b", 4)), ("weak", step(ANSWER, 2)))
    item.note_ahead("strong", Usage(25, 20, 1))
    feed(item, ("prm", scores(0.9, 0.9)))
    first, second = item.record.decisions
    spent = {"weak_ahead": 5, "weak_ahead_read": 40, "weak_ahead_cached": 30}
    assert first.tokens == TokenCounts(
        weak_discarded=3, strong=4, scored=100, strong_ahead=1, strong_ahead_read=20, strong_ahead_cached=16, **spent
    )
    assert second.tokens == TokenCounts(
        weak_kept=2, scored=200, strong_ahead=1, strong_ahead_read=25, strong_ahead_cached=20
    )
    assert item.record.terminal.tokens == first.tokens + second.tokens


# Whatever the models do -------------------------------------------------------------------------------------------

STEPS = st.builds(
    lambda text, tokens, stop: GeneratedStep(text, (-0.5,) * tokens, stop),
    st.sampled_from(["", " ", "a", "b", "c", "d", r"\boxed{7}", r"\boxed{8} and on", r"\boxed{"]),
    st.integers(0, 9),
    st.sampled_from(["separator", "answer", "end", "length"]),
)


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    actions=st.text("krws", min_size=8, max_size=8),
    needs_score=st.booleans(),
    record_scores=st.booleans(),
    strong_cap=st.none() | st.integers(0, 30),
    fail_after=st.none() | st.integers(0, 12),
    lost=st.sets(st.integers(1, 20), max_size=3),
    on_failure=st.sampled_from(["fail", "weak", "strong"]),
)
def test_invariants(
    data: st.DataObject,
    actions: str,
    needs_score: bool,
    record_scores: bool,
    strong_cap: int | None,
    fail_after: int | None,
    lost: set[int],
    on_failure: Any,
) -> None:
    caps = Caps(max_steps=8, max_step_tokens=9, max_strong_tokens=strong_cap, on_failure=on_failure)
    router = ToldRouter(actions, needs_score=needs_score)
    item = Attempt(Problem("p", "?", "7"), router, caps=caps, record_scores=record_scores)
    spent = {"weak": 0, "strong": 0, "prm": 0}
    calls = 0
    kept_call: Call | None = None
    while (call := item.pending) is not None:
        if kept_call is not None and item._steps[-1].draft.weak is None:  # the step that was scored was kept
            assert call == kept_call, "what was foreseen came true"
        kept_call = item.foreseen(KEEP)
        if calls == fail_after:
            item.fail(RuntimeError("now"))
            break
        calls += 1
        assert calls <= 4 * caps.max_steps + 1
        if calls in lost:
            item.lose(RuntimeError(call.role))
            continue
        if isinstance(call.request, ScoreRequest):
            assert call.role == "prm"
            assert needs_score or record_scores
            reply: Any = SolutionScores((0.5,) * len(call.request.steps), 2 * len(call.request.steps))
            spent["prm"] += reply.tokens
        else:
            drawn = data.draw(STEPS)
            reply = GeneratedStep(drawn.text, drawn.logprobs[: call.request.max_tokens], drawn.stop)
            assert call.request.max_tokens >= 1
            spent[call.role] += reply.tokens
        item.receive(reply)

    record = item.record
    tokens = record.terminal.tokens
    assert tokens.weak_kept + tokens.weak_discarded == spent["weak"]
    assert tokens.strong == spent["strong"]
    assert tokens.scored == spent["prm"]
    last = TokenCounts(scored=record.terminal.scoring.tokens if record.terminal.scoring else 0)
    assert sum((d.tokens for d in record.decisions), last) == tokens
    assert strong_cap is None or tokens.strong <= strong_cap
    accepted = [d.accepted for d in record.decisions if d.accepted]
    assert [generation.text for generation in accepted] == list(item.steps)
    assert record.terminal.steps == len(accepted) <= caps.max_steps
    assert record.terminal.correct is (record.terminal.answer == "7")
    fallback = record.terminal.fallback
    if fail_after is None and record_scores and not lost:
        assert None not in record.own_scores
    if fallback is None:
        assert not any(d.fallback for d in record.decisions)
        assert not lost or record.terminal.error is not None or min(lost) > calls
    else:
        assert fallback.author == on_failure
        assert [d.fallback for d in record.decisions] == [d.step >= fallback.step for d in record.decisions]
        later = [d for d in record.decisions if d.step > fallback.step]
        assert all(d.scoring is None and d.q is None for d in later)
        assert all(d.author in (on_failure, None) or d.capped for d in later)
    assert (record.terminal.reason == "error") == (record.terminal.error is not None)
