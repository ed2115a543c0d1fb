"""Epoch models as POMDPs: the same process, the same value, few states."""

from collections.abc import Callable

import numpy as np
import pytest

from solvers import POMDP, EpochModel, ModelError, simulate, solve_epochs
from solvers.unfolding import Sight, Unfolded, unfold


def expected_sights(model: EpochModel, mass: np.ndarray, node: int, signal: int, action: int) -> dict[Sight, float]:
    """P(observation, next signal) after an action, from the epoch model's own tables."""
    found: dict[Sight, float] = {}
    table = model.table_of[node]
    for o in range(model.n_observations):
        after = mass @ model.joint[table, signal, action, o]
        child = model.child(node, signal, action, o)
        below = model.table_of[child]
        if below < 0:
            found[Sight(o, -1)] = found.get(Sight(o, -1), 0.0) + float(after.sum())
        else:
            for k, share in enumerate(after @ model.joint[below, :, 0].sum(axis=(1, 3)).T):
                found[Sight(o, k)] = found.get(Sight(o, k), 0.0) + float(share)
    return found


def follow(unfolded: Unfolded, rng: np.random.Generator) -> int:
    """Walk a random history in both models and compare all that either says on the way; returns its length."""
    model = unfolded.model
    pomdp = unfolded.pomdp(np.ones(model.n_components), observed=False)
    belief, mass, node, signal, length = pomdp.start, model.start, 0, 0, 0
    scale = 1.0
    if model.n_signals > 1:
        scale = 1.0 / model.discount
        chance = model.start @ model.joint[model.table_of[0], :, 0].sum(axis=(1, 3)).T
        seen = (belief @ pomdp.transition[0]) @ pomdp.observation[0].toarray()
        signal = int(rng.choice(chance.size, p=chance / chance.sum()))
        there = [i for i, sight in enumerate(unfolded.sights) if sight.signal == signal and seen[i] > 0]
        assert len(there) == 1
        assert seen[there[0]] == pytest.approx(chance[signal], abs=1e-12)
        belief, _ = pomdp.update(belief, int(rng.integers(model.n_actions)), there[0])
    while (table := int(model.table_of[node])) >= 0:
        chance = float((mass @ model.joint[table, signal, 0].sum(axis=(0, 2))).sum())
        mass = mass / chance  # given the signal, whose probability is in the tables
        action = int(rng.integers(model.n_actions))
        seen = (belief @ pomdp.transition[action]) @ pomdp.observation[action].toarray()
        want = expected_sights(model, mass, node, signal, action)
        for sight, probability in want.items():
            here = unfolded.sights.index(sight) if sight in unfolded.sights else -1
            assert (seen[here] if here >= 0 else 0.0) == pytest.approx(probability, abs=1e-11)
        assert sum(want.values()) == pytest.approx(1.0, abs=1e-11)
        reward = mass @ model.reward[table, signal, action]
        for o in range(model.n_observations):
            child = model.child(node, signal, action, o)
            if model.table_of[child] < 0:
                reward = (
                    reward + model.discount * (mass @ model.joint[table, signal, action, o]) @ model.terminal[child]
                )
        np.testing.assert_allclose(unfolded.components[:, action] @ belief, scale * reward, atol=1e-9)
        sight = unfolded.sights[int(rng.choice(seen.size, p=seen / seen.sum()))]
        mass = mass @ model.joint[table, signal, action, sight.seen]
        node = model.child(node, signal, action, sight.seen)
        belief, _ = pomdp.update(belief, action, unfolded.sights.index(sight))
        signal, length = sight.signal, length + 1
    assert pomdp.terminal[belief > 0].all()
    return length


@pytest.mark.parametrize("seed", range(12))
def test_histories_are_as_likely_and_as_good(seed: int, make_model: Callable[..., EpochModel]) -> None:
    unfolded = unfold(make_model(seed))
    rng = np.random.default_rng(seed)
    lengths = [follow(unfolded, rng) for _ in range(5)]
    assert 1 <= max(lengths) <= unfolded.horizon


@pytest.mark.parametrize("seed", [0, 5, 9, 14, 21, 23, 26, 36, 42])
def test_the_value_is_the_same(
    seed: int,
    make_model: Callable[..., EpochModel],
    optimal_value: Callable[[EpochModel, np.ndarray, int, np.ndarray], float],
) -> None:
    """Brute force on the epoch model; the POMDP turned into epochs again, with and without its observed factor."""
    model = make_model(seed)
    weights = np.random.default_rng(seed).normal(size=model.n_components)
    value = optimal_value(model, weights, 0, model.start)
    unfolded = unfold(model)
    for observed in (True, False):
        pomdp = unfolded.pomdp(weights, observed=observed)
        solution = solve_epochs(pomdp.finite_horizon(unfolded.horizon), gap=1e-9)
        assert solution.lower == pytest.approx(value, abs=1e-8)
        assert solution.upper == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("seed", [5, 9, 21, 31])
def test_a_solution_acts_in_it(seed: int, make_model: Callable[..., EpochModel]) -> None:
    """At the start of the first epoch, whatever was seen, as `EpochPolicy` does; and worth what was found, played."""
    model = make_model(seed)
    weights = np.random.default_rng(seed).normal(size=model.n_components)
    solution = solve_epochs(model, weights, gap=1e-9)
    unfolded = unfold(model)
    policy, pomdp = unfolded.policy(solution), unfolded.pomdp(weights)
    for sight, signal in ((i, sight.signal) for i, sight in enumerate(unfolded.sights) if model.n_signals > 1):
        chance = pomdp.start @ pomdp.transition[0] @ pomdp.observation[0].toarray()
        if chance[sight] > 0:
            belief, _ = pomdp.update(pomdp.start, 0, sight)
            assert policy.action(belief) == solution.policy.action(0, model.start, signal)
    played = simulate(pomdp, policy, episodes=4000, steps=unfolded.horizon)
    assert abs(played.mean - solution.lower) < 4 * played.standard_error + 1e-9


def test_a_solution_of_another_model_is_refused(make_model: Callable[..., EpochModel]) -> None:
    other = make_model(5)
    with pytest.raises(ModelError, match="the solution is one of another epoch model"):
        unfold(make_model(9)).policy(solve_epochs(other, np.ones(other.n_components)))


def shares(seed: int, signals: int) -> EpochModel:
    """Two steps whose signals tell in which of three ways a hidden state will move, none of them for certain.

    But three signals, which are sure of theirs.
    """
    rng = np.random.default_rng(seed)
    way = np.concatenate([np.eye(3), rng.dirichlet(np.ones(3), signals - 3)])  # (K, 3): P(way | signal)
    signal = rng.dirichlet(np.ones(signals), 2)  # (s, K)
    moves = rng.dirichlet(np.ones(4), (2, 2, 3)).reshape(2, 2, 3, 2, 2)  # (s, a, way, o, s')
    joint = np.einsum("sk,kw,sawoz->kaosz", signal, way, moves)
    reward = np.einsum("sk,kw,saw->kas", signal, way, rng.normal(size=(2, 2, 3)))
    return EpochModel(
        joint=joint[None],
        reward=reward[None, ..., None],
        children=[[1], [2], [2]],
        table_of=[0, 0, -1],
        start=[0.4, 0.6],
    )


def test_signals_share_kinds() -> None:
    """Forty signals are forty mixtures of three kinds: a node has 2 × 3 states, not 2 × 40."""
    model = shares(3, 40)
    unfolded = unfold(model)
    by_node = [sum(place.node == n for place in unfolded.places) for n in (-1, 0, 1, 2)]
    assert by_node == [2, 6, 12, 4]  # at node 1 and at the end by what was seen, too
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert follow(unfolded, rng) == 2


def test_signals_without_corners_are_kinds_of_their_own() -> None:
    """Points on a circle are no mixtures of three of them."""
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    first = 1 / 3 + 0.2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    after = np.concatenate([first, 1 - first.sum(axis=1, keepdims=True)], axis=1)  # (k, o)
    joint = np.zeros((1, 8, 1, 3, 1, 1))
    joint[0, :, 0, :, 0, 0] = after / 8
    model = EpochModel(
        joint=joint, reward=np.zeros((1, 8, 1, 1, 1)), children=[[1], [2], [2]], table_of=[0, 0, -1], start=[1.0]
    )
    unfolded = unfold(model)
    assert sum(place.node == 0 for place in unfolded.places) == 8
    assert follow(unfolded, np.random.default_rng(0)) == 2


def test_rewards_of_outcomes_have_the_expected_ones_as_their_mean(make_model: Callable[..., EpochModel]) -> None:
    for seed in (0, 5, 9):
        model = make_model(seed)
        pomdp = model.as_pomdp(np.ones(model.n_components))
        assert pomdp.rewards is not None
        expected = pomdp.rewards.expected(pomdp.transition, pomdp.observation)
        np.testing.assert_allclose(expected[:, ~pomdp.terminal], pomdp.reward[:, ~pomdp.terminal], atol=1e-10)


def test_a_pomdp_turned_into_epochs_and_back() -> None:
    """One signal only: there is nothing to look at first, and the horizon is as long as it was."""
    tiger = POMDP(
        transition=[np.eye(2), np.full((2, 2), 0.5)],
        observation=[[[0.85, 0.15], [0.15, 0.85]], np.full((2, 2), 0.5)],
        reward=[[-1, -1], [-100, 10]],
        start=[0.5, 0.5],
        discount=0.95,
    )
    assert unfold(tiger.finite_horizon(4)).horizon == 4
    back = tiger.finite_horizon(4).as_pomdp()
    assert back.terminal.any()
    expected = solve_epochs(tiger.finite_horizon(4), gap=1e-9).lower
    assert solve_epochs(back.finite_horizon(4), gap=1e-9).lower == pytest.approx(expected, abs=1e-8)
