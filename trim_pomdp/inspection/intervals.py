"""Intervals of what was measured on a sample of problems, at 95 %."""

from __future__ import annotations

import math
from statistics import NormalDist

LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)

Interval = tuple[float, float]


def mean_interval(
    mean: float | None, error: float | None, count: int | None = None, *, least: float = -math.inf
) -> Interval | None:
    """Student's interval of a mean with a standard error, of so many values.

    Parameters
    ----------
    mean, error : float or None
    count : int or None
        Values that the mean is of; None: so many that the interval is the normal one.
    least : float
        What the mean cannot fall below, such as 0 for counts.

    Returns
    -------
    (float, float) or None
        None where mean or error is not known, or the values are all the same: their spread is not known then.

    Examples
    --------
    >>> low, high = mean_interval(10.0, 1.0, 4)
    >>> f"{low:.2f} {high:.2f}"
    '6.82 13.18'
    """
    if mean is None or not error:
        return None
    half = _quantile(count) * error
    return max(mean - half, least), mean + half


def _quantile(count: int | None) -> float:
    if count is None:
        return _Z
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.5 + LEVEL / 2))


def paired_share_interval(first_alone: int, second_alone: int, trials: int) -> Interval | None:
    """Interval of the second share less the first one, of the same trials: Wald's, adjusted by Bonett and Price.

    One trial is added to each of those in which the two differ. Unlike Wald's it keeps its level with few trials, and
    tells something also where all of them agree, or none does.

    Parameters
    ----------
    first_alone, second_alone : int
        Trials in which only the first, or only the second, succeeded.
    trials : int
        All of them.

    Returns
    -------
    (float, float) or None
        None where there are no trials.

    References
    ----------
    D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", Journal of Educational and Behavioral Statistics 37, 2012.

    Examples
    --------
    >>> low, high = paired_share_interval(4, 0, 40)
    >>> f"{low:.3f} {high:.3f}"
    '-0.206 0.015'
    """
    if trials == 0:
        return None
    first, second = (first_alone + 1) / (trials + 2), (second_alone + 1) / (trials + 2)
    centre = second - first
    half = _Z * math.sqrt((first + second - centre * centre) / (trials + 2))
    return max(centre - half, -1.0), min(centre + half, 1.0)


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
