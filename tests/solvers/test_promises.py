"""What a solution says is so: policies attain their bounds, and what was found is not lost."""
# ruff: noqa: E741 (O is the number of observations)

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from solvers import SolverError, simulate
from solvers import _search_state as at
from solvers.bounds import fast_bound
from solvers.examples import rocksample, tiger
from solvers.families import solve_family
from solvers.pomdp import POMDP
from solvers.pruning import LEAST
from solvers.search import Searcher, sarsop
from solvers.solving import solve
from solvers.sweeps import pbvi, perseus


def random_pomdp(rng: np.random.Generator) -> POMDP:
    """Few states, some of them worthless, that lead to few others; in every third a factor is declared."""
    S, A, O = int(rng.integers(3, 8)), int(rng.integers(2, 4)), 2
    transition = rng.random((A, S, S)) ** 3 * (rng.random((A, S, S)) < 0.35)
    transition[transition.sum(axis=2) == 0.0, 0] = 1.0
    observation = rng.random((A, S, O))
    if rng.integers(2):
        observation = (observation == observation.max(axis=2, keepdims=True)) * 1.0
    reward = np.round(3.0 * rng.normal(size=(A, S)))
    over = rng.random(S) < 0.3
    transition[:, over], reward[:, over] = np.eye(S)[over], 0.0
    start = np.eye(S)[0] if rng.integers(2) else np.full(S, 1.0 / S)
    observed = np.unique(rng.integers(0, 2, S), return_inverse=True)[1] if rng.integers(3) == 0 else None
    return POMDP(
        transition=transition / transition.sum(axis=2, keepdims=True),
        observation=observation / observation.sum(axis=2, keepdims=True),
        reward=reward,
        start=start,
        discount=0.8,
        observed=observed,
    )


def with_start(pomdp: POMDP, start: object, reward: object = None) -> POMDP:
    return POMDP(
        transition=pomdp.transition,
        observation=pomdp.observation,
        reward=pomdp.reward if reward is None else reward,
        start=start,
        discount=pomdp.discount,
        observed=pomdp.observed,
    )


def largest_broken_promise(policy, depth: int = 7) -> float:
    """Largest V(b) - [r(b, a) + γ Σ_o P(o) V(b_o)] where the policy leads from the start; a is what it does at b.

    None: the policy is worth V, by induction over the steps, γ^t V going to 0.
    """
    p = policy.pomdp
    T, Z = p.transition_array, p.observation_array
    value = np.zeros(p.n_states, int) if policy.observed is None else p.observed
    split = [(value == y).astype(float) for y in np.unique(value)]
    worst, here = -np.inf, normalised([p.start * part for part in split])
    for _ in range(depth):
        following = []
        for _, b in here:
            a = policy.action(b)
            after = normalised([(b @ T[a]) * Z[a][:, o] * part for o in range(Z.shape[2]) for part in split])
            later = sum(chance * policy.value(x) for chance, x in after)
            worst = max(worst, policy.value(b) - b @ p.reward[a] - p.discount * later)
            following += after
        here = following[:24]
    return worst


def normalised(shares):
    return [(x.sum(), x / x.sum()) for x in shares if x.sum() > 1e-14]


def classes_of_single_actions() -> POMDP:
    """State 0 leads to 2, or to 1 or 2 evenly, then all is over; at 1 and 2 different actions are good."""
    transition, reward = np.zeros((2, 4, 4)), np.zeros((2, 4))
    transition[0, 0, 2] = 1.0
    transition[1, 0, 1] = transition[1, 0, 2] = 0.5
    transition[:, 1:, 3] = 1.0
    reward[0], reward[1] = [-1.0, -5.0, 10.0, 0.0], [-1.0, 16.0, -5.0, 0.0]
    blank = np.ones((2, 4, 1))
    return POMDP(transition=transition, observation=blank, reward=reward, start=[1.0, 0.0, 0.0, 0.0], discount=0.95)


def check_policies_attain(seed: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    few = [partial(method, beliefs=30) for method in (pbvi, perseus)]
    methods: tuple[Callable[..., object], ...] = (sarsop, sarsop, sarsop, solve, *few)
    for number in range(models):
        p, precision = random_pomdp(rng), float(rng.choice([1.0, 0.1, 1e-2]))
        found = methods[number % len(methods)](p, precision=precision, time_limit=5.0)
        assert found.policy.value(p.start) >= found.lower - 1e-9, number
        # What pruning costs is counted in `lower` alone.
        loss = 1e-3 * precision if methods[number % len(methods)] is solve else 0.0
        assert largest_broken_promise(found.policy) <= 1e-9 + loss, number
        if found.upper_bound is not None:
            assert found.lower <= found.upper_bound.value(p.start) <= found.upper + 1e-9, number


def test_policies_attain_what_their_vectors_promise():
    check_policies_attain(3, 60)


@pytest.mark.slow
def test_policies_attain_what_their_vectors_promise_often():
    check_policies_attain(4, 600)


def test_a_single_action_counts_on_itself_in_the_next_class():
    p = classes_of_single_actions()
    found = solve(p)
    assert found.lower == pytest.approx(-1.0 + 0.95 * 10.0)
    assert simulate(p, found.policy, episodes=10).mean == pytest.approx(8.5)


def test_families_attain_what_they_promise():
    p = classes_of_single_actions()
    family = solve_family(p, [p.reward, -p.reward], [[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [1.0, 0.2]])
    for found in family.solutions:
        assert simulate(found.pomdp, found.policy, episodes=10).mean == pytest.approx(found.lower, abs=1e-3)
    rng = np.random.default_rng(5)
    for _ in range(5):
        p = random_pomdp(rng)
        other = np.where(p.terminal, 0.0, rng.normal(size=p.reward.shape))
        for found in solve_family(p, [p.reward, other], [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], precision=0.1).solutions:
            assert largest_broken_promise(found.policy) <= 1e-9


def test_a_start_of_no_worth_says_nothing_of_other_states():
    p = classes_of_single_actions()
    over = [0.0, 0.0, 0.0, 1.0]
    found = solve(with_start(p, over))
    assert (found.lower, found.upper) == (0.0, 0.0)
    assert found.upper_bound.value([0.0, 0.0, 1.0, 0.0]) >= 10.0 - 1e-9
    assert found.value([0.0, 0.0, 1.0, 0.0]) <= 10.0 + 1e-9
    costs = with_start(p, over, -np.abs(p.reward))
    for method in ("sarsop", "blind", "pbvi", "perseus"):
        assert solve(costs, method).value([0.0, 1.0, 0.0, 0.0]) <= -5.0 + 1e-9
    assert solve(with_start(p, over), "qmdp").value([0.0, 0.0, 1.0, 0.0]) >= 10.0 - 1e-9
    again = solve(with_start(p, over, 2.0 * p.reward), warm_start=found)
    assert again.upper_bound.value([0.0, 0.0, 1.0, 0.0]) >= 20.0 - 1e-9


def test_warm_starts_are_for_the_same_start():
    p = tiger()
    found = solve(p, precision=0.1)
    with pytest.raises(SolverError, match="more than its rewards: in its start"):
        solve(with_start(p, [0.95, 0.05]), warm_start=found)
    nothing = solve(with_start(p, p.start, np.zeros_like(p.reward)))
    assert solve(p, warm_start=nothing, precision=0.1).lower == pytest.approx(found.lower, abs=0.1)


@pytest.mark.parametrize("start", [[0.5, 0.5, 0.0, 0.0, 0.0], [0.5, 0.3, 0.0, 0.2, 0.0]])
def test_a_value_of_worthless_states_has_a_vector(start):
    """States 0 and 1 are of value 0, state 2 of value 1, and 3 and 4, that follow each other for ever, of value 2."""
    T, O, R = np.zeros((2, 5, 5)), np.zeros((2, 5, 2)), np.zeros((2, 5))
    O[:] = [0.7, 0.3]
    O[:, 1] = [0.3, 0.7]
    T[0, 0, :2], T[0, 1, 1], T[1, 0, 2], T[1, 1, 3] = [0.9, 0.1], 1.0, 1.0, 1.0
    T[:, 2, 2] = T[:, 2, 3] = 0.5
    T[:, 3, 4] = T[:, 4, 3] = 1.0
    R[0, :3], R[1, :3] = [1.0, -1.0, 1.0], [5.0, -5.0, 1.0]
    p = POMDP(transition=T, observation=O, reward=R, start=start, discount=0.9, observed=[0, 0, 1, 2, 2])
    found = solve(p)
    assert found.value([0.0, 0.0, 0.0, 1.0, 0.0]) == 0.0
    assert found.policy.value(p.start) == pytest.approx(found.lower, abs=1e-3)
    played = simulate(p, found.policy, episodes=2000, steps=100, seed=1)
    assert abs(played.mean - found.lower) <= 4.0 * played.standard_error + 2e-3


@pytest.mark.slow
def test_small_improvements_that_are_forgone_do_not_stall_the_search(shared):
    from solvers.formats import read

    found = sarsop(read(shared / "pomdp_files" / "network.pomdp"), time_limit=300.0)
    assert (found.ended_by, found.gap <= 1e-3) == ("precision", True)


# What is not lost ---------------------------------------------------------------------------------------------------


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_what_interrupts_a_growing_state_leaves_it_as_it_was(monkeypatch):
    searcher = Searcher(tiger(), 1e-3)
    before = searcher.state
    searcher.state = before._replace(need=before.capacity + 1)
    capacity = before.capacity.copy()
    monkeypatch.setattr(at, "_empty_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        searcher.make_room()
    assert (before.capacity == capacity).all()
    for kind, name, _, per in at._GROWING:
        assert getattr(searcher.state, name).size >= searcher.state.capacity[kind] * (per or 3), name


def test_upper_bounds_are_known_beside_little_memory():
    p = rocksample(3, [(1, 0), (2, 2)])
    found = sarsop(p, memory=1, precision=1e-9)
    assert found.ended_by == "memory"
    spread = np.where(p.terminal, 0.0, 1.0)
    assert found.upper_bound.value(spread / spread.sum()) >= found.value(spread / spread.sum())


def test_a_finished_search_survives_what_would_polish_it(monkeypatch):
    p, large = tiger(), rocksample(4, [(1, 0), (2, 2), (0, 2), (3, 3), (3, 0)])
    with monkeypatch.context() as patch:
        patch.setattr("solvers.policies.AlphaVectorPolicy.pruned", interrupt)
        found = solve(p, precision=0.1)
    assert (found.ended_by, found.lower) == ("interrupted", sarsop(p, precision=0.1).lower)
    for error in (KeyboardInterrupt, SolverError("no solution")):
        with monkeypatch.context() as patch:

            def fail(*_, error=error, **__):
                raise error

            patch.setattr("solvers.policy_iteration.improve", fail)
            found = solve(large, precision=1e-9, time_limit=0.05)
        assert np.isfinite(found.lower)
        assert found.lower < found.upper
        assert found.ended_by == ("interrupted" if error is KeyboardInterrupt else "time limit")


def test_a_policy_is_made_though_interrupted_once(monkeypatch):
    from solvers import search

    calls, made = [], search.policy

    def once(searcher):
        calls.append(searcher)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return made(searcher)

    sarsop(tiger(), precision=1.0)  # compiled
    monkeypatch.setattr(search, "policy", once)
    assert sarsop(tiger(), precision=1.0).ended_by == "precision"
    assert len(calls) == 2


def test_interrupted_set_up_is_raised_and_a_family_is_kept(monkeypatch):
    parts = [tiger().reward]
    solve_family(tiger(), parts, [[1.0]], precision=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Searcher, "reweigh", interrupt)
        family = solve_family(tiger(), parts, [[1.0], [2.0]], precision=1.0)
    assert (len(family.solutions), family.weights.shape, family.values.shape) == (1, (1, 1), (1, 1))
    monkeypatch.setattr("solvers.search.build", interrupt)
    with pytest.raises(KeyboardInterrupt):
        solve(tiger())


def test_a_loss_by_pruning_is_counted_and_small():
    p = rocksample(3, [(1, 0), (2, 2)])
    for precision in (1.0, 1e-3):
        found, searched = solve(p, precision=precision), sarsop(p, precision=precision)
        assert found.gap <= precision
        assert searched.lower - 1e-3 * precision <= found.lower <= searched.lower
        assert found.lower < found.policy.value(p.start) or found.n_vectors == searched.n_vectors


def test_bounds_that_cross_are_no_solution():
    searcher = Searcher(tiger(), 1e-3)
    searcher.state.belief["low"][0] = searcher.state.belief["up"][0] + 1e-3
    with pytest.raises(SolverError, match="crossed"):
        _ = searcher.upper


def test_precision_of_exact_counts_what_pruning_does(monkeypatch):
    """Where one step can bring little and pruning is by shares of what many bring, the bound is no closer than that."""
    from solvers.exact import exact

    p = with_start(tiger(), [0.5, 0.5])
    tight = exact(p, 10, tolerance=1e-15)
    assert tight.upper - tight.lower >= LEAST * 100.0 * 10


# Limits and arguments -----------------------------------------------------------------------------------------------


def test_fast_bounds_say_how_they_ended(monkeypatch):
    p = rocksample(3, [(1, 0), (2, 2)])
    slow = POMDP(transition=p.transition, observation=p.observation, reward=p.reward, start=p.start, discount=0.9999)
    for method in ("mdp", "qmdp", "fib", "blind"):
        found = fast_bound(slow, method)
        assert found.ended_by == "converged"
        limited = fast_bound(slow, method, time_limit=1e-9)
        assert limited.ended_by == "time limit"
        with monkeypatch.context() as patch:
            patch.setattr("solvers.bounds._most_sweeps", lambda *_: 3)
            few = fast_bound(slow, method)
        assert few.ended_by == "sweeps"
        for other in (limited, few):
            assert other.lower <= found.lower + 1e-9
            assert other.upper >= found.upper - 1e-9


def test_walks_end_in_time():
    """Few beliefs can occur, so that a walk that looks for many goes on for long."""
    began = time.monotonic()
    found = perseus(classes_of_single_actions(), time_limit=0.05)
    assert time.monotonic() - began < 0.05 + found.compile_s + 1.0
    assert found.lower <= 8.5 + 1e-9


def test_options_that_would_be_ignored_are_refused():
    p = tiger()
    found = solve(p, precision=1.0)
    for method, horizon in (("fib", None), ("pbvi", None), ("epochs", 3), ("auto", 3)):
        with pytest.raises(SolverError, match="cannot use warm_start"):
            solve(p, method, horizon=horizon, warm_start=found)
    member = solve_family(p, [p.reward], [[1.0]], precision=1.0).solutions[0]
    with pytest.raises(SolverError, match="not of a family"):
        solve(p, warm_start=member)
    three = p.__class__(
        transition=p.transition, observation=p.observation, reward=p.reward, start=p.start, discount=0.95, horizon=3
    )
    with pytest.raises(SolverError, match="the model has one of 3 steps"):
        solve(three, "sarsop")
    with pytest.raises(SolverError, match="one of 3 steps"):
        solve_family(three, [p.reward], [[1.0]])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("tiger.pomdp",), {}, r"solve\(read\('tiger.pomdp'\)\)"),
        ((np.eye(2),), {}, "got ndarray"),
        ((tiger(), 0.01), {}, "precision=…"),
        ((tiger(), None), {}, "method must be a name"),
        ((tiger(), "SARSOP"), {}, "perhaps 'sarsop'"),
        ((tiger(), "sarsp"), {}, "perhaps 'sarsop'"),
        ((tiger(),), {"warm_start": 3}, "warm_start must be a Solution, got int"),
        ((tiger(),), {"precision": "a"}, "precision must be a number"),
        ((tiger(),), {"precision": float("nan")}, "precision must be a number"),
        ((tiger(),), {"time_limit": "1"}, "time_limit must be a number"),
        ((tiger(),), {"horizon": 2.5}, "horizon must be a whole number"),
        ((tiger(),), {"horizon": 0}, "horizon must be a whole number"),
        ((tiger(), "pbvi"), {"seed": -1}, "seed must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, message):
    with pytest.raises(SolverError, match=message):
        solve(*arguments, **options)


def test_compilation_is_told_apart_with_a_horizon():
    for method in ("epochs", "exact"):
        solve(tiger(), method, horizon=2)
        assert solve(tiger(), method, horizon=2).compile_s == 0.0
