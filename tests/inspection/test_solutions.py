"""Solutions looked into: the numbers of the record to the bit, hand-made cases, edits, and what flips a decision."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DYNAMICS, OBSERVATIONS, alpha_rule, dummy_models, recorded

import trim_pomdp as tp
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.rivals import side_by_side
from trim_pomdp.inspection.solutions import Inspection, edit, evidence_curve, inspect_solution
from trim_pomdp.model.belief import filter_scores
from trim_pomdp.planning.plots import gains
from trim_pomdp.policies import (
    Decision,
    MixedRule,
    PosteriorRule,
    Rule,
    ScheduleRule,
    StepObservation,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.policies.base import RuleRouter
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.backends.dummy import Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing

ALPHA = alpha_rule()
RULES: dict[str, Rule] = {
    "alpha": ALPHA,
    "threshold": ThresholdRule(threshold=0.5),
    "posterior": PosteriorRule(closeness=0.3),
    "weak": StrategyRule(strategy="weak"),
    "strong": StrategyRule(strategy="strong"),
    "random": StrategyRule(strategy="random", probability=0.3),
    "oracle": StrategyRule(strategy="oracle"),
    "schedule": ScheduleRule(strong_steps=frozenset({0, 2})),
    "mixture": MixedRule(first=ThresholdRule(threshold=0.2), second=alpha_rule(), probability=0.4),
}
TABLE = OBSERVATIONS.class_table


def routed(rule: Rule, n: int = 60, *, caps: Caps | None = None, **options) -> list[SolutionRecord]:  # type: ignore[no-untyped-def]
    out: list[SolutionRecord] = []
    models = options.pop("models", None) or dummy_models()
    routing = Routing(rule, class_table=TABLE, oracle=dummy_oracle, seed=5, caps=caps or Caps(), **options)
    asyncio.run(solve_all(dummy_problems(n), routing.start, models, out.append))
    return out


def looked_into(record: SolutionRecord, policy: Rule) -> Inspection:
    return inspect_solution(record, policy, seed=5, class_table=TABLE)


def assert_as_recorded(record: SolutionRecord, seen: Inspection) -> None:
    given = len(record.terminal.prefix)
    assert len(seen.steps) == given + len(record.decisions)
    assert seen.q_end == record.terminal.q
    for item, step in zip(record.decisions, seen.steps[given:], strict=True):
        names = ("step", "q", "belief", "gain", "price", "evidence", "action")
        assert [getattr(step, name) for name in names] == [getattr(item, name) for name in names]
        assert step.author == item.author
        assert step.text == (None if item.accepted is None else item.accepted.text)
        if item.ended is not None:
            assert step.ended == item.ended
        if item.scoring is not None:
            assert step.score == item.score
        if "minimum" in item.features:
            assert step.features == {**item.features, "score": item.score}
        assert not step.hypothetical
        assert not step.edited


@pytest.mark.parametrize("name", list(RULES))
def test_what_the_engine_recorded_comes_back_to_the_bit(name: str) -> None:
    for record in routed(RULES[name]):
        assert_as_recorded(record, looked_into(record, RULES[name]))


@pytest.mark.parametrize("on_failure", ["fail", "weak", "strong"])
def test_failures_fallbacks_and_caps_too(on_failure: str) -> None:
    caps = Caps(max_strong_tokens=12, on_failure=on_failure)  # type: ignore[arg-type]
    notes = set()
    for role in ("weak", "strong", "prm"):
        models = dummy_models(**{role: Faults(probability=0.1)})  # type: ignore[arg-type]
        for record in routed(ALPHA, caps=caps, models=models):
            seen = looked_into(record, ALPHA)
            assert_as_recorded(record, seen)
            notes |= {step.note for step in seen.steps}
    assert notes >= {None, "capped", "failed" if on_failure == "fail" else "fallback"}


def test_every_step_scored_or_not_the_numbers_are_the_same() -> None:
    for record in routed(RULES["weak"], record_scores=True):
        assert_as_recorded(record, looked_into(record, RULES["weak"]))
        under_alpha = looked_into(record, ALPHA)  # drafts of a weak-only run, under a policy that looks at scores
        assert all(step.belief is not None for step in under_alpha.steps)


def test_a_recorded_solution_by_hand() -> None:
    seen = inspect_solution(recorded(), ThresholdRule(threshold=0.4), prompt="1 + 6?")
    assert [step.action for step in seen.steps] == ["keep", "regenerate", "keep"]
    assert [step.text for step in seen.steps] == ["a", "B", "\\boxed{7}"]
    assert [step.draft for step in seen.steps] == [None, "b", None]
    assert [step.score for step in seen.steps] == [0.9, 0.2, 0.9]
    assert [step.features["minimum"] for step in seen.steps] == [1.0, 0.9, 0.8]
    assert [(step.tokens_weak, step.tokens_strong) for step in seen.steps] == [(8, 0), (6, 9), (5, 0)]
    assert [step.flip_score for step in seen.steps] == [0.4, 0.4, 0.4]
    assert seen.prompt == "1 + 6?"


def test_a_belief_by_hand() -> None:
    """The first step's belief from the definition: q = 1, p_w = .85, the bin's densities, the end's hazards."""
    seen = inspect_solution([0.97, 0.3], ALPHA)
    first = seen.steps[0]
    right, wrong = 0.95 * 0.3 + 0.05 * 0.06, 0.06
    ends = [1 - 0.02, 1 - 0.02, 1.0]
    likelihood = np.array([right, 0.6 * right + 0.4 * wrong, wrong]) * ends
    prior = np.array([0.85, 0.0, 0.15])
    assert first.prior == pytest.approx(prior)
    assert first.likelihood == pytest.approx(likelihood)
    assert first.belief == pytest.approx(prior * likelihood / (prior * likelihood).sum())
    assert first.price == pytest.approx(ALPHA.tradeoff * np.dot(first.belief, [7.0, 8.0, 9.5]))
    assert seen.steps[1].q == (first.q_keep if first.action == "keep" else first.q_regenerate)


@pytest.mark.parametrize("name", ["alpha", "posterior"])
def test_belief_is_prior_times_likelihood(name: str) -> None:
    for record in routed(RULES[name], 20):
        for step in looked_into(record, RULES[name]).steps:
            assert step.prior is not None
            assert step.likelihood is not None
            joint = np.array(step.prior) * step.likelihood
            if joint.sum() > 0:
                assert step.belief == pytest.approx(joint / joint.sum(), abs=1e-12)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_kept_steps_are_what_the_filter_says(scores: list[float]) -> None:
    """The router's belief where nothing is regenerated, against the model's own filter."""
    dear = ALPHA.model_copy(update={"tradeoff": 1e6})
    seen = inspect_solution(scores, dear)
    states = filter_scores(OBSERVATIONS, DYNAMICS, scores)
    assert {step.action for step in seen.steps} == {"keep"}
    assert [step.q_keep for step in seen.steps] == pytest.approx(states.tolist(), abs=len(scores) / ALPHA.belief_cells)


# Flips and curves -----------------------------------------------------------------------------------------------


def test_the_curve_is_the_policy_map_at_the_belief() -> None:
    """Against the planner's own drawing of gains and prices, in numpy."""
    seen = inspect_solution([0.9, 0.6, 0.9], ALPHA)
    for index, step in enumerate(seen.steps):
        curve = evidence_curve(seen, index)
        gain, price = gains(ALPHA, index, np.array([step.q]), ended=step.ended)
        assert curve.x == OBSERVATIONS.step_emission.score_edges
        assert curve.gain == pytest.approx(gain[0], abs=1e-9)
        assert curve.price == pytest.approx(price[0], abs=1e-9)
        assert curve.intervenes == tuple((gain > price)[0])
        assert (curve.at, curve.axis) == (step.score, "score")


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_flip_is_where_the_decision_changes(scores: list[float], other: float) -> None:
    seen = inspect_solution(scores, ALPHA)
    for index, step in enumerate(seen.steps):
        flip, score = step.flip_score, step.score
        assert score is not None
        changed = edit(seen, index, score=other).steps[index].action != step.action
        if flip is None:
            assert not changed
            continue
        across = flip if flip > score else math.nextafter(flip, 0.0)
        short = math.nextafter(flip, 0.0) if flip > score else flip
        assert edit(seen, index, score=across).steps[index].action != step.action
        assert edit(seen, index, score=short).steps[index].action == step.action
        if abs(other - score) < abs(flip - score):
            assert not changed


def test_the_flip_of_mixed_evidence_is_found_in_both_scores() -> None:
    model = tp.load_preset("lab-loop").routing_model()
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(model, 0.3).policy
    features = {"score": 0.99, "logprob_min": -0.4, "logprob_mean": -0.1}
    seen = inspect_solution([features, features], rule)
    step = seen.steps[0]
    assert step.flip_evidence is not None
    assert step.flip_score is not None
    assert step.evidence is not None
    other = {"keep": "regenerate", "regenerate": "keep"}[step.action or ""]
    lower = step.flip_evidence < step.evidence
    beyond = math.nextafter(step.flip_evidence, 0.0) if lower else step.flip_evidence
    assert edit(seen, 0, evidence=beyond).steps[0].action == other
    assert edit(seen, 0, score=step.flip_score + (-1e-9 if lower else 1e-9)).steps[0].action == other
    over_score = evidence_curve(seen, 0, "score")
    assert over_score.axis == "score"
    assert any(flip == pytest.approx(step.flip_score, abs=1e-9) for flip in over_score.flips)
    with pytest.raises(InputError, match="PRM score itself"):
        evidence_curve(inspect_solution([0.5], ALPHA), 0, "evidence")


def test_an_edited_evidence_score_is_as_one_from_features() -> None:
    model = tp.load_preset("lab-loop").routing_model()
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(model, 0.1).policy
    one = {"score": 0.99, "logprob_min": -0.01, "logprob_mean": -0.001}
    two = {"score": 0.5, "logprob_min": -1.0, "logprob_mean": -0.2}
    wanted = inspect_solution([two, one], rule)
    found = edit(inspect_solution([one, one], rule), 0, evidence=wanted.steps[0].evidence)
    for name in ("evidence", "belief", "gain", "price", "action", "q_keep", "likelihood", "flip_evidence"):
        assert getattr(found.steps[0], name) == getattr(wanted.steps[0], name)
    assert found.steps[1].q == wanted.steps[1].q


def test_rules_that_do_not_say_where_they_change_are_searched() -> None:
    class Bent(ThresholdRule):
        """Regenerates scores in [.3, .62)."""

        form: str = "bent, for a test"  # type: ignore[assignment]

        def act(self, score: float) -> int:
            return int(0.3 <= score < 0.62)

        def breakpoints(self, class_table=None):  # type: ignore[no-untyped-def]
            return None

    seen = inspect_solution([0.5, 0.1], Bent(threshold=0.5))
    assert evidence_curve(seen, 0).flips == pytest.approx([0.3, 0.62], abs=1e-12)
    assert [step.flip_score for step in seen.steps] == pytest.approx([0.62, 0.3], abs=1e-12)


def test_where_nothing_is_looked_at_nothing_flips() -> None:
    seen = inspect_solution([0.5], StrategyRule(strategy="random", probability=0.5))
    assert seen.steps[0].flip_score is None
    with pytest.raises(InputError, match="looks at no score"):
        evidence_curve(seen, 0)
    with pytest.raises(InputError, match=r"no steps\[7"):
        evidence_curve(seen, 7)


# Edits ----------------------------------------------------------------------------------------------------------


def test_an_edit_is_followed_by_all_that_comes_after() -> None:
    before = [0.97, 0.97, 0.97, 0.97]
    seen = inspect_solution(before, ALPHA)
    found = edit(seen, 1, score=0.1)
    other = inspect_solution([0.97, 0.1, 0.97, 0.97], ALPHA)
    assert [replace(step, edited=False) for step in found.steps] == list(other.steps)
    assert [step.edited for step in found.steps] == [False, True, False, False]
    assert edit(found, 1, score=0.97).steps[3].q == seen.steps[3].q  # edits replace each other


def test_edits_undo_each_other() -> None:
    seen = inspect_solution([0.97, 0.6], ALPHA)
    assert edit(edit(seen, 0, score=0.1), 0, score=0.97) == seen
    assert edit(edit(seen, 0, ended=True), 0, ended=False) == seen


def test_the_later_of_score_and_evidence_counts() -> None:
    model = tp.load_preset("lab-loop").routing_model()
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(model, 0.1).policy
    features = {"score": 0.99, "logprob_min": -0.01, "logprob_mean": -0.001}
    seen = inspect_solution([features, features], rule)
    scored = edit(seen, 0, score=0.05)
    assert edit(edit(seen, 0, evidence=0.9), 0, score=0.05).steps == scored.steps
    assert edit(scored, 0, evidence=0.9).steps[0].evidence == 0.9
    with pytest.raises(InputError, match="its evidence score was changed"):
        edit(edit(seen, 0, evidence=0.9), policy=ThresholdRule(threshold=0.5))


def test_steps_without_a_decision_cannot_be_edited() -> None:
    capped = next(
        record
        for record in routed(ALPHA, caps=Caps(max_strong_tokens=5))
        if any(step.capped for step in record.decisions)
    )
    seen = looked_into(capped, ALPHA)
    where = next(step.step for step in seen.steps if step.note == "capped")
    with pytest.raises(InputError, match=r"is capped: there is nothing to decide"):
        edit(seen, where, score=0.01)
    weak = looked_into(routed(RULES["weak"], 1)[0], RULES["weak"])
    with pytest.raises(InputError, match="written by the weak model alone"):
        edit(weak, 0, score=0.01)
    over = edit(inspect_solution([0.9, 0.9, 0.9], ALPHA), 1, ended=True)
    with pytest.raises(InputError, match="2 steps, counted from 0"):
        edit(over, 2, score=0.5)


def test_an_edit_that_turns_a_decision_makes_the_rest_hypothetical() -> None:
    record = recorded()
    rule = ThresholdRule(threshold=0.4)
    seen = inspect_solution(record, rule)
    kept = edit(seen, 1, score=0.6)
    assert [step.hypothetical for step in kept.steps] == [False, False, True]
    assert kept.steps[1].text == "b"
    assert kept.steps[1].draft is None
    assert kept.steps[2].features["minimum"] == 0.6  # the draft's score stands, not the strong step's
    assert not kept.as_recorded
    redone = edit(seen, 0, score=0.1)
    assert redone.steps[0].text is None  # nobody wrote it
    assert redone.steps[0].draft == "a"
    assert redone.steps[1].features["minimum"] == 1.0


def test_a_draft_that_ends_the_solution_ends_it_if_kept() -> None:
    seen = inspect_solution(recorded(), ThresholdRule(threshold=0.4))
    assert len(edit(seen, 1, score=0.6, ended=True).steps) == 2


def test_other_beliefs_prices_and_policies() -> None:
    seen = inspect_solution([0.6, 0.6, 0.6], ALPHA)
    assert edit(seen, 1, q=0.25).steps[1].q == 0.25
    dear = edit(seen, 1, strong_tokens=700.0)
    assert dear.steps[1].price == pytest.approx(700.0 * ALPHA.tradeoff)
    assert dear.steps[2].price == pytest.approx(
        ALPHA.tradeoff * np.dot(dear.steps[2].belief, [7.0, 8.0, 9.5])  # type: ignore[arg-type]
    )
    free = edit(seen, 1, tradeoff=0.0)
    assert [step.price for step in free.steps[1:]] == [0.0, 0.0]
    assert free.steps[0] == seen.steps[0]
    other = edit(seen, policy=alpha_rule(40.0))
    assert other.steps == inspect_solution([0.6, 0.6, 0.6], alpha_rule(40.0)).steps


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": 9, "score": 0.5}, "2 steps, counted from 0"),
        ({"score": 0.5}, "which step"),
        ({"step": 0, "score": 1.5}, "in \\[0, 1\\]"),
        ({"step": 0, "features": {"logprob_min": 0.5}}, "at most 0"),
        ({"step": 0, "q": 2.0}, "in \\[0, 1\\]"),
        ({"step": 0, "strong_tokens": -1.0}, "at least 0"),
        ({"step": 0, "evidence": 0.5}, "decides on the PRM score itself"),
        ({"step": 0, "q": "a"}, "it is a number in \\[0, 1\\]"),
        ({"step": 0, "strong_tokens": math.inf}, "it is a number at least 0"),
        ({"step": 1.0, "score": 0.5}, "no steps\\[1.0\\]"),
        ({"step": 0, "features": {"logprobmin": -0.1}}, "no feature 'logprobmin'"),
        ({"policy": 7}, "a policy is a int"),
        ({}, "nothing is changed"),
    ],
)
def test_what_cannot_be_edited(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        edit(inspect_solution([0.6, 0.6], ALPHA), **change)  # type: ignore[arg-type]


def test_rules_without_belief_have_none_to_edit() -> None:
    with pytest.raises(InputError, match="has no belief"):
        edit(inspect_solution([0.6], ThresholdRule(threshold=0.5)), 0, q=0.5)
    with pytest.raises(InputError, match="has no price"):
        edit(inspect_solution([0.6], ThresholdRule(threshold=0.5)), 0, tradeoff=0.5)


# What people give -----------------------------------------------------------------------------------------------


def test_typed_solutions() -> None:
    typed = tp.TypedSolution(["1 + 6 = 7", "so \\boxed{7}"], [0.9, 0.8], prompt="1 + 6?", finished=False)
    seen = inspect_solution(typed, ALPHA)
    assert [step.text for step in seen.steps] == ["1 + 6 = 7", "so \\boxed{7}"]
    assert [step.ended for step in seen.steps] == [False, True]  # by its box
    assert (seen.prompt, seen.problem) == ("1 + 6?", "")
    unfinished = inspect_solution(tp.TypedSolution(["a"], [0.9], finished=False), ALPHA)
    assert not unfinished.steps[0].ended


@pytest.mark.parametrize(
    ("solution", "words"),
    [
        ([], "no step"),
        ([0.5, 1.5], "steps\\[1\\]: the score is 1.5"),
        ([{"logprob_min": 0.1}], "steps\\[0\\]: logprob_min is 0.1"),
        ([{"logprob_min": -0.1}], "steps\\[0\\]: the evidence needs 'score'"),
        (tp.TypedSolution(["a", "b"], [0.5]), "2 steps and scores of 1"),
        (["x"], "expected a number"),
        ([math.nan], "expected a number"),
        ([{"logprob_min": -math.inf}], "expected a number"),
        ([{"logprobmin": -0.1}], "no feature 'logprobmin'"),
    ],
)
def test_solutions_that_are_none(solution, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=words):
        inspect_solution(solution, ALPHA)


def test_a_policy_on_minima_needs_its_table() -> None:
    with pytest.raises(UnsetParameterError, match="class table"):
        inspect_solution([0.5], PosteriorRule(closeness=0.3))
    seen = inspect_solution([0.5, 0.99], PosteriorRule(closeness=0.3), class_table=TABLE)
    assert seen.steps[0].belief is not None


def test_the_part_of_a_mixture_is_the_one_that_decided() -> None:
    mixture = RULES["mixture"]
    found = {looked_into(record, mixture).rule.form for record in routed(mixture)}
    assert found == {"threshold", "alpha_vectors"}


def test_arrays_are_solutions_too() -> None:
    assert inspect_solution(np.array([0.9, 0.2]), ALPHA).steps == inspect_solution([0.9, 0.2], ALPHA).steps  # type: ignore[arg-type]
    assert inspect_solution([np.float32(0.5)], ALPHA).steps[0].score == 0.5  # type: ignore[list-item]


def test_routers_that_remember_lists_are_not_disturbed_by_their_probes() -> None:
    class Remembering(ThresholdRule):
        """Regenerates where the mean of the scores so far is low."""

        form: str = "remembering, for a test"  # type: ignore[assignment]

        def router(self, problem, *, seed=0, class_table=None):  # type: ignore[no-untyped-def]
            return RememberingRouter(self)

        def breakpoints(self, class_table=None):  # type: ignore[no-untyped-def]
            return None

    class RememberingRouter(RuleRouter):
        def __init__(self, rule: Rule) -> None:
            super().__init__(rule)
            self.past: list[float] = []

        def decide(self, seen: StepObservation) -> Decision:
            self.past.append(seen.features["score"])
            return Decision(int(sum(self.past) / len(self.past) < 0.7))

    rule = Remembering(threshold=0.5)
    for record in routed(rule, 20):
        assert looked_into(record, rule).as_recorded


def test_ends_that_nobody_wrote_down_are_told_as_the_engine_tells_them() -> None:
    """Traces of before there was `ended`: the same numbers."""
    for record in routed(ALPHA, 30):
        older = replace(record, decisions=tuple(item.model_copy(update={"ended": None}) for item in record.decisions))
        assert looked_into(older, ALPHA).steps == looked_into(record, ALPHA).steps


def test_an_error_is_believed_nothing_of() -> None:
    def broken(answer: str, reference: str) -> bool:
        raise RuntimeError("no")

    out: list[SolutionRecord] = []

    def start(problem: tp.Problem) -> Attempt:
        return Attempt(problem, ALPHA.router(problem), checker=broken)

    asyncio.run(solve_all(dummy_problems(20), start, dummy_models(), out.append))
    failed = [record for record in out if record.terminal.reason == "error"]
    assert failed
    for record in failed:
        assert record.terminal.q is None
        assert looked_into(record, ALPHA).q_end is None


def test_a_threshold_without_scores_is_refused() -> None:
    record = routed(RULES["weak"], 1)[0]
    with pytest.raises(InputError, match=r"steps\[0\]: the evidence needs 'score' of each step"):
        looked_into(record, ThresholdRule(threshold=0.5))


def test_a_mixture_is_no_planned_policy() -> None:
    with pytest.raises(InputError, match="a mixture; give one of its parts"):
        tp.rival_rules(RULES["mixture"], OBSERVATIONS, DYNAMICS)


def test_side_by_side_is_of_what_stands() -> None:
    seen = inspect_solution([0.99, 0.02, 0.98], ALPHA)
    assert seen.steps[1].action == "regenerate"
    column = list(side_by_side({"a": seen})["a"])
    assert column == [seen.steps[1].q, seen.steps[2].q, seen.q_end]


def test_rivals_differ_in_what_they_remember() -> None:
    preset = tp.load_preset("lab-loop.prm")
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(preset.routing_model(), 0.3).policy
    rivals = tp.rival_rules(rule, preset.observations, preset.dynamics)
    assert list(rivals) == ["as planned", "S1 as labelled", "posterior (paper)"]
    assert rivals["as planned"] is rule
    scores = [0.99, 0.02, *[0.99] * 6]
    ends = {
        name: inspect_solution(scores, item, class_table=preset.observations.class_table).steps[-1].belief
        for name, item in rivals.items()
    }
    assert ends["posterior (paper)"] != ends["as planned"]
    with pytest.raises(InputError, match="other observations"):
        tp.rival_rules(ALPHA, preset.observations, preset.dynamics)


# Frames and drawings --------------------------------------------------------------------------------------------


def test_a_frame_has_a_row_a_step() -> None:
    seen = inspect_solution([0.9, 0.2], ALPHA)
    table = seen.frame
    assert len(list(table["step"])) == 2
    assert list(table["belief_S0"]) == [step.belief[0] for step in seen.steps]  # type: ignore[index]
    assert "<table>" in seen._repr_html_()


def test_a_drawing_state_is_json_of_the_steps() -> None:
    import json

    for name, rule in RULES.items():
        for record in routed(rule, 5):
            seen = looked_into(record, rule)
            state = json.loads(json.dumps(solution_state(seen, 0), allow_nan=False))
            assert [item["action"] for item in state["steps"]] == [step.action for step in seen.steps]
            assert (state["curve"] is not None) == (name in ("alpha", "threshold", "posterior", "mixture"))
            assert solution_state(seen, None)["curve"] is None


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lab-loop", "lab-chain.prm", "qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"])
def test_the_compiled_loops_decide_as_the_router_does(preset: str) -> None:
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    model = tp.load_preset(preset).routing_model()
    rule = policy_for_tradeoff(model, 0.15).policy
    rng = np.random.default_rng(0)
    features = [
        {"score": float(score), "logprob_min": -float(low), "logprob_mean": -0.2 * float(low)}
        for score, low in zip(rng.beta(4, 1, 12), rng.exponential(0.3, 12), strict=True)
    ]
    seen = inspect_solution(features, rule, class_table=model.observations.class_table)
    flips = 0
    for probe in seen.probes:
        assert probe is not None
        assert probe.actions == tuple(item.action for item in probe.decisions)
        flips += len(probe.flips)
    assert flips > 0


def test_the_router_that_is_probed_is_left_alone() -> None:
    probe = inspect_solution([0.1, 0.5], ALPHA).probes[1]
    assert probe is not None
    before = probe.router.q
    decision, after = probe.decided()
    assert len(probe.decisions) == len(OBSERVATIONS.step_emission.score_edges)
    assert probe.router.q == before != after.q
    assert probe.decided()[0] == decision
