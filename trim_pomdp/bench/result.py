"""The result of a bench: what each strategy costs and wins, with intervals, and how it compares with one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from trim_pomdp.bench.outcomes import Course
from trim_pomdp.metrics import Comparison, Measured, bootstrap, compare
from trim_pomdp.metrics.benefit import NullName
from trim_pomdp.metrics.standings import BenchResult, Difference, Gains, Interval, Point, Standing
from trim_pomdp.model.prices import Prices

SHARES = {"50": 0.5, "80": 0.8, "95": 0.95}
DRAWS = 2000
# Nulls of ΔIBC beside query-random, and the strategies that are them.
NULLS: dict[NullName, str] = {"step-random": "random", "best-split": "split"}


def measure(
    courses: Mapping[str, Course],
    about: Mapping[str, str],
    *,
    name: str,
    fitted_on: str,
    seeds: Sequence[int],
    budgets: Sequence[float],
    against: Mapping[str, Collection[str] | None],
    left_out: Mapping[str, str] | None = None,
    prices: Prices | None = None,
    draws: int = DRAWS,
) -> BenchResult:
    """Measure all strategies over the same problems.

    Parameters
    ----------
    courses : mapping of str to Course
        What each strategy did, ``weak`` and ``strong`` among them.
    about : mapping of str to str
        What each is.
    name, fitted_on, seeds, left_out, prices
        As in `BenchResult`.
    budgets : sequence of float
        At which strategies are compared.
    against : mapping of str to collection of str or None
        Strategies that others are compared with, and which; None compares all others. Each is a family of its own for
        the correction of p-values. What did not take part is left out.
    draws : int
        Of the bootstrap; its seed is 0.

    Raises
    ------
    InputError
        If strong-only is no better than weak-only.
    """
    weak, strong = courses["weak"].outcomes, courses["strong"].outcomes
    ends = {"weak": weak, "strong": strong, "seed": 0, "draws": draws}
    nulls = {null: courses[made_by].outcomes for null, made_by in NULLS.items() if made_by in courses}
    found = {
        key: bootstrap(item.outcomes, other_nulls=nulls, **ends)  # type: ignore[arg-type]
        for key, item in courses.items()
    }
    in_money = _in_money(courses, draws)
    curves = {key: item.outcomes for key, item in courses.items() if item.has_curve}
    differences: list[Comparison] = []
    for plan, others in against.items():
        beside = {key: item for key, item in curves.items() if key == plan or others is None or key in others}
        if plan in beside and len(beside) > 1:
            # By max-t: Holm's among so many comparisons would need far more draws to reach any level.
            how = {"correction": "max-t", "at_once": False, **ends}
            differences += compare(beside, against=plan, costs=budgets, **how)  # type: ignore[arg-type]
    return BenchResult(
        name=name,
        fitted_on=fitted_on,
        problems=weak.problems,
        solutions=courses["weak"].solutions,
        seeds=tuple(seeds),
        weak=float(weak.right.mean()),
        strong=float(strong.right.mean()),
        strong_only_tokens=float(strong.cost.mean()),
        prices=prices,
        strategies={
            key: _standing(courses[key], item, in_money.get(key), about.get(key, "")) for key, item in found.items()
        },
        differences=tuple(Difference.of(item) for item in differences),
        left_out=dict(left_out or {}),
        draws=draws,
    )


def _in_money(courses: Mapping[str, Course], draws: int) -> dict[str, Measured]:
    """All measures with money for a cost; none where nobody counted it, or strong-only is not the dearer."""
    known = {key: item.in_money for key, item in courses.items() if item.in_money is not None}
    if not known or known["strong"].cost.mean() <= known["weak"].cost.mean():
        return {}
    ends = {"weak": known["weak"], "strong": known["strong"], "seed": 0, "draws": draws}
    return {key: bootstrap(item, **ends) for key, item in known.items()}  # type: ignore[arg-type]


def _gains(measured: Measured) -> Gains:
    return Gains(
        cpt={name: Interval.of(measured.cpt[share]) for name, share in SHARES.items()},
        apgr=Interval.of(measured.apgr),
        delta_ibc=Interval.of(measured.delta_ibc),
    )


def _standing(course: Course, measured: Measured, in_money: Measured | None, about: str) -> Standing:
    points = []
    for i, (entry, point) in enumerate(zip(course.entries, measured.points, strict=True)):
        found = {name.replace("cost", "budget"): value for name, value in asdict(point).items()}
        planned = entry.planned
        points.append(
            Point(
                asked_budget=entry.asked_budget,
                **found,
                planned_accuracy=None if planned is None else planned.accuracy,
                planned_budget=None if planned is None else planned.budget,
                strong_tokens=float(course.outcomes.cost[i].mean()),
                weak_tokens=float(course.weak_tokens[i]),
                prm_tokens=float(course.prm_tokens[i]),
                money=None if course.in_money is None else float(course.in_money.cost[i].mean()),
                failed=float(course.failed[i]),
            )
        )
    gains = _gains(measured)
    return Standing(
        about=about,
        points=tuple(points),
        cpt=gains.cpt,
        apgr=gains.apgr,
        delta_ibc=gains.delta_ibc,
        delta_ibc_over={null: Interval.of(found) for null, found in measured.delta_ibc_over.items()},
        in_money=None if in_money is None else _gains(in_money),
    )
