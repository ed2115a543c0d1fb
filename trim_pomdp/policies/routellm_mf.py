r"""RouteLLM's matrix factorisation (Ong et al. 2024, arXiv 2406.18665, section 4.2): bilinear scores.

The source scores a model M on a prompt q by δ(M, q) = w₂ᵀ(v_M ⊙ (W₁ᵀ v_q + b)), with v_q an embedding of the prompt,
and P(strong wins) = σ(δ(strong, q) − δ(weak, q)). Of two models alone, only
W₁((v_strong − v_weak) ⊙ w₂) and its product with b count, a vector and a number: that is what the rule holds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.query import PromptRule


class MatrixFactorisationRule(PromptRule):
    """Points are P(strong wins | prompt) = σ(weights · features + intercept).

    Attributes
    ----------
    weights : PackedArray of shape (dimensions,)
    intercept : float
    """

    form: Literal["routellm-mf"] = "routellm-mf"
    weights: PackedArray
    intercept: float

    @model_validator(mode="after")
    def _fits_features(self) -> MatrixFactorisationRule:
        if self.weights.shape != (self.features.dimensions,):
            raise ValueError(f"weights are {self.weights.shape}; expected ({self.features.dimensions},)")
        return self

    def points_of(self, features: FloatArray) -> FloatArray:
        """See `PromptRule`."""
        return np.asarray(1.0 / (1.0 + np.exp(-(features @ self.weights.values + self.intercept))))
