"""Compiled heuristic search: a graph of beliefs with both bounds; see `solvers.search` for the mathematics.

All arrays grow in Python, between calls: a call works until its budget of work is used or some array may be too short
for the next step, and says which. Trials go on where the last call stopped, so the result does not depend on budgets.

*Beliefs* are sparse, on the states of their class, and stand once each: a hash table finds those seen before.
*Vectors* lie in blocks of `LANES`, state by state (``pool[block_at[block] + local state * LANES + lane]``), so that
a belief's products with all vectors of a block are sums of contiguous pieces. The blocks of a class are a chain.
*Points* of the upper bound are a chain for each class, with the drop below the interpolation of the corners alone. A
point whose bound falls again moves to the end. So both chains only grow at the end, and a belief that remembers where
it looked last needs to look only at what is new.
"""
# mypy: disallow-untyped-decorators=False
# ruff: noqa: E741 (O is the number of observations)

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from solvers._search_model import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(**_INNER)

LANES = 16
SAME = 1e-12  # beliefs that differ by less, everywhere, are one
LEAST = 1e-12  # smaller shares of a belief are dropped, and accounted for in the upper bound


class Beliefs(NamedTuple):
    """The graph: N beliefs, of which X are expanded, with E edges to what follows."""

    start: Ints  # (N + 1,) support of belief n is start[n]:start[n + 1]
    state: NDArray[np.int32]
    prob: Floats
    cls: NDArray[np.int32]  # (N,)
    mask: NDArray[np.uint64]  # (N,) bit (local state mod 64) of every state of the support
    corner: Floats  # (N,) interpolation of the corners
    low: Floats  # (N,)
    up: Floats  # (N,)
    vector: Ints  # (N,) vector that gives low; -1 before the first look
    low_seen: Ints  # (N,) last vector of the class when low was found; -1
    up_seen: Ints  # (N,) last point of the class when up was found; -1 none, -2 not yet looked at all
    point: Ints  # (N,) its point, or -1
    place: Ints  # (N,) place in the hull, or -1
    hull_seen: Ints  # (N,) updates of the class's points when the hull was last looked at
    node: Ints  # (N,) number among expanded beliefs, or -1
    expanded: Ints  # (X,) the belief
    edges: Ints  # (X * A,) first edge of the action, or -1: not expanded
    edges_end: Ints  # (X * A,)
    gain: Floats  # (X * A,) reward, and what dropped shares may be worth
    action_up: Floats  # (X * A,) upper bound of the action
    child: Ints  # (E,)
    seen: NDArray[np.int32]  # (E,) observation
    weight: Floats  # (E,) discounted probability
    table: Ints  # (power of two,) beliefs by hash, or -1


class Vectors(NamedTuple):
    """Alpha-vectors of all classes, in blocks."""

    pool: Floats
    block_at: Ints  # (B,) where the block begins in the pool
    following: Ints  # (B,) next block of the class, or -1
    first: Ints  # (C,) first block
    last: Ints  # (C,) last block
    last_vector: Ints  # (C,) newest vector: block * LANES + lane
    default: Ints  # (C,) vector for observations that the belief rules out
    action: NDArray[np.int16]  # (B * LANES,)


class Points(NamedTuple):
    """Points of the upper bound, chained for each class."""

    belief: Ints
    drop: Floats  # below the corners' interpolation; 0: dropped out
    following: Ints
    before: Ints
    first: Ints  # (C,)
    last: Ints  # (C,)
    updates: Ints  # (C,)


class Hull(NamedTuple):
    """The points of classes with few states once more, in blocks like vectors, for linear programs over them."""

    pool: Floats  # shares
    block_at: Ints
    following: Ints
    first: Ints  # (C,) first block, or -1
    last: Ints  # (C,)
    newest: Ints  # (C,) newest place: block * LANES + lane
    worth: Floats  # (B * LANES,) minus the drop
    mask: NDArray[np.uint64]  # (B * LANES,)


class Room(NamedTuple):
    """Scratch."""

    inverse: Floats  # (M, M) of the basis, M: states of the largest class with a hull
    basic: Floats  # (M,)
    column: Floats  # (M,)
    price: Floats  # (M,)
    basis: Ints  # (M,)

    dense: Floats  # (S,) a belief or an unnormalised successor; zero between uses
    after: Floats  # (S,) what follows per state
    mark: Ints  # (S,)
    touched: Ints  # (S,)
    by_seen: Ints  # (O + 1,)
    seen: Ints  # (O,)
    item_state: Ints  # (I,) I: shares of all successors of one belief and action, at most
    item_prob: Floats  # (I,)
    chosen: Ints  # (O,) vector after each observation
    lanes: Floats  # (LANES,)
    actions: Floats  # (A,)
    path: Ints  # (depth,) beliefs of the trial
    count: Ints  # see below
    number: Floats  # see below


# Places in `Room.count`.
N_BELIEFS, N_SHARES, N_EXPANDED, N_EDGES, N_BLOCKS, N_POOL, N_POINTS, DEPTH, GOING_UP, N_TRIALS, TICK, WORK, N_BACKUPS, H_BLOCKS, H_POOL, N_HULLS, N_PIVOTS = (
    range(17)
)
N_COUNTS = 17
# Places in `Room.number`.
TARGET, TIE, ZETA, SLACK, AGAIN = range(5)
N_NUMBERS = 5
# What a call comes back with.
BUDGET, CLOSED, GROW = range(3)


class State(NamedTuple):
    """All that a search has."""

    m: Table
    q: Floats  # (S, A) fast informed bound
    b: Beliefs
    v: Vectors
    p: Points
    h: Hull
    room: Room


@inner
def _corner(q: Floats, s: int) -> float:
    best = q[s, 0]
    for a in range(1, q.shape[1]):
        best = max(best, q[s, a])
    return best


@inner
def _same(b: Beliefs, n: int, cls: int, state: Any, prob: Any, first: int, size: int) -> bool:
    """Whether belief n is, up to rounding, the one with this support."""
    if b.cls[n] != cls or b.start[n + 1] - b.start[n] != size:
        return False
    at = b.start[n]
    for k in range(size):
        if b.state[at + k] != state[first + k] or abs(b.prob[at + k] - prob[first + k]) > SAME:
            return False
    return True


@inner
def _hash(cls: int, state: Any, prob: Any, first: int, size: int) -> int:
    h = np.uint64(cls) * np.uint64(0x9E3779B97F4A7C15)
    for k in range(first, first + size):
        h ^= np.uint64(state[k]) + np.uint64(int(prob[k] * 17179869184.0 + 0.5)) * np.uint64(0xD6E8FEB86659FD93)
        h *= np.uint64(0x100000001B3)
        h ^= h >> np.uint64(29)
    return np.int64(h >> np.uint64(2))


@inner
def _find(z: State, cls: int, state: Any, prob: Any, first: int, size: int) -> int:
    """Number of the belief with this support, which is added if it is new."""
    b, count = z.b, z.room.count
    table = b.table
    last = table.size - 1
    slot = _hash(cls, state, prob, first, size) & last
    while table[slot] >= 0:
        if _same(b, table[slot], cls, state, prob, first, size):
            return table[slot]
        slot = (slot + 1) & last
    n = count[N_BELIEFS]
    table[slot] = n
    at = b.start[n]
    mask = np.uint64(0)
    corner = 0.0
    here = z.m.class_start[cls]
    for k in range(size):
        s = state[first + k]
        b.state[at + k] = s
        b.prob[at + k] = prob[first + k]
        mask |= np.uint64(1) << np.uint64((s - here) & 63)
        corner += prob[first + k] * _corner(z.q, s)
    b.start[n + 1] = at + size
    b.cls[n] = cls
    b.mask[n] = mask
    b.corner[n] = corner
    b.up[n] = corner
    b.vector[n] = -1
    b.low_seen[n] = -1
    b.up_seen[n] = -2
    b.point[n] = -1
    b.place[n] = -1
    b.hull_seen[n] = -1
    b.node[n] = -1
    count[N_BELIEFS] = n + 1
    count[N_SHARES] = at + size
    return n


@inner
def _look_low(z: State, n: int) -> None:
    """Bring the lower bound at a belief up to date."""
    b, v, lanes = z.b, z.v, z.room.lanes
    cls = b.cls[n]
    newest = v.last_vector[cls]
    seen = b.low_seen[n]
    if seen == newest:
        return
    first, end = b.start[n], b.start[n + 1]
    here = z.m.class_start[cls]
    pool, state, prob = v.pool, b.state, b.prob
    block = v.first[cls] if seen < 0 else seen // LANES
    best = b.low[n]
    vector = b.vector[n]
    if vector < 0:
        best = -np.inf
    work = 0
    while block >= 0:
        base = v.block_at[block]
        for j in range(LANES):
            lanes[j] = 0.0
        for k in range(first, end):
            at = base + (state[k] - here) * LANES
            p = prob[k]
            for j in range(LANES):
                lanes[j] += p * pool[at + j]
        lane_count = newest - block * LANES + 1 if block == v.last[cls] else LANES
        for j in range(lane_count):
            if lanes[j] > best:
                best = lanes[j]
                vector = block * LANES + j
        block = v.following[block]
        work += end - first
    b.low[n] = best
    b.vector[n] = vector
    b.low_seen[n] = newest
    z.room.count[WORK] += work


@inner
def _look_up(z: State, n: int) -> None:
    """Bring the upper bound at a belief up to date: the fast informed bound, and the points that are new."""
    b, p, dense = z.b, z.p, z.room.dense
    cls = b.cls[n]
    seen = b.up_seen[n]
    newest = p.last[cls]
    if seen == newest:
        return
    first, end = b.start[n], b.start[n + 1]
    if seen == -2:
        A = z.q.shape[1]
        actions = z.room.actions
        for a in range(A):
            actions[a] = 0.0
        for k in range(first, end):
            for a in range(A):
                actions[a] += b.prob[k] * z.q[b.state[k], a]
        best = -np.inf
        for a in range(A):
            best = max(best, actions[a])
        b.up[n] = min(b.up[n], best)
    e = p.first[cls] if seen < 0 else p.following[seen]
    work = end - first
    if e >= 0:
        for k in range(first, end):
            dense[b.state[k]] = b.prob[k]
        outside = ~b.mask[n]
        gain = b.up[n] - b.corner[n]
        while e >= 0:
            drop = p.drop[e]
            if drop < gain:
                i = p.belief[e]
                if not b.mask[i] & outside:
                    ratio = 1.0
                    least = gain / drop
                    for k in range(b.start[i], b.start[i + 1]):
                        r = dense[b.state[k]] / b.prob[k]
                        if r < ratio:
                            ratio = r
                            if r <= least:
                                break
                        work += 1
                    if ratio > least:
                        gain = ratio * drop
            e = p.following[e]
            work += 1
        for k in range(first, end):
            dense[b.state[k]] = 0.0
        b.up[n] = min(b.up[n], b.corner[n] + gain)
    b.up_seen[n] = newest
    z.room.count[WORK] += work
    if z.h.first[cls] >= 0 and z.p.updates[cls] > b.hull_seen[n] + b.hull_seen[n] * z.room.number[AGAIN]:
        b.hull_seen[n] = z.p.updates[cls]
        _look_hull(z, n)


@inner
def _look_hull(z: State, n: int) -> None:
    """Lower the upper bound at a belief to the convex hull of points and corners.

    With the worth w_i of point b_i, what it lies below the corners' interpolation: max Σ λ_i w_i over λ ≥ 0 with
    Σ λ_i b_i ≤ b; what is left is made of corners. Simplex from λ = 0, with early end: any λ gives an upper bound, and
    no λ is better by more than the largest reduced worth, since Σ λ_i ≤ 1.
    """
    b, h, room = z.b, z.h, z.room
    inverse, basic, column, price, basis, lanes = room.inverse, room.basic, room.column, room.price, room.basis, room.lanes
    cls = b.cls[n]
    first = b.start[n]
    size = b.start[n + 1] - first
    if size == 1:
        return
    here = z.m.class_start[cls]
    outside = ~b.mask[n]
    for i in range(size):
        for j in range(size):
            inverse[i, j] = 0.0
        inverse[i, i] = 1.0
        basic[i] = b.prob[first + i]
        price[i] = 0.0
        basis[i] = -1
    gap = b.up[n] - b.low[n] if b.vector[n] >= 0 else 1e300
    least = max(room.number[TIE], room.number[SLACK] * gap)
    total = 0.0
    room.count[N_HULLS] += 1
    work = size * size // 16
    for pivots in range(3 * size + 20):
        # The point with the largest reduced worth.
        entering = -1
        most = least
        block = h.first[cls]
        while block >= 0:
            base = h.block_at[block]
            for j in range(LANES):
                lanes[j] = h.worth[block * LANES + j]
            for i in range(size):
                if price[i] != 0.0:
                    at = base + (b.state[first + i] - here) * LANES
                    y = price[i]
                    for j in range(LANES):
                        lanes[j] -= y * h.pool[at + j]
                    work += 1
            for j in range(LANES):
                if lanes[j] > most and not h.mask[block * LANES + j] & outside:
                    most = lanes[j]
                    entering = block * LANES + j
            block = h.following[block]
            work += 2
        if entering < 0:
            break
        at = h.block_at[entering // LANES] + entering % LANES
        for i in range(size):
            column[i] = 0.0
        for j in range(size):
            share = h.pool[at + (b.state[first + j] - here) * LANES]
            if share != 0.0:
                for i in range(size):
                    column[i] += inverse[i, j] * share
        row = -1
        step = np.inf
        for i in range(size):
            if column[i] > 1e-10 and basic[i] < step * column[i]:
                step = basic[i] / column[i]
                row = i
        if row < 0:
            break
        step = max(step, 0.0)
        for j in range(size):
            inverse[row, j] /= column[row]
        for i in range(size):
            if i != row and column[i] != 0.0:
                f = column[i]
                basic[i] -= f * step
                for j in range(size):
                    inverse[i, j] -= f * inverse[row, j]
        basic[row] = step
        basis[row] = entering
        for j in range(size):
            price[j] += most * inverse[row, j]
        total += most * step
        room.count[N_PIVOTS] += 1
        work += size * size // 4
    room.count[WORK] += work
    if total <= 0.0:
        return
    # Whatever rounding did: the weights, clipped, scaled to fit into the belief, and what they are worth.
    worth = 0.0
    for i in range(size):
        column[i] = 0.0
    for i in range(size):
        if basis[i] >= 0 and basic[i] > 0.0:
            worth += basic[i] * h.worth[basis[i]]
            at = h.block_at[basis[i] // LANES] + basis[i] % LANES
            for j in range(size):
                column[j] += basic[i] * h.pool[at + (b.state[first + j] - here) * LANES]
    scale = 1.0
    for j in range(size):
        if column[j] * scale > b.prob[first + j]:
            scale = b.prob[first + j] / column[j]
    b.up[n] = min(b.up[n], b.corner[n] - scale * worth)


@inner
def _add_to_hull(z: State, n: int) -> None:
    """Put a point into its class's hull, or lower it there."""
    b, h, count = z.b, z.h, z.room.count
    cls = b.cls[n]
    if h.first[cls] == -2:
        return
    place = b.place[n]
    if place < 0:
        place = h.newest[cls] + 1
        if place % LANES == 0:
            block = count[H_BLOCKS]
            count[H_BLOCKS] = block + 1
            size = (z.m.class_start[cls + 1] - z.m.class_start[cls]) * LANES
            h.block_at[block] = count[H_POOL]
            h.pool[count[H_POOL] : count[H_POOL] + size] = 0.0
            h.worth[block * LANES : block * LANES + LANES] = 0.0
            count[H_POOL] += size
            h.following[block] = -1
            if h.first[cls] < 0:
                h.first[cls] = block
            else:
                h.following[h.last[cls]] = block
            h.last[cls] = block
            place = block * LANES
        h.newest[cls] = place
        b.place[n] = place
        at = h.block_at[place // LANES] + place % LANES
        for k in range(b.start[n], b.start[n + 1]):
            h.pool[at + (b.state[k] - z.m.class_start[cls]) * LANES] = b.prob[k]
        h.mask[place] = b.mask[n]
    h.worth[place] = b.corner[n] - b.up[n]


@inner
def _expand(z: State, n: int) -> None:
    """Take a belief among the expanded ones; what follows is found when an action is looked at."""
    b, count = z.b, z.room.count
    A = z.m.reward.shape[0]
    x = count[N_EXPANDED]
    b.expanded[x] = n
    b.node[n] = x
    count[N_EXPANDED] = x + 1
    actions = b.action_up[x * A : x * A + A]
    actions[:] = 0.0
    b.edges[x * A : x * A + A] = -1
    for k in range(b.start[n], b.start[n + 1]):
        for a in range(A):
            actions[a] += b.prob[k] * z.q[b.state[k], a]
    count[WORK] += b.start[n + 1] - b.start[n]


@inner
def _expand_action(z: State, n: int, x: int, a: int) -> None:
    m, b, room = z.m, z.b, z.room
    count, dense, touched = room.count, room.dense, room.touched
    A = m.reward.shape[0]
    S = m.class_of.size
    gain = 0.0
    b.edges[x * A + a] = count[N_EDGES]
    n_touched = 0
    for k in range(b.start[n], b.start[n + 1]):
        s, share = b.state[k], b.prob[k]
        gain += share * m.reward[a, s]
        for j in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
            s2 = m.t_state[j]
            if dense[s2] == 0.0:
                touched[n_touched] = s2
                n_touched += 1
            dense[s2] += share * m.t_prob[j]
    touched[:n_touched].sort()
    # Shares by observation: count, lay out, fill.
    base = m.o_table[a] * S
    n_seen = 0
    for i in range(n_touched):
        for j in range(m.o_start[base + touched[i]], m.o_start[base + touched[i] + 1]):
            o = m.o_seen[j]
            if room.by_seen[o] == 0:
                room.seen[n_seen] = o
                n_seen += 1
            room.by_seen[o] += 1
    at = 0
    for i in range(n_seen):
        o = room.seen[i]
        size = room.by_seen[o]
        room.by_seen[o] = at
        at += size
    for i in range(n_touched):
        s2 = touched[i]
        for j in range(m.o_start[base + s2], m.o_start[base + s2 + 1]):
            o = m.o_seen[j]
            room.item_state[room.by_seen[o]] = s2
            room.item_prob[room.by_seen[o]] = dense[s2] * m.o_prob[j]
            room.by_seen[o] += 1
        dense[s2] = 0.0
    first = 0
    for i in range(n_seen):
        o = room.seen[i]
        end = room.by_seen[o]
        room.by_seen[o] = 0
        total = 0.0
        for k in range(first, end):
            total += room.item_prob[k]
        kept = 0.0
        to = first
        for k in range(first, end):
            if room.item_prob[k] > LEAST * total:
                room.item_state[to] = room.item_state[k]
                room.item_prob[to] = room.item_prob[k]
                kept += room.item_prob[k]
                to += 1
            else:
                gain += m.discount * room.item_prob[k] * max(0.0, _corner(z.q, room.item_state[k]))
        if kept > 0.0:
            for k in range(first, to):
                room.item_prob[k] /= kept
            e = count[N_EDGES]
            b.child[e] = _find(z, m.class_of[room.item_state[first]], room.item_state, room.item_prob, first, to - first)
            b.seen[e] = o
            b.weight[e] = m.discount * kept
            count[N_EDGES] = e + 1
        first = end
    b.gain[x * A + a] = gain
    b.edges_end[x * A + a] = count[N_EDGES]
    count[WORK] += 4 * at


@inner
def _action_up(z: State, x: int, a: int) -> float:
    """Upper bound of an action, from what follows."""
    b = z.b
    A = z.m.reward.shape[0]
    if b.edges[x * A + a] < 0:
        _expand_action(z, b.expanded[x], x, a)
    total = b.gain[x * A + a]
    for e in range(b.edges[x * A + a], b.edges_end[x * A + a]):
        _look_up(z, b.child[e])
        total += b.weight[e] * b.up[b.child[e]]
    if total < b.action_up[x * A + a]:
        b.action_up[x * A + a] = total
    return b.action_up[x * A + a]


@inner
def _action_low(z: State, x: int, a: int) -> float:
    """What the action is worth with the best vectors after it."""
    b = z.b
    A = z.m.reward.shape[0]
    total = b.gain[x * A + a]
    for e in range(b.edges[x * A + a], b.edges_end[x * A + a]):
        _look_low(z, b.child[e])
        total += b.weight[e] * b.low[b.child[e]]
    return total


@inner
def _best_up(z: State, x: int) -> int:
    """Action of the highest upper bound; only actions whose old bound is above it are looked at."""
    A = z.m.reward.shape[0]
    actions = z.b.action_up
    looked = -1
    while True:
        best = 0
        for a in range(1, A):
            if actions[x * A + a] > actions[x * A + best]:
                best = a
        if best == looked:
            return best
        before = actions[x * A + best]
        if _action_up(z, x, best) == before:
            return best
        looked = best


@inner
def _add_point(z: State, n: int) -> None:
    """Put the belief's upper bound at the end of its class's chain."""
    b, p = z.b, z.p
    cls = b.cls[n]
    drop = b.up[n] - b.corner[n]
    old = b.point[n]
    if drop >= 0.0:
        return
    p.updates[cls] += 1
    _add_to_hull(z, n)
    e = z.room.count[N_POINTS]
    z.room.count[N_POINTS] = e + 1
    p.belief[e] = n
    p.drop[e] = drop
    p.following[e] = -1
    p.before[e] = p.last[cls]
    if p.last[cls] >= 0:
        p.following[p.last[cls]] = e
    else:
        p.first[cls] = e
    p.last[cls] = e
    b.point[n] = e
    if old >= 0:
        before, following = p.before[old], p.following[old]
        if before >= 0:
            p.following[before] = following
        else:
            p.first[cls] = following
        p.before[following] = before
        p.drop[old] = 0.0


@inner
def _add_vector(z: State, n: int, x: int, a: int) -> None:
    """Alpha-vector of an action at a belief: after each observation, the vector that is best there."""
    m, b, v, room = z.m, z.b, z.v, z.room
    count, chosen, after, mark = room.count, room.chosen, room.after, room.mark
    A = m.reward.shape[0]
    S = m.class_of.size
    cls = b.cls[n]
    first_edge, end_edge = b.edges[x * A + a], b.edges_end[x * A + a]
    for e in range(first_edge, end_edge):
        chosen[b.seen[e]] = b.vector[b.child[e]]
    count[TICK] += 1
    tick = count[TICK]
    number = _new_vector(z, cls)
    at = v.block_at[number // LANES] + number % LANES
    base = m.o_table[a] * S
    work = 0
    for s in range(m.class_start[cls], m.class_start[cls + 1]):
        total = 0.0
        for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
            s2 = m.t_state[k]
            if mark[s2] != tick:
                mark[s2] = tick
                value = 0.0
                cls2 = m.class_of[s2]
                local = (s2 - m.class_start[cls2]) * LANES
                for j in range(m.o_start[base + s2], m.o_start[base + s2 + 1]):
                    w = chosen[m.o_seen[j]]
                    if w < 0:
                        w = v.default[cls2]
                    value += m.o_prob[j] * v.pool[v.block_at[w // LANES] + local + w % LANES]
                after[s2] = value
                work += 2 * (m.o_start[base + s2 + 1] - m.o_start[base + s2])
            total += m.t_prob[k] * after[s2]
        v.pool[at] = m.reward[a, s] + m.discount * total
        at += LANES
    for e in range(first_edge, end_edge):
        chosen[b.seen[e]] = -1
    v.action[number] = a
    count[WORK] += work


@inner
def _new_vector(z: State, cls: int) -> int:
    """Number of a new vector of a class; the caller fills it."""
    v, count = z.v, z.room.count
    number = v.last_vector[cls] + 1
    if number % LANES == 0:
        block = count[N_BLOCKS]
        count[N_BLOCKS] = block + 1
        v.block_at[block] = count[N_POOL]
        count[N_POOL] += (z.m.class_start[cls + 1] - z.m.class_start[cls]) * LANES
        v.following[block] = -1
        v.following[v.last[cls]] = block
        v.last[cls] = block
        number = block * LANES
    v.last_vector[cls] = number
    return number


@inner
def _backup(z: State, n: int) -> int:
    """Improve both bounds at an expanded belief; the action of the highest upper bound."""
    b = z.b
    x = b.node[n]
    A = z.m.reward.shape[0]
    z.room.count[N_BACKUPS] += 1
    _look_up(z, n)
    _look_low(z, n)
    greedy = _best_up(z, x)
    up = b.action_up[x * A + greedy]
    if up < b.up[n] - z.room.number[TIE]:
        b.up[n] = up
        _add_point(z, n)
    best = -1
    low = b.low[n]
    least = low + z.room.number[TIE]
    for a in range(A):
        if b.edges[x * A + a] >= 0 and b.action_up[x * A + a] > least:
            value = _action_low(z, x, a)
            if value > least:
                least = value
                best = a
    if best >= 0:
        _add_vector(z, n, x, best)
        _look_low(z, n)
    return greedy


@inner
def _descend(z: State) -> None:
    """One step down a trial: both bounds, then on to the observation with most excess uncertainty."""
    b, room = z.b, z.room
    count, path = room.count, room.path
    A = z.m.reward.shape[0]
    depth = count[DEPTH]
    n = path[depth]
    if b.node[n] < 0:
        _expand(z, n)
    a = _backup(z, n)
    target = room.number[TARGET] * z.m.discount ** (-depth)
    count[GOING_UP] = 1
    if b.up[n] - b.low[n] <= target or depth + 1 == path.size:
        return
    x = b.node[n]
    most = 0.0
    on = -1
    for e in range(b.edges[x * A + a], b.edges_end[x * A + a]):
        c = b.child[e]
        _look_low(z, c)
        excess = b.weight[e] * (b.up[c] - b.low[c] - target / z.m.discount)
        if excess > most:
            most = excess
            on = c
    if on >= 0:
        count[GOING_UP] = 0
        count[DEPTH] = depth + 1
        path[depth + 1] = on


@inner
def _ascend(z: State) -> None:
    """One step back up a trial."""
    count = z.room.count
    if count[DEPTH] > 0:
        count[DEPTH] -= 1
        _backup(z, z.room.path[count[DEPTH]])
    else:
        count[GOING_UP] = 0
        count[N_TRIALS] += 1


@inner
def _has_room(z: State, most_edges: int, most_shares: int, most_states: int) -> bool:
    """Whether one more step surely finds room in every array."""
    b, v, p, h, count = z.b, z.v, z.p, z.h, z.room.count
    return (
        count[N_BELIEFS] + most_edges < b.cls.size
        and 2 * (count[N_BELIEFS] + most_edges) < b.table.size
        and count[N_SHARES] + most_shares <= b.prob.size
        and count[N_EXPANDED] < b.expanded.size
        and count[N_EDGES] + most_edges <= b.child.size
        and count[N_BLOCKS] < v.block_at.size
        and count[N_POOL] + most_states * LANES <= v.pool.size
        and count[N_POINTS] < p.drop.size
        and count[H_BLOCKS] < h.block_at.size
        and count[H_POOL] + most_states * LANES <= h.pool.size
    )


@entry
def search(z: State, precision: float, budget: int, most_edges: int, most_shares: int, most_states: int) -> int:
    """Go on with trials from belief 0 until its bounds are closer than `precision`, or the budget is used."""
    b, count = z.b, z.room.count
    stop = count[WORK] + budget
    while count[WORK] < stop:
        if not _has_room(z, most_edges, most_shares, most_states):
            return GROW
        if b.up[0] - b.low[0] <= precision and b.vector[0] >= 0:
            return CLOSED
        if count[GOING_UP] == 0:
            if count[DEPTH] == 0:
                z.room.path[0] = 0
                gap = b.up[0] - b.low[0] if b.vector[0] >= 0 else np.inf
                z.room.number[TARGET] = max(precision, z.room.number[ZETA] * gap) if gap < np.inf else precision
            _descend(z)
        else:
            _ascend(z)
        count[WORK] += 20
    return BUDGET


@entry
def add_belief(z: State, cls: int, state: NDArray[np.int32], prob: Floats) -> int:
    """Add a belief, with both bounds looked up."""
    n = _find(z, cls, state, prob, 0, state.size)
    _look_low(z, n)
    _look_up(z, n)
    return n


@entry
def rehash(z: State) -> None:
    """Fill the hash table anew."""
    b = z.b
    last = b.table.size - 1
    b.table[:] = -1
    for n in range(z.room.count[N_BELIEFS]):
        slot = _hash(b.cls[n], b.state, b.prob, b.start[n], b.start[n + 1] - b.start[n]) & last
        while b.table[slot] >= 0:
            slot = (slot + 1) & last
        b.table[slot] = n
