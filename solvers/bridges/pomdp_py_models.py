"""Models of pomdp-py that look up the tables of a POMDP.

All draws come from Python's `random`, as everywhere in pomdp-py.
"""

import random
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pomdp_py

from solvers.bridges.draws import Rows
from solvers.pomdp import POMDP


class _Numbered:
    """What all three kinds of objects have: a number, and a name for people."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.index == self.index and other.name == self.name

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return self.index

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.index, self.name)

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # never changed, and planners copy whole beliefs

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.index}, {self.name!r})"


class NumberedState(_Numbered, pomdp_py.State):
    """A state of a POMDP."""


class NumberedAction(_Numbered, pomdp_py.Action):
    """An action of a POMDP."""


class NumberedObservation(_Numbered, pomdp_py.Observation):
    """An observation of a POMDP."""


class TransitionTable(pomdp_py.TransitionModel):
    """T of a POMDP."""

    def __init__(self, matrices: Sequence[Any], states: tuple[NumberedState, ...]) -> None:
        self._rows = [Rows(matrix) for matrix in matrices]
        self._states = states

    def probability(self, next_state: NumberedState, state: NumberedState, action: NumberedAction) -> float:
        """P(s' | s, a)."""
        return self._rows[action.index].probability(state.index, next_state.index)

    def sample(self, state: NumberedState, action: NumberedAction) -> NumberedState:
        """Draw s'."""
        return self._states[self._rows[action.index].column(state.index, random.random())]

    def get_all_states(self) -> list[NumberedState]:
        """All states."""
        return list(self._states)


class ObservationTable(pomdp_py.ObservationModel):
    """O of a POMDP."""

    def __init__(self, matrices: Sequence[Any], observations: tuple[NumberedObservation, ...]) -> None:
        self._rows = [Rows(matrix) for matrix in matrices]
        self._observations = observations

    def probability(self, observation: NumberedObservation, next_state: NumberedState, action: NumberedAction) -> float:
        """P(o | s', a)."""
        return self._rows[action.index].probability(next_state.index, observation.index)

    def sample(self, next_state: NumberedState, action: NumberedAction) -> NumberedObservation:
        """Draw o."""
        return self._observations[self._rows[action.index].column(next_state.index, random.random())]

    def get_all_observations(self) -> list[NumberedObservation]:
        """All observations."""
        return list(self._observations)


class RewardTable(pomdp_py.RewardModel):
    """R(s, a, s') of a POMDP, expected over observations."""

    def __init__(self, pomdp: POMDP) -> None:
        self._pomdp = pomdp
        self._known: dict[tuple[int, int, int], float] = {}

    def sample(self, state: NumberedState, action: NumberedAction, next_state: NumberedState) -> float:
        """Return the reward."""
        key = (action.index, state.index, next_state.index)
        if key not in self._known:
            self._known[key] = self._expected(*key)
        return self._known[key]

    def argmax(self, state: NumberedState, action: NumberedAction, next_state: NumberedState) -> float:
        """Return the reward."""
        return self.sample(state, action, next_state)

    def _expected(self, a: int, s: int, after: int) -> float:
        p = self._pomdp
        if p.rewards is None:
            return float(p.reward[a, s])
        row = p.observation[a][[after]]
        of, at, to = (np.full(row.nnz, index) for index in (a, s, after))
        return float(p.rewards.at(of, at, to, row.indices.astype(np.int64)) @ row.data)


class UniformPolicy(pomdp_py.RolloutPolicy):
    """Any action is as good: what rollouts of planners do."""

    def __init__(self, actions: tuple[NumberedAction, ...]) -> None:
        self._actions = list(actions)

    def sample(self, state: Any) -> NumberedAction:
        """Draw an action."""
        return random.choice(self._actions)

    def rollout(self, state: Any, history: Any = None) -> NumberedAction:
        """Draw an action."""
        return random.choice(self._actions)

    def get_all_actions(self, state: Any = None, history: Any = None) -> list[NumberedAction]:
        """All actions."""
        return self._actions
