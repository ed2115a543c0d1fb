"""Intervals of what was measured on a sample of problems, at 95 %."""

from __future__ import annotations

import math
from statistics import NormalDist

LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)

Interval = tuple[float, float]


def mean_interval(mean: float | None, error: float | None) -> Interval | None:
    """Normal interval of a mean with a standard error; None where either is not known."""
    return None if mean is None or error is None else (mean - _Z * error, mean + _Z * error)


def share_interval(successes: int, trials: int) -> Interval | None:
    """Wilson's interval of a share, which stays inside [0, 1] and tells something also of 0 and of 1.

    None where there are no trials.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Examples
    --------
    >>> low, high = share_interval(8, 10)
    >>> f"{low:.3f} {high:.3f}"
    '0.490 0.943'
    """
    if trials == 0:
        return None
    share, z2 = successes / trials, _Z * _Z / trials
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(centre - half, 0.0), min(centre + half, 1.0)
