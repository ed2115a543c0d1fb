"""Compiled heuristic search: a graph of beliefs with both bounds; see `solvers.search` for the mathematics.

Arrays (`solvers._search_state`) grow in Python, between calls: a call works until its budget is used up, or some array
may be too short for one more step. Trials go on where the last call stopped, so that budgets change no result.

Vectors and points only ever come at the end of the chains of their classes. So a belief remembers where it looked last
(`low_seen`, `up_seen`), and looks at what is new. The work of a step is counted in inner loops over `LANES`.

Numba counts references to arrays, atomically, wherever one is taken out of a tuple, and compiles that: fields that
belong together are records of one array, and loops use arrays that were taken out before.
"""
# mypy: disallow-untyped-decorators=False, warn-return-any=False

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from solvers._search_state import (
    BELIEFS,
    BLOCKS,
    CHANGES,
    CHANGES_BEFORE,
    DEPTH,
    DISCOUNT,
    EDGES,
    EXPANDED,
    FOLLOWS,
    GOING_UP,
    HULL_BLOCKS,
    HULL_POOL,
    KINDS,
    LANES,
    POINTS,
    POOL,
    PRECISION,
    SHARES,
    SHRINK,
    TARGET,
    TICK,
    TIE,
    TOP,
    TRIALS,
    VECTORS,
    WORK,
    Floats,
    Ints,
    State,
)

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(**_INNER)
once = numba.njit(inline="always", **_OPTIONS)  # called from one place: a third less to compile than as `inner`

SAME = 1e-12  # beliefs that differ by no more, in every state, are one
LEAST = 1e-12  # smaller shares of a belief are dropped, and made up for in the upper bound
HULL_SLACK = 0.1  # share of a belief's gap by which its upper bound may miss the hull of the points
HULL_AGAIN = 1.5  # look at the hull again when the class's points changed so many times as often as at the last look

AIM = 0.97  # share of the precision that trials aim at: what `TIE` forgoes, above and below, must not end them

# What a call comes back with.
BUDGET, CLOSED, STALLED, FULL = range(4)


# Beliefs --------------------------------------------------------------------------------------------------------


@inner
def _hash(z: State, n: int) -> int:
    """Slot of a belief in a table of endless length."""
    state, prob = z.state, z.prob
    h = np.uint64(z.belief[n].cls) * np.uint64(0x9E3779B97F4A7C15)
    for k in range(z.belief[n].first, z.belief[n].end):
        h ^= np.uint64(state[k]) + np.uint64(int(prob[k] * 17179869184.0 + 0.5)) * np.uint64(0xD6E8FEB86659FD93)
        h *= np.uint64(0x100000001B3)
        h ^= h >> np.uint64(29)
    return int(h >> np.uint64(2))


@inner
def _add_belief(z: State, cls: int) -> int:
    """Number of the belief whose support was written behind the last one, and which is kept if it is new."""
    belief, table, count, state, prob = z.belief, z.table, z.count, z.state, z.prob
    n = count[BELIEFS]
    first, end = belief[n].first, belief[n].end
    belief[n].cls = cls
    last = table.size - 1
    slot = _hash(z, n) & last
    while table[slot] >= 0:
        i = table[slot]
        if belief[i].cls == cls and belief[i].end - belief[i].first == end - first:
            apart = 0.0
            for k in range(end - first):
                other = belief[i].first + k
                d = abs(prob[other] - prob[first + k])
                apart = max(apart, d if state[other] == state[first + k] else 1.0)
            if apart <= SAME:
                return i
        slot = (slot + 1) & last
    table[slot] = n
    belief[n].node = -1
    belief[n + 1].first = end
    count[BELIEFS] = n + 1
    count[SHARES] = end
    _forget(z, n)
    return n


@inner
def _forget(z: State, n: int) -> None:
    """Put a belief's bounds where nobody has looked yet."""
    belief = z.belief
    here = z.chain[belief[n].cls].first_state
    corner = 0.0
    mask = np.uint64(0)
    for k in range(belief[n].first, belief[n].end):
        s = z.state[k]
        corner += z.prob[k] * z.corner[s]
        mask |= np.uint64(1) << np.uint64((s - here) & 63)
    belief[n].mask = mask
    belief[n].corner = corner
    belief[n].up = corner
    belief[n].low = -np.inf
    belief[n].vector = -1
    belief[n].low_seen = -1
    belief[n].up_seen = -2
    belief[n].hull_seen = -1
    belief[n].point = -1
    belief[n].place = -1


@once
def _expand(z: State, n: int) -> None:
    """Take a belief among the expanded ones; what follows is found when an action is looked into."""
    x = z.count[EXPANDED]
    z.expanded[x] = n
    z.belief[n].node = x
    z.count[EXPANDED] = x + 1
    A = z.reward.shape[0]
    for i in range(x * A, x * A + A):
        z.action[i].first = -1
    _promise(z, x)


@once
def _promise(z: State, x: int) -> None:
    """Upper bounds of actions by the fast informed bound, and their rewards."""
    action, q, reward, state, prob = z.action, z.q, z.reward, z.state, z.prob
    n = z.expanded[x]
    A = reward.shape[0]
    for a in range(A):
        up = 0.0
        gain = 0.0
        for k in range(z.belief[n].first, z.belief[n].end):
            up += prob[k] * q[a, state[k]]
            gain += prob[k] * reward[a, state[k]]
        action[x * A + a].up = up
        action[x * A + a].gain = gain


@inner
def _open(z: State, x: int, a: int) -> None:
    """Find the beliefs that follow an action, if that was not done yet."""
    reward, t_state, t_prob = z.reward, z.t_state, z.t_prob
    o_start, o_seen, o_prob = z.o_start, z.o_seen, z.o_prob
    dense, touched, by_seen = z.dense, z.touched, z.by_seen
    item_state, item_prob, count = z.item_state, z.item_prob, z.count
    A, S = reward.shape
    if z.action[x * A + a].first >= 0:
        return
    n = z.expanded[x]
    n_touched: Any = np.int64(0)
    for k in range(z.belief[n].first, z.belief[n].end):
        row = a * S + z.state[k]
        for j in range(z.t_start[row], z.t_start[row + 1]):
            s2 = t_state[j]
            if dense[s2] == 0.0:
                touched[n_touched] = s2
                n_touched += 1
            dense[s2] += z.prob[k] * t_prob[j]
    _sort(touched, n_touched)
    # Shares by observation: count them, lay them out, fill in.
    base = z.o_table[a] * S
    n_seen = 0
    for i in range(n_touched):
        for j in range(o_start[base + touched[i]], o_start[base + touched[i] + 1]):
            o = o_seen[j]
            if by_seen[o].size == 0:
                by_seen[n_seen].order = o
                n_seen += 1
            by_seen[o].size += 1
    end = 0
    for i in range(n_seen):
        first = end
        end += by_seen[by_seen[i].order].size
        by_seen[by_seen[i].order].size = first
    for i in range(n_touched):
        s2 = touched[i]
        for j in range(o_start[base + s2], o_start[base + s2 + 1]):
            to = by_seen[o_seen[j]].size
            item_state[to] = s2
            item_prob[to] = dense[s2] * o_prob[j]
            by_seen[o_seen[j]].size = to + 1
        dense[s2] = 0.0
    count[WORK] += 4 * end
    z.action[x * A + a].first = count[EDGES]
    z.action[x * A + a].lost = 0.0
    begin: Any = np.int64(0)
    for i in range(n_seen):
        o = by_seen[i].order
        end = by_seen[o].size
        by_seen[o].size = 0
        _add_edge(z, x * A + a, o, begin, end)
        begin = end
    z.action[x * A + a].end = count[EDGES]


@once
def _add_edge(z: State, action: int, seen: int, first: int, end: int) -> None:
    """Add the belief made of the items first:end, and the edge to it; nothing if there is no chance of it."""
    belief, item_state, item_prob, edge, count = z.belief, z.item_state, z.item_prob, z.edge, z.count
    discount = z.number[DISCOUNT]
    total = 0.0
    for k in range(first, end):
        total += item_prob[k]
    n = count[BELIEFS]
    start = to = belief[n].first
    kept = 0.0
    for k in range(first, end):
        if item_prob[k] > LEAST * total:
            z.state[to] = item_state[k]
            z.prob[to] = item_prob[k]
            kept += item_prob[k]
            to += 1
        else:
            z.action[action].lost += discount * item_prob[k]
    if kept > 0.0:
        for k in range(start, to):
            z.prob[k] /= kept
        belief[n].end = to
        e = count[EDGES]
        edge[e].belief = _add_belief(z, np.int64(z.class_of[item_state[first]]))
        edge[e].seen = seen
        edge[e].weight = discount * kept
        count[EDGES] = e + 1


@inner
def _sort(values: Ints, n: int) -> None:
    """Sort the first n values (Shell; moves often leave their order as it was)."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            value = values[i]
            j = i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap //= 3


# Bounds at beliefs ----------------------------------------------------------------------------------------------


@inner
def _look_low(z: State, n: int) -> float:
    """Bring the lower bound at a belief up to date."""
    belief, block, pool, state, prob, lanes = z.belief, z.block, z.pool, z.state, z.prob, z.lanes
    cls = belief[n].cls
    newest = z.chain[cls].newest
    seen = belief[n].low_seen
    best = belief[n].low
    if seen == newest:
        return best
    first, end = belief[n].first, belief[n].end
    here = z.chain[cls].first_state
    i = z.chain[cls].first_block if seen < 0 else seen // LANES
    vector = belief[n].vector
    while i >= 0:
        for j in range(LANES):
            lanes[j] = 0.0
        for k in range(first, end):
            at = block[i].at + (state[k] - here) * LANES
            p = prob[k]
            for j in range(LANES):
                lanes[j] += p * pool[at + j]
        for j in range(min(newest - i * LANES + 1, LANES) if block[i].following < 0 else LANES):
            if lanes[j] > best:
                best = lanes[j]
                vector = i * LANES + j
        i = block[i].following
        z.count[WORK] += end - first
    belief[n].low = best
    belief[n].vector = vector
    belief[n].low_seen = newest
    return best


@inner
def _look_up(z: State, n: int) -> float:
    """Bring the upper bound at a belief up to date: the fast informed bound, the points that are new, the hull."""
    belief, point, dense, state, prob = z.belief, z.point, z.dense, z.state, z.prob
    cls = belief[n].cls
    newest = z.chain[cls].last_point
    seen = belief[n].up_seen
    up = belief[n].up
    if seen == newest:
        return up
    first, end = belief[n].first, belief[n].end
    e = z.chain[cls].first_point
    if seen == -2:
        best = -np.inf
        for a in range(z.q.shape[0]):
            value = 0.0
            for k in range(first, end):
                value += prob[k] * z.q[a, state[k]]
            best = max(best, value)
        up = min(up, best)
    elif seen >= 0:
        e = point[seen].following
    for k in range(first, end):
        dense[state[k]] = prob[k]
    outside = ~belief[n].mask
    gain = up - belief[n].corner
    work = end - first
    while e >= 0:
        drop = point[e].drop
        i = point[e].belief
        if drop < gain and not belief[i].mask & outside:
            ratio = 1.0
            least = gain / drop
            for k in range(belief[i].first, belief[i].end):
                ratio = min(ratio, dense[state[k]] / prob[k])
                work += 1
                if ratio <= least:
                    break
            if ratio > least:
                gain = ratio * drop
        e = point[e].following
        work += 1
    for k in range(first, end):
        dense[state[k]] = 0.0
    belief[n].up = min(up, belief[n].corner + gain)
    belief[n].up_seen = newest
    z.count[WORK] += work
    changes = z.chain[cls].changes
    if z.chain[cls].first_hull >= 0 and changes > HULL_AGAIN * belief[n].hull_seen and end - first > 1:
        belief[n].hull_seen = changes
        _look_hull(z, n)
    return belief[n].up


@inner
def _look_hull(z: State, n: int) -> None:
    """Lower the upper bound at a belief to the convex hull of points and single states.

    With the worth w_i of point b_i, what it lies below the interpolation of single states: max Σ λ_i w_i over λ ≥ 0
    with Σ λ_i b_i ≤ b; what is left is made of single states. Simplex from λ = 0, with early end: any λ gives an upper
    bound, and no λ is better by more than the largest reduced worth, since Σ λ_i ≤ 1.
    """
    belief, state, prob, place, pool = z.belief, z.state, z.prob, z.place, z.hull_pool
    inverse, basic, basis, column, price = z.inverse, z.basic, z.basis, z.column, z.price
    first = belief[n].first
    size = belief[n].end - first
    here = z.chain[belief[n].cls].first_state
    for i in range(size):
        for j in range(size):
            inverse[i, j] = 0.0
        inverse[i, i] = 1.0
        basic[i] = prob[first + i]
        price[i] = 0.0
        basis[i] = -1
    least = max(z.number[TIE], HULL_SLACK * (belief[n].up - _look_low(z, n)))
    for _ in range(3 * size + 20):
        entering, reduced = _entering(z, n, least)
        if entering < 0:
            break
        at = z.hull[entering // LANES].at + entering % LANES
        for i in range(size):
            column[i] = 0.0
        for j in range(size):
            share = pool[at + (state[first + j] - here) * LANES]
            if share != 0.0:
                for i in range(size):
                    column[i] += inverse[j, i] * share
        row = -1
        step = np.inf
        for i in range(size):
            if column[i] > 1e-10 and basic[i] < step * column[i]:
                step = max(basic[i] / column[i], 0.0)
                row = i
        if row < 0:
            break
        pivot = column[row]
        column[row] = 0.0
        for i in range(size):
            basic[i] -= column[i] * step
        basic[row] = step
        basis[row] = entering
        for j in range(size):
            scaled = inverse[j, row] / pivot
            if scaled != 0.0:
                for i in range(size):
                    inverse[j, i] -= column[i] * scaled
                inverse[j, row] = scaled
                price[j] += reduced * scaled
        z.count[WORK] += size * size // 4
    # Whatever rounding did: the weights, clipped, scaled to fit into the belief, and what they are worth.
    worth = 0.0
    for i in range(size):
        column[i] = 0.0
    for i in range(size):
        if basis[i] >= 0 and basic[i] > 0.0:
            worth += basic[i] * place[basis[i]].worth
            at = z.hull[basis[i] // LANES].at + basis[i] % LANES
            for j in range(size):
                column[j] += basic[i] * pool[at + (state[first + j] - here) * LANES]
    scale = 1.0
    for j in range(size):
        if column[j] * scale > prob[first + j]:
            scale = prob[first + j] / column[j]
    belief[n].up = min(belief[n].up, belief[n].corner - scale * worth)


@once
def _entering(z: State, n: int, least: float) -> tuple[int, float]:
    """Place of the point with the largest reduced worth, and that; -1 if none is above `least`."""
    belief, state, hull, place, pool, price, lanes = z.belief, z.state, z.hull, z.place, z.hull_pool, z.price, z.lanes
    first = belief[n].first
    size = belief[n].end - first
    cls = belief[n].cls
    here = z.chain[cls].first_state
    outside = ~belief[n].mask
    found = -1
    block = z.chain[cls].first_hull
    while block >= 0:
        for j in range(LANES):
            lanes[j] = place[block * LANES + j].worth
        for i in range(size):
            y = price[i]
            if y != 0.0:
                at = hull[block].at + (state[first + i] - here) * LANES
                for j in range(LANES):
                    lanes[j] -= y * pool[at + j]
        for j in range(LANES):
            if lanes[j] > least and not place[block * LANES + j].mask & outside:
                least = lanes[j]
                found = block * LANES + j
        block = hull[block].following
        z.count[WORK] += 2 + size // 2
    return found, least


# Improving them -------------------------------------------------------------------------------------------------


@once
def _best_action(z: State, x: int) -> int:
    """Action of the highest upper bound; only those whose old bound is the highest are looked at."""
    action, edge = z.action, z.edge
    A = z.reward.shape[0]
    while True:
        best: Any = np.int64(0)
        for a in range(1, A):
            if action[x * A + a].up > action[x * A + best].up:
                best = a
        _open(z, x, best)
        i = x * A + best
        up = action[i].gain + action[i].lost * z.number[TOP]
        for e in range(action[i].first, action[i].end):
            up += edge[e].weight * _look_up(z, edge[e].belief)
        if not up < action[i].up:
            return best
        action[i].up = up


@once
def _lower_up(z: State, n: int) -> int:
    """Lower the upper bound at an expanded belief; the action with the highest."""
    belief = z.belief
    _look_up(z, n)
    x = belief[n].node
    best = _best_action(z, x)
    up = z.action[x * z.reward.shape[0] + best].up
    if up < belief[n].up - z.number[TIE]:
        belief[n].up = up
        z.count[CHANGES] += 1
        if up < belief[n].corner:
            _add_point(z, n)
    return best


@once
def _add_point(z: State, n: int) -> None:
    """Put the belief's upper bound at the end of its class's chain, in the place of its old link."""
    belief, point, chain = z.belief, z.point, z.chain
    cls = belief[n].cls
    e = z.count[POINTS]
    z.count[POINTS] = e + 1
    last = chain[cls].last_point
    point[e].belief = n
    point[e].drop = belief[n].up - belief[n].corner
    point[e].following = -1
    point[e].before = last
    if last >= 0:
        point[last].following = e
    else:
        chain[cls].first_point = e
    chain[cls].last_point = e
    chain[cls].changes += 1
    old = belief[n].point
    belief[n].point = e
    if old >= 0:
        # Those that looked at the old link last still find what follows it.
        before, following = point[old].before, point[old].following
        if before >= 0:
            point[before].following = following
        else:
            chain[cls].first_point = following
        point[following].before = before
        point[old].drop = 0.0
    if chain[cls].first_hull != -2:
        _add_to_hull(z, n)


@once
def _add_to_hull(z: State, n: int) -> None:
    """Put a point into its class's hull, or lower it there."""
    belief, hull, chain, count = z.belief, z.hull, z.chain, z.count
    cls = belief[n].cls
    i = belief[n].place
    if i < 0:
        i = chain[cls].newest_place + 1
        if i % LANES == 0:
            block = count[HULL_BLOCKS]
            count[HULL_BLOCKS] = block + 1
            hull[block].at = count[HULL_POOL]
            hull[block].following = -1
            size = chain[cls].n_states * LANES
            z.hull_pool[count[HULL_POOL] : count[HULL_POOL] + size] = 0.0
            count[HULL_POOL] += size
            if chain[cls].first_hull < 0:
                chain[cls].first_hull = block
            else:
                hull[chain[cls].last_hull].following = block
            chain[cls].last_hull = block
            i = block * LANES
            for j in range(LANES):
                z.place[i + j].worth = 0.0
        chain[cls].newest_place = i
        belief[n].place = i
        at = hull[i // LANES].at + i % LANES
        for k in range(belief[n].first, belief[n].end):
            z.hull_pool[at + (z.state[k] - chain[cls].first_state) * LANES] = z.prob[k]
        z.place[i].mask = belief[n].mask
    z.place[i].worth = belief[n].corner - belief[n].up


@inner
def _raise_low(z: State, n: int, every: bool) -> None:
    """Add the vector of the action whose continuations promise most, if that is more than the belief has.

    Actions that nobody looked into yet are tried only if `every` says so.
    """
    action, edge = z.action, z.edge
    x = z.belief[n].node
    A = z.reward.shape[0]
    most = _look_low(z, n) + z.number[TIE]
    best: Any = np.int64(-1)
    for a in range(A):
        i = x * A + a
        if action[i].up > most and (every or action[i].first >= 0):
            if every:
                _open(z, x, a)
            value = action[i].gain
            for e in range(action[i].first, action[i].end):
                value += edge[e].weight * _look_low(z, edge[e].belief)
            if value > most:
                most = value
                best = a
    if best >= 0:
        z.count[CHANGES] += 1
        _add_vector(z, n, best)


@inner
def _add_vector(z: State, n: int, a: int) -> None:
    """Alpha-vector of an action at a belief: after each observation, the vector that is best there."""
    chain, block, vector, follow, count = z.chain, z.block, z.vector, z.follow, z.count
    cls = z.belief[n].cls
    number = chain[cls].newest + 1
    if number % LANES == 0:
        i = count[BLOCKS]
        count[BLOCKS] = i + 1
        block[i].at = count[POOL]
        block[i].following = -1
        count[POOL] += chain[cls].n_states * LANES
        block[chain[cls].last_block].following = i
        chain[cls].last_block = i
        number = i * LANES
    chain[cls].newest = number
    z.made[count[VECTORS]] = number
    count[VECTORS] += 1
    f = count[FOLLOWS]
    vector[number].action = a
    vector[number].cls = cls
    vector[number].follow = f
    x = z.belief[n].node * z.reward.shape[0] + a
    for e in range(z.action[x].first, z.action[x].end):
        follow[f].seen = z.edge[e].seen
        follow[f].vector = z.belief[z.edge[e].belief].vector
        f += 1
    vector[number].follow_end = f
    count[FOLLOWS] = f
    _fill_vector(z, number)


@inner
def _fill_vector(z: State, number: int) -> None:
    """Work out the value of a plan in every state of its class, from those that it goes on with."""
    vector, follow, block, pool, chain = z.vector, z.follow, z.block, z.pool, z.chain
    by_seen, after, t_start, t_state, t_prob = z.by_seen, z.after, z.t_start, z.t_state, z.t_prob
    o_start, o_seen, o_prob, count = z.o_start, z.o_seen, z.o_prob, z.count
    S = z.reward.shape[1]
    a = vector[number].action
    for f in range(vector[number].follow, vector[number].follow_end):
        by_seen[follow[f].seen].chosen = follow[f].vector
    count[TICK] += 1
    tick = count[TICK]
    to = block[number // LANES].at + number % LANES
    base = z.o_table[a] * S
    first = chain[vector[number].cls].first_state
    for s in range(first, first + chain[vector[number].cls].n_states):
        total = 0.0
        for k in range(t_start[a * S + s], t_start[a * S + s + 1]):
            s2 = t_state[k]
            if after[s2].tick != tick:
                after[s2].tick = tick
                value = 0.0
                cls = z.class_of[s2]
                local = (s2 - chain[cls].first_state) * LANES
                for j in range(o_start[base + s2], o_start[base + s2 + 1]):
                    w = by_seen[o_seen[j]].chosen
                    if w < 0:
                        w = chain[cls].default
                    value += o_prob[j] * pool[block[w // LANES].at + local + w % LANES]
                after[s2].value = value
                count[WORK] += 2
            total += t_prob[k] * after[s2].value
        pool[to] = z.reward[a, s] + z.number[DISCOUNT] * total
        to += LANES
    for f in range(vector[number].follow, vector[number].follow_end):
        by_seen[follow[f].seen].chosen = -1


# Trials ---------------------------------------------------------------------------------------------------------


@once
def _next(z: State, n: int, a: int, target: float) -> int:
    """The belief after an action with the largest excess of its gap over the target, times its chance; -1: none."""
    edge = z.edge
    i = z.belief[n].node * z.reward.shape[0] + a
    most = 0.0
    found = -1
    for e in range(z.action[i].first, z.action[i].end):
        low = _look_low(z, edge[e].belief)
        excess = edge[e].weight * (z.belief[edge[e].belief].up - low - target)
        if excess > most:
            most = excess
            found = edge[e].belief
    return found


@once
def _step(z: State) -> None:
    """One step of a trial, down or back up."""
    belief, count, path = z.belief, z.count, z.path
    depth = count[DEPTH]
    n = path[depth]
    if belief[n].node < 0:
        _expand(z, n)
    a = _lower_up(z, n)
    _raise_low(z, n, False)
    if count[GOING_UP] == 0:
        target = z.number[TARGET] * z.number[DISCOUNT] ** (-depth)
        on = -1
        if belief[n].up - _look_low(z, n) > target and depth + 1 < path.size:
            on = _next(z, n, a, target / z.number[DISCOUNT])
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


@once
def _start_trial(z: State) -> int:
    """Begin at the root whose gap weighs most; whether that makes sense."""
    count = z.count
    gap = 0.0
    most = -1.0
    aim = 0.0
    for r in range(z.root.size):
        g = _look_up(z, r) - _look_low(z, r)
        gap += z.root[r] * g
        if z.root[r] * g > most:
            most = z.root[r] * g
            aim = z.number[SHRINK] * g
            z.path[0] = r
    if gap <= z.number[PRECISION]:
        return CLOSED
    if count[TRIALS] > 0 and count[CHANGES] == count[CHANGES_BEFORE]:
        return STALLED
    count[CHANGES_BEFORE] = count[CHANGES]
    z.number[TARGET] = max(AIM * z.number[PRECISION], aim)
    return BUDGET


@once
def _full(z: State) -> bool:
    """Whether some array may be too short for one more step."""
    short = False
    for kind in range(KINDS):
        short |= z.count[kind] + z.need[kind] > z.capacity[kind]
    return short


# What Python calls ----------------------------------------------------------------------------------------------


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

    Later beliefs may have been raised by what was done for earlier ones. `before` at inf: whatever they are at.
    """
    stop = z.count[WORK] + budget
    for i in range(first, beliefs.size):
        if z.count[WORK] >= stop or _full(z):
            return i
        n = beliefs[i]
        if z.belief[n].node < 0:
            _expand(z, n)
        if _look_low(z, n) <= before[i] + z.number[TIE]:
            _raise_low(z, n, True)
            _look_low(z, n)
        z.count[WORK] += 20
    return beliefs.size


@entry
def walk(z: State, beliefs: Ints, uniform: Floats, out: Ints, first: int) -> int:
    """From each belief, a random action and what follows it at random; where it stopped: room may run out.

    `out` is -1 where all is over.
    """
    A = z.reward.shape[0]
    for i in range(first, beliefs.size):
        if _full(z):
            return i
        n = beliefs[i]
        if z.belief[n].node < 0:
            _expand(z, n)
        x = z.belief[n].node
        a = min(int(uniform[i, 0] * A), A - 1)
        _open(z, x, a)
        left = uniform[i, 1] * z.number[DISCOUNT]
        out[i] = -1
        for e in range(z.action[x * A + a].first, z.action[x * A + a].end):
            left -= z.edge[e].weight
            if left < 0.0:
                out[i] = z.edge[e].belief
                break
    return beliefs.size


@inner
def _write(z: State, state: NDArray[np.int32], prob: Floats) -> None:
    """Write a support behind the last belief."""
    first = z.belief[z.count[BELIEFS]].first
    for k in range(state.size):
        z.state[first + k] = state[k]
        z.prob[first + k] = prob[k]
    z.belief[z.count[BELIEFS]].end = first + state.size


@entry
def add_belief(z: State, cls: int, state: NDArray[np.int32], prob: Floats) -> int:
    """Add a belief; its number."""
    _write(z, state, prob)
    return _add_belief(z, cls)


@entry
def upper_at(z: State, cls: int, state: NDArray[np.int32], prob: Floats) -> float:
    """Upper bound at a belief, which is not kept; there must be room for one more."""
    _write(z, state, prob)
    n = z.count[BELIEFS]
    z.belief[n].cls = cls
    _forget(z, n)
    return _look_up(z, n)


@entry
def rehash(z: State) -> None:
    """Fill the table of beliefs anew."""
    last = z.table.size - 1
    for n in range(z.count[BELIEFS]):
        slot = _hash(z, n) & last
        while z.table[slot] >= 0:
            slot = (slot + 1) & last
        z.table[slot] = n


@entry
def needed(z: State, wanted: NDArray[np.bool_]) -> None:
    """Among vectors (a flag each), want those too that the plans of wanted ones go on with after their first action.

    What single actions go on with, in other classes, is not among them.
    """
    for cls in range(z.chain.size):
        wanted[z.chain[cls].default] = True
    for i in range(z.count[VECTORS] - 1, -1, -1):
        number = z.made[i]
        if wanted[number]:
            for f in range(z.vector[number].follow, z.vector[number].follow_end):
                wanted[z.follow[f].vector] = True


@entry
def refill(z: State) -> None:
    """Work out all plans for the rewards, and the values of single actions, that the state has now.

    A plan goes on with those that were made before it, so that one pass in this order gives their values. The first
    are the single actions of each class.
    """
    for i in range(z.chain.size * z.reward.shape[0], z.count[VECTORS]):
        _fill_vector(z, z.made[i])


@entry
def restart(z: State) -> None:
    """Forget all bounds, and keep the graph of beliefs, for the rewards and the vectors that the state has now."""
    chain, count = z.chain, z.count
    for cls in range(chain.size):
        chain[cls].first_point = -1
        chain[cls].last_point = -1
        chain[cls].changes = 0
        chain[cls].first_hull = min(chain[cls].first_hull, -1)
        chain[cls].newest_place = -1
    for kind in (POINTS, HULL_BLOCKS, HULL_POOL, DEPTH, GOING_UP, TRIALS):
        count[kind] = 0
    for n in range(count[BELIEFS]):
        _forget(z, n)
    for x in range(count[EXPANDED]):
        _promise(z, x)
