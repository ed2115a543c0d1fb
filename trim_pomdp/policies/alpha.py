"""The decision of an alpha-vector rule, compiled; exact evaluation and simulation call the same function."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trim_pomdp.policies.records import BELIEF_CELLS, AlphaVectorRule

FloatArray = NDArray[np.float64]


@njit(cache=True, nogil=True, inline="always")
def filtered(q, success, likelihood, end, out):  # type: ignore[no-untyped-def]
    """Belief over S0, S1, S2 after a score; `likelihood` and `end` are by class. Writes `out` (3,)."""
    b0 = q * success * likelihood[0] * end[0]
    b1 = (1.0 - q) * likelihood[1] * end[1]
    b2 = q * (1.0 - success) * likelihood[2] * end[2]
    total = b0 + b1 + b2
    if total > 0.0:
        out[0] = b0 / total
        out[1] = b1 / total
        out[2] = b2 / total
    else:
        out[0] = q * success
        out[1] = 1.0 - q
        out[2] = q * (1.0 - success)


@njit(cache=True, nogil=True, inline="always")
def value_of(vectors, first, last, q):  # type: ignore[no-untyped-def]
    """Largest alpha-vector at (q, 1 − q)."""
    best = -np.inf
    for i in range(first, last):
        value = vectors[i, 1] + q * (vectors[i, 0] - vectors[i, 1])
        if value > best:
            best = value
    return best


@njit(cache=True, nogil=True, inline="always")
def gain_and_price(b, ended, step, vectors, offset, after, price, reward):  # type: ignore[no-untyped-def]
    """Gain of intervening, its price, and q after keeping and after regenerating."""
    keep = b[0]
    redo = b[0] * after[1, 0] + b[2] * after[1, 2]
    cost = b[0] * price[0] + b[1] * price[1] + b[2] * price[2]
    if ended:
        gain = reward * (redo - keep)
    else:
        first, last = offset[step], offset[step + 1]
        gain = value_of(vectors, first, last, redo) - value_of(vectors, first, last, keep)
    return gain, cost, keep, redo


@njit(cache=True, nogil=True, inline="always")
def cell_of(q):  # type: ignore[no-untyped-def]
    """Belief cell of a probability."""
    return int(q * BELIEF_CELLS + 0.5)


@njit(cache=True, nogil=True)
def _decide(q, bins, ended, steps, success, end, emission, vectors, offset, after, price, reward, out):  # type: ignore[no-untyped-def]
    b = np.empty(3)
    e = np.empty(3)
    cap = max(len(success) - 2, 0)
    for i in range(len(q)):
        t = min(steps[i], cap)
        h = end[t, 0] if ended[i] else 1.0 - end[t, 0]
        e[0] = e[2] = h
        e[1] = end[t, 1] if ended[i] else 1.0 - end[t, 1]
        filtered(q[i], success[t], emission[:, bins[i]], e, b)
        gain, cost, _, _ = gain_and_price(b, ended[i], t, vectors, offset, after, price, reward)
        out[i] = gain > cost


def decide(
    rule: AlphaVectorRule,
    q: FloatArray,
    bins: NDArray[np.int64],
    ended: NDArray[np.bool_],
    steps: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether to regenerate, for many problems at once.

    Parameters
    ----------
    q : ndarray of shape (n,)
        Probability that the prefix before the current step is right.
    bins : ndarray of shape (n,)
        Observation bin of the current step.
    ended : ndarray of bool, shape (n,)
        Whether the current step ends the solution.
    steps : ndarray of shape (n,)
        Step index from 0; beyond the cap the last step before it stands in.
    """
    tables = rule.tables
    out = np.empty(len(q), dtype=np.bool_)
    _decide(
        q, bins, ended, steps, tables.success, tables.end, tables.emission, tables.vectors, tables.offset,
        tables.after, tables.price, tables.reward, out,
    )  # fmt: skip
    return out
