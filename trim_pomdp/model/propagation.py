r"""Exact moments of routing by a rule that looks only at the current step.

With :math:`u_t` the probability of being at step t with a right prefix, :math:`v_t` with a derailed one, and
:math:`a_t(c)` the probability that the rule regenerates a weak step of class c,

.. math::
    R_t &= u_t p_{w,t} (1 - a_t(S_0) + a_t(S_0) p_s) + u_t (1 - p_{w,t}) a_t(S_2) p_r \\
    u_{t+1} &= (1 - h_t) R_t + (1 - h'_t) \rho_t v_t, \qquad
    v_{t+1} = (1 - h''_t)(u_t - R_t) + (1 - h'_t) (1 - \rho_t) v_t,

and accuracy is :math:`\sum_t (h_t R_t + h'_t \rho_t v_t)`. Threshold rules, constant strategies,
step-random routing and the oracle on the true class are all of this form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.equality import ByContent

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RoutingMoments(ByContent):
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
        return np.asarray(self.regenerated.sum(axis=1))


def routing_moments(
    regenerate: FloatArray,
    weak_success: FloatArray,
    end: FloatArray,
    outcomes: FloatArray,
) -> RoutingMoments:
    """Propagate the routing process under memoryless rules.

    Parameters
    ----------
    regenerate : ndarray of shape (n, 3) or (n, T, 3)
        For each rule (and step) the probability of regenerating a weak step of class S0, S1, S2.
    weak_success : ndarray of shape (T,)
        p_w by step.
    end : ndarray of shape (T, 3)
        Hazards by step and class.
    outcomes : ndarray of shape (T, 2, 2, 3, 2, 2)
        What follows an action: `trim_pomdp.model.belief.outcome_table`.
    """
    from trim_pomdp import _kernels

    by_step = regenerate if regenerate.ndim == 3 else np.repeat(regenerate[:, None, :], len(end), axis=1)
    return RoutingMoments(
        *_kernels.propagate_memoryless(
            np.ascontiguousarray(by_step, dtype=np.float64),
            weak_success,
            np.ascontiguousarray(end),
            outcomes,
        )
    )


def course(
    regenerate: FloatArray, weak_success: FloatArray, end: FloatArray, outcomes: FloatArray, tokens: FloatArray
) -> FloatArray:
    """How solutions go on under one rule, step by step.

    Parameters
    ----------
    regenerate : ndarray of shape (3,)
        Probability of regenerating a weak step of class S0, S1, S2.
    weak_success, end, outcomes
        As in `routing_moments`.
    tokens : ndarray of shape (2, 3)
        Mean tokens that a step adds to the solution, by action (keep, regenerate) and class of the weak step.

    Returns
    -------
    ndarray of shape (T, 9)
        By step: probability of a right answer there; mean number of steps by action and class of the weak step (six
        columns); expected tokens of the solution before kept, and before regenerated steps.
    """
    out = np.zeros((len(end), 9))
    mass, length = np.array([1.0, 0.0]), np.zeros(2)  # by prefix, right or derailed
    acts = np.stack([1.0 - regenerate, regenerate])
    for t, success in enumerate(weak_success.tolist()):
        of_class = np.array([success, 1.0, 1.0 - success])
        counts, before = (acts * of_class * state[[0, 1, 0]] for state in (mass, length))
        after = np.einsum("ec,eacop->acop", np.stack([1.0 - end[t], end[t]]), outcomes[t])
        out[t, 0] = (counts * after[:, :, 1, 0]).sum()
        out[t, 1:7], out[t, 7:] = counts.ravel(), before.sum(axis=1)
        mass = np.einsum("ac,acp->p", counts, after[:, :, 0])
        length = np.einsum("ac,acp->p", before + counts * tokens, after[:, :, 0])
    return out
