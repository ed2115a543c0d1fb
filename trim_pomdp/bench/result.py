"""The result of a bench: what each strategy costs and wins, with intervals, and how it compares with one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from trim_pomdp.bench.outcomes import Course
from trim_pomdp.metrics import Comparison, Measured, bootstrap, compare
from trim_pomdp.metrics.standings import BenchResult, Difference, Interval, Point, Standing

SHARES = {"50": 0.5, "80": 0.8, "95": 0.95}
DRAWS = 2000


def measure(
    courses: Mapping[str, Course],
    about: Mapping[str, str],
    *,
    name: str,
    fitted_on: str,
    seeds: Sequence[int],
    budgets: Sequence[float],
    against: str | None,
    left_out: Mapping[str, str] | None = None,
    draws: int = DRAWS,
) -> BenchResult:
    """Measure all strategies over the same problems.

    Parameters
    ----------
    courses : mapping of str to Course
        What each strategy did, ``weak`` and ``strong`` among them.
    about : mapping of str to str
        What each is.
    name, fitted_on, seeds, left_out
        As in `BenchResult`.
    budgets : sequence of float
        At which strategies are compared.
    against : str or None
        The strategy that all others are compared with; None compares none.
    draws : int
        Of the bootstrap; its seed is 0.

    Raises
    ------
    InputError
        If strong-only is no better than weak-only.
    """
    weak, strong = courses["weak"].outcomes, courses["strong"].outcomes
    ends = {"weak": weak, "strong": strong, "seed": 0, "draws": draws}
    found = {key: bootstrap(item.outcomes, **ends) for key, item in courses.items()}  # type: ignore[arg-type]
    curves = {key: item.outcomes for key, item in courses.items() if len(item.entries) > 1}
    differences: tuple[Comparison, ...] = ()
    if against in curves and len(curves) > 1:
        differences = compare(curves, against=str(against), costs=budgets, **ends)  # type: ignore[arg-type]
    return BenchResult(
        name=name,
        fitted_on=fitted_on,
        problems=weak.problems,
        seeds=tuple(seeds),
        weak=float(weak.right.mean()),
        strong=float(strong.right.mean()),
        strong_only_tokens=float(strong.cost.mean()),
        strategies={key: _standing(courses[key], item, about.get(key, "")) for key, item in found.items()},
        differences=tuple(Difference.of(item) for item in differences),
        left_out=dict(left_out or {}),
        draws=draws,
    )


def _standing(course: Course, measured: Measured, about: str) -> Standing:
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
                failed=float(course.failed[i]),
            )
        )
    return Standing(
        about=about,
        points=tuple(points),
        cpt={name: Interval.of(measured.cpt[share]) for name, share in SHARES.items()},
        apgr=Interval.of(measured.apgr),
        delta_ibc=Interval.of(measured.delta_ibc),
    )
