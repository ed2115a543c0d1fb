"""Problems side by side, drawn from a routing model step by step, for routers that are asked about all of them at once.

A model knows bins, no scores: within its bin a score is drawn uniformly in log-odds, the scale that bins are cut on (in
the first bin, which begins at 0, uniformly as it is; the atom at 1 is 1). That tells nothing of the class which the bin
did not. Tokens are class means, and a weak step's length is shown as one number, whatever its class: the mean of a
class would give it away.

A regenerated step is scored with the next one, by the class it came out; its score enters the minimum. Evidence that
takes the weak model's log-probabilities does not exist for steps of the strong model, which then leave the minimum as
it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import KEEP, REGENERATE
from trim_pomdp.model.propagation import Drawn, FloatArray

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel


class Episodes:
    """What a router sees of problems that are under way, and what becomes of them.

    Parameters
    ----------
    model : RoutingModel
        What is true.
    n : int
        Number of problems.
    rng : numpy Generator
        Source of chance.

    Attributes
    ----------
    alive : ndarray of int, shape (a,)
        The problems that wait for a decision; the arrays that follow are about these, in this order.
    step : int
        Index of the step that they are all at, from 0.
    classes : ndarray of int, shape (a,)
        True class of the weak step: 0, 1, 2 for S0, S1, S2.
    ended : ndarray of int, shape (a,)
        1 where the weak step ends the solution, else 0.
    scores, minimum : ndarray of shape (a,)
        Score of the weak step, and the smallest of the steps before as they stand (1.0 at the first).
    drawn : Drawn
        What was done so far, of all n problems; `right` is known once a solution is over.

    Raises
    ------
    InputError
        If the model's observations are bins of (min, current) that are drawn afresh at each step: no sequence of scores
        is like that.
    """

    def __init__(self, model: RoutingModel, n: int, rng: np.random.Generator) -> None:
        if model.observations.emission != "step":
            raise InputError(
                f"observations {model.observations.name!r} draw (min, current) afresh at every step, which is no "
                "sequence of scores; use observations with emission 'step'"
            )
        self._model, self._rng = model, rng
        self._cumulative = np.cumsum(model.emission, axis=1)
        self._cumulative[:, -1] = np.inf  # no uniform draw falls behind the last bin, whatever rounding says
        self._edges = np.append(np.array(model.observations.step_emission.score_edges), 1.0)
        self._strong_tokens = model.tables.strong(model.strong_tokens)
        self._rescored = model.observations.evidence is None
        self.drawn = Drawn.empty(n, len(model.tables.keeps))
        self.alive = np.arange(n)
        self.step = 0
        self.minimum = np.ones(n)
        self._right, self._length = np.ones(n, dtype=np.bool_), np.zeros(n)
        self._draft()

    @property
    def weak_tokens(self) -> float:
        """Mean tokens of a weak step, whatever its class; 0 where nobody knows."""
        return shown_tokens(self._model)

    def columns(self, regenerated: NDArray[np.bool_]) -> dict[str, FloatArray]:
        """What a router sees of the weak steps, by name, shape (a,) each.

        `regenerated` says whether each step before was; False at the first.
        """
        n = len(self.alive)
        return {
            "score": self.scores,
            "minimum": self.minimum,
            "tokens": np.full(n, self.weak_tokens),
            "step": np.full(n, float(self.step)),
            "ended": self.ended.astype(np.float64),
            "regenerated": regenerated.astype(np.float64),
        }

    def act(self, regenerate: NDArray[np.bool_]) -> FloatArray:
        """Keep or regenerate the weak steps, and go on to the next ones.

        Parameters
        ----------
        regenerate : ndarray of bool, shape (a,)

        Returns
        -------
        ndarray of shape (a,)
            Strong tokens that it took.
        """
        model, who, out, t = self._model, self.alive, self.drawn, self.step
        action, c, e = np.where(regenerate, REGENERATE, KEEP), self.classes, self.ended
        out.counts[who, action, c] += 1.0
        out.strong_steps[who] += model.tables.strong_steps[action, t, e, c]
        out.before[who, action] += self._length[who]
        out.steps_before[who, action] += t
        self._length[who] += model.accepted_tokens[action, c]
        rows = model.tables.outcomes[t, e, action, c][:, :2, :2].reshape(len(who), 4).cumsum(axis=1)
        found = (self._rng.random(len(who))[:, None] >= rows[:, :3]).sum(axis=1)
        over, derailed = np.divmod(found, 2)
        out.right[who] = derailed == 0
        tokens = self._strong_tokens[action, t, e, c]
        goes_on = over == 0
        came_out = np.where(derailed == 0, 0, np.where(c == 1, 1, 2))
        own = np.where(regenerate, self._own_scores(came_out), self.scores)
        self.minimum = np.minimum(self.minimum, own)[goes_on]
        self.alive, self._right = who[goes_on], derailed[goes_on] == 0
        self.step += 1
        if len(self.alive):
            self._draft()
        return np.asarray(tokens)

    def _draft(self) -> None:
        """The next weak steps, and what they look like."""
        law, rng, n = self._model.law, self._rng, len(self.alive)
        succeeds = rng.random(n) < law.weak_success[self.step]
        self.classes = np.where(self._right, np.where(succeeds, 0, 2), 1)
        self.ended = (rng.random(n) < law.end[self.step, self.classes]).astype(np.int64)
        self.scores = self._scores(self.classes)

    def _own_scores(self, classes: NDArray[np.int64]) -> FloatArray:
        """Of regenerated steps, by the class they came out; 1, which changes no minimum, where there is none."""
        return self._scores(classes) if self._rescored else np.ones(len(classes))

    def _scores(self, classes: NDArray[np.int64]) -> FloatArray:
        u, v, bins = self._rng.random(len(classes)), self._rng.random(len(classes)), np.zeros(len(classes), np.int64)
        for c in range(3):
            where = classes == c
            bins[where] = np.searchsorted(self._cumulative[c], u[where], side="right")
        low, high = self._edges[bins], self._edges[bins + 1]
        out = low + v * (high - low)
        inner = (low > 0.0) & (high < 1.0)
        a, b = (np.log(x[inner]) - np.log1p(-x[inner]) for x in (low, high))
        out[inner] = 1.0 / (1.0 + np.exp(-(a + v[inner] * (b - a))))
        return np.asarray(out)


def shown_tokens(model: RoutingModel) -> float:
    """Tokens of a weak step as they are shown, whatever its class: the mean of the class means; 0 where not known."""
    return 0.0 if model.weak_tokens is None else float(model.weak_tokens.mean())
