"""Differences of a bench: an interval each, and p-values for all of them at once."""

import numpy as np

from trim_pomdp.bench.entries import Entry
from trim_pomdp.bench.outcomes import Course
from trim_pomdp.bench.result import measure
from trim_pomdp.metrics import Outcomes
from trim_pomdp.policies import StrategyRule

N, OTHERS, DRAWS = 400, 30, 100


def course(rng, rights, costs) -> Course:
    """A strategy with such points; rules do not matter here."""
    right = rng.random((len(rights), N)) < np.array(rights)[:, None]
    cost = np.repeat(np.array(costs)[:, None], N, axis=1)
    rule, asked = StrategyRule(strategy="weak"), [None] if len(rights) == 1 else [cost / 10.0 for cost in costs]
    entries = tuple(Entry(strategy="made up", rule=rule, asked_budget=budget) for budget in asked)
    return Course(entries, N, Outcomes(right.astype(float), cost), *np.zeros((3, len(rights))))


def test_large_differences_among_many_can_be_told():
    rng = np.random.default_rng(0)
    ends = {"weak": course(rng, [0.4], [0.0]), "strong": course(rng, [0.9], [10.0])}
    best, even = (course(rng, [0.8, 0.85], [2.0, 4.0]) for _ in range(2))
    worse = {f"worse {i}": course(rng, [0.55, 0.6], [2.0, 4.0]) for i in range(OTHERS)}
    found = measure(
        {**ends, "best": best, "even": even, **worse},
        {},
        name="made up",
        fitted_on="nothing",
        seeds=[0],
        budgets=[0.4],
        against={"best": None, "absent": None},
        draws=DRAWS,
    )
    by_name = {item.strategy: item for item in found.differences}
    assert set(by_name) == {"even", *worse}
    # By Holm's correction none could be told: no p of 100 draws is below 1 / 101, and there are 31 of them.
    assert len(by_name) / (DRAWS + 1) > 0.05
    assert all(by_name[name].p_adjusted < 0.05 for name in worse)
    assert by_name["even"].p_adjusted > 0.05
    # Intervals are of each alone: ± 2 of about 3 points, not wide enough for all at once.
    assert all(0.08 < item.high - item.low < 0.2 for item in found.differences)
