r"""Which alpha-vectors are best somewhere: pointwise dominance, and linear programs (Lark's filter).

A vector w is *useful* beside a set of others if there is a belief where it is better than all of them by more than a
tolerance; such a belief is its *witness*. Lark's filter (White 1991, Annals of OR 32) goes through all vectors and asks
for each whether it is useful beside those that were kept so far. If not, it is dropped; if so, the vector that is best
at the witness is kept, and the question is put again. In the end all are kept that are needed and, but for ties within
rounding, no other. A vector that is dropped is at no belief better than those kept by more than the tolerance: the
largest of the kept vectors is nowhere more than the tolerance below the largest of all.

Vectors that are best at beliefs that are known beforehand (corners, witnesses of similar sets) are kept without any
linear program. The programs that are left are solved by a compiled simplex method that needs a few microseconds for
what costs a call of HiGHS a millisecond, and whose answers are checked one by one; what it leaves open goes to HiGHS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.checks import check_array, check_shape
from solvers.errors import ModelError, SolverError

Floats = NDArray[np.float64]
LEAST = 1e-11  # tolerance that is not gone below, as a share of the largest entry
_SCORES = 100_000  # of vectors at beliefs, at a time: they stay in the cache
_WORK = 3e7  # multiplications between two looks at the clock: some hundredths of a second


class Sums(NamedTuple):
    """Sums of two sets of vectors that are best somewhere."""

    pairs: NDArray[np.int64]  # (K, 2): row of the one set, row of the other
    witnesses: Floats  # (K, S): a belief where each sum is best


def undominated(vectors: ArrayLike) -> NDArray[np.int64]:
    """Indices of vectors (V, S) that no other one equals or exceeds in every state; of equal ones, the first."""
    rows = check_array("vectors", vectors, 2)
    order = np.argsort(-rows.sum(axis=1), kind="stable")  # what dominates has a sum that is no smaller, and comes first
    kept = np.empty_like(rows)
    found: list[int] = []
    for i in order.tolist():
        if not (kept[: len(found)] >= rows[i]).all(axis=1).any():
            kept[len(found)] = rows[i]
            found.append(i)
    return np.sort(np.array(found, np.int64))


def witness(vector: ArrayLike, others: ArrayLike) -> tuple[float, Floats]:
    """Largest margin by which a vector beats all others, and the belief where it does; by HiGHS.

    Parameters
    ----------
    vector : array, shape (S,)
    others : array, shape (V, S)
        At least one.

    Returns
    -------
    margin : float
        max over beliefs b of min over others q of b·(vector - q); computed afresh at the belief returned.
    belief : array, shape (S,)

    Raises
    ------
    SolverError
        If HiGHS finds no optimum.
    """
    from scipy.optimize import linprog

    w, rest = check_array("vector", vector, 1), check_array("others", others, 2)
    V, S = rest.shape
    check_shape("others", rest.shape, (max(V, 1), w.size))
    better = w - rest
    scale = float(np.abs(better).max()) or 1.0
    found = linprog(
        np.append(np.zeros(S), -1.0),
        A_ub=np.column_stack([-better / scale, np.ones(V)]),
        b_ub=np.zeros(V),
        A_eq=np.append(np.ones(S), 0.0)[None],
        b_eq=np.ones(1),
        bounds=[(0.0, None)] * S + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise SolverError(f"HiGHS found no witness: {found.message}")
    belief = np.maximum(found.x[:S], 0.0)
    belief /= belief.sum()
    return float((better @ belief).min()), belief


def prune(vectors: ArrayLike, tolerance: float = 1e-9, *, points: ArrayLike | None = None) -> NDArray[np.int64]:
    """Indices, ascending, of the vectors that are needed: at every belief, one of them is best, up to the tolerance.

    Linear programs over all S states, each of which needs S² numbers of memory: not for models of many thousand states.

    Parameters
    ----------
    vectors : array, shape (V, S)
    tolerance : float
        In units of the vectors. The largest vector kept is nowhere more than this below the largest of all. No less
        than 1e-11 of the largest entry, which is where rounding begins.
    points : array, shape (P, S), optional
        Beliefs that save linear programs: what is best at one of them is kept at once.

    Raises
    ------
    ModelError
        If shapes do not agree, numbers are not finite or the tolerance is not positive.

    Examples
    --------
    >>> prune([[1.0, 0.0], [0.0, 1.0], [0.45, 0.45], [0.6, 0.6], [1.0, -1.0]]).tolist()
    [0, 1, 3]
    """
    rows = check_array("vectors", vectors, 2)
    if len(rows) < 2:
        return np.arange(len(rows))
    nothing = np.zeros((1, rows.shape[1]))
    return np.sort(prune_sums(rows, nothing, tolerance, points=points).pairs[:, 0])


def prune_sums(
    first: ArrayLike,
    second: ArrayLike,
    tolerance: float = 1e-9,
    *,
    points: ArrayLike | None = None,
    check: Callable[[], Any] | None = None,
) -> Sums:
    """Of all sums of a vector of each set, those that are needed, as `prune` would find them; never lists all.

    Parameters
    ----------
    first, second : array, shape (I, S) and (J, S)
        At least one vector each.
    tolerance, points
        As for `prune`.
    check : callable, optional
        Called now and then; may raise to give up.
    """
    A, B = check_array("first", first, 2), check_array("second", second, 2)
    S = A.shape[1]
    check_shape("second", B.shape, (max(len(B), 1), S))
    check_shape("first", A.shape, (max(len(A), 1), S))
    if not tolerance > 0.0:
        raise ModelError(f"tolerance must be above 0, got {tolerance}")
    corners = np.eye(S)
    beliefs = corners if points is None else np.concatenate([corners, check_array("points", points, 2).reshape(-1, S)])
    # Where vectors are equal at a belief, the first in lexicographic order is one that is needed (Littman).
    A, from_a = _in_order(A)
    B, from_b = _in_order(B)
    if len(A) == len(B) == 1:
        return Sums(np.array([[from_a[0], from_b[0]]]), beliefs[:1])
    scale = max(float(np.abs(A).max()), float(np.abs(B).max())) or 1.0
    pairs, witnesses = _filter(A / scale, B / scale, beliefs, max(tolerance / scale, LEAST), check)
    return Sums(np.column_stack([from_a[pairs[:, 0]], from_b[pairs[:, 1]]]), witnesses)


def _in_order(rows: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Different rows, each column shifted to lie around 0, in descending lexicographic order; and where they stood."""
    order = np.lexsort(-rows.T[::-1])
    sorted_rows = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (sorted_rows[1:] != sorted_rows[:-1]).any(axis=1)
    return sorted_rows[new] - (rows.max(axis=0) + rows.min(axis=0)) / 2.0, order[new]


def _filter(
    A: Floats, B: Floats, beliefs: Floats, tolerance: float, check: Callable[[], Any] | None
) -> tuple[NDArray[np.int64], Floats]:
    """Lark's filter over all sums, started with those that are best at the beliefs given."""
    from solvers import _pruning_kernels as kernels

    best = [first_best(rows.T, beliefs, kernels.TIE)[0] for rows in (A, B)]
    code, where = np.unique(best[0] * len(B) + best[1], return_index=True)
    n, S = code.size, A.shape[1]
    taken, unknown = np.zeros(len(A) * len(B), bool), np.zeros(len(A) * len(B), bool)
    taken[code] = True
    pairs, witnesses, Q = np.zeros((n, 2), np.int64), beliefs[where], np.zeros((S, n))
    pairs[:, 0], pairs[:, 1] = code // len(B), code % len(B)
    Q[:] = (A[pairs[:, 0]] + B[pairs[:, 1]]).T
    position = 0
    while True:
        if n == Q.shape[1]:  # room for as many again
            more = n + 32
            pairs = np.concatenate([pairs, np.zeros((more, 2), np.int64)])
            witnesses = np.concatenate([witnesses, np.zeros((more, S))])
            Q = np.ascontiguousarray(np.concatenate([Q, np.zeros((S, more))], axis=1))
        n, position, _ = kernels.scan(A, B, Q, pairs, witnesses, n, position, taken, unknown, tolerance, _WORK)
        if position == taken.size:
            break
        if check is not None:
            check()
    return _ask_highs(A, B, pairs[:n], witnesses[:n], taken, unknown, tolerance)


def _ask_highs(
    A: Floats,
    B: Floats,
    pairs: NDArray[np.int64],
    witnesses: Floats,
    taken: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    tolerance: float,
) -> tuple[NDArray[np.int64], Floats]:
    """Decide on sums that are still unknown, in the same way as the compiled filter."""
    from solvers import _pruning_kernels as kernels

    for at in np.flatnonzero(unknown).tolist():
        while not taken[at]:
            margin, belief = witness(A[at // len(B)] + B[at % len(B)], A[pairs[:, 0]] + B[pairs[:, 1]])
            if margin <= tolerance:
                break
            i, j = (int(first_best(rows.T, belief[None], kernels.TIE)[0][0]) for rows in (A, B))
            if taken[i * len(B) + j]:  # a tie
                i, j = divmod(at, len(B))
            taken[i * len(B) + j] = True
            pairs, witnesses = np.vstack([pairs, [i, j]]), np.vstack([witnesses, belief])
    return pairs, witnesses


def first_best(vectors: Any, beliefs: Any, tie: float) -> tuple[NDArray[np.int64], Floats]:
    """First vector that is best at each belief, up to a tie, and the best value; a block of beliefs at a time.

    Parameters
    ----------
    vectors : array or sparse matrix, shape (S, V)
        One a column.
    beliefs : array or sparse matrix, shape (B, S)
    """
    B, V = beliefs.shape[0], vectors.shape[1]
    best, value = np.zeros(B, np.int64), np.empty(B)
    together = max(1, _SCORES // V)
    for first in range(0, B, together):
        block = slice(first, first + together)
        product = beliefs[block] @ vectors
        scores = product if isinstance(product, np.ndarray) else product.toarray()
        value[block] = scores.max(axis=1)
        best[block] = (scores >= value[block, None] - tie).argmax(axis=1)
    return best, value
