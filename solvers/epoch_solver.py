r"""Finite-horizon point-based value iteration with certified bounds.

For a belief b of a node n, with V̲ and V̄ the bounds of the children, one backup (see `solvers.epochs`) gives

    V̲_n(b) = Σ_k max_a [ b·r[k, a]·w + γ Σ_o V̲_n'( b M[k, a, o] ),    and V̄_n(b) in the same way.

* **Lower bound.** The plan that attains it (an action for each signal, then an alpha-vector of the child for
  each observation) can be followed from any belief, so its value in each hidden state, an *alpha-vector*, is a
  bound everywhere: V̲_n = max over alpha-vectors. Each is the exact value of a policy graph, and carries the
  reward components of that policy beside the value.
* **Upper bound.** V_n is convex, and so below the interpolation of upper bounds at points: linear between
  neighbours with two hidden states; with up to six in the cells of a mesh of simplices whose corners are points;
  sawtooth otherwise (Hauskrecht 2000, JAIR 13). The corners of the belief simplex are always among the points. In a
  cell the lower bound is that of the vectors that are best at its corners, so that both bounds are off by the square
  of its diameter, and looking one up takes the depth of a tree, whatever the number of points.
* **Points.** Following the actions greedy in V̄ from the start belief, gather the beliefs that are reached,
  weighted by reach probability × (V̄ - V̲). What a backup at the gathered belief would take off that gap, its
  *excess*, does not come from the children; the excesses of all nodes sum to the gap at the start belief.
  Points are added where the excess is largest, then one sweep backs up all points from the last node to the first;
  repeat. With two states, an interval is split into as many parts as its excess asks for. A cell is halved up to six
  times a round, along the edge between whose ends the best vector changes most; or it is split at one belief, if that
  has most of the cell's gap. Nothing is sampled, and ties go to the lowest action index: results are deterministic.

Guarantee: `EpochSolution.lower` ≤ V*(start) ≤ `EpochSolution.upper` however the solver ended, up to rounding (each
bound is computed in double precision without directed rounding: about 1e-13 of the largest reward for each epoch, and
1e-12 with cells). `ended` says "gap reached" only if upper - lower ≤ gap. The loop ends: each round adds a point or
stops, and rounds and points are limited.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._epoch_arrays import Bounds, Mesh, Model, room_for, shares_at
from solvers.checks import check_belief, check_beliefs
from solvers.compilation import compilation_told
from solvers.epoch_policies import EpochPolicy, PolicyGraph, kernel_model, restrict_to_reachable
from solvers.epochs import EpochModel
from solvers.errors import ModelError, SolverError

Ended = Literal["gap reached", "sweep limit", "point limit", "time limit", "interrupted", "stalled"]
_log = logging.getLogger("solvers")
_STALE = 2.0  # a mesh of cells that has grown by this, along warm starts, is begun anew
_NO_ACTION = np.zeros((0, 0), np.int16)


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
        "gap reached", "sweep limit", "point limit", "time limit", "interrupted", or "stalled" (no point would help any
        more).
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
    _bounds: Bounds = field(repr=False)
    _fresh_points: int = field(repr=False)  # when points from before were last no more than half of them

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
        from solvers import _epoch_evaluation as _evaluation

        z = self._with_plans()
        out = np.zeros((*z.points.shape, self.model.n_components))
        m = kernel_model(self.model, self.weights)
        _evaluation.evaluate(m, self.model.reward, self.model.terminal, z.offset, z.n_vectors, z.action, z.follow, out)
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

    def _with_plans(self) -> Bounds:
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
        _kernels.sweep(m.fixed, m, z, *room_for(m), False)
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
    time_limit: float | None = None,
    progress: Callable[[Round], None] | None = None,
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
    time_limit : float, optional
        Seconds. No sweep begins that would likely end later; the first one is always done, and compilation counts.
    progress : callable, optional
        Called after every sweep with the `Round`: bounds at the start, and the number of points.
    warm_start : EpochSolution, optional
        EpochSolution of a model with the same nodes and states, any weights: its points are used again, unless they
        are many more than it takes without (three to six states). Bounds are computed afresh, so a bad start costs
        time, never correctness.
    report : callable, optional
        Called with a line when kernels have to be compiled, which takes seconds, once per installation; by default
        the line goes to the logger "solvers", as information.

    Raises
    ------
    SolverError
        If an argument makes no sense, or the warm start belongs to another kind of model.

    Notes
    -----
    Ctrl-C ends it with what the last sweep left, `ended` "interrupted"; before the first one it is raised.

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
    if time_limit is not None and not time_limit > 0.0:
        raise SolverError(f"time_limit must be a positive number of seconds, got {time_limit}")
    if report is None and _log.isEnabledFor(logging.INFO):
        report = _log.info
    with contextlib.nullcontext() if report is None else compilation_told(report):
        limits = _Limits(gap, max_sweeps, max_points, math.inf if time_limit is None else time_limit, progress)
        return _solve(model, w, limits, warm_start)


class _Limits(NamedTuple):
    """When to stop, and who hears how it goes."""

    gap: float
    max_sweeps: int
    max_points: int
    time_limit: float
    progress: Callable[[Round], None] | None


def _solve(
    model: EpochModel, w: NDArray[np.float64], limits: _Limits, warm_start: EpochSolution | None
) -> EpochSolution:
    from solvers import _epoch_kernels as _kernels
    from solvers._epoch_points import first_mesh, more_points

    begin = time.monotonic()
    m = kernel_model(model, w)
    e, b = room_for(m)
    old = None if warm_start is None else _mesh_of(warm_start, model)
    mesh = first_mesh(m, model) if old is None else old
    live = model.table_of >= 0
    z: Bounds | None = None
    rounds: tuple[Round, ...] = ()
    try:
        while True:
            at = time.monotonic()
            new = _bounds(mesh, model)
            _kernels.sweep(m.fixed, m, new, e, b, True)
            took = time.monotonic() - at
            low, up = _value_at(new, 0, model.start)
            there = Round(low, max(low, up), int(np.diff(mesh.offset)[live].sum()))
            z, rounds = new, (*rounds, there)
            if limits.progress is not None:
                limits.progress(there)
            if up - low <= limits.gap:
                ended: Ended = "gap reached"
                break
            if len(rounds) >= limits.max_sweeps:
                ended = "sweep limit"
                break
            elapsed = time.monotonic() - begin
            if elapsed >= limits.time_limit:
                ended = "time limit"
                break
            before = len(mesh.points)
            finer = more_points(
                m,
                z,
                e,
                b,
                model,
                gap=up - low,
                target=limits.gap,
                sweeps=len(rounds),
                room=limits.max_points - before,
                renew=old is not None and len(rounds) == 1,
            )
            if isinstance(finer, str):
                ended = finer
                break
            mesh = finer
            if time.monotonic() - begin + took * len(mesh.points) / before > limits.time_limit:
                ended = "time limit"
                break
    except KeyboardInterrupt:
        if z is None:
            raise
        ended = "interrupted"
    fresh = rounds[-1].n_points
    if warm_start is not None and old is not None and rounds[0].n_points > 0.5 * fresh:
        fresh = warm_start._fresh_points
    return _finish(model, w, m, z, ended, rounds, fresh)


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


def _mesh_of(solution: EpochSolution, model: EpochModel) -> Mesh | None:
    """Mesh to go on with; None where it has grown so much that a new one takes less."""
    other = solution.model
    if other.n_states != model.n_states or not np.array_equal(other.table_of >= 0, model.table_of >= 0):
        raise SolverError("the warm start belongs to a model with other nodes or states")
    z = solution._bounds
    if z.cells.child.size and solution.n_points > _STALE * solution._fresh_points:
        return None
    return Mesh(z.offset, z.points, z.cells)


def _bounds(mesh: Mesh, model: EpochModel) -> Bounds:
    """Room for both bounds at the given points."""
    P, S = mesh.points.shape
    return Bounds(
        offset=mesh.offset,
        points=mesh.points,
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
        cells=mesh.cells,
    )


def _value_at(z: Bounds, node: int, b: NDArray[np.float64]) -> tuple[float, float]:
    """Both bounds of a node that is not terminal at a belief (S,); as the kernels find them."""
    first, last = z.offset[node], z.offset[node + 1]
    low = float((z.vectors[first : first + z.n_vectors[node]] * b).sum(axis=1).max())
    points = z.points[first:last]
    if b.size == 2:
        piece = first + min(max(int(np.searchsorted(points[:, 1], b[1])) - 1, 0), points.shape[0] - 2)
        return low, float((z.chord[piece] * b).sum())
    if z.cells.child.size:
        cell, here = shares_at(z.cells, node, b)
        return low, float(here @ z.upper[z.cells.corner[cell]])
    shares = np.divide(b, points, out=np.full(points.shape, np.inf), where=points > 0.0)[b.size :].min(axis=1)
    drop = (shares * z.chord[first + b.size : last, 0]).min(initial=0.0)
    return low, float(b @ z.upper[first : first + b.size] + drop)


def _finish(
    model: EpochModel,
    weights: NDArray[np.float64],
    m: Model,
    z: Bounds,
    ended: Ended,
    rounds: tuple[Round, ...],
    fresh_points: int,
) -> EpochSolution:
    from solvers import _epoch_evaluation as _evaluation

    plan = int((z.vectors[: z.n_vectors[0]] @ model.start).argmax())
    components = np.zeros(model.n_components)
    mass = np.zeros(z.points.shape)
    mass[plan] = model.start
    taken = np.empty((model.n_signals, model.n_actions, model.n_states))
    _evaluation.start_components(m.fixed, m, z, mass, taken, model.reward, model.terminal, components)
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
        _fresh_points=fresh_points,
    )
