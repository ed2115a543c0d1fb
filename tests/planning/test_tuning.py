"""Budgets for families of rules: the mixture that is picked against all that two rules can do."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DYNAMICS, MODEL, OBSERVATIONS, PRICES

from trim_pomdp.errors import InputError
from trim_pomdp.model.prices import Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.tuning import tune, tune_in_model
from trim_pomdp.policies import LogprobRule, MixedRule, RedraftRule, StrategyRule, TakeoverRule, ThresholdRule

GRID = [i / 10 for i in range(11)]
FAMILY = [ThresholdRule(threshold=k) for k in GRID]


def numbered(n: int) -> list[ThresholdRule]:
    return [ThresholdRule(threshold=i / n) for i in range(n)]


places = st.lists(
    st.tuples(st.integers(0, 20).map(lambda i: i / 10), st.integers(0, 10).map(lambda i: i / 10)),
    min_size=1,
    max_size=9,
)


@settings(max_examples=150, deadline=None)
@given(places, st.floats(0.0, 2.5))
def test_no_draw_of_two_rules_within_the_budget_is_more_often_right(
    at: list[tuple[float, float]], budget: float
) -> None:
    rules, (costs, accuracies) = numbered(len(at)), np.array(at).T
    found = tune(rules, costs, accuracies).point_for(budget)
    alone = [a for c, a in at if c <= budget]
    drawn = [a + (b - a) * (budget - c) / (d - c) for (c, a), (d, b) in combinations(sorted(at), 2) if c <= budget < d]
    by_rule = dict(zip((rule.policy_hash for rule in rules), at, strict=True))
    parts = [
        (share, *by_rule[part.policy_hash]) for part, share in zip(found.rule.parts, found.rule.shares, strict=True)
    ]
    assert found.cost == pytest.approx(sum(share * cost for share, cost, _ in parts))
    assert found.accuracy == pytest.approx(sum(share * accuracy for share, _, accuracy in parts))
    if alone or drawn:
        assert found.cost <= budget + 1e-12
        assert found.accuracy == pytest.approx(max(*alone, *drawn, 0.0))
    else:  # every rule costs more: the cheapest stands for it
        assert found.cost == min(costs)


def test_an_asked_budget_is_spent_exactly() -> None:
    tuned = tune_in_model(FAMILY, MODEL)
    assert [point.rule for point in tuned.points] == FAMILY
    for budget in (0.05, 0.1, 0.2):
        rule = tuned.rule_for(budget)
        assert isinstance(rule, MixedRule)
        found = evaluate(rule, MODEL)
        assert found.budget == pytest.approx(budget, abs=1e-12)
        assert found.accuracy == pytest.approx(tuned.point_for(budget).accuracy, abs=1e-12)
        assert all(found.accuracy >= point.accuracy - 1e-12 for point in tuned.points if point.cost <= budget)


def test_ends_and_vertices_are_single_rules() -> None:
    tuned = tune(FAMILY[:4], [0.1, 0.3, 0.35, 0.9], [0.4, 0.7, 0.5, 0.8])
    assert [point.rule for point in tuned.hull] == [FAMILY[0], FAMILY[1], FAMILY[3]]
    assert tuned.rule_for(0.0) == FAMILY[0]  # which costs more than that, and says so
    assert tuned.point_for(0.0).cost == 0.1
    assert tuned.rule_for(0.3) == FAMILY[1]
    assert tuned.rule_for(0.9) == tuned.rule_for(5.0) == FAMILY[3]
    assert tuned.rule_for(0.6) == MixedRule(first=FAMILY[1], second=FAMILY[3], probability=(0.6 - 0.3) / (0.9 - 0.3))
    assert repr(tuned) == "Tuned(rules 4, on the hull 3, cheapest 0.4000 at 0.1, dearest 0.8000 at 0.9)"
    assert "ThresholdRule(threshold 0.1)" in tuned._repr_html_()


def test_more_spending_that_is_no_better_is_not_bought() -> None:
    tuned = tune(FAMILY[:3], [0.0, 0.5, 1.0], [0.5, 0.8, 0.7])
    assert tuned.point_for(1.0).rule == FAMILY[1]
    assert tuned.point_for(1.0).cost == 0.5


def test_families_of_several_forms() -> None:
    """Rules with other actions, and with two parameters, mix as well as any."""
    model = RoutingModel(OBSERVATIONS, DYNAMICS.replace(redraft_repair=0.4))
    rules = [
        StrategyRule(strategy="weak"),
        *(TakeoverRule(threshold=k) for k in (0.2, 0.5)),
        *(RedraftRule(redraft_below=k, regenerate_below=k / 2, max_drafts=2) for k in (0.2, 0.5, 0.8)),
        StrategyRule(strategy="strong"),
    ]
    tuned = tune_in_model(rules, model)
    for budget in (0.1, 0.3):
        assert evaluate(tuned.rule_for(budget), model).budget == pytest.approx(budget)


def test_money_is_a_budget_too() -> None:
    model = replace(MODEL, tariff=Tariff.of(PRICES, 40.0))
    tuned = tune_in_model(FAMILY, model, over="money")
    middle = 0.5 * (tuned.hull[0].cost + tuned.hull[-1].cost)
    assert evaluate(tuned.rule_for(middle), model).money == pytest.approx(middle)
    with pytest.raises(InputError, match=r"tariff|prices"):
        tune_in_model(FAMILY, MODEL, over="money")


@pytest.mark.parametrize(
    ("rules", "costs", "accuracies", "words"),
    [
        ([], [], [], "no rule"),
        (FAMILY[:2], [0.1], [0.5, 0.6], "costs have shape"),
        (FAMILY[:2], [0.1, 0.2], [0.5], "accuracies have shape"),
        (FAMILY[:2], [0.1, np.nan], [0.5, 0.6], "finite"),
        (FAMILY[:2], [-0.1, 0.2], [0.5, 0.6], "none below 0"),
        (FAMILY[:2], [0.1, 0.2], [50.0, 60.0], "accuracy is 60"),
        ([MixedRule(first=FAMILY[0], second=FAMILY[1], probability=0.5)], [0.1], [0.5], "is a mixture"),
    ],
)
def test_points_that_are_none_are_refused(rules, costs, accuracies, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=words):
        tune(rules, costs, accuracies)


def test_budgets_that_are_none_are_refused() -> None:
    tuned = tune(FAMILY[:1], [0.1], [0.5])
    for budget in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="expected at least 0"):
            tuned.rule_for(budget)


def test_rules_that_no_model_knows_are_tuned_on_what_was_measured() -> None:
    rules = [LogprobRule(threshold=t) for t in (-3.0, -1.0, 0.0)]
    with pytest.raises(InputError, match="run it live"):
        tune_in_model(rules, MODEL)
    mixed = tune(rules, [0.1, 0.3, 1.0], [0.5, 0.6, 0.7]).rule_for(0.2)
    assert mixed.shares == pytest.approx((0.5, 0.5))
    assert not mixed.needs_score
    assert not mixed.has_course
