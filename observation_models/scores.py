"""Scores in [0, 1]: their log-odds, and bins that are fine where scores tell right from wrong.

Process reward models answer in bfloat16 or half precision: coarse near one, and often exactly one.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from observation_models._inputs import FloatArray, check_edges
from observation_models.errors import ObservationModelError

HALF_PRECISION = 2.0**-11
"""Distance from 1 to the next smaller half-precision number."""


def log_odds(p: ArrayLike, clip: float = 0.0) -> FloatArray:
    """Take log p / (1 - p) after clipping ``p`` to [clip, 1 - clip].

    >>> log_odds([0.5, 1.0], clip=0.25).round(3).tolist()
    [0.0, 1.099]
    """
    clipped = np.clip(np.asarray(p, dtype=float), clip, 1 - clip)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def score_bins(step: float = 0.12, resolution: float = HALF_PRECISION) -> FloatArray:
    """Edges of score bins, about ``step`` wide in log-odds.

    Every multiple of .05 is an edge, so thresholds on the score fall between bins. Bins get finer towards
    0 and 1 down to ``resolution``, and the last one holds nothing but the atom at exactly 1.0.

    Parameters
    ----------
    step : float
        Width in log-odds.
    resolution : float
        Width of the first bin; the last but one begins at ``1 - resolution``.

    Returns
    -------
    ndarray (B + 1,)
        Increasing edges from 0 to 1; bins are [e_j, e_j+1), the last one closed.

    Examples
    --------
    >>> edges = score_bins()
    >>> len(edges) - 1
    131
    >>> bool(edges[-2] < 1.0 == edges[-1] and 1 - edges[-2] < 1e-15)
    True
    """
    if not step > 0 or not 0 < resolution < 0.05:
        raise ObservationModelError(f"step {step} must be > 0 and resolution {resolution} in (0, .05)")
    anchors = np.concatenate([[resolution], np.arange(1, 20) / 20, [1 - resolution]])
    pieces = [np.zeros(1)]
    for low, high in pairwise(anchors.tolist()):
        n = max(1, round(float(log_odds(high) - log_odds(low)) / step))
        inner = np.linspace(log_odds(low), log_odds(high), n + 1)[1:-1]
        pieces += [np.array([low]), 1 / (1 + np.exp(-inner))]
    return np.concatenate([*pieces, [1 - resolution, np.nextafter(1.0, 0.0), 1.0]])


def representative_scores(edges: ArrayLike) -> FloatArray:
    """One score per bin: its middle in log-odds, 1.0 for an atom at 1.

    Bins that touch 0 or 1 count as ending at a quarter of their width from there.

    Parameters
    ----------
    edges : array-like (B + 1,)
        Increasing edges on [0, 1].

    Returns
    -------
    ndarray (B,)
        Increasing scores.
    """
    checked = check_edges([edges], 1)[0]
    if checked[0] < 0 or checked[-1] > 1:
        raise ObservationModelError(f"score edges run from {checked[0]} to {checked[-1]}, outside [0, 1]")
    low, high = checked[:-1].copy(), checked[1:].copy()
    low[0] = max(low[0], high[0] / 4)
    has_atom = low[-1] >= np.nextafter(1.0, 0.0)
    tops = slice(-2, None) if has_atom else slice(-1, None)
    high[tops] = np.minimum(high[tops], 1 - (1 - low[tops]) / 4)
    if has_atom:
        low[-1] = high[-1] = 0.5
    middle = 1 / (1 + np.exp(-(log_odds(low) + log_odds(high)) / 2))
    if has_atom:
        middle[-1] = 1.0
    return np.asarray(middle)
