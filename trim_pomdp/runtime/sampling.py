"""Tokens drawn from keyed uniforms (`trim_pomdp.randomness`).

A token is the inverse CDF, in the order of the vocabulary, of a uniform keyed by (seed, problem, step, model, token
index). What a problem draws therefore depends on nothing else that happens in the process: not on the batch, not on
the order, not on an interruption; and two policies on one seed meet the same draws (common random numbers). All is
computed in float32, so a draw can change only where rounding, which does depend on the batch, crosses the uniform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def draw_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor, *, temperature: float, top_p: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token a row by the inverse CDF.

    Parameters
    ----------
    logits : Tensor of shape (B, vocabulary)
    uniforms : Tensor of shape (B,), float32
    temperature : float
        0 takes the likeliest token.
    top_p : float
        Nucleus: the likeliest tokens that together have at least this probability.

    Returns
    -------
    tokens : Tensor of shape (B,), int64
    logprobs : Tensor of shape (B,)
        Log-probability of each token under the model itself (temperature 1, no nucleus), which is the evidence.
    """
    import torch

    logits = logits.float()
    plain = torch.log_softmax(logits, dim=-1)
    greedy = temperature == 0.0
    tokens = logits.argmax(dim=-1) if greedy else inverse_cdf(logits / temperature, uniforms, top_p=top_p)
    return tokens, plain.gather(-1, tokens[:, None])[:, 0]


def inverse_cdf(logits: torch.Tensor, uniforms: torch.Tensor, *, top_p: float = 1.0) -> torch.Tensor:
    """The token of every row, int64, at its uniform in the cumulative distribution; the temperature is in the logits.

    The same function draws in this process and inside servers (`trim_pomdp.servers.keyed`).
    """
    import torch

    probabilities = torch.softmax(logits, dim=-1)
    if top_p < 1.0:
        ranked, order = probabilities.sort(dim=-1, descending=True)
        outside = ranked.cumsum(dim=-1) - ranked >= top_p
        probabilities = probabilities.masked_fill(outside.scatter(-1, order, outside), 0.0)
    cumulative = probabilities.cumsum(dim=-1)
    point = uniforms[:, None] * cumulative[:, -1:]
    # The first token whose cumulative probability exceeds the point; never one of probability 0.
    return (cumulative <= point).sum(dim=-1).clamp(max=logits.shape[-1] - 1)
