"""Three to six hidden states: bounds in cells of a mesh, limits, and what comes of a warm start."""

import signal
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import EpochModel, SolverError, solve_epochs, solve_epochs_many
from solvers._epoch_arrays import shares_at

Make = Callable[..., EpochModel]
Optimal = Callable[[EpochModel, np.ndarray, int, np.ndarray], float]
ROUNDING = 1e-10


def diagnosis(n_states: int, steps: int, signals: int) -> EpochModel:
    """A machine wears out, from state to state, under noisy readings; replace it at a price, or go on.

    Beliefs spread over the simplex, so that bounds close only where there are many points.
    """
    S, K = n_states, signals
    means = np.linspace(-1.5, 1.5, S)
    reading = np.exp(-0.5 * (np.linspace(-4.0, 4.0, K)[None] - means[:, None]) ** 2)
    reading /= reading.sum(axis=1, keepdims=True)
    wear = 0.85 * np.eye(S) + 0.15 * np.eye(S, k=1)
    wear[-1, -1] = 1.0
    joint, reward = np.zeros((1, K, 2, 1, S, S)), np.zeros((1, K, 2, S, 1))
    joint[0, :, 0, 0] = reading.T[:, :, None] * wear
    joint[0, :, 1, 0, :, 0] = reading.T
    output = 10.0 * np.linspace(1.0, 0.0, S) ** 2
    reward[0, :, 0, :, 0] = reading.T * output
    reward[0, :, 1, :, 0] = reading.T * (output - 12.0)
    nodes = np.arange(steps + 1)
    return EpochModel(
        joint=joint,
        reward=reward,
        children=np.minimum(nodes + 1, steps)[:, None],
        table_of=np.where(nodes < steps, 0, -1),
        start=np.full(S, 1.0 / S),
    )


@pytest.mark.parametrize(("n_states", "gap"), [(3, 1e-3), (4, 1e-2), (5, 1e-1)])
def test_gap_closes_where_beliefs_spread(n_states: int, gap: float) -> None:
    solution = solve_epochs(diagnosis(n_states, 8, 30), gap=gap)
    assert solution.ended == "gap reached"
    assert solution.gap <= gap
    uppers = [there.upper for there in solution.rounds]
    lowers = [there.lower for there in solution.rounds]
    assert max(lowers) <= min(uppers) + ROUNDING, "every round's bounds hold the same value"


def test_two_states_hidden_in_three_are_solved_alike() -> None:
    """A third state that copies the second changes nothing: the two-state solver is another program."""
    two = diagnosis(2, 8, 30)
    joint = np.zeros((*two.joint.shape[:4], 3, 3))
    twin = [0, 1, 1]
    for s in range(3):
        joint[..., s, 0] = two.joint[..., twin[s], 0]
        joint[..., s, 1] = joint[..., s, 2] = 0.5 * two.joint[..., twin[s], 1]
    three = EpochModel(
        joint=joint,
        reward=two.reward[..., twin, :],
        children=two.children,
        table_of=two.table_of,
        start=[0.5, 0.2, 0.3],
    )
    there, here = solve_epochs(two, gap=1e-5), solve_epochs(three, gap=1e-4)
    assert here.lower <= there.upper + ROUNDING
    assert here.upper >= there.lower - ROUNDING
    assert here.gap <= 1e-4


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_states=st.integers(3, 7))
def test_bounds_enclose_brute_force(make_model: Make, optimal_value: Optimal, seed: int, n_states: int) -> None:
    model = make_model(seed, n_states=n_states)
    w = np.random.default_rng(seed).normal(size=model.n_components)
    solution = solve_epochs(model, w, gap=1e-6)
    exact = optimal_value(model, w, 0, model.start)
    assert solution.lower - ROUNDING <= exact <= solution.upper + ROUNDING
    assert solution.gap <= 1e-6


def test_every_belief_lies_in_its_cell() -> None:
    """Coordinates are a distribution over corners that gives the belief back."""
    z = solve_epochs(diagnosis(4, 5, 12), gap=0.1)._bounds
    rng = np.random.default_rng(0)
    for node in range(5):
        for b in [*rng.dirichlet(np.ones(4), 50), *rng.dirichlet(np.full(4, 0.1), 50), *np.eye(4)]:
            cell, here = shares_at(z.cells, node, b)
            corner = z.cells.corner[cell]
            assert z.cells.child[cell] == -1
            assert (here >= 0).all()
            assert ((corner >= z.offset[node]) & (corner < z.offset[node + 1])).all()
            np.testing.assert_allclose(here @ z.points[corner], b, atol=1e-11)


def test_a_warm_start_is_as_good_as_a_cold_one() -> None:
    model = diagnosis(3, 8, 30)
    weights = np.linspace(0.9, 1.1, 5)[:, None]
    for w, warm in zip(weights, solve_epochs_many(model, weights, gap=1e-2, threads=1), strict=True):
        cold = solve_epochs(model, w, gap=1e-2)
        assert warm.ended == cold.ended == "gap reached"
        assert warm.lower <= cold.upper + ROUNDING
        assert cold.lower <= warm.upper + ROUNDING


def test_points_do_not_pile_up_along_a_chain() -> None:
    model = diagnosis(3, 8, 30)
    weights = np.linspace(0.5, 2.0, 9)[:, None]
    chain = solve_epochs_many(model, weights, gap=1e-2, threads=1)
    cold = solve_epochs(model, weights[-1], gap=1e-2)
    assert chain[-1].n_points <= 2 * cold.n_points


def priced(model: EpochModel) -> EpochModel:
    """`diagnosis`, with the number of replacements as a component of its own."""
    replaced = model.joint.sum(axis=(3, 5))[..., None] * np.array([0.0, 1.0])[:, None, None]
    reward = np.concatenate([model.reward + 12.0 * replaced, -replaced], axis=4)
    return replace(model, reward=reward, terminal=None, component_names=())


def test_a_mesh_that_has_grown_is_begun_anew_and_one_that_was_refined_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.epoch_solver._STALE", 1.5)
    model = priced(diagnosis(3, 8, 30))
    rough = solve_epochs(model, [1.0, 12.0], gap=1.0)
    before = solve_epochs(model, [1.0, 12.0], gap=2e-3, warm_start=rough)
    assert before.n_points > 4 * rough.n_points
    restarts = 0
    for step, price in enumerate(np.linspace(12.0, 5.0, 8).tolist()):
        after = solve_epochs(model, [1.0, price], gap=2e-3, warm_start=before)
        assert after.ended == "gap reached"
        if after.rounds[0].n_points < before.n_points:
            restarts += 1
            assert step > 1, "what was refined a moment ago is not given up"
            assert after.rounds == solve_epochs(model, [1.0, price], gap=2e-3).rounds
        before = after
    assert restarts > 0


@pytest.mark.parametrize("n_states", [2, 3, 7])
def test_what_is_there_when_time_is_up_holds(n_states: int) -> None:
    model = diagnosis(n_states, 6, 12)
    exact = solve_epochs(model, gap=1e-3 if n_states < 7 else 5.0)
    rushed = solve_epochs(model, gap=0.0, time_limit=1e-9)
    assert (rushed.ended, rushed.sweeps) == ("time limit", 1)
    assert rushed.lower <= exact.upper + ROUNDING
    assert rushed.upper >= exact.lower - ROUNDING
    assert rushed.graph.evaluate(model) == pytest.approx(rushed.lower)


def test_ctrl_c_leaves_what_the_last_sweep_found() -> None:
    model = diagnosis(3, 6, 12)
    calls = 0

    def third_time(there: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)

    stopped = solve_epochs(model, gap=1e-4, progress=third_time)
    assert (stopped.ended, stopped.sweeps) == ("interrupted", 3)
    whole = solve_epochs(model, gap=1e-4)
    assert stopped.rounds == whole.rounds[:3]
    assert stopped.lower <= whole.upper
    assert stopped.upper >= whole.lower
    assert stopped.graph.evaluate(model) == pytest.approx(stopped.lower)


def test_progress_is_told_every_round() -> None:
    told: list[object] = []
    solution = solve_epochs(diagnosis(3, 6, 12), gap=1e-2, progress=told.append)
    assert tuple(told) == solution.rounds


def test_a_time_limit_must_be_one() -> None:
    with pytest.raises(SolverError, match="time_limit"):
        solve_epochs(diagnosis(3, 2, 4), time_limit=0.0)
