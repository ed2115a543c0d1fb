"""Rewards given rule by rule, with wildcards, never expanded into all |A||S||S||O| outcomes."""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import ModelError
from solvers.rules import Rules, Where

_BLOCK = 2_000_000  # outcomes that are worked on at once
_MOST = 500_000_000  # outcomes of an action: half a minute


class RewardRules:
    """Rules "reward of action, state, end state, observation is v", None for any; the last one that fits wins.

    Parameters
    ----------
    shape : tuple of int
        Numbers (A, S, S, O) of actions, states, end states and observations.

    Examples
    --------
    Every action costs 1, but 10 are won where action 0 leads to state 1:

    >>> rules = RewardRules((2, 3, 3, 1))
    >>> rules.add((None, None, None, None), -1.0)
    >>> rules.add((0, None, 1, None), 10.0)
    >>> rules.at(action=[0, 1], state=[2, 2], after=[1, 1], seen=[0, 0]).tolist()
    [10.0, -1.0]
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._table = Rules(shape)
        if len(self.shape) != 4 or self.shape[1] != self.shape[2]:
            raise ModelError(f"the shape must be (A, S, S, O), got {self.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers (A, S, S, O)."""
        return self._table.shape

    def __len__(self) -> int:
        """Number of rules that were added."""
        return len(self._table)

    def __iter__(self) -> Iterator[tuple[Where, float]]:
        """Rules (where, value) in their order, without those of which a later one names the same places."""
        return iter(self._table)

    @classmethod
    def of(cls, array: NDArray[np.float64]) -> "RewardRules":
        """Rules of a whole table, shape (A, S, S, O); axes along which nothing changes are not named."""
        rules = cls(array.shape)
        rules.add((None,) * 4, array)
        return rules

    def add(self, where: Where, values: ArrayLike) -> None:
        """Add a rule; values of shape (), (O,), (S, O), … are for the last axes, which `where` leaves open.

        An axis may have the size 1 where all its places are alike.

        Raises
        ------
        ModelError
            If shapes do not agree, numbers are not finite, or there is no such place.
        """
        table = np.asarray(values, np.float64)
        if not np.isfinite(table).all():
            raise ModelError("a reward is not finite")
        open_axes = range(4 - table.ndim, 4)
        if table.ndim > 4 or any(
            n not in (1, self.shape[axis]) for axis, n in zip(open_axes, table.shape, strict=True)
        ):
            raise ModelError(f"rewards of shape {table.shape} do not fit the last axes of {self.shape}")
        axes: list[int] = []
        for axis in reversed(open_axes):
            place = axis - open_axes.start
            first = table.take([0], axis=place)
            if (first == table).all():  # what is alike need not be told apart
                table = first.squeeze(place)
            else:
                axes.insert(0, axis)
        self._table.add_table(where, axes, table)

    def add_cells(self, where: Sequence[NDArray[np.int64] | int | None], values: NDArray[np.float64]) -> None:
        """Add many rules at once: arrays of places, or one place, or None for everywhere; in the order of `values`.

        Raises
        ------
        ModelError
            If there is no such place.
        """
        self._table.add_cells(where, values)

    def nothing_in(self, states: NDArray[np.int64]) -> "RewardRules":
        """A copy in which these states, whatever is done there and follows, bring nothing."""
        rules = deepcopy(self)
        rules.add_cells((None, states, None, None), np.zeros(len(states)))
        return rules

    @property
    def by_action_and_state(self) -> bool:
        """Whether no rule looks at the end state or the observation."""
        return not self._table.names(2, 3)

    def at(self, action: ArrayLike, state: ArrayLike, after: ArrayLike, seen: ArrayLike) -> NDArray[np.float64]:
        """Reward of each (action, state, end state, observation), given as index arrays that broadcast."""
        return self._table.at(action, state, after, seen)

    def array(self) -> NDArray[np.float64]:
        """All rewards, shape (A, S, S, O), for small models."""
        return self.at(*np.ogrid[tuple(slice(n) for n in self.shape)])

    def expected(self, transition: Sequence[Any], observation: Sequence[Any]) -> NDArray[np.float64]:
        """r(s, a) = Σ T(s' | s, a) O(o | a, s') R(a, s, s', o), over outcomes that can occur.

        Parameters
        ----------
        transition : sequence of A csr_array (S, S)
        observation : sequence of A csr_array (S, O)

        Returns
        -------
        array, shape (A, S)
        """
        reward = np.zeros(self.shape[:2])
        rules, single = self._table.apart()
        if single[0].size:  # rules for one outcome each change the others' expectation there, and nowhere else
            change = self._table.at(*single) - rules.at(*single)
            for a in np.unique(single[0]).tolist():
                s, after, seen = (places[single[0] == a] for places in single[1:])
                chance = transition[a][s, after] * observation[a][after, seen]
                reward[a] += np.bincount(s, chance * change[single[0] == a], len(reward[a]))
        looks = rules.places(2), rules.places(3)
        for a, (moves, told) in enumerate(zip(transition, observation, strict=True)):
            if rules.names(2, 3):
                for s, after, seen, chance in _outcomes(moves, told, *looks):
                    reward[a] += np.bincount(s, chance * rules.at(a, s, after, seen), len(reward[a]))
            else:
                reward[a] += rules.at(a, np.arange(len(reward[a])), 0, 0)
        return reward


Outcomes = tuple[NDArray[np.int64], Any, Any, NDArray[np.float64]]
"""State, end state, observation and probability of each of many outcomes."""


def _outcomes(moves: Any, told: Any, ends: NDArray[np.int64], seen: NDArray[np.int64]) -> Iterator[Outcomes]:
    """Outcomes of an action, block by block; end states and observations that rules do not name stand for each other.

    Parameters
    ----------
    moves, told : csr_array (S, S) and (S, O)
    ends, seen : int array
        End states and observations that rules name.
    """
    other_ends = np.setdiff1d(np.arange(moves.shape[1]), ends, assume_unique=True)
    told, seen = _merged(told, seen)
    if other_ends.size:
        together = (moves[:, other_ends] @ told[other_ends]).tocsr()
        rows = np.repeat(np.arange(moves.shape[0]), np.diff(together.indptr))
        yield rows, other_ends[0], seen[together.indices], together.data
    named, told = moves[:, ends], told[ends]
    rows = np.repeat(np.arange(moves.shape[0]), np.diff(named.indptr))
    width = np.diff(told.indptr)[named.indices]
    until = np.cumsum(width)
    if width.sum() > _MOST:
        raise ModelError(f"rewards differ between more than {_MOST} outcomes of an action, which are not averaged here")
    first = 0
    while first < len(rows):
        done = int(until[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(until, done + _BLOCK, "right")))
        n, after = width[first:last], named.indices[first:last]
        place = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(told.indptr[after], n)
        chance = np.repeat(named.data[first:last], n) * told.data[place]
        yield np.repeat(rows[first:last], n), np.repeat(ends[after], n), seen[told.indices[place]], chance
        first = last


def _merged(told: Any, seen: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """Probabilities of the observations that rules name, and of all others together; and which these are."""
    from scipy.sparse import csr_array

    O = told.shape[1]
    if not seen.size:
        return csr_array(np.ones((told.shape[0], 1))), np.zeros(1, np.int64)
    others = np.setdiff1d(np.arange(O), seen, assume_unique=True)
    if not others.size:
        return told, np.arange(O)
    column = np.full(O, seen.size)
    column[seen] = np.arange(seen.size)
    merge = csr_array((np.ones(O), column, np.arange(O + 1)), shape=(O, seen.size + 1))
    return (told @ merge).tocsr(), np.append(seen, others[0])
