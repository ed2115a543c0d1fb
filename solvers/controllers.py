r"""Finite-state controllers: policies that need no belief, only a node that an observation moves on.

A node takes its action, and each observation leads to a node. From a policy of alpha-vectors, the nodes are its
vectors: follow the policy from the start, the likeliest beliefs first, and let the first belief that comes to a vector
decide where that one's observations lead, namely to the vectors that are best then. Vectors never met become no nodes.
That does justice to vectors that are plans, as point-based solvers and `solvers.exact` find them, but not to upper
bounds such as QMDP's, whose few vectors each stand for many different beliefs.

What such a controller is worth in each state needs no belief either. It solves, for node n with action a,

    v_n = r_a + γ T_a Σ_o Z_a[:, o] ∘ v_{n'(n, o)},

and v_n is a lower bound of the optimum at every belief, since it can be followed.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.checks import check_belief, check_indices, check_shape
from solvers.errors import ModelError, SolverError
from solvers.policies import AlphaVectorPolicy
from solvers.pomdp import POMDP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_MOST_SWEEPS = 100_000
_SHARE = 1e-12  # beliefs that are met with less probability decide nothing: rounding


@dataclass(frozen=True, eq=False, repr=False)
class FiniteStateController:
    """Nodes with an action each, and the node that follows on each observation.

    Parameters
    ----------
    pomdp : POMDP
    actions : int array, shape (N,)
    successors : int array, shape (N, O) or, with an observed factor of Y values, (N, O·Y)
        Next node; column o·Y + y is for observation o together with the value y. -1 where that cannot occur.
    start : int
        Node to begin with.

    Raises
    ------
    ModelError
        If shapes do not agree, or an action or node does not exist.
    """

    pomdp: POMDP
    actions: Ints
    successors: Ints
    start: int = 0

    def __post_init__(self) -> None:
        actions = check_indices("actions", self.actions, 1, 0, self.pomdp.n_actions)
        N = actions.size
        successors = check_indices("successors", self.successors, 2, -1, N)
        check_shape("successors", successors.shape, (max(N, 1), self.pomdp.n_observations * self.n_values))
        if not 0 <= self.start < N:
            raise ModelError(f"start must be one of {N} nodes, got {self.start}")
        for name, value in (("actions", actions), ("successors", successors)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"FiniteStateController({self.n_nodes} nodes, {self.pomdp.n_observations} observations)"

    @property
    def n_nodes(self) -> int:
        """Number of nodes N."""
        return int(self.actions.size)

    @property
    def n_values(self) -> int:
        """Number of values of the observed factor; 1 without one."""
        return 1 if self.pomdp.observed is None else int(self.pomdp.observed.max()) + 1

    @cached_property
    def vectors(self) -> Floats:
        """What each node is worth in each state, shape (N, S), no more than 1e-9 of the largest value too little.

        Never too much, up to rounding. In states from which something may be seen that the node knows no successor for,
        the worst that there is is counted from then on, and nothing where all is over.

        Raises
        ------
        ModelError
            If the discount is 1: there may be no such value.
        SolverError
            If the equations cannot be solved to that precision.
        """
        return _evaluate(self)

    @property
    def lower(self) -> float:
        """What the controller is worth at the start belief, a lower bound of the optimum."""
        return float(self.vectors[self.start] @ self.pomdp.start)

    def value(self, belief: Any, node: int | None = None) -> float:
        """What following the controller from a node is worth at a belief (S,); by default from the start node."""
        b = check_belief("belief", belief, self.pomdp.n_states)
        return float(self.vectors[self.start if node is None else node] @ b)

    def starting_at(self, belief: Any) -> "FiniteStateController":
        """Return the same controller with the start node that is worth most at a belief (S,).

        Raises
        ------
        ModelError
            If the belief is none, or the discount is 1.
        """
        b = check_belief("belief", belief, self.pomdp.n_states)
        return replace(self, start=self.policy().best_vector(b))

    def policy(self) -> AlphaVectorPolicy:
        """Policy that does, at each belief, what the node does that is worth most there; no worse anywhere."""
        return AlphaVectorPolicy(self.pomdp, self.vectors, self.actions)


def controller(policy: AlphaVectorPolicy, belief: Any = None) -> FiniteStateController:
    """Controller that does what a policy does at the likeliest belief for each vector; see the module's docstring.

    Parameters
    ----------
    policy : AlphaVectorPolicy
        Of a problem without an end.
    belief : array, shape (S,), optional
        Where to start; by default the start belief of the POMDP.

    Raises
    ------
    ModelError
        If the belief is none, or leaves the value of an observed factor open.
    """
    return controller_of_vectors(policy, belief)[0]


def controller_of_vectors(policy: AlphaVectorPolicy, belief: Any = None) -> tuple[FiniteStateController, Ints]:
    """`controller`, and for each of its nodes the vector that it comes from."""
    p = policy.pomdp
    start = p.start if belief is None else check_belief("belief", belief, p.n_states)
    factor = np.zeros(p.n_states, np.int64) if p.observed is None else p.observed
    Y = int(factor.max()) + 1
    if np.unique(factor[start > 0.0]).size > 1:
        raise ModelError("the start belief leaves the value of the observed factor open, which is seen before acting")
    covered = np.ones(Y, bool) if policy.observed is None else np.isin(np.arange(Y), policy.observed)
    anywhere: dict[tuple[int, int], _Sights] = {}
    follow: dict[int, Ints] = {}
    waiting: list[tuple[float, int, int, Any]] = [(-1.0, 0, policy.best_vector(start), start)]
    number = 0  # of what waits, so that what is equally likely keeps its order
    while waiting:
        weight, _, vector, b = heappop(waiting)
        if vector in follow:
            continue
        a, y = int(policy.actions[vector]), -1 if policy.observed is None else int(policy.observed[vector])
        if (a, y) not in anywhere:
            anywhere[a, y] = _sights(p, 1.0 * ((factor == y) | (y < 0)), a, factor, Y)
        follow[vector] = np.full(p.n_observations * Y, -1)
        # What cannot be seen from this belief may be seen from another one that comes to the same node.
        for sights, chance in ((_sights(p, b, a, factor, Y), -weight * p.discount), (anywhere[a, y], 0.0)):
            new = np.flatnonzero((follow[vector][sights.columns] < 0) & covered[sights.columns % Y])
            if new.size == 0:
                continue
            best = policy.best_vector(sights.beliefs[new])
            follow[vector][sights.columns[new]] = best
            for k, successor in zip(new.tolist(), best.tolist(), strict=True):
                if successor not in follow:
                    number += 1
                    entry = (-chance * float(sights.probability[k]), number, successor, sights.beliefs[[k]])
                    heappush(waiting, entry)
    nodes = np.array(list(follow))
    place = np.full(policy.n_vectors + 1, -1)  # the last one for -1
    place[nodes] = np.arange(nodes.size)
    return FiniteStateController(p, policy.actions[nodes], place[np.array(list(follow.values()))], 0), nodes


class _Sights(NamedTuple):
    """What may be seen after an action, as columns o·Y + y, how likely each is, and the beliefs then."""

    columns: Ints  # (K,)
    probability: Floats  # (K,)
    beliefs: Any  # (K, S) sparse


def _sights(pomdp: POMDP, mass: Any, action: int, factor: Ints, n_values: int) -> _Sights:
    from scipy.sparse import coo_array

    after = mass @ pomdp.transition[action]
    moved = (after if isinstance(after, np.ndarray) else after.toarray()).reshape(-1)
    seen = pomdp.observation[action].tocoo()
    state, observation = seen.coords
    joint = coo_array(
        (seen.data * moved[state], (observation * n_values + factor[state], state)),
        shape=(pomdp.n_observations * n_values, pomdp.n_states),
    ).tocsr()
    total = np.asarray(joint.sum(axis=1)).reshape(-1)
    columns = np.flatnonzero(total > _SHARE * total.sum())
    return _Sights(columns, total[columns], joint[columns].multiply(1.0 / total[columns, None]).tocsr())


def _evaluate(controller: FiniteStateController) -> Floats:
    from scipy.sparse.linalg import LinearOperator, bicgstab

    p = controller.pomdp
    if p.discount == 1.0:
        raise ModelError("a controller has values for a discount below 1 only")
    follow = _Follow(controller)
    reward = p.reward[controller.actions]
    shape, size = reward.shape, reward.size
    constant = follow(np.zeros(shape))

    def equations(flat: Floats) -> Floats:
        return np.asarray(flat - (follow(flat.reshape(shape)) - constant).reshape(-1))

    largest = float(np.abs(reward).max()) / (1.0 - p.discount)
    values, _ = bicgstab(
        LinearOperator((size, size), matvec=equations, dtype=np.float64),
        (reward + constant).reshape(-1),
        rtol=1e-12,
        maxiter=500,
    )
    values = values.reshape(shape)
    for _ in range(_MOST_SWEEPS):  # contracts from wherever the solver left off
        after = reward + follow(values)
        error = float(np.abs(after - values).max()) * p.discount / (1.0 - p.discount)
        values = after
        if error <= 0.5e-9 * largest:
            return np.asarray(values - error)
    raise SolverError(f"the values of {controller!r} cannot be found: still off by up to {error:.3g}")


class _Follow:
    """What comes after each node's action, discounted, given what each node (N, S) is worth."""

    def __init__(self, controller: FiniteStateController) -> None:
        p = controller.pomdp
        factor = np.zeros(p.n_states, np.int64) if p.observed is None else p.observed
        self.discount = p.discount
        self.worst = np.where(p.terminal, 0.0, float(p.reward.min()) / (1.0 - p.discount))[None]
        self.parts = []
        for a in np.unique(controller.actions).tolist():
            nodes = np.flatnonzero(controller.actions == a)
            seen = p.observation[a].tocsc()
            outcomes = []
            for o in range(p.n_observations):
                states = seen.indices[seen.indptr[o] : seen.indptr[o + 1]]
                chance = seen.data[seen.indptr[o] : seen.indptr[o + 1]]
                columns = o * controller.n_values + factor[states]
                outcomes.append((states, chance, controller.successors[np.ix_(nodes, columns)]))
            self.parts.append((nodes, p.transition[a], outcomes))

    def __call__(self, values: Floats) -> Floats:
        out = np.empty_like(values)
        values = np.concatenate([values, self.worst])  # where a successor is -1
        for nodes, transition, outcomes in self.parts:
            then = np.zeros((nodes.size, values.shape[1]))
            for states, chance, successors in outcomes:
                then[:, states] += chance * values[successors, states]
            out[nodes] = self.discount * (transition @ then.T).T
        return out
