r"""Budgets for rules that have a parameter: from points of a family of rules to the mixture that spends what is asked.

Of rules :math:`\pi_i` that cost :math:`c_i` and are right with probability :math:`a_i`, all that draws of one of them
for every problem can reach is the concave hull of the points :math:`(c_i, a_i)`. At an asked cost between two
neighbouring vertices :math:`c_j \le c < c_k` the best draw takes :math:`\pi_k` with probability
:math:`(c - c_j) / (c_k - c_j)`, which spends c in expectation, exactly.

The points are a model's exact expectations (`tune_in_model`), or measured on fitting problems (`tune`). Measured ones
are noisy, and the hull prefers what was lucky: its accuracies are promises of the fitting problems, to be measured
again on others. Costs may be of any unit; only that of the asked budget must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel, Spending
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import concave_hull, spent
from trim_pomdp.policies import MixedRule, Rule


@dataclass(frozen=True)
class TunedPoint:
    """A rule, what it costs, and how often it is right, in expectation per problem.

    Attributes
    ----------
    rule : Rule
    cost : float
        In the unit of the points that were given; of budgets a share of strong-only's tokens.
    accuracy : float
    """

    rule: Rule
    cost: float
    accuracy: float


@dataclass(frozen=True, repr=False)
class Tuned(Shown):
    """A family of rules, ready for any budget.

    Attributes
    ----------
    points : tuple of TunedPoint
        All rules, as given.
    hull : tuple of TunedPoint
        Those that some budget is best met with: vertices of the concave hull, by rising cost and accuracy.
    """

    points: tuple[TunedPoint, ...]
    hull: tuple[TunedPoint, ...]

    def point_for(self, budget: float) -> TunedPoint:
        """The rule for a budget, and what it is expected to cost and achieve.

        Parameters
        ----------
        budget : float
            At least 0, in the unit of the costs.

        Returns
        -------
        TunedPoint
            A `MixedRule` of two neighbours on the hull that costs exactly the budget; or a single rule where one does,
            the cheapest of the hull where the budget is below it, and the dearest where it is above, which no more
            spending would better. Its `cost` tells.

        Raises
        ------
        InputError
            If the budget is negative or not finite.
        """
        if not 0.0 <= budget < np.inf:
            raise InputError(f"budget is {budget:g}; expected at least 0, in the unit of the costs")
        above = next((i for i, point in enumerate(self.hull) if point.cost >= budget), len(self.hull))
        if above == len(self.hull):
            return self.hull[-1]
        second = self.hull[above]
        if above == 0 or second.cost == budget:
            return second
        first = self.hull[above - 1]
        share = (budget - first.cost) / (second.cost - first.cost)
        return TunedPoint(
            MixedRule(first=first.rule, second=second.rule, probability=share),
            cost=budget,
            accuracy=(1.0 - share) * first.accuracy + share * second.accuracy,
        )

    def rule_for(self, budget: float) -> Rule:
        """The rule of `point_for`."""
        return self.point_for(budget).rule

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        first, last = self.hull[0], self.hull[-1]
        return {
            "rules": len(self.points),
            "on the hull": len(self.hull),
            "cheapest": f"{first.accuracy:.4f} at {first.cost:.4g}",
            "dearest": f"{last.accuracy:.4f} at {last.cost:.4g}",
        }

    def _repr_html_(self) -> str:
        rows = [(repr(point.rule), point.cost, point.accuracy) for point in self.hull]
        return f"{super()._repr_html_()}\n{html_table('on the hull', ('rule', 'cost', 'accuracy'), rows)}"


def tune(rules: Sequence[Rule], costs: ArrayLike, accuracies: ArrayLike) -> Tuned:
    """Rules with measured, or predicted, points.

    Parameters
    ----------
    rules : sequence of Rule
        A family, such as ``[ThresholdRule(threshold=k) for k in grid]``, ends that bound it (weak, strong) included.
    costs, accuracies : array-like of shape (n,)
        Of each rule: mean cost per problem, at least 0, and share of right answers, in [0, 1].

    Raises
    ------
    InputError
        If there is no rule, numbers are missing, not finite or out of range, or a rule is itself a mixture.

    Examples
    --------
    >>> from trim_pomdp.policies import ThresholdRule
    >>> family = [ThresholdRule(threshold=k) for k in (0.0, 0.3, 1.0)]
    >>> tuned = tune(family, [0.0, 0.2, 1.0], [0.5, 0.7, 0.8])
    >>> tuned.rule_for(0.2)
    ThresholdRule(threshold 0.3)
    >>> tuned.rule_for(0.05).shares
    (0.75, 0.25)
    """
    cost, accuracy = (np.asarray(values, dtype=np.float64) for values in (costs, accuracies))
    if not rules:
        raise InputError("no rule to tune; expected at least one")
    for name, values in (("costs", cost), ("accuracies", accuracy)):
        if values.shape != (len(rules),):
            raise InputError(f"{name} have shape {values.shape}; expected one for each of {len(rules)} rules")
        if not ((values >= 0.0) & (values < np.inf)).all():
            raise InputError(f"{name} are {values.min():g} to {values.max():g}; expected finite numbers, none below 0")
    if (accuracy > 1.0).any():
        raise InputError(f"an accuracy is {accuracy.max():g}; expected shares of right answers, in [0, 1]")
    for rule in rules:
        if len(rule.parts) > 1:
            raise InputError(f"{rule!r} is a mixture, and budgets are met by mixing two rules; give its parts")
    points = tuple(map(TunedPoint, rules, cost.tolist(), accuracy.tolist()))
    first = {(point.cost, point.accuracy): point for point in reversed(points)}
    x, y = concave_hull(cost, accuracy)
    return Tuned(points, tuple(first[vertex] for vertex in zip(x.tolist(), y.tolist(), strict=True)))


def tune_in_model(rules: Sequence[Rule], model: RoutingModel, *, over: Spending = "strong_tokens") -> Tuned:
    """Rules with the points that a model expects of them, exactly.

    Parameters
    ----------
    rules : sequence of Rule
    model : RoutingModel
    over : {"strong_tokens", "money"}
        What a budget is: a share of strong-only's tokens, or money per problem.

    Raises
    ------
    InputError
        As `tune` and `evaluate`; or if money is meant, and the model has no tariff.
    """
    if over == "money":
        model.costs  # noqa: B018  # raises where money is not known
    found = [evaluate(rule, model) for rule in rules]
    return tune(rules, [spent(point, over) for point in found], [point.accuracy for point in found])
