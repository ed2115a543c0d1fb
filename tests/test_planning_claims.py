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
    loop, mixed = tp.load_preset("lab-loop"), tp.load_preset("lab-mixed").dynamics
    model = loop.routing_model()
    policy = tp.policy_for_budget(model, 0.2)
    assert policy.planned is not None
    assert model.strong_only_tokens > mixed.strong_only_tokens
    other = tp.RoutingModel(loop.observations, mixed)
    moved, own = tp.evaluate(policy, other), tp.policy_for_budget(other, 0.2).planned
    assert own is not None
    assert (round(moved.strong_tokens, 1), round(moved.budget, 2)) == (19.1, 0.26)
    assert (round(moved.accuracy, 3), round(own.accuracy, 3)) == (0.671, 0.654)
    assert own.steps < policy.planned.steps
    # "nine tenths are won of what there is to win", and the strong model solves fewer of the others
    weak, strong = (tp.evaluate(tp.StrategyRule(strategy=name), model).accuracy for name in ("weak", "strong"))
    assert round((policy.planned.accuracy - weak) / (strong - weak), 1) == 0.9
    assert tp.evaluate(tp.StrategyRule(strategy="strong"), other).accuracy < strong
    found = tp.sensitivity(policy, model)
    assert max(abs(end - found.planned.accuracy) for item in found.moved for end in item.accuracies) < 0.0175
    assert all(item.interval.identified for item in found.moved)
