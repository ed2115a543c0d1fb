r"""A likelihood ratio learned discriminatively, with densities that agree with it.

A classifier's log-odds are log prior odds plus the log-likelihood ratio, so a calibrated classifier on any
features yields the *evidence*

.. math:: z(x) = \log \frac{f_{right}(x)}{f_{wrong}(x)}
               = \log \frac{P(right \mid x)}{P(wrong \mid x)} - \log \frac{\pi}{1 - \pi},

which is all that the features say about the class. To plan one needs the distribution of z per class. Two
histograms would contradict the ratio, so only the pooled mass m of each bin is a (smoothed) histogram, and
Bayes' rule divides it:

.. math:: f_{right,j} \propto m_j\,\sigma(z_j + \log\tfrac{\pi}{1-\pi}), \qquad
          f_{wrong,j} \propto m_j\,(1 - \sigma(z_j + \log\tfrac{\pi}{1-\pi})),

each normalised. Then log f_right,j / f_wrong,j is z_j plus one small constant, the same in every bin
(``offset_``). For C classes z has C - 1 components, log-ratios to a reference class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from observation_models._folds import stratified_folds
from observation_models._inputs import (
    Edges,
    Features,
    FloatArray,
    IntArray,
    as_generator,
    bin_index,
    check_edges,
    check_within,
    distinct_rows,
    flat_cells,
    weight_per_cell,
)
from observation_models._smoothing import smoothed_masses
from observation_models.base import DensityEstimator, softmax
from observation_models.errors import ObservationModelError
from observation_models.histogram import cell_log_density, sample_cells
from observation_models.linear_evidence import FeatureTransform, LinearEvidence
from observation_models.scores import log_odds, representative_scores

RIDGE_C = 1e3
"""Inverse ridge of the default logistic: weak, yet its coefficients stay finite on separable data."""

MAX_CELLS = 4096


class LikelihoodRatio(DensityEstimator):
    """Evidence z = log f_right / f_wrong from a classifier, and the density of z per class.

    ``log_likelihood``, ``sample`` and ``tabulate`` are about z, not about the features; ``evidence`` maps
    features to z.

    Parameters
    ----------
    classifier : scikit-learn classifier, optional
        Fitted on transformed features; by default an all but unregularised logistic regression.
    positive : label, optional
        The class in the numerator ("right"), for two classes; the greater label by default. With more classes
        z holds the log-ratios of the others to the first.
    log_odds : sequence of str, optional
        Features that are probabilities, to be turned into log-odds; the others are standardised. A single
        feature is one by default; with several this must be said, with () for none.
    clip : float
        Probabilities are clipped to [clip, 1 - clip] before their log-odds: scores of exactly 1 are common.
    calibrate : "none", "sigmoid" or "isotonic"
        Recalibrate the log-odds on held-out folds (two classes).
    n_folds : int
        Number of such folds; they keep ``groups`` together.
    n_bins : int, optional
        Bins per component of z; 100 for two classes.
    smoothing : float
        Standard deviation of the kernel that smooths pooled masses, in units of z, or of log-odds where
        scores are tabulated. Single values with 5 % of the weight (scores of 1) stay where they are.
    random_state : int
        Seed of the folds.
    feature_names : sequence of str, optional
        See :class:`DensityEstimator`.

    Attributes
    ----------
    classifier_ : fitted classifier
        Trained on class indices.
    ratio_classes_ : tuple
        Numerator class of each component of z.
    edges_ : list of ndarray
        Bin edges of each component of z.
    masses_ : ndarray (C, bins of each component)
        Probability of each bin.
    offset_ : ndarray (C - 1,)
        log mass ratio of a bin minus its z.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> score = np.concatenate([rng.beta(4, 1, 500), rng.beta(1, 2, 500)])
    >>> ratio = LikelihoodRatio().fit({"score": score}, np.repeat([1, 0], 500))
    >>> bool(np.all(np.diff(ratio.evidence({"score": [0.1, 0.5, 0.9]})) > 0))
    True
    >>> ratio.linear_parameters().transform.log_odds
    ('score',)
    """

    def __init__(
        self,
        *,
        classifier: Any = None,
        positive: Any = None,
        log_odds: Sequence[str] | None = None,
        clip: float = 1e-3,
        calibrate: str = "none",
        n_folds: int = 5,
        n_bins: int | None = None,
        smoothing: float = 0.1,
        random_state: int = 0,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.classifier = classifier
        self.positive = positive
        self.log_odds = log_odds
        self.clip = clip
        self.calibrate = calibrate
        self.n_folds = n_folds
        self.n_bins = n_bins
        self.smoothing = smoothing
        self.random_state = random_state
        self.feature_names = feature_names

    # --- learning the ratio -------------------------------------------------------------------------------

    def _fit(self, X: FloatArray, codes: IntArray, weights: FloatArray, groups: NDArray[Any] | None) -> None:
        self._check_parameters()
        reference = self._reference()
        self._reference_index = reference
        self._ratio_indices = [c for c in range(len(self.classes_)) if c != reference]
        self.ratio_classes_ = tuple(self.classes_[self._ratio_indices].tolist())
        self.transform_ = self._learn_transform(X, weights)
        features = self.transform_(X)
        self._n_effective = weights.sum() ** 2 / (weights**2).sum()
        self.classifier_ = self._train(features, codes, weights)
        self._calibrator = self._learn_calibration(features, codes, weights, groups)
        z = self._evidence(X)
        self.edges_ = self._default_edges(z)
        self._z, self._z_weights = distinct_rows(z, weights)
        # Scores as such are kept only where a single one is all there is: for tables over score bins.
        self._scores = distinct_rows(X, weights) if X.shape[1] == 1 and self.transform_.log_odds else None
        self.masses_ = self._tabulate(self.edges_)
        share = np.log(self._shares(self.edges_)[1])
        self.offset_ = (np.log(self.class_prior_) - share)[self._ratio_indices] - (np.log(self.class_prior_) - share)[
            reference
        ]

    def _check_parameters(self) -> None:
        if not 0 < self.clip < 0.5:
            raise ObservationModelError(f"clip {self.clip} must be in (0, .5)")
        if self.calibrate not in ("none", "sigmoid", "isotonic"):
            raise ObservationModelError(f"unknown calibrate {self.calibrate!r}: 'none', 'sigmoid' or 'isotonic'")
        if self.calibrate != "none" and len(self.classes_) > 2:
            raise ObservationModelError(f"calibrate={self.calibrate!r} is for two classes")
        if self.smoothing < 0 or (self.n_bins is not None and self.n_bins < 2):
            raise ObservationModelError(f"smoothing {self.smoothing} must be >= 0 and n_bins {self.n_bins} at least 2")

    def _reference(self) -> int:
        if self.positive is None:
            return 0
        if len(self.classes_) != 2:
            raise ObservationModelError(f"positive={self.positive!r} is for two classes")
        return 1 - self._class_index(self.positive)

    def _learn_transform(self, X: FloatArray, weights: FloatArray) -> FeatureTransform:
        names = self.feature_names_
        if self.log_odds is None and len(names) > 1:
            raise ObservationModelError(f"say which of {names} are probabilities: log_odds=(...), () for none")
        scores = names if self.log_odds is None else tuple(self.log_odds)
        unknown = set(scores) - set(names)
        if unknown:
            raise ObservationModelError(f"log_odds names {sorted(unknown)}, which are not among {names}")
        centre = np.average(X, axis=0, weights=weights)
        scale = np.sqrt(np.average((X - centre) ** 2, axis=0, weights=weights))
        scale[scale == 0] = 1.0
        is_score = np.isin(names, scores)
        centre[is_score], scale[is_score] = 0.0, 1.0
        return FeatureTransform(names, scores, float(self.clip), tuple(centre.tolist()), tuple(scale.tolist()))

    def _train(self, features: FloatArray, codes: IntArray, weights: FloatArray) -> Any:
        classifier = LogisticRegression(C=RIDGE_C, max_iter=1000, tol=1e-8)
        if self.classifier is not None:
            classifier = clone(self.classifier)
        if np.all(weights == weights[0]):
            return classifier.fit(features, codes)
        key = "sample_weight"
        if isinstance(classifier, Pipeline):
            key = f"{classifier.steps[-1][0]}__{key}"
        return classifier.fit(features, codes, **{key: weights})

    def _learn_calibration(
        self, features: FloatArray, codes: IntArray, weights: FloatArray, groups: NDArray[Any] | None
    ) -> Any:
        """Fit held-out log-odds to outcomes; None without calibration."""
        if self.calibrate == "none":
            return None
        held_out = np.empty(len(codes))
        for train, test in stratified_folds(codes, groups, self.n_folds, self.random_state):
            fold = self._train(features[train], codes[train], weights[train])
            logits = self._logits(fold, features[test])
            held_out[test] = logits[:, 1] - logits[:, 0]
        if self.calibrate == "sigmoid":
            return LogisticRegression(C=RIDGE_C, max_iter=1000, tol=1e-8).fit(held_out[:, None], codes, weights)
        return IsotonicRegression(out_of_bounds="clip").fit(held_out, codes, weights)

    def _logits(self, classifier: Any, features: FloatArray) -> FloatArray:
        """Unnormalised log posterior (n, C) of a classifier."""
        if isinstance(classifier, LogisticRegression):
            decision = classifier.decision_function(features)
            return np.column_stack([np.zeros(len(features)), decision]) if decision.ndim == 1 else decision
        # No sample of n tells a chance below 1 / n from none: without a limit one leaf would settle all.
        return np.asarray(np.log(np.clip(classifier.predict_proba(features), 1 / (self._n_effective + 2), 1)))

    def _evidence(self, X: FloatArray) -> FloatArray:
        """Evidence (n, C - 1) of checked features."""
        logits = self._logits(self.classifier_, self.transform_(X))
        if self._calibrator is not None:
            difference = logits[:, 1] - logits[:, 0]
            if self.calibrate == "sigmoid":
                difference = self._calibrator.decision_function(difference[:, None])
            else:
                difference = log_odds(self._calibrator.predict(difference), 1 / (self._n_effective + 2))
            logits = np.column_stack([np.zeros(len(difference)), difference])
        likelihoods = logits - np.log(self.class_prior_)
        return likelihoods[:, self._ratio_indices] - likelihoods[:, [self._reference_index]]

    def evidence(self, X: Features) -> FloatArray:
        """Log-likelihood ratio of each row.

        Parameters
        ----------
        X : array-like (n, d) or mapping from feature name to (n,)
            Features.

        Returns
        -------
        ndarray (n,), or (n, C - 1) for more than two classes
            log f_positive / f_other, or the log-ratios to the first class.
        """
        z = self._evidence(self._features(X))
        return z[:, 0] if z.shape[1] == 1 else z

    def linear_parameters(self) -> LinearEvidence:
        """Return the fitted ratio as plain numbers, for an artifact.

        Returns
        -------
        LinearEvidence
            Evaluates to :meth:`evidence`.

        Raises
        ------
        ObservationModelError
            If the ratio is not linear in the transformed features.
        """
        classifier = self._fitted("classifier_")
        if not isinstance(classifier, LogisticRegression) or self.calibrate == "isotonic":
            raise ObservationModelError("only a logistic regression without isotonic calibration is linear")
        coefficients, intercept = classifier.coef_, classifier.intercept_
        if len(coefficients) == 1:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercept = np.concatenate([np.zeros(1), intercept])
        if self._calibrator is not None:
            slope, shift = self._calibrator.coef_[0, 0], self._calibrator.intercept_[0]
            coefficients, intercept = slope * coefficients, slope * intercept + np.array([0.0, shift])
        intercept = intercept - np.log(self.class_prior_)
        rows, reference = self._ratio_indices, self._reference_index
        return LinearEvidence(
            self.transform_,
            tuple(tuple(row) for row in (coefficients[rows] - coefficients[reference]).tolist()),
            tuple((intercept[rows] - intercept[reference]).tolist()),
        )

    # --- densities of z -----------------------------------------------------------------------------------

    def _default_edges(self, z: FloatArray) -> list[FloatArray]:
        n_bins = self.n_bins or min(100, max(2, int(MAX_CELLS ** (1 / z.shape[1]))))
        if n_bins ** z.shape[1] > 50 * MAX_CELLS:
            raise ObservationModelError(
                f"{n_bins} bins along each of {z.shape[1]} log-ratios are too many: lower n_bins"
            )
        edges = []
        for low, high in zip(z.min(axis=0), z.max(axis=0), strict=True):
            half = (high - low) / (n_bins - 1) / 2 or 0.5
            edges.append(np.linspace(low - half, high + half, n_bins + 1))
        return edges

    def _cell_evidence(self, edges: list[FloatArray]) -> FloatArray:
        """Evidence of each cell (cells, C - 1): mean of the training z in it, its centre if there is none."""
        cells, shape = flat_cells(self._z, edges)
        size = (int(np.prod(shape)),)
        weight = weight_per_cell(cells, self._z_weights, size)
        centres = np.meshgrid(*((edge[1:] + edge[:-1]) / 2 for edge in edges), indexing="ij")
        means = []
        for value, centre in zip(self._z.T, centres, strict=True):
            total = weight_per_cell(cells, self._z_weights * value, size)
            means.append(np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), centre.ravel()))
        return np.column_stack(means)

    def _divide(self, pooled: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Divide pooled masses (cells,) among classes by Bayes' rule: unnormalised (C, cells), their sums."""
        logits = np.tile(np.log(self.class_prior_), (len(pooled), 1))
        logits[:, self._ratio_indices] += z
        shares = pooled * softmax(logits).T
        return shares, shares.sum(axis=1)

    def _shares(self, edges: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        pooled = smoothed_masses(self._z, self._z_weights, edges, self.smoothing)
        return self._divide(pooled.ravel(), self._cell_evidence(edges))

    def tabulate(self, edges: Edges | None = None) -> FloatArray:
        """Probability of each bin *of z* under each class.

        Parameters
        ----------
        edges : sequence of C - 1 increasing arrays, optional
            Bin edges of each component of z, a bare array for two classes; ``edges_`` by default. What lies
            beyond counts in the outermost bins.

        Returns
        -------
        ndarray (C, *bins)
            Positive masses that sum to one per class; log mass ratios are the bins' z up to a constant.
        """
        self._fitted("classes_")
        checked = self.edges_ if edges is None else check_edges(edges, len(self.ratio_classes_))
        return self._tabulate(checked)

    def _tabulate(self, edges: list[FloatArray]) -> FloatArray:
        shares, totals = self._shares(edges)
        return (shares / totals[:, None]).reshape(-1, *(len(edge) - 1 for edge in edges))

    def tabulate_scores(self, edges: ArrayLike) -> FloatArray:
        """Bin masses of a single score whose log-ratio is z at the bin's representative score.

        Parameters
        ----------
        edges : array-like (B + 1,)
            Increasing edges from 0 to 1, fine ones: see :func:`observation_models.score_bins`.

        Returns
        -------
        ndarray (C, B)
            Positive masses that sum to one per class.
        """
        self._fitted("classes_")
        if self._scores is None:
            raise ObservationModelError(f"tabulate_scores is for a single score, this model has {self.feature_names_}")
        checked = check_edges([edges], 1)[0]
        if checked[0] != 0 or checked[-1] != 1:
            raise ObservationModelError(f"score edges run from {checked[0]} to {checked[-1]}, expected 0 to 1")
        representatives = representative_scores(checked)
        shares, totals = self._divide(
            _pooled_score_masses(*self._scores, checked, self.smoothing),
            self._evidence(representatives[:, None]),
        )
        return shares / totals[:, None]

    def _log_likelihood(self, X: FloatArray) -> FloatArray:
        return cell_log_density(self._evidence(X), self.masses_, self.edges_)

    def predict_proba(self, X: Features, prior: ArrayLike | None = None) -> FloatArray:
        """Class probabilities from the ratio itself, not from its binned density.

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
        z = self._evidence(self._features(X))
        logits = np.tile(np.log(self._prior(prior)), (len(z), 1))
        logits[:, self._ratio_indices] += z
        return softmax(logits)

    def sample(self, n: int, label: Any, *, rng: np.random.Generator | int) -> FloatArray:
        """Draw values *of z*, not features, under a class.

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
        ndarray (n, C - 1)
            Evidence.
        """
        return sample_cells(self.masses_[self._class_index(label)], self.edges_, n, as_generator(rng))


def _pooled_score_masses(scores: FloatArray, weights: FloatArray, edges: FloatArray, bandwidth: float) -> FloatArray:
    """Pooled masses of score bins, smoothed in log-odds; an atom at 1 stays apart."""
    check_within(scores, ("score",), np.array([[0.0, 1.0]]))
    representatives = representative_scores(edges)
    has_atom = representatives[-1] == 1.0
    inner = edges[:-1] if has_atom else edges
    limit = min(representatives[0], 1 - representatives[len(inner) - 2]) / 2
    in_atom = (bin_index(scores[:, 0], edges) == len(inner) - 1) if has_atom else np.zeros(len(scores), bool)
    n = weights[~in_atom].sum()
    masses = np.zeros(len(edges) - 1)
    if n > 0:
        u, u_edges = log_odds(scores[~in_atom], limit), log_odds(inner, limit)
        masses[: len(inner) - 1] = n * smoothed_masses(u, weights[~in_atom], [u_edges], bandwidth)
    else:
        masses[: len(inner) - 1] = 1 / len(masses)
    if has_atom:
        masses[-1] = weights[in_atom].sum() + 1 / len(masses)
    return np.asarray(masses / masses.sum())
