"""Our POMDPs as pomdp-py's problems: the same tables in both libraries, and its planners on them."""

import random
from typing import Any

import numpy as np
import pytest

from solvers import POMDP, solve_epochs
from solvers.exact import exact
from solvers.examples import maze, tiger

pomdp_py = pytest.importorskip("pomdp_py", reason="the extra pomdp-py is not installed")

from solvers.bridges import from_pomdp_py, to_pomdp_py  # noqa: E402


def noisy(seed: int = 0, *, observed: Any = None) -> POMDP:
    """Four states, the reward depends on all of (a, s, s', o)."""
    rng = np.random.default_rng(seed)
    return POMDP(
        transition=rng.dirichlet(np.full(4, 0.5), (2, 4)),
        observation=rng.dirichlet(np.ones(3), (2, 4)),
        reward=rng.normal(size=(2, 4, 4, 3)),
        start=[0.5, 0.5, 0.0, 0.0],
        discount=0.9,
        observed=observed,
    )


def test_there_and_back_again() -> None:
    """Through `from_pomdp_py`, which asks the models: all tables as they were, by name."""
    pomdp = noisy()
    back = from_pomdp_py(to_pomdp_py(pomdp).problem, discount=0.9).pomdp
    assert back.states == pomdp.states
    assert back.observations == pomdp.observations
    np.testing.assert_allclose(back.transition_array, pomdp.transition_array, atol=1e-7)
    np.testing.assert_allclose(back.observation_array, pomdp.observation_array, atol=1e-7)
    np.testing.assert_allclose(back.reward, pomdp.reward, atol=1e-7)
    np.testing.assert_allclose(back.start, pomdp.start)


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_its_exact_recursion_finds_our_value(horizon: int) -> None:
    pomdp = noisy(1)
    twin = to_pomdp_py(pomdp)
    agent = twin.agent
    parts = (list(agent.all_states), list(agent.all_actions), list(agent.all_observations))
    models = (agent.transition_model, agent.observation_model, agent.reward_model)
    theirs = pomdp_py.value(agent.belief, *parts, *models, 0.9, horizon=horizon)
    assert solve_epochs(pomdp.finite_horizon(horizon), gap=1e-10).lower == pytest.approx(theirs, abs=1e-8)


def test_an_observed_factor_is_seen() -> None:
    """As part of the observation: its recursion finds the value that the POMDP has with the factor seen."""
    pomdp = noisy(2, observed=[0, 0, 1, 1])
    twin = to_pomdp_py(pomdp)
    assert len(twin.observations) == 6
    agent = twin.agent
    parts = (list(agent.all_states), list(agent.all_actions), list(agent.all_observations))
    models = (agent.transition_model, agent.observation_model, agent.reward_model)
    theirs = pomdp_py.value(agent.belief, *parts, *models, 0.9, horizon=2)
    assert solve_epochs(pomdp.finite_horizon(2), gap=1e-10).lower == pytest.approx(theirs, abs=1e-8)
    blind = noisy(2).finite_horizon(2)
    assert solve_epochs(blind, gap=1e-10).upper < theirs - 1e-6


def test_updates_are_those_of_pomdp_py() -> None:
    twin = to_pomdp_py(noisy(3))
    agent, rng = twin.agent, random.Random(0)
    theirs = ours = agent.belief
    for _ in range(6):
        action, observation = rng.choice(twin.actions), rng.choice(twin.observations)
        models = (agent.observation_model, agent.transition_model)
        theirs = pomdp_py.update_histogram_belief(theirs, action, observation, *models)
        ours = twin.update(ours, action, observation)
        np.testing.assert_allclose(twin.belief(ours), twin.belief(theirs), atol=1e-12)


def test_models_draw_what_the_tables_say() -> None:
    pomdp = noisy(4)
    twin = to_pomdp_py(pomdp)
    random.seed(1)
    action, state = twin.actions[1], twin.states[2]
    moves = np.array([twin.agent.transition_model.sample(state, action).index for _ in range(4000)])
    shows = np.array([twin.agent.observation_model.sample(state, action).index for _ in range(4000)])
    for drawn, row in ((moves, pomdp.transition_array[1, 2]), (shows, pomdp.observation_array[1, 2])):
        share = np.bincount(drawn, minlength=row.size) / drawn.size
        assert (np.abs(share - row) < 4 * (row * (1 - row) / drawn.size) ** 0.5 + 1e-9).all()


def test_pouct_plays_our_tiger() -> None:
    """It listens where it does not know, opens the other door where it does, and so does the exact policy."""
    pomdp = tiger(discount=0.5)  # at which its random rollouts do not hide what to do
    ours = exact(pomdp, 3).policy
    for left, expected in ((0.5, "listen"), (0.999, "open-right"), (0.001, "open-left")):
        random.seed(0)
        twin = to_pomdp_py(pomdp)
        twin.agent.set_belief(twin.histogram(np.array([left, 1.0 - left])), prior=True)
        pouct = pomdp_py.POUCT(
            max_depth=2,
            discount_factor=0.5,
            num_sims=2000,
            exploration_const=50,
            rollout_policy=twin.agent.policy_model,
        )
        assert str(pouct.plan(twin.agent)) == expected
        assert str(twin.planner(ours).plan(twin.agent)) == expected


def test_pomcp_plays_our_maze() -> None:
    """Particles are moved by our tables, and stay where the cell that is seen is."""
    pomdp = maze(["A.B", "#S#", "#?#"])
    random.seed(0)
    twin = to_pomdp_py(pomdp)
    particles = pomdp_py.Particles.from_histogram(twin.agent.belief, num_particles=200)
    twin.agent.set_belief(particles, prior=True)
    pomcp = pomdp_py.POMCP(
        max_depth=8,
        discount_factor=1.0,
        num_sims=300,
        exploration_const=30,
        rollout_policy=twin.agent.policy_model,
    )
    for _ in range(3):
        action = pomcp.plan(twin.agent)
        twin.env.state_transition(action, execute=True)
        observation = twin.env.provide_observation(twin.agent.observation_model, action)
        twin.agent.update_history(action, observation)
        pomcp.update(twin.agent, action, observation)
        assert pomdp.observed is not None
        cells = {int(pomdp.observed[state.index]) for state in twin.agent.belief.particles}
        assert cells == {int(pomdp.observed[twin.env.state.index])}


def test_a_policy_with_an_observed_factor_acts_in_the_twin() -> None:
    """For the maze as it is, in the maze where the cell is part of what is observed, with a belief of its own."""
    pomdp = maze(["A.B", "#S#", "#?#"])
    policy = exact(pomdp, 6).policy
    twin = to_pomdp_py(pomdp)
    planner = twin.planner(policy, belief="own")
    random.seed(2)
    taken = []
    for _ in range(2):
        action = planner.plan(twin.agent)
        twin.env.state_transition(action, execute=True)
        observation = twin.env.provide_observation(twin.agent.observation_model, action)
        planner.update(twin.agent, action, observation)
        taken.append(str(action))
    assert taken[0] == "south", "the sign is read first"


def test_objects_have_names_and_are_what_they_are() -> None:
    twin = to_pomdp_py(tiger())
    assert [str(action) for action in twin.actions] == ["listen", "open-left", "open-right"]
    assert repr(twin) == "Twin(POMDP(2 states, 3 actions, 2 observations, discount 0.95))"
    assert repr(twin.states[1]) == "NumberedState(1, 'tiger-right')"
    again = to_pomdp_py(tiger())
    assert twin.states[1] == again.states[1]
    assert twin.states[0] != twin.states[1]
    assert twin.states[0] != twin.actions[0]
    assert twin.agent.belief[again.states[0]] == 0.5
    assert twin.problem.env is twin.env
