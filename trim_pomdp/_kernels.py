"""Compiled loops of the routing model: propagation, decisions, exact evaluation, simulation.

They stand in one module because Numba's on-disk cache follows the file that a function is in, not the functions
that it calls: a kernel that calls into another file would go on running that file's old code after an update.
Their Python callers document what goes in and out.

Throughout, actions are 0 (keep) and 1 (regenerate), classes 0, 1, 2 are S0 (right), S1 (derailed), S2 (first error),
hidden states 0 and 1 are a right and a derailed prefix.
"""

from typing import Any

import numpy as np
from numba import njit

# The first use of a kernel compiles it: arrays that are needed beside the results come from Python, and sums over axes
# are left to numpy, since to compile those takes longer than the loops.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
compiled = njit(cache=True, **_OPTIONS)
helper = njit(inline="always", **_OPTIONS)

MEMORYLESS, POSTERIOR, ALPHA = 0, 1, 2


def propagate_memoryless(regenerate: Any, p_w: Any, end: Any, after: Any) -> Any:
    n = len(regenerate)
    accuracy, steps = np.zeros(n), np.zeros(n)
    kept, regenerated = np.zeros((n, 3)), np.zeros((n, 3))
    square = np.zeros((n, 2))
    _propagate_memoryless(regenerate, p_w, end, after, np.empty((2, 2, 5)), accuracy, steps, kept, regenerated, square)
    kept_variance = square[:, 0] - kept.sum(axis=1) ** 2
    regenerated_variance = square[:, 1] - regenerated.sum(axis=1) ** 2
    return accuracy, steps, kept, regenerated, kept_variance, regenerated_variance


@compiled
def _propagate_memoryless(regenerate, p_w, end, after, state, accuracy, steps, kept, regenerated, square):
    """Add to the results; `square` (n, 2) sums (kept steps)² and (regenerated steps)² over finished problems.

    `state` (2, 2, 5) is room: now and after the step, by whether the prefix is right or derailed, its mass, E[count m]
    and E[count m²] on it, with kept steps as m = 0 and regenerated ones as m = 1.
    """
    n, T = regenerate.shape[0], regenerate.shape[1]
    for i in range(n):
        now = 0
        for s in range(2):
            for m in range(5):
                state[0, s, m] = 0.0
        state[0, 0, 0] = 1.0
        for t in range(T):
            new = 1 - now
            for s in range(2):
                for m in range(5):
                    state[new, s, m] = 0.0
            steps[i] += state[now, 0, 0] + state[now, 1, 0]
            for c in range(3):
                s = 1 if c == 1 else 0
                share = p_w[t] if c == 0 else (1.0 - p_w[t] if c == 2 else 1.0)
                ends = end[t, c]
                for a in range(2):
                    act = regenerate[i, t, c] if a == 1 else 1.0 - regenerate[i, t, c]
                    weight = share * act
                    if weight == 0.0:
                        continue
                    mass = state[now, s, 0]
                    flow = mass * weight
                    if a == 1:
                        regenerated[i, c] += flow
                    else:
                        kept[i, c] += flow
                    over = 0.0
                    for to in range(2):
                        ending = (1.0 - ends) * after[t, 0, a, c, 1, to] + ends * after[t, 1, a, c, 1, to]
                        if to == 0:
                            accuracy[i] += flow * ending
                        over += ending
                    for m in range(2):
                        # Action a adds one to the counter m == a: kept steps first, regenerated second.
                        one = 1.0 if m == a else 0.0
                        first, second = state[now, s, 1 + m], state[now, s, 3 + m]
                        square[i, m] += weight * (second + 2.0 * one * first + one * mass) * over
                    for to in range(2):
                        on = (1.0 - ends) * after[t, 0, a, c, 0, to] + ends * after[t, 1, a, c, 0, to]
                        state[new, to, 0] += flow * on
                        for m in range(2):
                            one = 1.0 if m == a else 0.0
                            first, second = state[now, s, 1 + m], state[now, s, 3 + m]
                            state[new, to, 1 + m] += weight * (first + one * mass) * on
                            state[new, to, 3 + m] += weight * (second + 2.0 * one * first + one * mass) * on
            now = new


@helper
def end_evidence(end, step, ended, out):
    """Likelihood by class of an end, or of none. Writes `out` (3,)."""
    for c in range(3):
        out[c] = end[step, c] if ended else 1.0 - end[step, c]


@helper
def filtered(q, success, likelihood, end, out):
    """Belief over S0, S1, S2 after a score; `likelihood` and `end` are by class. Writes `out` (3,).

    An end (or none) that no class can explain is no evidence, and neither is such a score.
    """
    b0 = q * success * likelihood[0]
    b1 = (1.0 - q) * likelihood[1]
    b2 = q * (1.0 - success) * likelihood[2]
    if b0 * end[0] + b1 * end[1] + b2 * end[2] > 0.0:
        b0 *= end[0]
        b1 *= end[1]
        b2 *= end[2]
    total = b0 + b1 + b2
    if total > 0.0:
        out[0] = b0 / total
        out[1] = b1 / total
        out[2] = b2 / total
    else:
        out[0] = q * success
        out[1] = 1.0 - q
        out[2] = q * (1.0 - success)


@helper
def value_of(vectors, first, last, q):
    """Largest alpha-vector at (q, 1 − q): the last one of the envelope that leads from a q below."""
    low, high = first, last - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if vectors[middle, 2] <= q:
            low = middle
        else:
            high = middle - 1
    return vectors[low, 0] + q * vectors[low, 1]


@helper
def value_and_q(b, ended, action, step, vectors, offset, after, reward):
    """Value of an action, and q after it: where the solution goes on, or, where it cannot, where it is over."""
    over_right = 0.0
    over = 0.0
    on_right = 0.0
    on = 0.0
    for c in range(3):
        over_right += b[c] * after[step, ended, action, c, 1, 0]
        over += b[c] * after[step, ended, action, c, 1, 1]
        on_right += b[c] * after[step, ended, action, c, 0, 0]
        on += b[c] * after[step, ended, action, c, 0, 1]
    over += over_right
    on += on_right
    value = reward * over_right
    if on > 0.0:
        q = on_right / on
        value += on * value_of(vectors, offset[step], offset[step + 1], q)
    else:
        q = over_right / over
    return value, q


@helper
def gain_and_price(b, ended, step, vectors, offset, after, price, reward):
    """Gain of intervening, its price, and q after keeping and after regenerating."""
    cost = b[0] * price[step, 0] + b[1] * price[step, 1] + b[2] * price[step, 2]
    kept, keep = value_and_q(b, ended, 0, step, vectors, offset, after, reward)
    redone, redo = value_and_q(b, ended, 1, step, vectors, offset, after, reward)
    return redone - kept, cost, keep, redo


@helper
def rule_step(t, n_steps, ended):
    """Step whose tables a rule uses at step index t: beyond its cap, those of the last step before the cap."""
    if t < n_steps - 1 or (ended and t == n_steps - 1):
        return t
    return max(n_steps - 2, 0)


@compiled
def filter_beliefs(bins, lengths, ended, by_bin, success, end, recovery, out):
    e = np.empty(3)
    n_steps = len(success)
    for i in range(len(lengths)):
        q = 1.0
        for t in range(lengths[i]):
            ends = ended[i] and t == lengths[i] - 1
            step = rule_step(t, n_steps, ends)
            end_evidence(end, step, ends, e)
            filtered(q, success[step], by_bin[bins[i, t]], e, out[i, t])
            q = out[i, t, 0] + recovery[step] * out[i, t, 1]


@helper
def cell_of(q, cells):
    """Belief cell of a probability."""
    return int(q * cells + 0.5)


@compiled
def decide(q, bins, ended, steps, rule, out):
    success, end, emission, vectors, offset, after, price, reward, _ = rule
    b = np.empty(3)
    e = np.empty(3)
    n_steps = len(success)
    for i in range(len(q)):
        t = rule_step(steps[i], n_steps, ended[i])
        end_evidence(end, t, ended[i], e)
        filtered(q[i], success[t], emission[:, bins[i]], e, b)
        gain, cost, _, _ = gain_and_price(b, int(ended[i]), t, vectors, offset, after, price, reward)
        out[i] = gain > cost


def propagate_alpha(
    rule: Any, true_success: Any, true_end: Any, true_emission: Any, true_after: Any, tokens: Any = None
) -> Any:
    totals = np.zeros((len(true_success), 9))
    mass = np.zeros((2, 2, rule[-1] + 1))
    mass[0, 0, -1] = 1.0
    length = None if tokens is None else np.zeros_like(mass)
    by_bin = np.ascontiguousarray(rule[2].T)
    room = np.empty((4, 3))
    true = (true_success, true_end, true_emission, true_after)
    _propagate_alpha(rule, by_bin, true, tokens, mass, length, room, totals)
    return totals


@compiled
def _propagate_alpha(rule, by_bin, true, tokens, mass, length, room, totals):
    """Add to `totals` (T, 9) where it falls: accuracy, counts, and tokens of the solution before kept, redone steps.

    `mass` (2, 2, cells + 1): now and after the step, prefix right or derailed, by belief cell; `length` is E[tokens of
    the solution so far] on it, to which a step adds `tokens` (2, 3), by action and class. Both may be None, for which
    Numba compiles loops without lengths.
    """
    true_success, true_end, true_emission, true_after = true
    success, end, _, vectors, offset, after, price, reward, cells = rule
    T, J = len(true_success), len(by_bin)
    n_steps = len(success)
    b, e, flow, before = room[0], room[1], room[2], room[3]
    now = 0
    for t in range(T):
        new = 1 - now
        for s in range(2):
            for g in range(cells + 1):
                mass[new, s, g] = 0.0
                if length is not None:
                    length[new, s, g] = 0.0
        for g in range(cells + 1):
            right_mass, derailed_mass = mass[now, 0, g], mass[now, 1, g]
            if right_mass + derailed_mass < 1e-14:
                continue
            q = g / cells
            prior0 = right_mass * true_success[t]
            prior2 = right_mass - prior0
            if length is not None:
                before[0] = length[now, 0, g] / right_mass if right_mass > 0.0 else 0.0
                before[1] = length[now, 1, g] / derailed_mass if derailed_mass > 0.0 else 0.0
                before[2] = before[0]
            for j in range(J):
                flow0 = prior0 * true_emission[0, j]
                flow1 = derailed_mass * true_emission[1, j]
                flow2 = prior2 * true_emission[2, j]
                if flow0 + flow1 + flow2 == 0.0:
                    continue
                known_step = -1
                for ended in range(2):
                    ends = ended == 1
                    end_evidence(true_end, t, ends, flow)
                    flow[0] *= flow0
                    flow[1] *= flow1
                    flow[2] *= flow2
                    if flow[0] + flow[1] + flow[2] == 0.0:
                        continue
                    step = rule_step(t, n_steps, ends)
                    # Equal hazards say nothing, so the belief is the same whether the step ends or not.
                    if step != known_step or end[step, 0] != end[step, 1] or end[step, 0] != end[step, 2]:
                        known_step = step
                        end_evidence(end, step, ends, e)
                        filtered(q, success[step], by_bin[j], e, b)
                    gain, cost, keep, redo = gain_and_price(b, ended, step, vectors, offset, after, price, reward)
                    action = 1 if gain > cost else 0
                    cell = cell_of(redo if action == 1 else keep, cells)
                    for c in range(3):
                        totals[t, 1 + 3 * action + c] += flow[c]
                        totals[t, 0] += flow[c] * true_after[t, ended, action, c, 1, 0]
                        right = flow[c] * true_after[t, ended, action, c, 0, 0]
                        derailed = flow[c] * true_after[t, ended, action, c, 0, 1]
                        mass[new, 0, cell] += right
                        mass[new, 1, cell] += derailed
                        if length is not None:
                            totals[t, 7 + action] += flow[c] * before[c]
                            written = before[c] + tokens[action, c]
                            length[new, 0, cell] += right * written
                            length[new, 1, cell] += derailed * written
        now = new


@compiled
def propagate_posterior(act, success, end, emission, after, tokens):
    T, J = len(success), emission.shape[1]
    totals = np.zeros((T, 9))
    # Mass by the prefix (right, derailed) and the running minimum, and E[tokens of the solution so far] on it.
    mass, length = np.zeros((2, J + 1)), np.zeros((2, J + 1))
    mass[0, J] = 1.0
    # P(score bin ≥ j) by class, to move the minimum of a regenerated step.
    tail = np.zeros((3, J + 1))
    for c in range(3):
        for j in range(J - 1, -1, -1):
            tail[c, j] = tail[c, j + 1] + emission[c, j]
    for t in range(T):
        new, longer = np.zeros((2, J + 1)), np.zeros((2, J + 1))
        # redone[s, m]: regenerated and going on, by minimum before; s: came out right, wrong, was derailed
        redone, redone_longer = np.zeros((3, J + 1)), np.zeros((3, J + 1))
        for m in range(J + 1):
            for c in range(3):
                s = 1 if c == 1 else 0
                if mass[s, m] == 0.0:
                    continue
                before = length[s, m] / mass[s, m]
                share = success[t] if c == 0 else (1.0 - success[t] if c == 2 else 1.0)
                for ended in range(2):
                    share_ended = mass[s, m] * share * (end[t, c] if ended == 1 else 1.0 - end[t, c])
                    if share_ended == 0.0:
                        continue
                    for j in range(J):
                        flow = share_ended * emission[c, j]
                        if flow == 0.0:
                            continue
                        action = act[m, j]
                        totals[t, 1 + 3 * action + c] += flow
                        totals[t, 0] += flow * after[t, ended, action, c, 1, 0]
                        totals[t, 7 + action] += flow * before
                        written = before + tokens[action, c]
                        right = flow * after[t, ended, action, c, 0, 0]
                        derailed = flow * after[t, ended, action, c, 0, 1]
                        if action == 0:
                            low = min(m, j)
                            new[0, low] += right
                            new[1, low] += derailed
                            longer[0, low] += right * written
                            longer[1, low] += derailed * written
                        else:
                            wrong = 2 if c != 1 else 1
                            redone[0, m] += right
                            redone[wrong, m] += derailed
                            redone_longer[0, m] += right * written
                            redone_longer[wrong, m] += derailed * written
        for m in range(J + 1):
            for c in range(3):
                if redone[c, m] == 0.0:
                    continue
                s = 0 if c == 0 else 1
                new[s, m] += redone[c, m] * tail[c, m]
                longer[s, m] += redone_longer[c, m] * tail[c, m]
                for j in range(m):
                    new[s, j] += redone[c, m] * emission[c, j]
                    longer[s, j] += redone_longer[c, m] * emission[c, j]
        mass, length = new, longer
    return totals


@compiled
def simulate(rng, out, kind, table, act, rule, true_success, true_end, cumulative, true_after, tokens):
    """Fill `out` (n, 11); `tokens` (2, 3) is what a step adds to the solution, by action and class."""
    success, end, emission, vectors, offset, after, price, reward, cells = rule
    T, J = len(true_success), cumulative.shape[1]
    n_steps = len(success)
    b = np.empty(3)
    e = np.empty(3)
    for i in range(len(out)):
        right = True
        cell = cells
        minimum = J
        length = 0.0
        for t in range(T):
            c = 1
            if right:
                c = 0 if rng.random() < true_success[t] else 2
            j = np.searchsorted(cumulative[c], rng.random(), side="right")
            ends = rng.random() < true_end[t, c]
            ended = 1 if ends else 0
            keep = redo = 0.0
            if kind == ALPHA:
                step = rule_step(t, n_steps, ends)
                end_evidence(end, step, ends, e)
                filtered(cell / cells, success[step], emission[:, j], e, b)
                gain, cost, keep, redo = gain_and_price(b, ended, step, vectors, offset, after, price, reward)
                action = 1 if gain > cost else 0
            elif kind == POSTERIOR:
                action = act[minimum, j]
            else:
                action = 1 if rng.random() < table[c, j] else 0
            out[i, 1 + 3 * action + c] += 1.0
            out[i, 7 + action] += length
            out[i, 9 + action] += t
            length += tokens[action, c]
            row = true_after[t, ended, action, c]
            u = rng.random()
            right = u < row[0, 0] + row[1, 0]
            if u < row[1, 0] or u >= 1.0 - row[1, 1]:
                break
            if kind == ALPHA:
                cell = cell_of(redo if action == 1 else keep, cells)
            elif kind == POSTERIOR:
                if action == 1:
                    came_out = 0 if right else (1 if c == 1 else 2)
                    j = np.searchsorted(cumulative[came_out], rng.random(), side="right")
                minimum = min(minimum, j)
        out[i, 0] = 1.0 if right else 0.0
