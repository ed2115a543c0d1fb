"""Turn what callers hand over into checked arrays; every refusal is one line that says where and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from observation_models.errors import ObservationModelError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Features = ArrayLike | Mapping[str, ArrayLike]
Edges = ArrayLike | Sequence[ArrayLike]


def as_matrix(X: Features, names: Sequence[str] | None = None) -> tuple[FloatArray, tuple[str, ...]]:
    """Return features as a finite (n, d) matrix together with their names.

    ``names`` selects and orders the entries of a mapping, or names the columns of an array.
    """
    if isinstance(X, Mapping):
        names = tuple(X) if names is None else tuple(names)
        missing = [name for name in names if name not in X]
        if missing:
            raise ObservationModelError(f"feature {missing[0]!r} is missing; given are {sorted(X)}")
        columns = [np.asarray(X[name], dtype=float) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.ndim != 1 or len(column) != len(columns[0]):
                raise ObservationModelError(f"feature {name!r} has shape {column.shape}, expected ({columns[0].size},)")
        matrix = np.column_stack(columns) if columns else np.empty((0, 0))
    else:
        matrix = np.asarray(X, dtype=float)
        if matrix.ndim == 1:  # one feature, unless a single row of several is asked for
            matrix = matrix[:, None]
        if matrix.ndim != 2:
            raise ObservationModelError(f"X has shape {matrix.shape}, expected (n, d)")
        names = tuple(f"x{j}" for j in range(matrix.shape[1])) if names is None else tuple(names)
    if matrix.shape[1] == 0 or matrix.shape[1] != len(names):
        raise ObservationModelError(f"X has {matrix.shape[1]} features, expected {len(names)}: {names}")
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, column_index = bad[0]
        raise ObservationModelError(f"feature {names[column_index]!r} is {matrix[row, column_index]} in row {row}")
    return matrix, names


def check_within(X: FloatArray, names: Sequence[str], bounds: FloatArray) -> None:
    """Refuse values outside ``bounds`` (d, 2), naming the first one."""
    low, high = bounds.T
    bad = np.argwhere(np.less(X, low) | np.greater(X, high))
    if len(bad):
        row, column = bad[0]
        raise ObservationModelError(
            f"feature {names[column]!r} is {X[row, column]:.6g} in row {row}, "
            f"outside [{low[column]:g}, {high[column]:g}]"
        )


def check_labels(y: ArrayLike, n: int) -> NDArray[Any]:
    """Return labels as an (n,) array."""
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise ObservationModelError(f"y has shape {labels.shape}, expected ({n},)")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ObservationModelError(f"y is NaN in row {int(np.flatnonzero(np.isnan(labels))[0])}")
    return labels


def check_weights(weights: ArrayLike | None, n: int) -> FloatArray:
    """Return sample weights (n,), one each by default."""
    if weights is None:
        return np.ones(n)
    checked = np.asarray(weights, dtype=float)
    if checked.shape != (n,):
        raise ObservationModelError(f"sample_weight has shape {checked.shape}, expected ({n},)")
    bad = np.flatnonzero(~np.isfinite(checked) | (checked < 0))
    if len(bad):
        raise ObservationModelError(f"sample_weight is {checked[bad[0]]} in row {bad[0]}, expected >= 0")
    return checked


def check_groups(groups: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Return group labels (n,), or None where none were given."""
    if groups is None:
        return None
    checked = np.asarray(groups)
    if checked.shape != (n,):
        raise ObservationModelError(f"groups has shape {checked.shape}, expected ({n},)")
    return checked


def check_edges(edges: Edges, d: int) -> list[FloatArray]:
    """Return one increasing edge array per feature; a bare array will do for a single feature."""
    if d == 1 and not (isinstance(edges, Sequence) and len(edges) == 1):
        edges = [np.asarray(edges)]
    arrays = [np.asarray(edge, dtype=float) for edge in edges]  # type: ignore[union-attr]
    if len(arrays) != d:
        raise ObservationModelError(f"{len(arrays)} edge arrays given for {d} features")
    for j, edge in enumerate(arrays):
        if edge.ndim != 1 or len(edge) < 2 or not np.all(np.diff(edge) > 0):
            raise ObservationModelError(f"edges of feature {j} must be an increasing 1-D array of at least two")
    return arrays


def bin_index(values: FloatArray, edges: FloatArray) -> IntArray:
    """Index of each value's bin [e_j, e_j+1); the last bin is closed, what lies beyond goes to the ends."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2).astype(np.intp)


def flat_cells(values: FloatArray, edges: list[FloatArray]) -> tuple[IntArray, tuple[int, ...]]:
    """Flat index of each point's cell in a grid, and the grid's shape."""
    shape = tuple(len(edge) - 1 for edge in edges)
    columns = tuple(bin_index(v, e) for v, e in zip(values.T, edges, strict=True))
    return np.ravel_multi_index(columns, shape), shape


def distinct_rows(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distinct rows and their total weights: scores are coarse, so many points coincide."""
    distinct, where = np.unique(values, axis=0, return_inverse=True)
    return distinct, weight_per_cell(where.ravel(), weights, (len(distinct),))


def weight_per_cell(cells: IntArray, weights: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Sum weights per cell of a grid, given flat cell indices."""
    size = int(np.prod(shape))
    return np.asarray(np.bincount(cells, weights, size), dtype=float).reshape(shape)


def as_generator(rng: np.random.Generator | int) -> np.random.Generator:
    """Return a generator from a generator or a seed."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
