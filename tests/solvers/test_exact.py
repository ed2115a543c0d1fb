"""Exact value iteration: by hand, against trees of beliefs, against pomdp-solve and the epoch solver."""
# ruff: noqa: E741 (O is the number of observations)

from pathlib import Path

import numpy as np
import pytest
from test_published_values import EXACT, PRINTED

from solvers import POMDP, ModelError, read_pomdp, solve_epochs
from solvers.exact import ExactEpoch, exact
from solvers.examples import maze, tiger

# Vectors of the minimal sets that pomdp-solve found (shared/pomdp_files/README.md), with the values of EXACT.
COUNTS = {
    "tiger.aaai": [3, 5, 9, 9, 15, 17, 21, 23, 29, 29],
    "tiger.95": [3, 5, 9, 7, 13, 15, 19, 25, 27, 27],
    "1d": [2, 3, 4, 4, 4, 4, 4, 4, 4, 4],
    "parr95.95": [1, 2, 4, 4, 5, 4, 4, 5, 4, 5],
    "cheese.95": [1, 1, 3, 6, 8, 14, 14, 16, 16, 14],
    "paint.95": [3, 7, 16, 18, 18, 24, 31, 35, 39, 48],
    "mini-hall2": [1, 3, 3, 5, 15, 36, 36, 36, 54, 54],
    "4x3.95": [1, 3, 4, 4],
    "shuttle.95": [1, 2, 3, 12, 41, 167],
    "network": [1, 2, 6, 10],
}


def look_or_bet() -> POMDP:
    """A coin lies left or right. Looking costs 1 and is right in 4 of 5; a bet wins or loses 10. Nothing moves."""
    nothing = np.full((2, 2), 0.5)
    return POMDP(
        transition=[np.eye(2)] * 3,
        observation=[[[0.8, 0.2], [0.2, 0.8]], nothing, nothing],
        reward=[[-1, -1], [10, -10], [-10, 10]],
        start=[0.5, 0.5],
        discount=0.9,
        actions=("look", "bet left", "bet right"),
    )


def random_pomdp(seed: int, *, observed: bool = False) -> POMDP:
    """Two to four states, with zeros among its probabilities; perhaps with a part of the state that is seen."""
    rng = np.random.default_rng(seed)
    S, A, O = (4 if observed else int(rng.integers(2, 4))), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    T = rng.random((A, S, S)) * (rng.random((A, S, S)) < 0.6) + 1e-3 * np.eye(S)
    Z = rng.random((A, S, O)) * (rng.random((A, S, O)) < 0.7) + 1e-3 * (np.arange(O) == 0)
    start = rng.dirichlet(np.ones(S))
    factor = np.array([0, 0, 1, 1]) if observed else None
    if observed:
        start[2:] = 0.0
    return POMDP(
        transition=T / T.sum(-1, keepdims=True),
        observation=Z / Z.sum(-1, keepdims=True),
        reward=rng.normal(size=(A, S)),
        start=start / start.sum(),
        discount=float(rng.uniform(0.5, 1.0)),
        observed=factor,
    )


def optimum(p: POMDP, belief: np.ndarray, steps: int) -> float:
    """Value of an unnormalised belief, by walking the whole tree; what is seen of the state is seen at once."""
    if steps == 0:
        return 0.0
    parts = [belief] if p.observed is None else [np.where(p.observed == y, belief, 0.0) for y in (0, 1)]
    total = 0.0
    for part in parts:
        if part.sum() > 0.0:
            best = -np.inf
            for a in range(p.n_actions):
                after = part @ p.transition_array[a]
                value = part @ p.reward[a]
                for o in range(p.n_observations):
                    value += p.discount * optimum(p, after * p.observation_array[a, :, o], steps - 1)
                best = max(best, value)
            total += best
    return total


def test_two_steps_by_hand() -> None:
    r"""With one step left a bet is worth 10 (2p - 1), and looking, at -1, never pays: 0 is had at an even chance.

    With two: the same bet twice is worth ±(10 + .9·10) = ±19. Looking, and then betting on what was seen, is worth
    -1 + .9 (.8·10 - .2·10) = 4.4 on either side. Looking and then betting on the left whatever was seen, (8, -10), is
    below the larger of the two everywhere (at the break-even 38 p - 19 = 4.4 it is worth 18 p - 10 = 1.1), and so are
    bets on different sides, ±(10 - 9) = ±1.
    """
    p = look_or_bet()
    found = exact(p, 2)
    one, two = found.policy
    assert [tuple(row) for row in one.vectors[np.argsort(one.actions)]] == [(10.0, -10.0), (-10.0, 10.0)]
    plans = {p.actions[a]: row for a, row in zip(two.actions, two.vectors, strict=True)}
    assert two.n_vectors == 3
    assert plans["look"] == pytest.approx([4.4, 4.4])
    assert plans["bet left"] == pytest.approx([19.0, -19.0])
    assert plans["bet right"] == pytest.approx([-19.0, 19.0])
    assert found.lower == pytest.approx(4.4)
    assert found.lower <= found.upper < found.lower + 1e-6
    # What follows a look is a bet on what was seen.
    seen = found.policy.successors[1][two.actions == 0][0]
    assert [p.actions[a] for a in one.actions[seen]] == ["bet left", "bet right"]
    # Looking pays between 1/2 ± 4.4/38.
    for share, action in ((0.5, "look"), (0.615, "look"), (0.617, "bet left"), (0.383, "bet right")):
        assert p.actions[found.policy.action([share, 1 - share])] == action


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_values_at_all_beliefs_are_those_of_the_tree(seed: int, observed: bool) -> None:
    p = random_pomdp(seed, observed=observed)
    found = exact(p, 3)
    rng = np.random.default_rng(seed)
    beliefs = rng.dirichlet(np.full(p.n_states, 0.4), 8)
    for h in (1, 2, 3):
        wanted = [optimum(p, b, h) for b in beliefs]
        assert found.policy.value(beliefs, h) == pytest.approx(wanted, abs=1e-7)
    assert found.lower == pytest.approx(optimum(p, p.start, 3), abs=1e-7)
    assert optimum(p, p.start, 3) <= found.upper + 1e-12


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("seed", [1, 4])
def test_vectors_are_worth_what_their_successors_say(seed: int, observed: bool) -> None:
    """Each is the exact value of a plan: its action, then the plan of the vector that follows what is seen."""
    p = random_pomdp(seed, observed=observed)
    found = exact(p, 3)
    factor = np.zeros(p.n_states, int) if p.observed is None else p.observed
    Y = factor.max() + 1
    for h in (1, 2):
        below, here = found.policy.by_steps_to_go[h - 1 : h + 1]
        for v in range(here.n_vectors):
            a = here.actions[v]
            worth = p.reward[a].copy()
            for s2 in range(p.n_states):
                for o in range(p.n_observations):
                    follows = found.policy.successors[h][v, o * Y + factor[s2]]
                    chance = p.transition_array[a, :, s2] * p.observation_array[a, s2, o]
                    worth += p.discount * chance * (below.vectors[follows, s2] if follows >= 0 else 0.0)
            mine = slice(None) if here.observed is None else factor == here.observed[v]
            assert here.vectors[v][mine] == pytest.approx(worth[mine], abs=1e-9)


@pytest.mark.parametrize("p", [tiger(), maze(["A?SB", "#..#"])], ids=["tiger", "maze"])
def test_as_the_epoch_solver_finds(p: POMDP) -> None:
    found = exact(p, 6)
    for epoch in found.history:
        assert epoch.lower == pytest.approx(solve_epochs(p.finite_horizon(epoch.steps_to_go), gap=1e-8).lower, abs=1e-6)


def test_the_published_tiger() -> None:
    """Value and size of the minimal sets, from pomdp-solve."""
    found = exact(tiger(), 10)
    assert [epoch.n_vectors for epoch in found.history] == COUNTS["tiger.95"]
    assert [epoch.lower for epoch in found.history] == pytest.approx(EXACT["tiger.95"], abs=1e-6)
    assert found.ended_by == "horizon"
    assert [epoch.steps_to_go for epoch in found.history] == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_as_pomdp_solve_finds(shared: Path, name: str) -> None:
    found = exact(read_pomdp(shared / "pomdp_files" / f"{name}.pomdp"), len(EXACT[name]))
    for epoch, value, count in zip(found.history, EXACT[name], COUNTS[name], strict=True):
        assert epoch.lower == pytest.approx(value, abs=1e-6 + PRINTED * abs(value)), epoch
        assert abs(epoch.n_vectors - count) <= 2, epoch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs", "value", "count"),
    [("tiger.95", 476, 19.371368, 9), ("paint.95", 441, 3.293597, 9), ("mini-hall2", 439, 2.714281, 54)],
)
def test_many_steps_are_the_discounted_problem(shared: Path, name: str, epochs: int, value: float, count: int) -> None:
    """Where pomdp-solve stops by itself, after as many epochs as it takes."""
    found = exact(read_pomdp(shared / "pomdp_files" / f"{name}.pomdp"), epochs)
    assert found.lower == pytest.approx(value, abs=1e-6)
    assert abs(found.policy.n_vectors - count) <= 2


def test_out_of_time_is_said() -> None:
    found = exact(tiger(), 10_000, time_limit=0.2)
    assert found.ended_by == "time limit"
    assert 1 <= found.horizon == len(found.history) < 10_000
    assert found.lower == found.history[-1].lower
    assert exact(tiger(), 50, time_limit=1e-9).horizon == 1
    assert exact(tiger(), found.horizon).lower == found.lower


def test_interrupted_is_said() -> None:
    def press(epoch: ExactEpoch) -> None:
        if epoch.steps_to_go == 3:
            raise KeyboardInterrupt

    found = exact(tiger(), 8, progress=press)
    assert (found.ended_by, found.horizon) == ("interrupted", 3)
    assert found.lower == pytest.approx(2.3098)


def test_a_horizon_is_needed() -> None:
    with pytest.raises(ModelError, match="a horizon of at least 1 is needed, got None"):
        exact(tiger())
    with pytest.raises(ModelError, match="a horizon of at least 1 is needed, got 0"):
        exact(tiger(), 0)
    with pytest.raises(ModelError, match="tolerance must be above 0"):
        exact(tiger(), 1, tolerance=0.0)
