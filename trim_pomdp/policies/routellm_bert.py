"""RouteLLM's BERT classifier (Ong et al. 2024, arXiv 2406.18665, section 4.2), on a frozen encoder.

The source fine-tunes a BERT whose head tells three labels: strong wins, tie, weak wins; its router takes 1 − P(tie) −
P(weak wins). Here the encoder is frozen, and a hidden layer on its embedding takes the place of the fine-tuning.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.query import PromptRule


class Layer(Record):
    """An affine layer.

    Attributes
    ----------
    weights : PackedArray of shape (inputs, outputs)
    bias : PackedArray of shape (outputs,)
    """

    weights: PackedArray
    bias: PackedArray

    @model_validator(mode="after")
    def _fits(self) -> Layer:
        if len(self.weights.shape) != 2 or self.bias.shape != self.weights.shape[1:]:
            raise ValueError(f"weights are {self.weights.shape}, bias {self.bias.shape}; expected (m, n) and (n,)")
        return self

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """Outputs for inputs, shape (k, inputs) → (k, outputs)."""
        return np.asarray(inputs @ self.weights.values + self.bias.values)


class BertRule(PromptRule):
    """Points are P(strong wins | prompt), of a network with rectified hidden layers and a softmax over the labels.

    Attributes
    ----------
    layers : tuple of Layer
    strong_wins : int
        Which output is the label "strong wins".
    """

    form: Literal["routellm-bert"] = "routellm-bert"
    layers: tuple[Layer, ...]
    strong_wins: NonNegativeInt

    @model_validator(mode="after")
    def _layers_fit(self) -> BertRule:
        width = self.features.dimensions
        for index, layer in enumerate(self.layers):
            if layer.weights.shape[0] != width:
                raise ValueError(f"layer {index} takes {layer.weights.shape[0]} numbers; expected {width}")
            width = layer.weights.shape[1]
        if self.strong_wins >= width:
            raise ValueError(f"strong_wins is {self.strong_wins}; expected one of {width} outputs")
        return self

    def points_of(self, features: FloatArray) -> FloatArray:
        """See `PromptRule`."""
        for layer in self.layers[:-1]:
            features = np.maximum(layer(features), 0.0)
        logits = self.layers[-1](features)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds[:, self.strong_wins] / odds.sum(axis=1))
