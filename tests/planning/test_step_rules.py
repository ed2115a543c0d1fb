"""Rules on one step: thresholds on evidence, taking over, log-probabilities; in models by hand, and their routers."""

import itertools
import json
import math

import numpy as np
import pytest
from scripted import DYNAMICS, EDGES, MODEL, OBSERVATIONS, feed, scores, step

from trim_pomdp.artifacts import validate
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.flips import Probe
from trim_pomdp.inspection.solutions import edit, inspect_solution
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import (
    LogprobRule,
    MixedRule,
    PolicyArtifact,
    RedraftRule,
    Rule,
    StepObservation,
    StrategyRule,
    TakeoverRule,
    ThresholdRule,
)
from trim_pomdp.runtime.attempt import Attempt, logprob_features
from trim_pomdp.runtime.live import plan_for_rule
from trim_pomdp.runtime.records import TokenCounts

ANSWER = r"so \boxed{7}"
SHIFTED = EvidenceMap(features=("score",), coefficients=(1.0,), intercept=1.2, score_clip=1e-9)
TWO = EvidenceMap(features=("score", "logprob_first"), coefficients=(0.7, 0.4), intercept=0.3)


def shifted(score: float) -> float:
    """The evidence score that `SHIFTED` makes of a score, written out."""
    return 0.0 if score == 0.0 else 1.0 if score == 1.0 else 1.0 / (1.0 + math.exp(-1.2) * (1.0 - score) / score)


# The same steps, binned by their evidence score.
EVIDENT = RoutingModel(
    OBSERVATIONS.model_copy(
        update={
            "evidence": SHIFTED,
            "step_emission": OBSERVATIONS.step_emission.model_copy(update={"score_edges": tuple(map(shifted, EDGES))}),
        }
    ),
    DYNAMICS,
)


def by_hand(model: RoutingModel, below: np.ndarray, *, taken: bool) -> tuple[float, float, float, float]:
    """Total probability, accuracy, strong tokens and strong steps, by enumerating classes, ends and decisions."""
    p_w, p_s, p_r = model.dynamics.weak_success[0], model.strong_success, model.repair
    end, tokens = model.law.end, model.strong_tokens
    total = np.zeros(4)

    def go(t: int, right: bool, strong: bool, chance: float, spent: float, steps: int) -> None:
        for c in (0, 2) if right else (1,):
            share = chance * {0: p_w, 2: 1.0 - p_w, 1: 1.0}[c]
            for redo, after, over in itertools.product((False, True), repeat=3):
                asked = 1.0 if strong else below[c]
                success = {0: p_s if redo else 1.0, 1: 0.0, 2: p_r if redo else 0.0}[c]
                p = share * (asked if redo else 1.0 - asked) * (success if after else 1.0 - success)
                # A step that is rewritten ends the solution as what it is then.
                h, became = end[t], 0 if after else 1 if c == 1 else 2
                p *= h[became] if over else 1.0 - h[became]
                if p == 0.0:
                    continue
                now = spent + (tokens[c] if redo else 0.0)
                if over:
                    total[:] += p * np.array([1.0, after, now, steps + redo])
                else:
                    go(t + 1, after, (strong or redo) if taken else False, p, now, steps + redo)

    go(0, True, False, 1.0, 0.0, 0)
    return tuple(total.tolist())  # type: ignore[return-value]


@pytest.fixture(scope="module")
def short() -> RoutingModel:
    """Three steps, one hazard for all classes, so that a rewritten step ends as the draft did."""
    return RoutingModel(OBSERVATIONS, DYNAMICS.replace(hazard=(0.3, 0.5, 1.0), hazard_derailed=None, hazard_wrong=None))


@pytest.mark.parametrize("k", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("rule", [ThresholdRule, TakeoverRule])
def test_thresholds_and_takeovers_by_enumeration(short: RoutingModel, rule: type[Rule], k: float) -> None:
    below = short.emission @ OBSERVATIONS.step_emission.share_below(k)
    total, accuracy, tokens, steps = by_hand(short, below, taken=rule is TakeoverRule)
    assert total == pytest.approx(1.0)
    found = evaluate(rule(threshold=k), short)  # type: ignore[call-arg]
    assert (found.accuracy, found.strong_tokens) == (pytest.approx(accuracy), pytest.approx(tokens))
    assert found.regenerations == pytest.approx(steps)


@pytest.mark.parametrize(
    "rule",
    [
        TakeoverRule(threshold=0.5),
        TakeoverRule(threshold=0.9),
        TakeoverRule(threshold=shifted(0.6), evidence=SHIFTED),
        ThresholdRule(threshold=0.7, evidence=SHIFTED),
    ],
    ids=repr,
)
def test_draws_are_as_evaluated(rule: Rule) -> None:
    model = MODEL if rule.judges_prm_scores else EVIDENT
    exact, drawn = evaluate(rule, model), simulate(rule, model, 60_000, 3)
    assert all(abs(z) < 4.0 for z in drawn.z_scores(exact).values()), drawn.z_scores(exact)


def test_ends_of_takeovers_are_the_two_models_alone() -> None:
    weak, strong = (evaluate(StrategyRule(strategy=name), MODEL) for name in ("weak", "strong"))  # type: ignore[arg-type]
    never, always = (evaluate(TakeoverRule(threshold=k), MODEL) for k in (0.0, 1.0))
    for name in ("accuracy", "strong_tokens", "regenerations", "steps"):
        assert getattr(never, name) == pytest.approx(getattr(weak, name))
        assert getattr(always, name) == pytest.approx(getattr(strong, name))
    assert always.discarded_tokens == pytest.approx(0.85 * 8.0 + 0.15 * 10.5), "one draft, that of the first step"


@pytest.mark.parametrize("form", [ThresholdRule, TakeoverRule])
def test_evidence_that_orders_steps_as_the_score_does_is_no_other_rule(form: type[ThresholdRule]) -> None:
    for k in (0.0, *EDGES[1:-1], 1.0):
        bare = evaluate(form(threshold=k), MODEL)
        mapped = evaluate(form(threshold=shifted(k), evidence=SHIFTED), EVIDENT)
        assert mapped.accuracy == pytest.approx(bare.accuracy, abs=1e-9)
        assert mapped.strong_tokens == pytest.approx(bare.strong_tokens, abs=1e-9)
    assert evidence_score(SHIFTED, {"score": 0.3}) == pytest.approx(shifted(0.3))


def test_a_threshold_on_evidence_is_a_best_of_one() -> None:
    model = RoutingModel(EVIDENT.observations, DYNAMICS.replace(redraft_repair=0.4))
    once = RedraftRule(redraft_below=0.6, regenerate_below=0.6, max_drafts=1, evidence=SHIFTED)
    plain = ThresholdRule(threshold=0.6, evidence=SHIFTED)
    assert evaluate(plain, model).accuracy == pytest.approx(evaluate(once, model).accuracy)


@pytest.mark.parametrize("form", [ThresholdRule, TakeoverRule])
def test_models_of_other_evidence_cannot_speak_of_a_rule(form: type[ThresholdRule]) -> None:
    with pytest.raises(InputError, match="rule looks at the PRM score, but observations 'small' bin an evidence score"):
        evaluate(form(threshold=0.5), EVIDENT)
    for model in (MODEL, EVIDENT):
        with pytest.raises(InputError, match="rule decides on other evidence than observations 'small' bin"):
            evaluate(form(threshold=0.5, evidence=TWO), model)


def test_rules_are_written_and_read() -> None:
    for rule in (
        ThresholdRule(threshold=0.5, evidence=TWO),
        TakeoverRule(threshold=0.3),
        TakeoverRule(threshold=0.3, evidence=SHIFTED),
        LogprobRule(feature="logprob_first", threshold=-0.7),
        MixedRule(first=TakeoverRule(threshold=0.3), second=LogprobRule(threshold=-1.0), probability=0.2),
    ):
        artifact = PolicyArtifact(model="none", policy=rule)
        again = PolicyArtifact.model_validate_json(artifact.model_dump_json())
        assert again.policy == rule
        assert again.policy.policy_hash == rule.policy_hash


def test_a_rule_on_prm_scores_says_no_more_than_its_threshold() -> None:
    """Runs and policies that are on disk know it by this hash."""
    assert json.loads(ThresholdRule(threshold=0.5).model_dump_json()) == {"form": "threshold", "threshold": 0.5}
    assert ThresholdRule(threshold=0.5).policy_hash == "5883ade71cb0"


# On one problem ---------------------------------------------------------------------------------------------------


def seen(index: int = 0, **features: float) -> StepObservation:
    return StepObservation(index, False, features)


def decided(rule: Rule, **features: float) -> int:
    return rule.router(Problem("p", "?", "7")).decide(seen(**features)).action


def test_what_a_rule_looks_at_is_what_it_needs() -> None:
    tokens = EvidenceMap(features=("logprob_first",), coefficients=(1.0,), intercept=0.0)
    assert TakeoverRule(threshold=0.5).needs_score
    assert ThresholdRule(threshold=0.5, evidence=TWO).needs_score
    assert not ThresholdRule(threshold=0.5, evidence=tokens).needs_score
    for k in (0.0, 1.0):
        assert not ThresholdRule(threshold=k, evidence=TWO).needs_score
        assert decided(ThresholdRule(threshold=k, evidence=TWO)) == int(k)
    assert decided(ThresholdRule(threshold=0.5, evidence=tokens), logprob_first=math.log(0.6)) == 0
    assert decided(ThresholdRule(threshold=0.5, evidence=tokens), logprob_first=math.log(0.4)) == 1
    assert TakeoverRule(threshold=0.5).choices == ("keep", "takeover")
    with pytest.raises(InputError, match="needs 'logprob_first'"):
        decided(ThresholdRule(threshold=0.5, evidence=TWO), score=0.5)


def test_the_evidence_that_was_decided_on_is_recorded() -> None:
    router = ThresholdRule(threshold=0.5, evidence=SHIFTED).router(Problem("p", "?", "7"))
    item = Attempt(Problem("p", "?", "7"), router)
    feed(item, ("weak", step("a")), ("prm", scores(0.1)), ("strong", step("b")))
    feed(item, ("weak", step(ANSWER)), ("prm", scores(0.9, 0.3)))
    first, second = item.record.decisions
    assert (first.action, second.action) == ("regenerate", "keep")
    assert (first.evidence, second.evidence) == (pytest.approx(shifted(0.1)), pytest.approx(shifted(0.3)))


def test_whoever_takes_over_stays() -> None:
    item = Attempt(Problem("p", "?", "7"), TakeoverRule(threshold=0.5).router(Problem("p", "?", "7")))
    feed(item, ("weak", step("a", 3)), ("prm", scores(0.5)), ("weak", step("b", 4)), ("prm", scores(0.5, 0.4)))
    feed(item, ("strong", step("c", 9)), ("strong", step("d", 8)), ("strong", step(ANSWER, 2, "answer")))
    assert [row.action for row in item.record.decisions] == ["keep", "takeover", "regenerate", "regenerate"]
    assert item.record.terminal.tokens == TokenCounts(weak_kept=3, weak_discarded=4, strong=19, scored=300)


def test_log_probabilities_trigger_without_a_prm() -> None:
    rule = LogprobRule(threshold=-0.25)
    item = Attempt(Problem("p", "?", "7"), rule.router(Problem("p", "?", "7")))
    # Of n tokens, −.1, −.2, …: the mean is −.05 (n + 1).
    feed(item, ("weak", step("a", 3)), ("weak", step("b", 5)), ("strong", step("c", 9)), ("weak", step(ANSWER, 2)))
    assert [row.action for row in item.record.decisions] == ["keep", "regenerate", "keep"]
    assert item.record.terminal.tokens.scored == 0
    assert not rule.needs_score


@pytest.mark.parametrize(("feature", "low"), [("logprob_mean", -0.9), ("logprob_min", -2.0), ("logprob_first", -0.2)])
def test_each_log_probability_has_its_threshold(feature: str, low: float) -> None:
    features = logprob_features((-0.2, -2.0, -0.5))
    assert features[feature] == pytest.approx(low)
    assert decided(LogprobRule(feature=feature, threshold=low + 1e-6), **features) == 1  # type: ignore[arg-type]
    assert decided(LogprobRule(feature=feature, threshold=low - 1e-6), **features) == 0  # type: ignore[arg-type]
    assert decided(LogprobRule(feature=feature, threshold=0.0), **{feature: 0.0}) == 1  # type: ignore[arg-type]


def test_log_probabilities_of_rounded_or_empty_steps() -> None:
    assert logprob_features((1e-9, -0.5))["logprob_first"] == 0.0
    assert logprob_features(()) == {"logprob_min": 0.0, "logprob_mean": 0.0, "logprob_first": 0.0}


def test_what_log_probability_rules_refuse() -> None:
    with pytest.raises(InputError, match="'logprob_first' of each step, and the weak model tells no such thing"):
        decided(LogprobRule(feature="logprob_first", threshold=-1.0), tokens=3.0, logprob_mean=-0.1)
    with pytest.raises(InputError, match="has no exact evaluation in a routing model; run it live"):
        evaluate(LogprobRule(threshold=-1.0), MODEL)
    with pytest.raises(InputError, match="has no simulation in a routing model; run it live"):
        simulate(LogprobRule(threshold=-1.0), MODEL, 100, 0)
    for document in ({"threshold": 0.1}, {"threshold": -math.inf}, {"threshold": -1.0, "feature": "score"}):
        with pytest.raises(InputError):
            validate(LogprobRule, document, source="rule")


def test_a_rule_without_an_evaluation_is_planned_with_ends_alone() -> None:
    plan = plan_for_rule(LogprobRule(threshold=-1.0), MODEL)
    assert plan.artifact.planned is None
    assert plan.strong_only_tokens == MODEL.strong_only_tokens
    assert plan.weak_only == evaluate(StrategyRule(strategy="weak"), MODEL)
    mixed = MixedRule(first=LogprobRule(threshold=-1.0), second=ThresholdRule(threshold=0.5), probability=0.5)
    assert plan_for_rule(mixed, MODEL).artifact.planned is None
    assert plan_for_rule(TakeoverRule(threshold=0.5), MODEL).artifact.planned is not None


def test_best_of_m_always_draws_all_of_them() -> None:
    """Even where the PRM is sure; exact evaluation takes it so too."""
    rule = RedraftRule(redraft_below=1.0, regenerate_below=0.3, max_drafts=3)
    item = Attempt(Problem("p", "?", "7"), rule.router(Problem("p", "?", "7")))
    feed(item, ("weak", step("a")), ("prm", scores(1.0)), ("weak", step("b")), ("prm", scores(0.9)))
    feed(item, ("weak", step("c")), ("prm", scores(0.4)))
    assert item.steps == ("a",)
    model = RoutingModel(OBSERVATIONS, DYNAMICS.replace(redraft_repair=0.4))
    point = evaluate(rule, model)
    course = rule.course(model)
    asked = course.counts.sum() - course.counts[:, 2].sum()  # steps that had a draft
    assert point.redrafts == pytest.approx(2.0 * asked)
    every = RedraftRule(redraft_below=1.0, regenerate_below=1.0, max_drafts=2)
    router = every.router(Problem("p", "?", "7"))
    assert [router.decide(StepObservation(0, False, {"score": 1.0}, draft=i)).action for i in (0, 1)] == [2, 1]


# Inspected --------------------------------------------------------------------------------------------------------


def test_inspections_say_where_evidence_would_flip_the_decision() -> None:
    rule = ThresholdRule(threshold=0.5, evidence=TWO)
    looks = [{"score": 0.9, "logprob_first": -0.1}, {"score": 0.2, "logprob_first": -1.5}]
    found = inspect_solution(looks, rule)
    first, second = found.steps
    assert (first.decided, second.decided) == ("keep", "regenerate")
    assert first.evidence == pytest.approx(evidence_score(TWO, looks[0]))
    assert first.flip_evidence == second.flip_evidence == 0.5
    assert second.flip_score is not None
    flipped = evidence_score(TWO, {**looks[1], "score": second.flip_score})
    assert flipped == pytest.approx(0.5, abs=1e-9)
    edited = edit(found, 0, evidence=0.1)
    assert [item.decided for item in edited.steps] == ["regenerate", "regenerate"]
    assert edited.steps[1].evidence == pytest.approx(evidence_score(TWO, looks[1])), "the next step is as it was"


def test_inspections_of_rules_that_look_at_no_score() -> None:
    for rule in (LogprobRule(threshold=-1.0), ThresholdRule(threshold=1.0, evidence=TWO)):
        probe = Probe(rule, rule.router(Problem("p", "?", "7")), seen(score=0.5, logprob_mean=-2.0))
        assert probe.points == ()
        assert probe.nearest_flip is None
        assert probe.decided()[0].action == 1
    taken = inspect_solution([0.9, 0.2, 0.9], TakeoverRule(threshold=0.5))
    assert [item.decided for item in taken.steps][:2] == ["keep", "takeover"]
