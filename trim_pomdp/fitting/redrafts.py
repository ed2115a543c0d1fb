r"""How drafts of one step depend on each other, from rollouts in which the weak model drafted steps again.

Of a discarded draft of class c (0: right, 1: of a derailed solution, 2: a first error) that looked like bin j, the new
one is

* the same text with probability :math:`s_c(j) = \sigma(a_c + \beta x_j)`, where :math:`x_j = \log E_2(j) / E_0(j)`, and
  then of the same class;
* else another text, right with probability u after a right draft and v after a first error; after a derailed prefix
  nothing is right.

What is known of c is the belief p of the filter, given all that was seen up to the discarded draft. With r
the probability that the weak model ends right, by the class of the new draft, a right answer after another text is seen
with probability :math:`\sum_c p_c (1 - s_c) \sum_k T_{ck}(u, v)\, r_k`, and after the same text with
:math:`\sum_c p_c s_c r_c`. Everything but a, β, u and v is given; they are fitted together by expectation and
maximisation, so that they cannot contradict each other. Where classes are known, those are counted. What a class has
of its own in s is taken to be small, :math:`a_c` to be within about 1 of a common one: where the evidence holds the
weak model's own probabilities, a repeat tells next to nothing of the class beside it.

How new texts look tells γ and δ by class (`trim_pomdp.model.redrafts.Tilts`), given how likely each is of each class
by all of that; a prior keeps γ near 0 by about 1 and δ by about .1, for classes that hardly any draft is of. Looks
have no say in s, u and v: a step that is hard to judge is so in ways that no tilt tells in full, and b then comes out
far too high (docs/results.md).

Steps that are hard for the weak model are hard for the strong one. Where it is known whether the strong model's step
was right in place of the same draft, its shares after another text (p_s and p_r of `StepDynamics.strong_success_again`
and `repair_again`) are counted by the class of that text.

After drafts that look good a new one is far more often right, or the same, than after those that a plan drafts again:
so only *doubted* drafts count, which given a right prefix are less likely to be right than a new one. Plans read
averages over doubted first drafts: s̄, b = (1 − s̄_2) v, and P(next right | this one right) = s̄_0 + (1 − s̄_0) u.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from trim_pomdp.fitting.lengths import UNKNOWN, Hazards, OutcomeChain
from trim_pomdp.fitting.likelihood import Parameters, weak_success_curve
from trim_pomdp.fitting.rollout_data import RedraftRows
from trim_pomdp.fitting.rollout_terms import SeenSteps, emission
from trim_pomdp.model.redrafts import (
    MOST_BEND,
    MOST_SLOPE,
    Tilts,
    doubted_shares,
    looks_wrong,
    repeat_shares,
    tilt_powers,
    tilted_by,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_TINY = 1e-12
_MOST_STEP = 1.0  # of Newton's, in log-odds
_ROUNDS, _SMALL = 5_000, 1e-5  # of expectation and maximisation, and a step after which it ends; far below any spread
_REPEATS_SPREAD = np.array([3.0, 3.0, 3.0, 1.0])  # prior standard deviation of a, and of β
_TILT_SPREAD = np.array([1.0, 0.1])  # prior standard deviation of γ, and of δ


@dataclass(frozen=True)
class DraftFit:
    """What was fitted; see the module.

    Attributes
    ----------
    repair : float
        b: P(next draft right | this one wrong).
    success : float or None
        P(next draft right | this one right); None where none was.
    same : ndarray of shape (3,) or None
        s̄: P(next draft is this one word for word | class of this one, doubted); of a class that none is of, what
        those of the others imply; None where nothing is known of it.
    slope : float or None
        β; None where nothing is known of it.
    tilt : Tilts or None
        γ and δ; None where nobody saw how new drafts look.
    strong_success, strong_repair : float or None
        P(the strong model's step is right | the new draft is another text than the first, and right; or wrong); None
        where nobody knows.
    """

    repair: float
    success: float | None
    same: FloatArray | None
    slope: float | None
    tilt: Tilts | None
    strong_success: float | None = None
    strong_repair: float | None = None

    @property
    def numbers(self) -> dict[str, float | None]:
        """All but `same` and `tilt`, by the names of `trim_pomdp.model.dynamics.StepDynamics`."""
        return {
            "redraft_repair": self.repair,
            "redraft_success": self.success,
            "redraft_same_slope": self.slope,
            "strong_success_again": self.strong_success,
            "repair_again": self.strong_repair,
        }


@dataclass(frozen=True)
class _Guess:
    """Parameters in the making: P(same text | class) of each redraft, (n, 3); u and v."""

    same: FloatArray
    right: FloatArray  # P(another text is right | class of the discarded draft), 0 of derailed ones

    @property
    def classes(self) -> FloatArray:
        """P(class of another text | class of the discarded draft), shape (3, 3)."""
        (u, _, v) = self.right
        return np.array([[u, 0.0, 1.0 - u], [0.0, 1.0, 0.0], [v, 0.0, 1.0 - v]])

    def moved(self, other: _Guess) -> float:
        """The largest difference."""
        return float(max(np.abs(self.same - other.same).max(), np.abs(self.right - other.right).max()))


@dataclass(frozen=True)
class Redrafts:
    """The likelihood of redrafts whose discarded draft was doubted, s, u, v and γ not given.

    Attributes
    ----------
    belief : ndarray of shape (n, 3)
        Over the class of the discarded draft; exact where it is known.
    right : ndarray of shape (n, 3)
        P(the answer is right | class of the new draft).
    outcome : ndarray of shape (n, 3)
        P(what came of it | class of the new draft): its answer, or, where known, that class itself.
    looked : ndarray of int, shape (n,)
        Observation bin of the discarded draft.
    repeated : ndarray of int, shape (n,)
        1 if the new draft is the discarded one word for word, 0 if not, `UNKNOWN` where nobody knows.
    bins : ndarray of int, shape (n,)
        Observation bin of the new draft; `UNKNOWN` where nobody saw it.
    redone : ndarray of int, shape (n, 2)
        Class of the new draft, and whether the strong model's step was right (1, 0); `UNKNOWN` where nobody knows.
    emission : ndarray of shape (3, J)
        P(bin | class) of first drafts.
    rows : ndarray of int, shape (n,)
        Which redrafts these are of all.
    """

    belief: FloatArray
    right: FloatArray
    outcome: FloatArray
    looked: IntArray
    repeated: IntArray
    bins: IntArray
    redone: IntArray
    emission: FloatArray
    rows: IntArray
    name: str = "redraft rollouts: repeats and outcomes given what was seen before"

    @classmethod
    def of(
        cls, rows: RedraftRows, before: SeenSteps, bins: IntArray, parameters: Parameters, hazards: Hazards
    ) -> Redrafts:
        """Of redrafts whose steps were seen up to the discarded draft, and the new one's observation bin (n,)."""
        belief = before.last_beliefs(parameters, hazards)
        step = np.minimum(before.lengths, len(hazards.right)) - 1
        curve = weak_success_curve(parameters, len(hazards.right))
        right = answer_right(curve, hazards, parameters["recovery"])[step]
        doubted = np.flatnonzero(belief[:, 0] < curve[step] * (belief[:, 0] + belief[:, 2]))
        known = rows.true_class != UNKNOWN
        belief[known] = np.eye(3)[rows.true_class[known]]
        outcome = np.where(rows.batch.correct[:, None], right, 1.0 - right)
        new = np.where(rows.true_class == 1, 1, np.where(rows.redrafted_right, 0, 2))
        outcome[known] = np.eye(3)[new[known]]
        # How a draft looks that may be one that was seen already tells nothing, unless it is known to be another.
        bins = np.where((rows.repeated == UNKNOWN) & (rows.repeated != UNKNOWN).any(), UNKNOWN, bins)
        return cls(
            belief[doubted],
            right[doubted],
            outcome[doubted],
            before.bins[np.arange(len(step)), before.lengths - 1][doubted],
            rows.repeated[doubted],
            bins[doubted],
            np.stack([np.where(known, new, UNKNOWN), rows.redone_right], axis=1)[doubted],
            emission(before.table, parameters),
            doubted,
        )

    def take(self, index: NDArray[np.int64]) -> Redrafts:
        """Some of them, repeats allowed."""
        names = ("belief", "right", "outcome", "looked", "repeated", "bins", "redone", "rows")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def fit(self) -> DraftFit | None:
        """The most likely parameters; None where no draft was doubted."""
        if not len(self.belief):
            return None
        tells = bool((self.repeated != UNKNOWN).any())
        x = looks_wrong(self.emission)
        repeats = np.zeros(4)
        same = _shares(repeats, x[self.looked]) if tells else np.zeros(self.belief.shape)
        guess = _Guess(same, np.array([0.5, 0.0, 0.5]))
        for _ in range(_ROUNDS):
            again, other = self._weights(guess)
            mass = other.sum(axis=(0, 2))
            right = np.divide(other[:, :, 0].sum(axis=0), mass, out=np.zeros(3), where=mass > _TINY)
            if tells:
                repeats = _repeats(again, other.sum(axis=2), x[self.looked], repeats)
                same = _shares(repeats, x[self.looked])
            new = _Guess(same, right)
            moved, guess = guess.moved(new), new
            if moved < _SMALL:
                break
        again, other = self._weights(guess)
        had_right = again[:, 0].sum() + other[:, 0].sum() > _TINY
        same = np.zeros(3)
        if tells:  # on the average over doubted drafts, as plans want it
            same = (doubted_shares(self.emission) * _shares(repeats, x).T).sum(axis=1)
        after = same * np.array([1.0, 0.0, 0.0]) + (1.0 - same) * guess.right
        return DraftFit(
            repair=float(after[2]),
            success=float(after[0]) if had_right else None,
            same=same if tells else None,
            slope=float(repeats[3]) if tells else None,
            tilt=self._tilt(other.sum(axis=1)),
            strong_success=self._strong(0),
            strong_repair=self._strong(2),
        )

    def log_likelihood(self, fitted: DraftFit) -> float:
        """Of what was fitted."""
        again, other = self._joint(self._guess_of(fitted))
        return float(np.log(np.maximum(again.sum(axis=1) + other.sum(axis=(1, 2)), _TINY)).sum())

    def probability_right(self, fitted: DraftFit) -> FloatArray:
        """P(the answer is right | what was seen before the new draft), shape (n,)."""
        guess = self._guess_of(fitted)
        moved = self.belief * guess.same + (self.belief * (1.0 - guess.same)) @ guess.classes
        return np.asarray((moved * self.right).sum(axis=1))

    def _joint(self, guess: _Guess) -> tuple[FloatArray, FloatArray]:
        """P(same text, class, what came of it), (n, 3), and P(another text, both classes, the same), (n, 3, 3)."""
        again = self.belief * guess.same * self.outcome * (self.repeated != 0)[:, None]
        other = (self.belief * (1.0 - guess.same) * (self.repeated != 1)[:, None])[:, :, None] * guess.classes
        return again, other * self.outcome[:, None, :]

    def _guess_of(self, fitted: DraftFit) -> _Guess:
        same = np.zeros(3) if fitted.same is None else fitted.same
        stays, after = 1.0 - same, np.array([(fitted.success or 0.0) - same[0], 0.0, fitted.repair])
        right = np.divide(after, stays, out=np.zeros(3), where=stays > 0.0)
        shares = repeat_shares(self.emission, same, fitted.slope or 0.0)[:, self.looked].T
        return _Guess(shares, np.clip(right, 0.0, 1.0))

    def _weights(self, guess: _Guess) -> tuple[FloatArray, FloatArray]:
        again, other = self._joint(guess)
        total = np.maximum(again.sum(axis=1) + other.sum(axis=(1, 2)), _TINY)
        return again / total[:, None], other / total[:, None, None]

    def _tilt(self, weights: FloatArray) -> Tilts | None:
        """The likeliest γ and δ, given how likely each new draft is another text of each class, (n, 3)."""
        shown = (self.bins != UNKNOWN) & (weights.sum(axis=1) > _TINY)
        if not shown.any():
            return None
        weights, bins = weights[shown], self.bins[shown]
        powers = tilt_powers(self.emission)

        def negative(flat: FloatArray) -> tuple[float, FloatArray]:
            tilts = flat.reshape(3, 2)
            emission = tilted_by(self.emission, tilts)
            parts = weights * emission[:, bins].T
            seen = np.maximum(parts.sum(axis=1), _TINY)
            of_class = parts / seen[:, None]
            # What was seen of each class, less what is expected of it.
            slope = of_class.T @ powers[:, bins].T - of_class.sum(axis=0)[:, None] * (emission @ powers.T)
            prior = tilts / _TILT_SPREAD**2
            return 0.5 * float((prior * tilts).sum()) - float(np.log(seen).sum()), (prior - slope).ravel()

        bounds = [(-MOST_SLOPE, MOST_SLOPE), (-MOST_BEND, MOST_BEND)] * 3
        return Tilts.of(minimize(negative, np.zeros(6), jac=True, method="L-BFGS-B", bounds=bounds).x.reshape(3, 2))

    def _strong(self, c: int) -> float | None:
        """Share of right steps of the strong model where the new draft is another text of a class."""
        new, right = self.redone.T
        told = (new == c) & (right != UNKNOWN) & (self.repeated == 0)
        return float(right[told].mean()) if told.any() else None


def _shares(repeats: FloatArray, x: FloatArray) -> FloatArray:
    """P(the same text | class) by a and β, (4,), and how wrong discarded drafts looked, (n,); shape (n, 3)."""
    return np.asarray(expit(repeats[:3] + repeats[3] * x[:, None]))


def _repeats(again: FloatArray, other: FloatArray, x: FloatArray, start: FloatArray) -> FloatArray:
    """Likelier a and β than those to start from, given how likely it was the same text or another, by class, (n, 3).

    Newton's steps, of which expectation and maximisation need no more than one a round.
    """
    total, apart = again + other, np.zeros((4, 4))
    apart[:3, :3] = np.eye(3) - 1.0 / 3.0  # of the prior that holds a of all classes together
    prior = apart + np.diag(1.0 / _REPEATS_SPREAD**2)
    share = _shares(start, x)
    short, weight = again - total * share, total * share * (1.0 - share)
    slope = np.append(short.sum(axis=0), (short.sum(axis=1) * x).sum()) - prior @ start
    curvature = prior.copy()
    curvature[np.arange(3), np.arange(3)] += weight.sum(axis=0)
    curvature[3, :3] += weight.T @ x
    curvature[:3, 3] += weight.T @ x
    curvature[3, 3] += weight.sum(axis=1) @ x**2
    step = np.linalg.solve(curvature, slope)
    return np.asarray(start + step * min(1.0, _MOST_STEP / max(float(np.abs(step).max()), _TINY)))


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
