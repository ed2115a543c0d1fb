"""Pruning against linear programs of HiGHS, one for each vector, and against values at many beliefs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers import ModelError, _pruning_kernels
from solvers.pruning import prune, prune_sums, undominated, witness

Sets = NDArray[np.float64]


def needed(vectors: Sets) -> set[tuple[float, ...]]:
    """The minimal set: different vectors that beat all others somewhere, each by a program of its own."""
    rows = np.unique(vectors, axis=0)
    if len(rows) == 1:
        return {tuple(rows[0])}
    return {tuple(row) for i, row in enumerate(rows) if witness(row, np.delete(rows, i, axis=0))[0] > 1e-9}


def bowl(rng: np.random.Generator, count: int, states: int) -> Sets:
    """Vectors many of which are needed: tangents of a bowl, some of them lowered."""
    points = rng.dirichlet(np.ones(states), count)
    return 2.0 * points - (points**2).sum(axis=1, keepdims=True) - rng.random((count, 1)) * states * 0.03


@pytest.mark.parametrize("states", [1, 2, 3, 6, 13])
def test_as_one_program_for_each_vector(states: int) -> None:
    rng = np.random.default_rng(states)
    vectors = bowl(rng, 60, states)
    kept = prune(vectors)
    assert {tuple(vectors[i]) for i in kept} == needed(vectors)
    assert 1 <= kept.size < 60
    assert (np.diff(kept) > 0).all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.integers(-3, 3), min_size=n, max_size=n), min_size=1)),
    st.sampled_from([1.0, 2.0**-10, 2.0**20]),
)
def test_ties_and_doubles(rows: list[list[int]], unit: float) -> None:
    """Small integers: equal vectors, equal entries, vectors that touch the surface at a point; in any unit."""
    vectors = np.array(rows[:12], float)
    kept = prune(vectors * unit, 1e-9 * unit)
    assert {tuple(vectors[i]) for i in kept} == needed(vectors)
    assert len(kept) == len(needed(vectors))


def test_sums_are_those_of_the_whole_list() -> None:
    rng = np.random.default_rng(0)
    first, second = bowl(rng, 25, 4), bowl(rng, 18, 4)
    found = prune_sums(first, second, points=rng.dirichlet(np.ones(4), 10))
    whole = (first[:, None] + second[None]).reshape(-1, 4)
    sums = first[found.pairs[:, 0]] + second[found.pairs[:, 1]]
    assert {tuple(row) for row in sums} == {tuple(whole[i]) for i in prune(whole)}
    scores = found.witnesses @ whole.T
    assert (found.witnesses * sums).sum(axis=1) == pytest.approx(scores.max(axis=1), abs=1e-9)


def test_what_the_walk_leaves_open_goes_to_highs(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = bowl(np.random.default_rng(5), 40, 3)
    compiled = prune(vectors)

    def no_answer(*arguments: Any) -> tuple[int, int, int]:
        _, _, _, _, _, n, _, taken, unknown = arguments[:9]
        unknown[:] = ~taken
        return n, taken.size, 0

    monkeypatch.setattr(_pruning_kernels, "scan", no_answer)
    assert prune(vectors).tolist() == compiled.tolist()


@pytest.mark.parametrize("tolerance", [1e-9, 1e-3, 0.05])
def test_nothing_is_lost_but_the_tolerance(tolerance: float) -> None:
    rng = np.random.default_rng(2)
    vectors = bowl(rng, 300, 3)
    kept = prune(vectors, tolerance)
    beliefs = rng.dirichlet(np.full(3, 0.5), 5000)
    lost = (beliefs @ vectors.T).max(axis=1) - (beliefs @ vectors[kept].T).max(axis=1)
    assert lost.max() <= tolerance
    assert kept.size <= prune(vectors).size
    if tolerance > 1e-9:
        assert lost.max() > 0.0


def test_a_witness_by_hand() -> None:
    """Between (1, 0) and (0, 1), the vector (.6, .6) is best by .1 where both are worth a half."""
    margin, belief = witness([0.6, 0.6], [[1.0, 0.0], [0.0, 1.0]])
    assert margin == pytest.approx(0.1)
    assert belief == pytest.approx([0.5, 0.5])
    assert witness([0.4, 0.4], [[1.0, 0.0], [0.0, 1.0]])[0] == pytest.approx(-0.1)


def test_pointwise() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.integers(0, 4, (80, 3)).astype(float)
    kept = undominated(vectors)
    for i, row in enumerate(vectors):
        above = (vectors >= row).all(axis=1)
        above[i] = False
        equal = (vectors == row).all(axis=1)
        first = int(np.flatnonzero(equal)[0])
        assert (i in kept) == (not (above & ~equal).any() and i == first), i


def test_a_check_may_give_up() -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def check() -> None:
        raise Enough

    rng = np.random.default_rng(0)
    with pytest.raises(Enough):
        prune_sums(bowl(rng, 400, 5), bowl(rng, 400, 5), check=check)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prune([[1.0, np.nan], [0.0, 1.0]]), "vectors has an entry that is not finite"),
        (lambda: prune([[1.0, 0.0], [0.0, 1.0]], 0.0), "tolerance must be above 0, got 0.0"),
        (lambda: prune_sums([[1.0, 0.0]], [[1.0]]), r"second must have shape \(1, 2\), got \(1, 1\)"),
        (lambda: witness([1.0, 0.0], [[1.0]]), r"others must have shape \(1, 2\), got \(1, 1\)"),
    ],
)
def test_what_makes_no_sense(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call()
