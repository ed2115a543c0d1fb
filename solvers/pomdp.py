"""Partially observable Markov decision processes in their usual form."""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.epochs import EpochModel, _array, _expect, _names, check_belief
from solvers.errors import ModelError


@dataclass(frozen=True, kw_only=True, eq=False)
class POMDP:
    """States, actions, observations and what connects them; A actions, S states, O observations.

    Parameters
    ----------
    transition : array, shape (A, S, S)
        P(s' | s, a).
    observation : array, shape (A, S, O)
        P(o | a, s'), where s' is the state *after* the action.
    reward : array, shape (A, S) or (A, S, S, O)
        Expected reward of an action in a state, or the reward of each (a, s, s', o).
    outcome_reward : array, shape (A, S, S, O), optional
        Reward of each (a, s, s', o), where `reward` is (A, S) and its expectation; not copied, not checked against it.
    start : array, shape (S,)
        Belief before the first action.
    discount : float
        In (0, 1].
    horizon : int, optional
        Number of actions; None: no end.
    states, actions, observations : sequence of str, optional
        Names; numbers if omitted.
    observed : int array, shape (S,), optional
        Value of a fully observed factor of the state (values 0, 1, …, each of at least one state), seen
        beside the observations. See `finite_horizon`.

    Attributes
    ----------
    reward : array, shape (A, S)
        Expected reward, all that a solver needs.
    outcome_reward : array, shape (A, S, S, O), or None
        Reward of each outcome, for simulation; None if the reward does not depend on the outcome, or if it was not
        given.

    Raises
    ------
    ModelError
        If shapes do not agree, numbers are not finite or probabilities do not sum to one within 1e-9.
    """

    transition: NDArray[np.float64]
    observation: NDArray[np.float64]
    reward: NDArray[np.float64]
    start: NDArray[np.float64]
    discount: float
    horizon: int | None = None
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    observed: NDArray[np.int64] | None = None
    outcome_reward: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        transition = _array("transition", self.transition, 3)
        observation = _array("observation", self.observation, 3)
        A, S, _ = transition.shape
        O = observation.shape[2]
        _expect("transition", transition.shape, (A, S, S))
        _expect("observation", observation.shape, (A, S, O))
        if min(A, S, O) == 0:
            raise ModelError("at least one state, action and observation are needed")
        _check_rows("transition", transition)
        _check_rows("observation", observation)
        outcome = self.outcome_reward
        reward = _array("reward", self.reward, 4 if np.ndim(self.reward) == 4 else 2)
        if reward.ndim == 4:
            _expect("reward", reward.shape, (A, S, S, O))
            outcome = reward
            reward = np.einsum("ast,ato,asto->as", transition, observation, outcome, optimize=True)
        _expect("reward", reward.shape, (A, S))
        if outcome is not None:
            _expect("outcome_reward", np.shape(outcome), (A, S, S, O))
            outcome = np.asarray(outcome, dtype=np.float64).view()
        start = check_belief("start", self.start, S)
        if not 0.0 < self.discount <= 1.0:
            raise ModelError(f"discount must lie in (0, 1], got {self.discount}")
        if self.horizon is not None and self.horizon < 1:
            raise ModelError(f"horizon must be at least 1, got {self.horizon}")
        observed = None if self.observed is None else _check_observed(self.observed, S)
        for name, value in (
            ("transition", transition),
            ("observation", observation),
            ("reward", reward),
            ("start", start),
            ("outcome_reward", outcome),
            ("observed", observed),
        ):
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "discount", float(self.discount))
        object.__setattr__(self, "states", _names("states", self.states, "state", S))
        object.__setattr__(self, "actions", _names("actions", self.actions, "action", A))
        object.__setattr__(self, "observations", _names("observations", self.observations, "observation", O))

    def finite_horizon(self, horizon: int | None = None, *, terminal: ArrayLike | None = None) -> EpochModel:
        """Return the epoch form for a number of actions.

        Without a fully observed factor, node n has `horizon` - n steps to go and all share one table. With
        one, of Y values, node 0 is the start and node 1 + (n - 1)·Y + y has `horizon` - n steps to go and the
        value y; hidden state i of it is the i-th state with that value, and observation o·Y + y' is what is
        seen together with the next value. States that pad a value with fewer hidden states than others have
        no probability.

        Parameters
        ----------
        horizon : int, optional
            Number of actions; by default the model's own.
        terminal : array, shape (S,), optional
            Value of each state at the end; zero by default.

        Raises
        ------
        ModelError
            If there is no horizon, or the start belief leaves the observed factor open.
        """
        h = self.horizon if horizon is None else horizon
        if h is None or h < 1:
            raise ModelError(f"a horizon of at least 1 is needed, got {h}")
        end = np.zeros(len(self.states)) if terminal is None else _array("terminal", terminal, 1)
        _expect("terminal", end.shape, (len(self.states),))
        if self.observed is not None:
            return self._factored(h, end, self.observed)
        last = np.zeros((h + 1, end.size, 1))
        last[h, :, 0] = end
        return EpochModel(
            joint=np.einsum("ast,ato->aost", self.transition, self.observation)[None, None],
            reward=self.reward[None, None, :, :, None],
            children=np.minimum(np.arange(h + 1) + 1, h)[:, None],
            table_of=np.where(np.arange(h + 1) < h, 0, -1),
            terminal=last,
            start=self.start,
            discount=self.discount,
            component_names=("reward",),
            actions=self.actions,
        )

    def _factored(self, h: int, end: NDArray[np.float64], observed: NDArray[np.int64]) -> EpochModel:
        A, _, O = self.observation.shape
        Y = int(observed.max()) + 1
        groups = [np.flatnonzero(observed == y) for y in range(Y)]
        H = max(group.size for group in groups)
        y0 = observed[self.start.argmax()]
        if self.start[observed != y0].any():
            raise ModelError("the start belief must agree on the value of the observed factor")
        joint = np.zeros((Y, 1, A, O * Y, H, H))
        reward = np.zeros((Y, 1, A, H, 1))
        full = np.einsum("ast,ato->aost", self.transition, self.observation)
        for y, group in enumerate(groups):
            reward[y, 0, :, : group.size, 0] = self.reward[:, group]
            joint[y, 0, :, 0, group.size :, 0] = 1.0  # padding: a distribution like any other, never reached
            for y2, group2 in enumerate(groups):
                block = full[:, :, group][:, :, :, group2]
                joint[y, 0, :, y2::Y, : group.size, : group2.size] = block
        N = 1 + h * Y
        children = np.zeros((N, Y), np.int64)
        children[0] = 1 + np.arange(Y)
        for n in range(1, h):
            children[1 + (n - 1) * Y : 1 + n * Y] = 1 + n * Y + np.arange(Y)
        last = np.zeros((N, H, 1))
        for y, group in enumerate(groups):
            last[1 + (h - 1) * Y + y, : group.size, 0] = end[group]
        start = np.zeros(H)
        start[: groups[y0].size] = self.start[groups[y0]]
        table_of = np.concatenate([[y0], np.tile(np.arange(Y), h - 1), np.full(Y, -1)])
        return EpochModel(
            joint=joint,
            reward=reward,
            children=children,
            successor=np.broadcast_to(np.tile(np.arange(Y), O), (Y, 1, A, O * Y)),
            table_of=table_of,
            terminal=last,
            start=start,
            discount=self.discount,
            component_names=("reward",),
            actions=self.actions,
        )


def _check_rows(name: str, rows: NDArray[np.float64]) -> None:
    if (rows < 0).any():
        raise ModelError(f"{name} has a negative probability: {rows.min()}")
    total = rows.sum(axis=-1)
    worst = np.unravel_index(np.abs(total - 1.0).argmax(), total.shape)
    if abs(total[worst] - 1.0) > 1e-9:
        a, s = map(int, worst)
        raise ModelError(f"{name} must sum to 1: action {a}, state {s} sums to {total[worst]:.12g}")


def _check_observed(value: Sequence[int] | NDArray[np.int64], size: int) -> NDArray[np.int64]:
    observed = _array("observed", value, 1).astype(np.int64)
    _expect("observed", observed.shape, (size,))
    if set(observed.tolist()) != set(range(int(observed.max()) + 1)):
        raise ModelError(f"observed must use each of 0, 1, … at least once, got {sorted(set(observed.tolist()))}")
    return observed
