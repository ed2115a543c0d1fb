"""Compiled kernels of point-based value iteration; see `solvers.epoch_solver` for the mathematics.

One backup (`_backup`) serves both bounds, every model and the execution of policies. The number of hidden
states enters only where a bound is *looked up* at a belief (`_follow`, `_slot`) and where a node's bounds are put
in order for that (`_order_vectors`, `_order_upper`): with two states both bounds are piecewise linear on [0, 1],
and a lookup walks from where the last one ended; with a few more it descends a tree of simplices
(`solvers._simplices`); with many it scans.

Numba counts references to arrays, atomically, wherever one is taken out of a tuple: inner loops use arrays that
were taken out before.

The arrays are those of `solvers._epoch_arrays`.
"""
# mypy: disallow-untyped-decorators=False
# ruff: noqa: E741 (O is the number of observations)

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from solvers._epoch_arrays import TIE, Beliefs, Bounds, Cells, Epoch, Floats, Ints, Model

# Each compiled version takes time at the first use: entries are few, take arrays in one layout, and get their room from
# Python; inner functions take no literals (np.int64(0)), and branches hang on the length of an argument (`fixed`: 2
# with two states, 3 with cells, else 0), by which Numba drops the others before it compiles. Only entries can be called
# from Python.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(**_INNER)
inlined = numba.njit(forceinline=True, **_INNER)


@inner
def _best_at_points(z: Bounds, node: int) -> None:
    """Find the vector that is best at each point, with a few states, and drop those that are nowhere best."""
    first = z.offset[node]
    n = z.n_vectors[node]
    points, vectors, action, follow, left, witness = z.points, z.vectors, z.action, z.follow, z.left, z.witness
    S = points.shape[1]
    place = np.full(n, -1)
    for p in range(first, z.offset[node + 1]):
        highest = -np.inf
        for i in range(n):
            value = 0.0
            for s in range(S):
                value += points[p, s] * vectors[first + i, s]
            if value > highest:
                highest = value
                left[p] = i
        place[left[p]] = 0
    kept = 0
    for i in range(n):
        if place[i] < 0:
            continue
        place[i] = kept
        witness[first + kept] = witness[first + i]
        for s in range(S):
            vectors[first + kept, s] = vectors[first + i, s]
        for signal in range(follow.shape[1]):
            action[first + kept, signal] = action[first + i, signal]
            for o in range(follow.shape[2]):
                follow[first + kept, signal, o] = follow[first + i, signal, o]
        kept += 1
    for p in range(first, z.offset[node + 1]):
        left[p] = place[left[p]]
    z.n_vectors[node] = kept


@inner
def _order_vectors(fixed: Any, tie: float, z: Bounds, node: int) -> None:
    """Drop alpha-vectors that are nowhere best; with two states, order them and find where each is best."""
    first = z.offset[node]
    n = z.n_vectors[node]
    points, vectors, action, follow = z.points, z.vectors, z.action, z.follow
    S = points.shape[1]
    if len(fixed) == 3:
        _best_at_points(z, node)
        return
    kept = 0
    edge = np.empty(n)  # two states: where the next vector becomes better
    for i in range(first, first + n):
        keep = True
        if len(fixed) == 2:
            while kept > 0:
                t = first + kept - 1
                turn = (vectors[i, 1] - vectors[i, 0]) - (vectors[t, 1] - vectors[t, 0])
                lead = (vectors[i, 0] + vectors[i, 1]) - (vectors[t, 0] + vectors[t, 1])
                if turn <= tie:  # parallel: the higher one stays, the earlier one if they are equal
                    if lead > 2 * tie:
                        kept -= 1
                        continue
                    keep = False
                    break
                cross = (vectors[t, 0] - vectors[i, 0]) / turn
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
                    if vectors[i, s] > vectors[j, s] + tie:
                        below = False
                        break
                if below:
                    keep = False
                    break
        if keep:
            k = first + kept
            z.witness[k] = z.witness[i]
            for s in range(S):
                vectors[k, s] = vectors[i, s]
            for signal in range(follow.shape[1]):
                action[k, signal] = action[i, signal]
                for o in range(follow.shape[2]):
                    follow[k, signal, o] = follow[i, signal, o]
            kept += 1
    z.n_vectors[node] = kept
    if len(fixed) == 2:
        i = 0
        for p in range(first, z.offset[node + 1] - 1):
            while i + 1 < kept and points[p, 1] > edge[i]:
                i += 1
            z.left[p] = i
            z.bend[p] = edge[i] if i + 1 < kept and edge[i] < points[p + 1, 1] else 2.0


@inner
def _order_upper(fixed: Any, z: Bounds, node: int) -> None:
    """Prepare the interpolation of the upper bound between the points of `node`."""
    points, upper, chord = z.points, z.upper, z.chord
    first = z.offset[node]
    last = z.offset[node + 1]
    if len(fixed) == 2:
        for j in range(first, last - 1):
            slope = (upper[j + 1] - upper[j]) / (points[j + 1, 1] - points[j, 1])
            chord[j, 0] = upper[j] - slope * points[j, 1]
            chord[j, 1] = chord[j, 0] + slope
        return
    if len(fixed) == 3:
        return
    S = points.shape[1]
    for j in range(first + S, last):
        base = 0.0
        for s in range(S):
            base += points[j, s] * upper[first + s]
        chord[j, 0] = min(0.0, upper[j] - base)


@inner
def _open(fixed: Any, m: Model, node: int, first: int, last: int, e: Epoch) -> int:
    """Lay out the epoch of a node for the signals first:last; returns the number of runs."""
    joint, table_of, discount, terminal, gain, move = m.joint, m.table_of, m.discount, m.terminal, e.gain, e.move
    t = table_of[node]
    A, O = joint.shape[2], joint.shape[3]
    S = len(fixed) if len(fixed) == 2 else joint.shape[4]
    n = 0
    runs = 0
    for a in range(A):
        for k in range(first, last):
            for s in range(S):
                gain[s, a, k - first] = m.reward[t, k, a, s]
        for o in range(O):
            before = -1
            for k in range(first, last):
                after = m.children[node, m.successor[t, k, a, o]]
                ends = table_of[after] < 0
                for s in range(S):
                    for s2 in range(S):
                        p = discount * joint[t, k, a, o, s, s2]
                        if not ends:
                            move[s, s2, n] = p
                        elif p > 0.0:
                            gain[s, a, k - first] += p * terminal[after, s2]
                if ends:
                    continue
                if after != before:
                    e.action[runs] = a
                    e.seen[runs] = o
                    e.child[runs] = after
                    runs += 1
                    before = after
                e.signal[n] = k - first
                n += 1
                e.run[runs] = n
    return runs


@inner
def _descend(cells: Cells, node: int, here: Floats, mass: float) -> int:
    """Cell of `node` that has no children and holds a belief; `here` becomes its barycentric coordinates there.

    It comes in as the belief itself, with this mass: its coordinates in the first cell, whose corners are the hidden
    states. Beliefs between two cells, up to rounding, always go to the first, since in the other one, which may have
    other points, bounds may differ.
    """
    S = here.size
    child, pair, share = cells.child, cells.pair, cells.share
    tie = TIE * mass
    q = cells.offset[node]
    while child[q] >= 0:
        i = pair[q, 0]
        if i >= 0:  # the nearer corner is replaced by the middle, which is twice as far from the other one
            j = pair[q, 1]
            if here[i] <= here[j] + tie:
                here[j] = max(0.0, here[j] - here[i])
                here[i] *= 2.0
                q = child[q]
            else:
                here[i] -= here[j]
                here[j] *= 2.0
                q = child[q] + 1
            continue
        least = np.inf
        i = 0
        rank = 0
        behind = 0
        for s in range(S):
            if share[q, s] > 0.0:
                ratio = here[s] / share[q, s]
                if ratio < least - tie:
                    least = ratio
                    i = s
                    behind = rank
                rank += 1
        for s in range(S):
            here[s] = max(0.0, here[s] - least * share[q, s])
        here[i] = least
        q = child[q] + behind
    return int(q)


@inlined
def _follow(
    fixed: Any, z: Bounds, e: Epoch, r: int, first: int, last: int, beliefs: Floats, i: int, b: Beliefs
) -> None:
    """Where the outcomes first:last, of run r, lead from beliefs[i], and both bounds of the child node there.

    With two states bounds are piecewise linear in the share of state 1; sorted outcomes make it faster.
    """
    S = len(fixed) if len(fixed) == 2 else beliefs.shape[1]
    move, x, mass, bests, pieces, lows, ups = e.move, b.x, b.mass, b.best, b.piece, b.low, b.up
    points, chord, vectors = z.points, z.chord, z.vectors
    begin = z.offset[e.child[r]]
    size = z.offset[e.child[r] + 1] - begin
    for l in range(first, last):
        mass[l] = 0.0
    for s2 in range(S):
        for l in range(first, last):
            value = 0.0
            for s in range(S):
                value += beliefs[i, s] * move[s, s2, l]
            x[s2, l] = value
            mass[l] += value
    if len(fixed) == 2:
        left, bend = z.left, z.bend
        j = begin
        for l in range(first, last):
            while j < begin + size - 2 and x[1, l] > points[j + 1, 1] * mass[l]:
                j += 1
            while j > begin and x[1, l] < points[j, 1] * mass[l]:
                j -= 1
            pieces[l] = j - begin
        for l in range(first, last):
            j = begin + pieces[l]
            best = left[j] + (1 if x[1, l] > bend[j] * mass[l] else 0)
            bests[l] = best
            lows[l] = x[0, l] * vectors[begin + best, 0] + x[1, l] * vectors[begin + best, 1]
            ups[l] = x[0, l] * chord[j, 0] + x[1, l] * chord[j, 1]
        return
    if len(fixed) == 3:
        left, upper, corner, here, share = z.left, z.upper, z.cells.corner, b.here, b.share
        last_used = 0
        for l in range(first, last):
            if mass[l] <= 0.0:  # impossible here, perhaps not in another model: the vector last used
                bests[l] = last_used
                lows[l] = 0.0
                ups[l] = 0.0
                continue
            for s in range(S):
                here[s] = x[s, l]
            q = _descend(z.cells, e.child[r], here, mass[l])
            highest = -np.inf
            above = 0.0
            for i in range(S):
                j = corner[q, i]
                share[i, l] = here[i]
                above += here[i] * upper[j]
                value = 0.0
                for s in range(S):
                    value += x[s, l] * vectors[begin + left[j], s]
                if value > highest:
                    highest = value
                    last_used = left[j]
            pieces[l] = q
            bests[l] = last_used
            lows[l] = highest
            ups[l] = above
        return
    n = z.n_vectors[e.child[r]]
    best = 0
    for l in range(first, last):
        if mass[l] <= 0.0:  # impossible here, perhaps not in another model: the vector last used
            bests[l] = best
            pieces[l] = 0
            lows[l] = 0.0
            ups[l] = 0.0
            continue
        best = 0
        highest = -np.inf
        for v in range(n):
            value = 0.0
            for s in range(S):
                value += x[s, l] * vectors[begin + v, s]
            if value > highest:
                highest = value
                best = v
        base = 0.0
        for s in range(S):
            base += x[s, l] * z.upper[begin + s]
        lowest = 0.0
        piece = 0
        for j in range(begin + S, begin + size):
            drop = chord[j, 0]
            if drop * mass[l] >= lowest:
                continue  # the point's share of x is at most all of it
            share = np.inf
            for s in range(S):
                if points[j, s] > 0.0:
                    share = min(share, x[s, l] / points[j, s])
                    if drop * share >= lowest:
                        break
            if drop * share < lowest:
                lowest = drop * share
                piece = j - begin
        bests[l] = best
        pieces[l] = piece
        lows[l] = highest
        ups[l] = base + lowest


@inner
def _backup(
    fixed: Any,
    m: Model,
    z: Bounds,
    e: Epoch,
    runs: int,
    signals: int,
    beliefs: Floats,
    i: int,
    b: Beliefs,
    action: NDArray[np.int16],
    action_up: NDArray[np.int16],
    row: int,
) -> float:
    """Back up both bounds of an open epoch at beliefs[i]; returns the upper one.

    Row `row` of action (·, K) becomes greedy in the lower bound, that of action_up (·, K) in the upper one. Among
    actions that differ by no more than the tie tolerance, the one with the lowest index is taken.
    """
    A = m.joint.shape[2]
    S = len(fixed) if len(fixed) == 2 else beliefs.shape[1]
    low, up, signal, gain, low_after, up_after = e.low, e.up, e.signal, e.gain, b.low, b.up
    mass = 0.0
    for s in range(S):
        mass += beliefs[i, s]
    tie = m.tie * mass
    for a in range(A):
        for k in range(signals):
            value = 0.0
            for s in range(S):
                value += beliefs[i, s] * gain[s, a, k]
            low[a, k] = value
            up[a, k] = value
    for r in range(runs):
        a = e.action[r]
        _follow(fixed, z, e, r, e.run[r], e.run[r + 1], beliefs, i, b)
        for l in range(e.run[r], e.run[r + 1]):
            low[a, signal[l]] += low_after[l]
            up[a, signal[l]] += up_after[l]
    total = 0.0
    for k in range(signals):
        best_low = low[0, k]
        best_up = up[0, k]
        most_up = best_up
        choice = 0
        choice_up = 0
        for a in range(1, A):
            if low[a, k] > best_low + tie:
                best_low = low[a, k]
                choice = a
            if up[a, k] > best_up + tie:
                best_up = up[a, k]
                choice_up = a
            most_up = max(most_up, up[a, k])
        total += most_up
        action[row, k] = choice
        action_up[row, k] = choice_up
    return total


@inner
def _assemble(fixed: Any, z: Bounds, e: Epoch, runs: int, b: Beliefs, row: int) -> None:
    """Write down the plan in `row` that was just backed up, and its alpha-vector."""
    action, follow, vectors, signal, gain, move, best = z.action, z.follow, z.vectors, e.signal, e.gain, e.move, b.best
    S = len(fixed) if len(fixed) == 2 else vectors.shape[1]
    for s in range(S):
        vectors[row, s] = 0.0
    for k in range(follow.shape[1]):
        for o in range(follow.shape[2]):
            follow[row, k, o] = 0
        for s in range(S):
            vectors[row, s] += gain[s, action[row, k], k]
    for r in range(runs):
        first = z.offset[e.child[r]]
        for l in range(e.run[r], e.run[r + 1]):
            if action[row, signal[l]] == e.action[r]:
                follow[row, signal[l], e.seen[r]] = best[l]
                for s in range(S):
                    for s2 in range(S):
                        vectors[row, s] += move[s, s2, l] * vectors[first + best[l], s2]


@entry
def sweep(fixed: Any, m: Model, z: Bounds, e: Epoch, b: Beliefs, improve: bool) -> None:
    """Back up both bounds at every point, from the last node to the first.

    Without `improve`, only recover the plan behind every alpha-vector from its witness: vectors come out the same.
    """
    K, S = m.joint.shape[1], m.joint.shape[4]
    for node in range(m.table_of.size - 1, -1, -1):
        first = z.offset[node]
        if m.table_of[node] < 0:
            for s in range(S):
                z.vectors[first, s] = m.terminal[node, s]
            z.witness[first] = first
            z.n_vectors[node] = 1
            continue
        runs = _open(fixed, m, node, np.int64(0), K, e)
        for p in range(first, z.offset[node + 1] if improve else first + z.n_vectors[node]):
            i = p if improve else z.witness[p]
            up = _backup(fixed, m, z, e, runs, K, z.points, i, b, z.action, z.action_up, p)
            _assemble(fixed, z, e, runs, b, p)
            if improve:
                z.upper[p] = up
                z.witness[p] = p
        if improve:
            z.n_vectors[node] = z.offset[node + 1] - first
            _order_vectors(fixed, m.tie, z, node)
            _order_upper(fixed, z, node)


@inner
def _slot(fixed: Any, z: Bounds, node: int, b: Beliefs, l: int, first: Ints, used: Ints, mass: Floats) -> int:
    """Where beliefs like b.x[:, l] are gathered: the interval between points, the cell or its corner, equal beliefs."""
    if len(fixed) == 2:
        return int(first[node] + b.piece[l])
    if len(fixed) == 3:  # a slot for each cell of the node, then one for each point
        q = b.piece[l]
        for i in range(z.points.shape[1]):
            if b.share[i, l] > (1.0 - 1e-9) * b.mass[l]:
                return int(z.cells.offset[node + 1] + z.cells.corner[q, i])
        return int(z.offset[node] + q)
    x, total = b.x, b.mass[l]
    S = x.shape[0]
    nearest = -1
    least = np.inf
    for q in range(first[node], first[node] + used[node]):
        there = 0.0
        for s in range(S):
            there += mass[q, s]
        distance = 0.0
        for s in range(S):
            distance += abs(x[s, l] / total - mass[q, s] / there)
        if distance < least:
            least = distance
            nearest = q
    q = int(first[node] + used[node])
    if least > 1e-10 and q < first[node + 1]:
        used[node] += 1
        return q
    return nearest


@inner
def _gather(
    z: Bounds, b: Beliefs, l: int, node: int, q: int, wide: float, mass: Floats, peak: Floats, widest: Floats
) -> None:
    """Add the belief b.x[:, l] to those of slot q of a node with cells; the one with the widest gap is the peak."""
    S = b.x.shape[0]
    total = b.mass[l]
    apart = 0.0
    for s in range(S):
        mass[q, s] += b.x[s, l]
        apart += abs(b.share[s, l] / total - peak[q, s])
    if q >= z.offset[node] + z.cells.offset[node + 1]:
        return  # a point: there is nothing to choose
    if apart < 1e-9:
        widest[q] += wide
    elif wide > widest[q]:
        widest[q] = wide
        for s in range(S):
            peak[q, s] = b.share[s, l] / total


@inner
def _concentrate(z: Bounds, node: int, q: int, peak: Floats, mass: Floats) -> None:
    """Put all mass of slot q, a cell, on its peak."""
    S = mass.shape[1]
    total = 0.0
    for s in range(S):
        total += mass[q, s]
        mass[q, s] = 0.0
    for i in range(S):
        for s in range(S):
            mass[q, s] += total * peak[q, i] * z.points[z.cells.corner[q - z.offset[node], i], s]


@entry
def explore(
    fixed: Any,
    m: Model,
    z: Bounds,
    e: Epoch,
    b: Beliefs,
    start: Floats,
    gap_at_start: float,
    negligible: float,
    first: Ints,
    used: Ints,
    mass: Floats,
    gap: Floats,
    widest: Floats,
    excess: Floats,
    peak: Floats,
) -> None:
    """Follow the upper-greedy actions from the start belief and see where the bounds differ.

    Beliefs are gathered in slots first[n]:first[n + 1], of which used[n] are taken. mass (Q, S), weighted by
    discounted reach probability, is their sum with two states; with many all their weight lies on the one with the
    largest weighted gap. gap (Q,) is the sum of the weighted gaps and widest (Q,) the largest; excess (Q,) is how much
    does not come from the children, so that a point there would remove it. In cells, mass is the sum unless one
    belief, its barycentric coordinates in peak (Q, S), has most of the gap; beliefs that are points already are
    gathered apart from the others, since no point would help them. All come in as zeros.
    """
    K = m.joint.shape[1]
    S = len(fixed) if len(fixed) == 2 else mass.shape[1]
    action, action_up = e.plan, e.plan_up
    q = first[0]
    if len(fixed) == 2:
        while q < z.offset[1] - 2 and start[1] > z.points[q + 1, 1]:
            q += 1
    used[0] = 1
    if len(fixed) == 3:
        for s in range(S):
            b.here[s] = start[s]
        b.mass[0] = 1.0
        b.piece[0] = _descend(z.cells, np.int64(0), b.here, 1.0)
        for s in range(S):
            b.x[s, 0] = start[s]
            b.share[s, 0] = b.here[s]
        q = _slot(fixed, z, np.int64(0), b, np.int64(0), first, used, mass)
        _gather(z, b, np.int64(0), np.int64(0), q, gap_at_start, mass, peak, widest)
    else:
        for s in range(S):
            mass[q, s] = start[s]
    gap[q] = gap_at_start
    for node in range(m.table_of.size):
        if m.table_of[node] < 0:
            continue
        if len(fixed) == 2:
            used[node] = z.offset[node + 1] - z.offset[node] - 1
        elif len(fixed) == 3:
            used[node] = first[node + 1] - first[node]
        runs = _open(fixed, m, node, np.int64(0), K, e)
        for q in range(first[node], first[node] + used[node]):
            if gap[q] <= negligible:
                continue
            if len(fixed) == 2:  # greedy actions of the nearer end of the interval
                p = z.offset[node] + q - first[node]
                middle = 0.5 * (z.points[p, 1] + z.points[p + 1, 1])
                greedy = z.action_up
                row = p + 1 if mass[q, 1] > middle * (mass[q, 0] + mass[q, 1]) else p
            else:
                if len(fixed) == 3 and widest[q] > 0.5 * gap[q]:
                    _concentrate(z, node, q, peak, mass)
                greedy = action_up
                row = np.int64(0)
                _backup(fixed, m, z, e, runs, K, mass, q, b, action, action_up, row)
            excess[q] = gap[q]
            for r in range(runs):
                a = e.action[r]
                begin = e.run[r]
                end = e.run[r + 1]
                if len(fixed) == 2:
                    while begin < end and greedy[row, e.signal[begin]] != a:
                        begin += 1
                    while begin < end and greedy[row, e.signal[end - 1]] != a:
                        end -= 1
                    _follow(fixed, z, e, r, begin, end, mass, q, b)
                for l in range(begin, end):
                    wide = b.up[l] - b.low[l]
                    if greedy[row, e.signal[l]] != a or wide <= 0.0:
                        continue
                    excess[q] -= wide
                    i = _slot(fixed, z, e.child[r], b, l, first, used, mass)
                    gap[i] += wide
                    if len(fixed) == 2:
                        mass[i, 0] += b.x[0, l]
                        mass[i, 1] += b.x[1, l]
                        continue
                    if len(fixed) == 3:
                        _gather(z, b, l, e.child[r], i, wide, mass, peak, widest)
                        continue
                    # Off the points themselves sawtooth is loose: go on with a belief that is reached.
                    there = 0.0
                    for s in range(S):
                        there += mass[i, s]
                    for s in range(S):
                        here = b.x[s, l] / b.mass[l] if wide > widest[i] else mass[i, s] / there
                        mass[i, s] = here * (there + b.mass[l])
                    widest[i] = max(widest[i], wide)


@entry
def action_values(
    fixed: Any, m: Model, z: Bounds, e: Epoch, b: Beliefs, node: int, beliefs: Floats, signals: Ints, out: Floats
) -> None:
    """Lower-bound value out (B, A) of each action at beliefs (B, S) after signals (B,)."""
    for i in range(beliefs.shape[0]):
        runs = _open(fixed, m, node, signals[i], signals[i] + 1, e)
        _backup(fixed, m, z, e, runs, np.int64(1), beliefs, i, b, e.plan, e.plan_up, np.int64(0))
        for a in range(out.shape[1]):
            out[i, a] = e.low[a, 0]
