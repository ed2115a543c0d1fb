"""The one place where a likelihood is maximised: L-BFGS-B within bounds, and whether it converged.

Likelihoods of fits are smooth inside their bounds and estimates often lie on them (no misses, no recovery), which is
what L-BFGS-B is for (Byrd, Lu, Nocedal and Zhu 1995, as in SciPy).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]
PRECISION = 1e-11
"""Relative change of the function at which to stop, by default."""
_MAX_ITERATIONS = 500
_MAX_EVALUATIONS = 20_000
_SLOPE = 1e-6
_STEP = 1e-6


@dataclass(frozen=True)
class Optimum:
    """Where a minimisation ended.

    Attributes
    ----------
    point : ndarray of shape (n,)
        The smallest value's place.
    value : float
        The smallest value found.
    converged : bool
        Whether the search ended by itself, not for want of iterations or in a line search that found no way down.
    message : str
        What the optimiser says of it.
    """

    point: FloatArray
    value: float
    converged: bool
    message: str


def one_blas_thread() -> AbstractContextManager[object]:
    """Within it, linear algebra takes one thread: that of fits is so small that further ones only wait for work."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def minimise(
    negative_log_likelihood: Callable[[FloatArray], float] | Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    *,
    gradient: Literal[True] | None = None,
    precision: float = PRECISION,
) -> Optimum:
    """Minimise a function of a few numbers within bounds.

    Parameters
    ----------
    negative_log_likelihood : callable
        From a point of shape (n,) to a value; with `gradient`, to a value and its gradient of shape (n,). The numbers
        should be of about the same size: scale them before.
    start : ndarray of shape (n,)
        Where to begin; clipped to the bounds.
    bounds : tuple of two ndarrays of shape (n,)
        Lower and upper ones.
    gradient : True, optional
        Whether the function gives its gradient. By default differences stand for it.
    precision : float
        Relative change of the value at which to stop.

    Returns
    -------
    Optimum
        With no number to choose, the value at the empty point.
    """
    lower, upper = bounds
    if len(start) == 0:
        found = negative_log_likelihood(start)
        return Optimum(start, float(found[0] if isinstance(found, tuple) else found), True, "nothing to choose")
    found = minimize(
        negative_log_likelihood,
        np.clip(start, lower, upper),
        method="L-BFGS-B",
        jac=gradient,
        bounds=list(zip(lower.tolist(), upper.tolist(), strict=True)),
        options={
            "eps": _STEP,
            "maxiter": _MAX_ITERATIONS,
            "maxfun": _MAX_EVALUATIONS,
            "ftol": precision,
            "gtol": _SLOPE,
        },
    )
    return Optimum(np.asarray(found.x), float(found.fun), bool(found.success), str(found.message))
