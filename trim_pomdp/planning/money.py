r"""From money per problem to a policy: the most accurate one that costs no more, by planning over money itself.

At a rate μ, the reward that a unit of money is worth, the best policy is the planned one, weak-only, or strong-only
(which have nothing scored and, strong-only, nothing drafted), whichever has the largest reward · accuracy − μ · money.
As μ falls that one costs more. Bisection finds two close rates, one on each side of the money at hand, and a draw for
each problem between their policies spends it, exactly. For every rate,

.. math::
    \text{accuracy} \le (D(\mu) + \mu \cdot \text{money}) / \text{reward},

D(μ) being a certified upper bound of what is best at μ: more than that no policy of the model has that costs as much,
money here with solutions so far of mean length, as it is planned with.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

from solvers import EpochSolution, solve_epochs
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import Evaluation, evaluate_money, mix_evaluations
from trim_pomdp.planning.frontier import gap_for, largest_tradeoff, planned_artifact, rule_from_solution
from trim_pomdp.policies import MixedRule, PolicyArtifact, Rule, StrategyRule

_RESOLUTION = 5e-4  # of the dearer end's money
_MAX_BISECTIONS = 40
_MAX_DOUBLINGS = 10


@dataclass(frozen=True)
class _Choice:
    """A policy that is best at a rate, and its money as it is planned with."""

    rate: float
    name: str
    planned_money: float
    accuracy: float
    make: Callable[[], Rule]
    model: RoutingModel
    solution: EpochSolution | None = None

    @cached_property
    def rule(self) -> Rule:
        """What is executed."""
        return self.make()

    @cached_property
    def exact(self) -> Evaluation:
        """What it does."""
        return evaluate_money(self.rule, self.model)

    @property
    def money(self) -> float:
        """Exact money per problem."""
        return self.exact.money.total

    @property
    def told(self) -> str:
        """For notes."""
        return f"{self.name} (money {self.money:.6g}, accuracy {self.exact.point.accuracy:.4f})"


class _Search:
    """Plans at one rate after another, and remembers what each proves of every policy.

    Attributes
    ----------
    found : list of _Choice
        The best policies, by falling rate.
    """

    def __init__(self, model: RoutingModel, gap: float) -> None:
        self.model, self.gap = model, gap
        self.weak, self.strong = (_end(model, strategy) for strategy in ("weak", "strong"))
        self.found: list[_Choice] = []
        self._proven: list[tuple[float, float]] = []  # rate, upper bound on the value
        self._last: EpochSolution | None = None

    def best(self, rate: float) -> _Choice:
        """The best of the planned policy and both ends at a rate; of equals the cheapest."""
        model, slack = self.model, self.gap * self.model.reward
        solution = solve_epochs(model.epoch_model, model.weights(rate, "money"), gap=slack, warm_start=self._last)
        self._last = solution
        values = dict(zip(model.components, solution.components.tolist(), strict=True))
        make = partial(rule_from_solution, solution, model, rate, "money")
        planned = _Choice(rate, f"rate {rate:.6g}", values["money"], values["accuracy"], make, model, solution)
        options = (self.weak, self.strong, planned)
        worth = [model.reward * item.accuracy - rate * item.planned_money for item in options]
        self._proven.append((rate, max(solution.upper, *worth)))
        equal = [item for item, value in zip(options, worth, strict=True) if value >= max(worth) - slack]
        chosen = replace(min(equal, key=lambda item: item.planned_money), rate=rate)
        insort(self.found, chosen, key=lambda item: -item.rate)
        return chosen

    def bound(self, planned_money: float) -> float:
        """Accuracy that no policy of so much money exceeds."""
        return min(1.0, *((upper + rate * planned_money) / self.model.reward for rate, upper in self._proven))

    def above(self, planned_money: float) -> int:
        """Index of the first policy found, but for the cheapest, that costs more; the last one's where none does."""
        last = len(self.found) - 1
        return next((i for i in range(1, last) if self.found[i].planned_money > planned_money), last)

    def close_in(self, planned_money: float, resolution: float) -> None:
        """Find policies that cost, as it is planned with, almost as much, and no more and more."""
        for _ in range(_MAX_BISECTIONS):
            index = self.above(planned_money)
            low, high = self.found[index - 1], self.found[index]
            middle = 0.5 * (low.rate + high.rate)
            if high.planned_money - low.planned_money <= resolution or not high.rate < middle < low.rate:
                break
            self.best(middle)


def _end(model: RoutingModel, strategy: Literal["weak", "strong"]) -> _Choice:
    rule = StrategyRule(strategy=strategy)
    exact = evaluate_money(rule, model)
    return _Choice(math.inf, f"{strategy}-only", exact.planned_money, exact.point.accuracy, lambda: rule, model)


def policy_for_cost(model: RoutingModel, max_cost: float, *, gap: float | None = None) -> PolicyArtifact:
    """Plan for expected money per problem: one policy, or a draw between two.

    Parameters
    ----------
    model : RoutingModel
        With a tariff.
    max_cost : float
        Money per problem, in the currency of the prices.
    gap : float or None
        As in `trim_pomdp.planning.frontier.solve_frontier`.

    Raises
    ------
    InputError
        If no policy costs so little; the message says what the cheapest one costs. Or the model has no tariff.
    """
    if not (math.isfinite(max_cost) and max_cost >= 0):
        raise InputError(f"the largest cost is {max_cost}; expected money per problem, at least 0")
    model.costs  # noqa: B018  # raises where money is not known
    search = _Search(model, gap_for(model, gap))
    free = search.best(0.0)
    if free.money <= max_cost:
        return _all_it_can(search, free, max_cost)
    first, second = _neighbours(search, max_cost)
    wide = second.money - first.money
    share = min(max((max_cost - first.money) / wide, 0.0), 1.0) if wide > 0 else 0.0
    mixed = mix_evaluations(first.exact, second.exact, share)
    return planned_artifact(
        model,
        policy=MixedRule(first=first.rule, second=second.rule, probability=share),
        planned=mixed.point,
        solutions=(first.solution, second.solution),
        money=mixed.money,
        asked_max_cost=max_cost,
        added_variance=share
        * (1.0 - share)
        * (second.exact.point.strong_tokens - first.exact.point.strong_tokens) ** 2,
        accuracy_bound=search.bound(mixed.planned_money),
        notes=(
            f"a draw for each problem: {first.told} with probability {1 - share:.4f}, {second.told} with probability "
            f"{share:.4f}",
        ),
    )


def _all_it_can(search: _Search, most: _Choice, max_cost: float) -> PolicyArtifact:
    beside = "" if most.name == search.strong.name else f"; {search.strong.told} is less so"
    return planned_artifact(
        search.model,
        policy=most.rule,
        planned=most.exact.point,
        solutions=(most.solution,),
        money=most.exact.money,
        asked_max_cost=max_cost,
        accuracy_bound=search.bound(most.exact.planned_money),
        notes=(f"a cost of {max_cost:g} cannot be spent to advantage: most accurate is {most.told}{beside}",),
    )


def _neighbours(search: _Search, max_cost: float) -> tuple[_Choice, _Choice]:
    """The best policies of two close rates, which cost at most, and at least, what may be spent."""
    top = largest_tradeoff(search.model, over="money")
    low = search.best(top)
    for _ in range(_MAX_DOUBLINGS):
        if low.money <= max_cost:
            break
        top *= 2.0
        low = search.best(top)
    if low.money > max_cost:
        raise InputError(_too_little(search, low, max_cost))
    # What is planned with differs a little from what a policy costs: by the same factor from its neighbours too.
    resolution, wanted = _RESOLUTION * search.found[-1].planned_money, max_cost
    for _ in range(2):
        search.close_in(wanted, resolution)
        index = search.above(wanted)
        near = search.found[index - 1]
        wanted = max_cost * near.planned_money / near.money if near.money > 0 else max_cost
    first = next((item for item in reversed(search.found[:index]) if item.money <= max_cost), low)
    second = next(item for item in search.found[search.found.index(first) + 1 :] if item.money > max_cost)
    return first, second


def _too_little(search: _Search, cheapest: _Choice, max_cost: float) -> str:
    weak = search.weak
    least = "" if cheapest.money > 0.999 * weak.money else f"; the cheapest policy costs {cheapest.money:.6g}"
    return (
        f"{max_cost:g} per problem is less than the weak model alone costs, {weak.money:.6g} (accuracy "
        f"{weak.accuracy:.4f}){least}"
    )
