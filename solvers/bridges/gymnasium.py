"""Any POMDP as a Gymnasium environment, for the learners that speak to one."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

from solvers.bridges.draws import Rows
from solvers.errors import ModelError
from solvers.pomdp import POMDP


class PomdpEnvironment(gymnasium.Env[Any, Any]):
    """An agent acts by the numbers of actions, and sees the numbers of observations.

    An episode is terminated where the POMDP is over (`POMDP.terminal`) and truncated after `limit` actions. Rewards are
    those of outcomes, not their expectation, and are not discounted.

    Parameters
    ----------
    pomdp : POMDP
    limit : int, optional
        Actions after which an episode is truncated; by default the POMDP's horizon, or none.
    beliefs : bool
        Whether `info` has the belief, by Bayes' rule, as "belief", shape (S,).
    render_mode : {"ansi"}, optional
        With it, `render` says in a line what happened last.

    Attributes
    ----------
    action_space : gymnasium.spaces.Discrete
        A actions.
    observation_space : gymnasium.spaces.Discrete
        O + 1 observations: number O is what `reset` shows, for nothing is seen before the first action. Where a factor
        of the state is fully observed (`POMDP.observed`, Y values), observation o beside value y is o·Y + y, and
        `reset` shows O·Y + y.

    Notes
    -----
    `info` has the true state as "state", for those who evaluate; no agent should look at it. Chance comes from the
    environment's own generator alone: ``reset(seed=…)`` makes an episode repeat.

    Raises
    ------
    ModelError
        If the limit is below 1, or the render mode is none of those.

    Examples
    --------
    >>> from solvers.examples import tiger
    >>> environment = PomdpEnvironment(tiger(), limit=20, render_mode="ansi")
    >>> environment.reset(seed=1)
    (2, {'state': 1})
    >>> environment.step(0)
    (0, -1.0, False, False, {'state': 1})
    >>> environment.render()
    'tiger-right: listen, then tiger-right, hear-left, reward -1'
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self, pomdp: POMDP, *, limit: int | None = None, beliefs: bool = False, render_mode: str | None = None
    ) -> None:
        self.pomdp = pomdp
        self.limit = pomdp.horizon if limit is None else limit
        if self.limit is not None and self.limit < 1:
            raise ModelError(f"limit must be at least 1, got {limit}")
        if render_mode not in (None, "ansi"):
            raise ModelError(f"render_mode must be 'ansi' or None, got {render_mode!r}")
        self.beliefs = beliefs
        self.render_mode = render_mode
        self._values = 1 if pomdp.observed is None else int(pomdp.observed.max()) + 1
        self.action_space = Discrete(pomdp.n_actions)
        self.observation_space = Discrete((pomdp.n_observations + 1) * self._values)
        self._moves = [Rows(matrix) for matrix in pomdp.transition]
        self._shows = [Rows(matrix) for matrix in pomdp.observation]
        self._state = -1
        self._steps = 0
        self._belief = pomdp.start
        self._line = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Draw a first state; see `gymnasium.Env.reset`. There are no options."""
        super().reset(seed=seed)
        p = self.pomdp
        self._state = int(self.np_random.choice(p.n_states, p=p.start))
        self._steps = 0
        self._belief = self._known(p.start)
        self._line = f"{p.states[self._state]}: nothing seen yet"
        return self._sight(p.n_observations), self._info()

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Act; see `gymnasium.Env.step`.

        Raises
        ------
        ModelError
            If the action is no number of one, or `reset` was not called.
        """
        if self._state < 0:
            raise ModelError("an episode starts with reset()")
        if not self.action_space.contains(action):
            raise ModelError(f"action must lie in 0 … {self.pomdp.n_actions - 1}, got {action!r}")
        p, a, before = self.pomdp, int(action), self._state
        self._state = self._moves[a].column(before, self.np_random.random())
        seen = self._shows[a].column(self._state, self.np_random.random())
        reward = float(p.reward[a, before])
        if p.rewards is not None:
            reward = float(p.rewards.at(*np.array([[a], [before], [self._state], [seen]]))[0])
        if self.beliefs:
            self._belief = self._known(p.update(self._belief, a, seen)[0])
        self._steps += 1
        self._line = (
            f"{p.states[before]}: {p.actions[a]}, then {p.states[self._state]}, {p.observations[seen]}, "
            f"reward {reward:g}"
        )
        truncated = self.limit is not None and self._steps >= self.limit
        return self._sight(seen), reward, bool(p.terminal[self._state]), truncated, self._info()

    def render(self) -> str | None:
        """Say what happened last, in render mode "ansi"."""
        return self._line if self.render_mode == "ansi" else None

    def _sight(self, observation: int) -> int:
        value = 0 if self.pomdp.observed is None else int(self.pomdp.observed[self._state])
        return observation * self._values + value

    def _known(self, belief: np.ndarray) -> np.ndarray:
        """Belief given the observed factor, too."""
        if self.pomdp.observed is None:
            return belief
        there = np.where(self.pomdp.observed == self.pomdp.observed[self._state], belief, 0.0)
        return np.asarray(there / there.sum())

    def _info(self) -> dict[str, Any]:
        return {"state": self._state, **({"belief": self._belief.copy()} if self.beliefs else {})}
