"""Evidence that is linear in transformed features: all of a fitted likelihood ratio as a few numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from observation_models._inputs import Features, FloatArray, as_matrix, check_within
from observation_models.errors import ObservationModelError
from observation_models.scores import log_odds


@dataclass(frozen=True)
class FeatureTransform:
    """Log-odds of the features that are probabilities, the others standardised.

    Attributes
    ----------
    feature_names : tuple of str
        The d features, in order.
    log_odds : tuple of str
        Those among them that are probabilities.
    clip : float
        Probabilities are clipped to [clip, 1 - clip] first.
    centre, scale : tuple of float
        Subtracted from, then divided into, each transformed feature (0 and 1 for log-odds).
    """

    feature_names: tuple[str, ...]
    log_odds: tuple[str, ...]
    clip: float
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self, X: Features) -> FloatArray:
        """Transform features (n, d), or a mapping of them, to an (n, d) matrix."""
        matrix, names = as_matrix(X, self.feature_names)
        is_score = np.isin(names, self.log_odds)
        bounds = np.where(is_score[:, None], [0.0, 1.0], [-np.inf, np.inf])
        check_within(matrix, names, bounds)
        matrix = matrix.copy()
        matrix[:, is_score] = log_odds(matrix[:, is_score], self.clip)
        return np.asarray((matrix - np.array(self.centre)) / np.array(self.scale))


@dataclass(frozen=True)
class LinearEvidence:
    """Evidence z = intercept + coefficients · transform(features); plain numbers, evaluated by NumPy alone.

    Attributes
    ----------
    transform : FeatureTransform
        What happens to the features first.
    coefficients : tuple of tuple of float, (k, d)
        One row per log-ratio: a single one for two classes.
    intercept : tuple of float, (k,)
        Log prior odds are already taken off, so z is evidence and not posterior log-odds.

    Examples
    --------
    >>> transform = FeatureTransform(("score",), ("score",), 1e-3, (0.0,), (1.0,))
    >>> evidence = LinearEvidence(transform, ((2.0,),), (-1.0,))
    >>> evidence({"score": [0.5, 1.0]}).round(3).tolist()
    [-1.0, 12.814]
    >>> LinearEvidence.from_dict(evidence.to_dict()) == evidence
    True
    """

    transform: FeatureTransform
    coefficients: tuple[tuple[float, ...], ...]
    intercept: tuple[float, ...]

    def __call__(self, X: Features) -> FloatArray:
        """Evaluate z: (n,) for two classes, else (n, k)."""
        z = self.transform(X) @ np.array(self.coefficients).T + np.array(self.intercept)
        return np.asarray(z[:, 0] if len(self.intercept) == 1 else z)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        transform = {field.name: getattr(self.transform, field.name) for field in fields(self.transform)}
        return {
            **{key: list(value) if isinstance(value, tuple) else value for key, value in transform.items()},
            "coefficients": [list(row) for row in self.coefficients],
            "intercept": list(self.intercept),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; unknown or missing keys are refused."""
        names = [field.name for field in fields(FeatureTransform)]
        expected = {*names, "coefficients", "intercept"}
        if set(data) != expected:
            raise ObservationModelError(f"linear evidence: unexpected or missing keys {sorted(set(data) ^ expected)}")
        transform = FeatureTransform(
            tuple(data["feature_names"]),
            tuple(data["log_odds"]),
            float(data["clip"]),
            tuple(map(float, data["centre"])),
            tuple(map(float, data["scale"])),
        )
        coefficients = tuple(tuple(map(float, row)) for row in data["coefficients"])
        intercept = tuple(map(float, data["intercept"]))
        d = len(transform.feature_names)
        widths = [len(transform.centre), len(transform.scale), *map(len, coefficients)]
        if len(coefficients) != len(intercept) or any(width != d for width in widths):
            raise ObservationModelError(f"linear evidence: lengths do not fit {d} features")
        return cls(transform, coefficients, intercept)
