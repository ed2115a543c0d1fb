"""From labelled scored steps to the observation model of the router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Provenance
from trim_pomdp.data.features import CLASSES, ClassFeatures
from trim_pomdp.errors import InputError
from trim_pomdp.observations import ClassTable, ObservationModel, StepEmission

if TYPE_CHECKING:
    from observation_models import Comparison, DensityEstimator

FloatArray = NDArray[np.float64]
EstimatorName = Literal["likelihood-ratio", "histogram", "reflected-kde"]
ESTIMATORS: tuple[EstimatorName, ...] = ("likelihood-ratio", "histogram", "reflected-kde")
CLASS_TABLE_BINS = 20
# Held-out step labels do not tell clips of 1e-4 and 1e-3 apart (log loss within .001); held-out outcomes of whole
# solutions do (.245 against .250 on MATH-500): docs/results.md.
CLIP = 1e-4
# Neighbouring fine bins that share their counts, for the S1 histogram alone.
_FINE_SMOOTHING = 4.0


def make_estimator(name: EstimatorName) -> DensityEstimator:
    """A fresh estimator of score densities by its name on the command line."""
    from observation_models import LikelihoodRatio, ReflectedKDE, SmoothedHistogram, score_bins

    if name == "likelihood-ratio":
        return LikelihoodRatio(positive="right", log_odds=("score",), clip=CLIP, feature_names=("score",))
    if name == "histogram":
        return SmoothedHistogram(bins=score_bins(), smoothing=_FINE_SMOOTHING, feature_names=("score",))
    if name == "reflected-kde":
        return ReflectedKDE(feature_names=("score",))
    raise InputError(f"unknown estimator {name!r}; there are {', '.join(ESTIMATORS)}")


def fit_observations(
    name: str,
    features: ClassFeatures,
    *,
    estimator: EstimatorName = "likelihood-ratio",
    provenance: tuple[Provenance, ...] = (),
    seed: int = 0,
) -> ObservationModel:
    """Fit f_right (from S0) and f_wrong (from S2), and, where S1 is there, its density and the class table.

    Parameters
    ----------
    name : str
        Name of the artifact.
    features : ClassFeatures
        (min, current) features by class; S1 may be empty.
    estimator : {"likelihood-ratio", "histogram", "reflected-kde"}
        Of the step emission; the first has the best held-out log loss on most PRMs (docs/results.md).
    provenance : tuple of Provenance
        Files that the features came from.
    seed : int
        Of the held-out folds.

    Raises
    ------
    InputError
        If S0 or S2 is empty, or the estimator is unknown.
    """
    from observation_models import score_bins

    for label in ("S0", "S2"):
        if len(features.features[label]) == 0:
            raise InputError(f"class {label} is empty; right steps and first errors are both needed")
    scores, labels, groups = step_data(features)
    fitted = make_estimator(estimator).fit(scores, labels, groups=groups)
    edges = score_bins()
    masses = fitted.tabulate_scores(edges)
    by_class = dict(zip(fitted.classes_.tolist(), masses, strict=True))
    has_derailed = len(features.features["S1"]) > 0
    return ObservationModel(
        name=name,
        estimator=estimator if estimator != "likelihood-ratio" else f"{estimator} (logistic, clip {CLIP:g})",
        provenance=provenance,
        step_emission=StepEmission(
            score_edges=(*edges[:-2].tolist(), 1.0),
            right=_normalised(by_class["right"]),
            wrong=_normalised(by_class["wrong"]),
            derailed=_derailed(features.features, edges) if has_derailed else None,
        ),
        class_table=class_table(features.features) if has_derailed else None,
        diagnostics=_diagnostics(features, compare_estimators(features, (estimator,), seed=seed)),
    )


def step_data(
    features: ClassFeatures,
) -> tuple[dict[str, FloatArray], NDArray[np.str_], NDArray[np.str_] | None]:
    """Current scores of S0 ("right") and S2 ("wrong") with labels and, where known, groups."""
    right, wrong = features.features["S0"][:, 1], features.features["S2"][:, 1]
    labels = np.repeat(["right", "wrong"], [len(right), len(wrong)])
    groups = None
    if features.groups is not None:
        groups = np.concatenate([features.groups["S0"], features.groups["S2"]])
    return {"score": np.concatenate([right, wrong])}, labels, groups


def compare_estimators(
    features: ClassFeatures, names: tuple[EstimatorName, ...] = ESTIMATORS, *, seed: int = 0
) -> Comparison:
    """Held-out comparison of estimators on right steps against first errors, folds by solution where ids are known."""
    from observation_models import compare

    scores, labels, groups = step_data(features)
    return compare({name: make_estimator(name) for name in names}, scores, labels, groups=groups, seed=seed)


def class_table(features: dict[str, FloatArray]) -> ClassTable:
    """The paper's table: reflected Gaussian kernels (Scott) integrated over 20 × 20 bins of (min, current)."""
    from observation_models import ReflectedKDE

    edges = np.linspace(0.0, 1.0, CLASS_TABLE_BINS + 1)
    X = np.concatenate([features[name] for name in CLASSES])
    y = np.repeat(CLASSES, [len(features[name]) for name in CLASSES])
    masses = ReflectedKDE().fit(X, y).tabulate([edges, edges]).reshape(3, -1)
    rounded = tuple(np.round(edges, 12).tolist())
    return ClassTable(
        minimum_edges=rounded,
        score_edges=rounded,
        right=_normalised(masses[0]),
        derailed=_normalised(masses[1]),
        wrong=_normalised(masses[2]),
    )


def _derailed(features: dict[str, FloatArray], edges: FloatArray) -> tuple[float, ...]:
    """S1 on the fine bins: there is nothing to take a ratio with, so a smoothed histogram whatever the estimator."""
    from observation_models import SmoothedHistogram

    scores = np.concatenate([features["S1"][:, 1], features["S2"][:, 1]])
    labels = np.repeat(["S1", "S2"], [len(features["S1"]), len(features["S2"])])
    model = SmoothedHistogram(bins=edges, smoothing=_FINE_SMOOTHING).fit(scores[:, None], labels)
    return _normalised(model.tabulate_scores(edges)[0])


def _normalised(values: FloatArray) -> tuple[float, ...]:
    return tuple((values / values.sum()).tolist())


def _diagnostics(features: ClassFeatures, comparison: Comparison) -> dict[str, float | int | str | tuple[str, ...]]:
    row = comparison.rows[0]
    out: dict[str, float | int | str | tuple[str, ...]] = {
        f"n_{name}": len(features.features[name]) for name in CLASSES
    }
    out["folds"] = "by solution" if features.groups is not None else "by row (no ids: optimistic)"
    for metric in ("log_loss", "brier", "ece", "auc", "bin_log_likelihood"):
        estimate = getattr(row, metric)
        out[f"held_out_{metric}"] = float(estimate.value)
        out[f"held_out_{metric}_se"] = float(estimate.standard_error)
    out["warnings"] = tuple(comparison.warnings)
    return out
