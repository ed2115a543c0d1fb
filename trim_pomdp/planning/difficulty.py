"""Types of problems that nobody tells the router, easy and hard: the best plan, and what knowing would be worth.

A type is a routing model of its own, with its own p_w, p_s, p_r, … All types are seen through the same observation bins
and take the same actions. The hidden states of the model with the type hidden are the direct sum of theirs: a solution
of an easy problem never becomes one of a hard problem, and the belief over types is learned from the evidence of the
steps so far. Two types have four hidden states, which `solvers.solve_epochs` takes in seconds.

Two comparisons, both certified by bounds: with the types *known* (one plan for each, chosen by an oracle), which can
only be worth more; and with the *pooled* model, which is what a fit that knows no types finds in solutions that the
router leaves alone, whose plan can only be worth less where types are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers import EpochModel, EpochSolution, solve_epochs
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel, Spending

FloatArray = NDArray[np.float64]


class Bracket(NamedTuple):
    """A number lies between these two."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Worth:
    """What plans are worth at one price, in units of the reward per problem, and the plans.

    Attributes
    ----------
    hidden : EpochSolution
        With the type hidden; its policy graph attains `hidden.lower`.
    known : tuple of EpochSolution
        With each type known.
    pooled : EpochSolution
        In the pooled model, where its bounds hold; what its plan is worth where types are true is `pooled_value`.
    weights : tuple of float
        Share of each type.
    pooled_components : array, shape (D,)
        Expected reward components of the pooled plan where types are true, exactly.
    """

    hidden: EpochSolution
    known: tuple[EpochSolution, ...]
    pooled: EpochSolution
    weights: tuple[float, ...]
    pooled_components: FloatArray

    @property
    def pooled_value(self) -> float:
        """Value of the pooled plan where types are true, exactly."""
        return float(self.pooled_components @ self.hidden.weights)

    @property
    def knowing(self) -> Bracket:
        """What knowing the type beforehand would add to the best plan with the type hidden, Σ wᵢ Vᵢ - V."""
        lower = sum(w * solution.lower for w, solution in zip(self.weights, self.known, strict=True))
        upper = sum(w * solution.upper for w, solution in zip(self.weights, self.known, strict=True))
        return Bracket(lower - self.hidden.upper, upper - self.hidden.lower)

    @property
    def minding(self) -> Bracket:
        """What the best plan with the type hidden adds to the pooled plan, which does not mind types."""
        return Bracket(self.hidden.lower - self.pooled_value, self.hidden.upper - self.pooled_value)


@dataclass(frozen=True)
class DifficultyTypes:
    """Types of problems with the share of each.

    Parameters
    ----------
    models : sequence of RoutingModel
        Each with the same observation bins, number of steps, reward components and reward.
    weights : sequence of float
        Share of problems of each type, positive; they sum to one.

    Raises
    ------
    InputError
        If there is no type, shares are none, or the models do not go together.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> from trim_pomdp.planning.difficulty import DifficultyTypes
    >>> easy = tp.load_preset("lab-loop").routing_model()
    >>> hard = tp.RoutingModel(easy.observations, easy.dynamics.model_copy(update={"repair": 0.3}))
    >>> types = DifficultyTypes([easy, hard], [0.6, 0.4])
    >>> types.hidden.n_states, types.pooled.n_states
    (4, 2)
    """

    models: Sequence[RoutingModel]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        shares = np.asarray(self.weights, dtype=np.float64)
        if len(self.models) == 0 or shares.shape != (len(self.models),):
            raise InputError(f"{len(self.models)} types and {shares.size} shares; expected one share for each type")
        if not (shares > 0).all() or abs(shares.sum() - 1.0) > 1e-9:
            raise InputError(f"shares of types are {shares.tolist()}; expected positive numbers that sum to 1")
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "weights", tuple(shares.tolist()))
        if len({model.reward for model in self.models}) > 1:
            raise InputError("types differ in the reward of a right answer")
        first = self.models[0].epoch_model
        for model in self.models[1:]:
            _go_together(first, model.epoch_model)

    @cached_property
    def hidden(self) -> EpochModel:
        """The model with the type hidden, whose hidden states are those of the types, one type after the other."""
        parts = [model.epoch_model for model in self.models]
        first = parts[0]
        places = np.cumsum([0, *(part.n_states for part in parts)])
        T, K, A, O = first.joint.shape[:4]  # noqa: E741
        S, D = int(places[-1]), first.n_components
        joint, reward = np.zeros((T, K, A, O, S, S)), np.zeros((T, K, A, S, D))
        terminal, start = np.zeros((first.n_nodes, S, D)), np.zeros(S)
        for i, (part, share) in enumerate(zip(parts, self.weights, strict=True)):
            own = slice(places[i], places[i + 1])
            joint[..., own, own], reward[..., own, :] = part.joint, part.reward
            terminal[:, own], start[own] = part.terminal, share * part.start
        return _of(first, joint, reward, terminal, start, _successor(parts))

    @cached_property
    def pooled(self) -> EpochModel:
        """The model that knows no types; at each step and in each hidden state it has their mean among kept solutions.

        The share of types changes on the way: few solutions of hard problems are still right late. In this model it
        does so as in solutions that the router leaves alone, which is what models are fitted on; a belief over types
        is not in it.
        """
        parts = [model.epoch_model for model in self.models]
        first = parts[0]
        if len({part.n_states for part in parts}) > 1:
            raise InputError("types with different hidden states have no pooled model")
        shares = _shares_when_kept(parts, self.weights)  # (types, tables, states)
        joint = sum(np.einsum("tkaosz,ts->tkaosz", part.joint, w) for part, w in zip(parts, shares, strict=True))
        reward = sum(np.einsum("tkasd,ts->tkasd", part.reward, w) for part, w in zip(parts, shares, strict=True))
        start = sum(share * part.start for part, share in zip(parts, self.weights, strict=True))
        return _of(first, np.asarray(joint), np.asarray(reward), first.terminal, np.asarray(start), _successor(parts))

    def worth(self, price: float, over: Spending = "strong_tokens", *, gap: float | None = None) -> Worth:
        """Plan at a price with the type hidden, with each type known, and for the pooled model.

        Parameters
        ----------
        price : float
            Of a strong token, or a unit of money, in units of reward.
        over : {"strong_tokens", "money"}
        gap : float, optional
            Of every plan; by default 1e-4 of the reward.
        """
        model = self.models[0]
        w = model.weights(price, over)
        gap = 1e-4 * model.reward if gap is None else gap
        pooled = solve_epochs(self.pooled, w, gap=gap)
        return Worth(
            hidden=solve_epochs(self.hidden, w, gap=gap),
            known=tuple(solve_epochs(one.epoch_model, w, gap=gap) for one in self.models),
            pooled=pooled,
            weights=tuple(self.weights),
            pooled_components=pooled.graph.evaluate(self.hidden),
        )


def _go_together(first: EpochModel, other: EpochModel) -> None:
    """Raise unless both have the same signals, actions, observations, steps and reward components."""
    for what, here, there in (
        ("steps", first.n_nodes - 1, other.n_nodes - 1),
        ("signals", first.n_signals, other.n_signals),
        ("actions", first.actions, other.actions),
        ("observations", first.n_observations, other.n_observations),
        ("reward components", first.component_names, other.component_names),
    ):
        if here != there:
            raise InputError(f"types differ in {what}: {here} and {there}")
    if not (np.array_equal(first.table_of, other.table_of) and np.array_equal(first.children, other.children)):
        raise InputError("types differ in which step follows which")
    both = _happens(first) & _happens(other)
    if (both & (first.successor != other.successor)).any():
        raise InputError("types differ in what follows a signal, an action and an observation")


def _happens(model: EpochModel) -> NDArray[np.bool_]:
    """Whether signal and observation can occur, shape (T, K, A, O)."""
    return np.asarray(model.joint.any(axis=(4, 5)))


def _successor(parts: Sequence[EpochModel]) -> NDArray[np.int64]:
    """Which child follows: of a type in which that can happen."""
    out = parts[0].successor
    for part in parts[1:]:
        out = np.where(_happens(part), part.successor, out)
    return out


def _of(
    first: EpochModel,
    joint: FloatArray,
    reward: FloatArray,
    terminal: FloatArray,
    start: FloatArray,
    successor: NDArray[np.int64],
) -> EpochModel:
    return EpochModel(
        joint=joint,
        reward=reward,
        successor=successor,
        children=first.children,
        table_of=first.table_of,
        terminal=terminal,
        start=start,
        discount=first.discount,
        component_names=first.component_names,
        actions=first.actions,
    )


def _shares_when_kept(parts: Sequence[EpochModel], weights: Sequence[float]) -> FloatArray:
    """Share of each type among solutions that are kept, by table and hidden state, shape (types, T, S).

    Where no solution gets to, that of the start.
    """
    T, S = len(parts[0].joint), parts[0].n_states
    mass = np.zeros((len(parts), T, S))
    for i, (part, share) in enumerate(zip(parts, weights, strict=True)):
        here = np.zeros((part.n_nodes, S))
        here[0] = share * part.start
        for node, table in enumerate(part.table_of):
            if table < 0:
                continue
            mass[i, table] += here[node]
            moved = np.einsum("s,kosz->koz", here[node], part.joint[table, :, 0])
            np.add.at(here, part.children[node][part.successor[table, :, 0]], moved)
    total = mass.sum(axis=0)
    shares = np.broadcast_to(np.asarray(weights)[:, None, None], mass.shape)
    return np.asarray(np.divide(mass, total, out=shares.copy(), where=total > 0))
