"""The result of a bench as tables: rows for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from trim_pomdp.metrics.standings import BenchResult, Difference, Gains, Interval, Point

Row = list[str]
_GAINS = ("strategy", "CPT 50 %", "CPT 80 %", "CPT 95 %", "ΔIBC", "APGR")


def headline(result: BenchResult) -> tuple[Row, list[Row]]:
    """Columns and rows of the papers' tables: CPT, ΔIBC, APGR, each with its interval."""
    curves = {name: item for name, item in result.strategies.items() if item.has_curve}
    nulls = list(dict.fromkeys(null for item in curves.values() for null in item.delta_ibc_over))
    rows = [
        [name, *_gains(item), *(_number(item.delta_ibc_over[null]) for null in nulls)] for name, item in curves.items()
    ]
    return [*_GAINS, *(f"ΔIBC over {null}" for null in nulls)], rows


def side_by_side(results: Sequence[BenchResult]) -> tuple[Row, list[Row]]:
    """Columns and rows of the papers' layout, several results beside each other, without intervals."""
    columns = [f"{result.name}: {gain}" for result in results for gain in _GAINS[1:5]]
    names = dict.fromkeys(n for result in results for n, item in result.strategies.items() if item.has_curve)
    return ["strategy", *columns], [
        [name, *(cell for result in results for cell in _short(result.strategies.get(name)))] for name in names
    ]


def _short(item: Gains | None) -> Row:
    if item is None:
        return [""] * 4
    shares = [item.cpt[share].value for share in ("50", "80", "95")]
    gain = item.delta_ibc.value
    return [*("–" if v is None else f"{100 * v:.1f}" for v in shares), "–" if gain is None else f"{gain:.2f}"]


def in_money(result: BenchResult) -> tuple[Row, list[Row]]:
    """The same with money for a cost; no rows where it was not counted."""
    known = {name: item.in_money for name, item in result.strategies.items() if item.has_curve}
    return list(_GAINS), [[name, *_gains(item)] for name, item in known.items() if item is not None]


def accuracies(result: BenchResult) -> tuple[Row, list[Row]]:
    """Columns and rows of accuracy ± standard error at asked budgets, and what was spent in their place."""
    every = {point.asked_budget for item in result.strategies.values() for point in item.points}
    budgets = sorted(budget for budget in every if budget is not None)
    columns = ["strategy", *([f"{budget:g}" for budget in budgets] or ["accuracy"])]
    rows = []
    for name, item in result.strategies.items():
        asked = {point.asked_budget: point for point in item.points}
        if None in asked:
            rows.append([name, _point(asked[None]), *[""] * max(len(budgets) - 1, 0)])
        else:
            rows.append([name, *(_point(asked[budget]) if budget in asked else "" for budget in budgets)])
    return columns, rows


def differences(result: BenchResult) -> dict[str, tuple[Row, list[Row]]]:
    """By what strategies are compared with, columns and rows of differences in points.

    With intervals; ``*`` where the corrected p is below .05.
    """
    plans = dict.fromkeys(item.against for item in result.differences)
    return {plan: _less([item for item in result.differences if item.against == plan]) for plan in plans}


def _less(items: Sequence[Difference]) -> tuple[Row, list[Row]]:
    budgets = sorted({item.budget for item in items})
    found: dict[str, dict[float, str]] = {}
    for item in items:
        star = "*" if item.p_adjusted < 0.05 else ""
        text = f"{100 * item.difference:+.1f} [{100 * item.low:+.1f}, {100 * item.high:+.1f}]{star}"
        found.setdefault(item.strategy, {})[item.budget] = text
    return ["strategy", *(f"{budget:g}" for budget in budgets)], [
        [name, *(row[budget] for budget in budgets)] for name, row in found.items()
    ]


def tokens(result: BenchResult) -> tuple[Row, list[Row]]:
    """Columns and rows of the mean tokens of a problem, by who writes or reads them, a row a point."""
    columns = ["strategy", "asked budget", "budget", "strong tokens", "weak tokens", "tokens the PRM reads"]
    unit = [] if result.prices is None else [result.prices.currency or "money"]
    return [*columns, *unit], [
        [
            name,
            "" if point.asked_budget is None else f"{point.asked_budget:g}",
            f"{point.budget:.3f}",
            *(f"{count:.1f}" for count in (point.strong_tokens, point.weak_tokens, point.prm_tokens)),
            *(["–" if point.money is None else f"{point.money:.4g}"] if unit else []),
        ]
        for name, item in result.strategies.items()
        for point in item.points
    ]


def markdown(result: BenchResult) -> str:
    """All tables as Markdown."""
    parts = [
        f"## {result.name}",
        f"{result.problems} problems, seeds {', '.join(map(str, result.seeds))}; rules made on {result.fitted_on}. "
        f"Weak-only {result.weak:.3f}, strong-only {result.strong:.3f} at {result.strong_only_tokens:.1f} tokens. "
        f"Brackets: {result.level:.0%} intervals, bootstrap over problems.",
        "### Share of strong-only's tokens that recovers so much of the gap",
        _table(*headline(result)),
        "### Accuracy at asked budgets (what was spent)",
        _table(*accuracies(result)),
    ]
    columns, rows = in_money(result)
    if rows:
        parts += ["### Share of strong-only's money that recovers so much of the gap", _table(columns, rows)]
    for plan, cells in differences(result).items():
        parts += [f"### Accuracy less that of {plan} at the same budget, in points", _table(*cells)]
    if told := remarks(result):
        parts.append("\n".join(f"* {item}" for item in told))
    return "\n\n".join(parts) + "\n"


def remarks(result: BenchResult) -> Row:
    """What must not go unnoticed: strategies that are left out, and solutions that failed, each counted as wrong."""
    told = [f"{name}: left out, {why}" for name, why in result.left_out.items()]
    failed = {
        name: max((point.failed for point in item.points), default=0.0) for name, item in result.strategies.items()
    }
    worst = ", ".join(f"{name} {share:.1%}" for name, share in failed.items() if share > 0.0)
    return [*told, *([f"{result.failed} solutions failed, and count as wrong: {worst} at most"] if worst else [])]


def markdown_of_several(results: Sequence[BenchResult]) -> str:
    """All tables of several results, first the one that has all of them."""
    intro = "Shares of strong-only's tokens in percent that recover so much of the gap; – where it is not reached."
    return "\n\n".join(["## All", intro, _table(*side_by_side(results)), *map(markdown, results)])


def points_csv(result: BenchResult) -> str:
    """Every point as a row of CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    fields = list(Point.model_fields)
    writer.writerow(["strategy", *fields])
    for name, item in result.strategies.items():
        writer.writerows([name, *(getattr(point, field) for field in fields)] for point in item.points)
    return stream.getvalue()


def _gains(item: Gains) -> Row:
    return [*(_percent(item.cpt[share]) for share in ("50", "80", "95")), _number(item.delta_ibc), _number(item.apgr)]


def _percent(found: Interval) -> str:
    if found.value is None:
        return "not reached"
    low, high = (f"{100 * item:.1f}" if item is not None else "–" for item in (found.low, found.high))
    return f"{100 * found.value:.1f} [{low}, {high}]"


def _number(found: Interval) -> str:
    if found.value is None:
        return "–"
    low, high = (f"{item:.2f}" if item is not None else "–" for item in (found.low, found.high))
    return f"{found.value:.2f} [{low}, {high}]"


def _point(point: Point) -> str:
    return f"{point.accuracy:.3f} ± {point.accuracy_se:.3f} ({point.budget:.3f})"


def _table(columns: Row, rows: list[Row]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
