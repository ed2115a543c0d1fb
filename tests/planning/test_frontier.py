"""The frontier: order, coverage, budgets that can and cannot be met, and never below the threshold rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import Frontier, concave_hull, policy_for_budget, solve_frontier
from trim_pomdp.planning.thresholds import hull_at, posterior_curve, threshold_curve
from trim_pomdp.policies import StrategyRule
from trim_pomdp.presets.store import load_preset


@pytest.fixture(scope="module")
def model() -> RoutingModel:
    return load_preset("qwen2.5-1.5b-7b-math").routing_model()


@pytest.fixture(scope="module")
def frontier(model: RoutingModel) -> Frontier:
    return solve_frontier(model, 60)


def test_points_are_sorted_and_certified(frontier: Frontier) -> None:
    assert len(frontier.points) + len(frontier.dominated) == 60
    budgets = [item.point.budget for item in frontier.points]
    accuracy = [item.point.accuracy for item in frontier.points]
    assert budgets == sorted(budgets)
    assert accuracy == sorted(accuracy)
    for item in frontier.points:
        worth = 100 * item.point.accuracy - item.tradeoff * item.point.strong_tokens
        assert item.value_lower == pytest.approx(worth, abs=1e-9)
        assert 0 <= item.value_upper - item.value_lower <= 1e-5 * 100


def test_budgets_are_evenly_covered(frontier: Frontier) -> None:
    budgets = np.array([item.point.budget for item in frontier.points])
    assert budgets[0] == 0.0
    assert np.diff(budgets).max() < 3 * budgets[-1] / 59


def test_ends_of_the_frontier(frontier: Frontier, model: RoutingModel) -> None:
    assert frontier.points[0].point.accuracy == pytest.approx(frontier.weak_only.accuracy, abs=1e-12)
    assert frontier.points[-1].tradeoff == 0.0
    assert frontier.points[-1].point.accuracy >= frontier.strong_only.accuracy
    assert frontier.strong_only.budget == pytest.approx(1.0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"false_alarms": 0.02},
        {"false_alarms": 0.02, "repair": 0.7, "look_right": 0.05},
        {"derailed_emission": "labelled", "false_alarms": 0.0},
        {"repair": 0.99, "strong_success": 0.9},
    ],
)
def test_never_below_the_threshold_rule(model: RoutingModel, change: dict[str, float]) -> None:
    changed = RoutingModel(model.observations, model.dynamics.replace(strong_only_tokens=None, **change))
    planned = solve_frontier(changed, 80)
    grid = np.linspace(0, planned.points[-1].point.budget, 40)
    # Linear interpolation between 80 points of a concave curve loses a little.
    assert (planned.accuracy_at(grid) >= hull_at(threshold_curve(changed), grid) - 2e-4).all()


@pytest.mark.slow
def test_the_paper_rule_is_dominated_where_it_sees_no_more_than_the_planner() -> None:
    """In the paper's model the class table is a fresh emission, so both see the same of each step."""
    paper = load_preset("qwen2.5-1.5b-7b-math-paper").routing_model()
    planned = solve_frontier(paper, 60)
    grid = np.linspace(0, planned.points[-1].point.budget, 40)
    assert (planned.accuracy_at(grid) >= hull_at(posterior_curve(paper), grid) - 2e-4).all()


def test_budget_zero_is_the_weak_model(frontier: Frontier) -> None:
    artifact = frontier.policy_for_budget(0.0)
    assert artifact.policy == StrategyRule(strategy="weak")
    assert artifact.planned.strong_tokens == 0.0


def test_a_budget_that_buys_nothing_is_explained(frontier: Frontier) -> None:
    artifact = frontier.policy_for_budget(1.0)
    assert artifact.planned.budget < 1.0
    assert artifact.planned.accuracy >= frontier.strong_only.accuracy
    assert "cannot be spent to advantage" in artifact.notes[0]


def test_budget_one_can_be_spent_where_the_strong_model_is_perfect(model: RoutingModel) -> None:
    perfect = RoutingModel(
        model.observations,
        model.dynamics.replace(strong_success=1.0, repair=1.0, weak_success=(0.5,), strong_only_tokens=None),
    )
    artifact = policy_for_budget(perfect, 1.0)
    assert artifact.planned.accuracy == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0.003, 0.05, 0.2, 0.37, 0.6])
def test_budgets_are_met_exactly(frontier: Frontier, model: RoutingModel, budget: float) -> None:
    artifact = frontier.policy_for_budget(budget)
    assert artifact.planned.budget == pytest.approx(budget, abs=1e-9)
    assert artifact.planned.accuracy >= float(frontier.accuracy_at([budget])[0]) - 2e-4
    again = evaluate(artifact, model)
    assert again.accuracy == pytest.approx(artifact.planned.accuracy, abs=1e-12)


@pytest.mark.parametrize("budget", [-0.1, 1.1, float("nan")])
def test_impossible_budgets_are_refused(frontier: Frontier, budget: float) -> None:
    with pytest.raises(InputError, match="budget"):
        frontier.policy_for_budget(budget)


@pytest.mark.parametrize("tradeoffs", [0, -3, []])
def test_no_tradeoff_is_refused(model: RoutingModel, tradeoffs: int | list[float]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        solve_frontier(model, tradeoffs)


def test_negative_prices_are_refused(model: RoutingModel) -> None:
    with pytest.raises(InputError, match="tradeoff"):
        solve_frontier(model, [0.1, -0.1])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_tradeoffs(model: RoutingModel, n: int) -> None:
    assert len(solve_frontier(model, n).points) == n


share = st.integers(0, 1000).map(lambda i: i / 1000)


@given(st.lists(st.tuples(share, share), min_size=1, max_size=20))
def test_hull_is_concave_and_above_every_point(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    hx, hy = concave_hull(x, y)
    assert (np.interp(x, hx, hy) >= y - 1e-9).all()
    if len(hx) > 2:
        slopes = np.diff(hy) / np.diff(hx)
        assert (np.diff(slopes) <= 1e-6 * np.abs(slopes[:-1]) + 1e-9).all()
    vertices = set(zip(hx.tolist(), hy.tolist(), strict=True))
    assert vertices <= set(zip(x.tolist(), y.tolist(), strict=True))
