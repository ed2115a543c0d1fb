"""What the policies of a frontier do step by step: exact expectations of the policy graphs that its points are of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers import solve_epochs
from trim_pomdp.equality import ByContent
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, rule_from_solution
from trim_pomdp.policies import Rule, StrategyRule

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlannedCourse(ByContent):
    """A policy, and what it is expected to do at each step, per problem.

    Attributes
    ----------
    rule : Rule
        What is executed.
    strong_tokens, regenerations, steps : ndarray of shape (T,)
        Of the policy graph that the rule comes from: the rule keeps its belief on a grid, and so differs a little.
    """

    rule: Rule
    strong_tokens: FloatArray
    regenerations: FloatArray
    steps: FloatArray


def planned_course(frontier: Frontier, item: FrontierPoint) -> PlannedCourse:
    """Course of a point of a frontier; sums over the steps are the point's own numbers.

    A point without a solution, put together from numbers, is planned again, to within the frontier's gap.
    """
    model, over = frontier.model, frontier.over
    price = item.point.rate if over == "money" else item.point.tradeoff
    assert price is not None  # of a point that was planned
    solution = item.solution
    if solution is None:
        solution = solve_epochs(model.epoch_model, model.weights(price, over), gap=frontier.gap * model.reward)
    by_node = solution.graph.components_by_node(model.epoch_model)[:-1]
    by_step = by_node.reshape(model.dynamics.max_steps, len(model.places), -1).sum(axis=1)
    names = ("strong_tokens", "regenerations", "steps")
    columns = {name: by_step[:, model.components.index(name)] for name in names}
    return PlannedCourse(rule_from_solution(solution, model, price, over), **columns)


def course_of(rule: StrategyRule, model: RoutingModel) -> PlannedCourse:
    """Course of weak-only or strong-only, which remember nothing and so need no graph."""
    course = rule.course(model)
    strong = course.strong_steps
    steps = course.counts[:, model.tables.keeps].sum(axis=(1, 2)) + strong.sum(axis=1)
    return PlannedCourse(rule, strong @ model.strong_tokens, strong.sum(axis=1), steps)
