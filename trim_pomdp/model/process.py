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
spoils the prefix, whose hazard is another one then (`trim_pomdp.model.actions.regenerate`): so an epoch closes with
the observation whether the solution goes on. Further actions are tables like these (`trim_pomdp.model.actions`); with
one that asks the weak model again there is an epoch for every draft of a step, and a third hidden state.

Reward components are kept apart (accuracy, strong tokens, regenerations, …); their weights are (reward, −λ, 0, …). With
a tariff, money is one more of them (`trim_pomdp.model.prices`), and over money the weights are (reward, 0, …, −μ), μ
being the reward that a unit of money is worth.

The whole model, with what it assumes: docs/model.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solvers import EpochModel
from trim_pomdp.artifacts import Provenance
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.actions.base import AGAIN, KEEP, NEXT, REGENERATE, Action, StepLaw, actions_of, names_of
from trim_pomdp.model.actions.tables import ActionTables
from trim_pomdp.model.belief import RIGHT
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.prices import Money, StepCosts, Tariff, mean_step_tokens, money
from trim_pomdp.model.propagation import Course, memoryless_course, routing_moments
from trim_pomdp.model.redrafts import FIRST_DRAFT, DraftLaw, DraftPlace, tilted

Spending = Literal["strong_tokens", "money"]
"""What a plan spends: the reward component that has a price."""

FloatArray = NDArray[np.float64]
DEFAULT_ACTIONS = ("keep", "regenerate")
REDRAFT_PRICE = 0.003
MAX_DRAFTS = 2  # with more, plans of the lab spent more than they said (docs/results.md)


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
    actions : tuple of str
        What plans may do with a weak step (`trim_pomdp.model.actions`); sorted by their codes.
    max_drafts : int
        Drafts of one step at most, the first among them, in plans that may ask for another.
    redraft_price : float
        What another draft costs in plans over strong tokens, of which it takes none, as a share of the reward: it must
        make a right answer likelier by as much. Plans over money price its tokens instead.

    Raises
    ------
    UnsetParameterError
        If the dynamics leave a parameter unset that planning needs.
    InputError
        If the tariff lacks the price of a model, or the actions are no set to choose from.
    """

    observations: ObservationModel
    dynamics: StepDynamics
    reward: float = 100.0
    tariff: Tariff | None = None
    actions: tuple[str, ...] = DEFAULT_ACTIONS
    max_drafts: int = MAX_DRAFTS
    redraft_price: float = REDRAFT_PRICE

    def __post_init__(self) -> None:
        chosen = actions_of(self.actions)
        object.__setattr__(self, "actions", names_of(chosen))
        needs = [name for action in chosen for name in action.needs]
        self.dynamics.require("strong_success", "repair", "strong_tokens")
        self.dynamics.require(*needs)
        if self.max_drafts < 2 and any(action.is_judged_again for action in chosen):
            raise InputError(f"max_drafts is {self.max_drafts}; expected at least 2 for plans that draft steps again")
        if not 0.0 <= self.redraft_price < np.inf:
            raise InputError(f"redraft_price is {self.redraft_price}; expected a share of the reward, at least 0")
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
            "actions": None if self.actions == DEFAULT_ACTIONS else ", ".join(self.actions),
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
    def chosen(self) -> tuple[Action, ...]:
        """The actions themselves, by code."""
        return actions_of(self.actions)

    @property
    def drafts(self) -> int:
        """Most drafts of one step, `max_drafts` where plans may ask for another, else 1."""
        return self.max_drafts if any(action.is_judged_again for action in self.chosen) else 1

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the reward components; token kinds that the dynamics do not know are left out."""
        names = ["accuracy", "strong_tokens", "regenerations"]
        names += ["redrafts"] * (self.drafts > 1)
        names += ["kept_tokens", "discarded_tokens"] * (self.dynamics.weak_tokens is not None)
        names += ["steps"]
        names += ["money"] * (self.dynamics.weak_tokens is not None and self.tariff is not None)
        return tuple(names)

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
    def emission_again(self) -> FloatArray:
        """The same of drafts of another text than the first."""
        return tilted(self.emission, self.dynamics.redraft_tilt)

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
    def law(self) -> StepLaw:
        """What the two models do, as arrays."""
        dynamics = self.dynamics
        return StepLaw(
            dynamics.weak_success_by_step, self.strong_success, self.repair, dynamics.recovery_by_step, dynamics.end
        )

    @cached_property
    def tables(self) -> ActionTables:
        """What every action of the catalogue does here, whether plans may take it or not."""
        return ActionTables.of(self.law)

    @cached_property
    def tables_again(self) -> ActionTables:
        """The same, of a draft that is another text than the first."""
        dynamics = self.dynamics
        return ActionTables.of(
            replace(self.law, strong_success_here=dynamics.strong_success_again, repair_here=dynamics.repair_again)
        )

    @property
    def outcomes(self) -> FloatArray:
        """P(exit, hidden state | step, end, action, class), of `trim_pomdp.model.actions.tables.ActionTables`."""
        return self.tables.outcomes

    @cached_property
    def strong_only_tokens(self) -> float:
        """Strong tokens per problem of always regenerating, the unit of the budget."""
        if self.dynamics.strong_only_tokens is not None:
            return self.dynamics.strong_only_tokens
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
    def writer_tokens(self) -> FloatArray:
        """Mean tokens of a step by who writes it (weak, strong) and class, shape (2, 3); 0 where not known."""
        return np.stack([np.zeros(3) if self.weak_tokens is None else self.weak_tokens, self.strong_tokens])

    @cached_property
    def accepted_tokens(self) -> FloatArray:
        """Mean tokens that a step adds to a solution that goes on, by action and class, shape (A, 3)."""
        weak, strong = self.writer_tokens
        return self.tables.added(weak, strong)

    @cached_property
    def step_tokens(self) -> float:
        """Mean tokens that a step adds to solutions, as plans over money have it.

        That of the tariff, or else where the strong model rewrites first errors and nothing else.
        """
        assert self.tariff is not None
        if self.tariff.step_tokens is not None:
            return self.tariff.step_tokens
        acts = np.zeros((len(self.tables.keeps), 3))
        acts[KEEP], acts[REGENERATE] = (1.0, 1.0, 0.0), (0.0, 0.0, 1.0)
        return mean_step_tokens(memoryless_course(acts, self.law, self.tables, self.accepted_tokens))

    @cached_property
    def costs(self) -> StepCosts:
        """Money of a decision by action, step, end and class, for every purpose, as plans over money have it.

        Raises
        ------
        InputError, UnsetParameterError
            If there is no tariff, a price that is needed is not known, or weak tokens are not.
        """
        if self.tariff is None:
            raise InputError(f"no prices are given, so what {self.name} costs in money is not known")
        self.dynamics.require("weak_tokens")
        return StepCosts.of(self.tariff, self.tables, self.writer_tokens, self.step_tokens, self.needs_score)

    def money(self, course: Course, *, drafted: bool, scored: bool, step_tokens: float | None = None) -> Money:
        """Expected money of what `trim_pomdp.policies.Rule.course` says of a policy (`trim_pomdp.model.prices.money`).

        Raises
        ------
        InputError, UnsetParameterError
            As `costs`.
        """
        self.costs  # noqa: B018  # raises where money is not known
        assert self.tariff is not None
        return money(
            self.tariff,
            course,
            self.tables,
            self.writer_tokens,
            drafted=drafted,
            scored=scored,
            step_tokens=step_tokens,
        )

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
        if over == "strong_tokens" and self.drafts > 1:
            out[self.components.index("redrafts")] = -self.redraft_price * self.reward
        return out

    @cached_property
    def places(self) -> tuple[DraftPlace, ...]:
        """Nodes of a step, by their numbers; one for its first draft, four for every other one."""
        further = range(1, self.drafts)
        return (FIRST_DRAFT, *(DraftPlace(m, bool(r), e) for m in further for r in range(2) for e in range(2)))

    @cached_property
    def epoch_model(self) -> EpochModel:
        """Routing as a POMDP, with a node for every step and draft (`places`), by step, and a terminal one.

        Signals are j (the draft goes on) and J + j (it ends the solution), j by score; of a draft that is the last one
        word for word there is nothing to see, signal 0. The observation is the exit, and after an action that asks for
        another draft whether that is another text (2) or the same (3). Without further drafts there are two hidden
        states, else three (`trim_pomdp.model.actions.base`).
        """
        T, J, N = self.dynamics.max_steps, self.emission.shape[1], len(self.places)
        H, X, C = (2, 2, 2) if N == 1 else (3, 4, 6)
        K, A, names = 2 * J, len(self.chosen), self.components
        joint = np.zeros((T, N, K, A, X, H, H))
        reward = np.zeros((T, N, K, A, H, len(names)))
        successor = np.ones((T, N, K, A, X), dtype=np.int64)
        successor[..., NEXT] = NEXT
        effects = [self.effect(name) for name in names]
        for t in range(T):
            for n, place in enumerate(self.places):
                by_class = self._signal_probabilities(t, place)[:H]
                looks = np.array([J]) if place.repeated else np.arange(J)
                parts = ((0, slice(J)), (1, slice(J, K)))
                for i, action in enumerate(self.chosen):
                    if action.is_of_former and place.draft > 0 and not place.repeated:
                        # The hidden state is the class of the draft that stands, whatever the new one looks like.
                        outcomes = self.outcomes[t, place.ended, action.code, :, :AGAIN]
                        joint[t, n, :, i, :AGAIN] = np.einsum("skc,sop->kosp", by_class, outcomes)
                        reward[t, n, :, i] = self._recalled(by_class, effects, t, place.ended, action.code)
                        continue
                    # At the last draft there is no other; keeping is left.
                    is_idle = action.is_of_former or (action.is_judged_again and place.draft + 1 == self.drafts)
                    code = KEEP if is_idle else action.code
                    follows = self.outcomes if place.is_first_text else self.tables_again.outcomes
                    for ended, signals in ((place.ended, slice(1)),) if place.repeated else parts:
                        seen, then = by_class[:, signals], follows[t, ended, code, :, :, :H]
                        joint[t, n, signals, i, :AGAIN] = np.einsum("sjc,cop->josp", seen, then[:, :AGAIN])
                        for d, effect in enumerate(effects):
                            reward[t, n, signals, i, :, d] = (seen @ effect[code, t, ended]).T
                        if self.tables.again[code]:
                            same = self.draft_law.same[:, looks]
                            for repeated, share in enumerate((1.0 - same, same)):
                                again = np.einsum("sjc,cj,cp->jsp", seen, share, then[:, AGAIN])
                                joint[t, n, signals, i, AGAIN + repeated] = again
                                successor[t, n, signals, i, AGAIN + repeated] = 2 + 2 * repeated + ended
        node = N * np.arange(T)[:, None] + np.arange(N)  # by step and place
        children = np.full((T, N, C), T * N)
        children[:, :, NEXT] = np.minimum(node[:, :1] + N, T * N)
        for n, place in enumerate(self.places):
            for column in range(2, C):  # of the last draft, none that is reached
                further = DraftPlace(place.draft + 1, column >= 4, column % 2)
                children[:, n, column] = np.minimum(node[:, 0] + further.number, T * N)
        terminal = np.zeros((T * N + 1, H, len(names)))
        terminal[-1, RIGHT, 0] = 1.0
        return EpochModel(
            joint=joint.reshape(T * N, *joint.shape[2:]),
            reward=reward.reshape(T * N, *reward.shape[2:]),
            successor=successor.reshape(T * N, *successor.shape[2:]),
            children=np.append(children.reshape(T * N, C), [[T * N] * C], axis=0),
            table_of=np.append(np.arange(T * N), -1),
            terminal=terminal,
            start=np.eye(H)[RIGHT],
            component_names=names,
            actions=self.actions,
        )

    def _recalled(
        self, by_class: FloatArray, effects: Sequence[FloatArray], t: int, ended: int, code: int
    ) -> FloatArray:
        """What it comes to if the draft before, whose class is the hidden state, stands after all; shape (K, 3, D).

        The new draft is discarded, and that one is not.
        """
        asking = next(action.code for action in self.chosen if action.is_judged_again)
        shown, J = by_class.sum(axis=2), self.emission.shape[1]  # (3, K): P(signal | class of the draft before)
        out = np.empty((*shown.T.shape, len(effects)))
        for d, effect in enumerate(effects):
            out[..., d] = (shown * (effect[code, t, ended] - effect[asking, t, ended])[:, None]).T
            for now, signals in ((0, slice(J)), (1, slice(J, None))):
                out[signals, :, d] += (by_class[:, signals] @ effect[asking, t, now]).T
        return out

    @cached_property
    def draft_law(self) -> DraftLaw:
        """What drafts after the first are."""
        return self.dynamics.draft_law(self.drafts, self.emission)

    def _signal_probabilities(self, t: int, place: DraftPlace) -> FloatArray:
        """P(signal, class | hidden state) at step index t, shape (3, K, 3).

        Of a first draft the hidden state is the prefix, right (0, and 2, in which no step begins) or derailed (1).
        """
        end, J = self.dynamics.end[t], self.emission.shape[1]
        if place.repeated:
            return np.concatenate([np.eye(3)[:, None], np.zeros((3, 2 * J - 1, 3))], axis=1)
        first = place.draft == 0
        classes = self.law.class_given_prefix[t, [0, 1, 0]] if first else self.draft_law.other[t, place.draft - 1]
        by_bin = classes[:, None, :] * (self.emission if first else self.emission_again).T[None]
        return np.concatenate([by_bin * (1.0 - end), by_bin * end], axis=1)

    def effect(self, component: str) -> FloatArray:
        """What a decision comes to in one reward component, by action, step, end and class; shape (A, T, 2, 3).

        Accuracy falls due when a solution is over, not here.
        """
        tables = self.tables
        keeps = np.broadcast_to(tables.keeps[:, None, None, None], tables.strong_steps.shape[:-1]).astype(np.float64)
        if component == "accuracy":
            return np.zeros(keeps.shape)
        if component == "strong_tokens":
            return tables.strong(self.strong_tokens)
        if component == "regenerations":
            return tables.strong(np.ones(3))
        if component == "redrafts":
            return np.broadcast_to(tables.again[:, None, None, None], keeps.shape).astype(np.float64)
        if component == "steps":
            return np.asarray(keeps + tables.strong(np.ones(3)))
        if component == "money":
            return self.costs.total
        assert self.weak_tokens is not None
        return np.asarray((keeps if component == "kept_tokens" else 1.0 - keeps) * self.weak_tokens)


def _known(value: float | None) -> float:
    if value is None:
        raise UnsetParameterError("a parameter of the strong model is unset")
    return value
