"""Compiled kernels of point-based value iteration; see `solvers.point_based` for the mathematics.

One backup (`_backup`) serves both bounds, every model and the execution of policies. The number of hidden
states enters only where a bound is *looked up* at a belief (`_best_vector`, `_upper`, `_slot`) and where a
node's bounds are put in order for that (`_order_vectors`, `_order_upper`): with two states both bounds are
piecewise linear on [0, 1], and a lookup walks from where the last one ended; otherwise it scans.

Arrays of all nodes lie behind each other; node n owns `offset[n]:offset[n + 1]`. Terminal nodes own one slot.
"""
# mypy: disallow-untyped-decorators=False

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
njit = numba.njit(cache=True, nogil=True, error_model="numpy")


class Model(NamedTuple):
    """An `EpochModel` for one weighting: N nodes, T tables, K signals, A actions, O observations, S states."""

    joint: Floats  # (T, K, A, O, S, S)
    reward: Floats  # (T, K, A, S), weighted
    successor: Ints  # (T, K, A, O)
    children: Ints  # (N, C)
    table_of: Ints  # (N,), -1: terminal
    terminal: Floats  # (N, S), weighted
    discount: float
    tie: float  # a later action must be better by more than this, per unit of probability


class Bounds(NamedTuple):
    """Both bounds at P belief points, and the plan behind each alpha-vector."""

    offset: Ints  # (N + 1,)
    points: Floats  # (P, S)
    upper: Floats  # (P,) upper bound at the point
    chord: Floats  # (P, S) two states: linear piece from this point to the next; else [0]: sawtooth drop
    n_vectors: Ints  # (N,)
    vectors: Floats  # (P, S)
    edge: Floats  # (P,) two states: share of state 1 above which the next vector is better
    witness: Ints  # (P,) the point whose backup gave the vector
    action: NDArray[np.int16]  # (P, K)
    follow: NDArray[np.int32]  # (P, K, O) vector of the child


@njit
def _best_vector(z: Bounds, node: int, x: Floats, total: float, hint: int) -> int:
    """Index of the best alpha-vector of `node` at the unnormalised belief x."""
    first = z.offset[node]
    n = z.n_vectors[node]
    if x.size == 2:
        i = min(hint, n - 1)
        while i + 1 < n and x[1] > z.edge[first + i] * total:
            i += 1
        while i > 0 and x[1] < z.edge[first + i - 1] * total:
            i -= 1
        return i
    best = 0
    best_value = -np.inf
    for i in range(n):
        value = 0.0
        for s in range(x.size):
            value += x[s] * z.vectors[first + i, s]
        if value > best_value:
            best_value = value
            best = i
    return best


@njit
def _upper(z: Bounds, node: int, x: Floats, total: float, hint: int) -> tuple[int, float]:
    """Piece of the upper bound of `node` at the unnormalised belief x, and its value there."""
    first = z.offset[node]
    if x.size == 2:
        n = z.offset[node + 1] - first - 1  # pieces
        i = min(hint, n - 1)
        while i + 1 < n and x[1] > z.points[first + i + 1, 1] * total:
            i += 1
        while i > 0 and x[1] < z.points[first + i, 1] * total:
            i -= 1
        return i, x[0] * z.chord[first + i, 0] + x[1] * z.chord[first + i, 1]
    base = 0.0
    for s in range(x.size):
        base += x[s] * z.upper[first + s]
    best = 0.0
    best_at = 0
    for j in range(first + x.size, z.offset[node + 1]):
        drop = z.chord[j, 0]
        if drop * total >= best:
            continue  # the point's share of x is at most all of it
        share = np.inf
        for s in range(x.size):
            if z.points[j, s] > 0.0:
                share = min(share, x[s] / z.points[j, s])
                if drop * share >= best:
                    break
        if drop * share < best:
            best = drop * share
            best_at = j - first
    return best_at, base + best


@njit
def _order_vectors(m: Model, z: Bounds, node: int) -> None:
    """Drop alpha-vectors that are nowhere best; with two states, order them and find where each is best."""
    first = z.offset[node]
    n = z.n_vectors[node]
    S = z.points.shape[1]
    kept = 0
    for i in range(first, first + n):
        keep = True
        if S == 2:
            while kept > 0:
                t = first + kept - 1
                turn = (z.vectors[i, 1] - z.vectors[i, 0]) - (z.vectors[t, 1] - z.vectors[t, 0])
                lead = (z.vectors[i, 0] + z.vectors[i, 1]) - (z.vectors[t, 0] + z.vectors[t, 1])
                if turn <= m.tie:  # parallel: the higher one stays, the earlier one if they are equal
                    if lead > 2 * m.tie:
                        kept -= 1
                        continue
                    keep = False
                    break
                cross = (z.vectors[t, 0] - z.vectors[i, 0]) / turn
                if cross <= (z.edge[t - 1] if kept > 1 else 0.0):
                    kept -= 1
                    continue
                if cross >= 1.0:
                    keep = False
                else:
                    z.edge[t] = cross
                break
        else:
            for j in range(first, first + kept):
                below = True
                for s in range(S):
                    if z.vectors[i, s] > z.vectors[j, s] + m.tie:
                        below = False
                        break
                if below:
                    keep = False
                    break
        if keep:
            k = first + kept
            z.vectors[k] = z.vectors[i]
            z.witness[k] = z.witness[i]
            z.action[k] = z.action[i]
            z.follow[k] = z.follow[i]
            kept += 1
    z.n_vectors[node] = kept


@njit
def _order_upper(z: Bounds, node: int) -> None:
    """Prepare the interpolation of the upper bound between the points of `node`."""
    first = z.offset[node]
    last = z.offset[node + 1]
    S = z.points.shape[1]
    if S == 2:
        for j in range(first, last - 1):
            slope = (z.upper[j + 1] - z.upper[j]) / (z.points[j + 1, 1] - z.points[j, 1])
            z.chord[j, 0] = z.upper[j] - slope * z.points[j, 1]
            z.chord[j, 1] = z.chord[j, 0] + slope
        return
    for j in range(first + S, last):
        base = 0.0
        for s in range(S):
            base += z.points[j, s] * z.upper[first + s]
        z.chord[j, 0] = min(0.0, z.upper[j] - base)


@njit
def _fold(m: Model, node: int, folded: Floats) -> None:
    """Add to the rewards of `node` what follows in terminal nodes: both bounds are linear there."""
    t = m.table_of[node]
    K, A, O, S = m.joint.shape[1:5]
    for k in range(K):
        for a in range(A):
            for s in range(S):
                folded[k, a, s] = m.reward[t, k, a, s]
            for o in range(O):
                child = m.children[node, m.successor[t, k, a, o]]
                if m.table_of[child] >= 0:
                    continue
                for s in range(S):
                    value = 0.0
                    for s2 in range(S):
                        value += m.joint[t, k, a, o, s, s2] * m.terminal[child, s2]
                    folded[k, a, s] += m.discount * value


@njit
def _push(m: Model, t: int, k: int, a: int, o: int, b: Floats, x: Floats) -> float:
    """Unnormalised next belief x = b M[k, a, o]; returns its mass."""
    total = 0.0
    for s2 in range(b.size):
        value = 0.0
        for s in range(b.size):
            value += b[s] * m.joint[t, k, a, o, s, s2]
        x[s2] = value
        total += value
    return total


@njit
def _lookahead(
    m: Model, z: Bounds, node: int, folded: Floats, k: int, a: int, b: Floats, x: Floats, at_low: Any, at_up: Any
) -> tuple[float, float]:
    """Lower and upper value of action a after signal k; at_low, at_up (A, O): where the lookups ended."""
    t = m.table_of[node]
    low = 0.0
    for s in range(b.size):
        low += b[s] * folded[k, a, s]
    up = low
    for o in range(m.joint.shape[3]):
        child = m.children[node, m.successor[t, k, a, o]]
        if m.table_of[child] < 0:
            continue
        total = _push(m, t, k, a, o, b, x)
        i = _best_vector(z, child, x, total, at_low[a, o])
        at_low[a, o] = i
        row = z.offset[child] + i
        value = 0.0
        for s in range(b.size):
            value += x[s] * z.vectors[row, s]
        low += m.discount * value
        at_up[a, o], value = _upper(z, child, x, total, at_up[a, o])
        up += m.discount * value
    return low, up


@njit
def _backup(
    m: Model,
    z: Bounds,
    node: int,
    folded: Floats,
    b: Floats,
    x: Floats,
    at_low: Any,
    at_up: Any,
    action: Any,
    follow: Any,
    action_up: Any,
) -> tuple[float, float]:
    """Both bounds of `node` at b, backed up from its children; writes the plan of the lower one.

    action (K,) and follow (K, O) are the plan; action_up (K,) is greedy in the upper bound. Among actions
    that differ by no more than the tie tolerance, the one with the lowest index is taken.
    """
    K, A, O = m.joint.shape[1:4]
    tie = m.tie * b.sum()
    at_low[:] = 0
    at_up[:] = 0
    low_sum = 0.0
    up_sum = 0.0
    for k in range(K):
        best_low = -np.inf
        best_up = -np.inf
        most_up = -np.inf
        choice = 0
        for a in range(A):
            low, up = _lookahead(m, z, node, folded, k, a, b, x, at_low, at_up)
            if low > best_low + tie:
                best_low = low
                choice = a
            if up > best_up + tie:
                best_up = up
                action_up[k] = a
            most_up = max(most_up, up)
        low_sum += best_low
        up_sum += most_up
        action[k] = choice
        t = m.table_of[node]
        for o in range(O):
            child = m.children[node, m.successor[t, k, choice, o]]
            if m.table_of[child] < 0:
                follow[k, o] = 0
            else:  # where the belief has no mass, the vector last used there; it exists in this child
                follow[k, o] = min(at_low[choice, o], z.n_vectors[child] - 1)
    return low_sum, up_sum


@njit
def _assemble(
    m: Model, offset: Ints, node: int, action: Any, follow: Any, reward: Floats, below: Floats, out: Floats
) -> None:
    """Value of one plan: out (S, D) from rewards (T, K, A, S, D) and the children's vectors below (P, S, D)."""
    t = m.table_of[node]
    K = m.joint.shape[1]
    O, S = m.joint.shape[3:5]
    out[:] = 0.0
    for k in range(K):
        a = action[k]
        for s in range(S):
            for d in range(out.shape[1]):
                out[s, d] += reward[t, k, a, s, d]
        for o in range(O):
            row = offset[m.children[node, m.successor[t, k, a, o]]] + follow[k, o]
            for s in range(S):
                for s2 in range(S):
                    p = m.discount * m.joint[t, k, a, o, s, s2]
                    if p > 0.0:
                        for d in range(out.shape[1]):
                            out[s, d] += p * below[row, s2, d]


@njit
def sweep(m: Model, z: Bounds) -> None:
    """Back up both bounds at every point, from the last node to the first."""
    K, A, O, S = m.joint.shape[1:5]
    folded = np.empty((K, A, S))
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    action_up = np.zeros(K, np.int64)
    reward = m.reward.reshape(m.reward.shape + (1,))
    vectors = z.vectors.reshape(z.vectors.shape + (1,))
    for node in range(m.table_of.size - 1, -1, -1):
        first = z.offset[node]
        if m.table_of[node] < 0:
            z.vectors[first] = m.terminal[node]
            z.witness[first] = first
            z.n_vectors[node] = 1
            continue
        _fold(m, node, folded)
        for p in range(first, z.offset[node + 1]):
            z.upper[p] = _backup(
                m, z, node, folded, z.points[p], x, at_low, at_up, z.action[p], z.follow[p], action_up
            )[1]
            _assemble(m, z.offset, node, z.action[p], z.follow[p], reward, vectors, vectors[p])
            z.witness[p] = p
        z.n_vectors[node] = z.offset[node + 1] - first
        _order_vectors(m, z, node)
        _order_upper(z, node)


@njit
def value_at(z: Bounds, node: int, b: Floats) -> tuple[float, float]:
    """Both bounds of a node that is not terminal."""
    row = z.offset[node] + _best_vector(z, node, b, b.sum(), 0)
    low = 0.0
    for s in range(b.size):
        low += b[s] * z.vectors[row, s]
    return low, _upper(z, node, b, b.sum(), 0)[1]


@njit
def _slot(
    z: Bounds, child: int, x: Floats, total: float, piece: int, first: Ints, used: Ints, mass: Floats
) -> int:
    """Where beliefs like x are gathered: two states: the interval between points; else equal beliefs."""
    if x.size == 2:
        return first[child] + piece
    for q in range(first[child], first[child] + used[child]):
        there = mass[q].sum()
        same = True
        for s in range(x.size):
            if abs(x[s] * there - mass[q, s] * total) > 1e-10 * there * total:
                same = False
                break
        if same:
            return q
    q = first[child] + used[child]
    if q == first[child + 1]:  # full: the lightest makes room, if it is lighter
        q -= 1
        for r in range(first[child], q):
            if mass[r].sum() < mass[q].sum():
                q = r
        if mass[q].sum() >= total:
            return -1
        mass[q] = 0.0
        return q
    used[child] += 1
    return q


@njit
def explore(
    m: Model,
    z: Bounds,
    start: Floats,
    negligible: float,
    first: Ints,
    mass: Floats,
    gap: Floats,
    excess: Floats,
    cross: Floats,
) -> None:
    """Follow the upper-greedy actions from the start belief and see where the bounds differ.

    Beliefs are gathered in slots first[n]:first[n + 1]. mass (Q, S) is their sum, weighted by discounted
    reach probability; gap (Q,) the sum of the weighted gaps; excess (Q,) how much of it a point there would
    remove, that is, what does not come from the children; cross (Q,) with two states: where the lower bound
    bends in the interval, or -1.
    """
    K, A, O, S = m.joint.shape[1:5]
    folded = np.empty((K, A, S))
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    action = np.zeros(K, np.int16)
    follow = np.zeros((K, O), np.int32)
    action_up = np.zeros(K, np.int64)
    used = np.zeros(m.table_of.size, np.int64)
    mass[:] = 0.0
    gap[:] = 0.0
    excess[:] = 0.0
    cross[:] = -1.0
    piece = _upper(z, 0, start, 1.0, 0)[0]
    q = _slot(z, 0, start, 1.0, piece, first, used, mass)
    mass[q] = start
    low, up = value_at(z, 0, start)
    gap[q] = up - low
    for node in range(m.table_of.size):
        if m.table_of[node] < 0:
            continue
        t = m.table_of[node]
        if S == 2:
            used[node] = z.offset[node + 1] - z.offset[node] - 1
        _fold(m, node, folded)
        for q in range(first[node], first[node] + used[node]):
            if gap[q] <= negligible:
                continue
            low, up = _backup(
                m, z, node, folded, mass[q], x, at_low, at_up, action, follow, action_up
            )
            excess[q] = gap[q] - (up - low)
            if S == 2:
                p = z.offset[node] + q - first[node]
                i = _best_vector(z, node, z.points[p], 1.0, 0)
                if i + 1 < z.n_vectors[node]:
                    bend = z.edge[z.offset[node] + i]
                    if z.points[p, 1] < bend and bend < z.points[p + 1, 1]:
                        cross[q] = bend
            at_low[:] = 0
            at_up[:] = 0
            for k in range(K):
                a = action_up[k]
                for o in range(O):
                    child = m.children[node, m.successor[t, k, a, o]]
                    if m.table_of[child] < 0:
                        continue
                    total = _push(m, t, k, a, o, mass[q], x)
                    if total <= 0.0:
                        continue
                    at_low[a, o] = _best_vector(z, child, x, total, at_low[a, o])
                    at_up[a, o], up = _upper(z, child, x, total, at_up[a, o])
                    row = z.offset[child] + at_low[a, o]
                    low = 0.0
                    for s in range(S):
                        low += x[s] * z.vectors[row, s]
                    weighted = m.discount * (up - low)
                    if weighted <= 0.0:
                        continue
                    r = _slot(z, child, x, total, at_up[a, o], first, used, mass)
                    if r < 0:
                        continue
                    if mass[r].sum() == 0.0:
                        gap[r] = 0.0
                    for s in range(S):
                        mass[r, s] += m.discount * x[s]
                    gap[r] += weighted


@njit
def replan(m: Model, z: Bounds) -> None:
    """Recover the plan behind every alpha-vector from its witness; the vectors stay as they are."""
    K, A, O, S = m.joint.shape[1:5]
    folded = np.empty((K, A, S))
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    action_up = np.zeros(K, np.int64)
    for node in range(m.table_of.size - 1, -1, -1):
        first = z.offset[node]
        if m.table_of[node] < 0:
            continue
        _fold(m, node, folded)
        for i in range(first, first + z.n_vectors[node]):
            _backup(
                m, z, node, folded, z.points[z.witness[i]], x, at_low, at_up, z.action[i], z.follow[i], action_up
            )


@njit
def evaluate(
    m: Model,
    reward: Floats,
    terminal: Floats,
    offset: Ints,
    n_vectors: Ints,
    action: Any,
    follow: Any,
    out: Floats,
) -> None:
    """Reward components out (P, S, D) of every plan of a policy graph: reward (T, K, A, S, D), terminal (N, S, D)."""
    for node in range(m.table_of.size - 1, -1, -1):
        first = offset[node]
        for i in range(first, first + n_vectors[node]):
            if m.table_of[node] < 0:
                out[i] = terminal[node]
            else:
                _assemble(m, offset, node, action[i], follow[i], reward, out, out[i])


@njit
def action_values(m: Model, z: Bounds, node: int, beliefs: Floats, signals: Ints, out: Floats) -> None:
    """Lower-bound value out (B, A) of each action at beliefs (B, S) after signals (B,)."""
    K, A, O, S = m.joint.shape[1:5]
    folded = np.empty((K, A, S))
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    _fold(m, node, folded)
    for i in range(beliefs.shape[0]):
        for a in range(A):
            out[i, a] = _lookahead(m, z, node, folded, signals[i], a, beliefs[i], x, at_low, at_up)[0]
