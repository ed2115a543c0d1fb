r"""How drafts of one step depend on each other, from rollouts in which the weak model drafted steps again.

With belief :math:`\beta` over the class of the discarded draft, given what was seen up to it, the new one is of class

.. math:: \pi = (\beta_0 a_t + \beta_2 b,\; \beta_1,\; \beta_0 (1 - a_t) + \beta_2 (1 - b)),

b being `redraft_repair`. Drafts are drawn independently given the prefix, so they can change places, which makes
:math:`a_t = 1 - (1 - p_w) b / p_w`. Everything else is given (hazards, emission, success, recovery), and a redraft
tells b by two probabilities that are made of linear functions of it: of the new draft's own evidence, and of the
outcome given all that was seen,

.. math:: \log \pi\cdot e + \log \pi\cdot(e\,h) - \log \pi\cdot(e\,h'),

e being the likelihood of the new draft's evidence by class, h that of what followed it and of the outcome, h' of what
followed alone. Scores of later steps do not count by themselves: they depend on each other as no model of ours has it
(docs/results.md), and the slope of a likelihood without such factors is 0 on average at the truth, too. Where classes
are known, shares are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.fitting.lengths import UNKNOWN, Hazards
from trim_pomdp.fitting.likelihood import Parameters, weak_success_curve
from trim_pomdp.fitting.optimise import minimise
from trim_pomdp.fitting.rollout_data import RedraftRows
from trim_pomdp.fitting.rollout_terms import SeenSteps, emission, end_evidence
from trim_pomdp.model.dynamics import redraft_class

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_TINY = 1e-12
_BOUNDS = (1e-6, 1.0 - 1e-6)


@dataclass(frozen=True)
class Redrafts:
    """The likelihood of redrafts, everything but b given.

    Attributes
    ----------
    belief : ndarray of shape (n, 3)
        Over the class of the discarded draft; exact where it is known.
    evidence, followed, seen : ndarray of shape (n, 3)
        e, e h and e h' by class of the new draft; where that is known, its indicator, and ones.
    weak_success : ndarray of shape (n,)
        p_w of the step.
    """

    belief: FloatArray
    evidence: FloatArray
    followed: FloatArray
    seen: FloatArray
    weak_success: FloatArray
    name: str = "redraft rollouts: new drafts, and outcomes given all scores"

    @classmethod
    def of(
        cls, rows: RedraftRows, before: SeenSteps, then: SeenSteps, parameters: Parameters, hazards: Hazards
    ) -> Redrafts:
        """Of redrafts whose steps were seen, up to the discarded draft (`before`) and from the new one on (`then`)."""
        belief = before.last_beliefs(parameters, hazards)
        step = np.minimum(before.lengths, len(hazards.right)) - 1
        new, after = _followed(then, step, rows.batch.correct, parameters, hazards)
        known = rows.true_class != UNKNOWN
        became = np.where(rows.true_class == 1, 1, np.where(rows.redrafted_right, 0, 2))[known]
        belief[known], new[known], after[known] = np.eye(3)[rows.true_class[known]], np.eye(3)[became], 1.0
        curve = weak_success_curve(parameters, len(hazards.right))
        return cls(belief, new, new * after[..., 0], new * after[..., 1], curve[step])

    def fit(self) -> float:
        """The most likely b."""

        def negative(b: FloatArray) -> tuple[float, FloatArray]:
            value, slope = self.slope(float(b[0]))
            return -value, np.array([-slope])

        low, high = (np.array([bound]) for bound in _BOUNDS)
        return float(minimise(negative, 0.5 * (low + high), (low, high), gradient=True).point[0])

    def probability_right(self, repair: float) -> FloatArray:
        """P(the answer is right | all scores), shape (n,); 1 where classes are known."""
        classes = self._classes(repair)
        seen = np.maximum((classes * self.seen).sum(axis=1), _TINY)
        return np.asarray((classes * self.followed).sum(axis=1) / seen)

    def slope(self, repair: float) -> tuple[float, float]:
        """Log-likelihood, and its slope in b."""
        classes, moved = self._classes(repair), self._moved(repair)
        total = slope = 0.0
        for sign, weights in ((1.0, self.evidence), (1.0, self.followed), (-1.0, self.seen)):
            likelihood = np.maximum((classes * weights).sum(axis=1), _TINY)
            total += sign * float(np.log(likelihood).sum())
            slope += sign * float(((moved * weights).sum(axis=1) / likelihood).sum())
        return total, slope

    def _classes(self, repair: float) -> FloatArray:
        """P(the new draft is of class S0, S1, S2), shape (n, 3)."""
        table = redraft_class(self.weak_success, repair, None)
        return np.asarray((self.belief[:, :, None] * table).sum(axis=1))

    def _moved(self, repair: float) -> FloatArray:
        """How they change with b."""
        odds = (1.0 - self.weak_success) / self.weak_success
        right = self.belief[:, 2] - np.where(odds * repair < 1.0, odds, 0.0) * self.belief[:, 0]
        return np.asarray(right[:, None] * np.array([1.0, 0.0, -1.0]))


def _followed(
    then: SeenSteps, step: IntArray, correct: NDArray[np.bool_], parameters: Parameters, hazards: Hazards
) -> tuple[FloatArray, FloatArray]:
    """What was seen from a new draft on.

    Parameters
    ----------
    then : SeenSteps
        The new draft of each solution and its steps after that.
    step : ndarray of shape (n,)
        Index of the new draft.
    correct : ndarray of bool, shape (n,)

    Returns
    -------
    new : ndarray of shape (n, 3)
        Likelihood of what was seen of the new draft, by its class.
    after : ndarray of shape (n, 3, 2)
        Likelihood of all that followed it by its class, with the outcome and without; up to a factor for each solution.
    """
    T = len(hazards.right)
    success, recovery = weak_success_curve(parameters, T), hazards.recovery(parameters["recovery"])
    table, ends = emission(then.table, parameters), end_evidence(hazards)
    outcome = np.stack([correct, ~correct], axis=1).astype(np.float64)
    # What is still to be seen, by prefix after the step (right, derailed), with the outcome and without.
    prefix: FloatArray = np.stack([outcome, np.ones_like(outcome)], axis=2)
    new, after = np.ones((len(step), 3)), np.ones((len(step), 3, 2))
    for k in reversed(range(then.bins.shape[1])):
        t = np.minimum(step + k, T - 1)
        last = (then.lengths == k + 1)[:, None]
        new = table[:, then.bins[:, k]].T * np.where(last, ends[t], 1.0 - ends[t])
        back = recovery[t][:, None]
        after = np.stack([prefix[:, 0], back * prefix[:, 0] + (1.0 - back) * prefix[:, 1], prefix[:, 1]], axis=1)
        seen, p_w = new[..., None] * after, success[t][:, None]
        before = np.stack([p_w * seen[:, 0] + (1.0 - p_w) * seen[:, 2], seen[:, 1]], axis=1)
        largest = before.max(axis=(1, 2), keepdims=True)  # against underflow; one factor for both columns
        here = (then.lengths > k)[:, None, None] & (largest > 0.0)
        prefix = np.where(here, before / np.where(largest > 0.0, largest, 1.0), prefix)
    return new, after
