"""The frontier: accuracy against budget over all tradeoffs, and from a budget to a policy.

One table of the routing POMDP serves every tradeoff λ. For each, the solver returns a policy graph whose accuracy and
tokens are exact and whose value is within the gap of the optimum, so every point is a policy that exists, and no
policy lies above the frontier by more than the gap. A budget between two points is met by drawing one of two
neighbouring policies for each problem. Where the model has a tariff, all of this can be had over money in place of
strong tokens: each point then is optimal, to within the gap, at a price μ of money (`over="money"`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvers import EpochSolution, solve_epochs, solve_epochs_many
from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import OF_REDRAFTS
from trim_pomdp.model.prices import Money
from trim_pomdp.model.process import RoutingModel, Spending
from trim_pomdp.planning.evaluation import end_money, evaluate, evaluate_money, mix
from trim_pomdp.planning.hull import concave_hull as concave_hull
from trim_pomdp.planning.intervals import Plan, told_intervals
from trim_pomdp.policies import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    Rule,
    StrategyRule,
)
from trim_pomdp.policies.alpha_tables import upper_envelope

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]
PlannedRule = tuple[AlphaVectorRule, PlannedPoint, EpochSolution]
DEFAULT_GAP = 1e-5  # of the reward
DRAFT_GAP = 1e-4  # with redrafts: what their belief's cells cost is no less
_TRADEOFF_GAP = 1e-4  # where a price from which on nothing pays is looked for
THREADS = 2
_SCOUTS = 25
_SCOUT_ROUNDS = 6
_BUDGET_RESOLUTION = 0.002
_MAX_BISECTIONS = 40


@dataclass(frozen=True)
class FrontierPoint:
    """A tradeoff, the exact expectations of its policy graph, and certified bounds on the optimal value.

    The solution that they are of is kept, so that its policy can be had without planning again; it does not enter
    ``==``, and a point that was made from numbers alone has none.
    """

    point: PlannedPoint
    value_lower: float
    value_upper: float
    solution: EpochSolution | None = field(default=None, repr=False, compare=False)

    @property
    def tradeoff(self) -> float:
        """λ."""
        assert self.point.tradeoff is not None
        return self.point.tradeoff


@dataclass(frozen=True, repr=False)
class Frontier(Shown):
    """What can be had for every budget.

    Attributes
    ----------
    model : RoutingModel
        What was planned in.
    points : tuple of FrontierPoint
        Sorted by budget (or money); accuracy does not decrease.
    dominated : tuple of FrontierPoint
        Points that another one beats in both, or equals in one and beats in the other.
    weak_only, strong_only : PlannedPoint
        Never and always regenerating.
    elapsed_s : float
        Wall time of solving and evaluating, without imports and compilation; it does not enter ``==``.
    compile_s : float
        Time that Numba took before that to compile, or to load, the kernels; it does not enter ``==``.
    gap : float
        What the value bounds of each point were asked to be within, in units of the reward.
    over : {"strong_tokens", "money"}
        What is spent.
    """

    model: RoutingModel
    points: tuple[FrontierPoint, ...]
    dominated: tuple[FrontierPoint, ...]
    weak_only: PlannedPoint
    strong_only: PlannedPoint
    elapsed_s: float = field(compare=False)
    compile_s: float = field(compare=False)
    gap: float
    over: Spending = "strong_tokens"

    @property
    def redraft_price(self) -> float:
        """What the value bounds are less for every redraft, as a share of the reward."""
        return self.model.redraft_price if self.model.drafts > 1 and self.over == "strong_tokens" else 0.0

    def accuracy_at(self, budgets: Sequence[float] | FloatArray) -> FloatArray:
        """Accuracy at given budgets, on the concave hull of weak-only and all points; flat beyond the last.

        Raises
        ------
        InputError
            If a budget lies outside [0, 1].
        """
        return hull_at([self.weak_only, *(item.point for item in self.points)], budgets)

    @property
    def with_spans(self) -> tuple[PlannedPoint, ...]:
        """Weak-only and the points that have intervals (`trim_pomdp.planning.intervals.with_intervals`), or nothing."""
        return tuple(point for point in (self.weak_only, *self.planned) if point.intervals is not None)

    def accuracy_span(self, budget: float) -> tuple[float, float] | None:
        """Interval of the accuracy at a budget, between points that have one; None where there are none.

        What both ends are away from the accuracy is interpolated.
        """
        known = self.with_spans
        if not known:
            return None
        x = [point.budget for point in known]
        away = [
            [end - point.accuracy for end in point.intervals.accuracy] for point in known if point.intervals is not None
        ]
        accuracy = float(self.accuracy_at([budget])[0])
        low, high = (float(np.interp(budget, x, column)) for column in zip(*away, strict=True))
        return max(accuracy + low, 0.0), min(accuracy + high, 1.0)

    def accuracy_at_money(self, money: Sequence[float] | FloatArray) -> FloatArray:
        """Accuracy at given money per problem, on the concave hull of both ends and all points; NaN below the cheapest.

        Raises
        ------
        InputError
            If the model has no tariff.
        """
        self.model.costs  # noqa: B018  # raises where money is not known
        points = [self.weak_only, *(item.point for item in self.points), self.strong_only]
        x, y = concave_hull(np.array([p.money for p in points]), np.array([p.accuracy for p in points]))
        return np.interp(np.asarray(money, dtype=np.float64), x, y, left=np.nan)

    @property
    def last(self) -> PlannedPoint:
        """The point that spends most."""
        return self.points[-1].point

    @property
    def spends_all_it_can(self) -> bool:
        """Whether strong tokens for nothing (λ = 0) were planned for, so that no policy gains by more than `last`."""
        return min(item.tradeoff for item in (*self.points, *self.dominated)) == 0.0

    def policy_for_budget(self, budget: float) -> PolicyArtifact:
        """Plan for a budget: `trim_pomdp.policy_for_budget`, with this frontier's model and gap."""
        return policy_for_budget(self.model, budget, gap=self.gap)

    def policy_for_cost(self, max_cost: float) -> PolicyArtifact:
        """See `trim_pomdp.planning.money.policy_for_cost`."""
        from trim_pomdp.planning.money import policy_for_cost

        return policy_for_cost(self.model, max_cost, gap=self.gap)

    def policy_for_tradeoff(self, tradeoff: float) -> PolicyArtifact:
        """Plan for a price of a strong token: `trim_pomdp.policy_for_tradeoff`, with this frontier's model and gap."""
        return policy_for_tradeoff(self.model, tradeoff, gap=self.gap)

    def save(self, path: str | Path) -> Path:
        """Write the numbers as JSON, those of the threshold rule in the same model included (`FrontierArtifact`)."""
        from trim_pomdp.planning.frontier_artifact import FrontierArtifact
        from trim_pomdp.planning.thresholds import predicted_threshold_curve

        return FrontierArtifact.of(self, predicted_threshold_curve(self.model)).save(path)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw it, the threshold rule and measured points beside it (`plot_frontier`); write it if there is a path.

        Raises
        ------
        InputError
            If the path ends in no kind of picture (``.png``, ``.svg``, ``.pdf``), or cannot be written.
        """
        from trim_pomdp.planning.plots import picture_format, plot_frontier, save_figure
        from trim_pomdp.planning.thresholds import predicted_threshold_curve

        if path is not None:
            picture_format(path)
        figure = plot_frontier(self, predicted_threshold_curve(self.model), self.model.dynamics)
        if path is not None:
            save_figure(figure, path)
        return figure

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return frontier_facts(self.model.name, len(self.points), self.weak_only, self.strong_only, self.last, self.gap)

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}\n{points_table(self.weak_only, self.strong_only, self.planned)}"

    @property
    def planned(self) -> tuple[PlannedPoint, ...]:
        """The points alone, without bounds."""
        return tuple(item.point for item in self.points)


def frontier_facts(
    model: str, n: int, weak: PlannedPoint, strong: PlannedPoint, last: PlannedPoint | None, gap: float
) -> Mapping[str, object]:
    """What a frontier shows of itself in a line."""
    most = None if last is None else f"{last.accuracy:.4f} at budget {last.budget:.4f}"
    return {
        "points": n,
        "weak-only": f"{weak.accuracy:.4f}",
        "strong-only": f"{strong.accuracy:.4f}",
        "most": most,
        "gap": gap,
        "model": model,
    }


def points_table(weak: PlannedPoint, strong: PlannedPoint, points: Sequence[PlannedPoint], *, shown: int = 10) -> str:
    """A plain HTML table of both ends and some of the points, evenly picked."""
    picked = sorted({round(i) for i in np.linspace(0, len(points) - 1, shown).tolist()}) if points else []
    rows = [("weak-only", weak), *((_price(points[i]), points[i]) for i in picked), ("strong-only", strong)]
    columns = ("", "budget", "accuracy", "strong tokens", "regenerations")
    return html_table(
        "per problem", columns, [(name, p.budget, p.accuracy, p.strong_tokens, p.regenerations) for name, p in rows]
    )


def _price(point: PlannedPoint) -> str:
    return "–" if point.tradeoff is None else f"λ {point.tradeoff:.4g}"


def compile_kernels(model: RoutingModel) -> float:
    """Compile (or load from cache) what planning calls, by a little planning; returns the seconds it took."""
    begin = time.perf_counter()
    # A gap that the first sweep does not reach, and a warm start: every kernel of the solver runs once.
    price = 0.5 * model.reward / model.strong_only_tokens
    solution = solve_epochs(model.epoch_model, model.weights(price), gap=1e-4 * model.reward)
    solution = solve_epochs(model.epoch_model, model.weights(0.9 * price), gap=1e-4 * model.reward, warm_start=solution)
    for rule in (StrategyRule(strategy="weak"), rule_from_solution(solution, model, price)):
        evaluate(rule, model)
    return time.perf_counter() - begin


def solve_frontier(
    model: RoutingModel,
    tradeoffs: int | Sequence[float] = 200,
    *,
    gap: float | None = None,
    threads: int = THREADS,
    over: Spending = "strong_tokens",
) -> Frontier:
    """Plan for many tradeoffs at once.

    Parameters
    ----------
    model : RoutingModel
        What to plan in.
    tradeoffs : int or sequence of float
        How many tradeoffs, chosen so that budgets are evenly covered from 0 to that of λ = 0; or the tradeoffs.
    gap : float or None
        Largest difference of the value bounds at the start, as a share of the reward; None: `DEFAULT_GAP`, or for
        models that redraft `DRAFT_GAP`.
    threads : int
        Solver threads.
    over : {"strong_tokens", "money"}
        What has a price, and is evenly covered.

    Raises
    ------
    InputError
        If there is no tradeoff, or one is negative; or money is meant, and the model has no tariff.
    """
    count = int(tradeoffs) if isinstance(tradeoffs, (int, np.integer)) else len(tradeoffs)
    if count < 1:
        raise InputError(f"{count} tradeoffs; expected at least 1")
    gap = gap_for(model, gap)
    compile_s = compile_kernels(model)
    begin = time.perf_counter()
    chosen = (
        even_tradeoffs(model, count, threads=threads, over=over)
        if isinstance(tradeoffs, (int, np.integer))
        else np.sort(np.array(tradeoffs, dtype=np.float64))
    )
    weights = np.array([model.weights(float(value), over) for value in chosen])
    solutions = solve_epochs_many(model.epoch_model, weights, gap=gap * model.reward, threads=threads)
    items = [
        FrontierPoint(_point_of(solution, model, float(value), over), solution.lower, solution.upper, solution)
        for value, solution in zip(chosen, solutions, strict=True)
    ]
    points, dominated = split_dominated(items, over)
    weak, strong = end_points(model)
    elapsed_s = time.perf_counter() - begin
    return Frontier(model, tuple(points), tuple(dominated), weak, strong, elapsed_s, compile_s, gap, over)


def end_points(model: RoutingModel) -> tuple[PlannedPoint, PlannedPoint]:
    """Weak-only and strong-only."""
    return (
        evaluate(StrategyRule(strategy="weak"), model),
        evaluate(StrategyRule(strategy="strong"), model),
    )


def spent(point: PlannedPoint, over: Spending) -> float:
    """What a point spends per problem: its budget, or money."""
    if over == "strong_tokens":
        return point.budget
    assert point.money is not None  # of a model with a tariff
    return point.money


def split_dominated(
    items: Sequence[FrontierPoint], over: Spending = "strong_tokens"
) -> tuple[list[FrontierPoint], list[FrontierPoint]]:
    """Sort by what is spent, and put points apart that another one dominates."""
    ordered = sorted(items, key=lambda item: (spent(item.point, over), -item.point.accuracy, item.tradeoff))
    points: list[FrontierPoint] = []
    dominated: list[FrontierPoint] = []
    best = -np.inf
    for item in ordered:
        same = points and spent(item.point, over) == spent(points[-1].point, over) and item.point.accuracy == best
        if item.point.accuracy > best or same:
            points.append(item)
            best = max(best, item.point.accuracy)
        else:
            dominated.append(item)
    return points, dominated


def hull_at(points: Sequence[PlannedPoint], budgets: Sequence[float] | FloatArray) -> FloatArray:
    """Accuracy at given budgets on the concave hull of points (mixtures of two rules), flat beyond the last.

    Raises
    ------
    InputError
        If a budget lies outside [0, 1].
    """
    wanted = np.asarray(budgets, dtype=np.float64)
    for budget in wanted.flat:
        check_budget(float(budget))
    x, y = concave_hull(np.array([p.budget for p in points]), np.array([p.accuracy for p in points]))
    return np.interp(wanted, x, y)


# Tradeoffs --------------------------------------------------------------------------------------------------


def largest_tradeoff(model: RoutingModel, *, gap: float = _TRADEOFF_GAP, over: Spending = "strong_tokens") -> float:
    """A price at which intervening never pays, not much above the smallest such price.

    Over money it is one at which intervening pays at most by what it saves, and drafting again does not.
    """
    costs = model.strong_tokens if over == "strong_tokens" else regeneration_costs(model)
    if not (costs > 0).any():
        raise InputError("regenerating a step costs no money at these prices, so there is nothing to plan over money")
    high = model.reward / float(costs[costs > 0].min())
    low, solution = 0.0, None
    for _ in range(12):
        middle = 0.5 * (low + high)
        solution = solve_epochs(
            model.epoch_model, model.weights(middle, over), gap=gap * model.reward, warm_start=solution
        )
        found = dict(zip(model.components, solution.components, strict=True))
        if found["strong_tokens"] > 0.0 or (over == "money" and found.get("redrafts", 0.0) > 0.0):
            low = middle
        else:
            high = middle
    return high


def regeneration_costs(model: RoutingModel) -> FloatArray:
    """Money that the strong model costs for a step by step and class, shape (T, 3)."""
    return model.costs.strong_read[:, None] + model.costs.strong


def even_tradeoffs(
    model: RoutingModel, n: int, *, threads: int = THREADS, over: Spending = "strong_tokens"
) -> FloatArray:
    """`n` tradeoffs, ascending, whose budgets (or money) lie evenly between those of the largest one and of 0."""
    top = largest_tradeoff(model, over=over)
    if n == 1:
        return np.array([0.5 * top])
    scouts = np.concatenate([[0.0], np.geomspace(top * 1e-4, top, _SCOUTS)])
    budgets = _spendings(model, scouts, threads, over)
    least = budgets[-1]
    budgets -= least
    for _ in range(_SCOUT_ROUNDS):  # halve the gaps between neighbours that are too wide
        wide = np.flatnonzero(np.diff(-budgets) > max(1.5 / n, 1.0 / _SCOUTS**2) * budgets[0])
        if len(wide) == 0:
            break
        extra = 0.5 * (scouts[wide] + scouts[wide + 1])
        order = np.argsort(np.concatenate([scouts, extra]), kind="stable")
        budgets = np.concatenate([budgets, _spendings(model, extra, threads, over) - least])[order]
        scouts = np.concatenate([scouts, extra])[order]
    wanted = np.linspace(budgets[0], 0.0, n)
    # Budgets fall with λ up to the solver's gap; interpolation needs them monotone.
    falling = np.minimum.accumulate(budgets)
    chosen = np.interp(-wanted, -falling, scouts)
    chosen[0], chosen[-1] = 0.0, top
    return np.maximum.accumulate(chosen)


def _spendings(model: RoutingModel, prices: FloatArray, threads: int, over: Spending) -> FloatArray:
    weights = np.array([model.weights(float(value), over) for value in prices])
    solutions = solve_epochs_many(model.epoch_model, weights, gap=1e-4 * model.reward, threads=threads)
    unit = model.strong_only_tokens if over == "strong_tokens" else 1.0
    return np.array([solution.components[model.components.index(over)] for solution in solutions]) / unit


# Policies ---------------------------------------------------------------------------------------------------


def rule_from_solution(
    solution: EpochSolution, model: RoutingModel, price: float, over: Spending = "strong_tokens"
) -> AlphaVectorRule:
    """The executable rule of a solution: alpha-vectors of what follows each step, and the filter's parameters."""
    dynamics, observations = model.dynamics, model.observations
    assert dynamics.strong_tokens is not None  # RoutingModel sees to it
    T, N = dynamics.max_steps, len(model.places)
    # Where hazards are alike, an end is no evidence; to write all that is left one has to know them all the same.
    by_class = dynamics.hazards_differ or any(action.writes == "rest" for action in model.chosen)
    hazard, hazard_derailed, hazard_wrong = map(tuple, dynamics.end.T.tolist())
    return AlphaVectorRule(
        tradeoff=_token_price(model, price, over),
        reward=model.reward,
        alpha_vectors=(*(_of_prefix(solution.vectors(N * (t + 1))) for t in range(T - 1)), ()),
        weak_success=dynamics.weak_success,
        strong_success=model.strong_success,
        repair=model.repair,
        recovery=tuple(dynamics.recovery_by_step.tolist()) if by_class else (dynamics.recovery,),
        hazard=hazard if by_class else None,
        hazard_derailed=hazard_derailed if by_class else None,
        hazard_wrong=hazard_wrong if by_class else None,
        evidence=observations.evidence,
        score_edges=observations.step_emission.score_edges if observations.emission == "step" else None,
        emission_right=tuple(model.emission[0].tolist()),
        emission_derailed=tuple(model.emission[1].tolist()),
        emission_wrong=tuple(model.emission[2].tolist()),
        strong_tokens=dynamics.strong_tokens,
        reading_price=(None if over == "strong_tokens" else tuple((price * model.costs.strong_read).tolist())),
        actions=model.actions,
        **_of_drafts(solution, model, over),
    )


def _of_prefix(vectors: FloatArray) -> tuple[tuple[float, float], ...]:
    """Alpha-vectors at the opening of a step, over its two hidden states; of more states those that lead somewhere."""
    pairs = [(float(v[0]), float(v[1])) for v in vectors]
    if vectors.shape[1] == 2:
        return tuple(pairs)
    return tuple((intercept + slope, intercept) for intercept, slope, _ in upper_envelope(pairs).tolist())


def _of_drafts(solution: EpochSolution, model: RoutingModel, over: Spending) -> dict[str, Any]:
    """What a rule needs that may ask for another draft."""
    N = len(model.places)
    if N == 1:
        return {}
    by_node = [
        [tuple(map(tuple, solution.vectors(N * t + place).tolist())) for place in range(1, N)]
        for t in range(model.dynamics.max_steps)
    ]
    return {
        "max_drafts": model.drafts,
        **{name: getattr(model.dynamics, name) for name in OF_REDRAFTS},
        "redraft_price": model.redraft_price * model.reward if over == "strong_tokens" else 0.0,
        "draft_vectors": tuple(map(tuple, by_node)),
    }


def _token_price(model: RoutingModel, price: float, over: Spending) -> float:
    """λ: what a strong token costs, in units of reward, where it has a price or money has."""
    if over == "strong_tokens":
        return price
    assert model.tariff is not None
    return price * model.tariff.prices.of("strong").writing(1.0)


def gap_for(model: RoutingModel, gap: float | None) -> float:
    """The gap that is asked for, or what is sensible for a model; a share of the reward."""
    if gap is not None:
        return gap
    return DEFAULT_GAP if model.drafts == 1 else DRAFT_GAP


def policy_for_tradeoff(model: RoutingModel, tradeoff: float, *, gap: float | None = None) -> PolicyArtifact:
    """Plan for one price of a strong token; `gap` as in `solve_frontier`.

    Raises
    ------
    InputError
        If the tradeoff is negative.
    """
    solution = solve_epochs(model.epoch_model, model.weights(tradeoff), gap=gap_for(model, gap) * model.reward)
    rule = rule_from_solution(solution, model, tradeoff)
    planned = evaluate(rule, model)
    return planned_artifact(
        model,
        policy=rule,
        planned=planned,
        solutions=(solution,),
        asked_tradeoff=tradeoff,
        value=_value(planned, model, tradeoff),
        value_lower=solution.lower,
        value_upper=solution.upper,
    )


def policy_for_budget(model: RoutingModel, budget: float, *, gap: float | None = None) -> PolicyArtifact:
    """Plan for an expected share of strong-only's tokens: one policy, or a draw between two neighbouring ones.

    Parameters
    ----------
    budget : float
        In [0, 1].
    gap : float or None
        As in `solve_frontier`.

    Raises
    ------
    InputError
        If the budget lies outside [0, 1].
    """
    check_budget(budget)
    if budget == 0.0:
        return _without_strong_tokens(model, gap_for(model, gap))
    wanted, gap = budget * model.strong_only_tokens, gap_for(model, gap)
    free = solve_epochs(model.epoch_model, model.weights(0.0), gap=gap * model.reward)
    most = evaluate(rule_from_solution(free, model, 0.0), model)
    if most.strong_tokens <= wanted:
        return _largest_useful(model, free, most, budget)
    return _mixture(model, *_neighbours(model, free, wanted, gap), budget)


def _without_strong_tokens(model: RoutingModel, gap: float) -> PolicyArtifact:
    """The weak model alone, which drafts again what is worth it where plans may."""
    rule: Rule = StrategyRule(strategy="weak")
    solution: EpochSolution | None = None
    note = "budget 0: the weak model alone"
    if model.drafts > 1:
        alone = replace(model, actions=tuple(action.name for action in model.chosen if action.asks != "strong"))
        solution = solve_epochs(alone.epoch_model, alone.weights(0.0), gap=gap * model.reward)
        rule = rule_from_solution(solution, alone, 0.0)
        note += ", which drafts steps again"
    planned = evaluate(rule, model)
    return planned_artifact(model, policy=rule, planned=planned, solutions=(solution,), asked_budget=0.0, notes=(note,))


def _neighbours(model: RoutingModel, free: EpochSolution, wanted: float, gap: float) -> tuple[PlannedRule, PlannedRule]:
    """Rules at two close tradeoffs that spend at most, and at least, the wanted strong tokens; by bisection."""
    top = largest_tradeoff(model, gap=max(gap, _TRADEOFF_GAP))
    none = solve_epochs(model.epoch_model, model.weights(top), gap=gap * model.reward, warm_start=free)
    cheap, dear = [(top, none)], [(0.0, free)]
    for _ in range(_MAX_BISECTIONS):
        (low, less), (high, more) = cheap[-1], dear[-1]
        if more.components[1] - less.components[1] <= _BUDGET_RESOLUTION * model.strong_only_tokens:
            break
        middle = 0.5 * (low + high)
        if not high < middle < low:
            break
        solution = solve_epochs(model.epoch_model, model.weights(middle), gap=gap * model.reward, warm_start=more)
        (dear if solution.components[1] > wanted else cheap).append((middle, solution))

    # A rule spends almost, not exactly, what the policy graph of its solution does: step back where that matters.
    def planned(item: tuple[float, EpochSolution]) -> PlannedRule:
        rule = rule_from_solution(item[1], model, item[0])
        return rule, evaluate(rule, model), item[1]

    first = planned(cheap.pop())
    while first[1].strong_tokens > wanted and cheap:
        first = planned(cheap.pop())
    second = planned(dear.pop())
    while second[1].strong_tokens < wanted and dear:
        second = planned(dear.pop())
    return first, second


def _mixture(model: RoutingModel, below: PlannedRule, above: PlannedRule, budget: float) -> PolicyArtifact:
    """Draw between two rules so that the expected tokens are the budget's."""
    (cheap, first, less), (dear, second, more) = below, above
    wanted = budget * model.strong_only_tokens
    distance = second.strong_tokens - first.strong_tokens
    share = 0.0 if distance <= 0 else float(np.clip((wanted - first.strong_tokens) / distance, 0.0, 1.0))
    return planned_artifact(
        model,
        policy=MixedRule(first=cheap, second=dear, probability=share),
        planned=mix(first, second, share),
        solutions=(less, more),
        asked_budget=budget,
        added_variance=share * (1.0 - share) * distance**2,
        notes=(
            f"a draw for each problem: tradeoff {cheap.tradeoff:.6g} (budget {first.budget:.4f}, accuracy "
            f"{first.accuracy:.4f}) with probability {1 - share:.4f}, tradeoff {dear.tradeoff:.6g} (budget "
            f"{second.budget:.4f}, accuracy {second.accuracy:.4f}) with probability {share:.4f}",
        ),
    )


def _largest_useful(model: RoutingModel, solution: EpochSolution, point: PlannedPoint, budget: float) -> PolicyArtifact:
    strong = evaluate(StrategyRule(strategy="strong"), model)
    note = (
        f"budget {budget:g} cannot be spent to advantage: at a price of 0 the best policy uses {point.budget:.4f} of "
        f"strong-only's tokens for accuracy {point.accuracy:.4f} (strong-only: {strong.accuracy:.4f})"
    )
    return planned_artifact(
        model,
        policy=rule_from_solution(solution, model, 0.0),
        planned=point,
        solutions=(solution,),
        asked_budget=budget,
        value=_value(point, model, 0.0),
        value_lower=solution.lower,
        value_upper=solution.upper,
        notes=(note,),
    )


def _value(point: PlannedPoint, model: RoutingModel, tradeoff: float) -> float:
    """What a point is worth at a price of strong tokens, redrafts having theirs."""
    redrafts = model.redraft_price * (point.redrafts or 0.0)
    return model.reward * (point.accuracy - redrafts) - tradeoff * point.strong_tokens


def check_budget(budget: float) -> None:
    """Raise `InputError` unless the budget is a share in [0, 1]; percentages get a hint."""
    if not 0.0 <= budget <= 1.0:
        hint = f"; did you mean {budget / 100:g}?" if 2.0 <= budget <= 100.0 else ""
        raise InputError(f"budget is {budget:g}; expected a share of strong-only's tokens, from 0 to 1{hint}")


def _point_of(solution: EpochSolution, model: RoutingModel, price: float, over: Spending) -> PlannedPoint:
    values = dict(zip(model.components, solution.components.tolist(), strict=True))
    return PlannedPoint(
        tradeoff=_token_price(model, price, over),
        rate=price if over == "money" else None,
        budget=values["strong_tokens"] / model.strong_only_tokens,
        **values,
    )


def planned_artifact(
    model: RoutingModel,
    *,
    policy: Rule,
    planned: PlannedPoint,
    solutions: Sequence[EpochSolution | None],
    notes: tuple[str, ...] = (),
    money: Money | None = None,
    **fields: Any,
) -> PolicyArtifact:
    """A policy file that says what it was planned in, what that costs, and first why not to trust that.

    `solutions` are what the parts of the policy come from, None for a fixed strategy. Where the dynamics hold draws,
    what is planned, and both ends, have intervals.
    """
    if money is None and model.tariff is not None:
        money = evaluate_money(policy, model).money
    weak, strong = end_points(model)
    if model.dynamics.drawn:
        graphs = [None if solution is None else solution.graph for solution in solutions]
        ends = [Plan(StrategyRule(strategy="weak"), weak), Plan(StrategyRule(strategy="strong"), strong)]
        planned, weak, strong = told_intervals(model, (Plan(policy, planned, graphs), *ends))
    if model.tariff is not None:
        fields |= {f"{name}_money": value for name, value in end_money(model).items()}
    return PolicyArtifact(
        model=model.name,
        policy=policy,
        planned=planned,
        money=money,
        tariff=model.tariff,
        weak_only=weak,
        strong_only=strong,
        provenance=model.provenance,
        conditions=model.conditions,
        notes=(*model.dynamics.warnings, *notes),
        **fields,
    )
