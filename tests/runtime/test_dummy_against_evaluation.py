"""Three thousand dummy problems through the engine achieve what the exact evaluation of the policy says."""

import asyncio

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS, alpha_rule, dummy_models

from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.policies import MixedRule, PosteriorRule, Rule, StrategyRule, ThresholdRule
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
}


@pytest.mark.parametrize("name", list(RULES))
def test_live_is_as_evaluated(name: str) -> None:
    rule: Rule = RULES[name]
    out: list[SolutionRecord] = []
    routing = Routing(rule, class_table=OBSERVATIONS.class_table, oracle=dummy_oracle)
    asyncio.run(solve_all(dummy_problems(N), routing.start, dummy_models(), out.append, in_flight=256))
    planned = evaluate(rule, MODEL)
    ends = [record.terminal for record in out]
    measured = {
        "accuracy": [float(end.correct or 0) for end in ends],
        "strong_tokens": [float(end.tokens.strong) for end in ends],
        "regenerations": [float(end.regenerations) for end in ends],
        "steps": [float(end.steps) for end in ends],
        "kept_tokens": [float(end.tokens.weak_kept) for end in ends],
    }
    if name != "strong":  # writes its steps alone, without drafts to discard
        measured["discarded_tokens"] = [float(end.tokens.weak_discarded) for end in ends]
    for what, values in measured.items():
        mean, error = mean_and_error(values)
        assert mean is not None
        assert error is not None
        assert mean == pytest.approx(getattr(planned, what), abs=4 * error + 1e-9), what


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
