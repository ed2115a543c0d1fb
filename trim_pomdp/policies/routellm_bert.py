"""RouteLLM's BERT classifier (Ong et al. 2024, arXiv 2406.18665, section 4.2), on a frozen encoder.

The source fine-tunes a BERT with a linear head for three labels: strong wins, tie, weak wins; its router takes
1 − P(tie) − P(weak wins). Here the encoder stays as it is, and the head alone is fitted.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, model_validator

from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.query import PromptRule


class BertRule(PromptRule):
    """Points are P(strong wins | prompt), of a softmax over the labels.

    Attributes
    ----------
    weights : PackedArray of shape (dimensions, labels)
    bias : PackedArray of shape (labels,)
    strong_wins : int
        Which of the labels is "strong wins".
    """

    form: Literal["routellm-bert"] = "routellm-bert"
    weights: PackedArray
    bias: PackedArray
    strong_wins: NonNegativeInt

    @model_validator(mode="after")
    def _fits_features(self) -> BertRule:
        labels = self.bias.shape[0] if self.bias.shape else 0
        if self.weights.shape != (self.features.dimensions, labels):
            raise ValueError(f"weights are {self.weights.shape}; expected ({self.features.dimensions}, {labels})")
        if self.strong_wins >= labels:
            raise ValueError(f"strong_wins is {self.strong_wins}; expected one of {labels} labels")
        return self

    def points_of(self, features: FloatArray) -> FloatArray:
        """See `PromptRule`."""
        logits = features @ self.weights.values + self.bias.values
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds[:, self.strong_wins] / odds.sum(axis=1))
