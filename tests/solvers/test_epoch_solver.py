"""Point-based value iteration against brute force, and the promises of its results."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import POMDP, EpochModel, ModelError, SolverError, solve_epochs, solve_epochs_many

Make = Callable[..., EpochModel]
Optimal = Callable[[EpochModel, np.ndarray, int, np.ndarray], float]
ROUNDING = 1e-10


def weights_for(model: EpochModel, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 10_000).normal(size=model.n_components)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_bounds_enclose_brute_force_at_every_node(make_model: Make, optimal_value: Optimal, seed: int) -> None:
    model = make_model(seed)
    w = weights_for(model, seed)
    solution = solve_epochs(model, w, gap=1e-8)
    exact = optimal_value(model, w, 0, model.start)
    assert solution.lower <= exact + ROUNDING
    assert solution.upper >= exact - ROUNDING
    assert solution.ended == "gap reached"
    assert solution.gap <= 1e-8
    rng = np.random.default_rng(seed)
    for node in range(model.n_nodes):
        for b in rng.dirichlet(np.ones(model.n_states), 3):
            low, up = solution.bounds(node, b)
            here = optimal_value(model, w, node, b)
            assert low - ROUNDING <= here <= up + ROUNDING
            assert low <= up


@pytest.mark.parametrize("sweeps", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_bounds_are_sound_when_stopped_early(make_model: Make, optimal_value: Optimal, seed: int, sweeps: int) -> None:
    model = make_model(seed)
    w = weights_for(model, seed)
    solution = solve_epochs(model, w, gap=0.0, max_sweeps=sweeps)
    exact = optimal_value(model, w, 0, model.start)
    assert solution.lower - ROUNDING <= exact <= solution.upper + ROUNDING
    assert solution.sweeps <= sweeps


@pytest.mark.parametrize("seed", range(40))
def test_policy_graph_has_the_components_of_its_alpha_vector(make_model: Make, seed: int) -> None:
    model = make_model(seed)
    w = weights_for(model, seed)
    solution = solve_epochs(model, w, gap=1e-6)
    assert solution.components @ w == pytest.approx(solution.lower, abs=ROUNDING)
    np.testing.assert_allclose(solution.graph.evaluate(model), solution.components, atol=ROUNDING)
    for node in range(model.n_nodes):
        values = solution.vector_components(node) @ w
        np.testing.assert_allclose(values, solution.vectors(node), atol=ROUNDING)


def follow_graph(model: EpochModel, graph: object, node: int, plan: int, b: np.ndarray) -> np.ndarray:
    """Expected components of a policy graph, by recursion over what may happen."""
    table = model.table_of[node]
    if table < 0:
        return b @ model.terminal[node]
    total = np.zeros(model.n_components)
    row = graph.offset[node] + plan
    for k in range(model.n_signals):
        a = graph.action[row, k]
        total = total + b @ model.reward[table, k, a]
        for o in range(model.n_observations):
            x = b @ model.joint[table, k, a, o]
            if x.any():
                child = model.child(node, k, a, o)
                total += model.discount * follow_graph(model, graph, child, graph.successor[row, k, o], x)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_policy_graph_is_evaluated_exactly_on_another_model(make_model: Make, seed: int) -> None:
    model = make_model(seed)
    graph = solve_epochs(model, weights_for(model, seed), gap=1e-6).graph
    rng = np.random.default_rng(seed)
    # Other dynamics over the same support, so that everything that can happen was planned for.
    joint = model.joint * rng.uniform(0.5, 1.5, model.joint.shape)
    signal = model.joint.sum((3, 5), keepdims=True)
    joint *= np.divide(signal, joint.sum((3, 5), keepdims=True), out=np.zeros_like(signal), where=signal > 0)
    other = EpochModel(
        joint=joint,
        reward=rng.normal(size=model.reward.shape),
        successor=model.successor,
        children=model.children,
        table_of=model.table_of,
        terminal=model.terminal,
        start=rng.dirichlet(np.ones(model.n_states)),
        discount=0.9,
    )
    expected = follow_graph(other, graph, 0, 0, other.start)
    np.testing.assert_allclose(graph.evaluate(other), expected, atol=ROUNDING)


def test_policy_graph_refuses_a_model_of_another_shape(make_model: Make) -> None:
    model, other = make_model(1), make_model(2)
    graph = solve_epochs(model, weights_for(model, 1)).graph
    with pytest.raises(ModelError, match="differ in"):
        graph.evaluate(other)


def lookahead_value(model: EpochModel, policy: object, node: int, b: np.ndarray) -> np.ndarray:
    """Expected components of acting by `policy.action` with exact beliefs."""
    table = model.table_of[node]
    if table < 0:
        return b @ model.terminal[node]
    total = np.zeros(model.n_components)
    for k in range(model.n_signals):
        a = policy.action(node, b / b.sum(), k)
        total = total + b @ model.reward[table, k, a]
        for o in range(model.n_observations):
            x = b @ model.joint[table, k, a, o]
            if x.sum() > 0:
                total += model.discount * lookahead_value(model, policy, model.child(node, k, a, o), x)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_alpha_vector_policy_attains_the_lower_bound(make_model: Make, seed: int) -> None:
    model = make_model(seed)
    w = weights_for(model, seed)
    solution = solve_epochs(model, w, gap=1e-2)
    value = lookahead_value(model, solution.policy, 0, model.start) @ w
    assert solution.lower - ROUNDING <= value <= solution.upper + ROUNDING
    assert solution.policy.value(0, model.start) == pytest.approx(solution.lower, abs=ROUNDING)


def test_policy_takes_beliefs_one_by_one_or_together(make_model: Make) -> None:
    model = make_model(7, n_states=3)
    policy = solve_epochs(model, weights_for(model, 7)).policy
    rng = np.random.default_rng(0)
    beliefs = rng.dirichlet(np.ones(3), 20)
    signals = rng.integers(0, model.n_signals, 20)
    together = policy.action(0, beliefs, signals)
    assert together.tolist() == [policy.action(0, b, k) for b, k in zip(beliefs, signals, strict=True)]
    values = policy.action_values(0, beliefs, signals)
    assert values.shape == (20, model.n_actions)
    summed = sum(policy.action_values(0, beliefs, k).max(1) for k in range(model.n_signals))
    assert (summed >= policy.value(0, beliefs) - ROUNDING).all()


@pytest.mark.parametrize("seed", range(8))
def test_many_weights_agree_with_single_solves(make_model: Make, optimal_value: Optimal, seed: int) -> None:
    model = make_model(seed)
    rng = np.random.default_rng(seed)
    table = np.linspace(rng.normal(size=model.n_components), rng.normal(size=model.n_components), 9)
    for w, solution in zip(table, solve_epochs_many(model, table, gap=1e-7, threads=2), strict=True):
        exact = optimal_value(model, w, 0, model.start)
        assert solution.lower - ROUNDING <= exact <= solution.upper + ROUNDING
        assert solution.gap <= 1e-7
        assert solution.lower == pytest.approx(solve_epochs(model, w, gap=1e-7).lower, abs=1e-7)
        np.testing.assert_array_equal(solution.weights, w)


@pytest.mark.parametrize("seed", range(8))
def test_a_warm_start_from_anything_is_never_wrong(make_model: Make, optimal_value: Optimal, seed: int) -> None:
    model = make_model(seed)
    w = weights_for(model, seed)
    warm = solve_epochs(model, w, gap=1e-8, warm_start=solve_epochs(model, -w))
    exact = optimal_value(model, w, 0, model.start)
    assert warm.lower - ROUNDING <= exact <= warm.upper + ROUNDING
    assert warm.gap <= 1e-8


def test_solving_is_deterministic(make_model: Make) -> None:
    model = make_model(3)
    w = weights_for(model, 3)
    first, second = solve_epochs(model, w), solve_epochs(model, w)
    assert (first.lower, first.upper, first.n_points) == (second.lower, second.upper, second.n_points)
    np.testing.assert_array_equal(first.graph.action, second.graph.action)


def test_ties_go_to_the_lowest_action() -> None:
    joint = np.tile(np.eye(2), (1, 1, 3, 1, 1, 1))
    reward = np.zeros((1, 1, 3, 2, 1))
    reward[0, 0, :, :, 0] = [[0.3, 0.3], [0.1 + 0.2, 0.3], [0.3 - 1e-3, 0.3]]  # 0.1 + 0.2 > 0.3 by rounding
    model = EpochModel(joint=joint, reward=reward, children=[[1], [1]], table_of=[0, -1], start=[0.5, 0.5])
    solution = solve_epochs(model)
    assert solution.graph.action[0, 0] == 0
    assert solution.policy.action(0, [1.0, 0.0]) == 0


def tiger(horizon: int) -> EpochModel:
    half = [[0.5, 0.5], [0.5, 0.5]]
    return POMDP(
        transition=[np.eye(2), half, half],
        observation=[[[0.85, 0.15], [0.15, 0.85]], half, half],
        reward=[[-1, -1], [-100, 10], [10, -100]],
        start=[0.5, 0.5],
        discount=0.95,
    ).finite_horizon(horizon)


def test_how_it_ended() -> None:
    model = tiger(8)
    assert solve_epochs(model, gap=1e9).ended == "gap reached"
    assert solve_epochs(model, gap=1e-6).ended == "gap reached"
    few = solve_epochs(model, gap=1e-6, max_sweeps=2)
    assert (few.ended, few.sweeps) == ("sweep limit", 2)
    assert few.gap > 1e-6
    small = solve_epochs(model, gap=1e-6, max_points=20)
    assert small.ended == "point limit"
    assert small.n_points <= 20
    assert small.gap > 1e-6


def test_gap_zero_ends_without_claiming_it() -> None:
    solution = solve_epochs(tiger(6), gap=0.0)
    assert solution.ended in ("gap reached", "stalled")
    assert solution.gap <= 1e-9
    assert solution.ended == "stalled" or solution.gap == 0.0


def test_points_are_placed_in_few_sweeps() -> None:
    solution = solve_epochs(tiger(20), gap=1e-9)
    assert solution.ended == "gap reached"
    assert solution.sweeps <= 10
    assert solution.n_points <= 500


def test_bad_arguments_are_refused(make_model: Make) -> None:
    model = tiger(2)
    with pytest.raises(SolverError, match="gap"):
        solve_epochs(model, gap=-1.0)
    with pytest.raises(SolverError, match="max_sweeps"):
        solve_epochs(model, max_sweeps=0)
    with pytest.raises(SolverError, match="threads"):
        solve_epochs_many(model, [[1.0]], threads=0)
    with pytest.raises(ModelError, match="weights"):
        solve_epochs(model, [1.0, 2.0])
    with pytest.raises(ModelError, match="finite"):
        solve_epochs_many(model, [[1.0], [np.nan]])
    with pytest.raises(SolverError, match="warm start"):
        solve_epochs(model, warm_start=solve_epochs(tiger(3)))
    with pytest.raises(ModelError, match="terminal"):
        solve_epochs(model).policy.action(2, [0.5, 0.5])


def test_import_does_not_load_numba() -> None:
    code = "import sys, solvers; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("seed", range(30))
def test_what_falls_at_each_node_is_what_the_graph_is_worth_where_nothing_else_pays(
    make_model: Make, seed: int
) -> None:
    model = make_model(seed)
    graph = solve_epochs(model, np.ones(model.n_components)).graph
    by_node = graph.components_by_node(model)
    assert by_node.shape == (model.n_nodes, model.n_components)
    assert by_node.sum(axis=0) == pytest.approx(graph.evaluate(model), abs=1e-12)
    for node in range(model.n_nodes):  # a table of its own for every node, of which one alone pays
        inner = np.flatnonzero(model.table_of >= 0)
        reward = model.reward[model.table_of[inner]] * (inner == node)[:, None, None, None, None]
        alone = replace(
            model,
            joint=model.joint[model.table_of[inner]],
            reward=reward,
            successor=model.successor[model.table_of[inner]],
            table_of=np.where(model.table_of >= 0, np.cumsum(model.table_of >= 0) - 1, -1),
            terminal=model.terminal * (np.arange(model.n_nodes) == node)[:, None, None],
        )
        assert by_node[node] == pytest.approx(graph.evaluate(alone), abs=1e-12)
