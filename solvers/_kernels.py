"""Compiled kernels of point-based value iteration; see `solvers.point_based` for the mathematics.

One backup (`_backup`) serves both bounds, every model and the execution of policies. The number of hidden
states enters only where a bound is *looked up* at a belief (`_look`, `_slot`) and where a
node's bounds are put in order for that (`_order_vectors`, `_order_upper`): with two states both bounds are
piecewise linear on [0, 1], and a lookup walks from where the last one ended; otherwise it scans.

Arrays of all nodes lie behind each other; node n owns `offset[n]:offset[n + 1]`. Terminal nodes own one slot.
"""
# mypy: disallow-untyped-decorators=False
# ruff: noqa: E741 (O is the number of observations)

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_compile: Any = numba.njit  # its type stubs do not know `_nrt`
njit = _compile(cache=True, nogil=True, error_model="numpy")
# The inner loops allocate nothing. Without the runtime that counts references to arrays (atomically, at each
# call) they are ten times as fast.
bare = _compile(cache=True, nogil=True, error_model="numpy", _nrt=False)
inlined = _compile(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)


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
    fixed: Any  # two states: a pair, whose length the compiler knows, so that it unrolls loops; otherwise ()


class Bounds(NamedTuple):
    """Both bounds at P belief points, and the plan behind each alpha-vector."""

    offset: Ints  # (N + 1,)
    points: Floats  # (P, S)
    upper: Floats  # (P,) upper bound at the point
    chord: Floats  # (P, S) two states: linear piece from this point to the next; else [0]: sawtooth drop
    n_vectors: Ints  # (N,)
    vectors: Floats  # (P, S)
    left: Ints  # (P,) two states: vector that is best at the point
    bend: Floats  # (P,) two states: share of state 1 above which, before the next point, the next one is; or 2
    witness: Ints  # (P,) the point whose backup gave the vector
    action: NDArray[np.int16]  # (P, K)
    follow: NDArray[np.int32]  # (P, K, O) vector of the child
    action_up: NDArray[np.int16]  # (P, K) greedy in the upper bound


@inlined
def _look(
    fixed: Any,
    points: Floats,
    upper: Floats,
    chord: Floats,
    vectors: Floats,
    left: Ints,
    bend: Floats,
    first: int,
    last: int,
    n: int,
    x: Floats,
    total: float,
    hint: int,
) -> tuple[int, int, float]:
    """Look up both bounds of a node at the unnormalised belief x of mass total.

    The node owns points first:last and n alpha-vectors. Returns the index of the best vector, the piece of the
    upper bound, where the next lookup should start, and the upper bound.
    """
    if len(fixed) == 2:
        piece = min(hint, last - first - 2)
        while piece < last - first - 2 and x[1] > points[first + piece + 1, 1] * total:
            piece += 1
        while piece > 0 and x[1] < points[first + piece, 1] * total:
            piece -= 1
        j = first + piece
        best = left[j] + (1 if x[1] > bend[j] * total else 0)
        return best, piece, x[0] * chord[j, 0] + x[1] * chord[j, 1]
    best = 0
    highest = -np.inf
    for i in range(n):
        value = 0.0
        for s in range(x.size):
            value += x[s] * vectors[first + i, s]
        if value > highest:
            highest = value
            best = i
    base = 0.0
    for s in range(x.size):
        base += x[s] * upper[first + s]
    lowest = 0.0
    piece = 0
    for j in range(first + x.size, last):
        drop = chord[j, 0]
        if drop * total >= lowest:
            continue  # the point's share of x is at most all of it
        share = np.inf
        for s in range(x.size):
            if points[j, s] > 0.0:
                share = min(share, x[s] / points[j, s])
                if drop * share >= lowest:
                    break
        if drop * share < lowest:
            lowest = drop * share
            piece = j - first
    return best, piece, base + lowest


@njit
def _order_vectors(m: Model, z: Bounds, node: int) -> None:
    """Drop alpha-vectors that are nowhere best; with two states, order them and find where each is best."""
    first = z.offset[node]
    n = z.n_vectors[node]
    S = z.points.shape[1]
    kept = 0
    edge = np.empty(n)  # two states: where the next vector becomes better
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
                if cross <= (edge[kept - 2] if kept > 1 else 0.0):
                    kept -= 1
                    continue
                if cross >= 1.0:
                    keep = False
                else:
                    edge[kept - 1] = cross
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
    if S == 2:
        i = 0
        for p in range(first, z.offset[node + 1] - 1):
            while i + 1 < kept and z.points[p, 1] > edge[i]:
                i += 1
            z.left[p] = i
            z.bend[p] = edge[i] if i + 1 < kept and edge[i] < z.points[p + 1, 1] else 2.0


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
def _room(m: Model, components: int) -> tuple[Floats, Ints, Floats, Ints, Ints]:
    """Room for one node's open epoch, see `_open`."""
    K, A, O, S = m.joint.shape[1:5]
    return (
        np.empty((K, A, S, components)),
        np.zeros(K * A + 1, np.int64),
        np.empty((K * A * O, S, S)),
        np.empty(K * A * O, np.int64),
        np.empty(K * A * O, np.int64),
    )


@njit
def _open(
    m: Model,
    reward: Floats,
    terminal: Floats,
    node: int,
    folded: Floats,
    begin: Ints,
    move: Floats,
    child: Ints,
    seen: Ints,
) -> None:
    """Lay out the epoch of a node for the loops over beliefs.

    What follows in terminal nodes, where both bounds are linear, is added to the rewards: folded (K, A, S, D).
    The other outcomes of signal k and action a are begin[k A + a]:begin[k A + a + 1]: discounted probabilities
    move (L, S, S), next node child (L,), or -1 - node if it is impossible, and observation seen (L,).
    """
    t = m.table_of[node]
    K, A, O, S = m.joint.shape[1:5]
    D = folded.shape[3]
    n = 0
    for k in range(K):
        for a in range(A):
            for s in range(S):
                for d in range(D):
                    folded[k, a, s, d] = reward[t, k, a, s, d]
            for o in range(O):
                after = m.children[node, m.successor[t, k, a, o]]
                if m.table_of[after] < 0:
                    for s in range(S):
                        for s2 in range(S):
                            p = m.discount * m.joint[t, k, a, o, s, s2]
                            if p > 0.0:
                                for d in range(D):
                                    folded[k, a, s, d] += p * terminal[after, s2, d]
                else:
                    total = 0.0
                    for s in range(S):
                        for s2 in range(S):
                            move[n, s, s2] = m.discount * m.joint[t, k, a, o, s, s2]
                            total += move[n, s, s2]
                    child[n] = after if total > 0.0 else -1 - after
                    seen[n] = o
                    n += 1
            begin[k * A + a + 1] = n


@inlined
def _push(fixed: Any, move: Floats, row: int, b: Floats, x: Floats) -> float:
    """Unnormalised, discounted next belief x; returns its mass."""
    S = len(fixed) if len(fixed) > 0 else b.size
    total = 0.0
    for s2 in range(S):
        value = 0.0
        for s in range(S):
            value += b[s] * move[row, s, s2]
        x[s2] = value
        total += value
    return total


@bare
def _backup(
    fixed: Any,
    tie: float,
    folded: Floats,
    begin: Ints,
    move: Floats,
    child: Ints,
    seen: Ints,
    offset: Ints,
    points: Floats,
    upper: Floats,
    chord: Floats,
    n_vectors: Ints,
    vectors: Floats,
    left: Ints,
    bend: Floats,
    b: Floats,
    signals: tuple[int, int],
    x: Floats,
    at_low: Ints,
    at_up: Ints,
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    action_up: NDArray[np.int16],
    values: Floats,
) -> tuple[float, float]:
    """Both bounds of an open epoch at b, backed up from the children; writes the plan of the lower one.

    The sums go over signals[0]:signals[1]. action (K,) and follow (K, O) are the plan; action_up (K,) is greedy
    in the upper bound; values (A,) are the lower values after the last signal. Among actions that differ by no
    more than the tie tolerance, the one with the lowest index is taken. at_low, at_up (A, O) remember where
    the lookups ended: signals in order of likelihood ratio make them short.
    """
    A = folded.shape[1]
    S = len(fixed) if len(fixed) > 0 else b.size
    mass = 0.0
    for s in range(S):
        mass += b[s]
    tie *= mass
    at_low[:] = 0
    at_up[:] = 0
    low_sum = 0.0
    up_sum = 0.0
    for k in range(signals[0], signals[1]):
        best_low = -np.inf
        best_up = -np.inf
        most_up = -np.inf
        choice = 0
        for a in range(A):
            low = 0.0
            for s in range(S):
                low += b[s] * folded[k, a, s, 0]
            up = low
            for j in range(begin[k * A + a], begin[k * A + a + 1]):
                after = child[j]
                if after < 0:
                    continue
                total = _push(fixed, move, j, b, x)
                o = seen[j]
                first = offset[after]
                best, piece, value = _look(
                    fixed, points, upper, chord, vectors, left, bend,
                    first, offset[after + 1], n_vectors[after], x, total, at_up[a, o],
                )  # fmt: skip
                at_low[a, o] = best
                at_up[a, o] = piece
                for s in range(S):
                    low += x[s] * vectors[first + best, s]
                up += value
            values[a] = low
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
        for o in range(follow.shape[1]):
            follow[k, o] = 0
        for j in range(begin[k * A + choice], begin[k * A + choice + 1]):
            after = child[j]
            if after < 0:  # impossible here, perhaps not in another model: the vector last used
                after = -1 - after
            follow[k, seen[j]] = min(at_low[choice, seen[j]], n_vectors[after] - 1)
    return low_sum, up_sum


@bare
def _assemble(
    fixed: Any,
    folded: Floats,
    begin: Ints,
    move: Floats,
    child: Ints,
    seen: Ints,
    offset: Ints,
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    vectors: Floats,
    out: Floats,
) -> None:
    """Value of one plan of an open epoch, out (S, D), from the children's vectors (P, S, D)."""
    K, A, S, D = folded.shape
    if len(fixed) > 0:
        S = len(fixed)
    for s in range(S):
        for d in range(D):
            out[s, d] = 0.0
    for k in range(K):
        a = action[k]
        for s in range(S):
            for d in range(D):
                out[s, d] += folded[k, a, s, d]
        for j in range(begin[k * A + a], begin[k * A + a + 1]):
            if child[j] < 0:
                continue
            row = offset[child[j]] + follow[k, seen[j]]
            for s in range(S):
                for s2 in range(S):
                    p = move[j, s, s2]
                    if p > 0.0:
                        for d in range(D):
                            out[s, d] += p * vectors[row, s2, d]


@njit
def sweep(m: Model, z: Bounds, improve: bool) -> None:
    """Back up both bounds at every point, from the last node to the first.

    Without `improve`, only recover the plan behind every alpha-vector from its witness; bounds stay as they are.
    """
    fixed = m.fixed
    K, A, O, S = m.joint.shape[1:5]
    reward = m.reward.reshape((*m.reward.shape, 1))
    terminal = m.terminal.reshape((*m.terminal.shape, 1))
    folded, begin, move, child, seen = _room(m, 1)
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    values = np.zeros(A)
    offset, points, upper, chord = z.offset, z.points, z.upper, z.chord
    n_vectors, vectors, left, bend = z.n_vectors, z.vectors, z.left, z.bend
    below = vectors.reshape((*vectors.shape, 1))
    for node in range(m.table_of.size - 1, -1, -1):
        first = offset[node]
        if m.table_of[node] < 0:
            vectors[first] = m.terminal[node]
            z.witness[first] = first
            n_vectors[node] = 1
            continue
        _open(m, reward, terminal, node, folded, begin, move, child, seen)
        for p in range(first, offset[node + 1] if improve else first + n_vectors[node]):
            at = p if improve else z.witness[p]
            both = _backup(
                fixed, m.tie, folded, begin, move, child, seen,
                offset, points, upper, chord, n_vectors, vectors, left, bend,
                points[at], (0, K), x, at_low, at_up, z.action[p], z.follow[p], z.action_up[p], values,
            )  # fmt: skip
            if improve:
                upper[p] = both[1]
                _assemble(fixed, folded, begin, move, child, seen, offset, z.action[p], z.follow[p], below, below[p])
                z.witness[p] = p
        if improve:
            n_vectors[node] = offset[node + 1] - first
            _order_vectors(m, z, node)
            _order_upper(z, node)


@njit
def value_at(fixed: Any, z: Bounds, node: int, b: Floats) -> tuple[float, float]:
    """Both bounds of a node that is not terminal."""
    first = z.offset[node]
    total = b.sum()
    best, _, up = _look(
        fixed, z.points, z.upper, z.chord, z.vectors, z.left, z.bend,
        first, z.offset[node + 1], z.n_vectors[node], b, total, 0,
    )  # fmt: skip
    low = 0.0
    for s in range(b.size):
        low += b[s] * z.vectors[first + best, s]
    return low, up


@bare
def _slot(fixed: Any, child: int, x: Floats, total: float, piece: int, first: Ints, used: Ints, mass: Floats) -> int:
    """Where beliefs like x are gathered: two states: the interval between points; else (nearly) equal beliefs."""
    if len(fixed) == 2:
        return int(first[child] + piece)
    nearest = -1
    least = np.inf
    for q in range(first[child], first[child] + used[child]):
        there = 0.0
        for s in range(x.size):
            there += mass[q, s]
        distance = 0.0
        for s in range(x.size):
            distance += abs(x[s] / total - mass[q, s] / there)
        if distance < least:
            least = distance
            nearest = q
    q = int(first[child] + used[child])
    if least > 1e-10 and q < first[child + 1]:
        used[child] += 1
        return q
    return nearest


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
) -> None:
    """Follow the upper-greedy actions from the start belief and see where the bounds differ.

    Beliefs are gathered in slots first[n]:first[n + 1]. mass (Q, S), weighted by discounted reach probability, is
    their sum with two states; otherwise all their weight lies on the one with the largest weighted gap. gap (Q,)
    is the sum of the weighted gaps; excess (Q,) how much of it does not come from the children, so that a point
    there would remove it.
    """
    fixed = m.fixed
    K, A, O, S = m.joint.shape[1:5]
    reward = m.reward.reshape((*m.reward.shape, 1))
    terminal = m.terminal.reshape((*m.terminal.shape, 1))
    folded, begin, move, child, seen = _room(m, 1)
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    action = np.zeros(K, np.int16)
    follow = np.zeros((K, O), np.int32)
    action_up = np.zeros(K, np.int16)
    values = np.zeros(A)
    used = np.zeros(m.table_of.size, np.int64)
    offset, points, upper, chord = z.offset, z.points, z.upper, z.chord
    n_vectors, vectors, left, bend = z.n_vectors, z.vectors, z.left, z.bend
    mass[:] = 0.0
    gap[:] = 0.0
    excess[:] = 0.0
    widest = np.zeros(gap.size)
    low, up = value_at(fixed, z, 0, start)
    piece = 0
    while len(fixed) == 2 and piece < offset[1] - 2 and start[1] > points[piece + 1, 1]:
        piece += 1
    q = _slot(fixed, 0, start, 1.0, piece, first, used, mass)
    mass[q] = start
    gap[q] = up - low
    for node in range(m.table_of.size):
        if m.table_of[node] < 0:
            continue
        if S == 2:
            used[node] = offset[node + 1] - offset[node] - 1
        _open(m, reward, terminal, node, folded, begin, move, child, seen)
        for q in range(first[node], first[node] + used[node]):
            if gap[q] <= negligible:
                continue
            b = mass[q]
            if len(fixed) == 2:  # greedy actions of the nearer end of the interval
                p = offset[node] + q - first[node]
                nearer = b[1] * 2.0 > (points[p, 1] + points[p + 1, 1]) * (b[0] + b[1])
                greedy = z.action_up[p + 1] if nearer else z.action_up[p]
            else:
                greedy = action_up
                _backup(
                    fixed, m.tie, folded, begin, move, child, seen,
                    offset, points, upper, chord, n_vectors, vectors, left, bend,
                    b, (0, K), x, at_low, at_up, action, follow, action_up, values,
                )  # fmt: skip
            excess[q] = gap[q]
            at_up[:] = 0
            for k in range(K):
                a = greedy[k]
                for j in range(begin[k * A + a], begin[k * A + a + 1]):
                    after = child[j]
                    if after < 0:
                        continue
                    total = _push(fixed, move, j, b, x)
                    if total <= 0.0:
                        continue
                    o = seen[j]
                    row = offset[after]
                    best, piece, up = _look(
                        fixed, points, upper, chord, vectors, left, bend,
                        row, offset[after + 1], n_vectors[after], x, total, at_up[a, o],
                    )  # fmt: skip
                    at_up[a, o] = piece
                    low = 0.0
                    for s in range(S):
                        low += x[s] * vectors[row + best, s]
                    if up <= low:
                        continue
                    excess[q] -= up - low
                    r = _slot(fixed, after, x, total, piece, first, used, mass)
                    if len(fixed) == 2:
                        mass[r, 0] += x[0]
                        mass[r, 1] += x[1]
                    else:  # off the points themselves sawtooth is loose: go on with a belief that is reached
                        there = 0.0
                        for s in range(S):
                            there += mass[r, s]
                        replace = up - low > widest[r]
                        for s in range(S):
                            mass[r, s] = (x[s] / total if replace else mass[r, s] / there) * (there + total)
                        widest[r] = max(widest[r], up - low)
                    gap[r] += up - low


@njit
def evaluate(
    m: Model,
    reward: Floats,
    terminal: Floats,
    offset: Ints,
    n_vectors: Ints,
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    out: Floats,
) -> None:
    """Reward components out (P, S, D) of every plan: reward (T, K, A, S, D), terminal (N, S, D)."""
    fixed = m.fixed
    folded, begin, move, child, seen = _room(m, reward.shape[4])
    for node in range(m.table_of.size - 1, -1, -1):
        first = offset[node]
        if m.table_of[node] >= 0:
            _open(m, reward, terminal, node, folded, begin, move, child, seen)
        for i in range(first, first + n_vectors[node]):
            if m.table_of[node] < 0:
                out[i] = terminal[node]
            else:
                _assemble(fixed, folded, begin, move, child, seen, offset, action[i], follow[i], out, out[i])


@njit
def action_values(m: Model, z: Bounds, node: int, beliefs: Floats, signals: Ints, out: Floats) -> None:
    """Lower-bound value out (B, A) of each action at beliefs (B, S) after signals (B,)."""
    fixed = m.fixed
    K, A, O, S = m.joint.shape[1:5]
    reward = m.reward.reshape((*m.reward.shape, 1))
    terminal = m.terminal.reshape((*m.terminal.shape, 1))
    folded, begin, move, child, seen = _room(m, 1)
    x = np.empty(S)
    at_low = np.zeros((A, O), np.int64)
    at_up = np.zeros((A, O), np.int64)
    action = np.zeros(K, np.int16)
    follow = np.zeros((K, O), np.int32)
    action_up = np.zeros(K, np.int16)
    _open(m, reward, terminal, node, folded, begin, move, child, seen)
    for i in range(beliefs.shape[0]):
        _backup(
            fixed, m.tie, folded, begin, move, child, seen,
            z.offset, z.points, z.upper, z.chord, z.n_vectors, z.vectors, z.left, z.bend,
            beliefs[i], (signals[i], signals[i] + 1), x, at_low, at_up, action, follow, action_up, out[i],
        )  # fmt: skip
