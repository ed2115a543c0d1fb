"""Routing as a Gymnasium environment, for any learner that speaks to one: ``TrimRouting-v0``.

Importing this module registers it::

    import gymnasium, trim_pomdp.learning.environment
    environment = gymnasium.make("TrimRouting-v0", preset="lab-loop.prm")
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.learning.budgets import price_range
from trim_pomdp.learning.courses import Course, Moment, SimulatedCourse
from trim_pomdp.model.evidence import SCORE_CLIP
from trim_pomdp.policies.networks import STEP_FEATURES, StepFeature, raw_rows
from trim_pomdp.policies.trim_agg import AGG_FEATURES

Observation = NDArray[np.float32]
_MOST_TOKENS = 1e6


class TrimRoutingEnv(gymnasium.Env[Observation, np.int64]):
    """An episode is a problem at a price λ, drawn log-uniformly; at each weak step keep (0) or regenerate (1).

    The reward of a step is −(λ/R) · its strong tokens, R the reward of a right answer, and 1 more if the solution ends
    there and is right. Gymnasium's `info` has what agents do not see: ``tradeoff`` λ, ``strong_tokens``, ``true_class``
    of the weak step where it is known, ``right`` once it is.

    Parameters
    ----------
    course : Course or None
        Where problems come from, such as `trim_pomdp.learning.courses.LiveCourse`.
    preset : str or None
        In its place the name of a preset, whose model problems are drawn from.
    features : tuple of str
        What is seen of a step (`trim_pomdp.policies.networks.RouterNetwork`); log λ/R comes last.
    prices : tuple of two floats or None
        Range of λ; None, with a preset: `price_range` of its model.

    Attributes
    ----------
    observation_space : gymnasium.spaces.Box
        float32 of shape (features + 1,); scores as log-odds. Behind the last step the features are 0.
    action_space : gymnasium.spaces.Discrete
        2 actions.

    Raises
    ------
    InputError
        Unless either a course, with prices, or a preset is given; or if prices do not rise from above 0.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self,
        course: Course | None = None,
        *,
        preset: str | None = None,
        features: tuple[StepFeature, ...] = AGG_FEATURES,
        prices: tuple[float, float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if (course is None) == (preset is None):
            raise InputError("give a course, or the name of a preset, one of the two")
        if preset is not None:
            from trim_pomdp.presets.store import load_preset

            model = load_preset(preset).routing_model()
            course, prices = SimulatedCourse(model), prices or price_range(model)
        if prices is None or not 0.0 < prices[0] < prices[1]:
            raise InputError(f"prices are {prices}; expected 0 < lowest < highest")
        unknown = sorted(set(features) - set(STEP_FEATURES))
        if unknown or not features:
            raise InputError(f"features {', '.join(unknown) or 'are none'}; there are {', '.join(STEP_FEATURES)}")
        assert course is not None
        self._course, self._features, self.render_mode = course, features, render_mode
        self._prices = (prices[0] / course.reward, prices[1] / course.reward)
        odds = float(np.log1p(-SCORE_CLIP) - np.log(SCORE_CLIP)) + 1e-3
        bounds = {
            "score": (-odds, odds), "minimum": (-odds, odds), "tokens": (0.0, _MOST_TOKENS),
            "step": (0.0, float(course.max_steps)), "ended": (0.0, 1.0), "regenerated": (0.0, 1.0),
        }  # fmt: skip
        logs = (np.log(self._prices[0]) - 1e-3, np.log(self._prices[1]) + 1e-3)
        low, high = np.array([*(bounds[name] for name in features), logs], dtype=np.float32).T
        self.observation_space = Box(low, high, dtype=np.float32)
        self.action_space = Discrete(2)
        self._price, self._moment, self._last = 1.0, Moment(None), "not begun"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A problem; ``options={"tradeoff": λ}`` fixes its price.

        Raises
        ------
        InputError
            If that price is out of the range.
        """
        super().reset(seed=seed)
        low, high = self._prices
        self._price = float(np.exp(self.np_random.uniform(np.log(low), np.log(high))))
        if options and (asked := options.get("tradeoff")) is not None:
            self._price = float(asked) / self._course.reward
            if not low * (1 - 1e-9) <= self._price <= high * (1 + 1e-9):
                raise InputError(f"tradeoff is {asked}; expected one from {low * self._course.reward:g} to "
                                 f"{high * self._course.reward:g}")  # fmt: skip
        self._moment = self._course.begin(self.np_random)
        self._last = "begun"
        return self._observation(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Keep or regenerate.

        Raises
        ------
        InputError
            If the problem is over, or the action is none.
        """
        if self._moment.columns is None:
            raise InputError("the problem is over; reset the environment")
        if action not in (0, 1):
            raise InputError(f"action is {action}; expected 0 (keep) or 1 (regenerate)")
        self._moment = self._course.act(bool(action))
        reward = float(self._moment.right or 0.0) - self._price * self._moment.strong_tokens
        self._last = f"{'regenerated' if action else 'kept'}, reward {reward:.4g}"
        return self._observation(), reward, self._moment.columns is None, False, self._info()

    def render(self) -> str | None:
        """A line on what happened last, where the render mode is ``ansi``."""
        return self._last if self.render_mode == "ansi" else None

    def _observation(self) -> Observation:
        columns = self._moment.columns
        if columns is None:
            out = np.zeros(len(self._features) + 1, dtype=np.float32)
            out[-1] = np.log(self._price)
            return out
        return np.asarray(raw_rows(self._features, columns, np.array([self._price]))[0], dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        return {
            "tradeoff": self._price * self._course.reward,
            "strong_tokens": self._moment.strong_tokens,
            "true_class": self._moment.true_class,
            "right": self._moment.right,
        }


gymnasium.register(id="TrimRouting-v0", entry_point="trim_pomdp.learning.environment:TrimRoutingEnv")
