"""How good are probabilities? Plain functions of (probability, outcome, weights).

Everywhere ``p`` is (n,), the probability of outcome 1, with ``y`` in {0, 1}; or (n, C), rows of class
probabilities, with ``y`` in 0 .. C - 1.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from observation_models._inputs import FloatArray, IntArray, bin_index, check_edges, check_weights
from observation_models.errors import ObservationModelError


@dataclass(frozen=True)
class ReliabilityCurve:
    """Predicted against observed frequency in bins of the prediction; empty bins are left out.

    Attributes
    ----------
    predicted, observed : ndarray (k,)
        Weighted mean prediction and frequency of the outcome in each bin.
    weight : ndarray (k,)
        Share of the total weight; sums to one.
    standard_error : ndarray (k,)
        Binomial standard error of ``observed`` were the predictions right, rows counted as independent.
    """

    predicted: FloatArray
    observed: FloatArray
    weight: FloatArray
    standard_error: FloatArray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReliabilityCurve):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name), equal_nan=True) for f in fields(self))

    @property
    def ece(self) -> float:
        """Expected calibration error, the mean distance of the two frequencies."""
        return float(np.sum(self.weight * np.abs(self.predicted - self.observed)))


def _checked(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, IntArray, FloatArray]:
    probabilities, outcomes = np.asarray(p, dtype=float), np.asarray(y)
    if probabilities.ndim not in (1, 2) or outcomes.shape != probabilities.shape[:1] or not len(outcomes):
        raise ObservationModelError(
            f"probabilities {probabilities.shape} and outcomes {outcomes.shape} do not fit: "
            "expected (n,) or (n, C), and (n,)"
        )
    bad = np.flatnonzero(~np.all((np.atleast_2d(probabilities.T) >= 0) & (np.atleast_2d(probabilities.T) <= 1), axis=0))
    if len(bad):
        raise ObservationModelError(f"probability {probabilities[bad[0]]} in row {bad[0]} is not in [0, 1]")
    if probabilities.ndim == 2 and not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-6):
        raise ObservationModelError("class probabilities do not sum to one in each row")
    n_classes = 2 if probabilities.ndim == 1 else probabilities.shape[1]
    if not np.all(np.isin(outcomes, np.arange(n_classes))):
        raise ObservationModelError(f"outcomes must be whole numbers from 0 to {n_classes - 1}")
    checked_weights = check_weights(weights, len(outcomes))
    if not checked_weights.sum() > 0:
        raise ObservationModelError("weights sum to zero")
    return probabilities, outcomes.astype(np.intp), checked_weights


def log_losses(p: ArrayLike, y: ArrayLike) -> FloatArray:
    """Minus log probability of each outcome, (n,); probabilities of 0 count as the smallest float above 0."""
    probabilities, outcomes, _ = _checked(p, y, None)
    if probabilities.ndim == 1:
        chosen = np.where(outcomes == 1, probabilities, 1 - probabilities)
    else:
        chosen = np.take_along_axis(probabilities, outcomes[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(chosen, np.finfo(float).tiny)))


def brier_scores(p: ArrayLike, y: ArrayLike) -> FloatArray:
    """Squared error of each row, (n,): (p - y)^2, or summed over the classes for (n, C)."""
    probabilities, outcomes, _ = _checked(p, y, None)
    if probabilities.ndim == 1:
        return np.asarray((probabilities - outcomes) ** 2)
    return np.asarray(((probabilities - np.eye(probabilities.shape[1])[outcomes]) ** 2).sum(axis=1))


def log_loss(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean minus log probability of what happened.

    >>> round(log_loss([0.5, 0.25], [1, 0]), 4)
    0.4904
    """
    return float(np.average(log_losses(p, y), weights=_checked(p, y, weights)[2]))


def brier(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared error of the probabilities; summed over classes for (n, C), so twice as large for C = 2.

    >>> brier([0.5, 1.0], [1, 1])
    0.125
    """
    return float(np.average(brier_scores(p, y), weights=_checked(p, y, weights)[2]))


def reliability_curve(
    p: ArrayLike, y: ArrayLike, bins: int | ArrayLike = 10, weights: ArrayLike | None = None
) -> ReliabilityCurve:
    """Predicted and observed frequency of outcome 1 in bins of the prediction.

    Parameters
    ----------
    p : array-like (n,)
        Probability of outcome 1.
    y : array-like (n,)
        Outcomes, 0 or 1.
    bins : int or increasing array
        Number of equal bins, or their edges.
    weights : array-like (n,), optional
        Sample weights.

    Returns
    -------
    ReliabilityCurve
        One entry per bin that holds weight.
    """
    probabilities, outcomes, w = _checked(p, y, weights)
    if probabilities.ndim != 1:
        raise ObservationModelError("a reliability curve takes the probability of one outcome, (n,)")
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else check_edges([bins], 1)[0]
    where, size = bin_index(probabilities, edges), len(edges) - 1
    weight = np.bincount(where, w, size)
    used = weight > 0
    predicted = np.bincount(where, w * probabilities, size)[used] / weight[used]
    observed = np.bincount(where, w * outcomes, size)[used] / weight[used]
    spread = np.bincount(where, w**2 * probabilities * (1 - probabilities), size)[used]
    return ReliabilityCurve(predicted, observed, weight[used] / weight.sum(), np.sqrt(spread) / weight[used])


def ece(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, bins: int | ArrayLike = 10) -> float:
    """Measure the expected calibration error; for (n, C) the mean of the classes', each against the rest.

    >>> round(ece([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]), 3)
    0.25
    """
    probabilities, outcomes, w = _checked(p, y, weights)
    if probabilities.ndim == 1:
        return reliability_curve(probabilities, outcomes, bins, w).ece
    curves = [reliability_curve(column, outcomes == c, bins, w) for c, column in enumerate(probabilities.T)]
    return float(np.mean([curve.ece for curve in curves]))


def auc(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve of any score (n,) for outcomes 0 and 1; ties count half.

    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    from sklearn.metrics import roc_auc_score

    outcomes = np.asarray(y)
    w = check_weights(weights, len(outcomes))
    if set(np.unique(outcomes[w > 0]).tolist()) != {0, 1}:
        raise ObservationModelError("the area under the ROC curve needs outcomes of both kinds, 0 and 1")
    return float(roc_auc_score(outcomes, np.asarray(p, dtype=float), sample_weight=w))
