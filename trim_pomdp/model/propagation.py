r"""What policies do in the routing process, step by step; exact moments of rules that look at the current step only.

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

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.model.actions.base import StepLaw
from trim_pomdp.model.actions.tables import ActionTables

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
    outcomes : ndarray of shape (T, 2, 2, 3, 2, 2), or larger in actions, exits and hidden states
        What follows keeping and regenerating: `trim_pomdp.model.belief.outcome_table`, or
        `trim_pomdp.model.actions.tables.ActionTables.outcomes`.
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


@dataclass(frozen=True, eq=False)
class Course(ByContent):
    """What a policy is expected to do, step by step, per problem; actions by code (A of them).

    Attributes
    ----------
    accuracy : ndarray of shape (T,)
        P(the solution ends there and is right).
    counts : ndarray of shape (T, A, 3)
        Mean number of decisions by action and class of the draft.
    strong_steps : ndarray of shape (T, 3)
        Mean number of steps that the strong model writes for these decisions, by the class of the weak step in whose
        place they stand; those that follow a takeover among them.
    before : ndarray of shape (T, A)
        Expected tokens of the solution so far, summed over decisions.
    further_requests : ndarray of shape (T, A, 2)
        Of the strong model's requests after the first of these decisions, their mean number, and the mean sum of how
        many steps each comes after the decision.
    """

    accuracy: FloatArray
    counts: FloatArray
    strong_steps: FloatArray
    before: FloatArray
    further_requests: FloatArray

    @classmethod
    def of(cls, accuracy: FloatArray, by_end: FloatArray, before: FloatArray, tables: ActionTables) -> Course:
        """From counts that tell drafts that end the solution from others, shape (T, 2, A, 3)."""
        strong_steps = np.einsum("teac,ateck->tk", by_end, tables.strong_steps)
        further = np.einsum("teac,ateck->tak", by_end, tables.further_requests)
        return cls(accuracy, by_end.sum(axis=1), strong_steps, before, further)

    @property
    def decisions(self) -> FloatArray:
        """Mean number of decisions by action and class, shape (A, 3)."""
        return np.asarray(self.counts.sum(axis=0))

    def scaled(self, factor: float) -> Course:
        """So many times of it, for mixtures."""
        return Course(*(factor * getattr(self, name.name) for name in fields(self)))

    def __add__(self, other: Course) -> Course:
        return Course(*(getattr(self, name.name) + getattr(other, name.name) for name in fields(self)))


@dataclass(frozen=True, eq=False)
class Drawn(ByContent):
    """What a policy did on n problems that were drawn from a model.

    Attributes
    ----------
    right : ndarray of shape (n,)
        1 where the solution is right, else 0.
    counts : ndarray of shape (n, A, 3)
        Decisions by action and class of the draft.
    strong_steps : ndarray of shape (n, 3)
        As in `Course`; of a takeover the expected ones.
    before, steps_before : ndarray of shape (n, A)
        Tokens of the solution so far, and steps of it, summed over decisions by action.
    further_requests : ndarray of shape (n, 4)
        Of the strong model's requests after the first of a decision, the expected ones: their number, the sums of
        tokens and of steps before the decision, and of how many steps each comes after it.
    """

    right: FloatArray
    counts: FloatArray
    strong_steps: FloatArray
    before: FloatArray
    steps_before: FloatArray
    further_requests: FloatArray

    @classmethod
    def empty(cls, n: int, n_actions: int) -> Drawn:
        """Room for n problems."""
        return cls(
            np.zeros(n), np.zeros((n, n_actions, 3)), np.zeros((n, 3)), np.zeros((n, n_actions)),
            np.zeros((n, n_actions)), np.zeros((n, 4)),
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Drawn]) -> Drawn:
        """All of them."""
        return cls(*(np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(cls)))


def memoryless_course(acts: FloatArray, law: StepLaw, tables: ActionTables, tokens: FloatArray) -> Course:
    """How solutions go on under a rule that looks only at the current step, and never asks for another draft.

    Parameters
    ----------
    acts : ndarray of shape (A, 3)
        P(action | class of the weak step).
    law, tables
        Of the model.
    tokens : ndarray of shape (A, 3)
        Mean tokens that a step adds to the solution: `ActionTables.added`.
    """
    T, A = law.steps, len(acts)
    accuracy, by_end, before = np.zeros(T), np.zeros((T, 2, A, 3)), np.zeros((T, A))
    mass, length = np.array([1.0, 0.0]), np.zeros(2)  # by prefix, right or derailed
    for t, success in enumerate(law.weak_success.tolist()):
        of_class = np.array([success, 1.0, 1.0 - success])
        ends = np.stack([1.0 - law.end[t], law.end[t]])
        counts, so_far = (acts * of_class * state[[0, 1, 0]] for state in (mass, length))
        after = np.einsum("ec,eacop->acop", ends, tables.outcomes[t, :, :, :, :2, :2])
        accuracy[t] = (counts * after[:, :, 1, 0]).sum()
        by_end[t], before[t] = ends[:, None] * counts, so_far.sum(axis=1)
        mass = np.einsum("ac,acp->p", counts, after[:, :, 0])
        length = np.einsum("ac,acp->p", so_far + counts * tokens, after[:, :, 0])
    return Course.of(accuracy, by_end, before, tables)
