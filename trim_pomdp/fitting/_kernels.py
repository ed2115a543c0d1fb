"""Compiled loops of fits: the chain of lengths and outcomes, and how log-likelihoods change with what they are made of.

Slopes are taken backwards (adjoints): from what a log-likelihood changes with at the end of a recursion to what it
changes with at its start. `upon_x` is d(log-likelihood)/dx and is added to. Arrays are contiguous float64 and int64, so
that every kernel is compiled once. Callers document what goes in and out.

They stand in one module because Numba's on-disk cache follows the file that a function is in.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def chain(goes_on, ends, table):
    """`OutcomeChain.table` (T, 2, T, 2) from P(prefix after, goes on or ends | step, prefix before), both (T, 2, 2)."""
    T = len(ends)
    for a in range(T - 1, -1, -1):
        for before in range(2):
            for last in range(a + 1, T):
                for answer in range(2):
                    table[a, before, last, answer] = (
                        goes_on[a, before, 0] * table[a + 1, 0, last, answer]
                        + goes_on[a, before, 1] * table[a + 1, 1, last, answer]
                    )
            for answer in range(2):
                table[a, before, a, answer] = ends[a, before, answer]


@njit(cache=True, nogil=True)
def chain_slopes(goes_on, ends, table, upon_table, upon_goes_on, upon_ends):
    """Back through `chain`; `upon_table` is used up."""
    T = len(ends)
    for a in range(T):
        for before in range(2):
            for answer in range(2):
                upon_ends[a, before, answer] += upon_table[a, before, a, answer]
            for last in range(a + 1, T):
                for answer in range(2):
                    upon = upon_table[a, before, last, answer]
                    if upon == 0.0:
                        continue
                    for after in range(2):
                        upon_goes_on[a, before, after] += upon * table[a + 1, after, last, answer]
                        upon_table[a + 1, after, last, answer] += upon * goes_on[a, before, after]


@njit(cache=True, nogil=True, inline="always")
def _follows(hazard, t, prefix, last, answer, table):
    """P(ends at step `last`, answer | the prefix after step t, which ended at this hazard)."""
    if last > t:
        return (1.0 - hazard) * table[t + 1, prefix, last, answer]
    return hazard if prefix == answer else 0.0


@njit(cache=True, nogil=True)
def score_slopes(
    where, weight, success, recovery, end, emission, table, tiny, upon_success, upon_recovery, upon_emission, upon_table
):
    """Σ weight · log P(bin of step t | last step, answer), and its slopes; `where` holds t, last, answer, bin."""
    T = len(success)
    # P(step t is reached, from a right and from a derailed prefix)
    reached = np.zeros((T, 2))
    upon_reached = np.zeros((T, 2))
    reached[0, 0] = 1.0
    for t in range(T - 1):
        right, lost = reached[t, 0], reached[t, 1]
        s, back = success[t], recovery[t]
        reached[t + 1, 0] = right * s * (1.0 - end[t, 0]) + lost * back * (1.0 - end[t, 1])
        reached[t + 1, 1] = right * (1.0 - s) * (1.0 - end[t, 2]) + lost * (1.0 - back) * (1.0 - end[t, 1])
    value = 0.0
    least = np.log(tiny)
    for i in range(len(where)):
        t, last, answer, j = where[i, 0], where[i, 1], where[i, 2], where[i, 3]
        w = weight[i]
        right, lost = reached[t, 0], reached[t, 1]
        s, back = success[t], recovery[t]
        after0 = _follows(end[t, 0], t, 0, last, answer, table)
        back1 = _follows(end[t, 1], t, 0, last, answer, table)
        lost1 = _follows(end[t, 1], t, 1, last, answer, table)
        after2 = _follows(end[t, 2], t, 1, last, answer, table)
        after1 = back * back1 + (1.0 - back) * lost1
        joint0, joint1, joint2 = right * s * after0, lost * after1, right * (1.0 - s) * after2
        total = table[0, 0, last, answer]
        mixed = joint0 * emission[0, j] + joint1 * emission[1, j] + joint2 * emission[2, j]
        if total <= 0.0 or mixed <= tiny * total:
            value += w * least
            continue
        value += w * np.log(mixed / total)
        scale = w / mixed
        upon_table[0, 0, last, answer] -= w / total
        upon_emission[0, j] += scale * joint0
        upon_emission[1, j] += scale * joint1
        upon_emission[2, j] += scale * joint2
        upon0, upon1, upon2 = scale * emission[0, j], scale * emission[1, j], scale * emission[2, j]
        upon_reached[t, 0] += upon0 * s * after0 + upon2 * (1.0 - s) * after2
        upon_reached[t, 1] += upon1 * after1
        upon_success[t] += right * (upon0 * after0 - upon2 * after2)
        upon_recovery[t] += lost * upon1 * (back1 - lost1)
        if last > t:
            on1 = 1.0 - end[t, 1]
            upon_table[t + 1, 0, last, answer] += upon0 * right * s * (1.0 - end[t, 0]) + upon1 * lost * back * on1
            upon_table[t + 1, 1, last, answer] += (
                upon2 * right * (1.0 - s) * (1.0 - end[t, 2]) + upon1 * lost * (1.0 - back) * on1
            )
    for t in range(T - 2, -1, -1):
        right, lost = reached[t, 0], reached[t, 1]
        s, back = success[t], recovery[t]
        on0, on1, on2 = 1.0 - end[t, 0], 1.0 - end[t, 1], 1.0 - end[t, 2]
        to_right, to_lost = upon_reached[t + 1, 0], upon_reached[t + 1, 1]
        upon_reached[t, 0] += to_right * s * on0 + to_lost * (1.0 - s) * on2
        upon_reached[t, 1] += on1 * (to_right * back + to_lost * (1.0 - back))
        upon_success[t] += right * (to_right * on0 - to_lost * on2)
        upon_recovery[t] += lost * on1 * (to_right - to_lost)
    return value


@njit(cache=True, nogil=True)
def filter_slopes(
    bins, lengths, ended, emission, success, end, recovery, beliefs, upon_last, upon_emission, upon_success,
    upon_recovery,
):  # fmt: skip
    """Back through `trim_pomdp._kernels.filter_beliefs`, from the belief after the last step of each solution.

    `emission` and `upon_emission` have the shape (3, J), `upon_last` (n, 3); `beliefs` are what it wrote.
    """
    n_steps = len(success)
    before_cap = max(n_steps - 2, 0)
    for i in range(len(lengths)):
        upon0, upon1, upon2 = upon_last[i, 0], upon_last[i, 1], upon_last[i, 2]
        for t in range(lengths[i] - 1, -1, -1):
            ends = ended[i] and t == lengths[i] - 1
            step = t if t < n_steps - 1 or (ends and t == n_steps - 1) else before_cap
            q, earlier = 1.0, before_cap
            if t > 0:
                earlier = min(t - 1, before_cap)
                q = beliefs[i, t - 1, 0] + recovery[earlier] * beliefs[i, t - 1, 1]
            s = success[step]
            j = bins[i, t]
            p0, p1, p2 = q * s, 1.0 - q, q * (1.0 - s)
            e0 = end[step, 0] if ends else 1.0 - end[step, 0]
            e1 = end[step, 1] if ends else 1.0 - end[step, 1]
            e2 = end[step, 2] if ends else 1.0 - end[step, 2]
            l0, l1, l2 = emission[0, j], emission[1, j], emission[2, j]
            if p0 * l0 * e0 + p1 * l1 * e1 + p2 * l2 * e2 <= 0.0:
                e0 = e1 = e2 = 1.0
            total = p0 * l0 * e0 + p1 * l1 * e1 + p2 * l2 * e2
            if total > 0.0:
                b = beliefs[i, t]
                mean = upon0 * b[0] + upon1 * b[1] + upon2 * b[2]
                upon0 = (upon0 - mean) / total * e0
                upon1 = (upon1 - mean) / total * e1
                upon2 = (upon2 - mean) / total * e2
                upon_emission[0, j] += upon0 * p0
                upon_emission[1, j] += upon1 * p1
                upon_emission[2, j] += upon2 * p2
                upon0 *= l0
                upon1 *= l1
                upon2 *= l2
            upon_success[step] += q * (upon0 - upon2)
            upon_q = upon0 * s - upon1 + upon2 * (1.0 - s)
            if t > 0:
                upon_recovery[earlier] += upon_q * beliefs[i, t - 1, 1]
                upon0, upon1, upon2 = upon_q, upon_q * recovery[earlier], 0.0
