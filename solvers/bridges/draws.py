"""One draw at a time from rows of sparse matrices, as simulators of other libraries want them."""

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Rows:
    """Rows of a sparse matrix, each a distribution; a row is prepared when it is first needed."""

    def __init__(self, matrix: "csr_array") -> None:
        self._matrix = matrix
        self._prepared: dict[int, tuple[list[int], list[float]]] = {}

    def column(self, row: int, uniform: float) -> int:
        """Column that a number, uniform in [0, 1), stands for."""
        columns, ends = self._prepared.get(row) or self._prepare(row)
        return columns[bisect(ends, uniform * ends[-1], hi=len(ends) - 1)]

    def probability(self, row: int, column: int) -> float:
        """Entry of the matrix."""
        return float(self._matrix[row, column])

    def _prepare(self, row: int) -> tuple[list[int], list[float]]:
        cells = slice(self._matrix.indptr[row], self._matrix.indptr[row + 1])
        prepared = self._matrix.indices[cells].tolist(), list(accumulate(self._matrix.data[cells].tolist()))
        self._prepared[row] = prepared
        return prepared
