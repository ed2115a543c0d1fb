"""Policies for budgets out of a trained network: which λ spends what is evaluated, or else simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate, mix
from trim_pomdp.planning.frontier import check_budget, hull_at, largest_tradeoff, planned_artifact
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.planning.tuning import Tuned, tune
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule, StrategyRule
from trim_pomdp.policies.learned import LearnedRule
from trim_pomdp.policies.networks import RouterNetwork, TrainedRouter
from trim_pomdp.policies.trim_agg import TrimAggRule
from trim_pomdp.policies.trim_seq import TrimSeqRule

PRICES, PROBLEMS = 25, 40_000
_SPREAD = 300.0
_ROUNDING = 1e-9


def price_range(model: RoutingModel) -> tuple[float, float]:
    """Prices λ of a strong token between which all budgets of interest lie: up to where regenerating never pays."""
    highest = largest_tradeoff(model)
    return highest / _SPREAD, highest


def rule_at(network: RouterNetwork, tradeoff: float, reward: float = 100.0) -> LearnedRule:
    """The network as a rule, at a price."""
    kind = TrimAggRule if network.architecture == "mlp" else TrimSeqRule
    return kind(network=network, tradeoff=tradeoff, reward=reward)


@dataclass(frozen=True)
class LearnedFrontier:
    """What a network does at prices all over its range, in a model: exactly, or by simulation where it must be.

    Attributes
    ----------
    rules : tuple of rule
        Weak-only, then the network at falling prices.
    points : tuple of PlannedPoint
        Of these; of a network that remembers more than a bin with the error of `problems` draws.
    problems : int
        0 where nothing was drawn.
    """

    rules: tuple[Rule, ...]
    points: tuple[PlannedPoint, ...]
    problems: int

    @classmethod
    def of(
        cls,
        trained: TrainedRouter,
        model: RoutingModel,
        *,
        prices: int = PRICES,
        problems: int = PROBLEMS,
        seed: int = 0,
    ) -> LearnedFrontier:
        """Run a network at so many prices; where that means simulation, with the same seed at each.

        Raises
        ------
        InputError
            If the model's observations bin another score than the network decides on.
        """
        low, high = (trained.reward * price for price in trained.network.prices)
        ladder = np.geomspace(high, low, prices)
        rules = (
            StrategyRule(strategy="weak"),
            *(rule_at(trained.network, float(price), trained.reward) for price in ladder),
        )
        points = tuple(expected_point(rule, model, problems, seed) for rule in rules)
        return cls(rules, points, 0 if all(rule.has_course for rule in rules) else problems)

    def accuracy_at(self, budgets: list[float]) -> list[float]:
        """Accuracy on the concave hull, flat beyond the last point.

        Of simulated points the best looks a little better than it is.
        """
        return [float(a) for a in hull_at(self.points, budgets)]

    @cached_property
    def _tuned(self) -> Tuned:
        return tune(self.rules, [p.budget for p in self.points], [p.accuracy for p in self.points])

    def rule_for_budget(self, budget: float) -> tuple[Rule, PlannedPoint]:
        """The rule, or mixture of two, on the hull that spends a budget; less where more is of no use."""
        check_budget(budget)
        rule = self._tuned.rule_for(budget)
        known = {item.policy_hash: point for item, point in zip(self.rules, self.points, strict=True)}
        first, *second = (known[part.policy_hash] for part in rule.parts)
        return rule, mix(first, second[0], rule.shares[1]) if second else first


def policy_for_budget(
    trained: TrainedRouter, model: RoutingModel, budget: float, *, problems: int = PROBLEMS, seed: int = 0
) -> PolicyArtifact:
    """A trained network as a policy for a share of strong-only's tokens.

    Parameters
    ----------
    trained : TrainedRouter
    model : RoutingModel
        In which it is run, to find the price, or the draw between two, that spends the budget.
    budget : float
        In [0, 1].
    problems : int
        Drawn for each of `PRICES` prices, where what the network does is not known exactly.
    seed : int

    Raises
    ------
    InputError
        If the budget lies outside [0, 1], or the model's observations bin another score than the network decides on.
    """
    frontier = LearnedFrontier.of(trained, model, problems=problems, seed=seed)
    rule, point = frontier.rule_for_budget(budget)
    notes = [_simulated(frontier.problems)] if frontier.problems else []
    if point.budget < budget - _ROUNDING:
        notes.append(f"more than a budget of {point.budget:.4f} is of no use to this network")
    return planned_artifact(
        _plain(model), policy=rule, planned=point, solutions=(), asked_budget=budget, notes=tuple(notes)
    )


def policy_for_tradeoff(
    trained: TrainedRouter, model: RoutingModel, tradeoff: float, *, problems: int = PROBLEMS, seed: int = 0
) -> PolicyArtifact:
    """A trained network as a policy at a price, and what it does in a model by simulation.

    Raises
    ------
    InputError
        If the network was not trained for that price, or the model's observations bin another score than it decides on.
    """
    low, high = (trained.reward * price for price in trained.network.prices)
    if not low <= tradeoff <= high:
        raise InputError(f"tradeoff is {tradeoff:g}; the network was trained for prices from {low:g} to {high:g}")
    rule = rule_at(trained.network, tradeoff, trained.reward)
    return planned_artifact(
        _plain(model),
        policy=rule,
        planned=expected_point(rule, model, problems, seed),
        solutions=(),
        asked_tradeoff=tradeoff,
        notes=() if rule.has_course else (_simulated(problems),),
    )


def _plain(model: RoutingModel) -> RoutingModel:
    """Without money and draws of the dynamics, in which networks that remember have no exact evaluation."""
    return replace(model, tariff=None, dynamics=model.dynamics.without_draws)


def _simulated(problems: int) -> str:
    return f"planned figures are simulated, {problems} problems at a price"


def expected_point(rule: Rule, model: RoutingModel, problems: int, seed: int) -> PlannedPoint:
    """What a rule does in a model: exactly, where that can be known, else by simulation.

    Raises
    ------
    InputError
        If `problems` is below 2.
    """
    if rule.has_course:
        return evaluate(rule, replace(model, tariff=None))
    found = simulate(rule, model, problems, seed).model_dump(exclude={"money"})
    return PlannedPoint.model_validate({name: found.get(name) for name in PlannedPoint.model_fields})
