"""Controllers and episodes side by side, against linear equations, optima and each other."""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from solvers import POMDP, ModelError, read_pomdp, simulation, solve_epochs
from solvers.controllers import FiniteStateController, controller
from solvers.exact import Exact, exact
from solvers.examples import maze, tiger
from solvers.policies import AlphaVectorPolicy
from solvers.policy_iteration import ImprovementRound, improve
from solvers.simulation import simulate
from solvers.solving import solve

MAP = ["A?SB", "#..#"]


def random_pomdp(seed: int) -> POMDP:
    """Rewards that depend on all there is; one state ends it."""
    rng = np.random.default_rng(seed)
    S, A, O = 5, 3, 4
    T = rng.dirichlet(np.full(S, 0.3), (A, S))
    return POMDP(
        transition=0.97 * T + 0.03 * (np.arange(S) == S - 1),
        observation=rng.dirichlet(np.full(O, 0.3), (A, S)),
        reward=rng.normal(size=(A, S, S, O)),
        start=rng.dirichlet(np.ones(S)),
        discount=0.9,
        terminal=[S - 1],
    )


def random_controller(p: POMDP, seed: int) -> FiniteStateController:
    rng = np.random.default_rng(seed)
    return FiniteStateController(
        p, rng.integers(0, p.n_actions, 6), rng.integers(0, 6, (6, p.n_observations)), int(rng.integers(6))
    )


def worth(machine: FiniteStateController) -> NDArray[np.float64]:
    """Values of all nodes in all states, by dense linear equations, one entry at a time."""
    p, N = machine.pomdp, machine.n_nodes
    S, O = p.n_states, p.n_observations
    factor = np.zeros(S, int) if p.observed is None else p.observed
    chain = np.zeros((N, S, N, S))
    for n in range(N):
        a = machine.actions[n]
        for s2 in range(S):
            for o in range(O):
                follows = machine.successors[n, o * machine.n_values + factor[s2]]
                if follows >= 0:
                    chain[n, :, follows, s2] += p.transition_array[a, :, s2] * p.observation_array[a, s2, o]
    equations = np.eye(N * S) - p.discount * chain.reshape(N * S, N * S)
    return np.linalg.solve(equations, p.reward[machine.actions].reshape(-1)).reshape(N, S)


@pytest.fixture(scope="module")
def listened() -> Exact:
    """So many steps that the policy is the discounted one."""
    return exact(tiger(), 80)


@pytest.fixture(scope="module")
def walked() -> Exact:
    return exact(replace(maze(MAP), discount=0.9), 25, tolerance=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_controllers_are_worth_what_the_equations_say(seed: int) -> None:
    machine = random_controller(random_pomdp(seed), seed)
    exactly = worth(machine)
    assert machine.vectors == pytest.approx(exactly, abs=1e-7)
    assert (machine.vectors <= exactly + 1e-12).all()
    p = machine.pomdp
    assert machine.lower == pytest.approx(p.start @ exactly[machine.start], abs=1e-7)
    assert machine.value(p.start, 3) == pytest.approx(p.start @ exactly[3], abs=1e-7)
    # Looking its vectors up is a policy, no worse than any of its nodes.
    beliefs = np.random.default_rng(seed).dirichlet(np.ones(p.n_states), 50)
    better = machine.policy()
    assert better.value(beliefs) == pytest.approx((beliefs @ exactly.T).max(axis=1), abs=1e-7)
    played = simulate(p, better, episodes=4000, seed=seed)
    assert played.mean > better.value(p.start) - 4.0 * played.standard_error - played.truncation


def test_the_tigers_controller_is_optimal(listened: Exact) -> None:
    """Five nodes are worth all there is (pomdp-solve: 19.371368)."""
    machine = controller(listened.policy.with_steps_to_go())
    assert machine.n_nodes == 5
    assert machine.lower == pytest.approx(19.371368, abs=1e-6)
    assert [machine.pomdp.actions[a] for a in sorted(machine.actions)] == ["listen"] * 3 + ["open-left", "open-right"]
    # Both doors lead back to where it began, whatever is heard there.
    doors = machine.actions > 0
    assert (machine.successors[doors] == machine.start).all()
    assert machine.vectors == pytest.approx(worth(machine), abs=1e-6)
    # Where the tiger is known, the other door is opened at once, and then all begins anew.
    sure = machine.starting_at([1.0, 0.0])
    assert sure.pomdp.actions[sure.actions[sure.start]] == "open-right"
    assert sure.value([1.0, 0.0]) == pytest.approx(10.0 + 0.95 * 19.371368, abs=1e-6)


def test_the_mazes_controller_sees_where_it_is(walked: Exact) -> None:
    machine = controller(walked.policy.with_steps_to_go())
    exactly = worth(machine)
    assert machine.lower == pytest.approx(machine.pomdp.start @ exactly[machine.start], abs=1e-6)
    assert machine.lower <= walked.upper + 0.9**25 * 20.0 / 0.1
    assert machine.lower > 0.9 * walked.lower
    played = simulate(machine.pomdp, machine, episodes=5000)
    assert abs(played.mean - machine.lower) < 4.0 * played.standard_error + played.truncation


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_controllers_of_what_was_planned_are_lower_bounds(seed: int) -> None:
    """Optimum: between the value of many steps, and that plus all that the rest could bring."""
    p = replace(random_pomdp(seed), discount=0.5)
    found = exact(p, 12, tolerance=1e-6)
    machine = controller(found.policy.with_steps_to_go())
    left_out = 0.5**12 * np.abs(p.reward).max() / 0.5
    assert found.lower - 0.05 * abs(found.lower) - left_out <= machine.lower <= found.upper + left_out
    played = simulate(p, machine, episodes=5000, seed=seed)
    assert abs(played.mean - machine.lower) < 4.0 * played.standard_error + played.truncation


class Always:
    def __init__(self, action: int) -> None:
        self.chosen = action

    def action(self, belief: Any) -> Any:
        assert isinstance(belief, np.ndarray)
        assert belief.sum(axis=1) == pytest.approx(1.0)
        return np.full(len(belief), self.chosen)


@pytest.mark.parametrize("seed", range(3))
def test_one_action_for_ever_is_a_chain(seed: int) -> None:
    """Anything with `action` will do; rewards of outcomes must average to the expected ones."""
    p = random_pomdp(seed)
    assert p.rewards is not None
    value = p.start @ np.linalg.solve(np.eye(p.n_states) - p.discount * p.transition_array[1], p.reward[1])
    played = simulate(p, Always(1), episodes=6_000, seed=seed)
    assert abs(played.mean - value) < 4.0 * played.standard_error + played.truncation
    assert 0.0 < played.standard_error < 0.1


@pytest.mark.parametrize("name", ["listened", "walked"])
def test_beliefs_are_the_same_sparse_or_dense(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = request.getfixturevalue(name).policy
    dense = simulate(policy.pomdp, policy, episodes=200)
    monkeypatch.setattr(simulation, "_DENSE", 0)
    monkeypatch.setattr(simulation, "_TOGETHER", 200)
    sparse = simulate(policy.pomdp, policy, episodes=200)
    assert (sparse.values == dense.values).all()
    again = simulate(policy.pomdp, policy, episodes=200, seed=1)
    assert (again.values != dense.values).any()


@pytest.mark.slow
def test_what_was_promised_for_so_many_steps_comes_true(listened: Exact) -> None:
    for h in (3, 10):
        found = exact(tiger(), h)
        played = simulate(tiger(), found.policy, episodes=5000)
        assert (played.steps, played.truncation) == (h, 0.0)
        assert abs(played.mean - found.lower) < 4.0 * played.standard_error
    graph = solve_epochs(maze(MAP).finite_horizon(8), gap=1e-6)
    played = simulate(maze(MAP), graph.policy, episodes=3000)
    assert abs(played.mean - graph.lower) < 4.0 * played.standard_error


def test_what_is_left_out_is_bounded() -> None:
    p = tiger()
    always = AlphaVectorPolicy(p, [[0.0, 0.0]], [0])
    played = simulate(p, always, episodes=10, steps=20)
    assert played.values == pytest.approx(-(1 - 0.95**20) / 0.05)
    assert played.truncation == pytest.approx(0.95**20 * 100 / 0.05)
    assert played.unfinished == 1.0
    assert simulate(p, always, episodes=2, truncation=0.5).truncation <= 0.5
    assert simulate(p, always, episodes=2, truncation=0.5).steps == 162  # log(.5 / 2000) / log(.95) = 161.7
    # An episode that is over leaves nothing out.
    over = POMDP(
        transition=[[[0.5, 0.5], [0.0, 1.0]]],
        observation=[[[1.0], [1.0]]],
        reward=[[1.0, 0.0]],
        start=[1.0, 0.0],
        discount=1.0,
    )
    played = simulate(over, Always(0), episodes=2000, steps=60)
    assert (played.unfinished, played.truncation) == (0.0, 0.0)
    assert abs(played.mean - 2.0) < 4.0 * played.standard_error
    short = simulate(over, Always(0), episodes=2000, steps=2)
    assert short.truncation == np.inf
    assert abs(short.unfinished - 0.25) < 0.05
    done = simulate(replace_start(over, [0.0, 1.0]), Always(0), episodes=10, steps=2)
    assert (done.mean, done.unfinished, done.truncation) == (0.0, 0.0, 0.0)


def replace_start(pomdp: POMDP, start: list[float]) -> POMDP:
    return POMDP(
        transition=pomdp.transition, observation=pomdp.observation, reward=pomdp.reward, start=start, discount=1.0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: simulate(p, Always(0), episodes=1), "episodes must be at least 2, got 1"),
        (lambda p: simulate(p, Always(0), episodes=2.5), "episodes must be a whole number, got 2.5"),
        (lambda p: simulate(p, Always(0), steps=0), "steps must be at least 1, got 0"),
        (lambda p: simulate(p, Always(0), steps="3"), "steps must be a whole number, got '3'"),
        (lambda p: simulate(p, Always(0), seed=-1), "seed must be at least 0, got -1"),
        (lambda p: simulate(p, Always(0), truncation="a"), "truncation must be a number, got 'a'"),
        (lambda p: simulate(p, None), "policy must have a method action"),
        (lambda p: simulate("tiger.pomdp", Always(0)), "pomdp must be a POMDP, got str"),
        (lambda p: simulate(p, Always(9)), "actions of the policy must lie in 0 … 2, got 9"),
        (lambda p: simulate(maze(MAP), Always(0)), "with a discount of 1 and no horizon, steps must be given"),
        (lambda p: simulate(p, Always(0), truncation=0.0), "truncation must be above 0"),
        (lambda p: simulate(p, exact(p, 3).policy, steps=4), r"steps must lie in 1 … 3, got 4"),
        (lambda p: simulate(maze(MAP), exact(p, 3).policy), "the policy is for another model"),
        (lambda p: controller(AlphaVectorPolicy(p, [[0.0, 0.0]], [0]), [0.5, 0.6]), "belief must sum to 1"),
        (lambda p: FiniteStateController(p, [0], [[0, 1]]), "successors must lie in -1 … 0, got 0 … 1"),
        (lambda p: FiniteStateController(p, [0], [[0]]), r"successors must have shape \(1, 2\), got \(1, 1\)"),
        (lambda p: FiniteStateController(p, [0], [[0, 0]], 1), "start must be one of 1 nodes, got 1"),
        (lambda p: FiniteStateController(tiger(discount=1.0), [0], [[0, 0]]).vectors, "a discount below 1"),
    ],
)
def test_what_makes_no_sense(call: Callable[[POMDP], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call(tiger())


@pytest.mark.parametrize("sparse", [False, True])
def test_policy_iteration_lifts_a_poor_policy_to_the_optimum(listened: Exact, sparse: bool) -> None:
    """Three steps of the tiger, each vector lowered to what is surely had, become all that there is."""
    p = tiger()
    three = exact(p, 3).policy.with_steps_to_go()
    surely = three.vectors - 0.95**3 * 1.0 / 0.05  # and then listen for ever
    poor = AlphaVectorPolicy(p, csr_array(surely) if sparse else surely, three.actions)
    told: list[ImprovementRound] = []
    found = improve(poor, progress=told.append)
    assert poor.value(p.start) < -10.0
    assert found.lower == pytest.approx(19.371368, abs=1e-5)
    assert found.lower == pytest.approx(max(found.policy.value(p.start), found.controller.lower))
    assert found.history == tuple(told)
    assert found.ended_by == "converged"
    lowers = [item.lower for item in found.history]
    assert lowers == sorted(lowers)
    # Every vector that joined is what can be had: nowhere above the optimum.
    beliefs = np.random.default_rng(0).dirichlet(np.ones(2), 200)
    assert (found.policy.value(beliefs) <= listened.policy.value(beliefs) + 0.95**80 * 100 / 0.05).all()
    assert (found.policy.value(beliefs) >= poor.value(beliefs)).all()


def test_policy_iteration_with_a_part_that_is_seen(walked: Exact) -> None:
    p = walked.policy.pomdp
    start = walked.policy.with_steps_to_go(12)
    found = improve(start)
    assert found.lower >= controller(start).lower
    assert found.lower <= walked.upper + 0.9**25 * 20.0 / 0.1
    played = simulate(p, found.policy, episodes=5000)
    assert played.mean > found.lower - 4.0 * played.standard_error - played.truncation
    assert improve(start, rounds=1).ended_by in ("rounds", "converged")


def test_policy_iteration_can_be_stopped(listened: Exact) -> None:
    policy = exact(tiger(), 3).policy.with_steps_to_go()
    assert improve(policy, time_limit=1e-9).ended_by == "time limit"

    def press(item: ImprovementRound) -> None:
        raise KeyboardInterrupt

    assert improve(policy, progress=press).ended_by == "interrupted"
    with pytest.raises(ModelError, match="rounds must be at least 1"):
        improve(policy, rounds=0)


def test_what_a_node_knows_nothing_of_is_taken_at_its_worst() -> None:
    """A node with no successor for what may be heard: from then on -100 a step."""
    p = tiger()
    lost = FiniteStateController(p, [0], [[0, -1]])
    rest = np.array([0.85, 0.15])  # to hear the left in either state
    after = 0.95 * (1.0 - rest) * -100.0 / 0.05
    assert lost.vectors[0] == pytest.approx((-1.0 + after) / (1.0 - 0.95 * rest), rel=1e-8)
    with pytest.raises(ModelError, match="what was seen leads nowhere"):
        simulate(p, lost)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hallway", "tiger-grid"])
def test_what_a_search_found_is_lifted_and_stays_below_its_upper_bound(shared: Path, name: str) -> None:
    solution = solve(read_pomdp(shared / "pomdp_files" / f"{name}.pomdp"), time_limit=3.0)
    found = improve(solution.policy, rounds=3)
    assert solution.lower <= found.lower <= solution.upper
    assert found.controller.lower > solution.lower - 0.1
    played = simulate(solution.pomdp, found.controller, episodes=4000)
    assert abs(played.mean - found.controller.lower) < 4.0 * played.standard_error + played.truncation
