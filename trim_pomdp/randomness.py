"""Uniforms that belong to what they are for: they depend on a seed and a key, and on nothing else that happens.

Two runs on one seed meet the same draws, whatever their batches, their order or their interruptions.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
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
    text = "\x1f".join(str(part) for part in (seed, *key))
    state = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    z = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GOLDEN)) + np.uint64(state)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
