"""To pomdp-py and back: its problems as POMDPs that are solved here, ours for its planners, our policies in its loops.

pomdp-py (Zheng and Tellex 2020, arXiv 2004.10099) has agents with models that answer questions, and simulations that
ask planners. A `Twin` is one problem on both sides, number by number: `from_pomdp_py` makes it from an agent of
theirs, `to_pomdp_py` from a `solvers.POMDP`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pomdp_py
from numpy.typing import NDArray

from solvers.bridges.enumeration import Report, Tables, belief_of, listed, names, seeded
from solvers.bridges.pomdp_py_models import (
    NumberedAction,
    NumberedObservation,
    NumberedState,
    ObservationTable,
    RewardTable,
    TransitionTable,
    UniformPolicy,
)
from solvers.errors import ModelError
from solvers.policies import FiniteHorizonPolicy
from solvers.pomdp import POMDP


class Acting(Protocol):
    """A policy."""

    def action(self, belief: NDArray[np.float64], /) -> Any:
        """Number of the action at a belief, shape (S,)."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Twin:
    """One problem in both libraries.

    Attributes
    ----------
    pomdp : POMDP
    agent : pomdp_py.Agent
    env : pomdp_py.Environment or None
        None where an agent was given alone.
    states, actions, observations : tuple
        Objects of pomdp-py, in the order of the POMDP's numbers.
    """

    pomdp: POMDP
    agent: Any
    env: Any
    states: tuple[Any, ...]
    actions: tuple[Any, ...]
    observations: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"Twin({self.pomdp!r})"

    @cached_property
    def problem(self) -> Any:
        """Agent and environment together, a `pomdp_py.POMDP`."""
        return pomdp_py.POMDP(self.agent, self.env, name="POMDP")

    @cached_property
    def _numbers(self) -> tuple[dict[Any, int], dict[Any, int], dict[Any, int]]:
        found = ({item: i for i, item in enumerate(items)} for items in (self.states, self.actions, self.observations))
        return tuple(found)  # type: ignore[return-value]

    def belief(self, distribution: Any) -> NDArray[np.float64]:
        """Belief, shape (S,), that a histogram or particles of pomdp-py stand for; normalised.

        Raises
        ------
        ModelError
            If there is a state that the POMDP does not have, or it is no distribution.
        """
        return belief_of(distribution, self._numbers[0])

    def histogram(self, belief: NDArray[np.float64], *, everywhere: bool = False) -> Any:
        """Return a belief, shape (S,), as a `pomdp_py.Histogram`.

        Parameters
        ----------
        belief : array, shape (S,)
        everywhere : bool
            Whether states without probability are in it too. `pomdp_py.update_histogram_belief` knows no other
            states than those of the histogram that it is given; `update` here needs none of them.
        """
        there = range(len(self.states)) if everywhere else np.flatnonzero(belief).tolist()
        return pomdp_py.Histogram({self.states[s]: float(belief[s]) for s in there})

    def update(self, distribution: Any, action: Any, observation: Any) -> Any:
        """Bayes filter, as `pomdp_py.update_histogram_belief`, by sparse matrices; a histogram.

        Raises
        ------
        ModelError
            If the observation cannot occur, or action or observation are none of the POMDP's.
        """
        after, _ = self.pomdp.update(self.belief(distribution), *self.numbers(action, observation))
        return self.histogram(after)

    def numbers(self, action: Any, observation: Any) -> tuple[int, int]:
        """Numbers of an action and an observation.

        Raises
        ------
        ModelError
            If the POMDP does not have them.
        """
        _, of_action, of_observation = self._numbers
        if action not in of_action:
            raise ModelError(f"{action} is no action of the POMDP: {', '.join(self.pomdp.actions)}")
        if observation not in of_observation:
            raise ModelError(f"{observation} is no observation of the POMDP: {', '.join(self.pomdp.observations)}")
        return of_action[action], of_observation[observation]

    def planner(self, policy: Any, *, belief: Literal["agent", "own"] = "agent") -> "PolicyPlanner":
        """Let a policy act in pomdp-py; see `PolicyPlanner`."""
        return PolicyPlanner(self, policy, belief=belief)


class PolicyPlanner(pomdp_py.Planner):
    """A policy of ours as a planner of pomdp-py.

    Parameters
    ----------
    twin : Twin
    policy : object
        Anything with ``action(belief)``, such as an alpha-vector policy, or a solution that has a ``policy``. One for a
        finite horizon counts the steps, as many as `update` is told of.
    belief : {"agent", "own"}
        What it looks at: the agent's belief, a histogram or particles, which whoever runs the loop keeps up to date, as
        for `pomdp_py.POUCT` (`Twin.update` does it by Bayes' rule); or its own, filtered by Bayes' rule in `update`
        from the belief that the agent has when it is first asked.

    Raises
    ------
    ModelError
        If `belief` is neither, or the policy cannot act.
    """

    def __init__(self, twin: Twin, policy: Any, *, belief: Literal["agent", "own"] = "agent") -> None:
        if belief not in ("agent", "own"):
            raise ModelError(f"belief must be 'agent' or 'own', got {belief!r}")
        acting: Any = policy if hasattr(policy, "action") else getattr(policy, "policy", None)
        if not hasattr(acting, "action"):
            raise ModelError(f"a policy, or a solution with one, is needed, not {type(policy).__name__}")
        self.twin = twin
        self.policy: Acting = acting
        self._own = belief == "own"
        self._steps = 0
        self._belief: NDArray[np.float64] | None = None

    def plan(self, agent: Any) -> Any:
        """Action of pomdp-py at the belief."""
        belief = self.twin.belief(agent.belief) if self._belief is None else self._belief
        if self._own:
            self._belief = belief
        policy = self.policy
        if isinstance(policy, FiniteHorizonPolicy):
            return self.twin.actions[policy.action(belief, policy.horizon - self._steps)]
        return self.twin.actions[int(policy.action(belief))]

    def update(self, agent: Any, real_action: Any, real_observation: Any) -> None:
        """Count the step, and filter the own belief, if there is one; the agent's is left as it is.

        Raises
        ------
        ModelError
            If the observation cannot occur.
        """
        self._steps += 1
        if self._own:
            before = self.twin.belief(agent.belief) if self._belief is None else self._belief
            numbers = self.twin.numbers(real_action, real_observation)
            self._belief, _ = self.twin.pomdp.update(before, *numbers)


def from_pomdp_py(
    problem: Any,
    *,
    discount: float,
    states: Sequence[Any] | None = None,
    actions: Sequence[Any] | None = None,
    observations: Sequence[Any] | None = None,
    horizon: int | None = None,
    negligible: float = 1e-8,
    seed: int = 0,
    report: Report | None = None,
) -> Twin:
    """Turn an agent of pomdp-py, whose models answer or draw, into a POMDP.

    States are those that the transition model lists, or else those that the agent's belief can lead to; observations
    likewise. Each row is drawn until it is complete (`solvers.bridges.enumeration`), not asked state by state. Every
    action is taken to be possible in every state.

    Parameters
    ----------
    problem : pomdp_py.Agent or pomdp_py.POMDP
        With transition, observation, reward and policy model; its belief, a histogram or particles, is the start.
    discount : float
        In (0, 1]; pomdp-py's problems have none.
    states, actions, observations : sequence, optional
        Objects of pomdp-py; by default what the models list, or what is found.
    horizon : int, optional
        Number of actions.
    negligible : float
        Outcomes that are no likelier are left out. pomdp-py's own models give impossible ones 1e-9.
    seed : int
        Of the draws, which decide how long it takes and nothing else; global generators are left as they were.
    report : callable, optional
        Called with a line about every second.

    Raises
    ------
    ModelError
        If there are no actions, a model cannot be enumerated, rows do not sum to one (with action, state and sum), a
        reward is drawn by chance, or there is nothing that can be listed.

    Examples
    --------
    >>> from pomdp_py.problems.tiger.tiger_problem import TigerProblem
    >>> twin = from_pomdp_py(TigerProblem.create("tiger-left", 0.5, 0.15), discount=0.95)
    >>> twin
    Twin(POMDP(2 states, 3 actions, 2 observations, discount 0.95))
    """
    agent = getattr(problem, "agent", problem)
    for model in ("transition_model", "observation_model", "reward_model", "policy_model"):
        if getattr(agent, model, None) is None:
            raise ModelError(f"the agent has no {model}, which is needed to enumerate its problem")
    acts = list(actions) if actions is not None else listed(agent.policy_model, "get_all_actions")
    if not acts:
        raise ModelError("the policy model lists no actions (get_all_actions); give actions=")
    told = states if states is not None else listed(agent.transition_model, "get_all_states")
    seen = observations if observations is not None else listed(agent.observation_model, "get_all_observations")
    tables = Tables(agent, acts, told, seen, negligible, report)
    with seeded(seed):
        tables.move()
        reward, paid = tables.rewards()
        shows = tables.show(tables.over(reward))
    pomdp = POMDP(
        transition=tables.matrices(tables.moves, len(tables.states)),
        observation=tables.matrices(shows, len(tables.observations)),
        reward=reward,
        rewards=tables.rules(paid),
        start=belief_of(agent.belief, tables.number),
        discount=discount,
        horizon=horizon,
        states=names(tables.states),
        actions=names(acts),
        observations=names(tables.observations),
    )
    env = getattr(problem, "env", None)
    return Twin(pomdp, agent, env, tuple(tables.states), tuple(acts), tuple(tables.observations))


def to_pomdp_py(pomdp: POMDP) -> Twin:
    """Make a problem of pomdp-py of a POMDP, so that its planners (POUCT, POMCP, …) run on it.

    Its agent believes the start belief, as a histogram over all states; its environment is in a state drawn from there.
    All draws come from Python's `random`, as everywhere in pomdp-py: ``random.seed`` makes runs repeat. Rewards are
    those of (action, state, next state), expected over observations. A fully observed factor becomes part of what is
    observed; states and actions are as they were, so that policies for the POMDP act in the twin as well.

    Examples
    --------
    >>> from solvers.examples import tiger
    >>> twin = to_pomdp_py(tiger())
    >>> vars(twin.states[0])
    {'index': 0, 'name': 'tiger-left'}
    >>> twin.agent.reward_model.sample(twin.states[0], twin.actions[1], twin.states[0])
    -100.0
    """
    shown = _factor_shown(pomdp)
    states = tuple(NumberedState(i, name) for i, name in enumerate(shown.states))
    actions = tuple(NumberedAction(i, name) for i, name in enumerate(shown.actions))
    observations = tuple(NumberedObservation(i, name) for i, name in enumerate(shown.observations))
    moves = TransitionTable(shown.transition, states)
    rewards = RewardTable(pomdp)
    belief = pomdp_py.Histogram(dict(zip(states, shown.start.tolist(), strict=True)))
    agent = pomdp_py.Agent(
        belief,
        policy_model=UniformPolicy(actions),
        transition_model=moves,
        observation_model=ObservationTable(shown.observation, observations),
        reward_model=rewards,
    )
    env = pomdp_py.Environment(belief.random(), transition_model=moves, reward_model=rewards)
    return Twin(shown, agent, env, states, actions, observations)


def _factor_shown(pomdp: POMDP) -> POMDP:
    """The same with a fully observed factor as part of the observations."""
    from scipy.sparse import coo_array

    if pomdp.observed is None:
        return pomdp
    values = int(pomdp.observed.max()) + 1
    cells = [matrix.tocoo() for matrix in pomdp.observation]
    both = [cell.coords[1].astype(np.int64) * values + pomdp.observed[cell.coords[0]] for cell in cells]
    pairs, places = np.unique(np.concatenate(both), return_inverse=True)
    columns = np.split(places.reshape(-1), np.cumsum([len(part) for part in both])[:-1])
    shape = (pomdp.n_states, len(pairs))
    return POMDP(
        transition=pomdp.transition,
        observation=[
            coo_array((cell.data, (cell.coords[0], column)), shape=shape)
            for cell, column in zip(cells, columns, strict=True)
        ],
        reward=pomdp.reward,
        start=pomdp.start,
        discount=pomdp.discount,
        horizon=pomdp.horizon,
        states=pomdp.states,
        actions=pomdp.actions,
        observations=[f"{pomdp.observations[pair // values]}_{pair % values}" for pair in pairs.tolist()],
    )
