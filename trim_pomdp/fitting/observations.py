"""From labelled scored steps to the observation model of the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.artifacts import Provenance
from trim_pomdp.data.features import CLASSES, ClassFeatures
from trim_pomdp.errors import InputError
from trim_pomdp.model.evidence import (
    EVIDENCE_KINDS,
    LOGPROB_CLIP,
    SCORE_CLIP,
    EvidenceKind,
    EvidenceMap,
    FeatureName,
    evidence_scores,
    feature_names,
    probability,
)
from trim_pomdp.model.observations import ClassTable, ObservationModel, StepEmission

if TYPE_CHECKING:
    from observation_models import Comparison, DensityEstimator, LikelihoodRatio

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
    evidence: EvidenceKind = "prm",
    provenance: tuple[Provenance, ...] = (),
    seed: int = 0,
) -> ObservationModel:
    """Fit f_right (from S0) and f_wrong (from S2), and, where S1 is there, its density and the class table.

    Parameters
    ----------
    name : str
        Name of the artifact.
    features : ClassFeatures
        Features by class; S1 may be empty.
    estimator : {"likelihood-ratio", "histogram", "reflected-kde"}
        Of the step emission; the first has the best held-out log loss on most PRMs (docs/results.md).
    evidence : {"prm", "logprob", "prm+logprob"}
        What a step is judged by: the PRM score as it is, or an evidence map fitted first (`fit_evidence`). The
        held-out diagnostics are then those of the map.
    provenance : tuple of Provenance
        Files that the features came from.
    seed : int
        Of the held-out folds.

    Raises
    ------
    InputError
        If S0 or S2 is empty, the estimator is unknown, or the features that the evidence takes are not there.
    """
    from observation_models import score_bins

    for label in ("S0", "S2"):
        if len(features.features[label]) == 0:
            raise InputError(f"class {label} is empty; right steps and first errors are both needed")
    mapping = fit_evidence(features, evidence)
    scores = {label: evidence_scores(mapping, features.of_steps(label)) for label in CLASSES}
    _, labels, groups = step_data(features)
    seen = {"score": np.concatenate([scores["S0"], scores["S2"]])}
    fitted = make_estimator(estimator).fit(seen, labels, groups=groups)
    edges = score_bins()
    masses = fitted.tabulate_scores(edges)
    by_class = dict(zip(fitted.classes_.tolist(), masses, strict=True))
    has_derailed = len(scores["S1"]) > 0
    held_out = (
        compare_estimators(features, (estimator,), seed=seed)
        if mapping is None
        else compare_evidence(features, (evidence,), seed=seed)
    )
    return ObservationModel(
        name=name,
        estimator=estimator if estimator != "likelihood-ratio" else f"{estimator} (logistic, clip {CLIP:g})",
        provenance=provenance,
        evidence=mapping,
        step_emission=StepEmission(
            score_edges=(*edges[:-2].tolist(), 1.0),
            right=_normalised(by_class["right"]),
            wrong=_normalised(by_class["wrong"]),
            derailed=_derailed(scores, edges) if has_derailed else None,
        ),
        class_table=class_table(features.features) if has_derailed and features.has_scores else None,
        diagnostics=_diagnostics(features, held_out),
    )


def fit_evidence(features: ClassFeatures, kind: EvidenceKind) -> EvidenceMap | None:
    """Fit an evidence map on right steps against first errors, prior odds taken off; None for the PRM score as it is.

    Raises
    ------
    InputError
        If the features that the kind takes are not there.
    """
    seen, labels, _ = step_data(features)
    names = feature_names(kind, seen)
    if kind == "prm":
        return None
    linear = _evidence_ratio(names).fit(_clipped(seen, names), labels).linear_parameters()
    return EvidenceMap(features=names, coefficients=linear.coefficients[0], intercept=linear.intercept[0])


def compare_evidence(
    features: ClassFeatures, kinds: tuple[EvidenceKind, ...] = EVIDENCE_KINDS, *, seed: int = 0
) -> Comparison:
    """Held-out comparison of what a step can be judged by, folds by solution where ids are known.

    Raises
    ------
    InputError
        If the features that a kind takes are not there.
    """
    from observation_models import compare

    seen, labels, groups = step_data(features)
    names = {kind: feature_names(kind, seen) for kind in kinds}
    needed = tuple(dict.fromkeys(name for taken in names.values() for name in taken))
    ratios: dict[str, DensityEstimator] = {kind: _evidence_ratio(taken) for kind, taken in names.items()}
    return compare(ratios, _clipped(seen, needed), labels, groups=groups, seed=seed)


def compare_all(features: ClassFeatures, *, seed: int = 0) -> dict[str, Comparison]:
    """All held-out comparisons that the features allow: ``comparison`` of estimators on the score, ``evidence``."""
    out = {}
    if features.has_scores:
        out["comparison"] = compare_estimators(features, seed=seed)
    if any(features.logprobs.values()):
        out["evidence"] = compare_evidence(features, EVIDENCE_KINDS if features.has_scores else ("logprob",), seed=seed)
    return out


def _evidence_ratio(names: tuple[FeatureName, ...]) -> LikelihoodRatio:
    """Logistic regression in the log-odds of features that are clipped probabilities."""
    from observation_models import LikelihoodRatio

    return LikelihoodRatio(positive="right", log_odds=names, clip=LOGPROB_CLIP, feature_names=names)


def _clipped(seen: Mapping[str, FloatArray], names: tuple[FeatureName, ...]) -> dict[str, ArrayLike]:
    """Features as probabilities, clipped as an evidence map clips them."""
    clips = {name: SCORE_CLIP if name == "score" else LOGPROB_CLIP for name in names}
    return {name: np.clip(probability(name, seen[name]), clip, 1.0 - clip) for name, clip in clips.items()}


def step_data(
    features: ClassFeatures,
) -> tuple[dict[str, FloatArray], NDArray[np.str_], NDArray[np.str_] | None]:
    """Features of the steps of S0 ("right") and S2 ("wrong") by name, with labels and, where known, groups."""
    right, wrong = features.of_steps("S0"), features.of_steps("S2")
    labels = np.repeat(["right", "wrong"], [len(features.features["S0"]), len(features.features["S2"])])
    groups = None
    if features.groups is not None:
        groups = np.concatenate([features.groups["S0"], features.groups["S2"]])
    return {name: np.concatenate([right[name], wrong[name]]) for name in right}, labels, groups


def compare_estimators(
    features: ClassFeatures, names: tuple[EstimatorName, ...] = ESTIMATORS, *, seed: int = 0
) -> Comparison:
    """Held-out comparison of estimators on right steps against first errors, folds by solution where ids are known.

    Raises
    ------
    InputError
        If there are no PRM scores.
    """
    from observation_models import compare

    seen, labels, groups = step_data(features)
    score: dict[str, ArrayLike] = {name: seen[name] for name in feature_names("prm", seen)}
    return compare({name: make_estimator(name) for name in names}, score, labels, groups=groups, seed=seed)


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


def _derailed(scores: dict[str, FloatArray], edges: FloatArray) -> tuple[float, ...]:
    """S1 on the fine bins: there is nothing to take a ratio with, so a smoothed histogram whatever the estimator."""
    from observation_models import SmoothedHistogram

    both = np.concatenate([scores["S1"], scores["S2"]])
    labels = np.repeat(["S1", "S2"], [len(scores["S1"]), len(scores["S2"])])
    model = SmoothedHistogram(bins=edges, smoothing=_FINE_SMOOTHING).fit(both[:, None], labels)
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
        if np.isnan(estimate.value):  # bins are for a single score
            continue
        out[f"held_out_{metric}"] = float(estimate.value)
        out[f"held_out_{metric}_se"] = float(estimate.standard_error)
    out["warnings"] = tuple(comparison.warnings)
    return out
