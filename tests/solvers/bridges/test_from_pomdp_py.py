"""pomdp-py's problems in, our policies out: against its own value function, file writer and simulations."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvers import ModelError, read_pomdp
from solvers.exact import exact
from solvers.examples import tiger
from solvers.simulation import simulate

pomdp_py = pytest.importorskip("pomdp_py", reason="the extra pomdp-py is not installed")

from pomdp_py.problems.rocksample import rocksample_problem as rs  # noqa: E402
from pomdp_py.problems.tiger.tiger_problem import TigerProblem, TigerState  # noqa: E402

from solvers.bridges import Twin, from_pomdp_py  # noqa: E402
from solvers.bridges.enumeration import Asked  # noqa: E402


def their_tiger(state: str = "tiger-left") -> Any:
    return TigerProblem.create(state, 0.5, 0.15)


def their_rocksample(problem: Any) -> Any:
    """Their instance with two rocks; the belief is exactly uniform over rocks, where theirs is 200 particles."""
    problem.agent.set_belief(uniform_over_rocks(problem.env.state), prior=True)
    return problem


def uniform_over_rocks(state: Any) -> Any:
    kinds = itertools.product((rs.RockType.GOOD, rs.RockType.BAD), repeat=2)
    return pomdp_py.Histogram({rs.State(state.position, kind, False): 0.25 for kind in kinds})


def parts(agent: Any) -> tuple[Any, ...]:
    """What `pomdp_py.value` wants."""
    return (
        list(agent.all_states),
        list(agent.all_actions),
        list(agent.all_observations),
        agent.transition_model,
        agent.observation_model,
        agent.reward_model,
    )


def test_tiger_is_the_tiger() -> None:
    """All tables, by their names, as `solvers.examples` has them; but its listening moves the tiger with 1e-9."""
    twin, ours = from_pomdp_py(their_tiger(), discount=0.95), tiger()
    states, actions = ([getattr(twin.pomdp, what).index(name) for name in getattr(ours, what)] for what in KINDS)
    sights = [twin.pomdp.observations.index(name) for name in ("tiger-left", "tiger-right")]
    np.testing.assert_allclose(twin.pomdp.transition_array[np.ix_(actions, states, states)], ours.transition_array)
    np.testing.assert_allclose(twin.pomdp.observation_array[np.ix_(actions, states, sights)], ours.observation_array)
    np.testing.assert_array_equal(twin.pomdp.reward[np.ix_(actions, states)], ours.reward)
    assert twin.pomdp.rewards is None
    assert [str(state) for state in twin.states] == list(twin.pomdp.states)


KINDS = ("states", "actions")


@pytest.mark.parametrize("left", [0.5, 0.9])
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_values_are_those_of_its_exact_recursion(horizon: int, left: float) -> None:
    problem = their_tiger()
    belief = {TigerState("tiger-left"): left, TigerState("tiger-right"): 1.0 - left}
    theirs = pomdp_py.value(pomdp_py.Histogram(belief), *parts(problem.agent), 0.95, horizon=horizon)
    twin = from_pomdp_py(problem, discount=0.95)
    ours = exact(twin.pomdp, horizon).policy.value(twin.belief(pomdp_py.Histogram(belief)))
    assert ours == pytest.approx(theirs, abs=1e-5)  # their tiger moves with 1e-9, at a cost of 100


@pytest.mark.parametrize(("left", "horizon"), [(0.5, 2), (0.9, 2), (0.995, 1), (0.005, 1)])
def test_actions_are_those_of_its_value_iteration(left: float, horizon: int) -> None:
    """Where its value iteration has the discount right: at depth d it multiplies by discount^d, so only at 1."""
    problem = their_tiger()
    belief = pomdp_py.Histogram({TigerState("tiger-left"): left, TigerState("tiger-right"): 1.0 - left})
    problem.agent.set_belief(belief, prior=True)
    theirs = pomdp_py.ValueIteration(horizon=horizon, discount_factor=1.0).plan(problem.agent)
    twin = from_pomdp_py(problem, discount=1.0)
    assert twin.planner(exact(twin.pomdp, horizon).policy).plan(problem.agent) == theirs


def test_what_its_file_writer_says_is_read_as_the_same(tmp_path: Path) -> None:
    agent = their_tiger().agent
    pomdp_py.to_pomdp_file(agent, str(tmp_path / "tiger.pomdp"), discount_factor=0.9)
    read, made = read_pomdp(tmp_path / "tiger.pomdp"), from_pomdp_py(agent, discount=0.9).pomdp
    states = [read.states.index(name) for name in made.states]
    actions = [read.actions.index(name) for name in made.actions]
    sights = [read.observations.index(name) for name in made.observations]
    np.testing.assert_allclose(read.transition_array[np.ix_(actions, states, states)], made.transition_array, atol=2e-9)
    np.testing.assert_allclose(read.observation_array[np.ix_(actions, states, sights)], made.observation_array)
    np.testing.assert_allclose(read.reward[np.ix_(actions, states)], made.reward, atol=1e-6)


def test_rocksample_is_found_by_going_there() -> None:
    """Its models list neither states nor observations. Rows are compared with its own models, one by one."""
    random.seed(1)
    problem = their_rocksample(rs.create_instance(3, 2))
    twin = from_pomdp_py(problem, discount=0.95)
    pomdp, agent = twin.pomdp, problem.agent
    # 9 cells × 4 kinds of rocks, and 3 cells of the exit: rocks may be sampled bad on the way.
    assert pomdp.n_states == 12 * 4
    assert pomdp.terminal.sum() == 3 * 4
    assert sorted(pomdp.observations) == ["None", "bad", "good"]
    for s, a in itertools.product(range(pomdp.n_states), range(pomdp.n_actions)):
        state, action = twin.states[s], twin.actions[a]
        after = agent.transition_model.argmax(state, action)
        assert pomdp.transition[a][s, twin.states.index(after)] == 1.0
        assert pomdp.reward[a, s] == agent.reward_model.sample(state, action, after)
        if not state.terminal and not after.terminal:
            row = pomdp.observation[a][[twin.states.index(after)]].toarray()[0]
            for sight, p in zip(twin.observations, row, strict=True):
                if isinstance(action, rs.CheckAction) and sight.quality is None:
                    assert p == 0.0  # where its `probability` says 1 - eta, and its `sample` never draws it
                else:
                    assert p == pytest.approx(agent.observation_model.probability(sight, after, action), abs=2e-9)


def discounted(twin: Twin, planner: Any, steps: int, discount: float) -> float:
    """Their loop, as in `pomdp_py.problems`: plan, act, observe, tell agent and planner."""
    agent, env, total = twin.agent, twin.env, 0.0
    for t in range(steps):
        action = planner.plan(agent)
        total += discount**t * env.state_transition(action, execute=True)
        observation = env.provide_observation(agent.observation_model, action)
        agent.update_history(action, observation)
        planner.update(agent, action, observation)
        if planner.__class__.__name__ == "PolicyPlanner" and not planner._own:
            agent.set_belief(twin.update(agent.belief, action, observation))
        if twin.pomdp.terminal[twin.states.index(env.state)]:
            break
    return total


@pytest.mark.parametrize("belief", [pytest.param("agent", marks=pytest.mark.slow), "own"])
def test_its_tiger_is_played_as_well_as_promised(belief: Any) -> None:
    """Mean over episodes of its simulation against the exact value for as many steps, within four standard errors."""
    problem = their_tiger()
    twin = from_pomdp_py(problem, discount=0.95)
    solution = exact(twin.pomdp, 15)
    first, values = problem.agent.belief, []
    random.seed(5)
    for _ in range(200):
        problem.env.apply_transition(random.choice(twin.states))
        problem.agent.set_belief(first, prior=True)
        values.append(discounted(twin, twin.planner(solution.policy, belief=belief), 15, 0.95))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert abs(np.mean(values) - solution.lower) < 4 * error


def test_its_rocksample_is_played_as_well_as_promised() -> None:
    """Five steps of its own simulation, in its own small instance with rocks drawn anew, against the exact value."""
    problem = their_rocksample(rs.minimal_instance())
    twin = from_pomdp_py(problem, discount=0.95)
    solution = exact(twin.pomdp, 5)
    first, values = problem.env.state, []
    random.seed(6)
    for _ in range(200):
        rocks = tuple(rs.RockType.random() for _ in range(2))
        problem.env.apply_transition(rs.State(first.position, rocks, False))
        problem.agent.set_belief(uniform_over_rocks(first), prior=True)
        values.append(discounted(twin, twin.planner(solution.policy, belief="own"), 5, 0.95))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert abs(np.mean(values) - solution.lower) < 4 * error
    played = simulate(twin.pomdp, solution.policy, episodes=2000, seed=0)
    assert abs(played.mean - solution.lower) < 4 * played.standard_error


@pytest.mark.slow
def test_its_rocksample_is_solved_and_played() -> None:
    """An instance of its generator, four by four with two rocks, to the exit: the policy of the default solver."""
    from solvers.solving import solve

    random.seed(4)
    problem = their_rocksample(rs.create_instance(4, 2))
    twin = from_pomdp_py(problem, discount=0.95)
    solution = solve(twin.pomdp, precision=1e-2, time_limit=60)
    assert solution.gap <= 1e-2
    first, values = problem.env.state, []
    for _ in range(300):
        rocks = tuple(rs.RockType.random() for _ in range(2))
        problem.env.apply_transition(rs.State(first.position, rocks, False))
        problem.agent.set_belief(uniform_over_rocks(first), prior=True)
        values.append(discounted(twin, twin.planner(solution, belief="own"), 100, 0.95))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert solution.lower - 4 * error < np.mean(values) < solution.upper + 4 * error


def test_its_own_loops_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The functions that ship with its problems; the one of tiger updates the agent's belief itself."""
    from pomdp_py.problems.tiger import tiger_problem

    random.seed(0)
    problem = their_tiger()
    twin = from_pomdp_py(problem, discount=0.95)
    policy = exact(twin.pomdp, 5).policy
    tiger_problem.test_planner(problem, twin.planner(policy), nsteps=3)
    assert "Action: listen" in capsys.readouterr().out
    rocks = their_rocksample(rs.minimal_instance())
    twin = from_pomdp_py(rocks, discount=0.95)
    _, total = rs.test_planner(rocks, twin.planner(exact(twin.pomdp, 4).policy, belief="own"), nsteps=4)
    assert total > 0
    capsys.readouterr()


class Model:
    """A model with whatever methods it is given."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)


def test_rows_are_drawn_until_they_are_complete() -> None:
    asked = []

    def probability(outcome: int) -> float:
        asked.append(outcome)
        return {0: 0.7, 1: 0.2, 2: 0.1}.get(outcome, 1e-9)

    draws = itertools.cycle([0, 0, 1, 0, 2])
    model = Model(probability=probability, sample=lambda: next(draws))
    row = Asked(model, None, 1e-8).row(lambda: "row")
    assert row == pytest.approx({0: 0.7, 1: 0.2, 2: 0.1})
    assert asked == [0, 1, 2]  # of a million others that have 1e-9, none
    asked.clear()
    assert Asked(Model(probability=probability), range(5), 1e-8).row(lambda: "row") == pytest.approx(row)
    assert asked == [0, 1, 2, 3, 4]
    given = Model(get_distribution=lambda: pomdp_py.Histogram({"a": 0.25, "b": 0.75, "c": 0.0}))
    assert Asked(given, None, 1e-8).row(lambda: "row") == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("model", "known", "message"),
    [
        (Model(probability=lambda x: 0.3, sample=lambda: 1), None, "row sums to 0.3 over the 1 outcomes that could be"),
        (Model(probability=lambda x: 0.5), [1, 2, 3], "row sums to 1.5; it must sum to 1"),
        (Model(probability=lambda x: 0.5), None, "row sums to 0 over the 0 outcomes"),
        (Model(probability=lambda x: -1.0 if x else 2.0), [0, 1], "row has a negative probability"),
    ],
)
def test_rows_that_are_none_are_refused(model: Model, known: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Asked(model, known, 1e-8).row(lambda: "row")


def test_what_cannot_be_enumerated_is_said() -> None:
    problem = their_tiger()
    agent = problem.agent
    with pytest.raises(ModelError, match="the agent has no transition_model"):
        from_pomdp_py(pomdp_py.Agent(agent.belief, policy_model=agent.policy_model), discount=0.9)
    with pytest.raises(ModelError, match="but is not among the 1 states"):
        from_pomdp_py(problem, discount=0.9, states=[TigerState("tiger-left")])
    with pytest.raises(ModelError, match=r"tiger-.* is seen, but is not among the 1 observations that are listed"):
        from_pomdp_py(problem, discount=0.9, observations=agent.all_observations[:1])
    twin = from_pomdp_py(problem, discount=0.9)
    with pytest.raises(ModelError, match="which is no state of the POMDP"):
        twin.belief(pomdp_py.Histogram({TigerState("tiger-behind"): 1.0}))
    with pytest.raises(ModelError, match=r"the belief sums to 0\.9"):
        twin.belief(pomdp_py.Histogram({TigerState("tiger-left"): 0.9}))
    with pytest.raises(ModelError, match="must be a histogram or particles, not Gaussian"):
        twin.belief(pomdp_py.Gaussian([0], [[1]]))
    with pytest.raises(ModelError, match="sneeze is no action of the POMDP: listen, open-left, open-right"):
        twin.numbers("sneeze", twin.observations[0])
    with pytest.raises(ModelError, match="a policy, or a solution with one, is needed, not str"):
        twin.planner("listen")
    with pytest.raises(ModelError, match="belief must be 'agent' or 'own'"):
        twin.planner(exact(twin.pomdp, 1).policy, belief="mine")  # type: ignore[arg-type]


def test_rewards_by_chance_are_refused_and_those_of_end_states_kept() -> None:
    problem = their_tiger()
    agent = problem.agent

    class ByChance(pomdp_py.RewardModel):
        def sample(self, state: Any, action: Any, next_state: Any) -> float:
            return random.random()

    class ByEnd(pomdp_py.RewardModel):
        def sample(self, state: Any, action: Any, next_state: Any) -> float:
            return 5.0 if next_state.name == "tiger-left" else 0.0

    agent.set_models(reward_model=ByChance())
    with pytest.raises(ModelError, match="is drawn by chance; it must be a number"):
        from_pomdp_py(problem, discount=0.9)
    agent.set_models(reward_model=ByEnd())
    pomdp = from_pomdp_py(problem, discount=0.9).pomdp
    left, right = pomdp.states.index("tiger-left"), pomdp.states.index("tiger-right")
    opens = pomdp.actions.index("open-left")
    assert pomdp.reward[opens, right] == pytest.approx(2.5)
    assert pomdp.rewards is not None
    assert pomdp.rewards.at([opens], [right], [left], [0]).tolist() == [5.0]


def test_global_chance_is_left_alone() -> None:
    random.seed(3)
    expected = random.Random(3).random()
    from_pomdp_py(their_tiger(), discount=0.9)
    assert random.random() == expected
