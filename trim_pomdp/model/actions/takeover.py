r"""Take over: the strong model writes this step and all that is left of the solution, asked for step after step.

With :math:`V_t(s)` the probability that a solution ends right which the strong model writes from step t on, after a
prefix that is right or derailed (s), and R the table of regenerating,

.. math::
    V_t(s) = \sum_c P(c \mid t, s) \sum_e P(e \mid t, c) \Bigl( R(\text{over, right} \mid t, e, c)
             + \sum_{s'} R(\text{next}, s' \mid t, e, c) V_{t+1}(s') \Bigr),

a step of the strong model being as right as one that stands in a draft's place. What it writes follows likewise.
"""

from __future__ import annotations

import numpy as np

from trim_pomdp.model.actions.base import NEXT, OVER, Action, FloatArray, StepLaw, no_outcomes
from trim_pomdp.model.actions.regenerate import Regenerate


class TakeOver(Action):
    """Have the strong model write the rest: over at once, right if always regenerating from here on would be."""

    name = "takeover"
    code = 3
    verb, does, done = "take over", "takes over", "taken over"
    asks = "strong"
    writes = "rest"

    def outcomes(self, law: StepLaw) -> FloatArray:
        """See `Action`."""
        first = Regenerate().outcomes(law)
        right, _, _ = _rest(law.afterwards)
        out = no_outcomes(law)
        chance = first[..., OVER, 0] + np.einsum("tecs,ts->tec", first[..., NEXT, :2], right[1:])
        out[..., OVER, 0], out[..., OVER, 1] = chance, 1.0 - chance
        return out

    def strong_steps(self, law: StepLaw) -> FloatArray:
        """See `Action`: this one and those that follow it."""
        first = Regenerate().outcomes(law)
        _, steps, _ = _rest(law.afterwards)
        return np.asarray(np.eye(3) + np.einsum("tecs,tsk->teck", first[..., NEXT, :2], steps[1:]))

    def further_requests(self, law: StepLaw) -> FloatArray:
        """See `Action`: one for each step that follows."""
        first = Regenerate().outcomes(law)
        _, steps, after = _rest(law.afterwards)
        number = steps.sum(axis=-1)
        later = np.stack([number, number + after], axis=-1)[1:]  # a step further from the decision
        return np.asarray(np.einsum("tecs,tsk->teck", first[..., NEXT, :2], later))


def _rest(law: StepLaw) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What always regenerating comes to from the opening of step t on, by prefix (right, derailed).

    Returns
    -------
    right : ndarray of shape (T + 1, 2)
        P(the solution ends right); 0 beyond the cap, which no solution gets to.
    steps : ndarray of shape (T + 1, 2, 3)
        Mean number of steps by the class of the weak step in whose place they stand.
    after : ndarray of shape (T + 1, 2)
        Mean sum of how many steps each of them comes after step t.
    """
    T, redone = law.steps, Regenerate().outcomes(law)
    right, steps, far = np.zeros((T + 1, 2)), np.zeros((T + 1, 2, 3)), np.zeros((T + 1, 2))
    ends = np.stack([1.0 - law.end, law.end], axis=1)  # (T, 2, 3)
    for t in reversed(range(T)):
        after = np.einsum("ec,ecxs->cxs", ends[t], redone[t, :, :, :, :2])
        classes = law.class_given_prefix[t]
        right[t] = classes @ (after[:, OVER, 0] + after[:, NEXT] @ right[t + 1])
        steps[t] = classes + np.einsum("hc,cs,sk->hk", classes, after[:, NEXT], steps[t + 1])
        far[t] = classes @ after[:, NEXT] @ (far[t + 1] + steps[t + 1].sum(axis=-1))
    return right, steps, far
