r"""Finite-horizon point-based value iteration with certified bounds.

For a belief b of a node n, with V̲ and V̄ the bounds of the children, one backup (see `solvers.epochs`) gives

    V̲_n(b) = Σ_k max_a [ b·r[k, a]·w + γ Σ_o V̲_n'( b M[k, a, o] ),    and V̄_n(b) in the same way.

* **Lower bound.** The plan that attains it (an action for each signal, then an alpha-vector of the child for
  each observation) can be followed from any belief, so its value in each hidden state, an *alpha-vector*, is a
  bound everywhere: V̲_n = max over alpha-vectors. Each is the exact value of a policy graph, and carries the
  reward components of that policy beside the value.
* **Upper bound.** V_n is convex, and so below the interpolation of upper bounds at points: linear between
  neighbours with two hidden states, sawtooth otherwise (Hauskrecht 2000, JAIR 13). The corners of the belief
  simplex are always among the points.
* **Points.** Following the actions greedy in V̄ from the start belief, gather the beliefs that are reached,
  weighted by reach probability × (V̄ - V̲). What a backup at the gathered belief would take off that gap, its
  *excess*, does not come from the children; the excesses of all nodes sum to the gap at the start belief.
  Points are added where the excess is largest (with two states, an interval is split into as many parts as its
  excess asks for), then one sweep backs up all points from the last node to the first; repeat. Nothing is
  sampled, and ties go to the lowest action index: results are deterministic.

Guarantee: `EpochSolution.lower` ≤ V*(start) ≤ `EpochSolution.upper` however the solver ended, up to rounding (each
bound is computed in double precision without directed rounding: about 1e-13 of the largest reward for each epoch).
`ended` says "gap reached" only if upper - lower ≤ gap. The loop ends: each round adds a point or stops, and
rounds and points are limited.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.compilation import compilation_told
from solvers.epoch_policies import EpochPolicy, PolicyGraph, kernel_model, restrict_to_reachable
from solvers.epochs import EpochModel, check_belief, check_beliefs
from solvers.errors import ModelError, SolverError

if TYPE_CHECKING:
    from solvers import _epoch_kernels as _kernels

Ended = Literal["gap reached", "sweep limit", "point limit", "stalled"]
_log = logging.getLogger("solvers")
_WORK = 4e6  # bounds the beliefs followed for each node, with other than two hidden states
_NO_ACTION = np.zeros((0, 0), np.int16)
_APART = 1e-10  # least distance of points, with two hidden states
_MOST_PARTS = 8  # of an interval between points, in one round


class Round(NamedTuple):
    """Where both bounds at the start stood after a sweep, and how many points all nodes had together."""

    lower: float
    upper: float
    n_points: int


@dataclass(frozen=True, eq=False)
class EpochSolution:
    """What was found, and how good it is.

    Attributes
    ----------
    model : EpochModel
    weights : array, shape (D,)
    lower, upper : float
        Bounds on the optimal weighted value at the start. The policy graph attains `lower`.
    components : array, shape (D,)
        Expected reward components of the policy graph from the start: `components @ weights` is `lower`.
    ended : str
        "gap reached", "sweep limit", "point limit", or "stalled" (no point would help any more).
    sweeps : int
        Backward sweeps done.
    n_points, n_vectors : int
        Belief points and alpha-vectors, all nodes together.
    rounds : tuple of Round
        How the bounds closed: one a sweep, the last of them with `lower` and `upper`.
    """

    model: EpochModel
    weights: NDArray[np.float64]
    lower: float
    upper: float
    components: NDArray[np.float64]
    ended: Ended
    sweeps: int
    n_points: int
    n_vectors: int
    rounds: tuple[Round, ...] = field(repr=False)
    _bounds: "_kernels.Bounds" = field(repr=False)

    @property
    def gap(self) -> float:
        """Upper - lower."""
        return self.upper - self.lower

    def _facts(self) -> dict[str, str]:
        return {
            "value": f"{self.lower:.6g} to {self.upper:.6g}",
            **{
                name: f"{value:.4g}"
                for name, value in zip(self.model.component_names, self.components.tolist(), strict=True)
            },
            "ended": self.ended,
            "sweeps": str(self.sweeps),
            "points": str(self.n_points),
            "vectors": str(self.n_vectors),
        }

    def __repr__(self) -> str:
        return f"EpochSolution({', '.join(f'{name} {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table><caption>EpochSolution</caption>{''.join(rows)}</table>"

    def points(self, node: int) -> NDArray[np.float64]:
        """Belief points of a node, shape (P_n, S); none for a terminal node."""
        if self.model.table_of[node] < 0:
            return np.zeros((0, self.model.n_states))
        return self._bounds.points[self._bounds.offset[node] : self._bounds.offset[node + 1]]

    def vectors(self, node: int) -> NDArray[np.float64]:
        """Alpha-vectors of a node, shape (V_n, S)."""
        return self._bounds.vectors[self._rows(node)]

    def first_actions(self, signal: int = 0) -> tuple[NDArray[np.int64], ...]:
        """Action after a signal in the plan behind each alpha-vector, shape (V_n,) for each node."""
        action = self._with_plans().action[:, signal].astype(np.int64)
        return tuple(action[self._rows(node)] for node in range(self.model.n_nodes))

    def vector_components(self, node: int) -> NDArray[np.float64]:
        """Reward components of the alpha-vectors of a node, shape (V_n, S, D)."""
        return self._components[self._rows(node)]

    @cached_property
    def _components(self) -> NDArray[np.float64]:
        """Reward components of all alpha-vectors, shape (P, S, D)."""
        from solvers import _epoch_kernels as _kernels

        z = self._with_plans()
        out = np.zeros((*z.points.shape, self.model.n_components))
        m = kernel_model(self.model, self.weights)
        _kernels.evaluate(m, self.model.reward, self.model.terminal, z.offset, z.n_vectors, z.action, z.follow, out)
        return out

    def value(self, belief: ArrayLike, node: int = 0) -> Any:
        """Optimal value at a belief (S,) or beliefs (B, S); a float, or an array (B,).

        The largest alpha-vector there. Where those at hand leave more open than the gap of this solution (its points
        lie where its own start leads), more are found by `solved_from`.

        Raises
        ------
        ModelError
            If a belief is no distribution over the hidden states.
        """
        values = [self._value(b, node) for b in check_beliefs("belief", belief, self.model.n_states)]
        return np.array(values) if np.ndim(belief) == 2 else values[0]

    def _value(self, b: NDArray[np.float64], node: int) -> float:
        low, up = self.bounds(node, b)
        return low if up - low <= self._tolerance else self.solved_from(b, node).lower

    @property
    def _tolerance(self) -> float:
        return max(self.gap, 1e-9)

    def solved_from(self, belief: ArrayLike, node: int = 0) -> "EpochSolution":
        """Solve for the same weights and gap with another start: a belief (S,) at a node that is not terminal."""
        model = self.model
        if not 0 <= node < model.n_nodes or model.table_of[node] < 0:
            raise ModelError(f"node {node} is terminal or unknown: there is nothing to solve")
        there = replace(
            model,
            start=check_belief("belief", belief, model.n_states),
            table_of=model.table_of[node:],
            children=model.children[node:] - node,
            terminal=model.terminal[node:],
        )
        return solve_epochs(there, self.weights, gap=self._tolerance, warm_start=self if node == 0 else None)

    def bounds(self, node: int, belief: ArrayLike) -> tuple[float, float]:
        """Lower and upper bound on the optimal value of a node at a belief (S,)."""
        b = check_belief("belief", belief, self.model.n_states)
        if self.model.table_of[node] < 0:
            value = float(b @ self.vectors(node)[0])
            return value, value
        low, up = _value_at(self._bounds, node, b)
        return low, max(low, up)

    @cached_property
    def policy(self) -> EpochPolicy:
        """Policy that looks up beliefs."""
        nodes = range(self.model.n_nodes)
        return EpochPolicy(
            self.model,
            self.weights,
            [self.vectors(n) for n in nodes],
            [self.vector_components(n) for n in nodes],
            self._bounds,
        )

    @cached_property
    def graph(self) -> PolicyGraph:
        """Policy graph from the start, whose exact value is `lower`. Rebuilt on first use, as edges are large."""
        z = self._with_plans()
        start = int((self.vectors(0) @ self.model.start).argmax())
        graph = restrict_to_reachable(self.model, z.offset, z.action, z.follow, start)
        return replace(graph, _optimal=self.value)

    def _with_plans(self) -> "_kernels.Bounds":
        """Bounds with the plan behind each alpha-vector, which are not kept: they are large."""
        from solvers import _epoch_kernels as _kernels

        P, K = self._bounds.points.shape[0], self.model.n_signals
        z = self._bounds._replace(
            vectors=self._bounds.vectors.copy(),
            action=np.zeros((P, K), np.int16),
            follow=np.zeros((P, K, self.model.n_observations), np.int32),
            action_up=np.zeros((P, K), np.int16),
        )
        m = kernel_model(self.model, self.weights)
        _kernels.sweep(m.fixed, m, z, *_kernels.room(m), False)
        return z

    def _rows(self, node: int) -> slice:
        first = int(self._bounds.offset[node])
        return slice(first, first + int(self._bounds.n_vectors[node]))


def solve_epochs(
    model: EpochModel,
    weights: ArrayLike | None = None,
    *,
    gap: float = 1e-5,
    max_sweeps: int = 200,
    max_points: int = 200_000,
    warm_start: EpochSolution | None = None,
    report: Callable[[str], None] | None = None,
) -> EpochSolution:
    """Bound the optimal value at the start, and find a policy that attains the lower bound.

    Parameters
    ----------
    model : EpochModel
    weights : array, shape (D,), optional
        Value of each reward component; may be omitted if there is one.
    gap : float
        Stop when upper - lower is no larger, in units of the weighted value.
    max_sweeps, max_points : int
        Limits on sweeps, and on points of all nodes together.
    warm_start : EpochSolution, optional
        EpochSolution of a model with the same nodes and states, any weights: its points are used again. Bounds are
        computed afresh, so a bad start costs time, never correctness.
    report : callable, optional
        Called with a line when kernels have to be compiled, which takes seconds, once per installation; by default
        the line goes to the logger "solvers", as information.

    Raises
    ------
    SolverError
        If an argument makes no sense, or the warm start belongs to another kind of model.

    Examples
    --------
    >>> from solvers import POMDP
    >>> tiger = POMDP(
    ...     transition=[[[1, 0], [0, 1]], [[.5, .5], [.5, .5]], [[.5, .5], [.5, .5]]],
    ...     observation=[[[.85, .15], [.15, .85]], [[.5, .5], [.5, .5]], [[.5, .5], [.5, .5]]],
    ...     reward=[[-1, -1], [-100, 10], [10, -100]], start=[.5, .5], discount=.95,
    ...     actions=["listen", "open left", "open right"])
    >>> solution = solve_epochs(tiger.finite_horizon(3), gap=1e-9)
    >>> print(solution.ended, round(solution.lower, 6))
    gap reached 2.3098
    >>> tiger.actions[solution.policy.action(0, [.5, .5])]
    'listen'
    """
    w = model.weigh(weights)
    if not gap >= 0.0 or max_sweeps < 1:
        raise SolverError(f"gap must be at least 0 and max_sweeps at least 1, got {gap} and {max_sweeps}")
    if report is None and _log.isEnabledFor(logging.INFO):
        report = _log.info
    with contextlib.nullcontext() if report is None else compilation_told(report):
        return _solve(model, w, gap, max_sweeps, max_points, warm_start)


def _solve(
    model: EpochModel,
    w: NDArray[np.float64],
    gap: float,
    max_sweeps: int,
    max_points: int,
    warm_start: EpochSolution | None,
) -> EpochSolution:
    from solvers import _epoch_kernels as _kernels

    m = kernel_model(model, w)
    e, b = _kernels.room(m)
    offset, points = _first_points(model) if warm_start is None else _points_of(warm_start, model)
    live = model.table_of >= 0
    rounds: list[Round] = []
    while True:
        z = _bounds(offset, points, model)
        _kernels.sweep(m.fixed, m, z, e, b, True)
        low, up = _value_at(z, 0, model.start)
        rounds.append(Round(low, max(low, up), int(np.diff(offset)[live].sum())))
        sweeps = len(rounds)
        if up - low <= gap:
            ended: Ended = "gap reached"
            break
        if sweeps >= max_sweeps:
            ended = "sweep limit"
            break
        node, belief, inflow = _new_points(m, z, e, b, model, up - low, gap, sweeps)
        room = max_points - int(offset[-1])
        if node.size == 0 or room <= 0:
            ended = "stalled" if node.size == 0 else "point limit"
            break
        if warm_start is not None and sweeps == 1 and model.n_states == 2:
            offset, points = _drop_idle(z, model, inflow, 0.1 * gap)
        offset, points = _insert(offset, points, node[:room], belief[:room])
    return _finish(model, w, m, z, ended, tuple(rounds))


def solve_epochs_many(
    model: EpochModel,
    weights: ArrayLike,
    *,
    gap: float = 1e-5,
    max_sweeps: int = 200,
    max_points: int = 200_000,
    threads: int = 2,
) -> list[EpochSolution]:
    """Solve for many weightings (L, D), in parallel; neighbours in the list warm-start each other.

    Order the weights so that neighbours are alike. Every solution carries its own bounds, as from `solve_epochs`.

    Raises
    ------
    SolverError
        As for `solve_epochs`.
    """
    table = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if threads < 1 or table.ndim != 2:
        raise SolverError(f"threads must be at least 1 and weights (L, D), got {threads} and {table.shape}")
    for w in table:
        model.weigh(w)

    def chain(part: NDArray[np.float64]) -> list[EpochSolution]:
        solutions: list[EpochSolution] = []
        for w in part:
            before = solutions[-1] if solutions else None
            solutions.append(
                solve_epochs(model, w, gap=gap, max_sweeps=max_sweeps, max_points=max_points, warm_start=before)
            )
        return solutions

    # Several parts for each thread, since neighbouring weights may take much more time than others.
    count = min(4 * threads, max(threads, len(table) // 25), max(1, len(table)))
    parts: Sequence[NDArray[np.float64]] = np.array_split(table, count)
    with ThreadPoolExecutor(threads) as pool:
        return [solution for solutions in pool.map(chain, parts) for solution in solutions]


def _bounds(offset: NDArray[np.int64], points: NDArray[np.float64], model: EpochModel) -> "_kernels.Bounds":
    """Room for both bounds at the given points."""
    from solvers import _epoch_kernels as _kernels

    P, S = points.shape
    return _kernels.Bounds(
        offset=offset,
        points=points,
        upper=np.zeros(P),
        chord=np.zeros((P, S)),
        n_vectors=np.zeros(model.n_nodes, np.int64),
        vectors=np.zeros((P, S)),
        left=np.zeros(P, np.int64),
        bend=np.full(P, 2.0),
        witness=np.zeros(P, np.int64),
        action=np.empty((P, model.n_signals), np.int16),
        follow=np.empty((P, model.n_signals, model.n_observations), np.int32),
        action_up=np.empty((P, model.n_signals), np.int16),
    )


def _value_at(z: "_kernels.Bounds", node: int, b: NDArray[np.float64]) -> tuple[float, float]:
    """Both bounds of a node that is not terminal at a belief (S,); as the kernels find them."""
    first, last = z.offset[node], z.offset[node + 1]
    low = float((z.vectors[first : first + z.n_vectors[node]] * b).sum(axis=1).max())
    points = z.points[first:last]
    if b.size == 2:
        piece = first + min(max(int(np.searchsorted(points[:, 1], b[1])) - 1, 0), points.shape[0] - 2)
        return low, float((z.chord[piece] * b).sum())
    shares = np.divide(b, points, out=np.full(points.shape, np.inf), where=points > 0.0)[b.size :].min(axis=1)
    drop = (shares * z.chord[first + b.size : last, 0]).min(initial=0.0)
    return low, float(b @ z.upper[first : first + b.size] + drop)


def _first_points(model: EpochModel) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Corners of every node, and the start belief; one (unused) for a terminal node."""
    S = model.n_states
    corners = np.eye(S)
    offset = np.concatenate([[0], np.cumsum(np.where(model.table_of >= 0, S, 1))])
    points = np.concatenate([corners if t >= 0 else corners[:1] for t in model.table_of])
    if model.start.max() == 1.0:
        return offset, points
    return _insert(offset, points, np.zeros(1, np.int64), model.start[None])


def _points_of(solution: EpochSolution, model: EpochModel) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    other = solution.model
    if other.n_states != model.n_states or not np.array_equal(other.table_of >= 0, model.table_of >= 0):
        raise SolverError("the warm start belongs to a model with other nodes or states")
    return solution._bounds.offset, solution._bounds.points


def _insert(
    offset: NDArray[np.int64],
    points: NDArray[np.float64],
    node: NDArray[np.int64],
    belief: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points with new ones put in: sorted with two states, else behind the old ones."""
    counts = np.diff(offset)
    nodes = np.concatenate([np.repeat(np.arange(counts.size), counts), node])
    points = np.concatenate([points, belief])
    order = np.lexsort((points[:, 1], nodes)) if points.shape[1] == 2 else np.argsort(nodes, kind="stable")
    offset = np.concatenate([[0], np.cumsum(counts + np.bincount(node, minlength=counts.size))])
    return offset, np.ascontiguousarray(points[order])


def _new_points(
    m: "_kernels.Model",
    z: "_kernels.Bounds",
    e: "_kernels.Epoch",
    b: "_kernels.Beliefs",
    model: EpochModel,
    gap: float,
    target: float,
    sweeps: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Where to add points: nodes and beliefs, best first; and the gap that flows into each slot."""
    from solvers import _epoch_kernels as _kernels

    S = model.n_states
    if S == 2:
        first = z.offset
    else:  # each belief has K·O successors, and each of those is compared to all beliefs of its node
        slots_each = int(np.clip((_WORK / (model.n_signals * model.n_observations * S)) ** 0.5, 32, 512))
        first = slots_each * np.arange(model.n_nodes + 1)
    Q = int(first[-1])
    used = np.zeros(model.n_nodes, np.int64)
    mass, inflow, widest, excess = np.zeros((Q, S)), np.zeros(Q), np.zeros(Q), np.zeros(Q)
    _kernels.explore(m.fixed, m, z, e, b, model.start, gap, 1e-4 * target, first, used, mass, inflow, widest, excess)
    excess[excess <= max(1e-5 * target, 100 * m.tie)] = 0.0
    if S == 2:
        # Aim where the lower bound bends, or every third time at the mean belief: where few beliefs are
        # reached, or the value function has few pieces, they are met exactly.
        with np.errstate(invalid="ignore"):
            aim = mass[:, 1] / mass.sum(axis=1)
        if sweeps % 3 > 0:
            aim = np.where(z.bend < 1.0, z.bend, aim)
        slots, belief = _split(z, excess, aim, max(0.8 * target, 0.05 * gap))
    else:
        slots = np.flatnonzero(excess)
        belief = mass[slots] / mass[slots].sum(axis=1, keepdims=True)
    order = np.argsort(-excess[slots], kind="stable")
    if S != 2:
        remaining = excess[slots].sum() - np.cumsum(excess[slots[order]])
        order = order[: int(np.searchsorted(-remaining, -max(0.5 * target, 0.1 * gap))) + 1]
    return np.searchsorted(first, slots[order], side="right") - 1, belief[order], inflow


def _split(
    z: "_kernels.Bounds", excess: NDArray[np.float64], aim: NDArray[np.float64], target: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Beliefs that split intervals with two states, so that about `target` of their excess remains.

    The excess of an interval falls with the square of its width, so n equal parts of each leave Σ excess / n².
    With the fewest parts for that, n is proportional to the cube root of the excess. The cut that is nearest to the
    share `aim` of state 1 is made right there.
    """
    root = np.cbrt(excess)
    parts = root * np.sqrt(root.sum() / max(target, 1e-300))
    cuts = np.ceil(np.clip(parts - 0.1, 1.0, _MOST_PARTS)).astype(np.int64) - 1
    slots = np.repeat(np.arange(cuts.size), cuts)
    cut = np.arange(slots.size) - np.repeat(np.cumsum(cuts) - cuts, cuts) + 1
    parts_here = cuts[slots] + 1
    left, right = z.points[slots, 1], z.points[slots + 1, 1]
    share = left + (right - left) * cut / parts_here
    nearest = np.clip(np.rint((aim[slots] - left) / (right - left) * parts_here), 1, parts_here - 1)
    inside = (aim[slots] > left + _APART) & (aim[slots] < right - _APART)
    share = np.where((cut == nearest) & inside, aim[slots], share)
    apart = (share > left + _APART) & (share < right - _APART)
    return slots[apart], np.stack([1.0 - share[apart], share[apart]], axis=1)


def _drop_idle(
    z: "_kernels.Bounds", model: EpochModel, inflow: NDArray[np.float64], allowance: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points without those that a warm start no longer needs, with two states.

    Without a point, its two intervals become one of about twice the width and four times the gap. Points are
    dropped while that adds no more than `allowance` in all, and never two neighbours at once.
    """
    counts = np.diff(z.offset)
    node = np.repeat(np.arange(counts.size), counts)
    place = np.arange(node.size) - z.offset[node]
    eligible = (place % 2 == 1) & (place < counts[node] - 1) & ~(z.points == model.start).all(axis=1)
    candidates = np.flatnonzero(eligible)
    cost = 3.0 * (inflow[candidates - 1] + inflow[candidates])
    order = np.argsort(cost, kind="stable")
    dropped = candidates[order[np.cumsum(cost[order]) <= allowance]]
    keep = np.ones(node.size, bool)
    keep[dropped] = False
    offset = np.concatenate([[0], np.cumsum(np.bincount(node[keep], minlength=counts.size))])
    return offset, z.points[keep]


def _finish(
    model: EpochModel,
    weights: NDArray[np.float64],
    m: "_kernels.Model",
    z: "_kernels.Bounds",
    ended: Ended,
    rounds: tuple[Round, ...],
) -> EpochSolution:
    from solvers import _epoch_kernels as _kernels

    plan = int((z.vectors[: z.n_vectors[0]] @ model.start).argmax())
    components = np.zeros(model.n_components)
    mass = np.zeros(z.points.shape)
    mass[plan] = model.start
    taken = np.empty((model.n_signals, model.n_actions, model.n_states))
    _kernels.start_components(m.fixed, m, z, mass, taken, model.reward, model.terminal, components)
    live = model.table_of >= 0
    return EpochSolution(
        model=model,
        weights=weights,
        lower=rounds[-1].lower,
        upper=rounds[-1].upper,
        components=components,
        ended=ended,
        sweeps=len(rounds),
        n_points=rounds[-1].n_points,
        n_vectors=int(z.n_vectors[live].sum()),
        rounds=rounds,
        _bounds=z._replace(action=_NO_ACTION, follow=np.zeros((0, 0, 0), np.int32), action_up=_NO_ACTION),
    )
