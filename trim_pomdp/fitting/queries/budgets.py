"""Thresholds for budgets, chosen on fitting problems: quantiles of points, weighted by strong tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from trim_pomdp.data.queries import QueryOutcome, split_outcomes
from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.query import QueryRule

AnyQueryRule = TypeVar("AnyQueryRule", bound=QueryRule)
_OUT_OF_REACH = 1e9  # beyond all points of any rule


def points_of(rule: QueryRule, outcomes: Sequence[QueryOutcome], *, seed: int = 0) -> FloatArray:
    """Points of a rule on problems with outcomes, which it does not see.

    Raises
    ------
    InputError
        If the rule looks at something that was not kept.
    """
    solutions = [item.weak for item in outcomes if item.weak is not None] if rule.needs_solution else None
    return rule.points([item.problem for item in outcomes], solutions, seed=seed)


def held_out_points(
    fit: Callable[[Sequence[QueryOutcome]], QueryRule],
    outcomes: Sequence[QueryOutcome],
    *,
    folds: int = 5,
    seed: int = 0,
    aligned: bool = True,
) -> FloatArray:
    """Points of each fitting problem by a rule that was fitted on the other folds.

    Thresholds belong on these: a rule that has seen a problem is surer of it than of a new one. Where a fold has many
    problems to escalate, its rule saw few of them elsewhere and gives fewer points, which counts for more the less it
    tells problems apart; so folds are brought to one mean.

    Parameters
    ----------
    fit : callable
        From outcomes to a rule.
    outcomes : sequence of QueryOutcome
    folds : int
    seed : int
        Of the division into folds.
    aligned : bool
        False leaves points as they are, as rules of few levels want.

    Raises
    ------
    InputError
        If there are fewer outcomes than folds, or a rule cannot be fitted or applied.
    """
    out, level = np.empty(len(outcomes)), np.empty(len(outcomes))
    for rest, inside in split_outcomes(outcomes, folds, seed):
        out[inside] = points_of(fit(rest), [outcomes[index] for index in inside], seed=seed)
        level[inside] = out[inside].mean()
    return out - level + out.mean() if aligned else out


def at_budget(rule: AnyQueryRule, points: FloatArray, outcomes: Sequence[QueryOutcome], budget: float) -> AnyQueryRule:
    """The rule with the threshold that spends a budget on fitting problems, in expectation.

    Parameters
    ----------
    rule : QueryRule
    points : ndarray of shape (n,)
        Of the fitting problems, best by `held_out_points`.
    outcomes : sequence of QueryOutcome
        Of the same problems.
    budget : float
        Strong tokens per problem, as a share of strong-only's. Less is spent where the rule knows that escalating more
        gains nothing (`QueryRule.worthless`).

    Raises
    ------
    InputError
        If the budget lies outside [0, 1], or there are not as many points as outcomes.
    """
    threshold, share = threshold_for_budget(
        points, np.array([item.strong_tokens for item in outcomes]), budget, worthless=rule.worthless
    )
    return rule.model_copy(update={"threshold": threshold, "at_threshold": share})


def threshold_for_budget(
    points: FloatArray, strong_tokens: FloatArray, budget: float, *, worthless: float | None = None
) -> tuple[float, float]:
    """Threshold on points, and probability of escalating at it, that spend a share of all strong tokens.

    Parameters
    ----------
    points, strong_tokens : ndarray of shape (n,)
    budget : float
        In [0, 1].
    worthless : float or None
        Problems with so many points or fewer are not escalated.

    Raises
    ------
    InputError
        If the budget lies outside [0, 1], shapes differ, or no strong token was spent.

    Examples
    --------
    >>> threshold_for_budget(np.array([0.9, 0.5, 0.5, 0.1]), np.array([10.0, 10.0, 20.0, 20.0]), 0.5)
    (0.5, 0.6666666666666666)
    """
    if not 0.0 <= budget <= 1.0:
        raise InputError(f"budget is {budget}; expected a share in [0, 1]")
    if points.shape != strong_tokens.shape or not strong_tokens.sum() > 0:
        raise InputError(
            f"{points.shape} points of problems with {strong_tokens.shape} strong tokens that sum to more "
            "than 0 were expected, one for each"
        )
    if budget == 0.0:
        return _OUT_OF_REACH, 0.0
    levels, place = np.unique(points, return_inverse=True)
    levels, tokens = levels[::-1], np.bincount(place, strong_tokens)[::-1]
    left = budget * float(strong_tokens.sum())
    for level, cost in zip(levels.tolist(), tokens.tolist(), strict=True):
        if worthless is not None and level <= worthless:
            return worthless, 0.0
        if left <= cost * (1 + 1e-12):
            return (level, min(left / cost, 1.0)) if cost > 0 else (level, 1.0)
        left -= cost
    return -_OUT_OF_REACH, 1.0
