r"""Gaussian kernel density on the unit cube with reflection at its faces, as TRIM uses it on [0, 1]^2.

Each kernel's mass beyond a face is folded back: with g the ordinary Gaussian KDE of a class,

.. math:: f(u) \propto \sum_{R} g(R u), \qquad R u \in \{u_1, -u_1, 2 - u_1\} \times \{u_2, \dots\}

(nine images for d = 2), normalised on the cube. The mass of a bin is that of its images under g. Kernels
share a *correlated* covariance, so it is no product of error functions, but by Mehler's formula a series of
products,

.. math:: P(a < x < b,\; c < y < d) = \Delta\Phi\,\Delta\Phi
          + \sum_{m \ge 1} \frac{\rho^m}{m} \Delta\psi_{m-1}\,\Delta\psi_{m-1},
          \qquad \psi_m = He_m\,\varphi / \sqrt{m!},

the differences being taken over [a, b] and [c, d] in kernel units. Each term is separable, so a whole table
is one matrix product per term, and as :math:`|\psi_m| < 1/2` the remainder after M terms is below
:math:`|\rho|^M / (1 - |\rho|)`: some 25 terms for the published kernels give every digit.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from observation_models._inputs import FloatArray, IntArray, as_generator, check_within, distinct_rows
from observation_models.base import DensityEstimator
from observation_models.errors import ObservationModelError

MAX_CORRELATION = 0.999
SERIES_TOLERANCE = 1e-15
TINY = 1e-290
CHUNK = 1_000_000
"""Largest number of kernel evaluations held in memory at once."""


class ReflectedKDE(DensityEstimator):
    """Gaussian kernel density per class on [0, 1]^d with mass reflected at the faces.

    Parameters
    ----------
    bandwidth : "scott", "silverman" or float
        A rule as in ``scipy.stats.gaussian_kde``: the kernel covariance is the class's covariance times the
        rule's squared factor (weights count by their effective number). A number is the kernel's standard
        deviation along every axis, without correlation.
    feature_names : sequence of str, optional
        See :class:`DensityEstimator`.

    Attributes
    ----------
    points_, weights_ : list of ndarray (n_c, d), (n_c,)
        Distinct training points of each class and their normalised weights.
    covariance_ : ndarray (C, d, d)
        Kernel covariance.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.beta(8, 2, 200), rng.beta(2, 4, 200)])
    >>> kde = ReflectedKDE().fit(X, np.repeat([0, 1], 200))
    >>> kde.tabulate(np.linspace(0, 1, 5)).sum(axis=1).round(12).tolist()
    [1.0, 1.0]
    """

    def __init__(self, *, bandwidth: str | float = "scott", feature_names: Sequence[str] | None = None) -> None:
        self.bandwidth = bandwidth
        self.feature_names = feature_names

    def _fit(self, X: FloatArray, codes: IntArray, weights: FloatArray, groups: NDArray[Any] | None) -> None:
        check_within(X, self.feature_names_, np.tile([0.0, 1.0], (X.shape[1], 1)))
        self.points_: list[FloatArray] = []
        self.weights_: list[FloatArray] = []
        covariances = []
        for c in range(len(self.classes_)):
            inside = codes == c
            covariances.append(self._kernel_covariance(X[inside], weights[inside], self.classes_[c]))
            points, total = distinct_rows(X[inside], weights[inside])
            self.points_.append(points)
            self.weights_.append(total / total.sum())
        self.covariance_ = np.array(covariances)
        unit = [np.array([0.0, 1.0])] * X.shape[1]
        # What nine images leave outside the cube; nothing at ordinary bandwidths.
        self.log_norm_ = (
            np.log([self._class_masses(c, unit).item() for c in range(len(self.classes_))])
            if self._can_tabulate()
            else np.zeros(len(self.classes_))
        )

    def _kernel_covariance(self, X: FloatArray, weights: FloatArray, label: Any) -> FloatArray:
        n_effective = weights.sum() ** 2 / (weights**2).sum()
        d = X.shape[1]
        if isinstance(self.bandwidth, str):
            if self.bandwidth == "scott":
                factor = n_effective ** (-1 / (d + 4))
            elif self.bandwidth == "silverman":
                factor = (n_effective * (d + 2) / 4) ** (-1 / (d + 4))
            else:
                raise ObservationModelError(f"unknown bandwidth {self.bandwidth!r}: 'scott', 'silverman' or a number")
        elif np.isfinite(self.bandwidth) and self.bandwidth > 0:
            return np.eye(d) * float(self.bandwidth) ** 2
        else:
            raise ObservationModelError(f"bandwidth {self.bandwidth} must be a positive number")
        spread = np.ptp(X, axis=0)
        if n_effective <= 1 or not np.all(spread > 0):
            name = self.feature_names_[int(np.argmin(spread))]
            raise ObservationModelError(
                f"feature {name!r} does not vary in class {label}: give the bandwidth as a number"
            )
        covariance = np.atleast_2d(np.cov(X.T, aweights=weights)) * factor**2
        scale = np.sqrt(np.diag(covariance))
        if np.abs(np.triu(covariance / np.outer(scale, scale), 1)).max() > MAX_CORRELATION:
            raise ObservationModelError(f"features are collinear in class {label}: give the bandwidth as a number")
        return np.asarray(covariance)

    def _can_tabulate(self) -> bool:
        d = self.covariance_.shape[1]
        return d <= 2 or bool(np.all(self.covariance_ == self.covariance_ * np.eye(d)))

    def _log_likelihood(self, X: FloatArray) -> FloatArray:
        d = X.shape[1]
        check_within(X, self.feature_names_, np.tile([0.0, 1.0], (d, 1)))
        images = np.array(list(product((0, 1, 2), repeat=d)))
        result = np.empty((len(X), len(self.classes_)))
        for c in range(len(self.classes_)):
            lower = np.linalg.cholesky(self.covariance_[c])
            points = np.linalg.solve(lower, self.points_[c].T).T
            log_constant = np.log(np.diag(lower)).sum() + d / 2 * np.log(2 * np.pi) + self.log_norm_[c]
            for rows in _chunks(len(X), len(points) * len(images)):
                reflected = np.choose(images[:, None, :], [X[rows], -X[rows], 2 - X[rows]])
                u = np.linalg.solve(lower, reflected.reshape(-1, d).T).T
                exponents = _minus_half_squares(u, points)
                density = (np.exp(exponents) @ self.weights_[c]).reshape(len(images), -1).sum(axis=0)
                far = density < TINY  # every kernel underflows: keep the digits at the price of speed
                log_density = np.log(np.where(far, 1.0, density))
                if far.any():
                    rest = exponents.reshape(len(images), -1, len(points))[:, far]
                    log_density[far] = logsumexp(rest, b=self.weights_[c], axis=(0, 2))
                result[rows, c] = log_density
            result[:, c] -= log_constant
        return result

    def sample(self, n: int, label: Any, *, rng: np.random.Generator | int) -> FloatArray:
        """Draw from the density of a class.

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
            Points of the unit cube.
        """
        c, generator = self._class_index(label), as_generator(rng)
        d = self.covariance_.shape[1]
        lower = np.linalg.cholesky(self.covariance_[c])
        draws = np.empty((0, d))
        while len(draws) < n:  # nine images end at [-1, 2]^d, hence the rejection
            picks = generator.choice(len(self.points_[c]), size=n - len(draws), p=self.weights_[c])
            new = self.points_[c][picks] + generator.standard_normal((len(picks), d)) @ lower.T
            draws = np.concatenate([draws, new[np.all((new >= -1) & (new <= 2), axis=1)]])
        folded = np.abs(draws)
        return np.where(folded > 1, 2 - folded, folded)

    def _tabulate(self, edges: list[FloatArray]) -> FloatArray:
        for name, edge in zip(self.feature_names_, edges, strict=True):
            if edge[0] != 0 or edge[-1] != 1:
                raise ObservationModelError(f"edges of {name!r} run from {edge[0]:g} to {edge[-1]:g}, expected 0 to 1")
        if not self._can_tabulate():
            raise ObservationModelError("bin masses of correlated kernels need d <= 2: give the bandwidth as a number")
        return np.array([self._class_masses(c, edges) for c in range(len(self.classes_))])

    def _class_masses(self, c: int, edges: list[FloatArray]) -> FloatArray:
        """Masses of all bins under one class before normalisation, by the series of the module docstring."""
        scale = np.sqrt(np.diag(self.covariance_[c]))
        d = len(scale)
        rho = float(self.covariance_[c][0, 1] / (scale[0] * scale[1])) if d == 2 else 0.0
        n_terms = 0 if rho == 0 else int(np.ceil(np.log(SERIES_TOLERANCE * (1 - abs(rho))) / np.log(abs(rho))))
        shape = tuple(len(edge) - 1 for edge in edges)
        masses = np.zeros(shape)
        for rows in _chunks(len(self.points_[c]), 3 * max(shape) + 1):
            points, weights = self.points_[c][rows], self.weights_[c][rows]
            # Kernel units: (points, extended edges), one array per axis.
            u = [(_with_images(edge)[None, :] - points[:, [j]]) / scale[j] for j, edge in enumerate(edges)]
            masses += _weighted_product(weights, [_fold(_normal_masses(axis)) for axis in u])
            if n_terms:
                for m, (psi_x, psi_y) in enumerate(
                    zip(_hermite(u[0], n_terms), _hermite(u[1], n_terms), strict=True), 1
                ):
                    terms = [_fold(np.diff(psi_x)), _fold(np.diff(psi_y))]
                    masses += rho**m / m * _weighted_product(weights, terms)
        return np.maximum(masses, 0.0)  # rounding may leave -1e-20 where there is nothing


def _chunks(n: int, width: int) -> Iterator[slice]:
    size = max(1, CHUNK // width)
    return (slice(start, start + size) for start in range(0, n, size))


def _minus_half_squares(u: NDArray[np.floating[Any]], points: NDArray[np.floating[Any]]) -> FloatArray:
    """Exponents -|u_i - p_j|^2 / 2 of all pairs, one axis at a time to spare memory."""
    total = np.zeros((len(u), len(points)))
    for j in range(u.shape[1]):
        difference = u[:, j, None] - points[None, :, j]
        total -= 0.5 * difference * difference
    return total


def _with_images(edge: FloatArray) -> FloatArray:
    """Edges on [-1, 2]: those below 0, within, and above 1."""
    return np.concatenate([-edge[:0:-1], edge, 2 - edge[-2::-1]])


def _fold(masses: FloatArray) -> FloatArray:
    """Add the masses of a bin's three images: (n, 3B) to (n, B)."""
    below, within, above = np.split(masses, 3, axis=1)
    return np.asarray(below[:, ::-1] + within + above[:, ::-1])


def _normal_masses(u: FloatArray) -> FloatArray:
    """Return the standard normal mass between neighbouring columns, accurate in both tails."""
    low, high = u[:, :-1], u[:, 1:]
    upper = low > 0
    return np.asarray(ndtr(np.where(upper, -low, high)) - ndtr(np.where(upper, -high, low)))


def _hermite(u: FloatArray, n: int) -> Iterator[FloatArray]:
    """Yield psi_0 .. psi_{n-1} at ``u``."""
    previous, current = np.zeros_like(u), np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
    for m in range(n):
        yield current
        previous, current = current, (u * current - np.sqrt(m) * previous) / np.sqrt(m + 1)


def _weighted_product(weights: FloatArray, factors: list[FloatArray]) -> FloatArray:
    """sum_i w_i prod_a F_a[i, b_a], an array over (b_1, ..., b_d)."""
    result = weights[:, None] * factors[0]
    for factor in factors[1:-1]:
        result = (result[:, :, None] * factor[:, None, :]).reshape(len(weights), -1)
    total = result.sum(axis=0) if len(factors) == 1 else result.T @ factors[-1]
    return np.asarray(total).reshape(tuple(factor.shape[1] for factor in factors))
