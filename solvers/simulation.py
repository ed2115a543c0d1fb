"""Playing policies: many episodes side by side, with what they are worth and how sure that is.

All episodes take a step together: actions for all beliefs at once, states and observations drawn from rows of sparse
tables, beliefs filtered by one product for each action. Rewards are those of outcomes where the model has them.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers import checks
from solvers.checks import check_indices, check_shape
from solvers.controllers import FiniteStateController
from solvers.epoch_policies import EpochPolicy
from solvers.errors import ModelError
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_DENSE = 256  # states up to which beliefs are kept as dense arrays
_TOGETHER = 10_000  # episodes that are played side by side


class ActsOnBeliefs(Protocol):
    """Anything that says what to do at beliefs (B, S): an int array (B,)."""

    def action(self, belief: Any) -> Any:
        """Actions at beliefs."""


Policy = AlphaVectorPolicy | FiniteHorizonPolicy | FiniteStateController | EpochPolicy | ActsOnBeliefs


@dataclass(frozen=True, eq=False, repr=False)
class Simulated:
    """What a policy is worth in so many episodes.

    Attributes
    ----------
    mean, standard_error : float
        Of the discounted sum of rewards of an episode.
    episodes : int
    steps : int
        Most actions that an episode may have.
    truncation : float
        What later steps could add to the mean, or take from it, at most; 0 if the process ends with the last step.
    unfinished : float
        Share of episodes that had not come to a terminal state.
    elapsed_s : float
    values : array, shape (episodes,)
        Discounted sum of rewards of each.
    """

    mean: float
    standard_error: float
    episodes: int
    steps: int
    truncation: float
    unfinished: float
    elapsed_s: float
    values: Floats = field(repr=False)

    def _facts(self) -> dict[str, str]:
        return {
            "mean": f"{self.mean:.5g} ± {self.standard_error:.2g}",
            "episodes": f"{self.episodes:,}",
            "steps": f"up to {self.steps}",
            "later steps": f"within ± {self.truncation:.2g}" if self.truncation else "worth nothing",
            "unfinished": f"{100.0 * self.unfinished:.3g} % of episodes",
        }

    def __str__(self) -> str:
        return "\n".join(f"{name:14}  {value}" for name, value in self._facts().items())

    def __repr__(self) -> str:
        return f"Simulated({', '.join(f'{name} {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table><caption>Simulated</caption>{''.join(rows)}</table>"


class Step(NamedTuple):
    """One step of the episodes that are not over."""

    episode: Ints  # (n,) their numbers
    state: Ints
    action: Ints
    after: Ints
    observation: Ints
    reward: Floats


def simulate(
    pomdp: POMDP,
    policy: Policy,
    *,
    episodes: int = 1000,
    steps: int | None = None,
    truncation: float = 1e-3,
    seed: int | np.random.Generator = 0,
) -> Simulated:
    """Play a policy in a POMDP many times.

    Parameters
    ----------
    pomdp : POMDP
        The world. A policy may have been made for another one with the same states, actions and observations; beliefs
        are filtered in this one.
    policy : AlphaVectorPolicy, FiniteHorizonPolicy, FiniteStateController, EpochPolicy, or anything with `action`
        ``action(beliefs)`` takes a dense array (B, S) and returns actions (B,).
    episodes : int
        At least 2.
    steps : int, optional
        Actions in an episode; by default the horizon of the policy or of the POMDP, and otherwise as many as
        `truncation` asks for. An episode ends before in a terminal state.
    truncation : float
        Without a horizon: what the steps that are left out may be worth at most, in units of reward.
    seed : int or numpy.random.Generator

    Raises
    ------
    ModelError
        If there are fewer than two episodes, if neither a horizon nor a discount says where to stop, or if the policy
        is for a POMDP of another shape, or does what is no action.
    """
    checks.of_type("pomdp", pomdp, POMDP)
    if not (isinstance(policy, FiniteStateController) or callable(getattr(policy, "action", None))):
        raise ModelError(f"policy must have a method action(beliefs), got {type(policy).__name__}")
    episodes = checks.whole("episodes", episodes, 2)
    began = time.monotonic()
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(checks.whole("seed", seed, 0))
    most = _steps(pomdp, policy, steps, truncation)
    values, unfinished = np.zeros(episodes), 0
    for first in range(0, episodes, _TOGETHER):
        part = values[first : first + _TOGETHER]
        running = np.zeros(0, np.int64)  # without any step, all of them started where all is over
        for t, step in enumerate(walk(pomdp, policy, rng=rng, episodes=part.size, steps=most)):
            part[step.episode] += pomdp.discount**t * step.reward
            running = step.episode[~pomdp.terminal[step.after]]
        unfinished += running.size
    share = unfinished / episodes
    left_out = 0.0 if share == 0.0 or most >= horizon_of(pomdp, policy) else share * _worth_after(pomdp, most)
    return Simulated(
        float(values.mean()), float(values.std(ddof=1) / math.sqrt(episodes)), episodes, most, left_out, share,
        time.monotonic() - began, values
    )  # fmt: skip


def walk(
    pomdp: POMDP, policy: Policy, *, rng: np.random.Generator, episodes: int, steps: int, to_the_end: bool = False
) -> Iterator[Step]:
    """Steps of episodes that are played side by side.

    Parameters
    ----------
    to_the_end : bool
        Go on in terminal states.
    """
    places = _Places(pomdp)
    running = np.arange(episodes)
    cumulative = np.cumsum(pomdp.start)
    state = np.minimum(np.searchsorted(cumulative, rng.random(episodes), side="right"), pomdp.n_states - 1)
    actor = _actor(pomdp, policy, steps, state)
    moves, seen = (tuple(map(_Rows, tables)) for tables in (pomdp.transition, pomdp.observation))
    for t in range(steps):
        if not to_the_end and pomdp.terminal[state].any():
            alive = ~pomdp.terminal[state]
            running, state = running[alive], state[alive]
            actor.keep(alive)
        if not running.size:
            return
        action = check_indices("actions of the policy", actor.actions(t), 1, 0, pomdp.n_actions)
        check_shape("actions of the policy", action.shape, state.shape)
        chance, after, observation = rng.random(state.size), np.empty_like(state), np.empty_like(state)
        for a in np.unique(action):
            here = action == a
            after[here], rest = moves[a].draw(state[here], chance[here])
            observation[here], _ = seen[a].draw(after[here], rest)
        yield Step(running, state, action, after, observation, _rewards(pomdp, action, state, after, observation))
        actor.saw(action, observation, places.of(after))
        state = after


class _Rows:
    """Draws columns of the rows of a table of probabilities."""

    def __init__(self, table: "csr_array") -> None:
        self.table = table
        self.cumulative = np.concatenate([[0.0], np.cumsum(table.data)])

    def draw(self, rows: Ints, chance: Floats) -> tuple[Ints, Floats]:
        """Column for each row, and what is left of its uniform number: another one."""
        first, last = self.table.indptr[rows], self.table.indptr[rows + 1]
        low = self.cumulative[first]
        wanted = low + chance * (self.cumulative[last] - low)
        at = np.clip(np.searchsorted(self.cumulative, wanted, side="right") - 1, first, last - 1)
        rest = (wanted - self.cumulative[at]) / self.table.data[at]
        return self.table.indices[at].astype(np.int64), np.clip(rest, 0.0, 1.0 - 1e-15)


class _Places:
    """Values of the observed factor; all 0 without one."""

    def __init__(self, pomdp: POMDP) -> None:
        self.factor = pomdp.observed
        self.count = 1 if self.factor is None else int(self.factor.max()) + 1

    def of(self, states: Ints) -> Ints:
        return np.zeros_like(states) if self.factor is None else self.factor[states]


class BeliefFilter:
    """Beliefs of episodes that run side by side, as rows; sparse where there are many states.

    Parameters
    ----------
    pomdp : POMDP
    values : int array, shape (N,)
        Of the observed factor at the start of each episode; ignored if there is none.
    """

    def __init__(self, pomdp: POMDP, values: Ints) -> None:
        from scipy.sparse import csr_array

        self.pomdp = pomdp
        self.dense = pomdp.n_states <= _DENSE
        self.rows: Any = np.tile(pomdp.start, (values.size, 1))
        if not self.dense:
            self.rows = csr_array(pomdp.start[None])[np.zeros(values.size, np.int64)]
        nothing = np.zeros(0, np.int64)
        self._learn(nothing, nothing, values)

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with some of the episodes."""
        self.rows = self.rows[which]

    def saw(self, action: Ints, observation: Ints, values: Ints) -> None:
        """Filter by what was done and seen in each episode."""
        from scipy.sparse import vstack

        moved, order = [], []
        for a in np.unique(action):
            here = np.flatnonzero(action == a)
            moved.append(self.rows[here] @ self.pomdp.transition[a])
            order.append(here)
        back = np.argsort(np.concatenate(order), kind="stable")
        self.rows = (np.concatenate(moved) if self.dense else vstack(moved, format="csr"))[back]
        self._learn(action, observation, values)

    def _learn(self, action: Ints, observation: Ints, values: Ints) -> None:
        """Weigh the states of each row by what was seen there, and normalise."""
        factor = self.pomdp.observed
        if self.dense:
            for a in np.unique(action):
                here = np.flatnonzero(action == a)
                self.rows[here] *= self.pomdp.observation[a][:, observation[here]].toarray().T
            if factor is not None:
                self.rows *= factor == values[:, None]
            total = self.rows.sum(axis=1)
        else:
            row = np.repeat(np.arange(values.size), np.diff(self.rows.indptr))
            state, data = self.rows.indices, self.rows.data
            for a in np.unique(action):
                here = np.flatnonzero(action[row] == a)
                data[here] *= self.pomdp.observation[a][state[here], observation[row[here]]]
            if factor is not None:
                data *= factor[state] == values[row]
            total = np.bincount(row, data, values.size)
        if not (total > 0.0).all():
            raise ModelError("what was seen cannot occur in this model")
        if self.dense:
            self.rows /= total[:, None]
        else:
            data /= total[row]
            self.rows.eliminate_zeros()

    def array(self) -> Floats:
        """Beliefs as a dense array (N, S)."""
        return _as_array(self.rows)


class _Actor(Protocol):
    """What decides in episodes that run side by side."""

    def actions(self, t: int) -> Any: ...

    def saw(self, action: Ints, observation: Ints, values: Ints) -> None: ...

    def keep(self, which: NDArray[np.bool_]) -> None: ...


class _OnBeliefs:
    """Acts on filtered beliefs: `choose(t, beliefs, values of the observed factor)`."""

    def __init__(self, pomdp: POMDP, values: Ints, choose: Callable[[int, Any, Ints], Any]) -> None:
        self.filter, self.values, self.choose = BeliefFilter(pomdp, values), values, choose

    def actions(self, t: int) -> Any:
        return self.choose(t, self.filter.rows, self.values)

    def saw(self, action: Ints, observation: Ints, values: Ints) -> None:
        self.filter.saw(action, observation, values)
        self.values = values

    def keep(self, which: NDArray[np.bool_]) -> None:
        self.filter.keep(which)
        self.values = self.values[which]


class _OnNodes:
    """Walks a controller, without beliefs."""

    def __init__(self, controller: FiniteStateController, episodes: int) -> None:
        self.controller, self.node = controller, np.full(episodes, controller.start)

    def actions(self, t: int) -> Any:
        if (self.node < 0).any():
            raise ModelError("what was seen leads nowhere: the controller knows no successor for it")
        return self.controller.actions[self.node]

    def saw(self, action: Ints, observation: Ints, values: Ints) -> None:
        self.node = self.controller.successors[self.node, observation * self.controller.n_values + values]

    def keep(self, which: NDArray[np.bool_]) -> None:
        self.node = self.node[which]


def _actor(pomdp: POMDP, policy: Policy, steps: int, state: Ints) -> _Actor:
    if isinstance(policy, FiniteStateController):
        _same_shape(pomdp, policy.pomdp)
        return _OnNodes(policy, state.size)
    values = _Places(pomdp).of(state)
    if isinstance(policy, AlphaVectorPolicy):
        _same_shape(pomdp, policy.pomdp)
        return _OnBeliefs(pomdp, values, lambda t, beliefs, _: policy.action(beliefs))
    if isinstance(policy, FiniteHorizonPolicy):
        _same_shape(pomdp, policy.pomdp)
        return _OnBeliefs(pomdp, values, lambda t, beliefs, _: policy.action(beliefs, steps - t))
    if isinstance(policy, EpochPolicy):
        return _OnBeliefs(pomdp, values, _EpochChoice(pomdp, policy))
    return _OnBeliefs(pomdp, values, lambda t, beliefs, _: policy.action(_as_array(beliefs)))


class _EpochChoice:
    """An `EpochPolicy` for the POMDP's epoch form: a node for each step and value, beliefs over hidden states alone."""

    def __init__(self, pomdp: POMDP, policy: EpochPolicy) -> None:
        factor = pomdp.observed
        n_values = _Places(pomdp).count
        self.policy = policy
        self.states = [
            np.arange(pomdp.n_states) if factor is None else np.flatnonzero(factor == y) for y in range(n_values)
        ]
        model = policy.model
        here = (pomdp.n_actions, pomdp.n_observations * n_values, max(states.size for states in self.states))
        there = (model.n_actions, model.n_observations, model.n_states)
        if (model.n_nodes - 1) % n_values or here != there or model.n_signals != 1:
            raise ModelError(
                f"the policy is for another model: (actions, observations, hidden states) {there}, expected {here}"
            )

    def __call__(self, t: int, beliefs: Any, values: Ints) -> Ints:
        actions = np.empty(values.size, np.int64)
        for y in np.unique(values):
            here, states = np.flatnonzero(values == y), self.states[y]
            hidden = np.zeros((here.size, self.policy.model.n_states))
            hidden[:, : states.size] = _as_array(beliefs[here][:, states])
            actions[here] = self.policy.action(0 if t == 0 else 1 + (t - 1) * len(self.states) + int(y), hidden)
        return actions


def _as_array(beliefs: Any) -> Floats:
    return beliefs if isinstance(beliefs, np.ndarray) else np.asarray(beliefs.toarray())


def _same_shape(pomdp: POMDP, other: POMDP) -> None:
    here, there = ((p.n_states, p.n_actions, p.n_observations, _Places(p).count) for p in (pomdp, other))
    if here != there:
        raise ModelError(
            f"the policy is for another model: (states, actions, observations, values seen) {there}, expected {here}"
        )


def horizon_of(pomdp: POMDP, policy: Policy) -> float:
    """Actions after which all is over."""
    if isinstance(policy, FiniteHorizonPolicy):
        return policy.horizon
    if isinstance(policy, EpochPolicy):
        return (policy.model.n_nodes - 1) // _Places(pomdp).count
    return math.inf if pomdp.horizon is None else pomdp.horizon


def _steps(pomdp: POMDP, policy: Policy, steps: int | None, truncation: float) -> int:
    horizon = horizon_of(pomdp, policy)
    if steps is not None:
        if not 1 <= checks.whole("steps", steps, 1) <= horizon:
            raise ModelError(f"steps must lie in 1 … {horizon:g}, got {steps}")
        return steps
    if horizon < math.inf:
        return int(horizon)
    if pomdp.discount == 1.0:
        raise ModelError("with a discount of 1 and no horizon, steps must be given")
    if not checks.real("truncation", truncation) > 0.0:
        raise ModelError(f"truncation must be above 0, got {truncation}")
    whole = _worth_after(pomdp, 0)
    return 1 if whole <= truncation else math.ceil(math.log(truncation / whole) / math.log(pomdp.discount))


def _worth_after(pomdp: POMDP, steps: int) -> float:
    """Bound on what all steps after so many are worth, without an end."""
    largest = float(np.abs(pomdp.reward).max())
    if largest == 0.0:
        return 0.0
    return math.inf if pomdp.discount == 1.0 else pomdp.discount**steps * largest / (1.0 - pomdp.discount)


def _rewards(pomdp: POMDP, action: Ints, state: Ints, after: Ints, observation: Ints) -> Floats:
    if pomdp.rewards is None:
        return np.asarray(pomdp.reward[action, state])
    rewards = pomdp.rewards.at(action, state, after, observation)
    rewards[pomdp.terminal[state]] = 0.0
    return rewards
