"""Three thousand dummy problems through the engine achieve what the exact evaluation of the policy says."""

import asyncio
import math

import numpy as np
import pytest
from scripted import DYNAMICS, EDGES, MODEL, OBSERVATIONS, WORLD, alpha_rule, dummy_models

from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate, point_of
from trim_pomdp.policies import (
    LogprobRule,
    MixedRule,
    PlannedPoint,
    PosteriorRule,
    RedraftRule,
    Rule,
    StrategyRule,
    TakeoverRule,
    ThresholdRule,
)
from trim_pomdp.policies.in_model import course_by_bin
from trim_pomdp.runtime.backends.dummy import DummyWorld, dummy_oracle, dummy_problems
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.summary import mean_and_error

pytestmark = pytest.mark.slow  # minutes in all

N = 3000
RULES = {
    "alpha": alpha_rule(),
    "threshold": ThresholdRule(threshold=0.5),
    "threshold within a bin": ThresholdRule(threshold=0.6),
    "posterior": PosteriorRule(closeness=0.3),
    "weak": StrategyRule(strategy="weak"),
    "strong": StrategyRule(strategy="strong"),
    "random": StrategyRule(strategy="random", probability=0.3),
    "oracle": StrategyRule(strategy="oracle"),
    "mixture": MixedRule(first=ThresholdRule(threshold=0.2), second=alpha_rule(), probability=0.4),
    "takeover": TakeoverRule(threshold=0.5),
    "takeover within a bin": TakeoverRule(threshold=0.3),
}


@pytest.mark.parametrize("name", list(RULES))
def test_live_is_as_evaluated(name: str) -> None:
    as_planned(RULES[name], evaluate(RULES[name], MODEL), WORLD)


def as_planned(rule: Rule, planned: PlannedPoint, world: DummyWorld) -> None:
    out: list[SolutionRecord] = []
    routing = Routing(rule, class_table=OBSERVATIONS.class_table, oracle=dummy_oracle)
    asyncio.run(solve_all(dummy_problems(N), routing.start, dummy_models(world), out.append, in_flight=256))
    ends = [record.terminal for record in out]
    measured = {
        "accuracy": [float(end.correct or 0) for end in ends],
        "strong_tokens": [float(end.tokens.strong) for end in ends],
        "regenerations": [float(end.regenerations) for end in ends],
        "steps": [float(end.steps) for end in ends],
        "kept_tokens": [float(end.tokens.weak_kept) for end in ends],
    }
    if rule != StrategyRule(strategy="strong"):  # writes its steps alone, without drafts to discard
        measured["discarded_tokens"] = [float(end.tokens.weak_discarded) for end in ends]
    for what, values in measured.items():
        mean, error = mean_and_error(values)
        assert mean is not None
        assert error is not None
        assert mean == pytest.approx(getattr(planned, what), abs=4 * error + 1e-9), what


@pytest.mark.parametrize("form", [ThresholdRule, TakeoverRule])
def test_rules_on_evidence_are_as_evaluated(form: type[ThresholdRule]) -> None:
    """Evidence of the score alone, so that the dummies' scores make it; bins are cut at the same scores."""
    shift = EvidenceMap(features=("score",), coefficients=(1.0,), intercept=-1.0)

    def shifted(score: float) -> float:
        return score if score in (0.0, 1.0) else 1.0 / (1.0 + math.exp(1.0) * (1.0 - score) / score)

    bins = OBSERVATIONS.step_emission.model_copy(update={"score_edges": tuple(map(shifted, EDGES))})
    model = RoutingModel(OBSERVATIONS.model_copy(update={"evidence": shift, "step_emission": bins}), DYNAMICS)
    rule = form(threshold=shifted(0.8), evidence=shift)
    as_planned(rule, evaluate(rule, model), WORLD)


@pytest.mark.parametrize("feature", ["logprob_first", "logprob_min"])
def test_log_probabilities_of_the_dummies_are_as_evaluated(feature: str) -> None:
    """The first token is the least likely one: log(.02 + .9 u), twice that of wrong steps."""
    rule = LogprobRule(feature=feature, threshold=-1.0)  # type: ignore[arg-type]
    right, wrong = ((math.exp(-1.0 / factor) - 0.02) / 0.9 for factor in (1.0, 2.0))
    p_w = DYNAMICS.weak_success[0]
    triggers = np.array(
        [right, p_w * right + (1.0 - p_w) * wrong, wrong]
    )  # the dummies' derailed steps are of both kinds
    by_bin = np.repeat(triggers[:, None], MODEL.emission.shape[1], axis=1)
    as_planned(rule, point_of(course_by_bin(by_bin, MODEL), MODEL), WORLD)


@pytest.mark.parametrize("keeps", ["latest", "better"])
@pytest.mark.parametrize("redraft_below", [0.8, 1.0])
def test_best_of_three_is_as_evaluated(keeps: str, redraft_below: float) -> None:
    """Drafts in one bin stand as the later one does in models, so that bins are many here."""
    dynamics = DYNAMICS.replace(redraft_repair=0.4)
    rule = RedraftRule(redraft_below=redraft_below, regenerate_below=0.5, max_drafts=3, keeps=keeps)  # type: ignore[arg-type]
    as_planned(rule, evaluate(rule, RoutingModel(OBSERVATIONS, dynamics)), DummyWorld.of(OBSERVATIONS, dynamics))


def test_worlds_differ_where_the_rule_would_not_see_it() -> None:
    """The comparison above can fail: another repair rate is noticed."""
    world = DummyWorld.of(OBSERVATIONS, DYNAMICS.replace(repair=0.3))
    out: list[SolutionRecord] = []
    routing = Routing(ThresholdRule(threshold=0.5))
    asyncio.run(solve_all(dummy_problems(N), routing.start, dummy_models(world), out.append, in_flight=256))
    mean, error = mean_and_error([float(record.terminal.correct or 0) for record in out])
    assert mean is not None
    assert error is not None
    assert mean < evaluate(ThresholdRule(threshold=0.5), MODEL).accuracy - 4 * error
    elsewhere = RoutingModel(OBSERVATIONS, DYNAMICS.replace(repair=0.3))
    assert mean == pytest.approx(evaluate(ThresholdRule(threshold=0.5), elsewhere).accuracy, abs=4 * error)
