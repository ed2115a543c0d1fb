r"""Exact finite-horizon value iteration by incremental pruning (Cassandra, Littman and Zhang 1997, UAI).

With V_t the set of alpha-vectors for t steps to go, V_0 = {0}, one epoch is, for each action a,

    V_{t,a} = r_a + Σ_o prune{ γ T_a (Z_a[:, o] ∘ α) : α in V_{t-1} },    V_t = prune( ∪_a V_{t,a} ),

where the sum of sets holds every sum of one vector of each, and is pruned each time that one more set is added, the
smallest sets first. Value at every belief, no point-based approximation; so it is for small models.

With a fully observed factor there is one set for each of its values, over the hidden states of that value alone, and
an observation is seen together with the next value.

Guarantee: pruning drops no vector that is anywhere more than the tolerance better than those kept (`solvers.pruning`).
With n the most observations that may follow an action, an epoch prunes at most 2n times between a belief and its value,
so V_t is nowhere further than e_t = γ e_{t-1} + 2n·tolerance below the optimum, and nowhere above: each vector is the
exact value of a plan. `Exact.upper` is `Exact.lower` + e_t. Pruning goes no lower than a share of the largest entry of
the vectors, so that the tolerance is no less than that share of what t steps can bring.
"""
# ruff: noqa: E741 (O is the number of observations)

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP
from solvers.pruning import LEAST, prune_sums

if TYPE_CHECKING:
    from solvers.epoch_solver import EpochSolution

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ExactEpoch(NamedTuple):
    """Where matters stood after an epoch."""

    steps_to_go: int
    n_vectors: int
    lower: float
    upper: float
    elapsed_s: float


@dataclass(frozen=True, eq=False)
class Exact:
    """What `exact` found.

    Attributes
    ----------
    policy : FiniteHorizonPolicy
        For every belief, and every number of steps to go up to its horizon: the last epoch that was completed.
    lower, upper : float
        Bounds of the value at the start belief with `policy.horizon` steps to go.
    ended_by : str
        "horizon", "time limit" or "interrupted"; after the latter two, `policy.horizon` is less than was asked for.
    elapsed_s : float
    history : tuple of ExactEpoch
        One an epoch.
    """

    policy: FiniteHorizonPolicy = field(repr=False)
    lower: float
    upper: float
    ended_by: Literal["horizon", "time limit", "interrupted"]
    elapsed_s: float
    history: tuple[ExactEpoch, ...]

    @property
    def horizon(self) -> int:
        """Steps to go that the bounds are for."""
        return self.policy.horizon


class _OutOfTimeError(Exception):
    pass


def exact(
    pomdp: POMDP,
    horizon: int | None = None,
    *,
    tolerance: float = 1e-9,
    time_limit: float | None = None,
    progress: Callable[[ExactEpoch], Any] | None = None,
) -> Exact:
    """Optimal value at every belief for a number of steps, and a policy that attains it.

    Parameters
    ----------
    pomdp : POMDP
    horizon : int, optional
        Number of actions; by default the model's own.
    tolerance : float
        Of pruning, as a share of the largest absolute reward.
    time_limit : float, optional
        Seconds, after which the last completed epoch is returned; the first one is always completed.
    progress : callable, optional
        Called after each epoch.

    Returns
    -------
    Exact
        After Ctrl-C, too, once the first epoch is done.

    Raises
    ------
    ModelError
        If there is no horizon, or an argument makes no sense.

    Examples
    --------
    >>> from solvers.examples import tiger
    >>> found = exact(tiger(), 3)
    >>> found.policy.n_vectors, round(found.lower, 6), found.ended_by
    (9, 2.3098, 'horizon')
    """
    h = pomdp.horizon if horizon is None else horizon
    if h is None or h < 1:
        raise ModelError(f"a horizon of at least 1 is needed, got {h}")
    if not tolerance > 0.0:
        raise ModelError(f"tolerance must be above 0, got {tolerance}")
    began = time.monotonic()
    highest = float(np.abs(pomdp.reward).max())
    unit = tolerance * (highest or 1.0)
    tables = _Tables.of(pomdp)
    policies: list[AlphaVectorPolicy] = []
    successors: list[Ints] = []
    history: list[ExactEpoch] = []

    def check() -> None:
        if policies and time_limit is not None and time.monotonic() - began > time_limit:
            raise _OutOfTimeError

    ended: Literal["horizon", "time limit", "interrupted"] = "horizon"
    below, error, most = tables.nothing(), 0.0, 0.0
    try:
        while len(policies) < h:
            check()
            below = _epoch(tables, below, unit, check)
            most = highest + pomdp.discount * most
            error = pomdp.discount * error + 2 * tables.most_outcomes * max(unit, LEAST * most)
            policy = tables.policy(below)
            lower = policy.value(pomdp.start)
            policies.append(policy)
            successors.append(np.concatenate([found.successors for found in below]))
            history.append(ExactEpoch(len(policies), policy.n_vectors, lower, lower + error, time.monotonic() - began))
            if progress is not None:
                progress(history[-1])
    except _OutOfTimeError:
        ended = "time limit"
    except KeyboardInterrupt:
        if not history:
            raise
        ended = "interrupted"
    last = history[-1]
    done = FiniteHorizonPolicy(tuple(policies[: len(history)]), tuple(successors[: len(history)]))
    return Exact(done, last.lower, last.upper, ended, time.monotonic() - began, tuple(history))


def epochs(pomdp: POMDP, horizon: int | None = None, *, precision: float = 1e-6, **options: Any) -> "EpochSolution":
    """Value at the start belief alone for a number of steps, by point-based backups between two bounds.

    Much cheaper than `exact` where many vectors are needed somewhere but few where the start leads.

    Parameters
    ----------
    pomdp : POMDP
    horizon : int, optional
        Number of actions; by default the model's own.
    precision : float
        Stop when the bounds at the start are no further apart.
    **options
        As for `solve_epochs`, which this calls.
    """
    from solvers.epoch_solver import solve_epochs

    return solve_epochs(pomdp.finite_horizon(horizon), gap=precision, **options)


class _Set(NamedTuple):
    """Alpha-vectors over the H states of one value of the observed factor."""

    vectors: Floats  # (V, H)
    actions: Ints  # (V,)
    successors: Ints  # (V, columns) row in the policy for one step less; -1: cannot occur
    witnesses: Floats  # (V, H) a belief where each is best


class _Outcome(NamedTuple):
    """What may follow an action in states of one value: an observation, and the next value."""

    column: int  # in `successors`
    value: int
    move: Any  # csr_array (H, H'): discounted probability to go from state to state and to see this


@dataclass(frozen=True)
class _Tables:
    """The POMDP, taken apart by value of the observed factor; without one, there is one value."""

    pomdp: POMDP
    states: tuple[Ints, ...]  # of each value
    outcomes: tuple[tuple[tuple[_Outcome, ...], ...], ...]  # of each value and action

    @classmethod
    def of(cls, pomdp: POMDP) -> "_Tables":
        S, O, factor = pomdp.n_states, pomdp.n_observations, pomdp.observed
        Y = 1 if factor is None else int(factor.max()) + 1
        states = tuple(np.flatnonzero(factor == y) if factor is not None else np.arange(S) for y in range(Y))
        outcomes = []
        for y in range(Y):
            of_action = []
            for T, Z in zip(pomdp.transition, pomdp.observation, strict=True):
                found = []
                for y2 in range(Y):
                    block, seen = T[states[y]][:, states[y2]], Z[states[y2]].tocsc()
                    for o in range(O):
                        move = (pomdp.discount * block).multiply(seen[:, [o]].toarray().T).tocsr()
                        move.eliminate_zeros()
                        if move.nnz:
                            found.append(_Outcome(o * Y + y2, y2, move))
                of_action.append(tuple(found))
            outcomes.append(tuple(of_action))
        return cls(pomdp, states, tuple(outcomes))

    @property
    def columns(self) -> int:
        return self.pomdp.n_observations * len(self.states)

    @property
    def most_outcomes(self) -> int:
        return max(len(found) for of_value in self.outcomes for found in of_value)

    def nothing(self) -> tuple[_Set, ...]:
        """What is left with no steps to go."""
        start, none = self.pomdp.start, np.zeros((1, self.columns), np.int64)
        return tuple(
            _Set(np.zeros((1, states.size)), none[0, :1], none, _normal(start[states])) for states in self.states
        )

    def policy(self, sets: tuple[_Set, ...]) -> AlphaVectorPolicy:
        actions = np.concatenate([found.actions for found in sets])
        if self.pomdp.observed is None:
            return AlphaVectorPolicy(self.pomdp, sets[0].vectors, actions)
        value = np.repeat(np.arange(len(sets)), [len(found.vectors) for found in sets])
        wide = np.zeros((value.size, self.pomdp.n_states))
        for y, (states, found) in enumerate(zip(self.states, sets, strict=True)):
            wide[np.ix_(value == y, states)] = found.vectors
        return AlphaVectorPolicy(self.pomdp, wide, actions, value)


def _epoch(tables: _Tables, below: tuple[_Set, ...], tolerance: float, check: Callable[[], None]) -> tuple[_Set, ...]:
    """Sets for one step more."""
    offset = np.cumsum([0] + [len(found.vectors) for found in below])
    sets = []
    for y, states in enumerate(tables.states):
        points = np.concatenate([below[y].witnesses, _normal(tables.pomdp.start[states])])
        of_action = []
        for a, outcomes in enumerate(tables.outcomes[y]):
            found = _after(outcomes, below, offset, tables.columns, points, tolerance, check)
            vectors = found.vectors + tables.pomdp.reward[a, states]
            of_action.append(found._replace(vectors=vectors, actions=np.full(len(vectors), a)))
        every = _Set(*(np.concatenate(field) for field in zip(*of_action, strict=True)))
        sets.append(_best(every, tolerance, check))
    return tuple(sets)


def _after(
    outcomes: tuple[_Outcome, ...], below: tuple[_Set, ...], offset: Ints, columns: int, points: Floats,
    tolerance: float, check: Callable[[], None],
) -> _Set:  # fmt: skip
    """What may be had after an action, its reward left out: the sum over outcomes, pruned at each step."""
    parts = []
    for outcome in outcomes:
        vectors = (outcome.move @ below[outcome.value].vectors.T).T
        V = len(vectors)
        successors = np.full((V, columns), -1)
        successors[:, outcome.column] = offset[outcome.value] + np.arange(V)
        parts.append(_best(_Set(vectors, np.zeros(V, np.int64), successors, points), tolerance, check))
    while len(parts) > 1:
        parts.sort(key=lambda part: -len(part.vectors))
        parts.append(_sum(parts.pop(), parts.pop(), tolerance, check))
    return parts[0]


def _best(found: _Set, tolerance: float, check: Callable[[], None]) -> _Set:
    """Vectors that are best somewhere."""
    if len(found.vectors) == 1:
        return found._replace(witnesses=found.witnesses[:1])
    nothing = np.zeros((1, found.vectors.shape[1]))
    kept = prune_sums(found.vectors, nothing, tolerance, points=found.witnesses, check=check)
    rows = kept.pairs[:, 0]
    return _Set(found.vectors[rows], found.actions[rows], found.successors[rows], kept.witnesses)


def _sum(first: _Set, second: _Set, tolerance: float, check: Callable[[], None]) -> _Set:
    """Sums of a vector of each that are best somewhere; successors of the two are in different columns."""
    one, other = sorted((first, second), key=lambda part: len(part.vectors))
    if len(one.vectors) == 1:  # moves the other set, and leaves it as pruned as it was
        i, j, witnesses = np.zeros(len(other.vectors), np.int64), np.arange(len(other.vectors)), other.witnesses
    else:
        known = np.concatenate([one.witnesses, other.witnesses])
        pairs, witnesses = prune_sums(one.vectors, other.vectors, tolerance, points=known, check=check)
        i, j = pairs.T
    successors = np.maximum(one.successors[i], other.successors[j])
    return _Set(one.vectors[i] + other.vectors[j], one.actions[i], successors, witnesses)


def _normal(mass: Floats) -> Floats:
    """A belief as the one row of a matrix, or no row if nothing is there."""
    return mass[None] / mass.sum() if mass.sum() > 0.0 else np.zeros((0, mass.size))
