"""Heuristic search, sweeps and fast bounds, against brute force, reference intervals and each other."""

import itertools
import re

import numpy as np
import pytest

from solvers import ModelError, SolverError, simulate
from solvers._search_model import build, find_classes
from solvers._search_policies import policy
from solvers.examples import maze, rocksample, tag, tiger
from solvers.formats import read
from solvers.pomdp import POMDP
from solvers.search import Searcher, run_search, sarsop
from solvers.solving import solve

UPPER, LOWER = ("mdp", "qmdp", "fib"), ("blind", "pbvi", "perseus")


def random_pomdp(seed: int, *, S: int = 3, A: int = 2, O: int = 2, discount: float = 0.5, observed=None) -> POMDP:  # noqa: E741
    rng = np.random.default_rng(seed)
    transition, observation = rng.dirichlet(np.full(S, 0.4), (A, S)), rng.dirichlet(np.full(O, 0.6), (A, S))
    transition[rng.random(transition.shape) < 0.2] = 0.0
    transition[:, :, 0] += 0.05
    transition /= transition.sum(axis=2, keepdims=True)
    return POMDP(
        transition=transition,
        observation=observation,
        reward=rng.normal(size=(A, S)).round(3),
        start=rng.dirichlet(np.ones(S)),
        discount=discount,
        observed=observed,
    )


def brute_force(p: POMDP, depth: int) -> tuple[float, float]:
    """Bounds by the whole tree of beliefs, nothing shared, the rest bounded by the extreme rewards."""
    T, O, most = p.transition_array, p.observation_array, np.abs(p.reward).max() / (1.0 - p.discount)  # noqa: E741

    def value(b: np.ndarray, steps: int) -> float:  # b unnormalised
        if steps == 0 or b.sum() < 1e-12:
            return 0.0
        return max(
            float(b @ p.reward[a])
            + p.discount * sum(value((b @ T[a]) * O[a][:, o], steps - 1) for o in range(O.shape[2]))
            for a in range(len(T))
        )

    centre = value(p.start, depth)
    return centre - p.discount**depth * most, centre + p.discount**depth * most


@pytest.mark.parametrize("seed", range(6))
def test_bounds_hold_at_every_moment(seed):
    p = random_pomdp(seed)
    low, high = brute_force(p, 8)
    found = sarsop(p, precision=1e-3)
    assert found.ended_by == "precision"
    assert found.gap <= 1e-3
    for _, lower, upper in found.history:
        assert lower <= high
        assert upper >= low
        assert lower <= upper + 1e-9
    assert [b.lower for b in found.history] == sorted(b.lower for b in found.history)
    assert [-b.upper for b in found.history] == sorted(-b.upper for b in found.history)
    assert found.policy.value(p.start) == pytest.approx(found.lower, abs=1e-9)
    assert found.upper_bound.value(p.start) >= low


@pytest.mark.parametrize("seed", range(4))
def test_methods_agree(seed):
    p = random_pomdp(seed + 100, S=4, A=3, O=3, discount=0.9)
    best = solve(p, precision=1e-2)
    uppers = [solve(p, method).upper for method in UPPER]
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[-1] >= best.lower
    for method in LOWER:
        found = solve(p, method, seed=seed)
        assert found.lower <= best.upper + 1e-9
        assert found.policy.value(p.start) >= found.lower - 1e-9
        if method != "blind":
            assert found.lower >= best.lower - 0.02 * (1.0 + abs(best.lower))


def test_a_start_that_is_resolved_at_once():
    """Two states, seen after the first action, that never change: guess once, then 1 for ever; 0.5 + γ / (1 - γ)."""
    stay, see = np.stack([np.eye(2)] * 2), np.stack([np.eye(2)] * 2)
    p = POMDP(transition=stay, observation=see, reward=np.eye(2), start=[0.5, 0.5], discount=0.8)
    found = sarsop(p, precision=1e-6)
    assert (found.lower, found.upper) == pytest.approx((4.5, 4.5), abs=1e-5)
    known = POMDP(transition=stay, observation=see, reward=np.eye(2), start=[0.5, 0.5], discount=0.8, observed=[0, 1])
    assert sarsop(known, precision=1e-6).lower == pytest.approx(5.0, abs=1e-5)
    assert known.n_states == 2
    assert build(p).n_classes == 3  # each state, and their copies at the start


def test_classes_are_the_finest_that_are_consistent():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        S, A, O = 7, 2, 2  # noqa: E741
        transition, observation = np.zeros((A, S, S)), np.zeros((A, S, O))
        for a, s in itertools.product(range(A), range(S)):
            transition[a, s, rng.choice(S, rng.integers(1, 3), replace=False)] = 1.0
            observation[a, s, rng.choice(O, rng.integers(1, 3), replace=False)] = 1.0
        p = POMDP(
            transition=transition / transition.sum(axis=2, keepdims=True),
            observation=observation / observation.sum(axis=2, keepdims=True),
            reward=np.ones((A, S)),
            start=np.full(S, 1.0 / S),
            discount=0.9,
        )
        support = np.flatnonzero(rng.random(S) < 0.4)
        found = find_classes(p.transition, p.observation, np.ones(S, bool), [support])
        classes = [{s} for s in range(S)]
        while True:  # merge what follows the same class, action and observation, until nothing does
            sources = [*classes, set(support.tolist())]
            groups = [
                {t for s in source for t in range(S) if transition[a, s, t] and observation[a, t, o]}
                for source, a, o in itertools.product(sources, range(A), range(O))
            ]
            merged = list(classes)
            for group in groups:
                touched = [c for c in merged if c & group]
                merged = [c for c in merged if not c & group] + ([set().union(*touched)] if touched else [])
            if len(merged) == len(classes):
                break
            classes = merged
        mine = {frozenset(np.flatnonzero(found == c).tolist()) for c in np.unique(found)}
        assert mine == set(map(frozenset, classes))


def test_a_discount_of_one():
    leave = POMDP(
        transition=[[[0.75, 0.25], [0.0, 1.0]]], observation=[[[1.0], [1.0]]], reward=[[1.0, 0.0]], start=[1.0, 0.0],
        discount=1.0,
    )  # fmt: skip
    found = sarsop(leave, precision=1e-4)
    assert (found.lower, found.upper) == pytest.approx((4.0, 4.0), abs=1e-3)
    with pytest.raises(ModelError, match="every policy ends"):
        solve(maze(["A.B", "#S#", "#?#"]))


def test_nothing_to_earn():
    stay, blank, zero = [np.eye(2)], [np.ones((2, 1))], np.zeros((1, 2))
    nothing = POMDP(transition=stay, observation=blank, reward=zero, start=[1.0, 0.0], discount=0.9)
    for method in ("sarsop", *UPPER, *LOWER):
        found = solve(nothing, method)
        assert 0.0 in (found.lower, found.upper)
        assert found.policy.value([0.5, 0.5]) == 0.0


def test_budgets_change_no_result(monkeypatch):
    p = random_pomdp(7, S=5, A=3, O=3, discount=0.9)
    first = sarsop(p)
    monkeypatch.setattr("solvers.search._SLICE_S", 1e-6)
    second = sarsop(p)
    assert (first.lower, first.upper, first.n_vectors) == (second.lower, second.upper, second.n_vectors)


def test_ends_when_told():
    p = rocksample(3, [(1, 0), (2, 2), (0, 2)])
    full = sarsop(p)

    def interrupt(*_):
        raise KeyboardInterrupt

    stopped = sarsop(p, precision=1e-12, progress=interrupt)
    assert stopped.ended_by == "interrupted"
    limited = sarsop(p, precision=1e-12, time_limit=1e-9)
    assert limited.ended_by == "time limit"
    small = sarsop(p, precision=1e-9, memory=100_000)
    assert small.ended_by in ("memory", "precision")
    for found in (stopped, limited, small):
        assert found.lower <= full.upper + 1e-9
        assert found.upper >= full.lower - 1e-9
        assert found.policy.value(p.start) == pytest.approx(found.lower, abs=1e-9)


def test_policies_attain_their_bound():
    for p in (tiger(), rocksample(3, [(1, 0), (2, 2)]), rocksample(3, [(1, 0), (2, 2)], seen=False)):
        found = sarsop(p)
        played = simulate(found.policy.pomdp, found.policy, episodes=2000, steps=150, seed=1)
        assert played.mean >= found.lower - 4.0 * played.standard_error - 0.01
        assert played.mean <= found.upper + 4.0 * played.standard_error + 0.01


def test_a_factor_declared_or_found_is_the_same():
    seen, found = rocksample(3, [(1, 0), (2, 2)]), rocksample(3, [(1, 0), (2, 2)], seen=False)
    assert build(seen).n_classes == build(found).n_classes == 9
    assert sarsop(seen).lower == pytest.approx(sarsop(found).lower, abs=1e-3)


@pytest.mark.parametrize("seen", [True, False])
def test_classes_that_are_not_looked_for(monkeypatch, seen):
    p = rocksample(3, [(1, 0), (2, 2)], seen=seen)
    before = sarsop(p)
    monkeypatch.setattr("solvers._search_model._MOST_TRIPLES", 1)
    assert build(p).n_classes == (9 if seen else 1)
    after = sarsop(p)
    assert after.lower == pytest.approx(before.lower, abs=2e-3)
    assert after.policy.value(p.start) == pytest.approx(after.lower, abs=1e-9)


def test_upper_bound_is_the_hull_of_its_points():
    from scipy.optimize import linprog

    p = random_pomdp(3, S=6, A=3, O=3, discount=0.95)
    searcher = Searcher(p, 1e-3)
    run_search(searcher, 0.0, 1.0, None, [])  # began at 0.0: past its limit after one slice
    z = searcher.state
    points = [n for n in range(len(z.belief)) if z.belief[n]["place"] >= 0 and n < z.count[0]]
    rows = np.zeros((len(points), p.n_states))
    for i, n in enumerate(points):
        support = slice(z.belief[n]["first"], z.belief[n]["end"])
        rows[i, z.state[support]] = z.prob[support]
    assert len(points) > 5
    for b in np.random.default_rng(0).dirichlet(np.ones(p.n_states), 20):
        columns = np.concatenate([np.eye(p.n_states), rows])
        worth = np.concatenate([z.corner, z.belief["up"][points]])
        hull = linprog(worth, A_eq=columns.T, b_eq=b, method="highs").fun
        fib = float((z.q @ b).max())
        low, up = policy(searcher).value(b), searcher.upper_at(b)
        assert up >= min(hull, fib) - 1e-7
        assert up <= min(max(hull + 0.1 * (min(fib, float(z.corner @ b)) - low), hull + 1e-4), fib) + 1e-7


@pytest.mark.slow
def test_warm_starts():
    p = random_pomdp(5, S=4, A=3, O=3, discount=0.9)
    other, less = random_pomdp(6, S=4, A=3, O=3, discount=0.9), p.reward - 0.3
    cheap = POMDP(transition=p.transition, observation=p.observation, reward=less, start=p.start, discount=0.9)
    first = solve(p)
    again, fresh = solve(cheap, warm_start=first), solve(cheap)
    assert again.ended_by == "precision"
    assert again.lower <= fresh.upper + 1e-9
    assert fresh.lower <= again.upper + 1e-9
    assert first.upper_bound.value(p.start) >= first.lower  # what it began with is as it was
    assert solve(p).upper == first.upper
    with pytest.raises(SolverError, match="more than its rewards"):
        solve(other, warm_start=first)
    with pytest.raises(SolverError, match="keeps its search"):
        solve(p, warm_start=solve(p, "fib"))


def test_tag_and_rocksample_are_as_published():
    p = tag()
    assert (p.n_states, p.n_actions, p.n_observations) == (870, 5, 30)
    assert sorted(np.unique(p.reward)) == [-10.0, -1.0, 0.0, 10.0]
    # Corner of the map, the robot right of the opponent: it stays but for the way up.
    state, flight = p.states.index("robot 1,0 opponent 0,0"), p.transition_array[4]
    after = {p.states[i].split()[-1]: flight[state, i] for i in np.flatnonzero(flight[state])}
    assert after == pytest.approx({"0,0": 0.8, "0,1": 0.2})
    assert rocksample().n_states == 12545
    with pytest.raises(ModelError, match="rocks"):
        rocksample(2, [(2, 0)])


# Against the reference values of the shared files ---------------------------------------------------------------


def reference(shared):
    rows = {}
    for line in (shared / "pomdp_files" / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 12 and re.fullmatch(r"-?[\d.]+", cells[6]):
            exact = re.match(r"-?[\d.]+(?=,)", cells[11])
            rows[cells[0]] = float(cells[6]), float(cells[7]), float(exact[0]) if exact else None, cells[10]
    return rows


def test_reference_intervals(shared):
    rows = reference(shared)
    assert len(rows) == 14
    for name, (lower, upper, exact, ended) in rows.items():
        p = read(shared / "pomdp_files" / f"{name}.pomdp")
        found = sarsop(p, time_limit=20.0 if ended == "reached" else 0.3)
        assert found.lower <= upper + 1e-5, name  # references have six digits
        assert found.upper >= lower - 1e-5, name
        if exact is not None:
            assert found.lower <= exact + 2e-6, name
            assert found.upper >= exact - 2e-6, name
        if ended == "reached":
            assert found.ended_by == "precision", name


def test_rocksample_is_that_of_the_file(shared):
    made = rocksample(4, [(3, 1), (2, 1), (1, 3), (1, 0)], start=(0, 2), exponential=True)
    found = sarsop(read(shared / "pomdp_files" / "rocksample_4_4.pomdp"))
    assert sarsop(made).lower == pytest.approx(found.lower, abs=1e-9)
