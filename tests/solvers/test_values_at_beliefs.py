"""Values away from the start belief, against recursion over all beliefs; and which beliefs are refused."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from solvers import POMDP, EpochModel, EpochSolution, ModelError, PolicyGraph, solve_epochs

HALF = [[0.5, 0.5], [0.5, 0.5]]
SHARES = [0.0, 0.02, 0.1, 0.15, 0.3, 0.45, 0.5, 0.62, 0.8, 0.9, 0.97, 1.0]


def tiger(horizon: int) -> EpochModel:
    return POMDP(
        transition=[np.eye(2), HALF, HALF],
        observation=[[[0.85, 0.15], [0.15, 0.85]], HALF, HALF],
        reward=[[-1, -1], [-100, 10], [10, -100]],
        start=[0.5, 0.5],
        discount=0.95,
    ).finite_horizon(horizon)


def exact_tiger(share: float, horizon: int) -> float:
    """Optimal value with probability `share` that the tiger is left, by hand: no code of the package."""

    @cache
    def value(p: float, h: int) -> float:
        if h == 0:
            return 0.0
        afresh = 0.95 * value(0.5, h - 1)
        listen = -1.0
        for likely, unlikely in ((0.85, 0.15), (0.15, 0.85)):
            seen = p * likely + (1 - p) * unlikely
            listen += 0.95 * seen * value(round(p * likely / seen, 14), h - 1)
        return max(listen, -100 * p + 10 * (1 - p) + afresh, 10 * p - 100 * (1 - p) + afresh)

    return value(share, horizon)


@pytest.fixture(scope="module")
def ten() -> EpochSolution:
    return solve_epochs(tiger(10), gap=1e-9)


def test_the_tiger_at_nine_to_one(ten: EpochSolution) -> None:
    """What was wrong: 6.69, the value of one plan, where 9.94 can be had."""
    assert exact_tiger(0.9, 10) == pytest.approx(9.943101822, abs=1e-8)
    for value in (ten.value([0.9, 0.1]), ten.graph.value([0.9, 0.1]), ten.solved_from([0.9, 0.1]).lower):
        assert value == pytest.approx(exact_tiger(0.9, 10), abs=1e-8)
    assert ten.graph.own_value(ten.model, [0.9, 0.1]) == pytest.approx(6.6933684, abs=1e-7)


@pytest.mark.parametrize("share", SHARES)
def test_tiger_values_at_any_belief(ten: EpochSolution, share: float) -> None:
    belief = [share, 1 - share]
    exact = exact_tiger(share, 10)
    assert ten.value(belief) == pytest.approx(exact, abs=1e-8)
    assert ten.graph.value(belief) == pytest.approx(exact, abs=1e-8)
    assert ten.value(belief, node=4) == pytest.approx(exact_tiger(share, 6), abs=1e-8)
    assert ten.graph.own_value(ten.model, belief) <= exact + 1e-9
    largest = (ten.vectors(0) @ belief).max()
    assert largest - 1e-9 <= ten.policy.value(0, belief) <= exact + 1e-9


def test_many_beliefs_at_once(ten: EpochSolution) -> None:
    beliefs = np.array([[p, 1 - p] for p in SHARES])
    together = ten.value(beliefs)
    assert together.shape == (len(SHARES),)
    assert together.tolist() == [ten.value(b) for b in beliefs]
    assert ten.policy.value(0, beliefs).tolist() == [float(ten.policy.value(0, b)) for b in beliefs]


@pytest.mark.parametrize("seed", range(12))
def test_values_of_random_models_against_brute_force(
    make_model: Callable[..., EpochModel], optimal_value: Callable[..., float], seed: int
) -> None:
    model = make_model(seed)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=model.n_components)
    solution = solve_epochs(model, weights, gap=1e-8)
    for node in np.flatnonzero(model.table_of >= 0):
        for belief in rng.dirichlet(np.ones(model.n_states), 2):
            exact = optimal_value(model, weights, int(node), belief)
            assert solution.value(belief, int(node)) == pytest.approx(exact, abs=1e-7)
            assert solution.policy.value(int(node), belief) <= exact + 1e-9
    exact = optimal_value(model, weights, 0, belief)
    assert solution.graph.value(belief) == pytest.approx(exact, abs=1e-7)
    assert solution.graph.own_value(model, belief, weights) <= exact + 1e-9


@pytest.mark.parametrize(
    ("belief", "message"),
    [
        ([0.9, 0.2], "must sum to 1, not 1.1"),
        ([0.5, 0.4], "must sum to 1, not 0.9"),
        ([0.0, 0.0], "must sum to 1, not 0"),
        ([1.5, -0.5], "negative"),
        ([0.5, np.nan], "not finite"),
        ([np.inf, 0.5], "not finite"),
        ([1.0], "shape"),
        ([0.2, 0.3, 0.5], "shape"),
        ([], "shape"),
        (0.9, "dimensions"),
        ([[[0.5, 0.5]]], "dimensions"),
        ([[0.5, 0.5], [1.0]], "not an array of numbers"),
        (["a", "b"], "not an array of numbers"),
    ],
)
def test_what_is_no_belief_is_refused(ten: EpochSolution, belief: Any, message: str) -> None:
    calls: list[Callable[[Any], Any]] = [
        ten.value,
        ten.solved_from,
        ten.graph.value,
        lambda b: ten.bounds(0, b),
        lambda b: ten.graph.own_value(ten.model, b),
        lambda b: ten.policy.value(0, b),
        lambda b: ten.policy.action(0, b),
        lambda b: ten.policy.action_values(0, b),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=message) as error:
            call(belief)
        assert "\n" not in str(error.value)


def test_one_bad_belief_among_many_is_named(ten: EpochSolution) -> None:
    with pytest.raises(ModelError, match=r"belief 1 must sum to 1, not 1\.2"):
        ten.value([[0.5, 0.5], [0.9, 0.3]])
    with pytest.raises(ModelError, match="belief 1 must sum to 1"):
        ten.policy.value(0, [[0.5, 0.5], [0.9, 0.3]])


def test_a_graph_made_by_hand_does_not_know_the_optimum(ten: EpochSolution) -> None:
    graph = PolicyGraph(ten.graph.offset, ten.graph.action, ten.graph.successor)
    with pytest.raises(ModelError, match="own_value"):
        graph.value([0.5, 0.5])
    assert graph.own_value(ten.model, [0.5, 0.5]) == pytest.approx(ten.lower, abs=1e-9)
