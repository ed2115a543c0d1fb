"""POMDPs as Gymnasium environments: its own checker, repeatable episodes, and rewards and beliefs as they should be."""

import itertools
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

from solvers import POMDP, ModelError, SolverError
from solvers.examples import maze, tiger

gymnasium = pytest.importorskip("gymnasium", reason="the extra gymnasium is not installed")

from solvers.bridges import PomdpEnvironment  # noqa: E402

MAZE = ["A.B", "#S#", "#?#"]


def noisy() -> POMDP:
    """Two states and a reward that depends on all of (a, s, s', o); state 2 ends it."""
    rng = np.random.default_rng(4)
    transition = 0.5 * rng.dirichlet(np.ones(3), (2, 3)) + 0.5 / 3
    transition[:, 2] = [0, 0, 1]
    reward = rng.normal(size=(2, 3, 3, 2))
    reward[:, 2] = 0.0
    return POMDP(
        transition=transition,
        observation=0.5 * rng.dirichlet(np.ones(2), (2, 3)) + 0.25,
        reward=reward,
        start=[0.5, 0.5, 0.0],
        discount=0.9,
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pomdp", [tiger(), maze(MAZE), noisy()], ids=["tiger", "maze", "noisy"])
def test_gymnasiums_own_checker_has_nothing_to_say(pomdp: POMDP) -> None:
    from gymnasium.utils.env_checker import check_env

    gymnasium.register("solvers-test/Pomdp-v0", entry_point=PomdpEnvironment)
    try:
        made = gymnasium.make("solvers-test/Pomdp-v0", pomdp=pomdp, limit=30, beliefs=True, render_mode="ansi")
        check_env(made.unwrapped)
    finally:
        gymnasium.registry.pop("solvers-test/Pomdp-v0")


def played(environment: Any, seed: int, actions: list[int]) -> list[Any]:
    seen = [environment.reset(seed=seed)]
    for action in actions:
        seen.append(environment.step(action))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


def test_a_seed_makes_an_episode_repeat() -> None:
    actions = np.random.default_rng(0).integers(0, 2, 40).tolist()
    first, second, other = (played(PomdpEnvironment(noisy(), limit=40), seed, actions) for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_rewards_are_those_of_outcomes_and_outcomes_as_likely_as_they_should_be() -> None:
    """Frequencies of (s, s', o) and the reward of each, against the tables; chi-square within 4 s.d. of its mean."""
    pomdp = noisy()
    assert pomdp.rewards is not None
    environment = PomdpEnvironment(pomdp)
    found: Counter[tuple[int, int, int, int]] = Counter()
    environment.reset(seed=1)
    before = environment.reset()[1]["state"]
    for action in np.random.default_rng(2).integers(0, 2, 4000).tolist():
        seen, reward, terminated, truncated, info = environment.step(action)
        outcome = (action, before, info["state"], seen)
        assert reward == pytest.approx(float(pomdp.rewards.at(*np.array(outcome)[:, None])[0]), abs=1e-12)
        assert terminated == (info["state"] == 2)
        assert not truncated
        found[outcome] += 1
        before = environment.reset()[1]["state"] if terminated else info["state"]
    for action, state in itertools.product(range(2), range(2)):
        joint = pomdp.transition_array[action, state][:, None] * pomdp.observation_array[action]
        counts = np.array([[found[action, state, s, o] for o in range(2)] for s in range(3)])
        expected = joint * counts.sum()
        assert expected.min() > 5
        assert ((counts - expected) ** 2 / expected).sum() < 5 + 4 * 10**0.5


def test_episodes_are_truncated_at_the_limit_or_the_horizon() -> None:
    environment = PomdpEnvironment(tiger(), limit=3)
    assert [step[3] for step in played(environment, 0, [0] * 5)[1:]] == [False, False, True]
    short = POMDP(transition=[[[1.0]]], observation=[[[1.0]]], reward=[[2.0]], start=[1.0], discount=0.5, horizon=2)
    assert [step[2:4] for step in played(PomdpEnvironment(short), 0, [0] * 5)[1:]] == [(False, False), (False, True)]


def test_beliefs_and_the_observed_factor() -> None:
    """In the maze the cell is seen; the belief is that of Bayes' rule, and nothing is seen of the prize at first."""
    pomdp = maze(MAZE)
    assert pomdp.observed is not None
    cells = int(pomdp.observed.max()) + 1
    environment = PomdpEnvironment(pomdp, beliefs=True, limit=6)
    for seed in range(5):
        sight, info = environment.reset(seed=seed)
        assert divmod(sight, cells) == (pomdp.n_observations, pomdp.observed[info["state"]])
        belief = pomdp.start
        for action in (2, 2, 0, 0, 1):
            sight, _, over, _, info = environment.step(action)
            seen, cell = divmod(sight, cells)
            assert cell == pomdp.observed[info["state"]]
            belief = belief @ pomdp.transition[action] * pomdp.observation_array[action][:, seen]
            belief = np.where(pomdp.observed == cell, belief, 0.0)
            np.testing.assert_allclose(info["belief"], belief / belief.sum(), atol=1e-12)
            if over:
                break


def test_what_happened_in_words() -> None:
    environment = PomdpEnvironment(tiger(), render_mode="ansi")
    environment.reset(seed=3)
    assert environment.render().endswith(": nothing seen yet")
    environment.step(1)
    assert ": open-left, then tiger-" in environment.render()
    assert PomdpEnvironment(tiger()).render() is None


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ModelError, match="limit must be at least 1, got 0"):
        PomdpEnvironment(tiger(), limit=0)
    with pytest.raises(ModelError, match="render_mode must be 'ansi' or None, got 'human'"):
        PomdpEnvironment(tiger(), render_mode="human")
    environment = PomdpEnvironment(tiger())
    with pytest.raises(ModelError, match="starts with reset"):
        environment.step(0)
    environment.reset(seed=0)
    with pytest.raises(ModelError, match=r"action must lie in 0 … 2, got 3"):
        environment.step(3)


def test_libraries_are_imported_on_use_and_named_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys, solvers, solvers.bridges; assert not {'gymnasium', 'pomdp_py', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    import solvers.bridges

    for name, library in (("PomdpEnvironment", "gymnasium"), ("from_pomdp_py", "pomdp_py")):
        monkeypatch.setitem(sys.modules, library, None)
        for module in [m for m in sys.modules if m.startswith("solvers.bridges.")]:
            monkeypatch.delitem(sys.modules, module)
        with pytest.raises(SolverError, match=f"{name} needs {library}: pip install {library.replace('_', '-')}"):
            getattr(solvers.bridges, name)
    with pytest.raises(AttributeError, match="no attribute 'from_julia'"):
        solvers.bridges.from_julia  # noqa: B018
