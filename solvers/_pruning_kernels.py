"""Compiled kernel of pruning: which sums of two vectors are best somewhere; see `solvers.pruning`.

Whether a vector w beats the vectors q_0, q_1, … somewhere is a matrix game between a belief b and a mixture λ of them,

    v = max_b min_j b·(w - q_j) = min_λ max_s (w - Σ_j λ_j q_j)_s.

`_margin` walks the simplex method on the side of λ, which has only S + 1 rows: minimise v subject to Σ_j λ_j q_j[s] -
slack_s + v = w[s] for each state s, and Σ_j λ_j = 1. Its dual values are b, so that pricing all columns is finding the
vector that is best at b. Each step tells both sides how far they are: a b that is a belief, and where w wins by more
than the tolerance, is a witness; a λ, feasible all along, against which w wins nowhere by more, ends the matter too.
Either answer is computed afresh from b or λ before it counts, so that no rounding of the walk can make it wrong. A walk
that finds neither (cycles, bad pivots) says so, and its vector goes to HiGHS.
"""
# mypy: disallow-untyped-decorators=False

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(**_INNER)

TIE = 1e-12  # scores that differ by less are equal, and the first vector wins; vectors are scaled to about 1
_PIVOT = 1e-10  # smallest pivot, and most negative share of a belief that passes for rounding


@inner
def _first_best(vectors: Floats, b: Floats) -> int:
    """First of the vectors (V, S) that is best at b, up to TIE."""
    V, S = vectors.shape
    best, at = -np.inf, 0
    for i in range(V):
        score = 0.0
        for s in range(S):
            score += vectors[i, s] * b[s]
        if score > best + TIE:
            best, at = score, i
    return at


@inner
def _best_column(Q: Floats, n: int, b: Floats, score: Floats) -> int:
    """First of the first n columns of Q that is best at b; all scores are left in `score`."""
    for j in range(n):
        score[j] = 0.0
    for s in range(b.size):
        if b[s] != 0.0:
            for j in range(n):
                score[j] += b[s] * Q[s, j]
    best = 0
    for j in range(1, n):
        if score[j] > score[best]:
            best = j
    return best


@inner
def _start(w: Floats, Q: Floats, n: int, inverse: Floats, x: Floats, basis: Ints, score: Floats) -> None:
    """First basis: the single vector that w exceeds least at worst. Columns 0 … n - 1 are λ, n + s slacks, -1 is v."""
    S = w.size
    for j in range(n):
        score[j] = w[0] - Q[0, j]
    for s in range(1, S):
        for j in range(n):
            score[j] = max(score[j], w[s] - Q[s, j])
    first = 0
    for j in range(1, n):
        if score[j] < score[first]:
            first = j
    worst = 0
    for s in range(1, S):
        if w[s] - Q[s, first] > w[worst] - Q[worst, first]:
            worst = s
    for i in range(S + 1):
        for s in range(S + 1):
            inverse[i, s] = 0.0
    v = w[worst] - Q[worst, first]
    for s in range(S):
        basis[s] = n + s
        inverse[s, worst] = 1.0
        inverse[s, s] = -1.0
        inverse[s, S] = Q[s, first] - Q[worst, first]
        x[s] = v - (w[s] - Q[s, first])
    basis[worst] = first
    inverse[worst, worst] = 0.0
    inverse[worst, S] = 1.0
    x[worst] = 1.0
    basis[S] = -1
    inverse[S, worst] = 1.0
    inverse[S, S] = -Q[worst, first]
    x[S] = v


@inner
def _wins_nowhere(w: Floats, Q: Floats, n: int, x: Floats, basis: Ints, tolerance: float) -> bool:
    """Whether the mixture λ of a basis is nowhere worse than w by more than the tolerance."""
    S = w.size
    total = 0.0
    for i in range(S):
        if basis[i] < n:
            total += max(x[i], 0.0)
    if not total > 0.5:
        return False
    for s in range(S):
        mixed = 0.0
        for i in range(S):
            if basis[i] < n:
                mixed += max(x[i], 0.0) * Q[s, basis[i]]
        if w[s] - mixed / total > tolerance:
            return False
    return True


@inner
def _leaving(x: Floats, step: Floats) -> int:
    """Place in the basis that becomes 0 first as the new column comes in, of equal ones that of the largest pivot."""
    leaves = -1
    ratio = np.inf
    for i in range(x.size - 1):  # v, the last one, has no sign
        if step[i] > _PIVOT:
            here = max(x[i], 0.0) / step[i]
            if here < ratio - TIE or (here < ratio + TIE and step[i] > step[leaves]):
                ratio, leaves = min(here, ratio), i
    return leaves


@inner
def _exchange(leaves: int, step: Floats, inverse: Floats, x: Floats) -> None:
    """Basis after the column `step`, in terms of the old one, has taken the place of another."""
    for i in range(x.size):
        if i != leaves and step[i] != 0.0:
            share = step[i] / step[leaves]
            x[i] -= share * x[leaves]
            for s in range(x.size):
                inverse[i, s] -= share * inverse[leaves, s]
    x[leaves] /= step[leaves]
    for s in range(x.size):
        inverse[leaves, s] /= step[leaves]


@inner
def _margin(
    w: Floats, Q: Floats, n: int, tolerance: float, inverse: Floats, x: Floats, basis: Ints, score: Floats,
    step: Floats, b: Floats,
) -> tuple[int, int]:  # fmt: skip
    """1 and a witness b if w beats the first n vectors (columns of Q) there, 0 if nowhere, -1 if unknown; and steps.

    Room: inverse (S + 1, S + 1), x, basis, step (S + 1,), score (at least n,).
    """
    S = w.size
    _start(w, Q, n, inverse, x, basis, score)
    limit = 60 + 10 * S
    for walked in range(1, limit):
        if x[S] <= tolerance and _wins_nowhere(w, Q, n, x, basis, tolerance):
            return 0, walked
        lowest, total = 0, 0.0
        for s in range(S):
            b[s] = inverse[S, s]
            if b[s] < b[lowest]:
                lowest = s
        enters = _best_column(Q, n, b, score)
        for s in range(S):
            b[s] = max(b[s], 0.0)
            total += b[s]
        if inverse[S, lowest] > -_PIVOT and total > 0.0:
            mine = 0.0
            for s in range(S):
                b[s] /= total
                mine += b[s] * w[s]
            better = score[enters] + inverse[S, S]
            # The scores belong to b before it was cleaned.
            if mine - score[enters] > tolerance and mine - score[_best_column(Q, n, b, score)] > tolerance:
                return 1, walked
            if better <= TIE:
                return -1, walked  # optimal, and neither answer holds to the last digit
            for i in range(S + 1):
                step[i] = inverse[i, S]
                for s in range(S):
                    step[i] += inverse[i, s] * Q[s, enters]
        else:
            enters = n + lowest
            for i in range(S + 1):
                step[i] = -inverse[i, lowest]
        leaves = _leaving(x, step)
        if leaves < 0:
            return -1, walked
        _exchange(leaves, step, inverse, x)
        basis[leaves] = enters
    return -1, limit


@entry
def scan(
    A: Floats,
    B: Floats,
    Q: Floats,
    pairs: Ints,
    witnesses: Floats,
    n: int,
    position: int,
    taken: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    tolerance: float,
    work: float,
) -> tuple[int, int, int]:
    """Lark's filter over the sums A[i] + B[j], from a position i·len(B) + j on, until so much work is done.

    Parameters
    ----------
    A, B : array, shape (I, S) and (J, S)
    Q : array, shape (S, N)
        Sums kept so far, one a column, n of them; at least one. More are added, as are their `pairs` (N, 2) and
        `witnesses` (N, S). Also returns when all N are in use.
    taken, unknown : bool array, shape (I·J,)
        Sums that are kept; and sums for which the walk found no answer.

    Returns
    -------
    n, position, programs : int
        The latter: linear programs solved.
    """
    S, N = Q.shape
    J = len(B)
    w, b, step, x = np.empty(S), np.empty(S), np.empty(S + 1), np.empty(S + 1)
    inverse, basis, score = np.empty((S + 1, S + 1)), np.empty(S + 1, np.int64), np.empty(N)
    programs = 0
    while position < taken.size and n < N and work > 0.0:
        if taken[position]:
            position += 1
            continue
        for s in range(S):
            w[s] = A[position // J, s] + B[position % J, s]
        answer, walked = _margin(w, Q, n, tolerance, inverse, x, basis, score, step, b)
        programs += 1
        work -= (walked + 1.0) * S * (n + S)
        if answer == 1:
            i, j = _first_best(A, b), _first_best(B, b)
            if taken[i * J + j]:  # a tie, which the tolerance leaves no room for unless vectors are badly scaled
                unknown[position] = True
                position += 1
                continue
            taken[i * J + j] = True
            pairs[n, 0], pairs[n, 1] = i, j
            for s in range(S):
                witnesses[n, s] = b[s]
                Q[s, n] = A[i, s] + B[j, s]
            n += 1
        else:
            unknown[position] = answer < 0
            position += 1
    return n, position, programs
