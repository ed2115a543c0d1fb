"""Histograms smoothed by a kernel, with the values that occur again and again left where they are."""

import numpy as np

from observation_models._inputs import FloatArray, flat_cells, weight_per_cell

ATOM_SHARE = 0.05
"""A single value with at least this share of the weight is an atom (scores of exactly 1, say)."""


def kernel_matrix(edges: FloatArray, bandwidth: float) -> FloatArray:
    """Share of bin k (column) that a Gaussian kernel moves to bin j (row); columns sum to one."""
    n = len(edges) - 1
    if bandwidth <= 1e-3 * np.diff(edges).min():  # nothing would move, and the square might overflow
        return np.eye(n)
    centres = (edges[1:] + edges[:-1]) / 2
    kernel = np.exp(-0.5 * ((centres[:, None] - centres[None, :]) / bandwidth) ** 2) * np.diff(edges)[:, None]
    return np.asarray(kernel / kernel.sum(axis=0))


def smoothed_masses(
    values: FloatArray,
    weights: FloatArray,
    edges: list[FloatArray],
    bandwidth: float,
    pseudo_count: float = 1.0,
) -> FloatArray:
    """Probability of each bin, all positive: kernel-smoothed histogram, atoms as they are.

    Parameters
    ----------
    values : ndarray (n, d)
        Distinct points.
    weights : ndarray (n,)
        Their weights.
    edges : list of d ndarray
        Bin edges; values beyond them count in the outermost bins.
    bandwidth : float
        Standard deviation of the kernel in units of ``values``; 0 for none.
    pseudo_count : float
        Weight spread evenly over all bins, so that none is empty.

    Returns
    -------
    ndarray (B_1, ..., B_d)
        Masses that sum to one.
    """
    cells, shape = flat_cells(values, edges)
    is_atom = weights >= ATOM_SHARE * weights.sum()
    smooth = weight_per_cell(cells, np.where(is_atom, 0.0, weights), shape)
    for axis, edge in enumerate(edges):
        smooth = apply_along(kernel_matrix(edge, bandwidth), smooth, axis)
    total = smooth + weight_per_cell(cells, np.where(is_atom, weights, 0.0), shape)
    total = total + pseudo_count / total.size
    return np.asarray(total / total.sum())


def apply_along(matrix: FloatArray, masses: FloatArray, axis: int) -> FloatArray:
    """Multiply ``masses`` by a matrix along one axis."""
    return np.moveaxis(np.tensordot(matrix, masses, axes=(1, axis)), 0, axis)
