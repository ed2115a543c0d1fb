"""Compiled heuristic search: a graph of beliefs with both bounds; see `solvers.search` for the mathematics.

Arrays (`solvers._search_state`) grow in Python, between calls: a call works until its budget is used up, or some array
may be too short for one more step. Trials go on where the last call stopped, so that budgets change no result.

Vectors and points only ever come at the end of the chains of their classes. So a belief remembers where it looked last
(`low_seen`, `up_seen`), and looks at what is new. The work of a step is counted in inner loops over `LANES`.
"""
# mypy: disallow-untyped-decorators=False
# ruff: noqa: E741 (O is the number of observations)

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from solvers._search_state import (
    BACKUPS,
    BELIEFS,
    BLOCKS,
    CHANGES,
    CHANGES_BEFORE,
    DEPTH,
    EDGES,
    EXPANDED,
    FOLLOWS,
    GOING_UP,
    HULL_BLOCKS,
    HULL_POOL,
    LANES,
    POINTS,
    POOL,
    PRECISION,
    SHARES,
    SHRINK,
    TARGET,
    TICK,
    TIE,
    TRIALS,
    VECTORS,
    WORK,
    Floats,
    Graph,
    Ints,
    State,
)

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(no_cpython_wrapper=True, **_OPTIONS)

SAME = 1e-12  # beliefs that differ by no more, in every state, are one
LEAST = 1e-12  # smaller shares of a belief are dropped, and made up for in the upper bound
HULL_SLACK = 0.1  # share of a belief's gap by which its upper bound may miss the hull of the points
HULL_AGAIN = 1.5  # look at the hull again when the class's points changed so many times as often as at the last look

# What a call comes back with.
BUDGET, CLOSED, STALLED, FULL = range(4)


@inner
def _corner(q: Floats, s: int) -> float:
    best = q[s, 0]
    for a in range(1, q.shape[1]):
        best = max(best, q[s, a])
    return best


@inner
def _same(b: Graph, n: int, cls: int, state: Any, prob: Any, first: int, size: int) -> bool:
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
    b, count = z.b, z.count
    table = b.table
    last = table.size - 1
    slot = _hash(cls, state, prob, first, size) & last
    while table[slot] >= 0:
        if _same(b, table[slot], cls, state, prob, first, size):
            return table[slot]
        slot = (slot + 1) & last
    n = count[BELIEFS]
    table[slot] = n
    at = b.start[n]
    mask = np.uint64(0)
    for k in range(size):
        s = state[first + k]
        b.state[at + k] = s
        b.prob[at + k] = prob[first + k]
        mask |= np.uint64(1) << np.uint64((s - z.m.class_start[cls]) & 63)
    b.start[n + 1] = at + size
    b.cls[n] = cls
    b.mask[n] = mask
    b.node[n] = -1
    count[BELIEFS] = n + 1
    count[SHARES] = at + size
    _forget(z, n)
    return n


@inner
def _forget(z: State, n: int) -> None:
    """Put a belief's bounds where nobody has looked yet."""
    b = z.b
    corner = 0.0
    for k in range(b.start[n], b.start[n + 1]):
        corner += b.prob[k] * _corner(z.q, b.state[k])
    b.corner[n] = corner
    b.up[n] = corner
    b.low[n] = -np.inf
    b.vector[n] = -1
    b.low_seen[n] = -1
    b.up_seen[n] = -2
    b.hull_seen[n] = -1
    b.point[n] = -1
    b.place[n] = -1


@inner
def _look_low(z: State, n: int) -> None:
    """Bring the lower bound at a belief up to date."""
    b, v, lanes = z.b, z.v, z.room.lanes
    cls = b.cls[n]
    newest = v.newest[cls]
    seen = b.low_seen[n]
    if seen == newest:
        return
    first, end = b.start[n], b.start[n + 1]
    here = z.m.class_start[cls]
    pool, state, prob = v.pool, b.state, b.prob
    block = v.first[cls] if seen < 0 else seen // LANES
    best = b.low[n]
    vector = b.vector[n]
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
    z.count[WORK] += work


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
    A = z.q.shape[1]
    if seen == -2:
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
    z.count[WORK] += work
    if z.h.first[cls] >= 0 and z.p.changes[cls] > HULL_AGAIN * b.hull_seen[n]:
        b.hull_seen[n] = z.p.changes[cls]
        _look_hull(z, n)


@inner
def _look_hull(z: State, n: int) -> None:
    """Lower the upper bound at a belief to the convex hull of points and corners.

    With the worth w_i of point b_i, what it lies below the corners' interpolation: max Σ λ_i w_i over λ ≥ 0 with
    Σ λ_i b_i ≤ b; what is left is made of corners. Simplex from λ = 0, with early end: any λ gives an upper bound, and
    no λ is better by more than the largest reduced worth, since Σ λ_i ≤ 1.
    """
    b, h, room = z.b, z.h, z.room
    inverse, basic, basis = room.inverse, room.basic, room.basis
    column, price, lanes = room.column, room.price, room.lanes
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
    _look_low(z, n)
    least = max(z.number[TIE], HULL_SLACK * (b.up[n] - b.low[n]))
    total = 0.0
    work = size * size // 16
    for _ in range(3 * size + 20):
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
        work += size * size // 4
    z.count[WORK] += work
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
    b, h, count = z.b, z.h, z.count
    cls = b.cls[n]
    if h.first[cls] == -2:
        return
    place = b.place[n]
    if place < 0:
        place = h.newest[cls] + 1
        if place % LANES == 0:
            block = count[HULL_BLOCKS]
            count[HULL_BLOCKS] = block + 1
            size = (z.m.class_start[cls + 1] - z.m.class_start[cls]) * LANES
            h.block_at[block] = count[HULL_POOL]
            h.pool[count[HULL_POOL] : count[HULL_POOL] + size] = 0.0
            h.worth[block * LANES : block * LANES + LANES] = 0.0
            count[HULL_POOL] += size
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
    b, count = z.b, z.count
    A = z.m.reward.shape[0]
    x = count[EXPANDED]
    b.expanded[x] = n
    b.node[n] = x
    count[EXPANDED] = x + 1
    b.edges[x * A : x * A + A] = -1
    _promise(z, x)


@inner
def _promise(z: State, x: int) -> None:
    """Upper bounds of actions that nobody has looked into."""
    b = z.b
    n = b.expanded[x]
    A = z.m.reward.shape[0]
    actions = b.action_up
    actions[x * A : x * A + A] = 0.0
    for k in range(b.start[n], b.start[n + 1]):
        for a in range(A):
            actions[x * A + a] += b.prob[k] * z.q[b.state[k], a]
    z.count[WORK] += b.start[n + 1] - b.start[n]


@inner
def _expand_action(z: State, x: int, a: int) -> None:
    """Find the beliefs that follow an action."""
    m, b, room, count = z.m, z.b, z.room, z.count
    dense, touched, size, seen, state, prob = room.dense, room.touched, room.size, room.seen, room.state, room.prob
    A, S = m.reward.shape
    n = b.expanded[x]
    gain = 0.0
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
    # Shares by observation: count them, lay them out, fill in.
    base = m.o_table[a] * S
    n_seen = 0
    for i in range(n_touched):
        for j in range(m.o_start[base + touched[i]], m.o_start[base + touched[i] + 1]):
            o = m.o_seen[j]
            if size[o] == 0:
                seen[n_seen] = o
                n_seen += 1
            size[o] += 1
    end = 0
    for i in range(n_seen):
        first = end
        end += size[seen[i]]
        size[seen[i]] = first
    for i in range(n_touched):
        s2 = touched[i]
        for j in range(m.o_start[base + s2], m.o_start[base + s2 + 1]):
            at = size[m.o_seen[j]]
            state[at] = s2
            prob[at] = dense[s2] * m.o_prob[j]
            size[m.o_seen[j]] = at + 1
        dense[s2] = 0.0
    count[WORK] += 4 * end
    e = count[EDGES]
    b.edges[x * A + a] = e
    first = 0
    for i in range(n_seen):
        end = size[seen[i]]
        size[seen[i]] = 0
        total = 0.0
        for k in range(first, end):
            total += prob[k]
        kept = 0.0
        to = first
        for k in range(first, end):
            if prob[k] > LEAST * total:
                state[to] = state[k]
                prob[to] = prob[k]
                kept += prob[k]
                to += 1
            else:
                gain += m.discount * prob[k] * max(0.0, _corner(z.q, state[k]))
        if kept > 0.0:
            for k in range(first, to):
                prob[k] /= kept
            b.child[e] = _find(z, m.class_of[state[first]], state, prob, first, to - first)
            b.seen[e] = seen[i]
            b.weight[e] = m.discount * kept
            e += 1
        first = end
    b.edges_end[x * A + a] = e
    b.gain[x * A + a] = gain
    count[EDGES] = e


@inner
def _action_up(z: State, x: int, a: int) -> float:
    """Upper bound of an action, from what follows."""
    b = z.b
    A = z.m.reward.shape[0]
    if b.edges[x * A + a] < 0:
        _expand_action(z, x, a)
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
    p.changes[cls] += 1
    _add_to_hull(z, n)
    e = z.count[POINTS]
    z.count[POINTS] = e + 1
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
    b, v, count = z.b, z.v, z.count
    A = z.m.reward.shape[0]
    number = _new_vector(z, b.cls[n])
    v.action[number] = a
    f = count[FOLLOWS]
    v.follow[number] = f
    for e in range(b.edges[x * A + a], b.edges_end[x * A + a]):
        v.after[f] = b.seen[e]
        v.then[f] = b.vector[b.child[e]]
        f += 1
    v.follow_end[number] = f
    count[FOLLOWS] = f
    _fill_vector(z, number)


@inner
def _fill_vector(z: State, number: int) -> None:
    """Work out the value of a plan in every state of its class, from those that it goes on with."""
    m, v, room, count = z.m, z.v, z.room, z.count
    chosen, after, mark = room.chosen, room.after, room.mark
    S = m.class_of.size
    a = v.action[number]
    cls = v.cls[number]
    for f in range(v.follow[number], v.follow_end[number]):
        chosen[v.after[f]] = v.then[f]
    count[TICK] += 1
    tick = count[TICK]
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
    for f in range(v.follow[number], v.follow_end[number]):
        chosen[v.after[f]] = -1
    count[WORK] += work


@inner
def _new_vector(z: State, cls: int) -> int:
    """Number of a new vector of a class; the caller fills it."""
    v, count = z.v, z.count
    number = v.newest[cls] + 1
    if number % LANES == 0:
        block = count[BLOCKS]
        count[BLOCKS] = block + 1
        v.block_at[block] = count[POOL]
        count[POOL] += (z.m.class_start[cls + 1] - z.m.class_start[cls]) * LANES
        v.following[block] = -1
        v.following[v.last[cls]] = block
        v.last[cls] = block
        number = block * LANES
    v.newest[cls] = number
    v.cls[number] = cls
    v.made[count[VECTORS]] = number
    count[VECTORS] += 1
    return number


@inner
def _backup(z: State, n: int) -> int:
    """Improve both bounds at an expanded belief; the action with the highest upper bound."""
    b = z.b
    x = b.node[n]
    A = z.m.reward.shape[0]
    z.count[BACKUPS] += 1
    _look_up(z, n)
    greedy = _best_up(z, x)
    up = b.action_up[x * A + greedy]
    if up < b.up[n] - z.number[TIE]:
        b.up[n] = up
        z.count[CHANGES] += 1
        _add_point(z, n)
    _raise_low(z, n, False)
    return greedy


@inner
def _raise_low(z: State, n: int, every: bool) -> bool:
    """Add the vector of the action whose continuations promise most, if that is more than the belief has.

    Actions that nobody looked into yet are tried only if `every` says so.
    """
    b = z.b
    x = b.node[n]
    A = z.m.reward.shape[0]
    _look_low(z, n)
    best = -1
    most = b.low[n] + z.number[TIE]
    for a in range(A):
        if b.action_up[x * A + a] > most and (every or b.edges[x * A + a] >= 0):
            if b.edges[x * A + a] < 0:
                _expand_action(z, x, a)
            value = _action_low(z, x, a)
            if value > most:
                most = value
                best = a
    if best >= 0:
        _add_vector(z, n, x, best)
        _look_low(z, n)
        z.count[CHANGES] += 1
    return best >= 0


@inner
def _next(z: State, n: int, a: int, target: float) -> int:
    """The belief after an action with the largest excess of its gap over the target, times its chance; -1: none."""
    b = z.b
    at = b.node[n] * z.m.reward.shape[0] + a
    most = 0.0
    found = -1
    for e in range(b.edges[at], b.edges_end[at]):
        c = b.child[e]
        _look_low(z, c)
        excess = b.weight[e] * (b.up[c] - b.low[c] - target)
        if excess > most:
            most = excess
            found = c
    return found


@inner
def _step(z: State) -> None:
    """One step of a trial, down or back up."""
    b, count, path = z.b, z.count, z.room.path
    depth = count[DEPTH]
    n = path[depth]
    if b.node[n] < 0:
        _expand(z, n)
    a = _backup(z, n)
    if count[GOING_UP] == 0:
        target = z.number[TARGET] * z.m.discount ** (-depth)
        on = -1
        if b.up[n] - b.low[n] > target and depth + 1 < path.size:
            on = _next(z, n, a, target / z.m.discount)
        if on >= 0:
            count[DEPTH] = depth + 1
            path[depth + 1] = on
            return
        count[GOING_UP] = 1
    if depth > 0:
        count[DEPTH] = depth - 1
    else:
        count[GOING_UP] = 0
        count[TRIALS] += 1


@inner
def _start_trial(z: State) -> int:
    """Begin at the root whose gap weighs most; whether that makes sense."""
    b, count = z.b, z.count
    gap = 0.0
    most = -1.0
    for r in range(z.root.size):
        _look_low(z, r)
        _look_up(z, r)
        g = z.root[r] * (b.up[r] - b.low[r])
        gap += g
        if g > most:
            most = g
            z.room.path[0] = r
    if gap <= z.number[PRECISION]:
        return CLOSED
    if count[TRIALS] > 0 and count[CHANGES] == count[CHANGES_BEFORE]:
        return STALLED
    count[CHANGES_BEFORE] = count[CHANGES]
    r = z.room.path[0]
    z.number[TARGET] = max(z.number[PRECISION], z.number[SHRINK] * (b.up[r] - b.low[r]))
    return BUDGET


@inner
def _full(z: State) -> bool:
    """Whether some array may be too short for one more step."""
    short = False
    for kind in range(z.need.size):
        short |= z.count[kind] + z.need[kind] > z.capacity[kind]
    return short


@entry
def search(z: State, budget: int) -> int:
    """Go on with trials until the roots' bounds are close, or the budget of work is used up."""
    count = z.count
    stop = count[WORK] + budget
    while count[WORK] < stop:
        if _full(z):
            return FULL
        if count[DEPTH] == 0 and count[GOING_UP] == 0:
            why = _start_trial(z)
            if why != BUDGET:
                return why
        _step(z)
        count[WORK] += 20
    return BUDGET


@entry
def raise_each(z: State, beliefs: Ints, before: Floats, first: int, budget: int) -> int:
    """Raise the lower bound at beliefs that are still at `before`, one after the other; where it stopped.

    Later beliefs may have been raised by what was done for earlier ones. `before` at -inf: whatever they are at.
    """
    b, count = z.b, z.count
    stop = count[WORK] + budget
    for i in range(first, beliefs.size):
        if count[WORK] >= stop or _full(z):
            return i
        n = beliefs[i]
        if b.node[n] < 0:
            _expand(z, n)
        _look_low(z, n)
        if b.low[n] <= before[i] + z.number[TIE] or before[i] == -np.inf:
            _raise_low(z, n, True)
        count[WORK] += 20
    return beliefs.size


@entry
def lower_each(z: State, beliefs: Ints, first: int, budget: int) -> int:
    """Improve both bounds at expanded beliefs, one after the other; where it stopped."""
    stop = z.count[WORK] + budget
    for i in range(first, beliefs.size):
        if z.count[WORK] >= stop or _full(z):
            return i
        _backup(z, beliefs[i])
    return beliefs.size


@entry
def walk(z: State, beliefs: Ints, uniform: Floats, out: Ints) -> int:
    """From each belief, a random action and what follows it at random; how many were done: room may run out."""
    b = z.b
    A = z.m.reward.shape[0]
    for i in range(beliefs.size):
        if _full(z):
            return i
        n = beliefs[i]
        if b.node[n] < 0:
            _expand(z, n)
        x = b.node[n]
        a = min(int(uniform[i, 0] * A), A - 1)
        if b.edges[x * A + a] < 0:
            _expand_action(z, x, a)
        # What is missing to a sum of one, after the discount, ends in worthless states: the walk begins anew.
        left = uniform[i, 1] * z.m.discount
        out[i] = -1
        for e in range(b.edges[x * A + a], b.edges_end[x * A + a]):
            left -= b.weight[e]
            if left < 0.0:
                out[i] = b.child[e]
                break
    return beliefs.size


@entry
def add_belief(z: State, cls: int, state: NDArray[np.int32], prob: Floats) -> int:
    """Add a belief; its number."""
    return _find(z, cls, state, prob, 0, state.size)


@entry
def bounds_at(z: State, cls: int, state: NDArray[np.int32], prob: Floats) -> tuple[float, float]:
    """Both bounds at a belief on the states of a class, which is not kept; there must be room for one more."""
    n = z.count[BELIEFS]
    b = z.b
    at = b.start[n]
    mask = np.uint64(0)
    for k in range(state.size):
        b.state[at + k] = state[k]
        b.prob[at + k] = prob[k]
        mask |= np.uint64(1) << np.uint64((state[k] - z.m.class_start[cls]) & 63)
    b.start[n + 1] = at + state.size
    b.cls[n] = cls
    b.mask[n] = mask
    _forget(z, n)
    _look_low(z, n)
    _look_up(z, n)
    return b.low[n], b.up[n]


@entry
def needed(z: State, wanted: NDArray[np.bool_]) -> None:
    """Among vectors (a flag each), want those too that the plans of wanted ones go on with."""
    v = z.v
    for c in range(v.default.size):
        wanted[v.default[c]] = True
    for i in range(z.count[VECTORS] - 1, -1, -1):
        number = v.made[i]
        if wanted[number]:
            for f in range(max(v.follow[number], 0), v.follow_end[number]):
                wanted[v.then[f]] = True


@entry
def rehash(z: State) -> None:
    """Fill the table of beliefs anew."""
    b = z.b
    last = b.table.size - 1
    for n in range(z.count[BELIEFS]):
        slot = _hash(b.cls[n], b.state, b.prob, b.start[n], b.start[n + 1] - b.start[n]) & last
        while b.table[slot] >= 0:
            slot = (slot + 1) & last
        b.table[slot] = n


@entry
def reweigh(z: State) -> None:
    """Start anew with the rewards, the bound q and the vectors of single actions that the state has now.

    The graph of beliefs stays, and so do all plans: a plan goes on with those that were made before it, so that one
    pass in this order gives their values.
    """
    m, b, v, p, h, count = z.m, z.b, z.v, z.p, z.h, z.count
    A = m.reward.shape[0]
    for i in range(count[VECTORS]):
        if v.follow[v.made[i]] >= 0:
            _fill_vector(z, v.made[i])
    for c in range(p.first.size):
        p.first[c] = -1
        p.last[c] = -1
        p.changes[c] = 0
        if h.first[c] >= 0:
            h.first[c] = -1
        h.last[c] = -1
        h.newest[c] = -1
    count[POINTS] = 0
    count[HULL_BLOCKS] = 0
    count[HULL_POOL] = 0
    count[DEPTH] = 0
    count[GOING_UP] = 0
    count[TRIALS] = 0
    for n in range(count[BELIEFS]):
        _forget(z, n)
        x = b.node[n]
        if x >= 0:
            _promise(z, x)
            for a in range(A):
                gain = 0.0
                for k in range(b.start[n], b.start[n + 1]):
                    gain += b.prob[k] * m.reward[a, b.state[k]]
                b.gain[x * A + a] = gain
