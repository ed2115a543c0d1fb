"""A histogram per class, smoothed by a pseudo-count and, where asked for, a kernel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from observation_models._inputs import (
    FloatArray,
    IntArray,
    as_generator,
    bin_index,
    check_edges,
    check_within,
    distinct_rows,
    flat_cells,
)
from observation_models._smoothing import apply_along, smoothed_masses
from observation_models.base import DensityEstimator
from observation_models.errors import ObservationModelError


class SmoothedHistogram(DensityEstimator):
    """Piecewise constant density per class on a grid of bins, for any number of features.

    Parameters
    ----------
    bins : int, or sequence of d increasing arrays
        Number of equal bins per feature between ``bounds``, or their edges (a bare array for one feature).
    bounds : pair of float
        Range of every feature, where ``bins`` is a number.
    pseudo_count : float
        Number of imagined samples per class, spread evenly over the bins; positive, so no bin is impossible.
    smoothing : float
        Standard deviation, in bins, of a Gaussian kernel along every axis; 0 for none. Single points with 5 %
        of a class's weight (scores of exactly 1) stay where they are.
    feature_names : sequence of str, optional
        See :class:`DensityEstimator`.

    Attributes
    ----------
    edges_ : list of d ndarray
        Bin edges.
    masses_ : ndarray (C, B_1, ..., B_d)
        Probability of each bin.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.repeat([0.1, 0.9], 40), np.repeat([0, 1], 40)
    >>> histogram = SmoothedHistogram(bins=2, pseudo_count=2.0, smoothing=0.0).fit(X, y)
    >>> histogram.masses_.round(3).tolist()
    [[0.976, 0.024], [0.024, 0.976]]
    """

    def __init__(
        self,
        *,
        bins: int | ArrayLike | Sequence[ArrayLike] = 20,
        bounds: tuple[float, float] = (0.0, 1.0),
        pseudo_count: float = 1.0,
        smoothing: float = 1.0,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.bins = bins
        self.bounds = bounds
        self.pseudo_count = pseudo_count
        self.smoothing = smoothing
        self.feature_names = feature_names

    def _fit(self, X: FloatArray, codes: IntArray, weights: FloatArray, groups: NDArray[Any] | None) -> None:
        if not self.pseudo_count > 0 or not self.smoothing >= 0:
            raise ObservationModelError(
                f"pseudo_count {self.pseudo_count} must be > 0 and smoothing {self.smoothing} >= 0"
            )
        d = X.shape[1]
        if isinstance(self.bins, int | np.integer):
            if self.bins < 1 or not self.bounds[0] < self.bounds[1]:
                raise ObservationModelError(f"{self.bins} bins between {self.bounds} make no histogram")
            self.edges_ = [np.linspace(*self.bounds, int(self.bins) + 1) for _ in range(d)]
        else:
            self.edges_ = check_edges(self.bins, d)
        self._check_range(X)
        self.masses_ = np.array(
            [self._smooth(*distinct_rows(X[codes == c], weights[codes == c])) for c in range(codes.max() + 1)]
        )

    def _smooth(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """Masses (B_1, ..., B_d) of one class; the kernel counts in bins, whatever their widths."""
        positions = np.column_stack([bin_index(v, e) + 0.5 for v, e in zip(values.T, self.edges_, strict=True)])
        steps = [np.arange(float(len(edge))) for edge in self.edges_]
        return smoothed_masses(positions, weights, steps, self.smoothing, self.pseudo_count)

    def _check_range(self, X: FloatArray) -> None:
        check_within(X, self.feature_names_, np.array([[edge[0], edge[-1]] for edge in self.edges_]))

    def _log_likelihood(self, X: FloatArray) -> FloatArray:
        self._check_range(X)
        return cell_log_density(X, self.masses_, self.edges_)

    def sample(self, n: int, label: Any, *, rng: np.random.Generator | int) -> FloatArray:
        """Draw from the density of a class: a bin by its mass, then uniformly within.

        Parameters
        ----------
        n : int
            Number of draws.
        label : object
            One of ``classes_``.
        rng : numpy.random.Generator or int
            Source of chance, or a seed.

        Returns
        -------
        ndarray (n, d)
            Points.
        """
        masses = self.masses_[self._class_index(label)]
        return sample_cells(masses, self.edges_, n, as_generator(rng))

    def _tabulate(self, edges: list[FloatArray]) -> FloatArray:
        masses = self.masses_
        for axis, (name, old, new) in enumerate(zip(self.feature_names_, self.edges_, edges, strict=True)):
            if new[0] > old[0] or new[-1] < old[-1]:
                raise ObservationModelError(
                    f"edges of {name!r} run from {new[0]:g} to {new[-1]:g}, less than {old[0]:g} to {old[-1]:g}"
                )
            overlap = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
            share = np.maximum(overlap, 0.0) / np.diff(old)
            masses = apply_along(share, masses, axis + 1)
        return np.asarray(masses)


def cell_log_density(values: FloatArray, masses: FloatArray, edges: list[FloatArray]) -> FloatArray:
    """Log of the piecewise constant densities (n, C) with ``masses`` (C, *bins) at points (n, d)."""
    volume = np.ones(())
    for edge in edges:
        volume = np.multiply.outer(volume, np.diff(edge))
    cells, _ = flat_cells(values, edges)
    return np.asarray(np.log(masses / volume).reshape(len(masses), -1)[:, cells].T)


def sample_cells(masses: FloatArray, edges: list[FloatArray], n: int, generator: np.random.Generator) -> FloatArray:
    """Draw (n, d) points of a piecewise constant density."""
    cells = generator.choice(masses.size, size=n, p=masses.ravel() / masses.sum())
    where = np.unravel_index(cells, masses.shape)
    columns = [edge[cell] + generator.random(n) * np.diff(edge)[cell] for edge, cell in zip(edges, where, strict=True)]
    return np.column_stack(columns)
