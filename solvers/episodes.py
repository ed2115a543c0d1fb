"""Playing a policy in a POMDP: one episode to read, or many to check a value by."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.epoch_policies import EpochPolicy
from solvers.errors import ModelError
from solvers.pomdp import POMDP


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


def play(pomdp: POMDP, policy: EpochPolicy, *, rng: np.random.Generator) -> Episode:
    """Follow a policy from the start to its horizon, with the belief filtered beside it.

    Parameters
    ----------
    pomdp : POMDP
        The world, with all of its states; beliefs are filtered in it.
    policy : EpochPolicy
        Planned for ``pomdp.finite_horizon(h)``, or for that of another POMDP with the same states, actions and
        observations.
    rng : numpy.random.Generator

    Raises
    ------
    ModelError
        If the policy was planned for a model of another shape.
    """
    states = _States.of(pomdp, policy)
    world = np.einsum("ast,ato->asto", pomdp.transition_array, pomdp.observation_array)
    belief = pomdp.start
    state = int(rng.choice(belief.size, p=belief))
    visited, beliefs, actions, seen, rewards = [state], [belief], [], [], []
    for t in range(states.horizon):
        action = policy.action(*states.hidden(t, state, belief))
        outcome = int(rng.choice(world[action, state].size, p=world[action, state].reshape(-1)))
        after, observation = divmod(outcome, pomdp.n_observations)
        rewards.append(_reward(pomdp, action, state, after, observation))
        belief = states.known(belief @ world[action, :, :, observation], after)
        state = after
        visited.append(state)
        beliefs.append(belief)
        actions.append(action)
        seen.append(observation)
    return Episode(
        pomdp, np.array(visited), np.array(beliefs), np.array(actions, np.int64), np.array(seen, np.int64),
        np.array(rewards)
    )  # fmt: skip


def played_value(pomdp: POMDP, policy: EpochPolicy, *, episodes: int, rng: np.random.Generator) -> PlayedValue:
    """What a policy is worth in so many episodes; see `play`.

    Raises
    ------
    ModelError
        If there are fewer than two episodes, or as for `play`.
    """
    if episodes < 2:
        raise ModelError(f"episodes must be at least 2, got {episodes}")
    values = np.array([play(pomdp, policy, rng=rng).value for _ in range(episodes)])
    return PlayedValue(float(values.mean()), float(values.std(ddof=1) / episodes**0.5), episodes)


class _States(NamedTuple):
    """How the states of a POMDP are those of a policy's model, an observed factor apart."""

    pomdp: POMDP
    horizon: int
    groups: tuple[NDArray[np.int64], ...]
    n_hidden: int

    @classmethod
    def of(cls, pomdp: POMDP, policy: EpochPolicy) -> "_States":
        S, observed = len(pomdp.states), pomdp.observed
        groups = _groups(np.zeros(S, np.int64) if observed is None else observed)
        steps, rest = divmod(policy.model.n_nodes - 1, len(groups))
        made = pomdp.finite_horizon(1)
        here = (made.n_actions, made.n_observations, made.n_states)
        there = (policy.model.n_actions, policy.model.n_observations, policy.model.n_states)
        if rest or here != there or policy.model.n_signals != 1:
            raise ModelError(
                f"the policy is for another model: (actions, observations, hidden states) {there}, expected {here}"
            )
        return cls(pomdp, steps, groups, made.n_states)

    def hidden(self, t: int, state: int, belief: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
        """Node of the policy's model, and the belief over its hidden states."""
        if self.pomdp.observed is None:
            return t, belief
        value = int(self.pomdp.observed[state])
        group = self.groups[value]
        inside = np.zeros(self.n_hidden)
        inside[: group.size] = belief[group]
        return (0 if t == 0 else 1 + (t - 1) * len(self.groups) + value), inside

    def known(self, mass: NDArray[np.float64], state: int) -> NDArray[np.float64]:
        """Normalised, with the observed factor seen."""
        if self.pomdp.observed is not None:
            mass = np.where(self.pomdp.observed == self.pomdp.observed[state], mass, 0.0)
        return np.asarray(mass / mass.sum())


def _groups(observed: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    def members() -> Iterator[NDArray[np.int64]]:
        for value in range(int(observed.max()) + 1):
            yield np.flatnonzero(observed == value)

    return tuple(members())


def _reward(pomdp: POMDP, action: int, state: int, after: int, observation: int) -> float:
    if pomdp.rewards is None:
        return float(pomdp.reward[action, state])
    where = (np.array([i]) for i in (action, state, after, observation))
    return float(pomdp.rewards.at(*where)[0])
