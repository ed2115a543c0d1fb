r"""The routing POMDP: observations × dynamics, as a model that the solver takes.

Before the score of step t is seen, all of the past that matters is q, the probability that the prefix is right.
The hidden part has two states (prefix right, derailed), step and end are observed. An epoch opens with a signal
k = (observation bin j, whether the weak step ends the solution), then the router keeps or regenerates:

.. math::
    P(j, \text{goes on}, S_0 \mid \text{right}) = p_{w,t} E_0(j)(1 - h_t), \qquad
    P(j, \text{goes on}, S_2 \mid \text{right}) = (1 - p_{w,t}) E_2(j)(1 - h''_t), \qquad
    P(j, \text{goes on}, S_1 \mid \text{derailed}) = E_1(j)(1 - h'_t),

likewise with the hazard itself where the step ends the solution. Keeping leaves the prefix right in class S0 only;
regenerating makes it right with probability p_s in S0 and p_r in S2; either makes it right again with the small
probability ρ_t of a recovery in S1. A regenerated step ends the solution iff the weak one did, but where it repairs or
spoils the prefix, whose hazard is another one then (`trim_pomdp.model.belief.outcome_table`): so an epoch closes with
the observation whether the solution goes on. Reward components are kept apart (accuracy, strong tokens, regenerations,
…); their weights are (reward, −λ, 0, …). With a tariff, money is one more of them (`trim_pomdp.model.prices`), and over
money the weights are (reward, 0, …, −μ), μ being the reward that a unit of money is worth.

The whole model, with what it assumes: docs/model.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solvers import EpochModel
from trim_pomdp.artifacts import Provenance
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.belief import GOES_ON, KEEP, OVER, REGENERATE, RIGHT, outcome_table
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.prices import Money, StepCosts, Tariff, mean_step_tokens, money

Spending = Literal["strong_tokens", "money"]
"""What a plan spends: the reward component that has a price."""

FloatArray = NDArray[np.float64]
_COMPONENTS = ("accuracy", "strong_tokens", "regenerations", "kept_tokens", "discarded_tokens", "steps")


@dataclass(frozen=True, repr=False)
class RoutingModel(Shown):
    """A model pair, its PRM, and the reward of a right answer.

    Attributes
    ----------
    observations : ObservationModel
        What scores look like, by class.
    dynamics : StepDynamics
        What the two models do; strong success, repair rate and strong tokens must be known.
    reward : float
        Reward of a right answer; the tradeoff λ prices one strong token in the same units.
    tariff : Tariff or None
        Prices of the models and what they read; with it, what a policy costs in money is known too.

    Raises
    ------
    UnsetParameterError
        If the dynamics leave a parameter unset that planning needs.
    InputError
        If the tariff lacks the price of a model.
    """

    observations: ObservationModel
    dynamics: StepDynamics
    reward: float = 100.0
    tariff: Tariff | None = None

    def __post_init__(self) -> None:
        self.dynamics.require("strong_success", "repair", "strong_tokens")
        if not (np.isfinite(self.reward) and self.reward > 0):
            raise InputError(f"reward is {self.reward}; expected a positive number")
        if not (self.strong_tokens.max() > 0 and self.strong_only_tokens > 0):
            raise InputError(
                f"dynamics {self.dynamics.name!r}: regenerating every step costs no strong token, so a budget means "
                "nothing; set strong_tokens (or strong_only_tokens) above 0"
            )
        if self.tariff is not None:
            self.costs  # noqa: B018  # raises where money cannot be known

    @property
    def name(self) -> str:
        """Names of observations and dynamics, for files."""
        return f"{self.observations.name} × {self.dynamics.name}"

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "observations": self.observations.name,
            "dynamics": self.dynamics.name,
            "reward": self.reward,
            "max_steps": self.dynamics.max_steps,
            "bins": self.observations.n_bins,
            "strong-only tokens": self.strong_only_tokens,
        }

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """Files that observations and dynamics were fitted on."""
        return (*self.observations.provenance, *self.dynamics.provenance)

    @property
    def conditions(self) -> Conditions:
        """Under which the models were observed; the step cap at least is known."""
        return (self.dynamics.conditions or Conditions()) | Conditions(max_steps=self.dynamics.max_steps)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the reward components; token kinds that the dynamics do not know are left out."""
        if self.dynamics.weak_tokens is None:
            return tuple(name for name in _COMPONENTS if name not in ("kept_tokens", "discarded_tokens"))
        return _COMPONENTS if self.tariff is None else (*_COMPONENTS, "money")

    @property
    def strong_success(self) -> float:
        """p_s."""
        return _known(self.dynamics.strong_success)

    @property
    def repair(self) -> float:
        """p_r."""
        return _known(self.dynamics.repair)

    @cached_property
    def emission(self) -> FloatArray:
        """P(observation bin | S0, S1, S2) for this weak model, shape (3, J)."""
        return self.observations.class_emission(self.dynamics)

    @cached_property
    def strong_tokens(self) -> FloatArray:
        """Mean strong tokens of a regenerated step by class S0, S1, S2, shape (3,)."""
        assert self.dynamics.strong_tokens is not None
        return self.dynamics.strong_tokens.array

    @cached_property
    def weak_tokens(self) -> FloatArray | None:
        """Mean weak tokens of a step by class, shape (3,), or None."""
        return None if self.dynamics.weak_tokens is None else self.dynamics.weak_tokens.array

    @cached_property
    def outcomes(self) -> FloatArray:
        """What follows an action, shape (T, 2, 2, 3, 2, 2), of `trim_pomdp.model.belief.outcome_table`."""
        return outcome_table(self.strong_success, self.repair, self.dynamics.recovery_by_step, self.dynamics.end)

    @cached_property
    def strong_only_tokens(self) -> float:
        """Strong tokens per problem of always regenerating, the unit of the budget."""
        if self.dynamics.strong_only_tokens is not None:
            return self.dynamics.strong_only_tokens
        from trim_pomdp.model.propagation import routing_moments

        moments = routing_moments(
            np.ones((1, 3)),
            self.dynamics.weak_success_by_step,
            self.dynamics.end,
            self.outcomes,
        )
        return float(moments.regenerated[0] @ self.strong_tokens)

    @property
    def needs_score(self) -> bool:
        """Whether a planned policy looks at the PRM's score, so that its reading costs money."""
        evidence = self.observations.evidence
        return evidence is None or evidence.needs_score

    @cached_property
    def accepted_tokens(self) -> FloatArray:
        """Mean tokens that a step adds to the solution, by action and class, shape (2, 3); 0 where not known."""
        return np.stack([np.zeros(3) if self.weak_tokens is None else self.weak_tokens, self.strong_tokens])

    @cached_property
    def step_tokens(self) -> float:
        """Mean tokens that a step adds to solutions, as plans over money have it.

        That of the tariff, or else where the strong model rewrites first errors and nothing else.
        """
        assert self.tariff is not None
        if self.tariff.step_tokens is not None:
            return self.tariff.step_tokens
        from trim_pomdp.model.propagation import course

        dynamics = self.dynamics
        first_errors = np.array([0.0, 0.0, 1.0])
        tokens = self.accepted_tokens
        by_step = course(first_errors, dynamics.weak_success_by_step, dynamics.end, self.outcomes, tokens)
        return mean_step_tokens(by_step)

    @cached_property
    def costs(self) -> StepCosts:
        """Money of a step by step, action and class, for every purpose, as plans over money have it.

        Raises
        ------
        InputError, UnsetParameterError
            If there is no tariff, a price that is needed is not known, or weak tokens are not.
        """
        if self.tariff is None:
            raise InputError(f"no prices are given, so what {self.name} costs in money is not known")
        self.dynamics.require("weak_tokens")
        return StepCosts.of(
            self.tariff, self.accepted_tokens, self.step_tokens, self.dynamics.max_steps, self.needs_score
        )

    def money(self, course: FloatArray, *, drafted: bool, scored: bool) -> Money:
        """Expected money of what `trim_pomdp.policies.Rule.course` says of a policy (`trim_pomdp.model.prices.money`).

        Raises
        ------
        InputError, UnsetParameterError
            As `costs`.
        """
        self.costs  # noqa: B018  # raises where money is not known
        assert self.tariff is not None
        return money(self.tariff, course, self.accepted_tokens, drafted=drafted, scored=scored)

    def weights(self, price: float, over: Spending = "strong_tokens") -> FloatArray:
        """Weights of the reward components where a strong token, or a unit of money, has a price; shape (D,).

        Raises
        ------
        InputError
            If the price is negative or not finite, or money is meant and no tariff is there.
        """
        if not (np.isfinite(price) and price >= 0):
            what = "strong token, at least 0" if over == "strong_tokens" else "unit of money, at least 0"
            raise InputError(f"tradeoff is {price}; expected a price of one {what}")
        if over == "money":
            self.costs  # noqa: B018  # raises where money is not known
        out = np.zeros(len(self.components))
        out[0], out[self.components.index(over)] = self.reward, -price
        return out

    @cached_property
    def epoch_model(self) -> EpochModel:
        """The POMDP, with one node a step and a terminal one; signals j (goes on) and J + j (ends), j by score.

        Whether the solution then goes on is the observation.
        """
        T, J = self.dynamics.max_steps, self.emission.shape[1]
        names = self.components
        joint = np.zeros((T, 2 * J, 2, 2, 2, 2))
        reward = np.zeros((T, 2 * J, 2, 2, len(names)))
        successor = np.ones((T, 2 * J, 2, 2), dtype=np.int64)
        for t in range(T):
            by_class = self._signal_probabilities(t)
            for action in (KEEP, REGENERATE):
                for ended, signals in ((GOES_ON, slice(J)), (OVER, slice(J, None))):
                    outcomes = self.outcomes[t, ended, action]
                    joint[t, signals, action] = np.einsum("sjc,cop->josp", by_class[:, signals], outcomes)
                    if outcomes[:, GOES_ON].any():
                        successor[t, signals, action, GOES_ON] = 0
                for d, name in enumerate(names):
                    of_class = self.costs.total[t, action] if name == "money" else self._class_reward(name, action)
                    reward[t, :, action, :, d] = (by_class @ of_class).T
        terminal = np.zeros((T + 1, 2, len(names)))
        terminal[T, RIGHT, 0] = 1.0
        return EpochModel(
            joint=joint,
            reward=reward,
            successor=successor,
            children=np.array([[min(t + 1, T), T] for t in range(T + 1)]),
            table_of=np.append(np.arange(T), -1),
            terminal=terminal,
            start=np.array([1.0, 0.0]),
            component_names=names,
            actions=("keep", "regenerate"),
        )

    def _signal_probabilities(self, t: int) -> FloatArray:
        """P(signal, class | hidden state) at step index t, shape (2, 2J, 3)."""
        success = self.dynamics.weak_success_by_step[t]
        prior = np.array([[success, 0.0, 1.0 - success], [0.0, 1.0, 0.0]])
        end = self.dynamics.end[t]
        by_bin = prior[:, None, :] * self.emission.T[None]
        return np.concatenate([by_bin * (1.0 - end), by_bin * end], axis=1)

    def _class_reward(self, name: str, action: int) -> FloatArray:
        """Immediate reward of an action in one component, by class, shape (3,)."""
        regenerates = float(action == REGENERATE)
        if name == "strong_tokens":
            return regenerates * self.strong_tokens
        if name == "regenerations":
            return np.full(3, regenerates)
        if name == "steps":
            return np.ones(3)
        if name == "accuracy":
            return np.zeros(3)
        assert self.weak_tokens is not None
        return (regenerates if name == "discarded_tokens" else 1.0 - regenerates) * self.weak_tokens


def _known(value: float | None) -> float:
    if value is None:
        raise UnsetParameterError("a parameter of the strong model is unset")
    return value
