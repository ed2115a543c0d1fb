r"""Exact moments of routing by a rule that looks only at the current step.

With :math:`u_t` the probability of being at step t with a right prefix, :math:`v_t` with a derailed one, and
:math:`a_t(c)` the probability that the rule regenerates a weak step of class c,

.. math::
    R_t &= u_t p_{w,t} (1 - a_t(S_0) + a_t(S_0) p_s) + u_t (1 - p_{w,t}) a_t(S_2) p_r \\
    u_{t+1} &= (1 - h_t) R_t, \qquad
    v_{t+1} = (1 - h_t)(u_t - R_t) + (1 - h'_t) v_t,

and accuracy is :math:`\sum_t h_t R_t`. Threshold rules, constant strategies, step-random routing and the oracle
on the true class are all of this form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RoutingMoments:
    """Expected values per problem under several rules.

    Attributes
    ----------
    accuracy, steps : ndarray of shape (n,)
        Probability of a right answer; mean number of steps.
    kept, regenerated : ndarray of shape (n, 3)
        Mean number of kept and regenerated weak steps by class S0, S1, S2.
    kept_variance, regenerated_variance : ndarray of shape (n,)
        Variance over problems of the two totals.
    """

    accuracy: FloatArray
    steps: FloatArray
    kept: FloatArray
    regenerated: FloatArray
    kept_variance: FloatArray
    regenerated_variance: FloatArray

    @property
    def regenerations(self) -> FloatArray:
        """Mean regenerated steps per problem, shape (n,)."""
        return self.regenerated.sum(axis=1)


def routing_moments(
    regenerate: FloatArray,
    weak_success: FloatArray,
    strong_success: float,
    repair: float,
    hazard: FloatArray,
    hazard_derailed: FloatArray,
) -> RoutingMoments:
    """Propagate the routing process under memoryless rules.

    Parameters
    ----------
    regenerate : ndarray of shape (n, 3) or (n, T, 3)
        For each rule (and step) the probability of regenerating a weak step of class S0, S1, S2.
    weak_success, hazard, hazard_derailed : ndarray of shape (T,)
        p_w, h and h' by step.
    strong_success, repair : float
        p_s and p_r.
    """
    by_step = regenerate if regenerate.ndim == 3 else np.repeat(regenerate[:, None, :], len(hazard), axis=1)
    return RoutingMoments(
        *_propagate(
            np.ascontiguousarray(by_step, dtype=np.float64),
            weak_success,
            float(strong_success),
            float(repair),
            hazard,
            hazard_derailed,
        )
    )


@njit(cache=True, nogil=True)
def _propagate(regenerate, p_w, p_s, p_r, h, h_derailed):  # type: ignore[no-untyped-def]
    n, T, _ = regenerate.shape
    accuracy = np.zeros(n)
    steps = np.zeros(n)
    kept = np.zeros((n, 3))
    regenerated = np.zeros((n, 3))
    # Sums over finished problems of (kept steps)^2 and (regenerated steps)^2.
    square = np.zeros((n, 2))
    end = np.empty(2)
    for i in range(n):
        # mass[s], first[s, m] = E[count m; s], second[s, m] = E[count m ^ 2; s]; s: prefix right, derailed
        mass = np.array([1.0, 0.0])
        first = np.zeros((2, 2))
        second = np.zeros((2, 2))
        for t in range(T):
            end[0] = h[t]
            end[1] = h_derailed[t]
            new_mass = np.zeros(2)
            new_first = np.zeros((2, 2))
            new_second = np.zeros((2, 2))
            steps[i] += mass[0] + mass[1]
            for c in range(3):
                s = 1 if c == 1 else 0
                share = p_w[t] if c == 0 else (1.0 - p_w[t] if c == 2 else 1.0)
                for a in range(2):
                    act = regenerate[i, t, c] if a == 1 else 1.0 - regenerate[i, t, c]
                    weight = share * act
                    if weight == 0.0:
                        continue
                    if c == 0:
                        right = p_s if a == 1 else 1.0
                    elif c == 2:
                        right = p_r if a == 1 else 0.0
                    else:
                        right = 0.0
                    flow = mass[s] * weight
                    if a == 1:
                        regenerated[i, c] += flow
                    else:
                        kept[i, c] += flow
                    accuracy[i] += flow * right * end[s]
                    for m in range(2):
                        # Action a adds one to the counter m == a: kept steps first, regenerated second.
                        one = 1.0 if m == a else 0.0
                        f = weight * (first[s, m] + one * mass[s])
                        g = weight * (second[s, m] + 2.0 * one * first[s, m] + one * mass[s])
                        square[i, m] += g * end[s]
                        new_first[0, m] += f * right * (1.0 - end[s])
                        new_first[1, m] += f * (1.0 - right) * (1.0 - end[s])
                        new_second[0, m] += g * right * (1.0 - end[s])
                        new_second[1, m] += g * (1.0 - right) * (1.0 - end[s])
                    new_mass[0] += flow * right * (1.0 - end[s])
                    new_mass[1] += flow * (1.0 - right) * (1.0 - end[s])
            mass, first, second = new_mass, new_first, new_second
    kept_variance = square[:, 0] - kept.sum(axis=1) ** 2
    regenerated_variance = square[:, 1] - regenerated.sum(axis=1) ** 2
    return accuracy, steps, kept, regenerated, kept_variance, regenerated_variance
