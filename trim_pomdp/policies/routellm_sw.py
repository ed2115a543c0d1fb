r"""RouteLLM's similarity-weighted ranking (Ong et al. 2024, arXiv 2406.18665, section 4.2): Bradley-Terry per prompt.

Every fitting problem is a battle of the two models, weighted by ω_i = γ^(1 + S_i), γ = 10, with S_i its cosine
similarity to the prompt, divided by the largest one. The source maximises the weighted likelihood of the
Bradley-Terry model, a tie being half a win of either. Of two models alone that has a closed form: P(strong wins) is
the weighted mean of the outcomes, 1 for a win of the strong model, 1/2 for a tie, 0 for a win of the weak one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.query import PromptRule

_BASE = 10.0
_CHUNK = 512


class SimilarityRule(PromptRule):
    """Points are P(strong wins | prompt), by similarity to fitting problems.

    Attributes
    ----------
    battles : PackedArray of shape (n, dimensions)
        Features of the fitting problems, of unit length.
    outcomes : PackedArray of shape (n,)
        1 where the strong model won, 1/2 for a tie, 0 where the weak one won.
    """

    form: Literal["routellm-sw"] = "routellm-sw"
    battles: PackedArray
    outcomes: PackedArray

    @model_validator(mode="after")
    def _fits_features(self) -> SimilarityRule:
        n = self.outcomes.shape[0] if self.outcomes.shape else 0
        if n == 0 or self.battles.shape != (n, self.features.dimensions):
            raise ValueError(f"battles are {self.battles.shape}; expected ({n or 'n'}, {self.features.dimensions})")
        return self

    def points_of(self, features: FloatArray) -> FloatArray:
        """See `PromptRule`."""
        chunks = [features[begin : begin + _CHUNK] for begin in range(0, len(features), _CHUNK)]
        return np.concatenate([self._weighted(unit_length(chunk)) for chunk in chunks] or [np.zeros(0)])

    def _weighted(self, features: FloatArray) -> FloatArray:
        similarity = features @ self.battles.values.T
        largest = similarity.max(axis=1, keepdims=True)
        # Prompts that are like nothing weigh all battles alike.
        scaled = np.divide(similarity, largest, out=np.zeros_like(similarity), where=largest > 0)
        weights = np.power(_BASE, 1.0 + scaled)
        return np.asarray(weights @ self.outcomes.values / weights.sum(axis=1))


def unit_length(features: FloatArray) -> FloatArray:
    """Rows divided by their lengths; rows of nothing stay."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(np.divide(features, length, out=np.zeros_like(features), where=length > 0))
