"""From rules for probabilities to sparse matrices whose rows sum to one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.formats.text import MAX_CELLS, TOLERANCE
from solvers.rules import Rules

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BLOCK = 2_000_000  # cells that are worked on at once


class TooLargeError(Exception):
    """More probabilities than are kept."""


BadRow = Callable[[int, int, float, int], Exception]
"""From action, row, sum of the row, and number of such rows to the error to raise."""


def distributions(rules: Rules, bad_row: BadRow) -> list["csr_array"]:
    """Matrices of a table (A, S, W), an action each; actions of which no rule speaks alone share one.

    Parameters
    ----------
    rules : Rules
        Probabilities, not negative; rows must sum to one within 1e-5, and are then made to.
    bad_row : callable
        Makes the error for a row that does not.

    Raises
    ------
    TooLargeError
        If there are more than 50 million probabilities other than zero.
    """
    A = rules.shape[0]
    apart = rules.places(0)
    shared = int(np.setdiff1d(np.arange(A), apart, assume_unique=True)[0]) if len(apart) < A else -1
    kinds = [*apart.tolist(), *([shared] if shared >= 0 else [])]
    work = sum(rules.count(_box(rules, a)) for a in kinds)
    if work > 4 * MAX_CELLS:  # rules that later ones override count as well
        raise TooLargeError
    made: dict[int, csr_array] = {}
    bad: list[tuple[int, int, float]] = []
    n_bad = stored = 0
    for a in sorted(kinds):
        matrix = made[a] = _matrix(rules, a)
        stored += matrix.nnz
        if stored > MAX_CELLS:
            raise TooLargeError
        sums = matrix.sum(axis=1)
        rows = np.flatnonzero(np.abs(sums - 1.0) > TOLERANCE)
        if rows.size:
            bad.append((a, int(rows[0]), float(sums[rows[0]])))
            n_bad += rows.size * (A - len(apart) if a == shared else 1)
        else:
            matrix.data /= np.repeat(sums, np.diff(matrix.indptr))
    if bad:
        raise bad_row(*bad[0], n_bad)
    return [made[a] if a in made else made[shared] for a in range(A)]


def _box(rules: Rules, a: int, first: int = 0, last: int | None = None) -> tuple[tuple[int, int], ...]:
    _, S, W = rules.shape
    return (a, a + 1), (first, S if last is None else last), (0, W)


def _matrix(rules: Rules, a: int) -> "csr_array":
    """Probabilities of an action, as rules have them; worked on in blocks of rows."""
    from scipy.sparse import csr_array

    _, S, W = rules.shape
    rows = S if rules.count(_box(rules, a)) <= _BLOCK else max(1, _BLOCK // W)
    lengths = np.zeros(S, np.int64)
    columns: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float64]] = []
    for first in range(0, S, rows):
        (_, s, w), chance = rules.cells(_box(rules, a, first, min(first + rows, S)))
        lengths += np.bincount(s, minlength=S)
        columns.append(w.astype(np.int32))
        values.append(chance)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return csr_array((np.concatenate(values), np.concatenate(columns), starts), shape=(S, W))
