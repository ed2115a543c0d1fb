"""Partially observable Markov decision processes in their usual form, as sparse matrices."""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.checks import check_array, check_belief, check_indices, check_names, check_shape
from solvers.epochs import EpochModel
from solvers.errors import ModelError
from solvers.reward_rules import RewardRules

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Tables = ArrayLike | Sequence[Any]
"""An array with an action first, or a sequence of matrices, dense or of scipy.sparse, an action each."""
_TOLERANCE = 1e-9
_DENSE = 50_000_000  # cells of a table that is given out as a dense array


@dataclass(frozen=True, kw_only=True, eq=False, init=False, repr=False)
class POMDP:
    """States, actions, observations and what connects them; A actions, S states, O observations.

    Tables are kept sparse, so that ten thousand states with ten actions are no burden.

    Parameters
    ----------
    transition : array, shape (A, S, S), or sequence of A matrices (S, S), dense or sparse
        P(s' | s, a).
    observation : array, shape (A, S, O), or sequence of A matrices (S, O), dense or sparse
        P(o | a, s'), where s' is the state *after* the action.
    reward : array, shape (A, S) or (A, S, S, O), or RewardRules
        Expected reward of an action in a state, or the reward of each (a, s, s', o), or rules for it.
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
        beside the observations, before the first action too. See `finite_horizon`.
    terminal : sequence of int, or bool array of shape (S,), optional
        States in which the process is over: their rows of `transition` and `reward` are ignored, and become those of
        a state that is never left and brings nothing, whatever rules say.

    Attributes
    ----------
    transition : tuple of A csr_array (S, S)
    observation : tuple of A csr_array (S, O)
        Actions that are alike share one.
    reward : array, shape (A, S)
        Expected reward, all that a solver needs.
    rewards : RewardRules or None
        Reward of each outcome, for simulation; None if it does not depend on the outcome. Given beside an expected
        `reward` it is not checked against it.
    terminal : bool array, shape (S,)
        States that are never left and bring nothing, declared or not.

    Raises
    ------
    ModelError
        If shapes do not agree, numbers are not finite or probabilities do not sum to one within 1e-9; the message names
        action, state and sum.
    """

    transition: tuple["csr_array", ...]
    observation: tuple["csr_array", ...]
    reward: NDArray[np.float64]
    start: NDArray[np.float64]
    discount: float
    horizon: int | None
    states: tuple[str, ...]
    actions: tuple[str, ...]
    observations: tuple[str, ...]
    observed: NDArray[np.int64] | None
    terminal: NDArray[np.bool_]
    rewards: RewardRules | None

    def __init__(
        self,
        *,
        transition: Tables,
        observation: Tables,
        reward: ArrayLike | RewardRules,
        start: ArrayLike,
        discount: float,
        horizon: int | None = None,
        states: Sequence[str] = (),
        actions: Sequence[str] = (),
        observations: Sequence[str] = (),
        observed: ArrayLike | None = None,
        terminal: ArrayLike | None = None,
        rewards: RewardRules | None = None,
    ) -> None:
        moves = _matrices("transition", transition)
        seen = _matrices("observation", observation)
        A, S, O = _sizes(moves, seen)
        names = {
            "states": check_names("states", states, "state", S),
            "actions": check_names("actions", actions, "action", A),
            "observations": check_names("observations", observations, "observation", O),
        }
        declared = _flags("terminal", terminal, S)
        if declared.any():
            moves = tuple(_absorbing(matrix, declared) for matrix in moves)
        _check_rows("transition", moves, names["actions"], names["states"])
        _check_rows("observation", seen, names["actions"], names["states"])
        expected, rules = _rewards(reward, rewards, moves, seen)
        expected[:, declared] = 0.0
        if rules is not None and declared.any():
            rules = rules.nothing_in(np.flatnonzero(declared))
        belief = check_belief("start", start, S)
        over = ~expected.any(axis=0)
        for matrix in moves:
            over &= matrix.diagonal() == 1.0
        factor = None if observed is None else _check_observed(observed, S)
        for array in (expected, belief, over, factor):
            if array is not None:
                array.flags.writeable = False
        values: dict[str, Any] = {
            "transition": moves,
            "observation": seen,
            "reward": expected,
            "start": belief,
            "discount": checks.discount(discount),
            "horizon": None if horizon is None else checks.whole("horizon", horizon, 1),
            **names,
            "observed": factor,
            "terminal": over,
            "rewards": rules,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        end = "" if self.horizon is None else f", horizon {self.horizon}"
        seen = "" if self.observed is None else f" ({int(self.observed.max()) + 1} values of them seen)"
        return (
            f"POMDP({self.n_states} states{seen}, {self.n_actions} actions, {self.n_observations} observations, "
            f"discount {self.discount:g}{end})"
        )

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return int(self.start.size)

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return len(self.transition)

    @property
    def n_observations(self) -> int:
        """Number of observations O."""
        return len(self.observations)

    @cached_property
    def transition_array(self) -> NDArray[np.float64]:
        """P(s' | s, a) as a dense array, shape (A, S, S).

        Raises
        ------
        ModelError
            If it had more than 50 million entries.
        """
        return _dense("transition", self.transition)

    @cached_property
    def observation_array(self) -> NDArray[np.float64]:
        """P(o | a, s') as a dense array, shape (A, S, O); see `transition_array`."""
        return _dense("observation", self.observation)

    def update(self, belief: ArrayLike, action: int, observation: int) -> tuple[NDArray[np.float64], float]:
        """Bayes filter over one action.

        What is seen of an observed factor beside the observation is left to the caller.

        Returns
        -------
        belief : array, shape (S,)
            Belief after the action.
        probability : float
            Of the observation, given the action.

        Raises
        ------
        ModelError
            If the observation cannot occur, there is no such action or observation, or the belief is none.
        """
        action = checks.whole("action", action, 0, self.n_actions)
        observation = checks.whole("observation", observation, 0, self.n_observations)
        b = check_belief("belief", belief, self.n_states)
        after = (b @ self.transition[action]) * self.observation[action][:, [observation]].toarray()[:, 0]
        probability = float(after.sum())
        if probability <= 0.0:
            raise ModelError(
                f"observation {self.observations[observation]!r} cannot occur after action {self.actions[action]!r}"
            )
        return after / probability, probability

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
        if h is None:
            raise ModelError("a horizon of at least 1 is needed: the model has none of its own")
        h = checks.whole("horizon", h, 1)
        end = np.zeros(len(self.states)) if terminal is None else check_array("terminal", terminal, 1)
        check_shape("terminal", end.shape, (len(self.states),))
        if self.observed is not None:
            return self._factored(h, end, self.observed)
        last = np.zeros((h + 1, end.size, 1))
        last[h, :, 0] = end
        return EpochModel(
            joint=np.einsum("ast,ato->aost", self.transition_array, self.observation_array)[None, None],
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
        A, O = self.n_actions, self.n_observations
        Y = int(observed.max()) + 1
        groups = [np.flatnonzero(observed == y) for y in range(Y)]
        H = max(group.size for group in groups)
        y0 = observed[self.start.argmax()]
        if self.start[observed != y0].any():
            raise ModelError("the start belief must agree on the value of the observed factor")
        joint = np.zeros((Y, 1, A, O * Y, H, H))
        reward = np.zeros((Y, 1, A, H, 1))
        full = np.einsum("ast,ato->aost", self.transition_array, self.observation_array)
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


def _sizes(moves: tuple["csr_array", ...], seen: tuple["csr_array", ...]) -> tuple[int, int, int]:
    """Numbers of actions, states and observations, on which the tables agree."""
    if not moves or not seen or 0 in (*moves[0].shape, *seen[0].shape):
        raise ModelError("at least one state, action and observation are needed")
    A, S = len(moves), moves[0].shape[0]
    check_shape("transition", (A, *moves[0].shape), (A, S, S))
    if len(seen) != A:
        raise ModelError(f"numbers of actions differ: {A} in transition, {len(seen)} in observation")
    O = seen[0].shape[1]
    if seen[0].shape[0] != S:
        raise ModelError(
            f"observation must have shape (A, S, O), here ({A}, {S}, any), to go with transition; got "
            f"{(A, *seen[0].shape)}"
        )
    return A, S, O


def _rewards(
    given: ArrayLike | RewardRules,
    rules: RewardRules | None,
    transition: tuple["csr_array", ...],
    observation: tuple["csr_array", ...],
) -> tuple[NDArray[np.float64], RewardRules | None]:
    """Expected rewards (A, S), and the rules for those of outcomes where they matter."""
    A, (S, O) = len(transition), observation[0].shape
    if rules is not None:
        checks.of_type("rewards", rules, RewardRules)
        check_shape("rewards", rules.shape, (A, S, S, O))
    if not isinstance(given, RewardRules):
        table = check_array("reward", given, 2, 4)
        if table.ndim == 2:
            check_shape("reward", table.shape, (A, S))
            return table, rules
        check_shape("reward", table.shape, (A, S, S, O))
        given = RewardRules.of(table)
    check_shape("reward", given.shape, (A, S, S, O))
    return given.expected(transition, observation), None if given.by_action_and_state else given


def _matrices(name: str, value: Any) -> tuple["csr_array", ...]:
    """Matrices of one shape, an action each, without stored zeros; those that are one object stay one."""
    from scipy.sparse import issparse

    if issparse(value):
        raise ModelError(f"{name} must be a sequence of matrices, one for each action, got one sparse matrix")
    if not (isinstance(value, (tuple, list)) and any(map(issparse, value))):
        return tuple(_sparse(name, matrix) for matrix in check_array(name, value, 3))
    made = {id(item): _sparse(name, item) for item in value}
    found = tuple(made[id(item)] for item in value)
    for matrix in found:
        check_shape(name, (len(found), *matrix.shape), (len(found), *found[0].shape))
    return found


def _sparse(name: str, value: Any) -> "csr_array":
    """A read-only copy in canonical form."""
    from scipy.sparse import csr_array

    matrix = csr_array(value, dtype=np.float64, copy=True)
    if matrix.ndim != 2:
        raise ModelError(f"{name} must be made of matrices, got shape {matrix.shape}")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        raise ModelError(f"{name} has an entry that is not finite")
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.flags.writeable = False
    return matrix


def _dense(name: str, matrices: tuple["csr_array", ...]) -> NDArray[np.float64]:
    rows, columns = matrices[0].shape
    if len(matrices) * rows * columns > _DENSE:
        raise ModelError(f"{name} is too large for a dense array: {len(matrices)} × {rows} × {columns}")
    array = np.stack([matrix.toarray() for matrix in matrices])
    array.flags.writeable = False
    return array


def _absorbing(matrix: "csr_array", terminal: NDArray[np.bool_]) -> "csr_array":
    from scipy.sparse import diags_array

    return _sparse("transition", diags_array(1.0 * ~terminal) @ matrix + diags_array(1.0 * terminal))


def _flags(name: str, value: Any, size: int) -> NDArray[np.bool_]:
    flags = np.zeros(size, bool)
    if value is None:
        return flags
    given = np.asarray(value)
    if given.dtype == bool:
        check_shape(name, given.shape, (size,))
        return given.copy()
    flags[check_indices(name, given, 1, 0, size)] = True
    return flags


def _check_rows(
    name: str, matrices: tuple["csr_array", ...], actions: tuple[str, ...], states: tuple[str, ...]
) -> None:
    for action, matrix in zip(actions, matrices, strict=True):
        if matrix.nnz and matrix.data.min() < 0:
            least = int(matrix.data.argmin())
            state = states[int(np.searchsorted(matrix.indptr, least, side="right")) - 1]
            raise ModelError(
                f"{name} has a negative probability: {matrix.data[least]} (action {action!r}, state {state!r})"
            )
        total = matrix.sum(axis=1)
        worst = int(np.abs(total - 1.0).argmax())
        if abs(total[worst] - 1.0) > _TOLERANCE:
            raise ModelError(
                f"{name} must sum to 1: action {action!r}, state {states[worst]!r} sums to {total[worst]:.12g}"
            )


def _check_observed(value: ArrayLike, size: int) -> NDArray[np.int64]:
    observed = check_indices("observed", value, 1, None, None)
    check_shape("observed", observed.shape, (size,))
    used = np.unique(observed)
    if not np.array_equal(used, np.arange(used.size)):
        raise ModelError(f"observed must use each of 0, 1, … at least once, got {used.tolist()}")
    return observed
