"""Keyed draws for the rows of a server's batch: what `trim_pomdp.servers.keyed` does, without vLLM.

A request brings ``trim_key = "<16 hex digits>:<offset>"``: the state that a step's stream of uniforms begins with
(`trim_pomdp.randomness.key_state`), and how many tokens of the step earlier requests have written. Token n of the
request is the inverse CDF (`trim_pomdp.runtime.sampling`) of uniform number offset + n, so the text is that of the
models in this process, whatever else the server does at the time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trim_pomdp.randomness import uniforms_at
from trim_pomdp.runtime.sampling import inverse_cdf

if TYPE_CHECKING:
    import torch

XARG = "trim_key"
_KEY = re.compile(r"([0-9a-f]{16}):([0-9]{1,9})", re.ASCII)
# Below it vLLM takes the likeliest token.
_GREEDY = 1e-5


class Sampling(Protocol):
    """What of vLLM's ``SamplingParams`` decides on a draw."""

    n: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    extra_args: dict[str, Any] | None


class Update(Protocol):
    """vLLM's ``BatchUpdate``: what has become of the rows since the last forward pass."""

    removed: Sequence[int]
    added: Sequence[tuple[int, Any, list[int] | None, list[int]]]
    moved: Sequence[tuple[int, int, Any]]


def key_of(state: int, offset: int = 0) -> str:
    """The ``trim_key`` of a request."""
    return f"{state:016x}:{offset}"


@dataclass(frozen=True)
class Draw:
    """How a request's tokens are drawn.

    Attributes
    ----------
    state : int
        Of the stream of uniforms.
    offset : int
        Index of the uniform of the request's first token.
    temperature, top_p : float
        Of the request.
    """

    state: int
    offset: int
    temperature: float
    top_p: float

    @classmethod
    def of(cls, sampling: Sampling) -> Draw | None:
        """The draw that a request asks for; None without a key, and where the likeliest token is taken.

        Raises
        ------
        ValueError
            If the key is malformed, or the request asks for what keyed draws do not know.
        """
        key = (sampling.extra_args or {}).get(XARG)
        if key is None:
            return None
        found = _KEY.fullmatch(key) if isinstance(key, str) else None
        if found is None:
            raise ValueError(f"{XARG} is {key!r}; expected 16 hexadecimal digits, a colon and an offset")
        for name, asked, off in (("top_k", sampling.top_k > 0, 0), ("min_p", sampling.min_p > 0.0, 0)):
            if asked:
                raise ValueError(f"{XARG} goes with temperature and top_p only; expected {name} = {off}")
        if sampling.n != 1:
            raise ValueError(f"{XARG} makes all {sampling.n} texts the same; expected n = 1")
        if sampling.temperature < _GREEDY:
            return None
        return cls(int(found[1], 16), int(found[2]), sampling.temperature, sampling.top_p)


class Rows:
    """The keyed rows of a batch, kept up to date by vLLM's (V1) batch updates."""

    def __init__(self) -> None:
        # Of a row: its draw, and the tokens that it has so far, a list that vLLM appends to.
        self._rows: dict[int, tuple[Draw, list[int]]] = {}

    def update(self, update: Update | None) -> None:
        """Follow what became of the rows: removed, then added, then moved."""
        if update is None:
            return
        for index in update.removed:
            self._rows.pop(index, None)
        for index, sampling, _, output in update.added:
            draw = Draw.of(sampling)
            if draw is None:
                self._rows.pop(index, None)
            else:
                self._rows[index] = (draw, output)
        for source, target, direction in update.moved:
            moving, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moving is not None:
                self._rows[target] = moving
            if replaced is not None and direction.name == "SWAP":
                self._rows[source] = replaced

    def force(self, logits: torch.Tensor) -> None:
        """Leave one token in every keyed row; the temperature is in the logits already."""
        if not self._rows:
            return
        rows = list(self._rows)
        draws = [draw for draw, _ in self._rows.values()]
        force(logits, rows, draws, [len(output) for _, output in self._rows.values()])


def force(
    logits: torch.Tensor, rows: Sequence[int], draws: Sequence[Draw], written: Sequence[int], *, tempered: bool = True
) -> None:
    """Leave in each of some rows of logits the one token that its draw gives, in place.

    Parameters
    ----------
    logits : Tensor of shape (B, vocabulary), float32
    rows : sequence of int
        Of the batch.
    draws : sequence of Draw
        Of these rows.
    written : sequence of int
        Tokens that each request has so far.
    tempered : bool
        Whether the logits are divided by the temperature already.
    """
    import torch

    states = np.array([draw.state for draw in draws], dtype=np.uint64)
    indices = np.array([draw.offset for draw in draws]) + np.array(written)
    uniforms = torch.from_numpy(uniforms_at(states, indices)).to(logits.device)
    for top_p in sorted({draw.top_p for draw in draws}):
        chosen = [i for i, draw in enumerate(draws) if draw.top_p == top_p]
        index = torch.tensor([rows[i] for i in chosen], device=logits.device)
        part = logits[index]
        if not tempered:
            part = part / torch.tensor([[draws[i].temperature] for i in chosen], device=logits.device)
        tokens = inverse_cdf(part, uniforms[torch.tensor(chosen, device=logits.device)], top_p=top_p)
        logits[index] = float("-inf")
        logits[index, tokens] = 0.0
