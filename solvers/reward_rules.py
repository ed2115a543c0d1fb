"""Rewards given rule by rule, with wildcards, never expanded into all |A||S||S||O| outcomes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Where = tuple[int | None, int | None, int | None, int | None]
Rule = tuple[Where, NDArray[np.float64]]
_BLOCK = 4_000_000  # rewards that are worked on at once


@dataclass
class RewardRules:
    """Rules "reward of action, state, end state, observation is v", None for any; the last one that fits wins.

    Parameters
    ----------
    shape : tuple of int
        Numbers (A, S, S, O) of actions, states, end states and observations.
    """

    shape: tuple[int, int, int, int]
    _rules: list[Rule] = field(default_factory=list)

    def add(self, where: Where, values: NDArray[np.float64]) -> None:
        """Add a rule; values of shape (), (O,), (S, O) or (S, 1) are for the last axes, which `where` leaves open."""
        self._rules.append((where, values))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, in their order."""
        return tuple(self._rules)

    @property
    def by_action_and_state(self) -> bool:
        """Whether no rule looks at the end state or the observation."""
        return all(values.ndim == 0 and where[2:] == (None, None) for where, values in self._rules)

    def expected(self, transition: Sequence[Any], observation: Sequence[Any]) -> NDArray[np.float64]:
        """r(s, a) = Σ T(s'|s, a) O(o|a, s') R(a, s, s', o), shape (A, S).

        States, end states and observations that no rule names are alike, and worked on as one.
        """
        A, S = self.shape[:2]
        reward = np.zeros((A, S))
        if self.by_action_and_state:
            for where, values in self._rules:
                reward[tuple(map(_span, where[:2]))] = values
            return reward
        start, end, seen = (self._classes(axis) for axis in (1, 2, 3))
        sizes = [int(c.max()) + 1 for c in (start, end, seen)]
        by_action = self._by_action()
        rows = max(1, _BLOCK // max(sizes[1] * sizes[2], S * sizes[2]))
        for a in range(A):
            chance = np.ones((S, sizes[2]))  # of each class of observations after each end state
            if sizes[2] > 1:
                chance[:] = 0.0
                np.add.at(chance.T, seen, observation[a].toarray().T)
            for first in range(0, sizes[0], rows):
                last = min(first + rows, sizes[0])
                block = np.zeros((last - first, *sizes[1:]))
                for where, values in by_action(a):
                    _apply(block, where, values, (start, end, seen), first, last)
                after = np.einsum("to,sto->st", chance, block[:, end])
                here = np.flatnonzero((start >= first) & (start < last))
                reward[a, here] = np.einsum("st,st->s", transition[a][here].toarray(), after[start[here] - first])
        return reward

    def at(
        self, action: NDArray[np.int64], state: NDArray[np.int64], after: NDArray[np.int64], seen: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Reward of each (action, state, end state, observation), given as index arrays of one shape (N,)."""
        asked = (action, state, after, seen)
        out, open_ = np.zeros(len(action)), np.ones(len(action), bool)
        for where, values in reversed(self._rules):
            fits = open_.copy()
            for index, wanted in zip(asked, where, strict=True):
                if wanted is not None:
                    fits &= index == wanted
            table = values.reshape((1,) * (4 - values.ndim) + values.shape)
            out[fits] = table[tuple(i[fits] if n > 1 else 0 for i, n in zip(asked, table.shape, strict=True))]
            open_ &= ~fits
            if not open_.any():
                break
        return out

    def array(self) -> NDArray[np.float64]:
        """All rewards, shape (A, S, S, O), for small models."""
        places = np.indices(self.shape).reshape(4, -1)
        return self.at(*places).reshape(self.shape)

    @classmethod
    def of(cls, array: NDArray[np.float64]) -> "RewardRules":
        """Rules of a whole table, shape (A, S, S, O)."""
        shape: Any = array.shape
        rules = cls(shape)
        for a in range(shape[0]):
            for s in range(shape[1]):
                if array[a, s].any():
                    rules.add((a, s, None, None), array[a, s].copy())
        return rules

    def _classes(self, axis: int) -> NDArray[np.int64]:
        """Number of each index of an axis: one each for those that rules name, and one for all others."""
        n = self.shape[axis]
        if any(_differs(values, axis) for _, values in self._rules):
            return np.arange(n)
        named = np.zeros(n, bool)
        named[[i for i in (where[axis] for where, _ in self._rules) if i is not None]] = True
        if named.all():
            return np.arange(n)
        return np.where(named, np.cumsum(named), 0)

    def _by_action(self) -> Callable[[int], Iterator[Rule]]:
        """Rules that fit an action, in their order."""
        places: dict[int | None, list[int]] = defaultdict(list)
        for i, (where, _) in enumerate(self._rules):
            places[where[0]].append(i)

        def rules(action: int) -> Iterator[Rule]:
            return (self._rules[i] for i in sorted(places[None] + places[action]))

        return rules


def _apply(
    block: NDArray[np.float64],
    where: Where,
    values: NDArray[np.float64],
    classes: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    first: int,
    last: int,
) -> None:
    """Write a rule into the classes first:last of states, and all classes of end states and observations."""
    at = [None if i is None else int(c[i]) for i, c in zip(where[1:], classes, strict=True)]
    if at[0] is not None:
        if not first <= at[0] < last:
            return
        at[0] -= first
    block[tuple(map(_span, at))] = values


def _differs(values: NDArray[np.float64], axis: int) -> bool:
    """Whether values say something else for each index of an axis."""
    return axis >= 4 - values.ndim and values.shape[axis - 4] > 1


def _span(index: int | None) -> slice:
    return slice(None) if index is None else slice(index, index + 1)
