"""The process reward model of Qwen2.5-Math-PRM, as a class that loads its published files.

The layout is that of ``Qwen2ForProcessRewardModel``: a Qwen2 body, and a two-layer head ``score`` with two logits,
read at the token ``<extra_0>`` after each step; the second logit stands for "right".
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """A Qwen2 body with a two-layer head that scores steps."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, 2)
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (wrong, right) at every position, shape (B, T, 2)."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        logits: torch.Tensor = self.score(hidden)
        return logits
