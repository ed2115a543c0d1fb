"""Which density describes held-out problems best? All candidates on the same folds, in one table."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from observation_models._folds import stratified_folds
from observation_models._inputs import (
    Features,
    FloatArray,
    IntArray,
    as_matrix,
    bin_index,
    check_edges,
    check_groups,
    check_labels,
)
from observation_models.base import DensityEstimator
from observation_models.errors import ObservationModelError, ObservationModelWarning
from observation_models.metrics import (
    ReliabilityCurve,
    auc,
    brier_scores,
    ece,
    log_losses,
    reliability_curve,
)
from observation_models.scores import score_bins

N_BOOTSTRAP = 200


class Estimate(NamedTuple):
    """A number and its standard error, problems counted as the independent units; NaN where undefined."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class ComparisonRow:
    """Held-out quality of one estimator.

    Attributes
    ----------
    name : str
        Its name.
    log_likelihood : Estimate
        Mean log density of a sample under its own class. Densities of different quantities (a score, the
        evidence z) or with atoms are *not* comparable between rows.
    bin_log_likelihood : Estimate
        Mean log mass of a sample's bin under its own class, on bins shared by all rows: comparable. NaN
        unless the estimator is for a single score.
    log_loss, brier, ece : Estimate
        Of the class probabilities, prior = training frequencies. Lower is better.
    auc : Estimate
        Of the second class against the first; NaN for more than two.
    excess_log_loss : Estimate
        Log loss minus the best row's, with the standard error of this paired difference.
    """

    name: str
    log_likelihood: Estimate
    bin_log_likelihood: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: Estimate
    auc: Estimate
    excess_log_loss: Estimate


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`.

    Attributes
    ----------
    rows : tuple of ComparisonRow
        In the order given.
    classes : tuple
        Labels, sorted.
    n_samples, n_groups, n_folds : int
        What was split; without groups every row is one.
    probabilities : dict from name to ndarray (n, C)
        Held-out class probabilities.
    reliability : dict from name to dict from label to ReliabilityCurve
        Of each class against the rest.
    warnings : tuple of str
        Small classes, folds by row.
    """

    rows: tuple[ComparisonRow, ...]
    classes: tuple[Any, ...]
    n_samples: int
    n_groups: int
    n_folds: int
    probabilities: dict[str, FloatArray]
    reliability: dict[str, dict[Any, ReliabilityCurve]]
    warnings: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        """Same rows of the same data; names of what was compared go with the rows."""
        if not isinstance(other, Comparison):
            return NotImplemented
        names = [field.name for field in fields(self) if field.name not in ("rows", "probabilities")]
        return (
            repr(self.rows) == repr(other.rows)  # their values may be NaN
            and all(getattr(self, name) == getattr(other, name) for name in names)
            and self.probabilities.keys() == other.probabilities.keys()
            and all(np.array_equal(p, other.probabilities[name]) for name, p in self.probabilities.items())
        )

    def __repr__(self) -> str:
        losses = ", ".join(f"{row.name} {row.log_loss.value:.4g}" for row in self.rows)
        warned = f", warnings {len(self.warnings)}" if self.warnings else ""
        return f"Comparison(log loss {losses}; samples {self.n_samples}, folds {self.n_folds}{warned})"

    @property
    def best(self) -> str:
        """Name of the row with the smallest log loss."""
        return min(self.rows, key=lambda row: row.log_loss.value).name

    def to_table(self) -> str:
        """Return a plain-text table; standard errors after ±."""
        columns = (
            "log_loss",
            "excess_log_loss",
            "bin_log_likelihood",
            "brier",
            "ece",
            "auc",
            "log_likelihood",
        )
        lines = [["", *(column.replace("_", " ") for column in columns)]]
        lines += [[row.name, *(_cell(getattr(row, column)) for column in columns)] for row in self.rows]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        text = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) for cells in lines]
        units = "rows" if self.n_groups == self.n_samples else f"rows, {self.n_groups} groups"
        text.append(
            f"Held out, {self.n_folds} folds, {self.n_samples} {units}. Smaller is better, except for AUC "
            "and log likelihoods. Log likelihoods proper may be of different quantities (a score, z): do not "
            "compare their rows."
        )
        return "\n".join([*text, *(f"warning: {message}" for message in self.warnings)])

    def _repr_html_(self) -> str:
        columns = ("log_loss", "excess_log_loss", "brier", "ece", "auc")
        lines = [("", *(column.replace("_", " ") for column in columns))]
        lines += [(row.name, *(_cell(getattr(row, column)) for column in columns)) for row in self.rows]
        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in line) for line in lines]
        units = "rows" if self.n_groups == self.n_samples else f"rows of {self.n_groups} groups"
        caption = f"held out: {self.n_folds} folds, {self.n_samples} {units}"
        warned = "".join(f"<p>{escape(message)}</p>" for message in self.warnings)
        return f"<table><caption>{caption}</caption><tr>{'</tr><tr>'.join(cells)}</tr></table>{warned}"


def _cell(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.4f} ±{estimate.standard_error:.4f}"


def compare(
    estimators: Mapping[str, DensityEstimator],
    X: Features,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    n_folds: int = 5,
    seed: int = 0,
    edges: ArrayLike | None = None,
) -> Comparison:
    """Fit every estimator on the same folds and judge it on what it has not seen.

    Parameters
    ----------
    estimators : mapping from name to DensityEstimator
        Candidates; they are cloned, not fitted. ``feature_names`` of each selects what it sees of a mapping.
    X : array-like (n, d) or mapping from feature name to (n,)
        Features.
    y : array-like (n,)
        Labels.
    groups : array-like (n,), optional
        Problem ids: no problem is on both sides of a split, and standard errors count problems. Without them
        folds are by row, with a warning.
    n_folds : int
        Number of folds.
    seed : int
        Seed of folds and bootstrap; equal seeds give equal results.
    edges : array-like, optional
        Bins for ``bin_log_likelihood``; :func:`score_bins` by default.

    Returns
    -------
    Comparison
        One row per estimator.

    Raises
    ------
    ObservationModelError
        No estimators, too few samples for the folds, or whatever an estimator refuses.
    """
    if not estimators:
        raise ObservationModelError("no estimators to compare")
    columns = {name: np.asarray(v) for name, v in X.items()} if isinstance(X, Mapping) else None
    matrix = as_matrix(X)[0]
    labels = check_labels(y, len(matrix))
    ids = check_groups(groups, len(matrix))
    classes, codes = np.unique(labels, return_inverse=True)
    shared = score_bins() if edges is None else check_edges([edges], 1)[0]
    with _collected() as messages:
        folds = stratified_folds(codes, ids, n_folds, seed)
        held_out = {
            name: _held_out(estimator, columns if columns is not None else matrix, codes, labels, ids, folds, shared)
            for name, estimator in estimators.items()
        }
    clusters = np.arange(len(codes)) if ids is None else np.unique(ids, return_inverse=True)[1]
    losses = {name: log_losses(result.probabilities, codes) for name, result in held_out.items()}
    best = losses[min(losses, key=lambda name: losses[name].mean())]
    rows = tuple(
        _row(name, result, losses[name] - best, codes, clusters, len(classes), seed)
        for name, result in held_out.items()
    )
    reliability = {
        name: {
            label: reliability_curve(result.probabilities[:, c], codes == c) for c, label in enumerate(classes.tolist())
        }
        for name, result in held_out.items()
    }
    for message in messages:
        warnings.warn(message, ObservationModelWarning, stacklevel=2)
    return Comparison(
        rows=rows,
        classes=tuple(classes.tolist()),
        n_samples=len(codes),
        n_groups=int(clusters.max()) + 1,
        n_folds=n_folds,
        probabilities={name: result.probabilities for name, result in held_out.items()},
        reliability=reliability,
        warnings=tuple(messages),
    )


class _HeldOut(NamedTuple):
    probabilities: FloatArray
    log_likelihood: FloatArray
    bin_log_likelihood: FloatArray


def _held_out(
    estimator: DensityEstimator,
    X: FloatArray | dict[str, NDArray[Any]],
    codes: IntArray,
    labels: NDArray[Any],
    groups: NDArray[Any] | None,
    folds: list[tuple[IntArray, IntArray]],
    edges: FloatArray,
) -> _HeldOut:
    n, n_classes = len(codes), int(codes.max()) + 1
    result = _HeldOut(np.empty((n, n_classes)), np.empty(n), np.full(n, np.nan))
    for train, test in folds:
        fitted = clone(estimator).fit(_rows(X, train), labels[train], groups=None if groups is None else groups[train])
        features = as_matrix(_rows(X, test), fitted.feature_names_)[0]
        own = (np.arange(len(test)), codes[test])
        result.probabilities[test] = fitted.predict_proba(features)
        result.log_likelihood[test] = fitted.log_likelihood(features)[own]
        everything = as_matrix(X, fitted.feature_names_)[0]
        if features.shape[1] == 1 and everything.min() >= edges[0] and everything.max() <= edges[-1]:
            log_masses = np.log(fitted.tabulate_scores(edges))
            result.bin_log_likelihood[test] = log_masses[codes[test], bin_index(features[:, 0], edges)]
    return result


def _rows(X: FloatArray | dict[str, NDArray[Any]], rows: IntArray) -> FloatArray | dict[str, NDArray[Any]]:
    return {name: column[rows] for name, column in X.items()} if isinstance(X, dict) else X[rows]


def _row(
    name: str,
    result: _HeldOut,
    excess: FloatArray,
    codes: IntArray,
    clusters: IntArray,
    n_classes: int,
    seed: int,
) -> ComparisonRow:
    probabilities = result.probabilities if n_classes > 2 else result.probabilities[:, 1]
    area = Estimate(np.nan, np.nan)
    if n_classes == 2:
        area = _bootstrap(auc, probabilities, codes, clusters, seed)
    return ComparisonRow(
        name=name,
        log_likelihood=_mean(result.log_likelihood, clusters),
        bin_log_likelihood=_mean(result.bin_log_likelihood, clusters),
        log_loss=_mean(log_losses(probabilities, codes), clusters),
        brier=_mean(brier_scores(probabilities, codes), clusters),
        ece=_bootstrap(ece, probabilities, codes, clusters, seed),
        auc=area,
        excess_log_loss=_mean(excess, clusters),
    )


def _mean(values: FloatArray, clusters: IntArray) -> Estimate:
    """Mean and its standard error where values of one cluster may depend on each other."""
    mean = float(values.mean())
    totals = np.bincount(clusters, values - mean)
    k = len(totals)
    return Estimate(mean, float(np.sqrt(k / (k - 1) * (totals**2).sum()) / len(values)))


def _bootstrap(metric: Any, p: FloatArray, codes: IntArray, clusters: IntArray, seed: int) -> Estimate:
    """Value of a metric and its standard error over resampled clusters."""
    generator = np.random.default_rng(seed)
    k = int(clusters.max()) + 1
    values: list[float] = []
    while len(values) < N_BOOTSTRAP:
        weights = np.bincount(generator.integers(k, size=k), minlength=k)[clusters].astype(float)
        if len(np.unique(codes[weights > 0])) == len(np.unique(codes)):  # all classes must be there
            values.append(metric(p, codes, weights))
    return Estimate(float(metric(p, codes)), float(np.std(values)))


@contextmanager
def _collected() -> Iterator[list[str]]:
    """Collect this package's warnings, each once, and let all others pass."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    for warning in caught:
        if issubclass(warning.category, ObservationModelWarning):
            if str(warning.message) not in messages:
                messages.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
