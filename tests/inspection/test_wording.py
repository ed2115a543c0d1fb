"""What is said of a decision: true on both sides of every flip, and of steps whose decision was not carried out."""

import asyncio

import pytest
from scripted import OBSERVATIONS, alpha_rule, dummy_models, recorded

import trim_pomdp as tp
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.report_details import recorded_state
from trim_pomdp.inspection.walk import SeenStep
from trim_pomdp.inspection.wording import Flip, decision_in_words, done_in_words
from trim_pomdp.planning.frontier import policy_for_tradeoff
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import Faults, dummy_problems
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.run import Routing

RULE = tp.ThresholdRule(threshold=0.4)


def said(inspection, step):
    return "".join(solution_state(inspection)["steps"][step]["decision"])


def done(inspection):
    return [step["done"] for step in solution_state(inspection)["steps"]]


def routed(rule, caps, role="strong", probability=1.0):
    out = []
    routing = Routing(rule, class_table=OBSERVATIONS.class_table, seed=5, caps=caps)
    models = dummy_models(**{role: Faults(probability=probability)} if probability else {})
    asyncio.run(solve_all(dummy_problems(40), routing.start, models, out.append))
    return out


@pytest.fixture(scope="module")
def forced():
    """A solution whose strong model never answers: the weak one goes on alone."""
    records = routed(RULE, Caps(on_failure="weak"))
    return next(record for record in records if record.terminal.fallback is not None and len(record.decisions) > 2)


def test_a_forced_step_says_what_was_done_and_what_the_policy_itself_decided(forced):
    seen = tp.inspect_solution(forced, RULE)
    lost = forced.terminal.fallback.step
    step = seen.steps[lost]
    assert (step.action, step.decided, step.note) == ("keep", "regenerate", "fallback")
    assert step.score < 0.4
    assert said(seen, lost) == "The policy itself regenerates; it would keep at a score of 0.40 or more."
    assert done(seen)[:lost] == ["keep"] * lost
    assert set(done(seen)[lost:]) == {"kept: the strong model had been given up"}
    # Where nobody was asked, nothing is said of a decision.
    assert [seen.steps[i].decided for i in range(lost + 1, len(seen.steps))] == [None] * (len(seen.steps) - lost - 1)
    assert said(seen, lost + 1) == ""


def test_caps_given_steps_failures_and_models_alone():
    capped = routed(alpha_rule(), Caps(max_strong_tokens=5), probability=0)
    words = {text for record in capped for text in done(tp.inspect_solution(record, alpha_rule()))}
    assert words == {"keep", "regenerate", "kept: no strong tokens left"}
    failed = routed(RULE, Caps(on_failure="fail"))
    ends = [done(tp.inspect_solution(item, RULE))[-1] for item in failed if item.terminal.error is not None]
    assert ends
    assert set(ends) == {""}
    weak = tp.inspect_solution([0.9, 0.1], tp.StrategyRule(strategy="weak"))
    assert done(weak) == ["written by the weak model alone"] * 2
    assert [step.decided for step in weak.steps] == [None, None]
    assert done_in_words(SeenStep(0, author="given", note="given")) == "given: nothing to decide"
    assert done_in_words(SeenStep(0, action="regenerate", note="fallback"), "prm") == (
        "regenerated: the PRM had been given up"
    )


@pytest.mark.parametrize(
    ("flips", "axis", "words"),
    [
        ([Flip("score", 0.41, False)], "score", "Keeps; would regenerate at a score below 0.41."),
        ([Flip("score", 0.996, True)], "score", "Keeps; would regenerate at a score of 0.9960 or more."),
        ([Flip("score", 0.41, False, True)], "score", "Keeps; would regenerate at some scores below 0.41."),
        (
            [Flip("evidence score", 0.62, False), Flip("PRM score", 0.19, True)],
            "evidence score",
            "Keeps; would regenerate at an evidence score below 0.62, or at a PRM score of 0.19 or more.",
        ),
        ([], "score", "Keeps; no other score would change that here."),
        ([], None, "Keeps."),
    ],
)
def test_sentences(flips, axis, words):
    assert "".join(decision_in_words(SeenStep(0, action="keep", decided="keep"), flips, axis)) == words


def test_numbers_stand_alone():
    words = decision_in_words(SeenStep(0, decided="regenerate", action="regenerate"), [Flip("score", 0.41, True)])
    assert words[1::2] == ("0.41",)
    assert decision_in_words(SeenStep(0, action="keep"), ()) == ()


def test_a_decision_that_was_carried_out():
    seen = tp.inspect_solution(recorded(), RULE)
    assert said(seen, 0) == "Keeps; would regenerate at a score below 0.40."
    assert said(seen, 1) == "Regenerates; would keep at a score of 0.40 or more."
    assert done(seen) == ["keep", "regenerate", "keep"]


def assert_true_on_both_sides(step, probe):
    """The decision is the other one where it is said to be, and the policy's own just across."""
    flip, above = step.flip_evidence, step.flip_evidence_above
    place = probe.points.index(flip)
    there, here = (probe.actions[place], probe.actions[place - 1])[:: 1 if above else -1]
    assert probe.on(probe.at).action == here != there


def test_as_recorded_the_same_is_said(forced):
    """What a report shows where no policy can be asked again."""
    weak = tp.StrategyRule(strategy="weak")
    for record, rule in (
        (forced, RULE),
        *((item, alpha_rule()) for item in routed(alpha_rule(), Caps(max_strong_tokens=5), probability=0)),
        *((item, RULE) for item in routed(RULE, Caps(on_failure="fail"))),
        *((item, weak) for item in routed(weak, Caps(), probability=0)),
    ):
        shown = [step["done"] for step in recorded_state(record, None)["steps"]]
        assert shown == done(tp.inspect_solution(record, rule))


def test_the_side_is_right_whatever_was_done(forced):
    found = 0
    for record in routed(alpha_rule(), Caps(on_failure="weak", max_strong_tokens=12), probability=0.3):
        seen = tp.inspect_solution(record, alpha_rule())
        for step, probe in zip(seen.steps, seen.probes, strict=True):
            if step.flip_evidence is not None:
                assert_true_on_both_sides(step, probe)
                found += 1
    assert found > 50


def test_evidence_scores_and_the_prm_scores_behind_them():
    rule = policy_for_tradeoff(tp.load_preset("lab-loop").routing_model(), 0.1).policy
    seen = tp.inspect_solution([{"score": 0.9, "logprob_min": -0.3, "logprob_mean": -0.05}] * 3, rule)
    step = next(step for step in seen.steps if step.flip_score is not None)
    assert_true_on_both_sides(step, seen.probes[step.step])
    nearby = 1e-6
    sides = [tp.edit(seen, step.step, score=step.flip_score + move).steps[step.step] for move in (-nearby, nearby)]
    assert sides[step.flip_score_above].decided != step.decided == sides[not step.flip_score_above].decided
    assert "or at a PRM score " in said(seen, step.step)
    by_hand = tp.edit(seen, step.step, evidence=step.evidence / 2 + 0.25)
    assert "evidence score" in said(by_hand, step.step)
    assert "PRM" not in said(by_hand, step.step)


def test_the_frame_has_what_was_decided(forced):
    frame = tp.inspect_solution(forced, RULE).frame
    lost = forced.terminal.fallback.step
    assert [frame[name][lost] for name in ("action", "decided", "flip_score_above")] == ["keep", "regenerate", True]
