"""What models refuse, and the fully observed factor."""
# ruff: noqa: E741 (O is the number of observations)

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from solvers import POMDP, EpochModel, ModelError, read, solve_epochs, write
from solvers.reward_rules import RewardRules


def parts(**changes: Any) -> dict[str, Any]:
    """A valid two-state, two-signal, two-action model, with changes."""
    joint = np.zeros((1, 2, 2, 1, 2, 2))
    joint[0, :, :, 0] = 0.5 * np.eye(2)
    base = {
        "joint": joint,
        "reward": np.ones((1, 2, 2, 2, 1)),
        "children": [[1], [2], [2]],
        "table_of": [0, 0, -1],
        "start": [0.5, 0.5],
    }
    return {**base, **changes}


def wrong_joint(index: tuple[int, ...], value: float) -> np.ndarray:
    joint = np.array(parts()["joint"])
    joint[index] = value
    return joint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint": np.ones((2, 2))}, "joint must have 6 dimensions"),
        ({"joint": wrong_joint((0, 0, 0, 0, 0, 0), np.nan)}, "joint has an entry that is not finite"),
        ({"joint": wrong_joint((0, 0, 0, 0, 0, 0), -0.5)}, "negative probability"),
        ({"joint": wrong_joint((0, 1, 1, 0, 1, 1), 0.4)}, "table 0, action 1, state 1 sums to 0.9"),
        ({"reward": np.ones((1, 2, 2, 3, 1))}, "reward must have shape (1, 2, 2, 2, 1)"),
        ({"reward": np.full((1, 2, 2, 2, 1), np.inf)}, "reward has an entry that is not finite"),
        ({"children": [[1], [1], [2]]}, "children of node 1 must lie in 2 … 2"),
        ({"children": [[1], [3], [2]]}, "children of node 1 must lie in 2 … 2"),
        ({"children": [[1], [2]]}, "children must have shape (3, 1)"),
        ({"table_of": [-1, 0, -1]}, "node 0, where the process starts, must not be terminal"),
        ({"table_of": [0, 1, -1]}, "table_of must lie in -1 … 0"),
        ({"table_of": [0, 0.5, -1]}, "table_of must hold integers"),
        ({"successor": np.ones((1, 2, 2, 1), int)}, "successor must lie in 0 … 0"),
        ({"terminal": np.zeros((3, 2))}, "terminal must have 3 dimensions"),
        ({"start": [0.5, 0.6]}, "start must sum to 1, not 1.1"),
        ({"start": [1.5, -0.5]}, "start has a negative entry"),
        ({"start": ["a", "b"]}, "start is not an array of numbers"),
        ({"discount": 0.0}, "discount must lie in (0, 1], got 0.0"),
        ({"discount": 1.1}, "discount must lie in (0, 1], got 1.1"),
        ({"component_names": ("a", "b")}, "component_names must be 1 different names"),
        ({"actions": ("keep", "keep")}, "actions must be 2 different names"),
        ({"actions": "keep"}, "actions must be a sequence of names"),
    ],
)
def test_epoch_model_refuses(changes: dict[str, Any], message: str) -> None:
    EpochModel(**parts())
    with pytest.raises(ModelError, match=re.escape(message)) as error:
        EpochModel(**parts(**changes))
    assert "\n" not in str(error.value)


def test_a_signal_cannot_depend_on_the_action() -> None:
    joint = np.array(parts()["joint"])
    joint[0, 0, 1] *= 0.5
    joint[0, 1, 1] *= 1.5
    with pytest.raises(ModelError, match="seen before acting"):
        EpochModel(**parts(joint=joint))


def test_tables_are_frozen() -> None:
    model = EpochModel(**parts())
    with pytest.raises(ValueError, match="read-only"):
        model.joint[0] = 0


def test_update_is_bayes_rule() -> None:
    joint = np.zeros((1, 2, 1, 1, 2, 2))
    joint[0, :, 0, 0] = [[[0.9 * 0.5, 0.9 * 0.5], [0, 0.2]], [[0.1 * 0.5, 0.1 * 0.5], [0, 0.8]]]
    model = EpochModel(**parts(joint=joint, reward=np.ones((1, 2, 1, 2, 1))))
    belief, probability = model.update(0, [0.5, 0.5], 0, 0)
    assert probability == pytest.approx(0.5 * 0.9 + 0.5 * 0.2)
    np.testing.assert_allclose(belief, [0.225 / 0.55, 0.325 / 0.55])
    with pytest.raises(ModelError, match="terminal"):
        model.update(2, [0.5, 0.5], 0, 0)


def pomdp_parts(**changes: Any) -> dict[str, Any]:
    base = {
        "transition": np.tile(np.eye(2), (1, 1, 1)),
        "observation": np.full((1, 2, 3), 1 / 3),
        "reward": np.ones((1, 2)),
        "start": [0.5, 0.5],
        "discount": 0.9,
    }
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": np.ones((1, 2, 2))}, "transition must sum to 1: action 'action 0', state 'state 0' sums to"),
        ({"observation": np.full((1, 2, 3), 0.3)}, "observation must sum to 1"),
        ({"observation": np.full((2, 2, 3), 1 / 3)}, "numbers of actions differ: 1 in transition, 2 in observation"),
        ({"observation": np.full((1, 3, 2), 0.5)}, "observation must have shape (A, S, O), here (1, 2, any)"),
        ({"transition": np.full((1, 2, 3), 1 / 3)}, "transition must have shape (1, 2, 2), got (1, 2, 3)"),
        (
            {"transition": [[[1.0, 0.0], [1.5, -0.5]]]},
            "probability: -0.5 (action 'action 0', state 'state 1')",
        ),
        ({"reward": np.ones((2, 1))}, "reward must have shape (1, 2)"),
        ({"reward": np.ones((1, 2, 2, 2))}, "reward must have shape (1, 2, 2, 3)"),
        ({"discount": 1.5}, "discount must lie in (0, 1]"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"states": ("a",)}, "states must be 2 different names"),
        ({"observed": [0, 2]}, "observed must use each of 0, 1, …"),
        ({"observed": [0, 0.7]}, "observed must hold integers"),
        ({"horizon": 1.5}, "horizon must be a whole number, got 1.5"),
        ({"discount": "0.9"}, "discount must be a number, got '0.9'"),
        ({"rewards": RewardRules((1, 2, 2, 2))}, "rewards must have shape (1, 2, 2, 3)"),
        ({"rewards": 3.0}, "rewards must be a RewardRules, got float"),
        ({"transition": csr_array(np.eye(2))}, "transition must be a sequence of matrices, one for each action"),
        ({"states": 3}, "states must be a sequence of names, got 3"),
        ({"states": (1, 2)}, "states must be names, that is strings, got 1"),
    ],
)
def test_pomdp_refuses(changes: dict[str, Any], message: str) -> None:
    POMDP(**pomdp_parts())
    with pytest.raises(ModelError, match=re.escape(message)):
        POMDP(**pomdp_parts(**changes))


def test_a_horizon_is_needed() -> None:
    with pytest.raises(ModelError, match="horizon of at least 1"):
        POMDP(**pomdp_parts()).finite_horizon()
    assert POMDP(**pomdp_parts(horizon=4)).finite_horizon().n_nodes == 5


def test_outcome_rewards_become_expected_ones() -> None:
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=(1, 2, 2, 3))
    observation = rng.dirichlet(np.ones(3), (1, 2))
    pomdp = POMDP(**pomdp_parts(observation=observation, reward=outcome))
    expected = [sum(observation[0, s, o] * outcome[0, s, s, o] for o in range(3)) for s in range(2)]
    np.testing.assert_allclose(pomdp.reward[0], expected)
    assert pomdp.rewards is not None
    np.testing.assert_array_equal(pomdp.rewards.array(), outcome)


@pytest.mark.parametrize("seed", range(6))
def test_a_fully_observed_factor_gives_the_same_value_with_shorter_vectors(seed: int) -> None:
    """The factored form against the flat one, in which the factor is part of the observation."""
    rng = np.random.default_rng(seed)
    A, O, observed = 2, 2, np.array([0, 1, 0, 1, 1])
    S = observed.size
    transition = rng.dirichlet(np.ones(S), (A, S))
    observation = rng.dirichlet(np.ones(O), (A, S))
    start = np.where(observed == 0, 0.5, 0.0)
    common = {"transition": transition, "reward": rng.normal(size=(A, S)), "start": start, "discount": 0.9}
    factored = POMDP(observation=observation, observed=observed, **common)
    flat = POMDP(observation=np.einsum("aso,sy->asoy", observation, np.eye(2)[observed]).reshape(A, S, -1), **common)
    end = rng.normal(size=S)
    one = solve_epochs(factored.finite_horizon(3, terminal=end), gap=1e-9)
    other = solve_epochs(flat.finite_horizon(3, terminal=end), gap=1e-9)
    assert one.gap <= 1e-9
    assert one.lower == pytest.approx(other.lower, abs=1e-8)
    assert one.vectors(1).shape[1] == 3


def test_the_observed_factor_must_be_known_at_the_start() -> None:
    with pytest.raises(ModelError, match="start belief must agree"):
        POMDP(**pomdp_parts(observed=[0, 1])).finite_horizon(2)


def test_tables_are_sparse_and_alike_ones_are_one() -> None:
    seen = csr_array(np.full((2, 3), 1 / 3))
    pomdp = POMDP(**{**pomdp_parts(), "transition": [csr_array(np.eye(2))], "observation": [seen]})
    np.testing.assert_array_equal(pomdp.transition_array, [np.eye(2)])
    two = POMDP(
        transition=[np.eye(2), csr_array(np.eye(2)[::-1])], observation=[seen, seen], reward=np.zeros((2, 2)),
        start=[0.5, 0.5], discount=0.9,
    )  # fmt: skip
    assert two.observation[0] is two.observation[1]
    np.testing.assert_array_equal(two.transition_array, [np.eye(2), np.eye(2)[::-1]])
    assert not two.terminal.any()


def test_a_terminal_state_is_never_left_and_brings_nothing() -> None:
    pomdp = POMDP(
        transition=[[[0.5, 0.5], [1.0, 0.0]]], observation=[[[1.0], [1.0]]], reward=[[1.0, 7.0]], start=[1.0, 0.0],
        discount=1.0, terminal=[1],
    )  # fmt: skip
    assert pomdp.terminal.tolist() == [False, True]
    assert pomdp.transition_array.tolist() == [[[0.5, 0.5], [0.0, 1.0]]]
    assert pomdp.reward.tolist() == [[1.0, 0.0]]
    with pytest.raises(ModelError, match="terminal must lie in 0"):
        POMDP(**{**pomdp_parts(), "terminal": [2]})


def test_the_filter_of_a_pomdp() -> None:
    pomdp = POMDP(
        transition=[[[0.9, 0.1], [0.2, 0.8]]], observation=[[[0.7, 0.3, 0.0], [0.4, 0.6, 0.0]]], reward=[[0.0, 0.0]],
        start=[0.5, 0.5], discount=1.0, observations=["x", "y", "z"],
    )  # fmt: skip
    belief, probability = pomdp.update([0.5, 0.5], 0, 1)
    assert probability == pytest.approx(0.55 * 0.3 + 0.45 * 0.6)
    np.testing.assert_allclose(belief, np.array([0.55 * 0.3, 0.45 * 0.6]) / probability)
    with pytest.raises(ModelError, match="observation 'z' cannot occur after action 'action 0'"):
        pomdp.update([0.5, 0.5], 0, 2)
    for action, observation in ((-1, 0), (7, 0), (0, -1), (0, 3), (0.5, 0), ("listen", 0)):
        with pytest.raises(ModelError, match="must"):
            pomdp.update([0.5, 0.5], action, observation)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["pomdp", "pomdpx"])
def test_what_is_over_stays_over_in_files(tmp_path: Path, end: str) -> None:
    rules = RewardRules((1, 2, 2, 1))
    rules.add((None, None, 1, None), 10.0)
    pomdp = POMDP(
        transition=[[[0.5, 0.5], [0.0, 1.0]]], observation=[[[1.0], [1.0]]], reward=rules, start=[1.0, 0.0],
        discount=0.9, terminal=[1],
    )  # fmt: skip
    assert rules.at(0, 1, 1, 0) == 10.0, "what was given stays as it is"
    write(pomdp, tmp_path / f"over.{end}")
    back = read(tmp_path / f"over.{end}")
    assert back.reward.tolist() == pomdp.reward.tolist() == [[5.0, 0.0]]
    assert back.terminal.tolist() == [False, True]
