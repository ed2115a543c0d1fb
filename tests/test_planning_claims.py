"""Numbers that stand in the prose of the notebooks on planning, made anew."""

import pytest

import trim_pomdp as tp
from trim_pomdp.planning.frontier import hull_at

pytestmark = pytest.mark.slow


def test_quickstart() -> None:
    model = tp.load_preset("qwen2.5-1.5b-7b-math").routing_model()
    policy = tp.policy_for_budget(model, 0.2)
    assert policy.planned is not None
    (there,) = hull_at(tp.threshold_curve(model), [0.2])
    assert round(policy.planned.accuracy - there, 2) == 0.02
    found = tp.sensitivity(policy, model)
    assert found.moved[0].parameter == "repair"
    assert not found.moved[0].interval.identified
    low = min(item.accuracies[0] for item in found.moved)
    high = max(item.accuracies[1] for item in found.moved)
    assert (round(low, 2), round(high, 2)) == (0.51, 0.63)
    dearest = max(found.moved, key=lambda item: item.budgets[1] - item.budgets[0])
    assert dearest.parameter == "strong_tokens.wrong"


def test_many_budgets_many_pairs() -> None:
    loop, chain = tp.load_preset("lab-loop"), tp.load_preset("lab-chain").dynamics
    model = loop.routing_model()
    policy = tp.policy_for_budget(model, 0.2)
    assert policy.planned is not None
    assert policy.planned.strong_tokens == pytest.approx(20.0, abs=0.1)
    assert model.strong_only_tokens > chain.strong_only_tokens
    assert len(chain.weak_success) == 1, "as often in late steps as in early ones"
    other = tp.RoutingModel(loop.observations, chain)
    moved, own = tp.evaluate(policy, other), tp.policy_for_budget(other, 0.2).planned
    assert own is not None
    assert (round(moved.strong_tokens, 1), round(moved.budget, 2)) == (24.5, 0.33)
    assert moved.accuracy <= own.accuracy
    assert own.steps < policy.planned.steps
    # "almost all is won that there is to win with a fifth of the tokens"
    weak, strong = (tp.evaluate(tp.StrategyRule(strategy=name), model).accuracy for name in ("weak", "strong"))
    assert (policy.planned.accuracy - weak) / (strong - weak) > 0.95
    found = tp.sensitivity(policy, model)
    assert max(abs(end - found.planned.accuracy) for item in found.moved for end in item.accuracies) < 0.0175
    assert all(item.interval.identified for item in found.moved)
