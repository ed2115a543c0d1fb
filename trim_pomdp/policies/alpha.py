"""The decision of an alpha-vector rule for many problems at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.policies.records import AlphaVectorRule

FloatArray = NDArray[np.float64]


def decide(
    rule: AlphaVectorRule,
    q: FloatArray,
    bins: NDArray[np.int64],
    ended: NDArray[np.bool_],
    steps: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether to regenerate, for many problems at once.

    Parameters
    ----------
    q : ndarray of shape (n,)
        Probability that the prefix before the current step is right.
    bins : ndarray of shape (n,)
        Observation bin of the current step.
    ended : ndarray of bool, shape (n,)
        Whether the current step ends the solution.
    steps : ndarray of shape (n,)
        Step index from 0; beyond the cap the last step before it stands in.
    """
    from trim_pomdp import _kernels

    out = np.empty(len(q), dtype=np.bool_)
    _kernels.decide(q, bins, ended, steps, rule.tables.arguments, out)
    return out
