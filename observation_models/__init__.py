"""Class-conditional densities of step features: fit, tabulate, calibrate, compare. Knows no routing.

Estimators follow scikit-learn. ``import observation_models`` is light: each name loads its module on first
use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from observation_models.errors import ObservationModelError, ObservationModelWarning

if TYPE_CHECKING:
    from observation_models.base import DensityEstimator
    from observation_models.comparison import Comparison, ComparisonRow, Estimate, compare
    from observation_models.histogram import SmoothedHistogram
    from observation_models.kde import ReflectedKDE
    from observation_models.likelihood_ratio import LikelihoodRatio
    from observation_models.linear_evidence import FeatureTransform, LinearEvidence
    from observation_models.metrics import ReliabilityCurve, auc, brier, ece, log_loss, reliability_curve
    from observation_models.scores import log_odds, representative_scores, score_bins

__all__ = [
    "Comparison",
    "ComparisonRow",
    "DensityEstimator",
    "Estimate",
    "FeatureTransform",
    "LikelihoodRatio",
    "LinearEvidence",
    "ObservationModelError",
    "ObservationModelWarning",
    "ReflectedKDE",
    "ReliabilityCurve",
    "SmoothedHistogram",
    "auc",
    "brier",
    "compare",
    "ece",
    "log_loss",
    "log_odds",
    "reliability_curve",
    "representative_scores",
    "score_bins",
]

_MODULES = {
    "base": ("DensityEstimator",),
    "comparison": ("Comparison", "ComparisonRow", "Estimate", "compare"),
    "histogram": ("SmoothedHistogram",),
    "kde": ("ReflectedKDE",),
    "likelihood_ratio": ("LikelihoodRatio",),
    "linear_evidence": ("FeatureTransform", "LinearEvidence"),
    "metrics": ("ReliabilityCurve", "auc", "brier", "ece", "log_loss", "reliability_curve"),
    "scores": ("log_odds", "representative_scores", "score_bins"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
