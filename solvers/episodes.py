"""One episode of a policy in a POMDP, to read step by step; many of them are played by `solvers.simulation`."""

from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.pomdp import POMDP
from solvers.simulation import BeliefFilter, Policy, horizon_of, simulate, walk


@dataclass(frozen=True, eq=False, repr=False)
class Episode:
    """What happened, one entry for each action.

    Attributes
    ----------
    pomdp : POMDP
    state : int array, shape (h + 1,)
        True state before each action, and at the end.
    belief : array, shape (h + 1, S)
        What could be known of it then.
    action, observation : int array, shape (h,)
    reward : array, shape (h,)
        Not discounted.
    """

    pomdp: POMDP
    state: NDArray[np.int64]
    belief: NDArray[np.float64]
    action: NDArray[np.int64]
    observation: NDArray[np.int64]
    reward: NDArray[np.float64]

    @property
    def value(self) -> float:
        """Discounted sum of rewards."""
        return float(self.reward @ self.pomdp.discount ** np.arange(self.reward.size))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One a step, in words, namely true state, likeliest state with its probability, action, observation, reward.

        Steps at the end that bring nothing, as after a door of a maze, are left out.
        """
        p = self.pomdp
        last = int(np.flatnonzero(self.reward).max(initial=0))
        return [
            (
                p.states[self.state[t]],
                f"{p.states[likeliest]} ({self.belief[t, likeliest]:.3f})",
                p.actions[self.action[t]],
                p.observations[self.observation[t]],
                f"{self.reward[t]:g}",
            )
            for t, likeliest in enumerate(self.belief[: last + 1].argmax(axis=1).tolist())
        ]

    def __repr__(self) -> str:
        return f"Episode({self.action.size} actions, worth {self.value:.4g})"

    def _repr_html_(self) -> str:
        columns = ("", "true state", "likeliest state", "action", "observation", "reward")
        head = "".join(f"<th>{name}</th>" for name in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in (str(t + 1), *row))}</tr>"
            for t, row in enumerate(self.rows)
        )
        return f"<table><caption>worth {self.value:.4g}</caption><tr>{head}</tr>{body}</table>"


class PlayedValue(NamedTuple):
    """Mean discounted sum of rewards of many episodes, and its standard error."""

    mean: float
    standard_error: float
    episodes: int


def play(pomdp: POMDP, policy: Policy, *, rng: np.random.Generator, steps: int | None = None) -> Episode:
    """Follow a policy from the start to its horizon, with the belief filtered beside it.

    Parameters
    ----------
    pomdp : POMDP
        The world, with all of its states; beliefs are filtered in it.
    policy : AlphaVectorPolicy, FiniteHorizonPolicy, FiniteStateController, EpochPolicy, or anything with `action`
        As for `solvers.simulation.simulate`; also one that was made for another POMDP with the same states, actions and
        observations.
    rng : numpy.random.Generator
    steps : int, optional
        Number of actions, for policies without a horizon.

    Raises
    ------
    ModelError
        If the policy was planned for a model of another shape, or nothing says how long the episode is.
    """
    most = horizon_of(pomdp, policy) if steps is None else steps
    if not 1 <= most < float("inf"):
        raise ModelError("steps must be given, at least 1: neither the policy nor the POMDP has a horizon")
    played = list(walk(pomdp, policy, rng=rng, episodes=1, steps=int(most), to_the_end=True))
    state, action, after, observation = (np.concatenate(part) for part in list(zip(*played, strict=True))[1:5])
    states = np.append(state, after[-1])
    values = np.zeros_like(states) if pomdp.observed is None else pomdp.observed[states]
    known = BeliefFilter(pomdp, values[:1])
    beliefs = [known.array()[0]]
    for t in range(action.size):
        known.saw(action[[t]], observation[[t]], values[[t + 1]])
        beliefs.append(known.array()[0])
    reward = np.concatenate([step.reward for step in played])
    return Episode(pomdp, states, np.array(beliefs), action, observation, reward)


def played_value(pomdp: POMDP, policy: Policy, *, episodes: int, rng: np.random.Generator) -> PlayedValue:
    """What a policy with a horizon is worth in so many episodes; `solvers.simulation.simulate` says more.

    Raises
    ------
    ModelError
        If there are fewer than two episodes, or as for `play`.
    """
    found = simulate(pomdp, policy, episodes=episodes, seed=rng)
    return PlayedValue(found.mean, found.standard_error, found.episodes)
