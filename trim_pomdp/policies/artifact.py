"""A policy as a file: the rule, what it was made for, and what it is expected to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer, model_validator

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.model.prices import Money, Tariff
from trim_pomdp.policies.base import AnyRule, Rule

Span = tuple[float, float]
"""Both ends of an interval."""


class PlannedIntervals(Record):
    """Intervals of what a policy is expected to do, since dynamics are fitted on a sample.

    Attributes
    ----------
    level : float
        How often they are meant to hold the truth.
    draws : int
        Draws of the dynamics that they come from (`trim_pomdp.planning.intervals`).
    accuracy, budget, regenerations : (low, high)
        As in `PlannedPoint`.
    """

    level: Annotated[float, Field(gt=0.0, lt=1.0)]
    draws: PositiveInt
    accuracy: Span
    budget: Span
    regenerations: Span

    @model_validator(mode="after")
    def _ends_in_order(self) -> PlannedIntervals:
        for name in ("accuracy", "budget", "regenerations"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is an interval from {low} to {high}; expected the lower end first")
        return self


class PlannedPoint(Shown, Record):
    """What a policy is expected to do, per problem; None where the dynamics know too little, or prices are not known.

    `tradeoff` is the price of a strong token that it was planned at, `rate` the reward that a unit of money was worth
    to it, where it was planned over money. `regenerations` counts all steps that the strong model writes, `redrafts`
    how often the weak model was asked again, None where it never could be. `intervals` are known where the dynamics
    hold draws.
    """

    tradeoff: float | None = None
    accuracy: float
    strong_tokens: float
    regenerations: float
    redrafts: float | None = None
    budget: float
    kept_tokens: float | None = None
    discarded_tokens: float | None = None
    steps: float | None = None
    money: float | None = None
    rate: float | None = None
    intervals: PlannedIntervals | None = None

    @model_serializer(mode="wrap")
    def _without_intervals(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Points without intervals are written as before there were any."""
        document: dict[str, Any] = serialise(self)
        if self.intervals is None:
            document.pop("intervals", None)
        return document

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        known = self.intervals
        spans = {} if known is None else {"accuracy from, to": known.accuracy, "budget from, to": known.budget}
        names = (name for name in type(self).model_fields if name != "intervals")
        return {**{name.replace("_", " "): getattr(self, name) for name in names}, **spans}


class PolicyArtifact(Artifact):
    """A policy, what it was made for, and what it is expected to do.

    Attributes
    ----------
    policy : rule or mixture
        What is executed.
    planned : PlannedPoint or None
        Exact expectation of that policy in the model it was planned in; None for a rule that no model was there for.
    model : str
        Names of observations and dynamics.
    asked_budget, asked_tradeoff, asked_max_cost : float or None
        What it was made for: a share of strong-only's tokens, a price, or money per problem.
    value : float or None
        Exact value of the policy itself, reward × accuracy − tradeoff × strong tokens, less the price of redrafts (None
        for a mixture).
    value_lower, value_upper : float or None
        Certified bounds on the optimal value at the tradeoff (None for a mixture). The policy keeps its belief on a
        grid, so its own value can lie a little below the lower bound.
    added_variance : float or None
        Variance of strong tokens per problem that mixing adds to the average variance of the two policies.
    money : Money or None
        Expected money per problem by model and purpose; `tariff` holds the prices, and what is read, that it was
        planned for.
    weak_only, strong_only : PlannedPoint or None
        Never and always regenerating in the same model, to judge it by.
    weak_only_money, strong_only_money : Money or None
        What these would cost.
    accuracy_bound : float or None
        No policy in the model that costs `asked_max_cost` or less is more accurate than this (certified).
    conditions : Conditions or None
        Under which the models were observed that it was planned for.
    notes : tuple of str
        Whatever the user should know, such as a budget that cannot be spent.
    """

    kind: Literal["policy"] = "policy"
    model: str
    policy: AnyRule
    planned: PlannedPoint | None = None
    asked_budget: float | None = None
    asked_tradeoff: float | None = None
    asked_max_cost: float | None = None
    value: float | None = None
    value_lower: float | None = None
    value_upper: float | None = None
    added_variance: float | None = None
    money: Money | None = None
    tariff: Tariff | None = None
    weak_only: PlannedPoint | None = None
    strong_only: PlannedPoint | None = None
    weak_only_money: Money | None = None
    strong_only_money: Money | None = None
    accuracy_bound: float | None = None
    conditions: Conditions | None = None
    notes: tuple[str, ...] = ()

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: what it is, what it was made for, what it is expected to do."""
        planned = self.planned
        return {
            "form": self.policy.form,
            "asked budget": self.asked_budget,
            "asked tradeoff": self.asked_tradeoff,
            "asked max cost": self.asked_max_cost,
            "accuracy": None if planned is None else planned.accuracy,
            "budget": None if planned is None else planned.budget,
            "strong tokens": None if planned is None else planned.strong_tokens,
            "money": None if planned is None else planned.money,
            "model": self.model,
        }


def rule_of(policy: Rule | PolicyArtifact) -> Rule:
    """The rule itself, or that of the artifact.

    Raises
    ------
    InputError
        If it is neither.
    """
    rule = policy.policy if isinstance(policy, PolicyArtifact) else policy
    if not isinstance(rule, Rule):
        raise InputError(f"a policy is a {type(rule).__name__}; expected a rule or a policy artifact")
    return rule
