"""The networks of `trim_pomdp.policies.networks` in torch, to train them; parameters have the same names there.

n problems, T steps, F numbers a row, d the width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from trim_pomdp.policies.networks import Architecture, Row


class Mlp(nn.Module):
    """Layers of ReLU on each row alone: (…, F) → (…, outputs)."""

    def __init__(self, inputs: int, outputs: int = 1, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        _initialise(layers[:-1], layers[-1])
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """See class."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and a layer of ReLU, each added to what comes in: (n, T, d) → (n, T, d)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """See class."""
        n, T, d = x.shape
        q, k, v = (
            item.view(n, T, self.heads, -1).transpose(1, 2)  # (n, heads, T, d / heads)
            for item in self.qkv(self.norm1(x)).split(d, dim=2)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(n, T, d))
        return x + self.down(torch.relu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A causal transformer over the rows of a problem: (n, T, F) → (n, T, outputs)."""

    def __init__(
        self, inputs: int, outputs: int = 1, width: int = 32, depth: int = 2, heads: int = 2, steps: int = 64
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        self.position = nn.Parameter(torch.randn(steps, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        _initialise([], self.head)

    def forward(self, x: Tensor) -> Tensor:
        """See class."""
        x = self.embed(x) + self.position[: x.shape[1]]  # (n, T, d)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def build(architecture: Architecture, inputs: int, outputs: int, *, width: int, heads: int, steps: int) -> nn.Module:
    """A network of an architecture."""
    if architecture == "mlp":
        return Mlp(inputs, outputs, width)
    return Transformer(inputs, outputs, width, heads=heads, steps=steps)


def arrays_of(module: nn.Module) -> dict[str, Row]:
    """Its parameters by name, copied; of the last layer the first output alone, which is the logit."""
    out = {name: p.detach().numpy().astype(np.float32) for name, p in module.named_parameters()}
    last = "head" if isinstance(module, Transformer) else f"layers.{len(module.layers) - 1}"  # type: ignore[arg-type]
    for part in ("weight", "bias"):
        out[f"{last}.{part}"] = out[f"{last}.{part}"][:1]
    return {name: np.array(item) for name, item in out.items()}


def _initialise(hidden: list[nn.Linear], last: nn.Linear) -> None:
    for layer in hidden:
        nn.init.orthogonal_(layer.weight, math.sqrt(2.0))
        nn.init.zeros_(layer.bias)
    nn.init.orthogonal_(last.weight, 0.01)  # begins undecided: logits near 0
    nn.init.zeros_(last.bias)
