"""Tables given by rules, against dense arrays written cell by cell; expected rewards against all outcomes."""
# ruff: noqa: E741 (O is the number of observations)

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from solvers import ModelError
from solvers.reward_rules import RewardRules
from solvers.rules import Rules

VALUES = st.sampled_from([0.0, 0.0, 1.0, -2.0, 0.5])


@st.composite
def tables(draw: st.DrawFn) -> tuple[Rules, np.ndarray]:
    """Rules, and the dense array that the same statements give."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    rules, dense = Rules(shape), np.zeros(shape)
    for _ in range(draw(st.integers(0, 8))):
        where = tuple(draw(st.none() | st.integers(0, n - 1)) for n in shape)
        place = tuple(slice(None) if i is None else i for i in where)
        kind = draw(st.integers(0, 2))
        free = [axis for axis, i in enumerate(where) if i is None]
        if kind == 0 or not free:
            value = draw(VALUES)
            rules.add(where, value)
            dense[place] = value
        elif kind == 1:  # a table on some of the open axes
            axes = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
            rng = np.random.default_rng(draw(st.integers(0, 2**32)))
            values = rng.integers(-1, 2, [shape[i] for i in axes]).astype(float)
            rules.add_table(where, axes, values)
            order = sorted(axes)
            spread = values.transpose([axes.index(i) for i in order])
            dense[place] = spread.reshape([shape[i] if i in axes else 1 for i in free])
        else:  # cells on all of the open axes, some of them twice
            count = draw(st.integers(0, 5))
            cells = [np.array([draw(st.integers(0, n - 1)) for _ in range(count)], int) for n in shape]
            at = [cells[axis] if i is None else i for axis, i in enumerate(where)]
            values = np.array([draw(VALUES) for _ in range(count)])
            rules.add_cells(at, values)
            for j in range(count):
                dense[tuple(a[j] if isinstance(a, np.ndarray) else a for a in at)] = values[j]
        if draw(st.booleans()):
            rules.at(*np.zeros((len(shape), 1), int))  # what was looked at may still be added to
    return rules, dense


@settings(max_examples=60, deadline=None)
@given(table=tables(), data=st.data())
def test_rules_say_what_a_dense_table_says(table: tuple[Rules, np.ndarray], data: st.DataObject) -> None:
    rules, dense = table
    np.testing.assert_array_equal(rules.at(*np.indices(dense.shape)), dense)
    np.testing.assert_array_equal(rules.at(*np.ogrid[tuple(map(slice, dense.shape))]), dense)
    bounds = [sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))) for n in dense.shape]
    box = tuple((first, last) for first, last in bounds)
    inside = np.zeros(dense.shape, bool)
    inside[tuple(slice(*b) for b in box)] = True
    places, values = rules.cells(box)
    expected = np.nonzero(dense * inside)
    for found, wanted in zip(places, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)  # in the order of rows, too
    np.testing.assert_array_equal(values, dense[expected])
    assert rules.count(box) >= len(values)
    again = Rules(dense.shape)  # the rules, told again in their order
    for where, value in rules:
        again.add(where, value)
    np.testing.assert_array_equal(again.at(*np.indices(dense.shape)), dense)


@settings(max_examples=50, deadline=None)
@given(table=tables())
def test_cells_apart_and_named_places(table: tuple[Rules, np.ndarray]) -> None:
    rules, dense = table
    rest, single = rules.apart()
    assert all(None in where for where, _ in rest)
    everywhere = np.indices(dense.shape)
    changed = np.zeros(dense.shape, bool)
    changed[single] = True
    np.testing.assert_array_equal(rest.at(*everywhere)[~changed], dense[~changed])
    for axis in range(dense.ndim):
        named = sorted({where[axis] for where, _ in rules} - {None})
        assert rules.places(axis).tolist() == named
        assert rules.names(axis) == bool(named)


def test_the_last_rule_about_a_place_is_known() -> None:
    rules = Rules((2, 3, 4))
    for where in ((None, None, None), (1, None, 2), (None, 0, None)):
        rules.add(where, 1.0)
    assert [rules.last(0, 1, None), rules.last(1, 1, None), rules.last(1, 0, 3)] == [0, 1, 2]
    assert Rules((2, 2)).last(0, 0) == -1


def test_places_that_are_not_there_are_refused() -> None:
    with pytest.raises(ModelError, match="place 3 is out of range on axis 1"):
        Rules((2, 3)).add((None, 3), 1.0)
    with pytest.raises(ModelError, match="out of range on axis 0"):
        Rules((2, 3)).add_cells([np.array([0, -1]), None], np.ones(2))
    with pytest.raises(ModelError, match="do not fit axes"):
        Rules((2, 3)).add_table((None, None), [1], np.ones(2))
    with pytest.raises(ModelError, match="more cells than can be numbered"):
        Rules((2**20, 2**20, 2**30)).add((0, 0, 0), 1.0)


def test_a_table_costs_what_its_rules_cost() -> None:
    """10^18 cells, and a handful of rules."""
    n = 10**6
    rules = Rules((n, n, n))
    rules.add((None, None, None), 3.0)
    rules.add((None, 5, None), 4.0)
    rules.add((7, 5, 9), 5.0)
    assert rules.at([7, 7, 8], [5, 6, 5], [9, 9, 9]).tolist() == [5, 3, 4]
    assert rules.count(((0, n), (0, n), (0, n))) == n**3 + n**2 + 1


# Rewards ----------------------------------------------------------------------------------------------------------


@st.composite
def reward_problems(draw: st.DrawFn) -> tuple[RewardRules, np.ndarray, np.ndarray, np.ndarray]:
    """Rules for rewards, all of them in an array, and probabilities with zeros among them."""
    A, S, O = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) * (rng.random(shape) < 0.6)
        table[..., 0] += 0.1
        return table / table.sum(-1, keepdims=True)

    rules, dense = RewardRules((A, S, S, O)), np.zeros((A, S, S, O))
    never = draw(st.sets(st.sampled_from([2, 3])))  # axes that no rule looks at
    for _ in range(draw(st.integers(0, 8))):
        where = tuple(
            None if axis in never or draw(st.booleans()) else draw(st.integers(0, n - 1))
            for axis, n in enumerate((A, S, S, O))
        )
        place = tuple(slice(None) if i is None else i for i in where)
        if where[2] is None and where[3] is None and not never and draw(st.booleans()):
            values = rng.normal(size=draw(st.sampled_from([(O,), (S, O), (S, 1), (1, O)])))
        else:
            values = rng.normal(size=())
        rules.add(where, values)
        dense[place] = values
    return rules, dense, rows(A, S, S), rows(A, S, O)


@settings(max_examples=60, deadline=None)
@given(problem=reward_problems(), little=st.booleans())
def test_expected_rewards_against_all_outcomes(
    problem: tuple[RewardRules, np.ndarray, np.ndarray, np.ndarray], little: bool
) -> None:
    rules, dense, transition, observation = problem
    A, S, _, O = dense.shape
    np.testing.assert_array_equal(rules.array(), dense)
    expected = np.zeros((A, S))
    for a, s, s2, o in itertools.product(range(A), range(S), range(S), range(O)):
        expected[a, s] += transition[a, s, s2] * observation[a, s2, o] * dense[a, s, s2, o]
    with pytest.MonkeyPatch.context() as patch:
        if little:
            patch.setattr("solvers.reward_rules._BLOCK", 1)
        found = rules.expected([csr_array(m) for m in transition], [csr_array(m) for m in observation])
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_rules_of_a_whole_table_name_only_what_matters() -> None:
    rng = np.random.default_rng(0)
    by_state = np.broadcast_to(rng.normal(size=(2, 3, 1, 1)), (2, 3, 3, 4))
    rules = RewardRules.of(by_state)
    assert rules.by_action_and_state
    assert len(rules) == 6
    np.testing.assert_array_equal(rules.array(), by_state)
    full = rng.normal(size=(2, 3, 3, 4))
    assert not RewardRules.of(full).by_action_and_state
    np.testing.assert_array_equal(RewardRules.of(full).array(), full)
    assert len(RewardRules.of(np.full((2, 3, 3, 4), 5.0))) == 1


def test_rewards_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit the last axes"):
        RewardRules((2, 3, 3, 4)).add((None, None, None, None), np.ones(3))
    with pytest.raises(ModelError, match="not finite"):
        RewardRules((2, 3, 3, 4)).add((None, None, None, None), np.nan)
    with pytest.raises(ModelError, match=r"the shape must be \(A, S, S, O\)"):
        RewardRules((2, 3, 4, 4))


def test_outcomes_that_are_too_many_to_average_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.reward_rules._MOST", 10)
    rules = RewardRules((1, 4, 4, 4))
    for s in range(4):
        rules.add((0, None, s, None), 1.0)
        rules.add((0, None, None, s), 2.0)
    half = [csr_array(np.full((4, 4), 0.25))]
    with pytest.raises(ModelError, match="more than 10 outcomes"):
        rules.expected(half, half)
