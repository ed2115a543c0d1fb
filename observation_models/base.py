"""The interface that all class-conditional densities share."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from observation_models._inputs import (
    Edges,
    Features,
    FloatArray,
    IntArray,
    as_matrix,
    check_edges,
    check_groups,
    check_labels,
    check_weights,
)
from observation_models.errors import ObservationModelError, ObservationModelWarning

FEW_SAMPLES = 30
"""Below this many samples (effective, under weights) a class is reported as too small."""

FLOOR = 1e-6
"""Share of each class spread evenly over the bins of a score table, so that no evidence is infinite."""


class DensityEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """Class-conditional densities of named features; subclasses implement the underscored methods.

    Parameters
    ----------
    feature_names : sequence of str, optional
        The features used, in order: they select from a mapping, or name the columns of an array. By default
        all entries of a mapping, or ``x0, x1, ...``.

    Attributes
    ----------
    classes_ : ndarray (C,)
        Sorted labels.
    class_prior_ : ndarray (C,)
        Weighted training frequencies.
    feature_names_ : tuple of str
        Names of the d features.
    """

    feature_names: Sequence[str] | None
    classes_: NDArray[Any]
    class_prior_: FloatArray
    feature_names_: tuple[str, ...]

    def fit(
        self,
        X: Features,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn one density per class.

        Parameters
        ----------
        X : array-like (n, d) or (n,), or mapping from feature name to (n,)
            Features.
        y : array-like (n,)
            Class labels, at least two different ones.
        sample_weight : array-like (n,), optional
            Non-negative weights.
        groups : array-like (n,), optional
            Problem ids; only estimators that split the data while fitting look at them.

        Returns
        -------
        Self
            The fitted estimator.

        Raises
        ------
        ObservationModelError
            Wrong shapes, NaN, values out of range, a class without weight.
        """
        matrix, names = as_matrix(X, self.feature_names)
        labels = check_labels(y, len(matrix))
        weights = check_weights(sample_weight, len(matrix))
        checked_groups = check_groups(groups, len(matrix))
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ObservationModelError(f"y holds {len(classes)} class(es), expected at least two")
        totals = np.bincount(codes, weights)
        if np.any(totals <= 0):
            raise ObservationModelError(f"class {classes[np.argmin(totals)]} is empty: its weights sum to 0")
        effective = totals**2 / np.bincount(codes, weights**2)
        for label, size in zip(classes, effective, strict=True):
            if size < FEW_SAMPLES:
                warnings.warn(
                    f"class {label} has only {size:.4g} samples (effective), fewer than {FEW_SAMPLES}",
                    ObservationModelWarning,
                    stacklevel=2,
                )
        used = weights > 0
        self.feature_names_, self.classes_ = names, classes
        self.class_prior_ = totals / totals.sum()
        self._fit(matrix[used], codes[used], weights[used], None if checked_groups is None else checked_groups[used])
        return self

    def log_likelihood(self, X: Features) -> FloatArray:
        """Log density of each row under each class.

        Parameters
        ----------
        X : array-like (n, d) or mapping from feature name to (n,)
            Features.

        Returns
        -------
        ndarray (n, C)
            Natural logarithm of the density with respect to Lebesgue measure.
        """
        return self._log_likelihood(self._features(X))

    def predict_proba(self, X: Features, prior: ArrayLike | None = None) -> FloatArray:
        """Class probabilities by Bayes' rule.

        Parameters
        ----------
        X : array-like (n, d) or mapping from feature name to (n,)
            Features.
        prior : array-like (C,), optional
            Prior class probabilities; the training frequencies by default.

        Returns
        -------
        ndarray (n, C)
            Rows sum to one.
        """
        return softmax(self.log_likelihood(X) + np.log(self._prior(prior)))

    @abstractmethod
    def sample(self, n: int, label: Any, *, rng: np.random.Generator | int) -> FloatArray:
        """Draw ``n`` feature vectors, (n, d), of class ``label``."""

    def tabulate(self, edges: Edges) -> FloatArray:
        """Probability of each bin under each class.

        Parameters
        ----------
        edges : sequence of d increasing arrays
            Bin edges of each feature; a bare array will do for a single feature.

        Returns
        -------
        ndarray (C, B_1, ..., B_d)
            Masses that sum to one per class.
        """
        checked = check_edges(edges, len(self._fitted("feature_names_")))
        masses = self._tabulate(checked)
        return np.asarray(masses / masses.sum(axis=tuple(range(1, masses.ndim)), keepdims=True))

    def tabulate_scores(self, edges: ArrayLike) -> FloatArray:
        """Strictly positive bin masses of a single score, for a router's table of step emissions.

        Parameters
        ----------
        edges : array-like (B + 1,)
            Increasing edges on [0, 1], see :func:`observation_models.score_bins`.

        Returns
        -------
        ndarray (C, B)
            Masses that sum to one per class; a share of 1e-6 is spread evenly over the bins, so that
            no bin is impossible and no evidence infinite.
        """
        if len(self._fitted("feature_names_")) != 1:
            raise ObservationModelError(
                f"tabulate_scores is for a single feature, this model has {self.feature_names_}"
            )
        masses = self.tabulate([np.asarray(edges)])
        return np.asarray((1 - FLOOR) * masses + FLOOR / masses.shape[1])

    @abstractmethod
    def _fit(self, X: FloatArray, codes: IntArray, weights: FloatArray, groups: NDArray[Any] | None) -> None:
        """Learn from checked data; ``codes`` index ``classes_``."""

    @abstractmethod
    def _log_likelihood(self, X: FloatArray) -> FloatArray:
        """Log densities (n, C) of checked features."""

    @abstractmethod
    def _tabulate(self, edges: list[FloatArray]) -> FloatArray:
        """Bin masses (C, *bins), up to a factor per class."""

    def _fitted(self, name: str) -> Any:
        if not hasattr(self, "classes_"):
            raise ObservationModelError(f"{type(self).__name__} is not fitted yet: call fit first")
        return getattr(self, name)

    def _features(self, X: Features) -> FloatArray:
        return as_matrix(X, self._fitted("feature_names_"))[0]

    def _class_index(self, label: Any) -> int:
        where = np.flatnonzero(self._fitted("classes_") == label)
        if len(where) != 1:
            raise ObservationModelError(f"unknown class {label!r}; fitted are {self.classes_.tolist()}")
        return int(where[0])

    def _prior(self, prior: ArrayLike | None) -> FloatArray:
        if prior is None:
            return np.asarray(self._fitted("class_prior_"))
        checked = np.asarray(prior, dtype=float)
        if checked.shape != self._fitted("classes_").shape or np.any(checked <= 0):
            raise ObservationModelError(f"prior must be {len(self.classes_)} positive numbers, got {prior}")
        return np.asarray(checked / checked.sum())


def softmax(logits: FloatArray) -> FloatArray:
    """Normalise exp(logits) over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
