r"""How far a plan may be off, since the dynamics that it was made in were fitted on few rollouts.

A fit from rollouts keeps joint draws of its parameters (`trim_pomdp.model.draws`): refits on resampled problems, of
structures that held-out data allow. A plan's policy is followed, as it is, in the model of each draw, exactly. Of its
accuracy, budget and regenerations there an interval of level 1 − α leaves out a share α/2 on either side, and is
stretched to hold what was planned.

The policy stays as it is, as it would in a run: its beliefs are then not quite right, which is part of what is
measured. The unit of the budget, strong-only's tokens, stays what the fit fixed, since that is what runs divide by.
What this does not see: the weights of right steps' bins, the labels that the observation model was fitted on, and
everything that the model itself leaves out.

A policy graph is followed far faster than the rule that comes from it, which keeps its belief on a grid. Where there is
a graph, draws move the rule's numbers by what they move those of its graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers import PolicyGraph
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import point_of
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule, StrategyRule, rule_of
from trim_pomdp.policies.artifact import PlannedIntervals

if TYPE_CHECKING:
    from trim_pomdp.planning.frontier import Frontier, FrontierPoint

FloatArray = NDArray[np.float64]
Followed = PolicyGraph | Rule
LEVEL = 0.95
POINTS = 12
THREADS = 2
_SHOWN = ("accuracy", "strong_tokens", "regenerations")


def planned_intervals(
    policy: Rule | PolicyArtifact,
    model: RoutingModel,
    *,
    planned: PlannedPoint | None = None,
    graphs: Sequence[PolicyGraph | None] | None = None,
    level: float = LEVEL,
    threads: int = THREADS,
) -> PlannedIntervals:
    """Intervals of what a policy is expected to do.

    Parameters
    ----------
    policy : rule or PolicyArtifact
    model : RoutingModel
        What it was planned in; its dynamics hold draws.
    planned : PlannedPoint, optional
        What the policy is expected to do in that model, where that is known.
    graphs : sequence of PolicyGraph or None, optional
        Of each of the rule's `parts` the graph that it comes from, None where it comes from none. Without, rules are
        followed, which takes a hundred times as long for planned ones.
    level : float
        In (0, 1).
    threads : int
        Draws followed at once.

    Raises
    ------
    InputError
        If the dynamics hold no draws, the level is none, or the policy cannot be evaluated in the model.
    """
    rule = rule_of(policy)
    point = point_of(rule.course(model), model) if planned is None else planned
    (found,) = told_intervals(model, (Plan(rule, point, graphs),), level=level, threads=threads)
    assert found.intervals is not None
    return found.intervals


class Plan(NamedTuple):
    """A policy, what it is expected to do, and what its parts come from, as `planned_intervals` takes them."""

    rule: Rule
    planned: PlannedPoint
    graphs: Sequence[PolicyGraph | None] | None = None


def told_intervals(
    model: RoutingModel, plans: Sequence[Plan], *, level: float = LEVEL, threads: int = THREADS
) -> list[PlannedPoint]:
    """What is planned, with intervals; see `planned_intervals`."""
    parts: list[Followed] = []
    weights = []
    for plan in plans:
        graphs = plan.graphs or (None,) * len(plan.rule.parts)
        places = range(len(parts), len(parts) + len(graphs))
        parts += [graph or part for graph, part in zip(graphs, plan.rule.parts, strict=True)]
        weights.append(dict(zip(places, plan.rule.shares, strict=True)))
    by_part = follow(parts, model, threads=threads)
    moved = by_part[1:] - by_part[0]
    return [
        _with_intervals(plan.planned, sum(share * moved[:, i] for i, share in shares.items()), model, level)
        for plan, shares in zip(plans, weights, strict=True)
    ]


def follow(policies: Sequence[Followed], model: RoutingModel, *, threads: int = THREADS) -> FloatArray:
    """Accuracy, strong tokens and regenerations of policies in the model and in that of every draw, exactly.

    Returns
    -------
    ndarray of shape (1 + draws, policies, 3)

    Raises
    ------
    InputError
        As `planned_intervals`.
    """
    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(lambda drawn: _in_model(policies, drawn), (model, *drawn_models(model)))))


def drawn_models(model: RoutingModel) -> Iterator[RoutingModel]:
    """The routing model of every draw of the dynamics, without money; the unit of the budget stays what it was.

    Raises
    ------
    InputError
        If the dynamics hold no draws.
    """
    if not model.dynamics.drawn:
        raise no_draws(model)
    unit = model.strong_only_tokens
    for drawn in model.dynamics.drawn:
        yield replace(model, dynamics=drawn.model_copy(update={"strong_only_tokens": unit}), tariff=None)


def no_draws(model: RoutingModel) -> InputError:
    """What to say where the dynamics of a model hold no draws."""
    return InputError(
        f"dynamics {model.dynamics.name!r} hold no draws, so how far a plan may be off is not known; fit them on "
        "rollouts, with intervals (fit-dynamics --rollouts)"
    )


def intervals_of(planned: PlannedPoint, moved: FloatArray, unit: float, *, level: float = LEVEL) -> PlannedIntervals:
    """Intervals from what draws move a point by.

    Parameters
    ----------
    planned : PlannedPoint
        The point.
    moved : ndarray of shape (draws, 3)
        Accuracy, strong tokens and regenerations, less those in the fitted model.
    unit : float
        Strong tokens of a budget of 1.
    level : float
        In (0, 1).

    Raises
    ------
    InputError
        If the level is none.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level:g}; expected a share of draws between 0 and 1, such as {LEVEL:g}")
    tail = 0.5 * (1.0 - level)
    centre = np.array([getattr(planned, name) for name in _SHOWN])
    # So that, of n draws, each side leaves out its share of n + 1: the usual quantiles are too narrow for few.
    ends = centre + np.quantile(moved, [tail, 1.0 - tail], axis=0, method="weibull")
    (low, tokens_low, steps_low), (high, tokens_high, steps_high) = np.sort(
        np.clip([ends[0], ends[1]], 0.0, [1.0, np.inf, np.inf]), axis=0
    ).tolist()
    return PlannedIntervals(
        level=level,
        draws=len(moved),
        accuracy=(min(low, planned.accuracy), max(high, planned.accuracy)),
        budget=(min(tokens_low / unit, planned.budget), max(tokens_high / unit, planned.budget)),
        regenerations=(min(steps_low, planned.regenerations), max(steps_high, planned.regenerations)),
    )


def with_intervals(
    frontier: Frontier, points: int = POINTS, *, level: float = LEVEL, threads: int = THREADS
) -> Frontier:
    """A frontier with intervals at both ends and at so many of its points, budgets evenly covered.

    Parameters
    ----------
    frontier : Frontier
        As it was solved, with solutions.
    points : int
        At least 2; each costs as much as following a policy in every draw.
    level, threads
        As `planned_intervals`.

    Raises
    ------
    InputError
        As `planned_intervals`; or if fewer than 2 points are wanted.
    """
    if points < 2:
        raise InputError(f"{points} points with intervals; expected at least 2, the first and the last")
    model = frontier.model
    chosen = [i for i in _evenly(frontier.points, points) if frontier.points[i].solution is not None]
    graphs = [solution.graph for i in chosen if (solution := frontier.points[i].solution) is not None]
    ends = [StrategyRule(strategy="weak"), StrategyRule(strategy="strong")]
    values = follow([*ends, *graphs], model, threads=threads)
    moved = values[1:] - values[0]
    items = list(frontier.points)
    for k, i in enumerate(chosen, start=len(ends)):
        items[i] = replace(items[i], point=_with_intervals(items[i].point, moved[:, k], model, level))
    return replace(
        frontier,
        points=tuple(items),
        weak_only=_with_intervals(frontier.weak_only, moved[:, 0], model, level),
        strong_only=_with_intervals(frontier.strong_only, moved[:, 1], model, level),
    )


def _with_intervals(planned: PlannedPoint, moved: FloatArray, model: RoutingModel, level: float) -> PlannedPoint:
    found = intervals_of(planned, moved, model.strong_only_tokens, level=level)
    return planned.model_copy(update={"intervals": found})


def _evenly(items: Sequence[FrontierPoint], n: int) -> list[int]:
    """Indices of the points nearest to evenly spread budgets, the first and the last among them."""
    budgets = np.array([item.point.budget for item in items])
    wanted = np.linspace(budgets[0], budgets[-1], n)
    return sorted({int(np.abs(budgets - budget).argmin()) for budget in wanted})


def _in_model(policies: Sequence[Followed], model: RoutingModel) -> FloatArray:
    """Accuracy, strong tokens and regenerations of each, shape (policies, 3)."""
    where = [model.components.index(name) for name in _SHOWN]
    return np.array(
        [
            policy.evaluate(model.epoch_model)[where]
            if isinstance(policy, PolicyGraph)
            else [getattr(point_of(policy.course(model), model), name) for name in _SHOWN]
            for policy in policies
        ]
    )
