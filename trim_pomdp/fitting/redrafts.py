r"""How drafts of one step depend on each other, from rollouts in which the weak model drafted steps again.

With belief :math:`\beta` over the class of the discarded draft, given what was seen up to it, the new one is of class

.. math:: \pi = (\beta_0 a_t + \beta_2 b,\; \beta_1,\; \beta_0 (1 - a_t) + \beta_2 (1 - b)),

b being `redraft_repair`, p_w at most. Drafts are drawn independently given the prefix, so they can change places, which
makes :math:`a_t = 1 - (1 - p_w) b / p_w` (`trim_pomdp.model.redrafts`). With r the probability that the weak model ends
right, by the class of the new draft, the answer is right with probability :math:`\pi\cdot r`; everything but b is given
(hazards, emission, success, recovery). What was seen of the new draft has no say: further drafts are often the same
text, and right ones of a hard step look worse than others, so that their evidence is none of the kind that was fitted
on first drafts (docs/results.md). Where classes are known, shares are counted.

How often a new draft is the discarded one word for word, by the class of that, is likewise fitted on whether it was:
P(repeated) is :math:`\beta \cdot s`. Where classes are known, shares are counted. After drafts that look good, a new
one is far more often right, or the same, than after those that a plan has drafted again: so s, and a where it is not to
follow from b, are fitted on *doubted* drafts, which given a right prefix are less likely to be right than a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.fitting.lengths import UNKNOWN, Hazards, OutcomeChain
from trim_pomdp.fitting.likelihood import Parameters, weak_success_curve
from trim_pomdp.fitting.optimise import minimise
from trim_pomdp.fitting.rollout_data import RedraftRows
from trim_pomdp.fitting.rollout_terms import SeenSteps
from trim_pomdp.model.redrafts import redraft_class

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_TINY = 1e-12
_ROUNDS, _SMALL = 10_000, 1e-9  # of expectation and maximisation, and a step after which it ends


@dataclass(frozen=True)
class Redrafts:
    """The likelihood of redrafts, everything but b given.

    Attributes
    ----------
    belief : ndarray of shape (n, 3)
        Over the class of the discarded draft; exact where it is known.
    right : ndarray of shape (n, 3)
        P(the answer is right | class of the new draft); where classes are known, of the new draft itself.
    correct : ndarray of bool, shape (n,)
        Whether it was.
    weak_success : ndarray of shape (n,)
        p_w of the step.
    repeated : ndarray of int, shape (n,)
        1 if the new draft is the discarded one word for word, 0 if not, `UNKNOWN` where nobody knows.
    doubted : ndarray of bool, shape (n,)
        Whether the discarded draft looked worse than a new one would be.
    """

    belief: FloatArray
    right: FloatArray
    correct: NDArray[np.bool_]
    weak_success: FloatArray
    repeated: IntArray
    doubted: NDArray[np.bool_]
    name: str = "redraft rollouts: outcomes given what was seen before"

    @classmethod
    def of(cls, rows: RedraftRows, before: SeenSteps, parameters: Parameters, hazards: Hazards) -> Redrafts:
        """Of redrafts whose steps were seen up to the discarded draft."""
        belief = before.last_beliefs(parameters, hazards)
        step = np.minimum(before.lengths, len(hazards.right)) - 1
        curve = weak_success_curve(parameters, len(hazards.right))
        right = answer_right(curve, hazards, parameters["recovery"])[step]
        doubted = belief[:, 0] < curve[step] * (belief[:, 0] + belief[:, 2])
        known = rows.true_class != UNKNOWN
        belief[known], right[known] = np.eye(3)[rows.true_class[known]], np.eye(3)[0]
        return cls(
            belief,
            right,
            np.where(known, rows.redrafted_right, rows.batch.correct),
            curve[step],
            rows.repeated,
            doubted,
        )

    def fit(self) -> float:
        """The most likely b."""

        def negative(b: FloatArray) -> tuple[float, FloatArray]:
            value, slope = self.slope(float(b[0]))
            return -value, np.array([-slope])

        low, high = np.array([_TINY]), np.array([self.weak_success.max()])
        return float(minimise(negative, 0.5 * (low + high), (low, high), gradient=True).point[0])

    def fit_same(self) -> FloatArray | None:
        """The most likely s by class, shape (3,), by expectation and maximisation; None where nothing is known of it.

        Of a class that no discarded draft is of it is 0.
        """
        told = self.doubted & (self.repeated != UNKNOWN)
        if not told.any():
            return None
        belief, repeated = self.belief[told], self.repeated[told, None] == 1
        same = np.full(3, repeated.mean())
        for _ in range(_ROUNDS):
            weight = belief * np.where(repeated, same, 1.0 - same)
            weight /= np.maximum(weight.sum(axis=1, keepdims=True), _TINY)
            total = weight.sum(axis=0)
            new = np.divide((weight * repeated).sum(axis=0), total, out=np.zeros(3), where=total > _TINY)
            moved, same = np.abs(new - same).max(), new
            if moved < _SMALL:
                break
        return same

    def fit_success(self, repair: float) -> float | None:
        """The most likely a, given b, by expectation and maximisation; None where no right draft was doubted."""
        at = self.doubted & (self.belief[:, 0] > _TINY)
        if not at.any():
            return None
        belief, right, b = self.belief[at], self.right[at], np.minimum(repair, self.weak_success[at])
        seen = np.where(self.correct[at, None], right, 1.0 - right)  # P(the outcome | class of the new draft)
        others = belief[:, 1] * seen[:, 1] + belief[:, 2] * (b * seen[:, 0] + (1.0 - b) * seen[:, 2])
        a = 0.5
        for _ in range(_ROUNDS):
            stays, fails = belief[:, 0] * a * seen[:, 0], belief[:, 0] * (1.0 - a) * seen[:, 2]
            total = np.maximum(stays + fails + others, _TINY)
            new = float((stays / total).sum() / max(((stays + fails) / total).sum(), _TINY))
            moved, a = abs(new - a), new
            if moved < _SMALL:
                break
        return a

    def slope(self, repair: float) -> tuple[float, float]:
        """Log-likelihood, and its slope in b."""
        right, moved = self.probability_right(repair), (self._moved(repair) * self.right).sum(axis=1)
        seen = np.maximum(np.where(self.correct, right, 1.0 - right), _TINY)
        return float(np.log(seen).sum()), float((np.where(self.correct, moved, -moved) / seen).sum())

    def probability_right(self, repair: float) -> FloatArray:
        """P(right | what was seen before), shape (n,)."""
        table = redraft_class(self.weak_success, repair, 2)[:, 0]
        classes = (self.belief[:, :, None] * table).sum(axis=1)
        return np.asarray((classes * self.right).sum(axis=1))

    def _moved(self, repair: float) -> FloatArray:
        """How much P(class of the new draft) changes with b, shape (n, 3)."""
        odds = (1.0 - self.weak_success) / self.weak_success
        right = np.where(repair < self.weak_success, self.belief[:, 2] - odds * self.belief[:, 0], 0.0)
        return np.asarray(right[:, None] * np.array([1.0, 0.0, -1.0]))


def answer_right(success: FloatArray, hazards: Hazards, recovery: float) -> FloatArray:
    """P(the answer is right | step, class of the weak step, which stands), the weak model going on; shape (T, 3)."""
    chain, back = OutcomeChain.of(success, hazards, recovery), hazards.recovery(recovery)
    # From the next step on, after a right prefix and after a derailed one; nothing follows the cap.
    flawless, derailed = (np.append(values[1:], 0.0) for values in (chain.accuracy, chain.recovered.sum(axis=1)))
    over, goes_on = hazards.end, 1.0 - hazards.end
    return np.stack(
        [
            over[:, 0] + goes_on[:, 0] * flawless,
            over[:, 1] * back + goes_on[:, 1] * (back * flawless + (1.0 - back) * derailed),
            goes_on[:, 2] * derailed,
        ],
        axis=1,
    )
