"""Whole problems routed by a network that is being trained, and what a learner takes from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.model.episodes import Episodes
from trim_pomdp.policies.learned import walk
from trim_pomdp.policies.networks import RouterNetwork, Row

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rollout:
    """n problems from their first step to their last, padded to the longest (T steps).

    Attributes
    ----------
    rows : ndarray of float32, shape (n, T, features + 1)
        What the network saw; 0 beyond the end, as everywhere below.
    logits : ndarray of float32, shape (n, T)
        What it said.
    actions : ndarray of float32, shape (n, T)
        1 where the step was regenerated.
    strong_tokens : ndarray of shape (n, T)
        What that took.
    hidden : ndarray of float32, shape (n, T, 4)
        One-hot true class of the weak step, and whether it ends the solution; for critics alone. 0 where unknown.
    mask : ndarray of bool, shape (n, T)
        Where there was a decision.
    right : ndarray of shape (n,)
        1 where the solution is right.
    prices : ndarray of shape (n,)
        λ/reward.
    """

    rows: Row
    logits: Row
    actions: Row
    strong_tokens: FloatArray
    hidden: Row
    mask: NDArray[np.bool_]
    right: FloatArray
    prices: FloatArray

    @classmethod
    def empty(cls, prices: FloatArray, steps: int, width: int) -> Rollout:
        """Room for problems at these prices, of so many steps at most, with rows of a width."""
        n = len(prices)
        return cls(
            np.zeros((n, steps, width), np.float32), np.zeros((n, steps), np.float32), np.zeros((n, steps), np.float32),
            np.zeros((n, steps)), np.zeros((n, steps, 4), np.float32), np.zeros((n, steps), np.bool_), np.zeros(n),
            prices,
        )  # fmt: skip

    @property
    def returns(self) -> FloatArray:
        """right − (λ/reward) · strong tokens of every problem, shape (n,)."""
        return np.asarray(self.right - self.prices * self.strong_tokens.sum(axis=1))

    @property
    def trimmed(self) -> Rollout:
        """Without steps that no problem came to."""
        T = int(self.mask.any(axis=0).sum())
        return replace(
            self,
            rows=self.rows[:, :T],
            logits=self.logits[:, :T],
            actions=self.actions[:, :T],
            strong_tokens=self.strong_tokens[:, :T],
            hidden=self.hidden[:, :T],
            mask=self.mask[:, :T],
        )


class Backend(Protocol):
    """Where problems come from.

    Attributes
    ----------
    name : str
        Of the model, or of the problems.
    reward : float
        Of a right answer.
    max_steps : int
        Steps of a problem at most.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def reward(self) -> float: ...  # noqa: D102

    @property
    def max_steps(self) -> int: ...  # noqa: D102

    def rollout(self, network: RouterNetwork, prices: FloatArray, rng: np.random.Generator) -> Rollout:
        """Route a problem at every price (λ/reward), actions drawn with the network's probabilities."""
        ...


@dataclass(frozen=True)
class SimulatedProblems:
    """Problems drawn from a routing model (a `Backend`)."""

    model: RoutingModel

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self.model.name

    @property
    def reward(self) -> float:
        """See `Backend`."""
        return self.model.reward

    @property
    def max_steps(self) -> int:
        """See `Backend`."""
        return self.model.dynamics.max_steps

    def rollout(self, network: RouterNetwork, prices: FloatArray, rng: np.random.Generator) -> Rollout:
        """See `Backend`."""
        episodes = Episodes(self.model, len(prices), rng)
        out = Rollout.empty(prices, self.max_steps, len(network.features) + 1)
        for t, seen in enumerate(walk(network, episodes, prices, rng)):
            at = (seen.problems, t)
            out.rows[at], out.logits[at], out.actions[at] = seen.rows, seen.logits, seen.regenerate
            out.strong_tokens[at], out.mask[at] = seen.strong_tokens, True
            out.hidden[at] = np.column_stack([np.eye(3)[seen.classes], seen.ended])
        out.right[:] = episodes.drawn.right
        return out.trimmed
