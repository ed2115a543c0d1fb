"""A frontier to walk along: what a budget buys, by which two policies, where it is spent, beside what was measured.

What is drawn once is `FrontierView.fixed`; what follows the slider is `chosen`, which only looks up, and `details`,
which looks into the two policies that are drawn from. A frontier keeps the solutions of its points, so nothing is
planned again; one that was read from a file holds numbers alone, so it has no details, and says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.measured import Measured, measured_states
from trim_pomdp.inspection.policy_maps import Grids, policy_map_state
from trim_pomdp.model.process import RoutingModel, Spending
from trim_pomdp.planning.courses import PlannedCourse, course_of, planned_course
from trim_pomdp.planning.evaluation import evaluate, mix
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, check_budget, concave_hull, spent
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.planning.thresholds import predicted_threshold_curve
from trim_pomdp.policies import MixedRule, PlannedPoint, Rule, StrategyRule, ThresholdRule

FloatArray = NDArray[np.float64]
AnyFrontier = Frontier | FrontierArtifact
_GRID = 161
_SAME = 1e-6
_RARE = 0.02  # steps that fewer problems reach are not drawn
_NO_POLICIES = (
    "This frontier was read from a file, which holds its numbers and no policies: plan it again "
    "(trim_pomdp.solve_frontier) to see where the budget goes."
)


@dataclass(frozen=True)
class Stop:
    """A policy that the concave hull of a frontier is made of: a planned one, weak-only or strong-only.

    Attributes
    ----------
    name : str
        "planned", "weak-only" or "strong-only".
    price : float or None
        What a unit of what is spent costs at the planned one, in units of reward.
    spent : float
        Its budget, or its money.
    point : PlannedPoint
        What it does, exactly.
    item : FrontierPoint or None
        Of a planned one, where its frontier is at hand.
    """

    name: str
    price: float | None
    spent: float
    point: PlannedPoint
    item: FrontierPoint | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """For people."""
        return f"λ = {self.point.tradeoff:.4g}" if self.name == "planned" else self.name


class FrontierView:
    """A frontier as numbers to draw.

    Parameters
    ----------
    frontier : Frontier or FrontierArtifact
        A file's has no policies: then `details` says so.
    measured : mapping, sequence or None
        Points to draw beside what was planned: `trim_pomdp.inspection.measured.measured_states`. Thresholds that the
        fit of the dynamics was checked on are drawn too.

    Raises
    ------
    InputError
        If it is no frontier, has no point, or a measured point cannot be read.
    """

    def __init__(self, frontier: AnyFrontier, measured: Measured = None) -> None:
        if not isinstance(frontier, (Frontier, FrontierArtifact)):
            raise InputError(f"expected a Frontier or a FrontierArtifact, got {type(frontier).__name__}")
        if not frontier.points:
            raise InputError("the frontier has no points, so there is nothing to draw")
        self.frontier = frontier
        self.measured = measured_states(measured, frontier.over, self.model)
        self._plans: dict[Stop, PlannedCourse] = {}
        self._thresholds_at: dict[float, dict[str, float] | None] = {}
        self._grids: Grids = {}

    # What it is made of ----------------------------------------------------------------------------------------

    @property
    def model(self) -> RoutingModel | None:
        """What was planned in, where that is known."""
        return self.frontier.model if isinstance(self.frontier, Frontier) else None

    @property
    def over(self) -> Spending:
        """What is spent."""
        return self.frontier.over

    @cached_property
    def planned(self) -> tuple[PlannedPoint, ...]:
        """All planned points, by what they spend."""
        frontier = self.frontier
        if isinstance(frontier, Frontier):
            return frontier.planned
        fields = set(PlannedPoint.model_fields)
        return tuple(PlannedPoint.model_validate(row.model_dump(include=fields)) for row in frontier.points)

    @property
    def _items(self) -> tuple[FrontierPoint | None, ...]:
        frontier = self.frontier
        return frontier.points if isinstance(frontier, Frontier) else (None,) * len(frontier.points)

    @cached_property
    def stops(self) -> tuple[Stop, ...]:
        """Vertices of the concave hull of the planned points and weak-only (over money, both ends)."""
        stops = [Stop("weak-only", None, spent(self.frontier.weak_only, self.over), self.frontier.weak_only)]
        for point, item in zip(self.planned, self._items, strict=True):
            stops.append(Stop("planned", self._price(point), spent(point, self.over), point, item))
        if self.over == "money":
            strong = self.frontier.strong_only
            stops.append(Stop("strong-only", None, spent(strong, self.over), strong))
        at = {(stop.spent, stop.point.accuracy): stop for stop in reversed(stops)}
        x, y = concave_hull(np.array([place[0] for place in at]), np.array([place[1] for place in at]))
        return tuple(at[place] for place in zip(x.tolist(), y.tolist(), strict=True))

    @cached_property
    def span(self) -> tuple[float, float]:
        """What can be asked for, which is budgets from 0 to 1, or money from the cheapest policy to the dearest."""
        if self.over == "strong_tokens":
            return 0.0, 1.0
        return self.stops[0].spent, max(self.stops[-1].spent, spent(self.frontier.strong_only, self.over))

    @cached_property
    def _proven(self) -> tuple[FloatArray, FloatArray]:
        """Lines that no policy's accuracy exceeds: intercept, and slope in what is spent; one for each price.

        At a price p, reward · accuracy − p · spending is at most the certified upper bound of the best value. Where
        redrafts have a price too, it is of policies that draft no more steps again than the planned ones. Over
        money that bound is of policies that have steps scored; both ends, which do not, are held against it.
        """
        frontier = self.frontier
        ends = (frontier.weak_only, frontier.strong_only) if self.over == "money" else ()
        lines = []
        redrafts = max((point.redrafts or 0.0 for point, _, _ in self._valued), default=0.0)
        unpriced = self._reward * frontier.redraft_price * redrafts
        for point, _, upper in self._valued:
            upper += unpriced
            price = self._price(point) * self._unit
            worth = [self._reward * end.accuracy - price * spent(end, self.over) for end in ends]
            lines.append((max(upper, *worth, -np.inf) / self._reward, price / self._reward))
        return np.array([line[0] for line in lines]), np.array([line[1] for line in lines])

    @cached_property
    def _valued(self) -> list[tuple[PlannedPoint, float, float]]:
        """Every planned point, dominated ones among them, with the certified bounds of the best value at its price."""
        frontier = self.frontier
        if isinstance(frontier, Frontier):
            return [(i.point, i.value_lower, i.value_upper) for i in (*frontier.points, *frontier.dominated)]
        return [(row, row.value_lower, row.value_upper) for row in (*frontier.points, *frontier.dominated)]

    @property
    def _reward(self) -> float:
        """Of a right answer; a file does not say, but the lower bound of a value is that of the point itself.

        Which is reward · (accuracy − price of a redraft · redrafts) − price · spending.
        """
        if isinstance(self.frontier, Frontier):
            return self.frontier.model.reward
        point, lower, _ = max(self._valued, key=lambda row: row[0].accuracy)
        rewarded = point.accuracy - self.frontier.redraft_price * (point.redrafts or 0.0)
        if rewarded <= 0.0:
            return 1.0
        return (lower + self._price(point) * self._unit * spent(point, self.over)) / rewarded

    @property
    def _unit(self) -> float:
        """What a price is of, in a unit of what is spent: strong tokens of a budget of 1."""
        if self.over == "money":
            return 1.0
        return self.frontier.strong_only.strong_tokens / self.frontier.strong_only.budget

    def _price(self, point: PlannedPoint) -> float:
        """Of a unit of what is spent, at a planned point."""
        price = point.rate if self.over == "money" else point.tradeoff
        assert price is not None  # of planned points
        return price

    def bound(self, spend: FloatArray) -> FloatArray:
        """Accuracy that no policy of this model exceeds at what is spent, by the certified bounds; shape (n,)."""
        intercept, slope = self._proven
        return np.asarray(np.minimum((intercept + np.asarray(spend)[..., None] * slope).min(axis=-1), 1.0))

    # What is drawn ---------------------------------------------------------------------------------------------

    def fixed(self) -> dict[str, Any]:
        """What does not follow the slider, as JSON has it."""
        frontier, model = self.frontier, self.model
        grid = np.linspace(self.stops[0].spent, self.stops[-1].spent, _GRID)
        thresholds = self._thresholds
        return {
            "title": frontier.model.name if isinstance(frontier, Frontier) else frontier.model,
            "over": self.over,
            "axis": self._axis(),
            "low": self.span[0],
            "high": self.span[1],
            "planned": _curve([spent(p, self.over) for p in self.planned], [p.accuracy for p in self.planned]),
            "hull": _curve([stop.spent for stop in self.stops], [stop.point.accuracy for stop in self.stops]),
            "bound": _curve(grid.tolist(), self.bound(grid).tolist()),
            "ends": [
                {"name": name, "x": spent(point, self.over), "y": point.accuracy}
                for name, point in (("weak-only", frontier.weak_only), ("strong-only", frontier.strong_only))
            ],
            "thresholds": _curve([spent(p, self.over) for p in thresholds], [p.accuracy for p in thresholds]),
            "measured": self.measured,
            "max_steps": None if model is None else model.dynamics.max_steps,
            "no_details": _NO_POLICIES if model is None else None,
            "warnings": list(frontier.model.dynamics.warnings if isinstance(frontier, Frontier) else frontier.notes),
        }

    def chosen(self, spend: float) -> dict[str, Any]:
        """What a budget (or money) buys: looked up, nothing is planned for it.

        Raises
        ------
        InputError
            If it lies outside of `span`.
        """
        stops, shares = self.draw(spend)
        point = stops[0].point if len(stops) == 1 else mix(stops[0].point, stops[1].point, shares[1])
        return {
            "spend": spend,
            "spent": spent(point, self.over),
            "accuracy": point.accuracy,
            "bound": float(self.bound(np.array([spent(point, self.over)]))[0]),
            "strong_tokens": point.strong_tokens,
            "regenerations": point.regenerations,
            "steps": point.steps,
            "money": point.money,
            "policies": [
                {
                    "label": stop.label,
                    "probability": share,
                    "spent": stop.spent,
                    "accuracy": stop.point.accuracy,
                    "regenerations": stop.point.regenerations,
                }
                for stop, share in zip(stops, shares, strict=True)
            ],
            "threshold": self._threshold(spent(point, self.over)),
            "note": self._note(spend),
        }

    def details(self, spend: float, *, step: int = 1, part: int | None = None) -> dict[str, Any]:
        """Where a budget goes: spending by step, and where one of the two policies intervenes.

        Parameters
        ----------
        spend : float
            As in `chosen`.
        step : int
            Of the policy map, from 0.
        part : int, optional
            Which of the policies the map shows; the likelier one that has a map by default.

        Raises
        ------
        InputError
            As `chosen`.
        """
        stops, shares = self.draw(spend)
        if self.model is None:
            return {"by_step": None, "map": None}
        plans = [self._plan(stop) for stop in stops]
        threshold = self._threshold(self.chosen(spend)["spent"])
        k = None if threshold is None else threshold["k"]
        tokens, redone, steps = (
            np.tensordot(shares, [getattr(plan, name) for plan in plans], axes=1)
            for name in ("strong_tokens", "regenerations", "steps")
        )
        return {
            "by_step": {
                "strong_tokens": tokens.tolist(),
                "regenerations": redone.tolist(),
                "steps": steps.tolist(),
                "share": [r / n if n > 0 else None for r, n in zip(redone.tolist(), steps.tolist(), strict=True)],
                "threshold": None if k is None else self._threshold_by_step(k),
                "shown": int(np.flatnonzero(steps >= _RARE).max()) + 1,
            },
            "map": policy_map_state(
                _mixed([plan.rule for plan in plans], shares), step, part=part, threshold=k, grids=self._grids
            ),
        }

    def ready(self, spend: float) -> bool:
        """Whether `details` has looked into the policies of what is spent before, so that it is quick."""
        return self.model is None or all(stop in self._plans for stop in self.draw(spend)[0])

    def state(self, spend: float | None = None, *, step: int = 1, part: int | None = None) -> dict[str, Any]:
        """All of it; without a budget that in the middle of what can be spent to advantage."""
        if spend is None:
            spend = self.middle
        return {
            "fixed": self.fixed(),
            "chosen": self.chosen(spend),
            "details": self.details(spend, step=step, part=part),
        }

    @property
    def middle(self) -> float:
        """Where to begin."""
        low, high = self.stops[0].spent, self.stops[-1].spent
        return round(low + 0.4 * (high - low), 2) if self.over == "strong_tokens" else low + 0.4 * (high - low)

    def rule(self, spend: float) -> Rule:
        """The executable policy: a rule, or a draw between two for each problem.

        Raises
        ------
        InputError
            As `chosen`; or if the frontier holds no policies.
        """
        if self.model is None:
            raise InputError(_NO_POLICIES)
        stops, shares = self.draw(spend)
        return _mixed([self._plan(stop).rule for stop in stops], shares)

    # How -------------------------------------------------------------------------------------------------------

    def draw(self, spend: float) -> tuple[tuple[Stop, ...], tuple[float, ...]]:
        """The one or two policies that are drawn from for each problem, by what they spend, and how often.

        Raises
        ------
        InputError
            As `chosen`.
        """
        low, high = self.span
        if self.over == "strong_tokens":
            check_budget(spend)
        elif not low <= spend <= high:
            raise InputError(f"money is {spend:g} per problem; expected {low:.6g} to {high:.6g}")
        for first, second in itertools.pairwise(self.stops):
            if first.spent < spend < second.spent:
                share = (spend - first.spent) / (second.spent - first.spent)
                return (first, second), (1.0 - share, share)
        return (next((stop for stop in self.stops if stop.spent >= spend), self.stops[-1]),), (1.0,)

    def _plan(self, stop: Stop) -> PlannedCourse:
        """Rule and course of a stop, kept once they were asked for."""
        if stop not in self._plans:
            assert isinstance(self.frontier, Frontier)
            if stop.item is not None:
                self._plans[stop] = planned_course(self.frontier, stop.item)
            else:
                strategy = StrategyRule(strategy="weak" if stop.name == "weak-only" else "strong")
                self._plans[stop] = course_of(strategy, self.frontier.model)
        return self._plans[stop]

    @cached_property
    def _thresholds(self) -> tuple[PlannedPoint, ...]:
        """The threshold rule in the same model; its ends, which look at no score, are the frontier's."""
        if isinstance(self.frontier, FrontierArtifact):
            return self.frontier.threshold_rule
        return predicted_threshold_curve(self.frontier.model)

    def _threshold(self, spend: float) -> dict[str, float] | None:
        """The threshold that spends as much, and its accuracy; None where none does, or it means nothing."""
        model = self.model
        if self.over == "money" or model is None or model.observations.evidence is not None or spend <= 0.0:
            return None
        if spend not in self._thresholds_at:
            self._thresholds_at[spend] = _threshold_at(model, spend)
        return self._thresholds_at[spend]

    def _threshold_by_step(self, k: float) -> list[float]:
        assert self.model is not None
        course = ThresholdRule(threshold=k).course(self.model)
        return list((course.strong_steps @ self.model.strong_tokens).tolist())

    def _axis(self) -> str:
        if self.over == "strong_tokens":
            return f"budget: strong tokens per problem ÷ {self._unit:.4g} (strong-only's)"
        tariff = self.frontier.tariff if isinstance(self.frontier, FrontierArtifact) else self.frontier.model.tariff
        currency = None if tariff is None else tariff.prices.currency
        return "money per problem" + ("" if currency is None else f" ({currency})")

    def _note(self, spend: float) -> str | None:
        last = self.stops[-1]
        if spend <= last.spent:
            return None
        freely = min(self._price(point) for point, _, _ in self._valued) == 0.0
        why = "spending more does not help" if freely else "no lower price was planned for"
        unit = f"budget {last.spent:.3f}" if self.over == "strong_tokens" else f"{last.spent:.4g} per problem"
        return f"The frontier ends at {unit}: {why}."


def frontier_state(
    frontier: AnyFrontier,
    spend: float | None = None,
    *,
    measured: Measured = None,
    step: int = 1,
    part: int | None = None,
) -> dict[str, Any]:
    """What `FrontierExplorer` draws, as JSON has it: `FrontierView.state`.

    Parameters
    ----------
    frontier : Frontier or FrontierArtifact
    spend : float, optional
        The budget, or money per problem over which it was planned.
    measured : mapping, sequence or None
        As `FrontierView` takes them.
    step, part : int
        Of the policy map: `FrontierView.details`.

    Raises
    ------
    InputError
        As `FrontierView`, or if the budget lies outside of [0, 1].
    """
    return FrontierView(frontier, measured).state(spend, step=step, part=part)


def _threshold_at(model: RoutingModel, spend: float) -> dict[str, float] | None:
    def beyond(k: float) -> float:
        return evaluate(ThresholdRule(threshold=k), model).budget - spend

    if beyond(1.0) < 0.0:
        return None
    from scipy.optimize import brentq

    k = float(brentq(beyond, 0.0, 1.0, xtol=1e-12))
    point = evaluate(ThresholdRule(threshold=k), model)
    # No threshold below 1 may spend as much: steps of score 1 itself are regenerated at 1 alone, all at once.
    return {"k": k, "accuracy": point.accuracy} if abs(point.budget - spend) < _SAME else None


def _mixed(rules: Sequence[Rule], shares: Sequence[float]) -> Rule:
    return rules[0] if len(rules) == 1 else MixedRule(first=rules[0], second=rules[1], probability=shares[1])


def _curve(x: Sequence[float], y: Sequence[float]) -> Mapping[str, list[float]]:
    return {"x": list(x), "y": list(y)}
