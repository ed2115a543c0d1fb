"""Uniforms that belong to what they are for: they depend on a seed and a key, and on nothing else that happens.

Two runs on one seed meet the same draws, whatever their batches, their order or their interruptions.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15


def keyed_uniform(seed: int, *key: str | int) -> float:
    """A uniform in [0, 1) that depends on seed and key alone; a multiple of 2⁻²⁴, exact in float32.

    Examples
    --------
    >>> keyed_uniform(0, "problem-1", 3) == keyed_uniform(0, "problem-1", 3)
    True
    """
    return float(keyed_uniforms(1, seed, *key)[0])


def keyed_uniforms(n: int, seed: int, *key: str | int) -> NDArray[np.float32]:
    """A stream of uniforms, shape (n,); the first ones do not depend on n.

    The key is hashed (BLAKE2b), the stream is SplitMix64 from there.
    """
    return uniforms_at(np.uint64(key_state(seed, *key)), np.arange(n))


def key_state(seed: int, *key: str | int) -> int:
    """The 64 bits that a stream begins with: all that a server needs to know of a key."""
    text = "\x1f".join(str(part) for part in (seed, *key))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def uniforms_at(states: NDArray[np.uint64] | np.uint64, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Uniforms out of the middle of streams: of each state (`key_state`) the one at each index, from 0, broadcast."""
    z = (np.asarray(indices).astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) + states
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
